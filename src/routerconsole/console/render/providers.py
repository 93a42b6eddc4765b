"""Providers as rows, and one provider in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Column, Line, Role, Run, fit, header, labelled, lay_out, merge, orders, row, spark, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.views import ProviderStatus, RouteStatus

_STATUS: Final = {
    "healthy": ("●", Role.OK),
    "unknown": ("○", Role.DIM),
    "degraded": ("◐", Role.WARN),
    "recovering": ("◐", Role.WARN),
    "rate_limited": ("◐", Role.WARN),
    "quota": ("◐", Role.WARN),
    "draining": ("▼", Role.INFO),
    "disabled": ("–", Role.DIM),
    "isolated": ("–", Role.INFO),
    "open": ("✗", Role.BAD),
    "config_error": ("✗", Role.BAD),
    "missing": ("✗", Role.BAD),
}
"""Glyph and role of each health word of routing.md §1; a word the console does not know is shown plainly."""

STRIP_BUCKETS: Final = 60


def health(status: str) -> Run:
    """Return a health word with its glyph."""
    glyph, role = _STATUS.get(status, ("○", Role.TEXT))
    return f"{glyph} {visible(status, 14).replace('_', ' ')}", role


def provider_state(provider: ProviderStatus) -> Run:
    """Return a provider's health word; one that no request vouches for and a check found down is marked as bad."""
    text, role = health(provider.status)
    if provider.counts_as == "unhealthy" and role is Role.DIM and provider.enabled:
        return f"✗{text[1:]}", Role.BAD
    return text, role


def breaker(state: str, open_for_s: float | None) -> Run:
    """Return a circuit's state; an open one with its remaining or elapsed seconds."""
    if state == "open":
        return (f"OPEN {quantity.span(open_for_s)}" if open_for_s is not None else "OPEN"), Role.BAD
    if state == "half_open":
        return "half-open", Role.WARN
    return visible(state, 10).replace("_", " "), Role.DIM if state == "closed" else Role.WARN


def breakers(provider: ProviderStatus) -> Run:
    """Return a provider's own circuit, or, while that is closed, how many of its routes' circuits are not."""
    own = breaker(provider.circuit_state, provider.circuit_open_for_s)
    if provider.circuit_state != "closed":
        return own
    count = len(provider.routes)
    for state, word, role in (("open", "OPEN", Role.BAD), ("half_open", "half", Role.WARN)):
        held = [route for route in provider.routes if route.circuit_state == state]
        if held and count == 1:
            return breaker(state, held[0].circuit_open_for_s)
        if held:
            return f"{word} {len(held)}/{count}", role
    return own


def headroom(provider: ProviderStatus) -> int | None:
    """Return the failures left before the first of a provider's circuits opens."""
    return min((left for route in provider.routes if (left := route.headroom) is not None), default=None)


def note(gate: str | None, gate_ends_in_s: float | None, fault: str | None, reason: str | None) -> Run:
    """Return why something is not simply healthy: its gate with the countdown, else its fault, else the reason."""
    if gate:
        return f"{visible(gate, 12)} gate {quantity.span(gate_ends_in_s)}", Role.WARN
    if fault and fault != "ok":
        return visible(f"{fault.replace('_', ' ')}{': ' + reason if reason else ''}", 80), Role.BAD
    return visible(reason, 80) if reason else "", Role.DIM


def cause(provider: ProviderStatus) -> Run:
    """Return why a provider is not simply healthy: its own reason, else its routes', else the last error seen there."""
    text, role = note(provider.gate, provider.gate_ends_in_s, provider.fault, provider.reason)
    if text:
        return text, role
    for route in provider.routes:
        text, role = note(route.gate, route.gate_ends_in_s, route.fault, route.reason)
        if text:
            return text if len(provider.routes) == 1 else f"{text} ({visible(route.model, 30)})", role
    if provider.status in {"healthy", "unknown"}:
        return "", Role.DIM
    errors = [error for route in provider.routes if (error := route.last_error)]
    newest = max(errors, key=lambda error: str(error.get("at", "")), default=None)
    if newest is None:
        return "", Role.DIM
    return visible(f"{newest.get('class', 'error')}: {newest.get('detail') or ''}", 80), Role.DIM


