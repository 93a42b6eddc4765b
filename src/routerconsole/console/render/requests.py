"""Requests as rows of the log, and the texts around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.console.state import Link

from . import quantity
from .cells import Column, Line, Role, Run, header, lay_out, orders, row, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routerconsole.console.state import ConsoleState
    from routerconsole.console.table import Order
    from routerconsole.control.views import RequestRow

_CHAIN_ROLE: Final = {
    "failed": Role.BAD,
    "truncated": Role.BAD,
    "cancelled": Role.DIM,
    "in_flight": Role.INFO,
}
_SHORT: Final = {
    "streaming": "stream",
    "json_schema": "schema",
    "parallel_tools": "parallel",
    "embeddings": "embed",
    "reasoning": "reason",
}
_UNSAID: Final = frozenset({"system"})
"""What every route can do: it would only push out what tells requests apart."""
_BRIEF: Final = frozenset({"time", "id", "client", "chain", "http", "total"})
STATUS_GLYPH: Final = {"ok": "●", "failed": "✗", "truncated": "✗", "cancelled": "–", "in_flight": "▶"}


def short_id(request_id: str) -> str:
    """Return the end of an id, which is what tells ids of one minute apart."""
    return visible(request_id, 80)[-6:].lstrip("-_.")


def needs(record: RequestRow) -> str:
    """Return what a request asks of a route in short words, forced things with `!`; `stream` comes last."""
    asked = dict.fromkeys((*record.needed, *record.forced))
    streams = record.stream or "streaming" in asked
    words = [
        _SHORT.get(word, word) + "!" * (word in record.forced)
        for word in asked
        if word != "streaming" and (word not in _UNSAID or word in record.forced)
    ]
    return visible(",".join([*words, *(["stream"] if streams else [])]), 60) or "text"


def client(record: RequestRow) -> str:
    """Return who asked: the agent, or where the request came from."""
    return visible(record.agent or record.origin, 40)


def chain(record: RequestRow) -> Run:
    """Return the failover chain with its end: who failed how, who absorbed it."""
    text = visible(record.chain, 200)
    if record.status == "truncated":
        text += " CUT" if "CUT" not in text else ""
    elif record.status == "cancelled":
        text += " cancelled"
    role = _CHAIN_ROLE.get(record.status, Role.WARN if record.attempts > 1 else Role.TEXT)
    return text, role


def flags(record: RequestRow) -> str:
    """Return what is remarkable about a request in a few words."""
    words = list(record.flags)
    if record.error_code and record.error_code not in record.chain:
        words.insert(0, record.error_code)
    return visible(" ".join(words), 80)


def tokens(record: RequestRow) -> str:
    """Return prompt and completion tokens as `812>64`."""
    if record.prompt_tokens is None and record.completion_tokens is None:
        return quantity.NONE
    return f"{quantity.count(record.prompt_tokens)}>{quantity.count(record.completion_tokens)}"


def _http(record: RequestRow) -> Run:
    return str(record.http_status or STATUS_GLYPH.get(record.status, "?")), Role.TEXT


def _used(record: RequestRow) -> float | None:
    known = [count for count in (record.prompt_tokens, record.completion_tokens) if count is not None]
    return sum(known) if known else None


def request_orders(elapsed: Callable[[RequestRow], float | None]) -> list[Order[RequestRow]]:
    """Return what the log can be sorted by; `elapsed` gives milliseconds so far."""
    return orders(_columns(elapsed))


def _columns(elapsed: Callable[[RequestRow], float | None]) -> tuple[Column[RequestRow], ...]:
    return (
        Column("time", 8, lambda r: (quantity.clock(r.at), Role.TEXT)),
        Column("id", 6, lambda r: (short_id(r.id), Role.TEXT), drop=3),
        Column("need", 13, lambda r: (needs(r), Role.TEXT), drop=4),
        Column("client", 7, lambda r: (client(r), Role.TEXT), drop=5),
        Column("model", 10, lambda r: (visible(r.model or r.resolved, 60), Role.TEXT), drop=12, grow=1),
        Column("chain", 28, chain, grow=4),
        Column("http", 4, _http, "right", drop=10),
        Column("total", 6, lambda r: (quantity.ms(elapsed(r)), Role.TEXT), "right", by=elapsed),
        Column("ttft", 6, lambda r: (quantity.ms(r.ttft_ms), Role.TEXT), "right", drop=6, by=lambda r: r.ttft_ms),
        Column("tokens", 9, lambda r: (tokens(r), Role.TEXT), "right", drop=7, by=_used),
        Column("cost", 8, lambda r: (quantity.cost(r.cost_usd), Role.TEXT), "right", drop=8, by=lambda r: r.cost_usd),
        Column("flags", 14, lambda r: (flags(r), Role.WARN), drop=9, grow=1),
    )


def nothing_shown(state: ConsoleState, *, reading: bool, filtered: bool) -> list[Line]:
    """Return what stands in a log without rows: what is going on, or what to do next."""
    if reading:
        return wrap("None of those in memory; looking in the log…", 76, indent=2, role=Role.DIM)
    if filtered or state.requests.rows():
        return wrap("No request passes the filter. Esc clears it, ! inverts it.", 76, indent=2, role=Role.DIM)
    if not state.loaded:
        waiting = state.link in {Link.CONNECTING, Link.LIVE}
        return [(("  reading the log…" if waiting else "  no engine answers yet; see the line above", Role.DIM),)]
    known = state.status is not None and state.status.endpoint
    endpoint = visible(state.status.endpoint, 80) if state.status is not None and known else "the endpoint"
    return [
        *wrap(f"No requests yet. Point a client at {endpoint}:", 76, indent=2),
        (('    eval "$(routerconsole env)"', Role.INFO),),
        *wrap("or send one: `routerconsole complete hello`.", 76, indent=2),
    ]


class RequestLines:
    """Draws log rows for one width and remembers the finished ones; brief ones leave the room to the chain."""

    def __init__(self, *, brief: bool = False) -> None:
        self._brief = brief
        self._width = -1
        self._known: dict[str, tuple[RequestRow, Line]] = {}

    def draw(
        self, rows: Sequence[RequestRow], width: int, elapsed: Callable[[RequestRow], float | None]
    ) -> tuple[Line, list[Line]]:
        """Return the title line and one line per row."""
        if width != self._width or len(self._known) > 4000:
            self._width, self._known = width, {}
        columns = _columns(elapsed)
        if self._brief:
            columns = tuple(column for column in columns if column.title in _BRIEF)
        laid = lay_out(columns, width)
        return header(laid), [self._line(record, laid) for record in rows]

    def _line(self, record: RequestRow, laid: list[tuple[Column[RequestRow], int]]) -> Line:
        known = self._known.get(record.id)
        if known is not None and known[0] is record:
            return known[1]
        line = row(record, laid)
        if record.total_ms is not None:
            self._known[record.id] = (record, line)
        return line
