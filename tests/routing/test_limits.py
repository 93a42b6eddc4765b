"""The books of limits: sliding minutes, UTC days, estimates put right, and what a restart brings back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.routing.cascades import CHAT, Stage, model, pool, provider

from routerconsole.domain.registry import Limits
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Decision
from routerconsole.routing.limits import DAY_S, WINDOW_S, Charge, Meter, Used

A = Route("a", None, "m")
NOON = 20_000 * DAY_S + DAY_S / 2


def filled(requests: int, tokens: int = 0, *, now: float = 0.0, wall: float = NOON) -> Meter:
    """Books with so many requests of so many tokens each."""
    meter = Meter()
    for _ in range(requests):
        meter.sent(A, tokens, now, wall)
    return meter


@pytest.mark.parametrize(
    ("limits", "requests", "tokens", "left"),
    [
        (Limits(), 500, 500, 1.0),
        (Limits(rpm=10), 5, 0, 0.5),
        (Limits(rpm=10), 10, 0, 0.0),
        (Limits(rpm=10), 15, 0, 0.0),
        (Limits(tpm=1000), 5, 100, 0.5),
        (Limits(rpd=20), 5, 0, 0.75),
        (Limits(tpd=1000), 9, 100, 0.1),
        (Limits(rpm=50, tpm=1000), 5, 180, 0.1),
    ],
)
def test_C1_43_capacity_is_what_is_left_of_the_tightest_limit(
    limits: Limits, requests: int, tokens: int, left: float
) -> None:
    """No limits 1.0, used up 0.0, of several the worst counts; more than allowed is no less than nothing."""
    assert filled(requests, tokens).remaining(A, limits, 0.0) == pytest.approx(left)


def test_a_route_is_short_with_the_numbers_of_every_limit_it_would_break() -> None:
    """One more request over rpm or rpd, or its estimate over tpm or tpd; below it says nothing."""
    meter = filled(3, 300)
    assert meter.short(A, Limits(rpm=4, tpm=1000, rpd=4, tpd=1000), 100, 0.0) == ""
    assert meter.short(A, Limits(rpm=3, tpm=1000), 200, 0.0) == "rpm 3/3, tpm 900/1000 and 200 needed"
    assert meter.short(A, Limits(rpd=3, tpd=900), 1, 0.0) == "rpd 3/3, tpd 900/900"
    assert meter.short(Route("b", None, "m"), Limits(rpm=1), 0, 0.0) == ""


def test_limits_are_each_accounts_own() -> None:
    """Another account, model or provider has books of its own."""
    meter = filled(5)
    for other in (Route("a", "x", "m"), Route("a", None, "n"), Route("b", None, "m")):
        assert meter.used(other, 0.0) == Used()


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50)), max_size=80))
def test_a_minute_slides(steps: list[tuple[float, int]]) -> None:
    """Everything of the last 60 s counts, nothing of more than 61 s ago, and the books stay small."""
    meter, sent, now = Meter(), list[tuple[float, int]](), 1000.0
    for pause, tokens in steps:
        now += pause
        meter.sent(A, tokens, now, NOON)
        sent.append((now, tokens))
        used = meter.used(A, now)
        for held, counted in ((WINDOW_S, used), (WINDOW_S + 1, used)):
            within = [tokens for at, tokens in sent if now - at < held]
            if held == WINDOW_S:
                assert (counted.rpm, counted.tpm) >= (len(within), 0)
                assert counted.tpm >= sum(within)
            else:
                assert counted.rpm <= len(within)
                assert counted.tpm <= sum(within)
        assert len(meter._counters[A].seconds) <= WINDOW_S + 1


class Books(RuleBasedStateMachine):
    """A meter against plain lists: attempts are sent, put right or taken back while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.meter, self.now, self.wall = Meter(), 0.0, 20_000.0 * DAY_S
        self.open: list[tuple[Charge, int]] = []
        self.sent: list[list[float]] = []  # second, day, requests, tokens

    @rule(tokens=st.integers(0, 5000))
    def send(self, tokens: int) -> None:
        """An attempt goes out."""
        self.sent.append([int(self.now), int(self.wall // DAY_S), 1, tokens])
        self.open.append((self.meter.sent(A, tokens, self.now, self.wall), len(self.sent) - 1))

    @rule(tokens=st.integers(0, 5000), data=st.data())
    def answered(self, tokens: int, data: st.DataObject) -> None:
        """One of them says what it took, however late."""
        if self.open:
            charge, at = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            charge.known(tokens)
            self.sent[at][3] = tokens

    @rule(data=st.data())
    def never_left(self, data: st.DataObject) -> None:
        """One of them reached nobody."""
        if self.open:
            charge, at = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            charge.unsent()
            self.sent[at][2:] = [0, 0]

    @rule(seconds=st.sampled_from((0.4, 5.0, 59.0, 61.0, 40_000.0, DAY_S + 1.0)))
    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.now += seconds
        self.wall += seconds
        self.meter.turn(self.wall)

    @invariant()
    def adds_up(self) -> None:
        """The sums are those of the list."""
        minute = [each for each in self.sent if each[0] >= int(self.now) - WINDOW_S]
        today = [each for each in self.sent if each[1] == int(self.wall // DAY_S)]
        assert self.meter.used(A, self.now) == Used(
            int(sum(each[2] for each in minute)), int(sum(each[3] for each in minute)),
            int(sum(each[2] for each in today)), int(sum(each[3] for each in today)),
        )  # fmt: skip


TestBooks = Books.TestCase


def test_a_days_counts_end_with_the_utc_date_also_where_nothing_is_sent() -> None:
    """One second before midnight they count, at midnight they do not; a minute's counts run on."""
    midnight = 20_001 * DAY_S
    meter = filled(3, 10, wall=midnight - 1)
    meter.turn(midnight - 1)
    assert meter.used(A, 1.0) == Used(3, 30, 3, 30)
    meter.turn(midnight)
    assert meter.used(A, 1.0) == Used(3, 30, 0, 0)
    meter.sent(A, 5, 1.0, midnight)
    assert meter.used(A, 1.0) == Used(4, 35, 1, 5)


def test_a_restart_on_the_same_utc_day_brings_the_days_counts_back() -> None:
    """What was written is added to what was counted since; of another day it is nothing; nonsense is refused."""
    before = filled(3, 10)
    ((route, record),) = before.records({A})
    assert list(before.records({A})) == [], "written once"
    after = Meter()
    after.sent(A, 7, 0.0, NOON)
    assert after.restore(route, record, NOON)
    assert after.used(A, 0.0) == Used(1, 7, 4, 37)
    assert not Meter().restore(route, record, NOON + DAY_S)
    for broken in ({}, {**record, "date": "yesterday"}, {**record, "requests": -1}, {**record, "tokens": "many"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Meter().restore(route, broken, NOON)


def test_only_routes_with_daily_limits_are_written() -> None:
    """A minute's limits need no disk."""
    assert list(filled(3).records(set())) == []


def test_an_exhausted_route_goes_behind_stays_eligible_and_says_its_numbers() -> None:
    """In a pool by priority too: first the one with room, then the exhausted one; alone it is still asked."""
    full = provider("a", model("a", limits=Limits(rpm=2)), priority=1)
    bench = Stage(full, provider("b", priority=2), pools=[pool("p", "a/m", "b/m")])
    assert [bench.send(name="p").names for _ in range(3)] == [["a"], ["a"], ["b"]]
    last = bench.decide(name="p").ranked[-1].candidate
    assert (last.route, last.decision, last.reasons) == (A, Decision.DEMOTED, ["limits used up: rpm 2/2"])
    assert bench.send(name="a/m").names == ["a"]
    bench.now += WINDOW_S + 1
    assert bench.send(name="p").names == ["a"]


def test_tokens_are_weighed_by_estimate_before_the_call() -> None:
    """A request that would not fit the tokens left goes elsewhere, a smaller one does not."""
    bench = Stage(provider("a", model("a", limits=Limits(tpm=100)), priority=1), provider("b", priority=2))
    bench.meter.sent(A, 95, bench.now, NOON)
    assert bench.decide(CHAT).ranked[0].route.provider == "b", "95 + 10 > 100"
    bench.meter.sent(A, 0, bench.now, NOON).known(-10)
    assert bench.decide(CHAT).ranked[0].route.provider == "a"
