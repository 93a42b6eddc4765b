"""A provider or a route in full: what happened, what holds it back, what is left of its limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.events import EventType

from . import quantity
from .cells import Line, Role, Run, fit, labelled, merge, wrap
from .health import Row, error_text, in_flight, left, percentile, priority, requests, route_name, state
from .notes import changes
from .providers import STRIP_BUCKETS, breaker, health, history, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.console.chronicle import Moment
    from routerconsole.control.views import LimitUse, RouteMetrics

BUCKET_S: Final = 5.0
"""Seconds of one bucket of a provider's history."""
SHOWN_MOMENTS: Final = 12
WRAPPED: Final = 3
"""Lines one moment may take."""
SHOWN_PROBES: Final = 6
SHOWN_CLASSES: Final = 8
PAD: Final = 10
_BAR: Final = 12
_SKEW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Past:
    """What the console saw of a subject: transitions and probes, newest first; `since` begins the gapless record."""

    moments: Sequence[Moment] = ()
    probes: Sequence[Moment] = ()
    since: float | None = None
    now: float = 0.0


def health_detail(item: Row, past: Past, width: int) -> list[Line]:
    """Return a provider or a route in full."""
    lines = [*_now(item, width), *_held(item, width), (), *timeline(item, past, width)]
    for title, part in (
        ("Transitions", _transitions(item, past, width)),
        ("Failures by class", _classes(item, width)),
        ("Probes", _probes(item, past, width)),
        ("Limits used", _limits(item, width)),
        ("Learned gaps", _gaps(item, width)),
        ("Last error", _errors(item, width)),
    ):
        lines += [(), ((title, Role.TITLE),), *part]
    return lines


def _now(item: Row, width: int) -> list[Line]:
    word, role = state(item)
    own = item.provider if item.route is None else item.route
    open_or_not, breaker_role = breaker(own.circuit_state, own.circuit_open_for_s)
    remaining = left(item)
    room = f"  {remaining} failures left" if remaining is not None and own.circuit_state == "closed" else ""
    lines: list[Line] = [
        merge([(f"{word}  ", role), ("breaker ", Role.DIM), (open_or_not, breaker_role), (room, Role.DIM)])
    ]
    what, why_role = note(None, None, own.fault, own.reason)
    if what:
        lines.extend(labelled("why", what, width, role=why_role, pad=PAD))
    kind = f"{visible(item.provider.kind, 30)} · priority {priority(item)} · "
    kind += "local" if item.provider.local else "hosted"
    lines.extend(labelled("kind", kind, width, pad=PAD))
    rate = f"{quantity.rate(item.provider.rps)} rps · " if item.route is None else ""
    traffic = f"{rate}{in_flight(item)} in flight · {quantity.count(requests(item))} requests"
    traffic += f" · {quantity.count(own.failed)} failed ({quantity.percent(own.error_rate)})"
    lines.extend(labelled("traffic", traffic, width, pad=PAD))
    speed = f"p50 {quantity.ms(percentile(item, 'p50'))} · p95 {quantity.ms(percentile(item, 'p95'))}"
    if (figures := item.figures) is not None:
        speed += f" · first token {quantity.ms(figures.ttft_p50_ms)}"
        if figures.tokens_per_s is not None:
            speed += f" · {quantity.rate(figures.tokens_per_s)} tok/s"
    lines.extend(labelled("latency", speed, width, pad=PAD))
    return lines


