"""What operators decided, as changes to the configuration file, and what of it the file has no place for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routerconsole.domain.capability import NODE_OF, CapabilityTree, Source, Tri, UnknownCapability
from routerconsole.domain.overlay import Entry, Overlay

from .models import ModelSettings
from .patch import Add, Change, Drop, Put
from .secrets import is_literal
from .yaml_loader import Value

_FIELDS = frozenset(ModelSettings.model_fields)
_TRUE_UNLESS_SAID = frozenset({"enabled", "exposed"})
"""What the file has no key for because every model in it is so: nothing is lost of a yes."""
_WORD_OF = {node: str(word) for word, node in NODE_OF.items()}


@dataclass(frozen=True, slots=True)
class Lost:
    """Something an export cannot say; `what` names it and why."""

    what: str


def overlay_changes(data: Mapping[str, Value], overlay: Overlay, tree: CapabilityTree) -> Iterator[Change | Lost]:
    """Yield the changes that write an overlay into a configuration, in an order in which they can be made.

    `data` is the file as it is written. List items are taken away last, so that the places of the others hold.
    """
    providers = data.get("providers")
    places = {
        str(provider.get("name")).lower(): (index, provider)
        for index, provider in enumerate(providers if isinstance(providers, list) else ())
        if isinstance(provider, dict)
    }
    for key, priority in overlay.priorities.items():
        if len(key) == 1 and key[0] in places:
            yield Put(("providers", places[key[0]][0], "priority"), priority)
        elif len(key) > 1:
            yield Lost(f"the priority of {'/'.join(key)}: a model has none of its own in the file")
    drops: list[Drop] = []
    for entry in overlay.entries.values():
        place = places.get(entry.key.provider)
        if place is None:
            yield Lost(f"what was decided of {_label(entry)}: its provider is not in the file")
            continue
        for change in _model(entry, place[0], place[1], tree):
            if isinstance(change, Drop):
                drops.append(change)
            else:
                yield change
    for agent, target in overlay.assignments.items():
        yield Put(("agents", agent), target)
    for node in sorted(overlay.extensions):
        yield Add(("capabilities", "extend"), node)
    yield from sorted(drops, key=lambda drop: [int(part) for part in drop.loc if isinstance(part, int)], reverse=True)


def literal_credentials(data: Mapping[str, Value]) -> Iterator[Change | Lost]:
    """Yield what takes plain-text credentials out of a file that is copied: a copy must not spread them."""
    providers = data.get("providers")
    for index, provider in enumerate(providers if isinstance(providers, list) else ()):
        if not isinstance(provider, dict):
            continue
        name = provider.get("name")
        if _literal(provider.get("api_key")):
            yield Drop(("providers", index, "api_key"))
            yield Lost(f"the plain-text api_key of provider {name!r}: write a reference such as env:NAME")
        accounts = provider.get("accounts")
        for place, account in reversed(list(enumerate(accounts if isinstance(accounts, list) else ()))):
            if isinstance(account, dict) and _literal(account.get("api_key")):
                yield Drop(("providers", index, "accounts", place))
                yield Lost(f"account {account.get('name')!r} of provider {name!r}: its key is plain text")
        headers = provider.get("headers")
        for header, value in headers.items() if isinstance(headers, dict) else ():
            if _literal(value):
                yield Drop(("providers", index, "headers", header))
                yield Lost(f"the header {header!r} of provider {name!r}: its value is plain text")
        proxy = provider.get("proxy")
        if _literal(proxy) and "@" in str(proxy):
            yield Drop(("providers", index, "proxy"))
            yield Lost(f"the proxy of provider {name!r}: it carries a plain-text password")


def _literal(value: object) -> bool:
    return isinstance(value, str) and bool(value) and is_literal(value)


def _model(entry: Entry, index: int, provider: Mapping[str, Any], tree: CapabilityTree) -> Iterator[Change | Lost]:
    models = provider.get("models")
    listed = models if isinstance(models, list) else []
    at = next(
        (n for n, model in enumerate(listed) if isinstance(model, dict) and model.get("id") == entry.key.model), None
    )
    here = ("providers", index, "models")
    if entry.removed:
        yield Drop((*here, at)) if at is not None else Lost(f"that {_label(entry)} was removed: nothing to leave out")
        return
    fields = {name: value for name, value in entry.fields.items() if name in _FIELDS}
    for name in sorted(entry.fields.keys() - fields.keys()):
        if entry.fields[name] is True and name in _TRUE_UNLESS_SAID:
            continue
        yield Lost(f"`{name}` of {_label(entry)}: the file has no such key")
    written = listed[at].get("capabilities") if at is not None else None
    words = _words(written if isinstance(written, list) else [], entry, tree)
    if at is None:
        if fields or words or entry.registered:
            yield Add(here, {"id": entry.key.model, **fields, **({"capabilities": words} if words else {})})
        return
    for name, value in fields.items():
        yield Put((*here, at, name), value)
    if words != (written or []):
        yield Put((*here, at, "capabilities"), words)


def _words(written: list[Value], entry: Entry, tree: CapabilityTree) -> list[Value]:
    """Return a model's capability list with the operator's values in place of what it said of the same nodes."""
    decided = {
        node: layer.value
        for node, layers in entry.capabilities.items()
        for layer in layers
        if layer.source is Source.OPERATOR
    }
    kept = [word for word in written if _node(word, tree) not in decided]
    return [*kept, *(("-" if value is Tri.NO else "") + _WORD_OF.get(node, node) for node, value in decided.items())]


def _node(word: Value, tree: CapabilityTree) -> str | None:
    try:
        return tree.resolve(str(word).removeprefix("-"))
    except UnknownCapability:
        return None


def _label(entry: Entry) -> str:
    return f"{entry.key.provider}/{entry.key.model}"