def history(provider: ProviderStatus, width: int) -> str:
    """Return the last minutes as a strip: bar height is traffic, a cross is a stretch where most requests failed."""
    buckets = provider.history[-STRIP_BUCKETS:]
    per_cell = max(1, -(-len(buckets) // max(1, width)))
    groups = [buckets[max(0, end - per_cell) : end] for end in range(len(buckets), 0, -per_cell)][::-1]
    sums = [(sum(ok for ok, _ in group), sum(failed for _, failed in group)) for group in groups]
    bars = spark([ok + failed for ok, failed in sums], width)
    marks = ["✗" if failed > ok else "" for ok, failed in sums][-width:]
    start = width - len(marks)
    return "".join((marks[at - start] if at >= start else "") or bar for at, bar in enumerate(bars))


def _columns(strip_width: int) -> tuple[Column[ProviderStatus], ...]:
    return (
        Column("provider", 12, lambda p: (visible(p.name, 40), Role.TEXT), grow=1, by=lambda p: p.name),
        Column("state", 15, provider_state),
        Column("breaker", 9, breakers),
        Column("left", 4, lambda p: (quantity.count(headroom(p)), Role.TEXT), "right", drop=4, by=headroom),
        Column("rps", 5, lambda p: (quantity.rate(p.rps), Role.TEXT), "right", drop=3, by=lambda p: p.rps),
        Column("p95", 6, lambda p: (quantity.ms(p.p95_ms), Role.TEXT), "right", drop=5, by=lambda p: p.p95_ms),
        Column(
            "err", 5, lambda p: (quantity.percent(p.error_rate), Role.TEXT), "right", drop=6, by=lambda p: p.error_rate
        ),
        Column("run", 3, lambda p: (quantity.count(p.in_flight), Role.TEXT), "right", drop=7, by=lambda p: p.in_flight),
        Column("5 min", strip_width, lambda p: (history(p, strip_width), Role.INFO), drop=8),
        Column("why", 13, cause, drop=1, grow=2),
    )


PROVIDER_ORDERS: Final = orders(_columns(0))
"""What a list of providers can be sorted by."""


def provider_lines(providers: Sequence[ProviderStatus], width: int) -> tuple[Line, list[Line]]:
    """Return the title line and one line per provider."""
    laid = lay_out(_columns(30 if width >= 130 else 12), width)
    return header(laid), [row(provider, laid) for provider in providers]


def _error_lines(route: RouteStatus, width: int) -> list[Line]:
    if not route.last_error:
        return []
    what = str(route.last_error.get("class", "error"))
    at = route.last_error.get("at")
    when = f" at {quantity.clock(at)}" if isinstance(at, str) else ""
    detail = str(route.last_error.get("detail") or "")
    return wrap(f"last error {visible(what, 24)}{when}: {visible(detail, 600)}", width, indent=4, role=Role.DIM)


def _route_lines(route: RouteStatus, width: int) -> list[Line]:
    status, role = health(route.status)
    state, state_role = breaker(route.circuit_state, route.circuit_open_for_s)
    left = f" {route.headroom} left" if route.headroom is not None else ""
    account = f"#{visible(route.account, 20)}" if route.account else ""
    numbers = f"{quantity.count(route.total_requests)} req {quantity.percent(route.error_rate)} err{left}"
    lines = [
        ((fit(f"  {visible(route.model, 80)}{account}", width), Role.TEXT),),
        merge([(f"    {status}  ", role), (f"{state}  ", state_role), (numbers, Role.DIM)]),
    ]
    text, why_role = note(route.gate, route.gate_ends_in_s, route.fault, route.reason)
    if text:
        lines.extend(wrap(text, width, indent=4, role=why_role))
    if route.gaps:
        lines.extend(wrap(f"learned gaps: {visible(', '.join(route.gaps), 200)}", width, indent=4, role=Role.WARN))
    lines.extend(_error_lines(route, width))
    return lines


def provider_detail(provider: ProviderStatus, width: int) -> list[Line]:
    """Return one provider in full: state, why, figures, its last five minutes and every route."""
    status, role = provider_state(provider)
    state, state_role = breaker(provider.circuit_state, provider.circuit_open_for_s)
    lines: list[Line] = [
        merge([(f"{status}  ", role), ("breaker ", Role.DIM), (state, state_role)]),
        *labelled(
            "kind",
            f"{visible(provider.kind, 30)} · priority {provider.priority} · {'local' if provider.local else 'hosted'}",
            width,
            pad=9,
        ),
        *labelled("default", visible(provider.default_model, 120), width, pad=9),
        *labelled(
            "traffic",
            f"{quantity.rate(provider.rps)} rps · {provider.in_flight} in flight · p50 {quantity.ms(provider.p50_ms)}"
            f" · p95 {quantity.ms(provider.p95_ms)}",
            width,
            pad=9,
        ),
        *labelled(
            "so far",
            f"{quantity.count(provider.total_requests)} request{'' if provider.total_requests == 1 else 's'}"
            f" · {quantity.count(provider.failed)} failed"
            f" · {quantity.percent(provider.error_rate)} errors",
            width,
            pad=9,
        ),
    ]
    text, why_role = note(provider.gate, provider.gate_ends_in_s, provider.fault, provider.reason)
    if text:
        lines.extend(labelled("why", text, width, role=why_role, pad=9))
    strip = min(STRIP_BUCKETS, max(10, width - 9))
    lines.append(merge([(fit("5 min", 9), Role.DIM), (history(provider, strip), Role.INFO)]))
    lines.append(())
    lines.append(((f"Routes {len(provider.routes)}", Role.TITLE),))
    if not provider.routes:
        lines.extend(
            wrap("no model is served here: add `models:` to the provider, or let discovery find them", width, indent=2)
        )
    for route in provider.routes:
        lines.extend(_route_lines(route, width))
    return lines
