"""Pages and questions: the action log, the confirmation of an action, the quit question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Line, Role, fit, labelled, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from routerconsole.control.views import AuditRow


_SILENT: Final = frozenset({"operator", "version"})
"""What a receipt keeps for undo and for conflicts; people are told the rest."""


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return what differs between two states as `status healthy → draining, pools +vision -tools`."""
    was, now = dict(_flat(before)), dict(_flat(after))
    differing = [key for key in dict.fromkeys((*was, *now)) if was.get(key) != now.get(key)]
    parts = []
    for key in differing:
        name, _, last = key.rpartition(".")
        if name.rpartition(".")[2] == "pools" and last in _SIGNS:  # only told of what comes after
            pools = now.get(key)
            if isinstance(pools, (list, tuple)) and pools:
                parts.append(f"{name} {' '.join(f'{_SIGNS[last]}{pool}' for pool in pools)}")
        elif last.endswith("_in_s"):
            parts.append(f"{key.removesuffix('_s').replace('_', ' ')} {_span(was.get(key))} → {_span(now.get(key))}")
        else:
            parts.append(f"{key} {_word(was.get(key))} → {_word(now.get(key))}")
    return visible(", ".join(parts), 600) if parts else "nothing changes"


def _span(value: object) -> str:
    """Return seconds as people count them."""
    return quantity.span(value) if isinstance(value, (int, float)) else quantity.NONE


_SIGNS: Final = {"added": "+", "removed": "-"}


def _flat(told: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a picture under dotted names."""
    for name, value in told.items():
        if isinstance(value, Mapping) and name not in _SILENT:
            yield from _flat(value, f"{prefix}{name}.")
        elif name not in _SILENT:
            yield f"{prefix}{name}", value


def _word(value: object) -> str:
    if value is None or value in ([], ()):
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def audit_lines(rows: Sequence[AuditRow] | None, width: int) -> list[Line]:
    """Return the action log, newest first."""
    if rows is None:
        return [(("reading the action log…", Role.DIM),)]
    if not rows:
        return wrap(
            "No operator has changed anything yet. Changes made here, by the CLI or over HTTP appear in this list.",
            width,
        )
    lines: list[Line] = []
    for entry in rows:
        what = f"{visible(entry.command, 30)} {visible(entry.target, 60)}"
        head = f"{quantity.clock(entry.at)} #{entry.id} {visible(entry.actor, 20)} {what}"
        lines.append(((fit(head + (" (undone)" if entry.undone else ""), width), Role.TEXT),))
        lines.extend(wrap(changes(entry.before, entry.after), width, indent=9, role=Role.DIM))
    return lines


def question(title: str, paragraphs: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """Return a question sheet: title and labelled paragraphs; the bottom line below it has the keys that answer."""
    inner = max(20, width - 2)
    lines: list[Line] = [((fit(f" {title}", width), Role.CURSOR),)]
    for label, text in paragraphs:
        lines.extend(((" ", Role.TEXT), *line) for line in labelled(label, text, inner, pad=9))
    return lines
