"""Changes single places of a hand-written YAML text and leaves the rest of it, comments and order, as it stands.

A change that cannot be made so is refused: every patched text is read again and must mean exactly what was asked.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from .problems import ConfigError, Loc, dotted
from .written import inline
from .yaml_loader import Value, parse


@dataclass(frozen=True, slots=True)
class Put:
    """Set the value at a place; mappings on the way are made where missing."""

    loc: Loc
    value: Value


@dataclass(frozen=True, slots=True)
class Add:
    """Append to the list at a place; the list is made where missing."""

    loc: Loc
    value: Value


@dataclass(frozen=True, slots=True)
class Drop:
    """Take away a key or a list item."""

    loc: Loc


Change = Put | Add | Drop


class CannotPatch(Exception):
    """The text cannot be changed there without being rewritten; `.place` is the dotted path."""

    def __init__(self, loc: Loc) -> None:
        self.place = dotted(loc)
        super().__init__(f"{self.place} cannot be changed without rewriting the file")


def changed_data(data: dict[str, Value], changes: Iterable[Change]) -> dict[str, Value]:
    """Return what the data means after the changes; the argument is left alone."""
    after = copy.deepcopy(data)
    for change in changes:
        _change(after, change)
    return after


def patched(text: str, changes: Iterable[Change]) -> str:
    """Return the text with the changes made in place; raise CannotPatch where that does not come out right."""
    for change in changes:
        before = _data(text)
        text = _patch(text, change)
        expected = changed_data(before, [change])
        try:
            sound = _data(text) == expected
        except ConfigError:
            sound = False
        if not sound:
            raise CannotPatch(change.loc)
    return text


def _data(text: str) -> dict[str, Value]:
    return parse(text, "patched").data


# ---- on data


def _change(root: dict[str, Value], change: Change) -> None:
    *way, last = change.loc
    at: Any = root  # a location alternates between mappings and lists
    for part in way:
        if isinstance(at, dict) and at.get(str(part)) is None:
            at[str(part)] = {}
        at = at[part]
    if isinstance(change, Drop):
        del at[last]
    elif isinstance(change, Put):
        at[last] = change.value
    else:
        at[last] = [*(at.get(last) or ()), change.value] if isinstance(at, dict) else [*at[last], change.value]


# ---- on text


def _patch(text: str, change: Change) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise CannotPatch(change.loc)
    node, rest = _deepest(root, change.loc)
    if isinstance(change, Drop):
        parent, _ = _deepest(root, change.loc[:-1])
        return _without(text, parent, change.loc)
    if not rest and isinstance(change, Put):
        return _replaced(text, node, inline(change.value))
    if not rest and isinstance(node, yaml.SequenceNode) and isinstance(change, Add) and node.value:
        return _appended(text, node, inline(change.value))
    if not rest:  # an empty list, or a key without a value
        return _replaced(text, node, inline([change.value]))
    value: Value = [change.value] if isinstance(change, Add) else change.value
    for part in reversed(rest[1:]):
        value = {str(part): value}
    if not isinstance(node, yaml.MappingNode) or not node.value:
        return _replaced(text, node, inline({str(rest[0]): value}))
    return _appended(text, node, f"{inline(str(rest[0]))}: {inline(value)}")


def _deepest(root: yaml.Node, loc: Loc) -> tuple[yaml.Node, Loc]:
    """Return the deepest existing node on the way to a place, and the part of the way that is missing."""
    node = root
    for depth, part in enumerate(loc):
        child = None
        if isinstance(node, yaml.MappingNode):
            child = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
        if child is None:
            return node, loc[depth:]
        node = child
    return node, ()


def _end(node: yaml.Node) -> int:
    """Return where a node's own text ends: a block collection's mark lies behind the comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def _replaced(text: str, node: yaml.Node, new: str) -> str:
    start, end = node.start_mark.index, _end(node)
    if start == end:  # a key without a value
        return f"{text[:start].rstrip(' ')} {new}{text[start:]}"
    kept = "\n" if text[start:end].endswith("\n") else ""
    return f"{text[:start]}{new}{kept}{text[end:]}"


def _appended(text: str, node: yaml.Node, new: str) -> str:
    """Put an entry behind the last one of a collection that has one."""
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        end = _end(node) - 1
        behind = text[:end].rstrip()
        return f"{behind}{' ' if behind.endswith(',') else ', '}{new}{text[len(behind) :]}"
    end = _line_end(text, len(text[: _end(node)].rstrip()))
    dash = "- " if isinstance(node, yaml.SequenceNode) else ""
    return f"{text[:end]}\n{' ' * node.start_mark.column}{dash}{new}{text[end:]}"


def _without(text: str, parent: yaml.Node, loc: Loc) -> str:
    """Take an entry out of its collection; the only one of a block collection leaves an empty one behind."""
    if not isinstance(parent, yaml.CollectionNode):
        raise CannotPatch(loc)
    entries: list[tuple[yaml.Node, yaml.Node]] = [
        entry if isinstance(entry, tuple) else (entry, entry) for entry in parent.value
    ]
    found = [n for n, (key, _) in enumerate(entries) if (n if isinstance(loc[-1], int) else key.value) == loc[-1]]
    if not found:
        raise CannotPatch(loc)
    at = found[0]
    if len(entries) == 1:
        return _replaced(text, parent, "[]" if isinstance(parent, yaml.SequenceNode) else "{}")
    start, end = entries[at][0].start_mark.index, _end(entries[at][1])
    if parent.flow_style:
        if at:
            return text[: _end(entries[at - 1][1])] + text[end:]
        return text[:start] + text[entries[1][0].start_mark.index :]
    begin = text.rfind("\n", 0, start) + 1
    behind = _line_end(text, len(text[:end].rstrip()))
    if text[begin:start].strip(" -"):  # something else stands on this line
        raise CannotPatch(loc)
    lead = text[begin:start]
    if at == 0 and "-" in lead and not isinstance(parent, yaml.SequenceNode):  # `- first: key` opens a list item
        next_start = entries[1][0].start_mark.index
        return text[:start] + text[next_start:]
    return text[:begin] + text[behind + 1 :]
