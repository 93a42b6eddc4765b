"""What operators decided as flat slots, so that one change can be told, compared and reversed by itself.

A slot is one field, capability, assignment or node; None says that nothing stands there. Everything is JSON-ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from routerconsole.domain.capability import Layer, Source, Tri
from routerconsole.domain.overlay import Entry, Overlay
from routerconsole.domain.route import ModelKey
from routerconsole.storage.state import Record

from .overlay_records import assignment_record, entry_record, extension_record, layer_json

Slots = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an overlay that one change replaces; None and False take one away."""

    entries: Mapping[ModelKey, Entry] = field(default_factory=dict)
    assignments: Mapping[str, str | None] = field(default_factory=dict)
    extensions: Mapping[str, bool] = field(default_factory=dict)

    def onto(self, overlay: Overlay) -> Overlay:
        """Return the overlay with these parts in place; what they do not name stays as it is."""
        added = {node for node, there in self.extensions.items() if there}
        assigned = {**overlay.assignments, **self.assignments}
        return replace(
            overlay,
            entries={**overlay.entries, **self.entries},
            assignments={agent: target for agent, target in assigned.items() if target is not None},
            extensions=(overlay.extensions - self.extensions.keys()) | added,
        )

    def records(self) -> list[Record]:
        """Return what is to be written."""
        return [
            *(entry_record(key, entry) for key, entry in self.entries.items()),
            *(assignment_record(agent, target) for agent, target in self.assignments.items()),
            *(extension_record(node, there=there) for node, there in self.extensions.items()),
        ]

    def differences(self, overlay: Overlay) -> tuple[Slots, Slots]:
        """Return the slots these parts change, as they are in an overlay and as they will be."""
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for key, entry in self.entries.items():
            old, new = entry_slots(overlay.entries.get(key)), entry_slots(entry)
            for name in dict.fromkeys((*old, *new)):
                before[name], after[name] = old.get(name), new.get(name)
        for agent, target in self.assignments.items():
            before[f"{AGENT}.{agent}"], after[f"{AGENT}.{agent}"] = overlay.assignments.get(agent), target
        for node, there in self.extensions.items():
            before[f"{NODE}.{node}"], after[f"{NODE}.{node}"] = node in overlay.extensions or None, there or None
        changed = [name for name, value in after.items() if before[name] != value]
        return {name: before[name] for name in changed}, {name: after[name] for name in changed}


AGENT, NODE, FIELD, CAPABILITY = "agent", "node", "field", "capability"
_FLAGS = ("registered", "removed", "registered_at")


class Conflict(Exception):
    """A slot is not as the change to be reversed left it; the text names it."""


def reversed_parts(overlay: Overlay, key: ModelKey | None, *, before: Slots, after: Slots, version: int) -> Parts:
    """Return the parts that put slots back as they were before a change; raise Conflict where they changed since.

    `key` is the model the change was about, `version` the one it gets by this.
    """
    agents: dict[str, str | None] = {}
    nodes: dict[str, bool] = {}
    entry = None if key is None else overlay.entries.get(key)
    now = {
        **entry_slots(entry),
        **{f"{AGENT}.{agent}": target for agent, target in overlay.assignments.items()},
        **{f"{NODE}.{node}": True for node in overlay.extensions},
    }
    for name, left in after.items():
        if now.get(name) != left:
            raise Conflict(name)
        kind, _, rest = name.partition(".")
        if kind == AGENT:
            agents[rest] = before[name]
        elif kind == NODE:
            nodes[rest] = bool(before[name])
        else:
            now[name] = before[name]
    if key is None or not any(name.partition(".")[0] not in (AGENT, NODE) for name in after):
        return Parts(assignments=agents, extensions=nodes)
    return Parts({key: _entry(key, now, version)}, agents, nodes)


def entry_slots(entry: Entry | None) -> dict[str, Any]:
    """Return what is decided of one model; flags that are not set and the version are no slots."""
    if entry is None:
        return {}
    flags = {name: value for name in _FLAGS if (value := getattr(entry, name))}
    fields = {f"{FIELD}.{name}": value for name, value in entry.fields.items()}
    capabilities = {
        f"{CAPABILITY}.{node}": [layer_json(layer) for layer in layers]
        for node, layers in entry.capabilities.items()
        if layers
    }
    return {**flags, **fields, **capabilities}


def _entry(key: ModelKey, slots: Slots, version: int) -> Entry:
    fields, capabilities = {}, {}
    for name, value in slots.items():
        kind, _, rest = name.partition(".")
        if kind == FIELD and value is not None:
            fields[rest] = value
        elif kind == CAPABILITY and value:
            capabilities[rest] = tuple(_layer(item) for item in value)
    return Entry(
        key,
        version=version,
        registered=bool(slots.get("registered")),
        removed=bool(slots.get("removed")),
        registered_at=slots.get("registered_at"),
        fields=fields,
        capabilities=capabilities,
    )


def _layer(data: Mapping[str, Any]) -> Layer:
    return Layer(Source(data["source"]), Tri(data["value"]), data["at"], data["evidence"], data.get("fingerprint", ""))
