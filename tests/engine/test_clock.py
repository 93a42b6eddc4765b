"""Clocks."""

from __future__ import annotations

from routerconsole.engine.clock import SystemClock, iso


def test_iso_is_utc_with_milliseconds() -> None:
    """The one spelling of a moment."""
    assert iso(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"


def test_monotonic_never_goes_back() -> None:
    """Two readings in order."""
    assert SystemClock.monotonic() <= SystemClock.monotonic()
    assert SystemClock.wall() > 1_600_000_000
