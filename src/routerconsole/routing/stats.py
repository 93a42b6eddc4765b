"""Counters and bounded samples of one route or provider: O(1) appends, quantiles when read (routing.md §11).

Latency is over successes only; failures keep their own durations. Of all this only `Pace` orders routes, for the
strategies that go by speed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from routerconsole.domain.outcome import OutcomeClass, Success

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SAMPLES = 512
"""How many latest samples a distribution keeps."""

STEP_S = 5
"""Seconds per history step."""

STEPS = 60
"""History steps kept: five minutes."""

RECENT = 50
"""Latest endings that say how fast a route is of late (capabilities.md §4)."""

RECENT_S = 600.0
"""Seconds after which an ending says nothing any more: a route that was slow once is tried again."""

FAILURE_COST = 10.0
"""How many times its usual time a failure counts as (capabilities.md §4)."""

FADE_S = 10.0
"""Time constant of the peak: after so many seconds a third of it is left (finagle's `peak EWMA`)."""

_NOT_COUNTED = frozenset({OutcomeClass.IGNORED, OutcomeClass.LOCAL})


def quantile(values: Iterable[float], q: float) -> float | None:
    """Return the nearest-rank quantile (0 < q <= 1) of the values, None of nothing."""
    return ranked(sorted(values), q)


def ranked(ordered: Sequence[float], q: float) -> float | None:
    """Return the nearest-rank quantile of values in ascending order, None of nothing."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


class Spread(NamedTuple):
    """Distributions in a few numbers; None of nothing, the mean then is 0.0. `tokens_per_s` is a median."""

    mean_ms: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    ttft_p50_ms: float | None = None
    tokens_per_s: float | None = None


class Stats:
    """The numbers of one route or provider. Times of day are monotonic seconds, durations milliseconds."""

    __slots__ = (
        "_history", "_latency", "_speed", "_spread", "_spread_at", "_ttft",
        "by_class", "failed", "failure_ms", "ignored", "last_at", "successful",
    )  # fmt: skip

    def __init__(self) -> None:
        self.successful = self.failed = self.ignored = 0
        self.by_class: Counter[OutcomeClass] = Counter()
        self.failure_ms: deque[float] = deque(maxlen=SAMPLES)
        self.last_at: float | None = None
        self._spread, self._spread_at = Spread(), 0
        self._latency: deque[float] = deque(maxlen=SAMPLES)
        self._ttft: deque[float] = deque(maxlen=SAMPLES)
        self._speed: deque[float] = deque(maxlen=SAMPLES)
        self._history: deque[list[int]] = deque(maxlen=STEPS + 1)  # [step, ok, failed]

    def success(self, ending: Success, now: float) -> None:
        """Record a success."""
        self.successful += 1
        self.last_at = now
        self._latency.append(ending.total_ms)
        if ending.ttft_ms is not None:
            self._ttft.append(ending.ttft_ms)
        seconds = (ending.total_ms - (ending.ttft_ms or 0.0)) / 1000
        if ending.completion_tokens and seconds > 0:
            self._speed.append(ending.completion_tokens / seconds)
        self._step(now)[1] += 1

    def failure(self, cls: OutcomeClass, took_ms: float, now: float) -> None:
        """Record a failed attempt; ours and the client's own endings are kept apart and not in the totals."""
        if cls in _NOT_COUNTED:
            self.ignored += 1
            return
        self.failed += 1
        self.last_at = now
        self.by_class[cls] += 1
        self.failure_ms.append(took_ms)
        self._step(now)[2] += 1

    @property
    def total(self) -> int:
        """Attempts that ended in success or failure; abandoned ones are in neither."""
        return self.successful + self.failed

    @property
    def error_rate(self) -> float:
        """Failures over the total; 0.0 of nothing."""
        return self.failed / self.total if self.total else 0.0

    def spread(self) -> Spread:
        """Return what recent successes came to; made once after each of them however often it is read."""
        if self._spread_at != self.successful:
            ordered = sorted(self._latency)
            mean = math.fsum(ordered) / len(ordered) if ordered else 0.0
            low, high = (ranked(ordered, q) for q in (0.5, 0.95))
            self._spread = Spread(mean, low, high, quantile(self._ttft, 0.5), quantile(self._speed, 0.5))
            self._spread_at = self.successful
        return self._spread

    def history(self, now: float) -> tuple[tuple[int, int], ...]:
        """Return (ok, failed) per five seconds of the last five minutes, oldest first, the current step last."""
        current = math.floor(now / STEP_S)
        steps = {step: (ok, failed) for step, ok, failed in self._history}
        return tuple(steps.get(step, (0, 0)) for step in range(current - STEPS + 1, current + 1))

    def rps(self, now: float) -> float:
        """Return ended attempts per second over the last minute, to the step."""
        oldest = math.floor(now / STEP_S) - 60 // STEP_S
        return sum(ok + failed for step, ok, failed in self._history if step > oldest) / 60

    def _step(self, now: float) -> list[int]:
        step = math.floor(now / STEP_S)
        if not self._history or self._history[-1][0] != step:
            self._history.append([step, 0, 0])
        return self._history[-1]


class Pace:
    """How fast a route was of late for one kind of answer: the mean of fifty endings, and a peak that fades."""

    __slots__ = ("_bad", "_endings", "_failed_at", "_peak", "_peak_at", "_sum")

    def __init__(self) -> None:
        self._endings: deque[tuple[float, float | None]] = deque()  # at, milliseconds; None: it failed
        self._sum, self._bad = 0.0, 0
        self._peak: float | None = None
        self._peak_at = self._failed_at = -math.inf

    def success(self, ms: float, now: float) -> None:
        """Record an answer: a slower one is believed at once, a faster one bit by bit."""
        self._add(now, ms)
        if self._peak is None or ms >= self._peak:
            self._peak = ms
        else:
            held = math.exp((self._peak_at - now) / FADE_S)
            self._peak = self._peak * held + ms * (1 - held)
        self._peak_at = now

    def failure(self, now: float) -> None:
        """Record a failure that says something about the route."""
        self._add(now, None)
        self._failed_at = now

    def mean(self, now: float) -> float | None:
        """Return the mean milliseconds of the recent successes, None of none."""
        self._expire(now)
        good = len(self._endings) - self._bad
        return max(0.0, self._sum / good) if good else None

    def penalty(self, now: float) -> float:
        """Return 1.0 to 10.0: what the recent endings cost on average, a failure ten times a success."""
        self._expire(now)
        count = len(self._endings)
        return (count + (FAILURE_COST - 1) * self._bad) / count if count else 1.0

    @property
    def peak(self) -> float | None:
        """The peak as it was when last told, in milliseconds; None of nothing."""
        return self._peak

    def cost(self, now: float, best: float) -> float:
        """Return the peak-EWMA cost in milliseconds: fades to `best`, the lowest known; ten-fold after a failure."""
        peak = best if self._peak is None else best + (self._peak - best) * math.exp((self._peak_at - now) / FADE_S)
        return peak * (1 + (FAILURE_COST - 1) * math.exp((self._failed_at - now) / FADE_S))

    def _add(self, now: float, ms: float | None) -> None:
        if len(self._endings) == RECENT:
            self._drop()
        self._endings.append((now, ms))
        if ms is None:
            self._bad += 1
        else:
            self._sum += ms

    def _drop(self) -> None:
        _, ms = self._endings.popleft()
        if ms is None:
            self._bad -= 1
        else:
            self._sum -= ms

    def _expire(self, now: float) -> None:
        while self._endings and self._endings[0][0] < now - RECENT_S:
            self._drop()


class Paces:
    """A route's pace by the kind of answer: time to first token of streams, total time of whole answers."""

    __slots__ = ("stream", "whole")

    def __init__(self) -> None:
        self.stream, self.whole = Pace(), Pace()

    def success(self, ending: Success, now: float) -> None:
        """Record an answer where it belongs."""
        if ending.ttft_ms is None:
            self.whole.success(ending.total_ms, now)
        else:
            self.stream.success(ending.ttft_ms, now)

    def failure(self, now: float) -> None:
        """Record a failure; it says the same of both."""
        self.whole.failure(now)
        self.stream.failure(now)