def _held(item: Row, width: int) -> list[Line]:
    """Return every gate and open circuit with its countdown: of a provider also those of its routes."""
    found: list[Run] = []
    own = item.provider if item.route is None else item.route
    if own.admin_ends_in_s is not None:
        hand = visible(own.admin, 20).replace("_", " ")
        found.append((f"{hand} by hand, ends in {quantity.span(own.admin_ends_in_s)}", Role.WARN))
    if own.gate:
        found.append((f"{visible(own.gate, 12)} ends in {quantity.span(own.gate_ends_in_s)}", Role.WARN))
    for route in item.provider.routes if item.route is None else ():
        if route.gate:
            text = f"{visible(route.gate, 12)} ends in {quantity.span(route.gate_ends_in_s)}  {route_name(route)}"
            found.append((text, Role.WARN))
        if route.circuit_state != "closed":
            found.append(
                (f"breaker {breaker(route.circuit_state, route.circuit_open_for_s)[0]}  {route_name(route)}", Role.BAD)
            )
    lines: list[Line] = []
    for place, (text, role) in enumerate(found[:SHOWN_MOMENTS]):
        lines.append(merge([(fit("" if place else "held", PAD), Role.DIM), (fit(text, max(1, width - PAD)), role)]))
    if not found:
        lines.append(merge([(fit("held", PAD), Role.DIM), ("by no gate and no breaker", Role.DIM)]))
    return lines


_TRACK: Final = {
    "healthy": "─", "unknown": "·", "degraded": "◐", "recovering": "◐", "rate_limited": "◐", "quota": "◐",
    "draining": "▼", "disabled": "–", "isolated": "–", "open": "✗", "config_error": "✗", "missing": "✗",
}  # fmt: skip
"""What a stretch of the timeline looks like in each state."""


def track(words: Sequence[str | None]) -> str:
    """Return states as a strip; where nothing is known there is nothing."""
    return "".join(" " if word is None else _TRACK.get(word, "○") for word in words)


def states(past: Past, *, model: str | None, account: str | None, current: str, cells: int) -> list[str | None]:
    """Return the health word in each of `cells` stretches of the last five minutes, None where it was not seen.

    The clock of the engine may differ from ours: the newest moment is never in the future.
    """
    mine = [
        moment
        for moment in past.moments
        if moment.type is EventType.HEALTH_CHANGED and (moment.model, moment.account) == (model, account)
    ]
    now = max([past.now, *(moment.at for moment in mine[:1])])
    stretch = STRIP_BUCKETS * BUCKET_S / cells
    words: list[str | None] = []
    place, word = 0, current
    for cell in range(cells):
        begin = now - (cell + 1) * stretch
        end = now - cell * stretch
        worst = word
        while place < len(mine) and mine[place].at > begin:
            word = str(mine[place].data.get("before"))
            worst = word if _RANK.get(word, 0) > _RANK.get(worst, 0) else worst
            place += 1
        seen = past.since is not None and end >= past.since - _SKEW_S
        words.append(worst if seen else None)
    return words[::-1]


_RANK: Final = {
    word: rank
    for rank, word in enumerate(
        reversed(
            (
                "open",
                "config_error",
                "missing",
                "isolated",
                "disabled",
                "draining",
                "quota",
                "rate_limited",
                "degraded",
                "recovering",
                "healthy",
                "unknown",
            )
        )
    )
}
"""Which of several words a stretch shows: the worst."""


