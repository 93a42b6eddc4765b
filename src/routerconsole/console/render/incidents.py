"""Incidents as lines of a list, as a page, and as a redacted Markdown report."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.counted import counted
from routerconsole.domain.events import EventType
from routerconsole.domain.redact import scrub

from . import quantity
from .cells import Line, Role, fit, labelled, merge, wrap
from .flow import added_ms, added_usd, clock_of
from .requests import short_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.chronicle import Moment
    from routerconsole.console.incidents import Incident
    from routerconsole.control.views import ProviderStatus, RouteStatus

_PAD: Final = 10
_MARKED: Final = re.compile(r"([\\`*_\[\]<>|#])")
"""What Markdown would read as its own."""
_SAID: Final = {
    EventType.CIRCUIT_OPENED: "circuit opened",
    EventType.CIRCUIT_HALF_OPEN: "circuit half-open",
    EventType.CIRCUIT_CLOSED: "circuit closed",
    EventType.CIRCUIT_RESET: "circuit reset",
    EventType.GATE_STARTED: "gate started",
    EventType.GATE_ENDED: "gate ended",
    EventType.HEALTH_CHANGED: "health",
    EventType.PROVIDER_ENABLED: "enabled",
    EventType.PROVIDER_DISABLED: "disabled",
    EventType.CAPABILITY_GAP_LEARNED: "learned gap",
    EventType.WEIGHTS_LOADING: "loading",
    EventType.WEIGHTS_LOADED: "loaded",
    EventType.WEIGHTS_FAILED: "cannot be loaded",
    EventType.WEIGHTS_DIED: "weights worker died",
    EventType.WEIGHTS_RESTARTED: "weights worker restarted",
}


def cause_text(incident: Incident) -> str:
    """Return the causes with their counts, else how it began."""
    if incident.causes:
        return ", ".join(f"{visible(cause, 8)}×{n}" for cause, n in incident.causes)
    return step_text(incident.steps[0]) if incident.steps else quantity.NONE


def absorbed_text(incident: Incident) -> str:
    """Return who served instead, and how many nobody served."""
    parts = [f"{visible(name, 40)} {n}" for name, n in incident.absorbed]
    if incident.lost:
        parts.append(f"nobody {incident.lost}")
    return ", ".join(parts) or "no request was hit"


def span_text(incident: Incident, now: float) -> str:
    """Return when it was: begin, end or `ongoing`, how long."""
    end = incident.ended
    if end is None:
        return f"{clock_of(incident.began)} – ongoing, {quantity.span(max(0.0, now - incident.began))}"
    return f"{clock_of(incident.began)} – {clock_of(end)}, {quantity.span(end - incident.began)}"


def title(incident: Incident) -> str:
    """Return one incident in a line."""
    mark = "✗" if incident.open else "✓"
    return f"{mark} {visible(incident.provider, 40)}  {cause_text(incident)}"


def summary(incident: Incident, now: float) -> str:
    """Return the rest of that line."""
    hit = f"{incident.hit} request{'' if incident.hit == 1 else 's'} hit"
    return f"{span_text(incident, now)} · {hit} · absorbed by {absorbed_text(incident)}"


def step_text(moment: Moment) -> str:
    """Return a transition in words: what, where, why."""
    data = moment.data
    said = _SAID.get(moment.type, moment.type.value)
    if moment.type is EventType.HEALTH_CHANGED:
        said += f" {visible(str(data.get('before')), 16)} → {visible(str(data.get('after')), 16)}"
    reason = data.get("reason")
    if reason:
        said += f" ({visible(scrub(str(reason), 60), 60)})"
    if moment.model is not None:
        said += f"  {visible(moment.model, 60)}"
    return said + (f" #{visible(moment.account, 20)}" if moment.account is not None else "")


def incident_page(incident: Incident, provider: ProviderStatus | None, width: int, *, now: float) -> list[Line]:
    """Return one incident in full."""
    role = Role.BAD if incident.open else Role.TEXT
    lines: list[Line] = [((fit(title(incident), width), role),)]
    for label, text in _facts(incident, now):
        lines += labelled(label, text, width, pad=_PAD)
    lines += [(), (("Transitions", Role.TITLE),)]
    if not incident.steps:
        lines += wrap("none seen: the console saw only the requests below", width, indent=2, role=Role.DIM)
    for moment in incident.steps:
        lines.append(merge([(f"  {clock_of(moment.at)} ", Role.DIM), (fit(step_text(moment), max(8, width - 11)),
                                                                     Role.TEXT)]))  # fmt: skip
    lines += [(), ((f"Requests hit {incident.hit}", Role.TITLE),)]
    for each in incident.requests:
        bad = Role.BAD if each.absorber is None else Role.TEXT
        lines.append(((fit(f"  {clock_of(each.at)} {short_id(each.id)}  {visible(each.chain, 200)}", width), bad),))
    if incident.hit > len(incident.requests):
        lines.append(((f"  … and {incident.hit - len(incident.requests)} more", Role.DIM),))
    errors = _errors(provider)
    if errors:
        lines += [(), (("Last errors there", Role.TITLE),)]
        for route in errors:
            lines += wrap(f"{visible(route.model, 60)}: {_error(route)}", width, indent=2, role=Role.DIM)
    return lines


def _facts(incident: Incident, now: float) -> list[tuple[str, str]]:
    facts = [
        ("when", span_text(incident, now)),
        ("cause", cause_text(incident)),
        ("hit", f"{counted(incident.hit, 'request')}, {incident.lost} of them failed"),
        ("absorbed", absorbed_text(incident)),
    ]
    if incident.absorbed:
        facts += [
            ("latency", f"p50 {added_ms(incident.p50_ms)}, worst {added_ms(incident.max_ms)}"),
            ("cost", _cost(incident)),
        ]
    return facts


def _cost(incident: Incident) -> str:
    if incident.added_usd is None:
        return "– (unknown: a price, or what the provider's own requests cost, is missing)"
    return f"{added_usd(incident.added_usd)} against the provider's own rate per token"


def _errors(provider: ProviderStatus | None) -> list[RouteStatus]:
    return [route for route in provider.routes if route.last_error] if provider is not None else []


def _error(route: RouteStatus) -> str:
    error = route.last_error or {}
    return visible(scrub(f"{error.get('class', 'error')}: {error.get('detail') or ''}", 600), 600)


# -- the report ----------------------------------------------------------------------------------------------------


def report(incident: Incident, provider: ProviderStatus | None, *, now: float) -> str:
    """Return the incident as Markdown: what looks like a secret taken out, foreign text visible and inert."""
    end = incident.ended
    rows = [
        ("provider", incident.provider),
        ("began", _utc(incident.began)),
        ("ended", _utc(end) if end is not None else f"ongoing at {_utc(now)}"),
        ("lasted", quantity.span((end if end is not None else now) - incident.began)),
        ("causes", cause_text(incident)),
        ("requests hit", str(incident.hit)),
        ("absorbed by", absorbed_text(incident)),
        ("answered with an error", str(incident.lost)),
        ("added latency", f"p50 {added_ms(incident.p50_ms)}, worst {added_ms(incident.max_ms)}"),
        ("added cost", _cost(incident)),
    ]
    parts = [
        f"# Incident: {_inert(incident.provider)}",
        _table(("", ""), rows),
        "## Transitions",
        _table(("at (UTC)", "what"), [(_utc(each.at), step_text(each)) for each in incident.steps])
        if incident.steps
        else "None was seen: only requests tell of this incident.",
        "## Requests hit",
        _table(
            ("at (UTC)", "request", "chain", "added"),
            [(_utc(each.at), each.id, each.chain, added_ms(each.added_ms)) for each in incident.requests],
        )
        if incident.requests
        else "None.",
    ]
    more = incident.hit - len(incident.requests)
    if more > 0:
        parts.append(f"… and {more} more.")
    errors = _errors(provider)
    if errors:
        rows = [(route.model, _error(route)) for route in errors]
        parts += ["## Last errors of its routes", _table(("model", "error"), rows)]
    parts.append(
        f"Written by RouterConsole at {_utc(now)} from what its console had in memory. "
        "Secrets are taken out by pattern."
    )
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_inert(cell) for cell in each] for each in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _inert(text: str) -> str:
    """Return a text in which a reader's Markdown and terminal find nothing to act on, and nobody a secret."""
    return _MARKED.sub(r"\\\1", visible(scrub(text, 600), 600))


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
