"""Counters, latencies and history of routes and providers (routing.md §11)."""

from __future__ import annotations

import pytest
from tests.routing.boards import E500, GONE, RATE, Bench

from routerconsole.domain.outcome import OutcomeClass, Success
from routerconsole.domain.route import Route
from routerconsole.routing.stats import SAMPLES, STEPS, Stats, quantile

A = Route("a", None, "m")


def filled(*latencies: float, failures: int = 0) -> Stats:
    """Stats after these successes and failures at time 0."""
    stats = Stats()
    for latency in latencies:
        stats.success(Success(total_ms=latency), 0.0)
    for _ in range(failures):
        stats.failure(OutcomeClass.SERVER, 5000.0, 0.0)
    return stats


def test_C0_08_nothing_is_zero() -> None:
    """No requests: average 0.0, error rate 0.0, no quantiles."""
    stats = Stats()
    assert (stats.total, stats.spread().mean_ms, stats.error_rate, stats.rps(0.0)) == (0, 0.0, 0.0, 0.0)
    assert stats.spread().p50_ms is None
    assert stats.spread().tokens_per_s is None


def test_C0_09_the_average_is_over_requests() -> None:
    """Four requests of 1000 ms together average 250.0."""
    assert filled(100, 200, 300, 400).spread().mean_ms == 250.0


def test_C0_10_the_error_rate() -> None:
    """Three of ten failed is 0.3."""
    assert filled(*[100.0] * 7, failures=3).error_rate == 0.3


def test_C0_12_failures_do_not_dilute_the_latency() -> None:
    """Eight successes of 2000 ms together and two failures: 0.2 and 250.0; failures keep their own durations."""
    stats = filled(*[250.0] * 8, failures=2)
    assert (stats.total, stats.error_rate, stats.spread().mean_ms) == (10, 0.2, 250.0)
    assert list(stats.failure_ms) == [5000.0, 5000.0]


def test_C0_13_C3_08_counts_and_stamps_through_the_board() -> None:
    """Success: total 1, ok 1, none consecutive. Failure: failed 1, consecutive 1. Both stamp the time."""
    bench = Bench()
    bench.send(A, Success(total_ms=150.0))
    bench.now += 3.0
    before = bench.now
    bench.send(A, E500)
    for target in (A, "a"):
        stats = bench.board.stats(target)
        assert (stats.total, stats.successful, stats.failed, stats.last_at) == (2, 1, 1, before)
    assert bench.board.headroom(A, bench.now) == 4
    bench.send(A, Success(total_ms=1.0))
    assert bench.board.headroom(A, bench.now) == 5


def test_failures_are_counted_by_class_and_abandoned_calls_apart() -> None:
    """A client that left is in neither total nor failures."""
    bench = Bench()
    bench.send(A, E500, E500, RATE)
    stats = bench.board.stats(A)
    assert stats.by_class == {OutcomeClass.SERVER: 2, OutcomeClass.RATE: 1}
    bench.wait(70.0)
    bench.send(A, GONE)
    assert (stats.total, stats.ignored) == (3, 1)


@pytest.mark.parametrize(("q", "wanted"), [(0.5, 50), (0.95, 95), (1.0, 100), (0.01, 1)])
def test_quantiles_are_nearest_rank(q: float, wanted: float) -> None:
    """Of 1…100 in any order."""
    assert quantile([*range(51, 101), *range(1, 51)], q) == wanted


def test_distributions_are_bounded_and_follow_the_present() -> None:
    """After as many fast answers as are kept the slow past is gone."""
    stats = filled(*[9000.0] * SAMPLES, *[10.0] * SAMPLES)
    assert (stats.spread().p95_ms, stats.spread().mean_ms) == (10.0, 10.0)
    assert stats.successful == 2 * SAMPLES


def test_ttft_and_speed() -> None:
    """90 tokens in the 900 ms after the first: 100 per second."""
    stats = Stats()
    stats.success(Success(total_ms=1000.0, ttft_ms=100.0, completion_tokens=90), 0.0)
    stats.success(Success(total_ms=1000.0), 0.0)
    stats.success(Success(total_ms=0.0, completion_tokens=5), 0.0)
    assert stats.spread().ttft_p50_ms == 100.0
    assert stats.spread().tokens_per_s == 100.0


def test_history_is_five_minutes_in_steps_of_five_seconds() -> None:
    """Sixty pairs, oldest first; what is older is gone; rps is over the last minute."""
    stats = Stats()
    stats.success(Success(total_ms=1.0), 2.0)
    stats.failure(OutcomeClass.SERVER, 1.0, 4.9)
    for _ in range(30):
        stats.success(Success(total_ms=1.0), 297.0)
    history = stats.history(299.0)
    assert len(history) == STEPS
    assert history[0] == (1, 1)
    assert history[-1] == (30, 0)
    assert sum(map(sum, history)) == 32
    assert stats.rps(299.0) == 0.5
    assert stats.history(301.0)[0] == (0, 0)
    assert stats.rps(400.0) == 0.0
    for second in range(10_000):
        stats.success(Success(total_ms=1.0), float(second))
    assert len(stats._history) <= STEPS + 1


def test_distributions_are_made_once_after_each_success() -> None:
    """Reading twice is one piece of work; a success in between makes it new, a failure does not."""
    stats = filled(100, 300)
    first = stats.spread()
    stats.failure(OutcomeClass.SERVER, 5.0, 10.0)
    assert stats.spread() is first
    stats.success(Success(total_ms=500.0), 11.0)
    assert (first.p50_ms, stats.spread().mean_ms, stats.spread().p50_ms) == (100.0, 300.0, 300.0)
