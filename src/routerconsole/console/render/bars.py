"""The lines every view has: top bar with the engine at a glance, banners, bottom line with keys and the last result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.console.state import Link
from routerconsole.domain.counted import counted

from . import quantity
from .cells import Line, Role, Run, fit, line_width, merge, width_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.state import ConsoleState

HELP: Final = "help"
"""The footer's word for the one key that leads to all others."""
VIEWS: Final = "views"
"""The footer's word for the keys that lead to the other views."""
_KEPT: Final = {HELP: 0, VIEWS: 1}
"""What the footer has room for before anything else."""
READ_S: Final = 10.0
"""Seconds a result has the larger part of the footer; afterwards the keys have it again (`@` shows all of it)."""
_LINK_ROLE: Final = {
    Link.LIVE: Role.BAR,
    Link.CONNECTING: Role.BAR,
    Link.STALE: Role.CURSOR,
    Link.DISCONNECTED: Role.CURSOR,
}


def _figures(state: ConsoleState) -> list[str]:
    """Return the figures of the top bar, the most important first; those at the end give way on narrow terminals."""
    status = state.status
    if status is None:
        return []
    up = status.healthy + status.degraded
    light = "●" if status.healthy == status.total else "◐" if up else "✗"
    return [
        f"{light} {up}/{status.total} up",
        f"{quantity.rate(status.rps)}rps",
        f"fo {quantity.percent(status.failover_ratio)}",
        f"err {quantity.percent(status.error_ratio)}",
        f"p95 {quantity.ms(status.p95_ms)}",
        f"{status.in_flight} in flight",
        *([f"{counted(state.missed, 'event')} missed"] if state.missed else []),
        *([visible(status.endpoint, 60)] if status.endpoint else []),
        *([visible(status.config_path, 60)] if status.config_path else []),
    ]


def _link(state: ConsoleState) -> str:
    if state.link is Link.STALE and state.heard_at is not None:
        return f"STALE {quantity.span(state.clock - state.heard_at)}"
    return str(state.link)


def top_bar(state: ConsoleState, title: str, width: int, *, read_only: bool = False) -> Line:
    """Return the one-line top bar: name and link always, figures as far as they fit."""
    name = visible(title, 24) + (" [read-only]" if read_only else "")
    draining = state.status is not None and state.status.draining and state.link is Link.LIVE
    link = (" DRAINING" if draining else "") + f" {_link(state)} {state.now.astimezone():%H:%M:%S} "
    room = width - width_of(name) - width_of(link) - 1
    shown = ""
    for figure in _figures(state):
        if width_of(shown) + 2 + width_of(figure) > room:
            break
        shown += "  " + figure
    left = fit(f" {name}{shown}", max(0, width - width_of(link)))
    return merge([(left, Role.BAR), (fit(link, min(width, width_of(link))), _LINK_ROLE[state.link])])


def notice_lines(state: ConsoleState, width: int) -> list[Line]:
    """Return the banners under the top bar: a lost engine with what happens next, then the engine's own notices."""
    text, role = "", Role.WARN
    if state.link is Link.DISCONNECTED:
        text = f"✗ disconnected, retrying: {state.problem or 'no engine answers'}. What is shown is old."
        text, role = f"{text} To start an engine: routerconsole serve", Role.BAD
    elif state.link is Link.STALE:
        text = f"◐ stale, retrying: {state.problem}. What is shown is old."
    elif state.problem:
        text = f"◐ {state.problem}"
    lines = wrap(text, width, indent=1, role=role)[:2] if text else []
    for notice in state.status.notices[:3] if state.status is not None else ():
        lines.append(((fit(f" ◐ {visible(notice, 240)}", width), Role.WARN),))
    return lines


def prompt_line(text: str, width: int) -> Line:
    """Return the line that is typed into; of a long one the end stays in sight."""
    have = width_of(text)
    shown = text if have <= width else "…" + text[-(width - 1) :]
    return ((fit(shown, width), Role.TITLE),)


def bottom_line(state: ConsoleState, hints: Sequence[tuple[str, str]], width: int) -> Line:
    """Return the keys of the focused pane at the left and, at the right, what the last action came to.

    The keys of help and of the views stay in sight however many others there are; of those the first named come first.
    A result has most of the line until it can have been read.
    """
    result: Run | None = None
    if state.last is not None:
        mark = "✓" if state.last.ok else "✗"
        text = f" {mark} {state.last.text} "
        share = 3 / 5 if state.clock - state.last.at < READ_S else 1 / 3
        result = (fit(text, min(width_of(text), max(20, int(width * share)))), Role.OK if state.last.ok else Role.BAD)
    room = width - (width_of(result[0]) if result else 0)
    pieces = [_hint(key, word) for key, word in hints]
    chosen, left = [], room
    for number in sorted(range(len(hints)), key=lambda number: _KEPT.get(hints[number][1], len(_KEPT))):
        if (taken := line_width(tuple(pieces[number]))) <= left:
            chosen.append(number)
            left -= taken
    shown = sorted(chosen, key=lambda number: (hints[number][1] == HELP, number))
    runs = [run for number in shown for run in pieces[number]]
    runs.append((" " * max(0, room - line_width(tuple(runs))), Role.DIM))
    return merge([*runs, *([result] if result else [])])


def _hint(key: str, word: str) -> list[Run]:
    return [(f" {key}", Role.TITLE), (f" {word} ", Role.DIM)]
