"""The only place that reads a clock: monotonic seconds for durations, UTC epoch seconds for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Time as an argument; tests hand in their own."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def wall(self) -> float:
        """Return UTC epoch seconds."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


def iso(at: float) -> str:
    """Return UTC epoch seconds as ISO 8601 with milliseconds and a Z."""
    whole, ms = divmod(round(at * 1_000_000) // 1000, 1000)
    return f"{_second(whole)}.{ms:03d}Z"


@lru_cache(4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
