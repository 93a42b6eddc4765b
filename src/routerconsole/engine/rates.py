"""Requests, failovers and errors of the last minute, and the p95 of recent answers; for the one-line top bar."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60
LATENCIES = 512
"""Answers the p95 looks back on."""


class Rates:
    """Second-wide buckets of (requests, failovers, errors); `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque(maxlen=WINDOW_S + 1)
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._began: float | None = None

    def note(self, now: float, *, failed_over: bool, failed: bool, total_ms: float | None) -> None:
        """Count one finished request; `total_ms` None for one that gave no answer."""
        second = int(now)
        if self._began is None:
            self._began = now
        if not self._buckets or self._buckets[-1][0] != second:
            self._buckets.append([second, 0, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += 1
        bucket[2] += failed_over
        bucket[3] += failed
        if total_ms is not None:
            self._latencies.append(total_ms)

    def read(self, now: float) -> tuple[float, float, float, float | None]:
        """Return requests per second, failover ratio, error ratio (both 0 to 1) and p95 in milliseconds."""
        recent = [bucket for bucket in self._buckets if bucket[0] > now - WINDOW_S]
        total = sum(bucket[1] for bucket in recent)
        if not total or self._began is None:
            return 0.0, 0.0, 0.0, self._p95()
        span = min(float(WINDOW_S), max(1.0, now - self._began))
        return (
            total / span,
            sum(bucket[2] for bucket in recent) / total,
            sum(bucket[3] for bucket in recent) / total,
            self._p95(),
        )

    def _p95(self) -> float | None:
        if not self._latencies:
            return None
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
