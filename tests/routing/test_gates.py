"""Gates: how long, for whom, and what can shorten or pass them."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from tests.routing.boards import AUTH, E500, E503, OK, QUOTA, RATE, Bench, kinds, provider

from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import FaultScope, GateReason
from routerconsole.domain.route import Route
from routerconsole.routing.board import Lease, Refusal, RefusalKind
from routerconsole.routing.gates import CAP, Gates

A = Route("a", None, "m")
A2 = Route("a", None, "n")


def left(bench: Bench, route: Route = A) -> float:
    """Seconds the route is still gated."""
    return bench.board.gate_remaining(route, bench.now)


@pytest.mark.parametrize(
    ("ending", "low", "reason"),
    [
        (RATE, 60.0, "rate"),
        (replace(RATE, retry_after=30.0), 30.0, "rate"),
        (replace(RATE, retry_after=1.5), 1.5, "rate"),
        (replace(RATE, retry_after=1e9), 3600.0, "rate"),
        (QUOTA, 3600.0, "quota"),
        (replace(QUOTA, retry_after=37_025.7), 37_025.7, "quota"),
        (replace(QUOTA, retry_after=1e9), 86_400.0, "quota"),
        (replace(E503, retry_after=5.0), 5.0, "overload"),
        (replace(E503, retry_after=1e9), 3600.0, "overload"),
        (replace(RATE, gate=GateReason.QUOTA), 3600.0, "quota"),
    ],
)
def test_C1_41_gates_by_class_and_hint(ending: object, low: float, reason: str) -> None:
    """Hint or default, at most 10 % more, never over the cap; the breaker is not the gate."""
    bench = Bench()
    facts = bench.send(A, ending)  # type: ignore[arg-type] # failures
    assert low <= left(bench) <= min(low * 1.1, CAP[GateReason(reason)])
    started = [fact.data for fact in facts if fact.type is EventType.GATE_STARTED]
    assert [data["reason"] for data in started] == [reason]
    assert bench.refusal(A) == RefusalKind.GATE


@pytest.mark.parametrize("ending", [E500, E503, OK, AUTH], ids=["500", "503", "ok", "401"])
def test_C1_41_no_gate_without_cause(ending: object) -> None:
    """A server error without a hint, a success and a bad key set none."""
    bench = Bench()
    bench.send(A, ending)  # type: ignore[arg-type] # endings
    assert left(bench) == 0.0


@pytest.mark.parametrize("hint", [-5.0, math.nan, math.inf])
def test_U18_an_absurd_hint_is_no_hint(hint: float) -> None:
    """The default holds; and zero is honoured: no gate at all."""
    bench = Bench()
    bench.send(A, replace(RATE, retry_after=hint))
    assert 60.0 <= left(bench) <= 66.0
    bench = Bench()
    bench.send(A, replace(RATE, retry_after=0.0))
    assert bench.refusal(A) is None


def test_rate_and_quota_never_touch_the_breakers() -> None:
    """Fifty in flight all end 429: both circuits closed, headroom full."""
    bench = Bench()
    for lease in [bench.lease(A) for _ in range(50)]:
        bench.settle(lease, RATE)
    assert bench.state(A) == bench.state("a") == "closed"
    assert bench.board.headroom(A, bench.now) == 5


def test_C1_42_a_gate_expires_with_the_clock_and_is_told() -> None:
    """Retry-After 30: refused now, gate.started once; admitted after at most 33 s, gate.ended once."""
    bench = Bench()
    bench.send(A, replace(RATE, retry_after=30.0))
    assert bench.health(A) == "rate_limited"
    bench.wait(29.9)
    assert bench.refusal(A) == RefusalKind.GATE
    bench.wait(3.2)
    assert bench.refusal(A) is None
    told = kinds(bench.facts)
    assert (told.count(EventType.GATE_STARTED), told.count(EventType.GATE_ENDED)) == (1, 1)
    assert bench.health(A) != "rate_limited"


def test_C1_42_gates_are_per_account_and_account_wide_where_the_answer_says_so() -> None:
    """A route's 429 leaves the siblings; an account-wide one gates all models of that account only."""
    bench = Bench(provider("a", ["m", "n"], accounts={"x": "1", "y": "2"}))
    bench.send(Route("a", "x", "m"), RATE)
    gated = [str(bench.refusal(Route("a", account, model))) for account in "xy" for model in "mn"]
    assert gated == ["gate", "None", "None", "None"]
    bench.send(Route("a", "x", "n"), replace(QUOTA, scope=FaultScope.ACCOUNT))
    gated = [str(bench.refusal(Route("a", account, model))) for account in "xy" for model in "mn"]
    assert gated == ["gate", "gate", "None", "None"]
    assert bench.board.gate("a", bench.now) is None
    assert bench.health(Route("a", "x", "m")) == "quota"


