"""The outcome window, the words derived from it, and their order."""

from __future__ import annotations

import pytest
from tests.routing.boards import CONNECT, E500, GONE, OK, QUOTA, RATE, Bench, kinds, provider

from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import Success
from routerconsole.domain.route import Route
from routerconsole.routing.health import HealthWord, OutcomeWindow

A = Route("a", None, "m")


def window(pattern: str, seconds: float = 0.5) -> OutcomeWindow:
    """A window after these outcomes: `s` success, `S` slow success, `f` failure."""
    made = OutcomeWindow(60.0)
    for letter in pattern:
        if letter == "f":
            made.failure(0.0)
        else:
            made.success(seconds, slow=letter == "S", now=0.0)
    return made


def test_C1_37_untouched_then_bounded_at_twenty() -> None:
    """Rate 1.0 of nothing; 20 failures 0.0; 20 successes after them 1.0."""
    made = window("")
    assert (made.success_rate(0.0), made.samples(0.0)) == (1.0, 0)
    made = window("f" * 20)
    assert made.success_rate(0.0) == 0.0
    made = window("f" * 20 + "s" * 20)
    assert (made.success_rate(0.0), made.samples(0.0)) == (1.0, 20)


def test_C1_38_weight_by_success() -> None:
    """Too few samples 1.0; all good 1.0; monotonic; floor 0.05."""
    assert window("ffff").weight(0.0) == 1.0
    assert window("s" * 10).weight(0.0) == window("").weight(0.0) == 1.0
    weights = [window("f" * (20 - n) + "s" * n).weight(0.0) for n in range(21)]
    assert weights == sorted(weights)
    assert weights[0] == 0.05


def test_C1_39_weight_by_pace() -> None:
    """20 s but ok: between 0.5 and 1.0 and above a fast one that fails; up to 2 s exactly 1.0."""
    slow = window("s" * 10, seconds=20.0).weight(0.0)
    assert 0.5 < slow < 1.0
    assert slow > window("sf" * 5, seconds=0.1).weight(0.0)
    assert window("s" * 10, seconds=2.0).weight(0.0) == 1.0


@pytest.mark.parametrize(
    ("pattern", "degraded", "demoted"),
    [
        ("ffff", False, False),
        ("sssss", False, False),
        ("ssssf", True, False),
        ("s" * 19 + "f", False, False),
        ("s" * 18 + "ff", True, False),
        ("s" * 9 + "S", True, False),
        ("sfsfs", True, False),
        ("sfsff", True, True),
    ],
)
def test_degraded_from_a_tenth_demoted_under_half_both_from_five_samples(
    pattern: str, degraded: bool, demoted: bool
) -> None:
    """Failed or slow shows; only failing costs the place."""
    made = window(pattern)
    assert (made.degraded(0.0), made.demoted(0.0)) == (degraded, demoted)


def test_the_window_forgets_with_time() -> None:
    """A demoted route gets its place back a minute later, or it would never be tried again."""
    made = window("f" * 20)
    assert made.demoted(60.0)
    assert not made.demoted(60.1)
    assert made.samples(60.1) == 0


def test_C1_40_twenty_cancelled_streams_leave_health_unchanged() -> None:
    """Neither worse nor better."""
    bench = Bench()
    bench.send(A, OK)
    bench.send(A, *[GONE] * 20)
    assert bench.board.success_rate(A, bench.now) == (1.0, 1)
    assert bench.health(A) == "healthy"