def timeline(item: Row, past: Past, width: int) -> list[Line]:
    """Return the last five minutes: traffic with its failures, and the states gone through, on one axis."""
    together = -(-STRIP_BUCKETS // min(STRIP_BUCKETS, max(10, width - PAD)))  # buckets in one cell
    strip = -(-STRIP_BUCKETS // together)
    route = item.route
    model, account = (None, None) if route is None else (route.model, route.account)
    current = item.provider.status if route is None else route.status
    words = states(past, model=model, account=account, current=current, cells=strip)
    role = Role.BAD if "✗" in track(words) else Role.TEXT
    axis = "-5 min" + "now".rjust(max(0, strip - 6))
    whose = "5 min" if route is None else "provider"
    return [
        merge([(fit(whose, PAD), Role.DIM), (history(item.provider, strip), Role.INFO)]),
        merge([(fit("state", PAD), Role.DIM), (track(words).rjust(strip), role)]),
        merge([(" " * PAD, Role.DIM), (axis, Role.DIM)]),
    ]


def _moment_clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return quantity.NONE


def _transitions(item: Row, past: Past, width: int) -> list[Line]:
    told = [(moment, run) for moment in past.moments if (run := told_as(moment)) is not None]
    if not told:
        since = f" since {_moment_clock(past.since)}" if past.since is not None else ""
        return wrap(f"none seen{since}, when this console began to watch", width, indent=2, role=Role.DIM)
    lines: list[Line] = []
    for moment, (text, role) in told[:SHOWN_MOMENTS]:
        if item.route is None:
            where = f" {visible(moment.model, 40)}" if moment.model else ""
        else:
            where = "" if moment.model else " provider"
        key = f" #{visible(moment.account, 20)}" if moment.account else ""
        line = f"{_moment_clock(moment.at)} {text[:1]}{where}{key}{':' if where or key else ''}{text[1:]}"
        lines.extend(wrap(line, width, indent=2, role=role)[:WRAPPED])
    if len(told) > SHOWN_MOMENTS:
        lines.append(((f"  … {len(told) - SHOWN_MOMENTS} older", Role.DIM),))
    return lines


def told_as(moment: Moment) -> Run | None:
    """Return a transition in words, None for what is told elsewhere."""
    data = moment.data
    reason = visible(str(data.get("reason") or ""), 60)
    match moment.type:
        case EventType.CIRCUIT_OPENED:
            opened = data.get("open_for_s")
            span = f" for {quantity.span(opened)}" if isinstance(opened, (int, float)) else ""
            return f"✗ breaker OPEN{span}{f': {reason}' if reason else ''}", Role.BAD
        case EventType.CIRCUIT_HALF_OPEN:
            return "◐ breaker half-open", Role.WARN
        case EventType.CIRCUIT_CLOSED:
            return "● breaker closed", Role.OK
        case EventType.CIRCUIT_RESET:
            return "● breaker reset by hand", Role.INFO
        case EventType.GATE_STARTED:
            ends = data.get("ends_in_s")
            span = f" for {quantity.span(ends)}" if isinstance(ends, (int, float)) else ""
            return f"◐ {reason} gate{span}", Role.WARN
        case EventType.GATE_ENDED:
            return f"● {reason} gate over", Role.OK
        case EventType.HEALTH_CHANGED:
            before, after = (str(data.get(key) or "unknown") for key in ("before", "after"))
            word, role = health(after)
            return f"{word[:1]} {visible(before, 14).replace('_', ' ')} → {word[2:]}", role
        case EventType.PROVIDER_ENABLED:
            return "● enabled", Role.OK
        case EventType.PROVIDER_DISABLED:
            return "– disabled", Role.DIM
        case EventType.CAPABILITY_GAP_LEARNED:
            return f"◐ learned that it lacks {visible(str(data.get('capability') or ''), 40)}", Role.WARN
        case EventType.AUDIT:
            return _change(data), Role.INFO
        case _:
            return _weights(moment.type, data, reason)


def _weights(kind: EventType, data: Mapping[str, object], reason: str) -> Run | None:
    """Return what became of the worker that serves checkpoints, None for anything else."""
    match kind:
        case EventType.WEIGHTS_LOADING:
            return "◐ is being loaded", Role.WARN
        case EventType.WEIGHTS_LOADED:
            seconds, held = data.get("seconds"), data.get("memory_mb")
            took = f" in {quantity.span(seconds)}" if isinstance(seconds, (int, float)) else ""
            size = f", {held:,} MB" if isinstance(held, int) else ""
            return f"● loaded by {visible(str(data.get('backend') or ''), 14)}{took}{size}", Role.OK
        case EventType.WEIGHTS_FAILED:
            return f"✗ cannot be loaded: {reason}", Role.BAD
        case EventType.WEIGHTS_DIED:
            rest = data.get("rest_s")
            after = f", rests {quantity.span(rest)}" if isinstance(rest, (int, float)) and rest > 0 else ""
            return f"✗ weights worker {reason}{after}", Role.BAD
        case EventType.WEIGHTS_RESTARTED:
            return "● weights worker runs again", Role.OK
        case _:
            return None


def _change(data: Mapping[str, object]) -> str:
    before, after = data.get("before"), data.get("after")
    differs = changes(_mapping(before), _mapping(after))
    who = visible(str(data.get("actor") or "somebody"), 20)
    return f"⚑ {who}: {visible(str(data.get('command') or ''), 30).replace('_', ' ')}: {differs}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _classes(item: Row, width: int) -> list[Line]:
    figures = item.figures
    if figures is None:
        return [(("  reading the metrics…", Role.DIM),)]
    counted = sorted(figures.failures_by_class.items(), key=lambda pair: -pair[1])
    total = sum(count for _, count in counted)
    if not total:
        return [(("  none", Role.DIM),)]
    lines: list[Line] = []
    for word, count in counted[:SHOWN_CLASSES]:
        share = count / total
        bar = "█" * max(1, round(share * _BAR))
        text = f"  {fit(visible(word, 20).replace('_', ' '), 16)}{count:>6} {quantity.percent(share):>5} {bar}"
        lines.append(((fit(text, width), Role.TEXT),))
    return lines


def _probes(item: Row, past: Past, width: int) -> list[Line]:
    if not past.probes:
        return wrap("none seen yet; t checks now, spending no token", width, indent=2, role=Role.DIM)
    lines: list[Line] = []
    for moment in past.probes[:SHOWN_PROBES]:
        data = moment.data
        healthy = bool(data.get("healthy"))
        took = data.get("latency_ms")
        spent = f" {quantity.ms(took)}" if isinstance(took, (int, float)) else ""
        text = f"{'✓ ok' if healthy else '✗ failed'} {visible(str(data.get('depth') or 'reach'), 12)}{spent}"
        detail = visible(str(data.get("detail") or ""), 200)
        line = f"  {_moment_clock(moment.at)} {text}  {detail}"
        lines.append(((fit(line, width), Role.OK if healthy else Role.BAD),))
    return lines


def _limits(item: Row, width: int) -> list[Line]:
    figures = item.figures
    if figures is None:
        return [(("  reading the metrics…", Role.DIM),)]
    limited: list[tuple[str, Mapping[str, LimitUse]]] = []
    if item.route is None:
        routes: Sequence[RouteMetrics] = getattr(figures, "routes", ())
        limited = [(each.model, each.limits) for each in routes if each.limits]
    elif limits := getattr(figures, "limits", {}):
        limited = [("", limits)]
    if not limited:
        return wrap("no limits are configured (`limits:` of a model)", width, indent=2, role=Role.DIM)
    lines: list[Line] = []
    for model, used in limited[:SHOWN_MOMENTS]:
        if model:
            lines.append(((fit(f"  {visible(model, 60)}", width), Role.TEXT),))
        lines.extend(_limit_line(word, use, width) for word, use in used.items())
    return lines


def _limit_line(word: str, use: LimitUse, width: int) -> Line:
    share = use.used / use.limit if use.limit > 0 else 1.0
    full = min(_BAR, round(share * _BAR))
    bar = "█" * full + "·" * (_BAR - full)
    text = f"  {visible(word, 8):<5}{bar} {quantity.count(use.used)} of {quantity.count(use.limit)}"
    role = Role.BAD if share >= 1 else Role.WARN if share >= 0.8 else Role.TEXT
    return ((fit(f"{text} {quantity.percent(share)}{' used up' if share >= 1 else ''}", width), role),)


def _gaps(item: Row, width: int) -> list[Line]:
    routes = item.provider.routes if item.route is None else (item.route,)
    lines: list[Line] = []
    for route in routes:
        if route.gaps:
            whose = f"{route_name(route)}: " if item.route is None else ""
            lines.extend(wrap(f"{whose}{visible(', '.join(route.gaps), 200)}", width, indent=2, role=Role.WARN))
    return lines or [(("  none", Role.DIM),)]


def _errors(item: Row, width: int) -> list[Line]:
    routes = item.provider.routes if item.route is None else (item.route,)
    lines: list[Line] = []
    for route in routes:
        if route.last_error:
            whose = f"{route_name(route)} " if item.route is None else ""
            lines.extend(wrap(f"{whose}{error_text(route.last_error, 600)}", width, indent=2))
    return lines or [(("  none", Role.DIM),)]