def test_a_new_hint_never_shortens() -> None:
    """100 s, then 1 s from a call that was in flight: still 100 s; then 200 s: longer."""
    bench = Bench()
    flying = [bench.lease(A) for _ in range(3)]
    bench.settle(flying[0], replace(RATE, retry_after=100.0))
    first = left(bench)
    bench.settle(flying[1], replace(RATE, retry_after=1.0))
    assert left(bench) == first
    bench.settle(flying[2], replace(RATE, retry_after=200.0))
    assert left(bench) >= 200.0


def test_quota_is_what_is_shown_while_it_lasts() -> None:
    """A longer rate hint on top does not turn a quota gate into one that may be tried as last resort."""
    bench = Bench()
    flying = [bench.lease(A) for _ in range(2)]
    bench.settle(flying[0], replace(QUOTA, retry_after=100.0))
    bench.settle(flying[1], replace(RATE, retry_after=1000.0))
    gate = bench.board.gate(A, bench.now)
    assert gate is not None
    assert gate[0] is GateReason.QUOTA
    assert gate[1] >= 1000.0
    assert not bench.board.last_resort_open(A, bench.now)
    bench.now += 111.0
    assert bench.board.last_resort_open(A, bench.now)


def test_jitter_spreads_and_stays_within_a_tenth() -> None:
    """Five hundred gates of 100 s end between 100 and 110 s, not together."""
    dice, ends = random.Random(2), []
    for _ in range(500):
        gates = Gates()
        gates.start(GateReason.RATE, 100.0, 0.0, dice)
        ends.append(gates.until(0.0) or 0.0)
    assert min(ends) >= 100.0
    assert max(ends) <= 110.0
    assert max(ends) - min(ends) > 8.0


def test_the_last_resort_passes_a_gate_once_per_period() -> None:
    """Extensions belong to the same period; a new period has its own."""
    bench = Bench()
    bench.send(A, RATE)
    assert bench.board.last_resort_open(A, bench.now)
    lease = bench.admit(A, last_resort=True)
    assert isinstance(lease, Lease)
    bench.settle(lease, replace(RATE, retry_after=500.0))
    assert not bench.board.last_resort_open(A, bench.now)
    assert isinstance(bench.admit(A, last_resort=True), Refusal)
    bench.wait(560.0)
    bench.send(A, RATE)
    assert bench.board.last_resort_open(A, bench.now)


def test_the_last_resort_never_passes_quota_or_an_open_circuit() -> None:
    """Quota means no; an open circuit has its own probe."""
    bench = Bench()
    bench.send(A, QUOTA)
    assert not bench.board.last_resort_open(A, bench.now)
    assert isinstance(bench.admit(A, last_resort=True), Refusal)
    bench = Bench()
    flying = [bench.lease(A) for _ in range(6)]
    bench.settle(flying[0], RATE)
    for lease in flying[1:]:
        bench.settle(lease, E500)
    assert not bench.board.last_resort_open(A, bench.now)
    assert isinstance(bench.admit(A, last_resort=True), Refusal)