def test_the_words_in_their_order() -> None:
    """Everything wrong at once shows the first; as each is lifted the next appears, down to healthy."""
    bench = Bench()
    node, now = bench.board._routes[A], bench.now
    flying = [bench.lease(A) for _ in range(9)]
    for lease, ending in zip(flying, [RATE, *[E500] * 5, QUOTA, OK, OK], strict=True):
        bench.settle(lease, ending)
    from routerconsole.routing.state import Fault, FaultKind

    bench.board.isolate("a", "m", now, ttl=60)
    bench.board.disable("a", "m", now)
    node.fault = Fault(FaultKind.CONFIG_ERROR, "x")
    seen = [bench.health(A)]
    bench.board.drain("a", "m", now)
    seen.append(bench.health(A))
    bench.board.enable("a", "m", now)
    bench.board.isolate("a", "m", now, ttl=60)
    seen.append(bench.health(A))
    bench.board.enable("a", "m", now)
    seen.append(bench.health(A))
    node.fault = Fault(FaultKind.MISSING, "x")
    seen.append(bench.health(A))
    node.breaker.nudge(now)
    seen.append(bench.health(A))
    node.breaker.reset(now)
    seen.append(bench.health(A))
    node.gates._ends.pop(next(reason for reason in node.gates._ends if reason == "quota"))
    seen.append(bench.health(A))
    node.gates.clear()
    seen.append(bench.health(A))
    node.fault = None
    seen.append(bench.health(A))
    node.window.clear()
    seen.append(bench.health(A))
    assert seen == [str(word) for word in HealthWord if word is not HealthWord.UNKNOWN]
    assert Bench().health(A) == HealthWord.UNKNOWN


def test_one_failure_of_one_is_not_unhealthy_and_not_healthy() -> None:
    """A lifetime rate of 1.0 on one sample says nothing."""
    bench = Bench()
    bench.send(A, E500)
    assert bench.health(A) == "unknown"
    assert bench.refusal(A) is None


def test_a_provider_shows_what_all_its_routes_suffer_from() -> None:
    """One of two open: not open; both: the provider reads open though only its routes are."""
    bench = Bench(provider("a"))
    bench.send(A, *[E500] * 5)
    assert bench.state("a") == "closed"
    assert bench.health("a") == "open"
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, *[E500] * 5)
    assert bench.health("a") != "open"


def test_a_reachable_provider_without_traffic_is_healthy() -> None:
    """A good probe is knowledge; none is not."""
    bench = Bench()
    assert bench.health("a") == "unknown"
    bench.board.probe_result("a", True, bench.now)
    assert bench.health("a") == "healthy"
    assert bench.health(A) == "unknown"


def test_changes_of_health_are_told_once_and_healing_by_time_too() -> None:
    """unknown → degraded on the way down, → healthy when the window has forgotten, without any traffic."""
    bench = Bench()
    bench.send(A, OK, OK, OK, OK)
    facts = bench.send(A, E500)
    assert [fact.data["after"] for fact in facts if fact.data["model"] == "m"] == ["degraded"]
    assert bench.send(A, OK) == []
    healed = bench.wait(61.0)
    assert EventType.HEALTH_CHANGED in kinds(healed)
    assert {fact.data["after"] for fact in healed} == {"healthy"}
    assert bench.wait(1.0) == []


def test_slow_answers_degrade_but_never_refuse() -> None:
    """Health never gates routing by itself."""
    bench = Bench()
    bench.send(A, *[Success(total_ms=30_000.0, slow=True)] * 10)
    assert bench.health(A) == "degraded"
    assert bench.refusal(A) is None
    assert not bench.board.degraded(A, bench.now)


def test_an_unreachable_providers_routes_read_open() -> None:
    """The word of a route includes its provider's layers."""
    bench = Bench()
    bench.send(A, CONNECT, CONNECT, CONNECT)
    assert bench.state(A) == "closed"
    assert bench.health(A) == bench.health("a") == "open"


def test_a_thousand_unwell_routes_are_all_noticed_when_they_heal() -> None:
    """A tick looks at a share of them; a few ticks later every one was told, each once."""
    models = [f"m{n}" for n in range(1000)]
    bench = Bench(provider("a", models))
    for model in models:
        bench.send(Route("a", None, model), OK, OK, OK, OK, E500)
    bench.now += 70.0
    told = [fact for _ in range(10) for fact in bench.wait(0.25) if fact.type is EventType.HEALTH_CHANGED]
    healed = [fact.data["model"] for fact in told if fact.data["after"] == "healthy" and fact.data["model"]]
    assert sorted(healed) == sorted(models)
