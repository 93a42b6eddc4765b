"""The one word people read about a route or provider, and the bounded window of outcomes behind it (routing.md §1).

Health is derived and never gates routing; the window also demotes a failing route in the sort order.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from routerconsole.domain.outcome import Failure, OutcomeClass

MAX_SAMPLES = 20
"""Outcomes kept in the window."""

MIN_SAMPLES = 5
"""Below this many outcomes nothing is concluded."""

DEGRADED_SHARE = 0.1
"""Share of failed or slow outcomes that shows DEGRADED."""

DEMOTED_BELOW = 0.5
"""Success rate under which a route is ordered behind the others."""

FAST_S = 2.0
"""Seconds up to which an answer costs a route no weight."""

FLOOR = 0.05
"""The weight a route keeps whatever happened, so that it is still tried."""


class HealthWord(StrEnum):
    """Worst first: of several that apply, the first is shown."""

    DISABLED = "disabled"
    DRAINING = "draining"
    ISOLATED = "isolated"
    CONFIG_ERROR = "config_error"
    OPEN = "open"
    RECOVERING = "recovering"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    MISSING = "missing"
    DEGRADED = "degraded"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"


SEVERITY = {word: rank for rank, word in enumerate(HealthWord)}

WELL = frozenset({HealthWord.HEALTHY, HealthWord.UNKNOWN})
"""Words that need no watching."""

_BAD = frozenset(
    {
        OutcomeClass.CONNECT,
        OutcomeClass.TIMEOUT_FIRST,
        OutcomeClass.SERVER,
        OutcomeClass.RATE,
        OutcomeClass.QUOTA,
        OutcomeClass.BAD_200,
        OutcomeClass.CUT,
    }
)


def counts_against(failure: Failure) -> bool:
    """Whether a failure says something about the route's health: 5xx, 429, 402, timeouts and broken answers (C1-40)."""
    return failure.cls in _BAD and failure.counted


class OutcomeWindow:
    """The last twenty outcomes that are not older than `span` seconds; its sums are kept, not computed when asked."""

    __slots__ = ("_bad", "_ok", "_outcomes", "span")

    def __init__(self, span: float) -> None:
        self.span = span
        self._outcomes: deque[tuple[float, bool, bool, float]] = deque()  # at, ok, slow, seconds
        self._ok = self._bad = 0  # bad: failed or slow

    def success(self, seconds: float, *, slow: bool, now: float) -> None:
        """Record an answer and how long it took."""
        self._add((now, True, slow, seconds))

    def failure(self, now: float) -> None:
        """Record a failure."""
        self._add((now, False, False, 0.0))

    def clear(self) -> None:
        """Forget everything (a circuit closed: what was before is over)."""
        self._outcomes.clear()
        self._ok = self._bad = 0

    def samples(self, now: float) -> int:
        """Return how many outcomes are in the window."""
        self._expire(now)
        return len(self._outcomes)

    @property
    def spotless(self) -> bool:
        """Whether none of the outcomes kept failed or was slow."""
        return not self._bad

    def success_rate(self, now: float) -> float:
        """Return the share of successes in the window; 1.0 of nothing."""
        self._expire(now)
        return self._ok / len(self._outcomes) if self._outcomes else 1.0

    def degraded(self, now: float) -> bool:
        """Whether at least a tenth of at least five outcomes failed or were slow."""
        self._expire(now)
        count = len(self._outcomes)
        return count >= MIN_SAMPLES and self._bad >= DEGRADED_SHARE * count

    def demoted(self, now: float) -> bool:
        """Whether under half of at least five outcomes succeeded."""
        self._expire(now)
        count = len(self._outcomes)
        return count >= MIN_SAMPLES and self._ok < DEMOTED_BELOW * count

    def weight(self, now: float) -> float:
        """Return 0.05 to 1.0: the success rate, halved at most for slow answers; 1.0 on too few outcomes."""
        if self.samples(now) < MIN_SAMPLES:
            return 1.0
        times = [seconds for _, ok, _, seconds in self._outcomes if ok]
        mean = sum(times) / len(times) if times else 0.0
        pace = 0.5 + 0.5 * min(1.0, FAST_S / mean) if mean > 0 else 1.0
        return max(FLOOR, self.success_rate(now) * pace)

    def _add(self, outcome: tuple[float, bool, bool, float]) -> None:
        if len(self._outcomes) == MAX_SAMPLES:
            self._drop()
        self._outcomes.append(outcome)
        self._ok += outcome[1]
        self._bad += not outcome[1] or outcome[2]

    def _drop(self) -> None:
        _, ok, slow, _ = self._outcomes.popleft()
        self._ok -= ok
        self._bad -= not ok or slow

    def _expire(self, now: float) -> None:
        while self._outcomes and self._outcomes[0][0] < now - self.span:
            self._drop()
