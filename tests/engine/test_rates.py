"""The figures of the top bar."""

from __future__ import annotations

import pytest

from routerconsole.engine.rates import LATENCIES, WINDOW_S, Rates


def test_nothing_is_zero_not_an_error() -> None:
    """C0-08's kind: no requests, no division by zero."""
    assert Rates().read(5.0) == (0.0, 0.0, 0.0, None)


def test_the_window_is_a_minute() -> None:
    """What is older than the window counts no more."""
    rates = Rates()
    for second in range(120):
        rates.note(float(second), failed_over=False, failed=False, total_ms=10.0)
    assert rates.read(119.5)[0] == pytest.approx(1.0, abs=0.02)
    assert rates.read(119.0 + WINDOW_S + 1)[0] == 0.0


def test_ratios_count_requests() -> None:
    """A quarter failed over, half failed."""
    rates = Rates()
    for n in range(8):
        rates.note(1.0, failed_over=n < 2, failed=n < 4, total_ms=None if n < 4 else float(n))
    _, failovers, errors, p95 = rates.read(1.5)
    assert (failovers, errors, p95) == (0.25, 0.5, 7.0)


def test_the_first_seconds_are_not_blown_up() -> None:
    """Ten requests in the first tenth of a second are ten per second, not a hundred."""
    rates = Rates()
    for _ in range(10):
        rates.note(100.0, failed_over=False, failed=False, total_ms=1.0)
    assert rates.read(100.1)[0] == 10.0


def test_the_memory_is_bounded() -> None:
    """An hour at any rate leaves a window of buckets and a fixed number of latencies."""
    rates = Rates()
    for n in range(3600):
        rates.note(float(n), failed_over=False, failed=False, total_ms=float(n))
    assert rates.read(3599.0)[3] == 3600 - LATENCIES + int(LATENCIES * 0.95)
    assert len(rates._buckets) <= WINDOW_S + 1
