"""Puts streamed tool-call fragments together, and repairs their indices (routing.md §7.5).

1 a known id wins over the index
2 a new id is a new call, whatever its index (Ollama sends 0 for all), unless the call at that index has no id yet
3 without an id the index decides, else the last call
4 without an id, a named fragment that follows complete arguments is a new call: two calls are never merged silently
5 calls are numbered densely, in order of arrival
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from routerconsole.routing.deliver import parses

MAX_KEPT: Final = 1 << 20
"""Characters of arguments kept per call; beyond that they are passed on but no longer judged."""


class Call:
    """One tool call as far as it has arrived."""

    __slots__ = ("arguments", "extra", "id", "index", "kept", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []
        self.kept = 0
        self.extra: dict[str, Any] = {}

    def text(self) -> str:
        """Return the arguments so far."""
        return "".join(self.arguments)

    @property
    def judged(self) -> bool:
        """Whether everything that arrived was kept."""
        return self.kept <= MAX_KEPT

    @property
    def broken(self) -> bool:
        """Whether the arguments, all of them known, are not JSON."""
        return self.name is not None and self.judged and not parses(self.text())


class ToolDeltas:
    """The tool calls of one choice."""

    __slots__ = ("_by_id", "_by_index", "calls")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int, Call] = {}

    def add(self, entry: Mapping[str, Any]) -> tuple[Call, dict[str, Any] | None]:
        """Take one fragment; return its call and, where it must change on the way out, the repaired fragment."""
        function = entry.get("function")
        if not isinstance(function, Mapping):
            function = {}
        ident = _text(entry.get("id"))
        name = _text(function.get("name"))
        fragment = function.get("arguments")
        given = entry.get("index")
        index = given if type(given) is int else None
        call = self._find(ident, index, name, fragment)
        known_id = call.id
        if ident is not None:
            call.id = ident
            self._by_id[ident] = call
        if index is not None:
            self._by_index[index] = call
        if name is not None and name != call.name:
            call.name = name if call.name is None else call.name + name
            name = None
        if isinstance(fragment, str) and fragment:
            call.kept += len(fragment)
            if call.judged:
                call.arguments.append(fragment)
        for key, value in entry.items():
            if key not in ("index", "id", "function"):
                call.extra[key] = value
        # an id or a name told again would be appended to the first by clients that add deltas up
        again_id = ident is not None and ident == known_id
        again_name = name is not None and known_id is not None
        if given == call.index and type(given) is int and not again_id and not again_name:
            return call, None
        return call, _repaired(entry, call.index, drop_id=again_id, drop_name=again_name)

    def _find(self, ident: str | None, index: int | None, name: str | None, fragment: object) -> Call:
        if ident is not None:
            known = self._by_id.get(ident)
            if known is not None:
                return known
            there = self._at(index)
            if there is not None and there.id is None and not _starts_another(there, name, fragment):
                return there
            return self._new()
        there = self._at(index)
        if there is None or _starts_another(there, name, fragment):
            return self._new()
        return there

    def _at(self, index: int | None) -> Call | None:
        if index is not None:
            return self._by_index.get(index)
        return self.calls[-1] if self.calls else None

    def _new(self) -> Call:
        call = Call(len(self.calls))
        self.calls.append(call)
        return call


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _starts_another(call: Call, name: str | None, fragment: object) -> bool:
    """Whether a fragment without a known id begins a new call: it names a function where one is already filled in."""
    if name is None or call.name is None or not call.arguments:
        return False
    if name != call.name:
        return True
    return bool(fragment) and call.judged and parses(call.text())


def _repaired(entry: Mapping[str, Any], index: int, *, drop_id: bool, drop_name: bool) -> dict[str, Any]:
    fixed = {**entry, "index": index}
    if drop_id:
        del fixed["id"]
    function = entry.get("function")
    if drop_name and isinstance(function, Mapping):
        fixed["function"] = {key: value for key, value in function.items() if key != "name"}
    return fixed
