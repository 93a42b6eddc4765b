"""Pages and questions: the action log, the confirmation of an action, the quit question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Line, Role, fit, labelled, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.views import AuditRow


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return what differs between two states as `status healthy → draining, enabled true → false`."""
    keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    if not keys:
        return "nothing changes"
    return visible(", ".join(f"{key} {_word(before.get(key))} → {_word(after.get(key))}" for key in keys), 600)


def _word(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
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
