"""What the log says of failovers: who failed how, who absorbed it, what it cost. Pure folds over the rows in memory.

A chain names providers, causes and the served attempt's time; nothing here asks the engine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from .state import noteworthy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from routerconsole.control.views import RequestRow

WINDOW_S: Final = 3600.0
"""Seconds of the log that flows look back over, as far as its rows are kept."""
NEWEST: Final = 5
"""Requests a flow names."""
MAX_KNOWN: Final = 4000


class Failed(NamedTuple):
    """One attempt that did not serve."""

    provider: str
    cause: str


@dataclass(frozen=True, slots=True)
class Reroute:
    """One request that did not go smoothly. `at` is epoch seconds; `added_ms` is what passed before the attempt that
    served began, None where none did; `absorber` None: the client got the failure."""

    id: str
    at: float
    failed: tuple[Failed, ...]
    absorber: str | None
    added_ms: float | None
    cost_usd: float | None
    tokens: int
    chain: str
    tries: int


@dataclass(frozen=True, slots=True)
class Flow:
    """All requests of a window that failed at one provider for one cause and ended at one place."""

    source: str
    cause: str
    target: str | None
    n: int
    p50_ms: float | None
    max_ms: float | None
    added_usd: float | None
    first: float
    last: float
    newest: tuple[Reroute, ...]

    @property
    def key(self) -> str:
        """What tells flows apart."""
        return f"{self.source}\0{self.cause}\0{self.target or ''}"


@dataclass(frozen=True, slots=True)
class Flows:
    """The flows of a window, the largest first. `tries` is upstream calls per request over all `requests` in it."""

    flows: tuple[Flow, ...] = ()
    requests: int = 0
    rerouted: int = 0
    lost: int = 0
    tries: float = 0.0
    since: float | None = None


def _when(at: str) -> float | None:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def reroute_of(row: RequestRow) -> Reroute | None:
    """Return what a row says of a failover, None for one that names no failed attempt or no moment."""
    failed: list[Failed] = []
    absorber: str | None = None
    served_ms: float | None = None
    for step in row.chain.split(" › "):
        name, mark, rest = step.partition("✗")
        if mark:
            failed.append(Failed(name, rest.split(" ", 1)[0] or "?"))
            continue
        name, mark, rest = step.partition("✓")
        if mark:
            absorber, served_ms = name, _number(rest)
    at = _when(row.at)
    if not failed or at is None:
        return None
    if row.status in {"failed", "truncated", "cancelled"}:
        absorber = None
    added = None
    if absorber is not None and served_ms is not None and row.total_ms is not None:
        added = max(0.0, row.total_ms - served_ms)
    tokens = (row.prompt_tokens or 0) + (row.completion_tokens or 0)
    return Reroute(row.id, at, tuple(failed), absorber, added, row.cost_usd, tokens, row.chain, row.attempts)


def _number(text: str) -> float | None:
    try:
        return float(text.strip().removesuffix("ms"))
    except ValueError:
        return None


@dataclass(slots=True)
class Reroutes:
    """Reads rows as reroutes and remembers the finished ones: a look costs what it brought."""

    _known: dict[str, tuple[RequestRow, Reroute | None]] = field(default_factory=dict)

    def of(self, rows: Sequence[RequestRow]) -> list[Reroute]:
        """Return the reroutes among rows that have ended, in their order."""
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        found: list[Reroute] = []
        for row in rows:
            if row.status == "in_flight" or not noteworthy(row):
                continue
            known = self._known.get(row.id)
            if known is None or known[0] is not row:
                known = self._known[row.id] = (row, reroute_of(row))
            if known[1] is not None:
                found.append(known[1])
        return found


def rates_of(rows: Iterable[RequestRow]) -> dict[str, float]:
    """Return USD per token by provider, over what each served itself; one whose costs are unknown is not in it."""
    cost: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for row in rows:
        count = (row.prompt_tokens or 0) + (row.completion_tokens or 0)
        if row.provider is not None and row.cost_usd is not None and count:
            cost[row.provider] += row.cost_usd  # type: ignore[assignment]  # a Counter adds floats as well
            tokens[row.provider] += count
    return {name: cost[name] / count for name, count in tokens.items()}


def added_cost(reroute: Reroute, source: str, rates: Mapping[str, float]) -> float | None:
    """Return the USD a request cost more (or, below zero, less) than at its source's own rate; None where unknown."""
    if reroute.absorber is None or reroute.cost_usd is None:
        return None
    if reroute.absorber == source:
        return 0.0  # a second try at the same place: failed attempts are not billed
    rate = rates.get(source)
    return None if rate is None else reroute.cost_usd - rate * reroute.tokens


def flows_of(
    rows: Sequence[RequestRow], reroutes: Sequence[Reroute], rates: Mapping[str, float], *, now: float
) -> Flows:
    """Fold a log's rows (oldest first), its reroutes and the providers' rates into the flows of the last hour."""
    begin = now - WINDOW_S
    # moments are written alike, so they stand in the order of their texts: none is read but the first
    first = bisect_left(rows, f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%dT%H:%M:%S}", key=attrgetter("at"))
    recent = [row for row in rows[first:] if row.status != "in_flight"]
    groups: dict[tuple[str, str, str | None], list[Reroute]] = {}
    within = [each for each in reroutes if each.at >= begin]
    for each in within:
        for failed in dict.fromkeys(each.failed):
            groups.setdefault((failed.provider, failed.cause, each.absorber), []).append(each)
    flows = [_flow(*key, members, rates) for key, members in groups.items()]
    flows.sort(key=lambda flow: (-flow.n, -flow.last, flow.key))
    calls = sum(max(1, row.attempts) for row in recent)
    return Flows(
        tuple(flows),
        requests=len(recent),
        rerouted=sum(each.absorber is not None for each in within),
        lost=sum(each.absorber is None for each in within),
        tries=calls / len(recent) if recent else 0.0,
        since=_when(recent[0].at) if recent else None,
    )


def _flow(source: str, cause: str, target: str | None, members: Sequence[Reroute], rates: Mapping[str, float]) -> Flow:
    waits = [each.added_ms for each in members if each.added_ms is not None]
    return Flow(
        source,
        cause,
        target,
        n=len(members),
        p50_ms=median(waits) if waits else None,
        max_ms=max(waits, default=None),
        added_usd=total(added_cost(each, source, rates) for each in members),
        first=members[0].at,
        last=members[-1].at,
        newest=tuple(members[: -NEWEST - 1 : -1]),
    )


def total(costs: Iterable[float | None]) -> float | None:
    """Return the sum of what is known, None where nothing is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None
