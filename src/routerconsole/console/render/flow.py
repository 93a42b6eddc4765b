"""The failover flow as rows, `from ✗cause → to`, and one flow in full."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Column, Line, Role, Run, fit, header, labelled, lay_out, orders, row, wrap
from .requests import short_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.reroutes import Flow, Flows

NOBODY: Final = "nobody"
"""Where a flow ends whose requests nobody served: at the client, with an error."""
_BAR: Final = 12
_PAD: Final = 10


def added_usd(usd: float | None) -> str:
    """Return dollars with a sign: what a detour cost more, or less."""
    if usd is None:
        return quantity.NONE
    if abs(usd) < 0.00005:
        return "$0"
    return ("+" if usd > 0 else "-") + quantity.cost(abs(usd))


def added_ms(value: float | None) -> str:
    """Return milliseconds that came on top."""
    return quantity.NONE if value is None else f"+{quantity.ms(value)}"


def way(flow: Flow) -> Run:
    """Return a flow as `aurora ✗500 → steady`."""
    target = visible(flow.target, 40) if flow.target is not None else NOBODY
    return f"{visible(flow.source, 40)} ✗{visible(flow.cause, 8)} → {target}", _role(flow)


def _role(flow: Flow) -> Role:
    return Role.BAD if flow.target is None else Role.WARN


def ago(at: float, now: float) -> str:
    """Return how long ago a moment was."""
    return quantity.span(max(0.0, now - at))


def _columns(top: int, now: float) -> tuple[Column[Flow], ...]:
    def bar(flow: Flow) -> Run:
        return "█" * max(1, round(_BAR * flow.n / max(1, top))), Role.TEXT

    return (
        Column("from ✗cause → to", 28, way, grow=2),
        Column("n", 5, lambda f: (quantity.count(f.n), Role.TEXT), "right", by=lambda f: f.n),
        Column("", _BAR, bar, drop=6),
        Column("added p50", 9, lambda f: (added_ms(f.p50_ms), Role.TEXT), "right", drop=1, by=lambda f: f.p50_ms),
        Column("max", 7, lambda f: (added_ms(f.max_ms), Role.TEXT), "right", drop=4, by=lambda f: f.max_ms),
        Column("added $", 9, lambda f: (added_usd(f.added_usd), Role.TEXT), "right", drop=3, by=lambda f: f.added_usd),
        Column("last", 5, lambda f: (ago(f.last, now), Role.TEXT), "right", drop=2),
    )


FLOW_ORDERS: Final = orders(_columns(1, 0.0))
"""What flows can be sorted by."""


def flow_lines(flows: Sequence[Flow], width: int, *, now: float, top: int) -> tuple[Line, list[Line]]:
    """Return the title line and one line per flow; `top` is the largest count, which fills the bar."""
    laid = lay_out(_columns(top, now), width)
    return header(laid), [row(flow, laid) for flow in flows]


def flow_note(flows: Flows, now: float) -> str:
    """Return the window in figures: how long, how many were absorbed, how many were lost, tries per request."""
    if flows.since is None:
        return ""
    parts = [
        f"last {quantity.span(max(1.0, now - flows.since))}",
        f"{quantity.count(flows.rerouted)} absorbed",
        f"{quantity.count(flows.lost)} lost",
        f"{flows.tries:.2f} tries/request",
    ]
    return " · ".join(parts)


def clock_of(at: float) -> str:
    """Return the local wall time of epoch seconds."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S}"


def flow_detail(flow: Flow, width: int, *, now: float) -> list[Line]:
    """Return one flow in full: who failed how, who absorbed it, what that cost, and its newest requests."""
    text, role = way(flow)
    lines: list[Line] = [((fit(text, width), role),)]
    served = visible(flow.target, 60) if flow.target is not None else "nobody: the client got the failure"
    lines += labelled("absorbed", served, width, pad=_PAD)
    lines += labelled(
        "requests", f"{flow.n}, first {clock_of(flow.first)}, last {ago(flow.last, now)} ago", width, pad=_PAD
    )
    if flow.target is not None:
        lines += labelled(
            "latency", f"p50 {added_ms(flow.p50_ms)}, worst {added_ms(flow.max_ms)} before the one that served",
            width, pad=_PAD,
        )  # fmt: skip
        lines += labelled("cost", _cost_text(flow), width, pad=_PAD)
    lines += [(), (("Newest requests", Role.TITLE),)]
    for each in flow.newest:
        lines.append(((fit(f"  {clock_of(each.at)} {short_id(each.id)}  {visible(each.chain, 200)}", width), role),))
    lines += [(), *wrap("Enter shows all of them in the request log.", width, role=Role.DIM)]
    return lines


def _cost_text(flow: Flow) -> str:
    source = visible(flow.source, 40)
    if flow.added_usd is None:
        return f"– (unknown: no price of what served, or {source} served nothing to compare with)"
    return f"{added_usd(flow.added_usd)} in all, against what {source}'s own requests cost per token"
