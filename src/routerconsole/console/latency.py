"""Latencies over time, kept from the metrics snapshots that come while a view looks at them. Bounded, pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SPANS_S: Final = (60.0, 120.0, 300.0, 600.0)
"""Seconds a chart covers: the least of these that holds what was measured. A snapshot comes every two seconds."""
MAX_SAMPLES: Final = 320
MAX_SUBJECTS: Final = 128
"""Subjects whose latencies are kept; with more than that only the first ones, and the one that is looked at."""


class Sample(NamedTuple):
    """What one snapshot said: monotonic seconds, p50 and p95 in milliseconds."""

    at: float
    p50_ms: float | None
    p95_ms: float | None


class LatencyRecord:
    """Samples by subject."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Sample]] = {}
        self.version = 0

    def add(self, at: float, measured: Iterable[tuple[str, float | None, float | None]], *, looked_at: str) -> None:
        """Add one snapshot; subjects it no longer has are forgotten."""
        kept: dict[str, deque[Sample]] = {}
        for key, p50_ms, p95_ms in measured:
            if len(kept) >= MAX_SUBJECTS and key != looked_at:
                continue
            samples = self._kept.get(key) or deque(maxlen=MAX_SAMPLES)
            if samples and at < samples[-1].at:
                samples.clear()
            samples.append(Sample(at, p50_ms, p95_ms))
            kept[key] = samples
        self._kept = kept
        self.version += 1

    def of(self, key: str) -> list[Sample]:
        """Return a subject's samples, oldest first."""
        return list(self._kept.get(key, ()))
