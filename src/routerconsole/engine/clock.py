"""The only place that reads a clock: monotonic seconds for durations, UTC epoch seconds for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime
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
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
