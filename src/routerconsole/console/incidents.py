"""Incidents: stretches in which a provider failed, folded from its transitions and the requests it failed. Pure.

What a request itself is to blame for (too long, malformed, filtered, cancelled) makes no incident.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from routerconsole.domain.events import EventType

from .reroutes import Reroute, added_cost, total

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from routerconsole.control.views import ProviderStatus, RouteStatus

    from .chronicle import Chronicle, Moment

QUIET_S: Final = 20.0
"""Seconds without a failure, and with nothing open, after which an incident has ended."""
LEAST_HITS: Final = 3
"""Failed attempts within one stretch that make an incident without any transition."""
MAX_INCIDENTS: Final = 200
MAX_STEPS: Final = 60
"""Transitions one incident keeps."""
MAX_REQUESTS: Final = 20
"""Requests one incident names, the first ones."""

CLIENTS_OWN: Final = frozenset({"CXL", "4xx", "POL", "CTX", "413", "SHED", "BUD"})
"""Causes of which a provider is innocent."""
_WELL: Final = frozenset({"healthy", "unknown"})
_BAD: Final = frozenset({"open", "rate_limited", "quota", "config_error", "missing"})
_CIRCUIT: Final = frozenset({EventType.CIRCUIT_OPENED, EventType.CIRCUIT_CLOSED, EventType.CIRCUIT_RESET})


@dataclass(frozen=True, slots=True)
class Incident:
    """One provider's trouble. Times are epoch seconds, `ended` None while it goes on; costs and waits as in flows."""

    provider: str
    began: float
    last: float
    ended: float | None
    causes: tuple[tuple[str, int], ...]
    hit: int
    absorbed: tuple[tuple[str, int], ...]
    lost: int
    p50_ms: float | None
    max_ms: float | None
    added_usd: float | None
    steps: tuple[Moment, ...]
    requests: tuple[Reroute, ...]

    @property
    def key(self) -> str:
        """What tells incidents apart."""
        return f"{self.provider}@{self.began:.0f}"

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.ended is None


@dataclass(slots=True)
class _Stretch:
    """An incident while it is folded: `held` are the circuits, gates and words that have not come right yet."""

    began: float
    last: float
    held: set[tuple[str, ...]] = field(default_factory=set)
    steps: list[Moment] = field(default_factory=list)
    hits: list[Reroute] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    tripped: bool = False


def incidents_of(
    chronicle: Chronicle,
    reroutes: Sequence[Reroute],
    providers: Iterable[ProviderStatus],
    *,
    rates: Mapping[str, float],
    now: float,
) -> list[Incident]:
    """Return all incidents that transitions and rows in memory tell of, the newest first."""
    hits: dict[str, list[Reroute]] = {}
    for each in reroutes:
        guilty = dict.fromkeys(part.provider for part in each.failed if part.cause not in CLIENTS_OWN)
        for name in guilty:
            hits.setdefault(name, []).append(each)
    well = {each.name for each in providers if _is_well(each)}
    found: list[Incident] = []
    for name in dict.fromkeys((*hits, *chronicle.providers())):
        moments = [each for each in reversed(chronicle.moments(name)) if each.type is not EventType.AUDIT]
        for stretch in _stretches(name, moments, hits.get(name, ())):
            if stretch.tripped or stretch.attempts >= LEAST_HITS:
                found.append(_incident(name, stretch, well, rates, now))
    found.sort(key=lambda incident: (incident.began, incident.provider), reverse=True)
    return found[:MAX_INCIDENTS]


def _is_well(provider: ProviderStatus) -> bool:
    parts: tuple[ProviderStatus | RouteStatus, ...] = (provider, *provider.routes)
    return all(part.gate is None and part.circuit_state == "closed" and part.status in _WELL for part in parts)


def _stretches(name: str, moments: Sequence[Moment], hits: Sequence[Reroute]) -> list[_Stretch]:
    """Cut a provider's past where it was quiet and nothing was held; good news alone begins nothing."""
    signals: list[tuple[float, int, Moment | Reroute]] = [
        *((moment.at, place, moment) for place, moment in enumerate(moments)),
        *((hit.at, len(moments) + place, hit) for place, hit in enumerate(hits)),
    ]
    signals.sort(key=lambda signal: signal[:2])
    found: list[_Stretch] = []
    current: _Stretch | None = None
    for at, _, signal in signals:
        if current is not None and not current.held and at - current.last > QUIET_S:
            current = None
        bad = isinstance(signal, Reroute) or _trips(signal)
        if current is None:
            if not bad:
                continue
            current = _Stretch(at, at)
            found.append(current)
        current.last = max(current.last, at)
        _take(current, name, signal)
    return found


def _take(stretch: _Stretch, name: str, signal: Moment | Reroute) -> None:
    if isinstance(signal, Reroute):
        stretch.hits.append(signal)
        for part in signal.failed:
            if part.provider == name and part.cause not in CLIENTS_OWN:
                stretch.causes[part.cause] += 1
                stretch.attempts += 1
        return
    if _trips(signal):
        stretch.tripped = True
    for held, bad in _holds(signal):
        (stretch.held.add if bad else stretch.held.discard)(held)
    if len(stretch.steps) < MAX_STEPS:
        stretch.steps.append(signal)


def _trips(moment: Moment) -> bool:
    """Whether a transition is bad news."""
    return any(bad for _, bad in _holds(moment))


def _holds(moment: Moment) -> list[tuple[tuple[str, ...], bool]]:
    """Return what a transition begins (True) or ends (False) to hold back."""
    where = (moment.model or "", moment.account or "")
    if moment.type in _CIRCUIT:
        return [(("circuit", *where), moment.type is EventType.CIRCUIT_OPENED)]
    if moment.type in {EventType.GATE_STARTED, EventType.GATE_ENDED}:
        gate = ("gate", *where, str(moment.data.get("reason")))
        return [(gate, moment.type is EventType.GATE_STARTED)]
    if moment.type is EventType.HEALTH_CHANGED:
        after = str(moment.data.get("after"))
        if after in _BAD:
            return [(("health", *where), True)]
        return [] if after in {"degraded", "recovering"} else [(("health", *where), False)]
    return []


def _incident(name: str, stretch: _Stretch, well: Collection[str], rates: Mapping[str, float], now: float) -> Incident:
    going_on = now - stretch.last <= QUIET_S or (bool(stretch.held) and name not in well)
    waits = [hit.added_ms for hit in stretch.hits if hit.added_ms is not None]
    absorbed = Counter(hit.absorber for hit in stretch.hits if hit.absorber is not None)
    return Incident(
        provider=name,
        began=stretch.began,
        last=stretch.last,
        ended=None if going_on else stretch.last,
        causes=tuple(stretch.causes.most_common()),
        hit=len(stretch.hits),
        absorbed=tuple(absorbed.most_common()),
        lost=sum(hit.absorber is None for hit in stretch.hits),
        p50_ms=median(waits) if waits else None,
        max_ms=max(waits, default=None),
        added_usd=total(added_cost(hit, name, rates) for hit in stretch.hits),
        steps=tuple(stretch.steps),
        requests=tuple(stretch.hits[:MAX_REQUESTS]),
    )
