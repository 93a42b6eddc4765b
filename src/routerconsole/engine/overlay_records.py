"""The overlay as records of state.db, and back; what cannot be understood is left out, counted, and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import TypeAdapter

from routerconsole.config.edits import checked_fields
from routerconsole.config.fields import MAX_EXTENSIONS
from routerconsole.domain.capability import Layer, is_path
from routerconsole.domain.listing import Listing
from routerconsole.domain.overlay import EDITABLE, Entry, Overlay
from routerconsole.domain.route import ModelKey
from routerconsole.storage.state import Key, Record, StoredState

MODEL, LISTING, ASSIGNMENT, PRIORITY, EXTENSION = "model", "listing", "assignment", "priority", "extension"
FINGERPRINT = "fingerprint"
KINDS = (MODEL, LISTING, ASSIGNMENT, PRIORITY, EXTENSION, FINGERPRINT)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An entry without its key, which is the record's."""

    version: int = 1
    registered: bool = False
    removed: bool = False
    registered_at: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    capabilities: dict[str, tuple[Layer, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Target:
    model: str


@dataclass(frozen=True, slots=True)
class _Seen:
    text: str


@dataclass(frozen=True, slots=True)
class _Place:
    priority: int


def records(overlay: Overlay) -> Iterator[Record]:
    """Yield everything an overlay says."""
    yield from (entry_record(entry.key, entry) for entry in overlay.entries.values())
    yield from (listing_record(listing) for listing in overlay.listings.values())
    yield from (assignment_record(agent, target) for agent, target in overlay.assignments.items())
    yield from (priority_record(key, priority) for key, priority in overlay.priorities.items())
    yield from (extension_record(node, there=True) for node in sorted(overlay.extensions))
    yield from (fingerprint_record(key, text) for key, text in overlay.fingerprints.items())


def entry_record(key: ModelKey, entry: Entry | None) -> Record:
    """Return the record of a model; None takes it away."""
    return Record((key.provider, key.model), MODEL, None if entry is None else entry_json(entry))


def entry_json(entry: Entry) -> _Json:
    """Return what is kept of an entry, as JSON values."""
    data: _Json = {
        "version": entry.version,
        "registered": entry.registered,
        "removed": entry.removed,
        "registered_at": entry.registered_at,
        "fields": dict(entry.fields),
        "capabilities": {node: [layer_json(layer) for layer in layers] for node, layers in entry.capabilities.items()},
    }
    return data


def layer_json(layer: Layer) -> _Json:
    """Return a layer as JSON values."""
    data: _Json = {
        "source": layer.source.value,
        "value": layer.value.value,
        "at": layer.at,
        "evidence": layer.evidence,
    }
    return {**data, "fingerprint": layer.fingerprint} if layer.fingerprint else data


def listing_record(listing: Listing) -> Record:
    """Return the record of a provider's listing."""
    data: _Json = _adapter(Listing).dump_python(listing, mode="json")
    del data["provider"]
    return Record((listing.provider,), LISTING, data)


def assignment_record(agent: str, target: str | None) -> Record:
    """Return the record of an agent's assignment; None takes it away."""
    return Record((agent,), ASSIGNMENT, None if target is None else {"model": target})


def priority_record(key: tuple[str, ...], priority: int) -> Record:
    """Return the record of a provider's or a model's priority."""
    return Record(key, PRIORITY, {"priority": priority})


def extension_record(node: str, *, there: bool) -> Record:
    """Return the record of a node somebody added; `there` False takes it away."""
    return Record((node,), EXTENSION, {} if there else None)


def fingerprint_record(key: ModelKey, text: str) -> Record:
    """Return the record of what a model's server last answered with."""
    return Record((key.provider, key.model), FINGERPRINT, {"text": text})


def restored(stored: StoredState) -> tuple[Overlay, int]:
    """Return the overlay that was kept and how many records could not be understood."""
    read = _Reader()
    overlay = Overlay(
        entries={entry.key: entry for entry in read.each(stored.of(MODEL), _entry)},
        listings={listing.provider: listing for listing in read.each(stored.of(LISTING), _listing)},
        assignments=dict(read.each(stored.of(ASSIGNMENT), _assignment)),
        priorities=dict(read.each(stored.of(PRIORITY), _priority)),
        extensions=frozenset(list(read.each(stored.of(EXTENSION), _extension))[:MAX_EXTENSIONS]),
        fingerprints=dict(read.each(stored.of(FINGERPRINT), _fingerprint)),
    )
    return overlay, read.strange


class _Decode(Protocol[T_co]):
    """Makes something of a record's names and data, or raises ValueError or TypeError."""

    def __call__(self, names: tuple[str, ...], data: Mapping[str, Any], /) -> T_co:
        """Decode one record."""


class _Reader:
    """Decodes records one by one and counts those that are none."""

    def __init__(self) -> None:
        self.strange = 0

    def each(self, rows: Mapping[Key, Mapping[str, Any]], decode: _Decode[T]) -> Iterator[T]:
        """Yield what can be understood."""
        for key, data in rows.items():
            try:
                yield decode(_names(key), data)
            except (ValueError, TypeError):  # pydantic's, our own and orjson's refusals are all of the two
                self.strange += 1


def _names(key: Key) -> tuple[str, ...]:
    names = tuple(name for name in key if isinstance(name, str))
    if len(names) != len(key):
        raise ValueError("no key of ours")
    return names


def _entry(names: tuple[str, ...], data: Mapping[str, Any]) -> Entry:
    provider, model = names
    kept = _read(_Kept, data)
    fields = {name: value for name, value in checked_fields(kept.fields).items() if value is not None}
    if not EDITABLE.issuperset(fields):
        raise ValueError("fields that are not kept here")
    return Entry(
        ModelKey(provider, model),
        version=kept.version,
        registered=kept.registered,
        removed=kept.removed,
        registered_at=kept.registered_at,
        fields=fields,
        capabilities=kept.capabilities,
    )


def _listing(names: tuple[str, ...], data: Mapping[str, Any]) -> Listing:
    (provider,) = names
    return _read(Listing, {**data, "provider": provider})


def _assignment(names: tuple[str, ...], data: Mapping[str, Any]) -> tuple[str, str]:
    (agent,) = names
    return agent, _read(_Target, data).model


def _priority(names: tuple[str, ...], data: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    if not 1 <= len(names) <= 2:
        raise ValueError("no provider or model")
    return names, _read(_Place, data).priority


def _extension(names: tuple[str, ...], _data: Mapping[str, Any]) -> str:
    (node,) = names
    if not is_path(node):
        raise ValueError("no path")
    return node


def _fingerprint(names: tuple[str, ...], data: Mapping[str, Any]) -> tuple[ModelKey, str]:
    provider, model = names
    return ModelKey(provider, model), _read(_Seen, data).text


def _read(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return the object JSON values stand for, none of another type than it names."""
    return _adapter(kind).validate_json(orjson.dumps(data), strict=True)


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found
