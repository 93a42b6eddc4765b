"""The forms of a model: its fields as an operator may set them, filled from what is there, read back as commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.control.registry_commands import RegisterModel, UpdateModel

from .forms import UNKNOWN, Field, Form, Json, Kind
from .staging import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.registry_views import ModelView

_YES_NO: Final = ("yes", "no")
_BACK: Final = "empty: what the configuration or the listing says"
_OWN: Final = (
    Field("tags", Kind.WORDS, hint="words with commas between; requests prefer models by x-router-tags"),
    Field("tier", Kind.CHOICE, ("exploratory", "standard", "deep"), hint="how heavy it is: router/<tier> names it"),
    Field(
        "role",
        Kind.CHOICE,
        ("general", "reward", "teacher", "judge"),
        hint="what it is for; others than general join no pool",
    ),
    Field("enabled", Kind.CHOICE, _YES_NO, hint="off: listed, but takes no requests"),
    Field("in_pools", Kind.CHOICE, _YES_NO, hint="whether it joins auto and the pools of what it can do"),
    Field("exposed", Kind.CHOICE, _YES_NO, hint="whether clients see it in /v1/models"),
    Field("context_window", Kind.WHOLE, hint=f"tokens of prompt and answer together; 0 unknown, {_BACK}"),
    Field("max_output_tokens", Kind.WHOLE, hint=f"tokens of an answer; 0 unknown, {_BACK}"),
    Field("usd_per_mtok_in", Kind.NUMBER, hint=f"USD per million prompt tokens; {_BACK}, unknown is not free"),
    Field("usd_per_mtok_out", Kind.NUMBER, hint=f"USD per million answer tokens; {_BACK}"),
    Field("free", Kind.CHOICE, (*_YES_NO, UNKNOWN), hint="whether it costs nothing; local is not free by itself"),
    Field("limits.rpm", Kind.WHOLE, hint="requests per minute; empty: no limit"),
    Field("limits.rpd", Kind.WHOLE, hint="requests per UTC day; empty: no limit"),
    Field("limits.tpm", Kind.WHOLE, hint="tokens per minute; empty: no limit"),
    Field("limits.tpd", Kind.WHOLE, hint="tokens per UTC day; empty: no limit"),
    Field("default_temperature", Kind.NUMBER, hint="0 to 2, for requests that name none"),
    Field("display", hint="the name people see"),
    Field("description", hint="what people should know of it"),
    Field(
        "format",
        Kind.CHOICE,
        ("api", "ollama", "gguf", "safetensors", "hf"),
        hint="how its weights exist; files need a path",
    ),
    Field("path", hint="where its weights are; relative paths start at registry.weights_dir"),
)
_NEW: Final = (
    Field("provider", needed=True, hint="who serves it: the name of a provider"),
    Field("model", needed=True, hint="its id as its provider writes it"),
)
_FRESH: Final[Mapping[str, str]] = {
    "tier": "standard", "role": "general", "enabled": "yes", "in_pools": "yes", "exposed": "yes",
    "free": UNKNOWN, "format": "api",
}  # fmt: skip


def edit_form(model: ModelView, staged: Mapping[str, Json], title: str) -> Form:
    """Return the form of a model: as it is, with what is staged typed in."""
    return Form(title, _OWN, _texts(model, {}), texts=_texts(model, staged))


def register_form(provider: str, providers: str) -> Form:
    """Return the form of a model there is not yet; `providers` names who there is."""
    first, second = _NEW
    asked = (Field(first.name, first.kind, needed=True, hint=f"{first.hint} ({providers})"), second)
    blank = {each.name: _FRESH.get(each.name, "") for each in (*asked, *_OWN)}
    return Form("Register a model", (*asked, *_OWN), blank, texts={"provider": provider}, cursor=1 if provider else 0)


def update_command(form: Form, model: ModelView) -> UpdateModel | None:
    """Return what the form changes of a model whatever version it has, None where that is nothing."""
    fields = form.changed()
    return UpdateModel(model.provider, model.upstream_id, fields) if fields else None


def register_command(form: Form) -> RegisterModel | None:
    """Return what the form registers, None before it has a name."""
    provider, model = form.texts["provider"].strip(), form.texts["model"].strip()
    fields = {name: value for name, value in form.changed().items() if name not in ("provider", "model")}
    return RegisterModel(provider, model, fields) if provider and model else None


def _texts(model: ModelView, staged: Mapping[str, Json]) -> dict[str, str]:
    """Return each field as it is typed."""
    found: dict[str, str] = {}
    for each in _OWN:
        outer, _, inner = each.name.partition(".")
        value = staged[outer] if outer in staged else current(model, outer)
        found[each.name] = each.text((value or {}).get(inner) if inner else value)
    return found
