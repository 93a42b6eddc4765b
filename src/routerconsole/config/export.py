"""The effective configuration as text that loads again, with what operators decided in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from .load import LoadedConfig
from .overlaid import Lost, literal_credentials, overlay_changes
from .patch import changed_data, patched
from .secrets import is_literal
from .show import Json, settings_view
from .written import Dumper
from .yaml_loader import parse

if TYPE_CHECKING:
    from routerconsole.domain.capability import CapabilityTree
    from routerconsole.domain.overlay import Overlay

_HEADER = """\
# RouterConsole configuration, exported with every default written out.
# References such as env:NAME stand as they were written; plain-text keys are left out on purpose.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """A configuration as text, and what it does not say of all that is in force."""

    text: str
    lost: tuple[str, ...] = ()


def export_in_place(text: str, overlay: Overlay, tree: CapabilityTree) -> Exported:
    """Return a hand-written file with operators' decisions in it: its comments, order and references stay.

    Raises CannotPatch where that needs a rewrite.
    """
    data = parse(text, "configuration").data
    found = [*overlay_changes(data, overlay, tree), *literal_credentials(data)]
    changes = [item for item in found if not isinstance(item, Lost)]
    return Exported(patched(text, changes), tuple(item.what for item in found if isinstance(item, Lost)))


def export_anew(loaded: LoadedConfig, overlay: Overlay, tree: CapabilityTree) -> Exported:
    """Return the effective settings with operators' decisions, every default written out."""
    data = settings_view(loaded.settings, loaded.templates)
    found = list(overlay_changes(data, overlay, tree))
    after = changed_data(data, [item for item in found if not isinstance(item, Lost)])
    return Exported(_whole(after), tuple(item.what for item in found if isinstance(item, Lost)))


def _whole(view: dict[str, Json]) -> str:
    providers = view["providers"]
    for provider in providers if isinstance(providers, list) else ():
        if isinstance(provider, dict):
            _without_literals(provider)
    body: str = yaml.dump(_compact(view), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return _HEADER + body


def _without_literals(provider: dict[str, Json]) -> None:
    """Leave out plain-text keys: a copy of the file must not spread them."""
    key = provider.get("api_key")
    if isinstance(key, str) and is_literal(key):
        provider["api_key"] = None
    accounts = provider.get("accounts")
    if isinstance(accounts, list):
        kept = [
            account for account in accounts if isinstance(account, dict) and not is_literal(str(account.get("api_key")))
        ]
        provider["accounts"] = list(kept)
    headers = provider.get("headers")
    if isinstance(headers, dict):
        provider["headers"] = {name: value for name, value in headers.items() if not is_literal(str(value))}
    proxy = provider.get("proxy")
    if isinstance(proxy, str) and is_literal(proxy) and "@" in proxy:
        provider["proxy"] = None


def _compact(value: Json) -> Json:
    """Leave out what is null: an absent key means the same and reads better."""
    if isinstance(value, dict):
        return {key: _compact(inner) for key, inner in value.items() if inner is not None}
    return [_compact(inner) for inner in value] if isinstance(value, list) else value
