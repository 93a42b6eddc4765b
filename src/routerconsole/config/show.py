"""The effective settings as plain JSON values: every default visible, a credential only as where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from routerconsole.domain.redact import REDACTED, Redactor
from routerconsole.domain.registry import Account, Provider, Registry

from .build import LOCAL_FIRST_TOKEN, routing_policy
from .load import LoadedConfig
from .models import ProviderSettings, Settings
from .problems import Loc
from .secrets import describe, is_literal

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Key(NamedTuple):
    """Where one credential comes from and why it cannot be used."""

    source: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.source} ({self.reason or 'resolved'})"


def effective(loaded: LoadedConfig, registry: Registry, redactor: Redactor) -> dict[str, Json]:
    """Return the configuration in force; no key is called `api_key` and no resolved value is in it (C0-33)."""
    shown = settings_view(loaded.settings, loaded.templates)
    policy = routing_policy(loaded.settings)
    routing = _mapping(shown["routing"])
    routing["first_token_timeout"] = policy.timeouts.first_token
    if loaded.settings.routing.first_token_timeout is None:
        routing["first_token_timeout_local"] = LOCAL_FIRST_TOKEN
    shown["providers"] = [
        _provider(settings, registry.providers[settings.name]) for settings in loaded.settings.providers
    ]
    shown["source"] = None if loaded.source_path is None else str(loaded.source_path)
    # what they say of a key's place is said of the name it has here (C0-33)
    shown["warnings"] = [str(warning).replace("api_key", "credential") for warning in loaded.warnings]
    return _mapping(_scrubbed(shown, redactor))


def settings_view(settings: Settings, templates: Mapping[Loc, str]) -> dict[str, Json]:
    """Return settings plus defaults, `${…}` shown as written; credentials are still references or literals."""
    plain: dict[str, Json] = settings.model_dump(mode="json")
    for loc, written in templates.items():
        at: Any = plain  # a location alternates between mappings and lists
        for part in loc[:-1]:
            at = at[part]
        at[loc[-1]] = written
    return plain


def _provider(settings: ProviderSettings, built: Provider) -> dict[str, Json]:
    view = _mapping(settings.model_dump(mode="json"))
    for key in ("api_key", "accounts", "headers", "proxy"):
        del view[key]
    if settings.accounts:
        pairs = zip(settings.accounts, built.accounts, strict=True)
        view["accounts"] = [{"name": own.name, "credential": _credential(own.api_key, there)} for own, there in pairs]
    else:
        view["credential"] = _credential(settings.api_key, built.accounts[0])
    view["headers"] = [{"name": name, "value": _masked(value)} for name, value in settings.headers.items()]
    view["proxy"] = None if settings.proxy is None else _masked(settings.proxy)
    if settings.base_url is None or is_literal(settings.base_url):
        view["base_url"] = built.base_url
    timers, circuit, health = built.timeouts, built.circuit, built.health
    view["timeouts"] = {
        "connect_timeout": timers.connect,
        "first_token_timeout": timers.first_token,
        "idle_timeout": timers.idle,
        "total_timeout": timers.total,
    }
    view["circuit"] = {name: getattr(circuit, name) for name in circuit.__slots__}
    view["health"] = {"interval": health.interval, "enabled": health.enabled}
    view["local"], view["max_concurrency"] = built.local, built.max_concurrency
    view["available"], view["reason"] = built.unavailable is None, built.unavailable
    view["default_model"] = built.default_model
    return view


def _credential(raw: str | None, account: Account) -> str:
    if not raw:
        return f"none ({account.unavailable})" if account.unavailable else "none"
    return str(Key(describe(raw), account.unavailable))


def _masked(raw: str) -> str:
    return REDACTED if is_literal(raw) else describe(raw)


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _scrubbed(value: Json, redactor: Redactor) -> Json:
    """Return the values with known secrets removed from every text: the last line of defence, not the first."""
    if isinstance(value, dict):
        return {redactor.redact(key): _scrubbed(inner, redactor) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed(inner, redactor) for inner in value]
    return redactor.redact(value) if isinstance(value, str) else value
