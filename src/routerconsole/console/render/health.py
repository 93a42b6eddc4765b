"""Providers with their routes as one table: what a row says of either. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Column, Line, Role, Run, header, lay_out, row
from .providers import breaker, breakers, headroom, health, note, provider_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.views import ProviderMetrics, ProviderStatus, RouteMetrics, RouteStatus


FORCED: Final = "forced_closed"


class Row(NamedTuple):
    """A provider, or one of its routes. `folded` says whether a provider's routes are hidden, None: it has none."""

    key: str
    provider: ProviderStatus
    route: RouteStatus | None = None
    figures: ProviderMetrics | RouteMetrics | None = None
    folded: bool | None = None


def name(item: Row) -> str:
    """Return what a row is called, as in a tree."""
    if item.route is None:
        fold = {True: "▸ ", False: "▾ ", None: "  "}[item.folded]
        return fold + visible(item.provider.name, 60)
    return f"│ {route_name(item.route)}"


def route_name(route: RouteStatus) -> str:
    """Return a route's model with its account, where it has one."""
    account = f" #{visible(route.account, 20)}" if route.account else ""
    return visible(route.model, 80) + account


def state(item: Row) -> Run:
    """Return the health word with its glyph."""
    return provider_state(item.provider) if item.route is None else health(item.route.status)


def circuit(item: Row) -> Run:
    """Return the breaker's state, of a provider also that of its routes; forced closed it has no say."""
    if (item.provider if item.route is None else item.route).admin == FORCED:
        return "forced", Role.WARN
    if item.route is None:
        return breakers(item.provider)
    return breaker(item.route.circuit_state, item.route.circuit_open_for_s)


def gate(item: Row) -> Run:
    """Return the gate with its countdown, else how long what an operator did there lasts."""
    holder = item.provider if item.route is None else item.route
    if not holder.gate:
        hand = holder.admin_ends_in_s
        return ("", Role.DIM) if hand is None else (f"hand {quantity.span(hand)}", Role.WARN)
    return f"{visible(holder.gate, 12)} {quantity.span(holder.gate_ends_in_s)}", Role.WARN


def left(item: Row) -> int | None:
    """Return the failures left before a circuit opens."""
    return headroom(item.provider) if item.route is None else item.route.headroom


def in_flight(item: Row) -> int:
    """Return how many requests run there."""
    return item.provider.in_flight if item.route is None else item.route.in_flight


def requests(item: Row) -> int:
    """Return how many requests went there."""
    return item.provider.total_requests if item.route is None else item.route.total_requests


def errors(item: Row) -> float:
    """Return the share that failed."""
    return item.provider.error_rate if item.route is None else item.route.error_rate


def percentile(item: Row, which: str) -> float | None:
    """Return p50 or p95 in milliseconds; a route's come with the metrics."""
    holder = item.provider if item.route is None else item.figures
    if holder is None:
        return None
    return holder.p50_ms if which == "p50" else holder.p95_ms


def priority(item: Row) -> int:
    """Return the place in the order."""
    own = item.route.priority if item.route is not None else None
    return item.provider.priority if own is None else own


def trouble(item: Row) -> Run:
    """Return why it is not simply healthy where no other column says so, else its last error."""
    own = item.provider if item.route is None else item.route
    told = bool(own.gate) or (item.route is not None and own.circuit_state != "closed")
    text, role = note(None, None, own.fault, None if told and own.status != "config_error" else own.reason)
    if text:
        return text, role
    error = newest_error(item.provider.routes) if item.route is None else item.route.last_error
    if error is None:
        return "", Role.DIM
    return visible(f"{error.get('class', 'error')}: {error.get('detail') or ''}", 80), Role.DIM


def newest_error(routes: Sequence[RouteStatus]) -> Mapping[str, object] | None:
    """Return the latest of the routes' last errors."""
    found = [error for route in routes if (error := route.last_error)]
    return max(found, key=lambda error: str(error.get("at", "")), default=None)


def error_text(error: Mapping[str, object], limit: int = 80) -> str:
    """Return a last error in one line: when, its class, its own words."""
    at = error.get("at")
    when = f"{quantity.clock(at)} " if isinstance(at, str) else ""
    return visible(f"{when}{error.get('class', 'error')}: {error.get('detail') or ''}", limit)


def _role(item: Row) -> Role:
    """Return the worst of state, breaker and gate: they are one run of one colour, for a row has three at most."""
    roles = {state(item)[1], circuit(item)[1], gate(item)[1]}
    return next((role for role in (Role.BAD, Role.WARN) if role in roles), state(item)[1])


_COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column("provider / route", 17, lambda item: (name(item), Role.TEXT), grow=2),
    Column("state", 15, lambda item: (state(item)[0], _role(item))),
    Column("breaker", 9, lambda item: (circuit(item)[0], _role(item))),
    Column("gate", 12, lambda item: (gate(item)[0], _role(item))),
    Column("left", 4, lambda item: (quantity.count(left(item)), Role.TEXT), "right", drop=3),
    Column("run", 3, lambda item: (quantity.count(in_flight(item)), Role.TEXT), "right", drop=6),
    Column("req", 5, lambda item: (quantity.count(requests(item)), Role.TEXT), "right", drop=7),
    Column("err", 4, lambda item: (quantity.percent(errors(item)), Role.TEXT), "right", drop=2),
    Column("p50", 5, lambda item: (quantity.ms(percentile(item, "p50")), Role.TEXT), "right", drop=9),
    Column("p95", 5, lambda item: (quantity.ms(percentile(item, "p95")), Role.TEXT), "right", drop=5),
    Column("prio", 4, lambda item: (str(priority(item)), Role.TEXT), "right", drop=8),
    Column("why / error", 12, lambda item: (trouble(item)[0], Role.TEXT), drop=4, grow=5),
)


def health_lines(rows: Sequence[Row], width: int) -> tuple[Line, list[Line]]:
    """Return the title line and one line per provider and route."""
    laid = lay_out(_COLUMNS, width)
    return header(laid), [row(item, laid) for item in rows]
