"""What pools remember: sticky pointers, turns and sessions, driven by whole requests over plan and cascade."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.routing.cascades import (
    AUTH,
    CONTEXT,
    HTML,
    MISSING,
    NO_TOOLS,
    OK,
    QUOTA,
    REFUSED,
    TOOLS,
    VISION,
    Stage,
    client,
    fleet,
    model,
    pool,
    provider,
    rate,
    server,
)  # fmt: skip

from routerconsole.domain.outcome import Failure
from routerconsole.domain.pool import SessionMode, Strategy
from routerconsole.domain.registry import Registry
from routerconsole.domain.route import Route
from routerconsole.routing import pointers
from routerconsole.routing.pointers import IDLE_S, Pointers, Track


def stage(strategy: Strategy, names: str = "abc", **more: object) -> Stage:
    """A pool `p` of one model at each of these providers."""
    return Stage(*fleet(*names), pools=[pool("p", *(f"{name}/m" for name in names), strategy=strategy, **more)])


def sticky(names: str = "abc") -> Stage:
    """A pool that sticks until failure."""
    return stage(Strategy.STICK_UNTIL_FAILURE, names)


def where(bench: Stage) -> str | None:
    """Where pool `p` points."""
    found = bench.pointers.sticky("p")
    return None if found is None else found.route.provider


def names(bench: Stage, count: int, **more: object) -> list[str]:
    """Who was asked, for so many healthy requests."""
    return [name for _ in range(count) for name in bench.send(name="p", **more).names]  # type: ignore[arg-type] # send's


def _admits(bench: Stage, name: str) -> bool:
    return bench.board.refusal(Route(name, None, "m"), bench.now) is None


# --- stick_until_failure ---


@pytest.mark.parametrize("failure", [server(500), server(503, 5.0), rate(30.0), QUOTA, AUTH, MISSING, REFUSED, HTML])
def test_C3_27_a_failure_of_the_route_moves_the_pointer_for_good(failure: Failure) -> None:
    """The next member serves and keeps the pool, also when the first is long well again."""
    bench = sticky()
    assert bench.send({"a": failure}, name="p").names == ["a", "b"]
    assert names(bench, 2) == ["b", "b"]
    bench.now += 4000
    assert names(bench, 2) == ["b", "b"]


@pytest.mark.parametrize("failure", [client(), CONTEXT, NO_TOOLS])
def test_C3_27_a_failure_of_the_request_moves_nothing(failure: Failure) -> None:
    """What one request could not have does not concern the next."""
    bench = sticky()
    bench.send({"a": failure}, name="p", needs=TOOLS)
    assert names(bench, 2) == ["a", "a"]


def test_C3_27_who_cannot_be_asked_loses_the_pointer() -> None:
    """An open circuit is passed over, and the pool stays where it went; then on round the ring."""
    bench = sticky()
    assert names(bench, 1) == ["a"]
    bench.open("a")
    assert names(bench, 2) == ["b", "b"]
    bench.now += 60
    assert _admits(bench, "a")
    assert names(bench, 1) == ["b"]
    bench.open("b")
    assert names(bench, 1) == ["c"]
    bench.open("c")
    assert names(bench, 1) == ["a"], "after the last comes the first"


def test_C3_27_a_pointer_that_waits_or_is_unwell_is_left_for_good() -> None:
    """Gated or degraded by other requests it stands behind; the pool goes on and stays there when that is over."""
    for endings in ([rate(30.0)], [HTML, HTML, HTML, OK, HTML]):
        bench = sticky()
        names(bench, 1)
        for ending in endings:
            bench.send({"a": ending}, name="a/m")
        assert names(bench, 1) == ["b"]
        bench.now += 4000
        assert _admits(bench, "a")
        assert names(bench, 1) == ["b"]


def test_C3_27_a_full_route_lends_its_traffic_and_keeps_the_pointer() -> None:
    """A bulkhead without room is no failure: the overflow goes on, the rest stays."""
    bench = Stage(
        provider("a", max_concurrency=1, priority=1), provider("b", priority=2),
        pools=[pool("p", "a/m", "b/m", strategy=Strategy.STICK_UNTIL_FAILURE)],
    )  # fmt: skip
    lease = bench.board.admit(Route("a", None, "m"), bench.now, deadline=bench.now + 60)
    assert names(bench, 2) == ["b", "b"]
    bench.board.settle(lease, server(500), bench.now)  # type: ignore[arg-type] # it is admitted
    assert names(bench, 1) == ["a"]


def test_C3_27_a_request_that_the_pointer_cannot_serve_moves_nothing() -> None:
    """An image goes to who can see; the next plain request comes back."""
    bench = Stage(
        provider("a", model("a", "m", "-vision"), priority=1), provider("b", model("b", "m", "vision"), priority=2),
        pools=[pool("p", "a/m", "b/m", strategy=Strategy.STICK_UNTIL_FAILURE)],
    )  # fmt: skip
    assert names(bench, 1, needs=VISION) == ["b"]
    assert names(bench, 1) == ["a"]
    assert names(bench, 1, needs=VISION) == ["b"]
    assert where(bench) == "a"


def test_C3_27_an_answer_that_broke_off_moves_the_pointer() -> None:
    """No failover is possible then; the next request goes to the next member, and stays."""
    bench = sticky()
    names(bench, 1)
    bench.pointers.cut("p", Route("b", None, "m"))
    assert names(bench, 1) == ["a"], "another route's answer is nothing to a pool that points elsewhere"
    bench.pointers.cut("p", Route("a", None, "m"))
    assert names(bench, 2) == ["b", "b"]


def test_C3_27_a_late_success_of_the_old_route_takes_nothing_back() -> None:
    """Only what is asked moves a pointer; an answer that was long under way does not."""
    bench = sticky()
    slow = bench.decide(name="p")
    walk = bench.cascade(slow)
    first = walk.next(bench.now)
    bench.send({"a": server(500)}, name="p")
    assert where(bench) == "b"
    bench.board.settle(first.lease, server(500), bench.now)  # type: ignore[union-attr] # it is a Try
    walk.report(first.ranked, server(500), bench.now)  # type: ignore[union-attr] # the same
    assert walk.next(bench.now).ranked.route.provider == "b"  # type: ignore[union-attr] # the same
    assert where(bench) == "b"


@given(st.lists(st.sampled_from(["ok", "a", "b", "c"]), max_size=30))
def test_C3_27_the_pointer_moves_only_when_its_own_route_fails(script: list[str]) -> None:
    """Whoever fails: the pool is served by the pointer, unless the pointer's route is the one that failed."""
    bench = sticky()
    for failing in script:
        before = where(bench) or "a"
        told = bench.send({failing: rate(0.0)} if failing != "ok" else {}, name="p")
        bench.now += 61
        assert told.names[0] == before
        if failing == before:
            assert where(bench) == told.names[1] != before
        else:
            assert where(bench) == before


# --- round_robin ---


def test_C3_25_who_fails_leads_no_more_often_than_the_others() -> None:
    """Only the route asked first has had its turn: a failing one is first in every third request."""
    bench = stage(Strategy.ROUND_ROBIN)
    firsts = []
    for _ in range(6):
        bench.now += 61
        firsts.append(bench.send({"b": rate(0.0)}, name="p").names[0])
    assert firsts == ["a", "b", "c", "a", "b", "c"]


def test_C3_25_a_newcomer_joins_in() -> None:
    """It was never asked, so it is next; then it takes its turn like the others."""
    bench = stage(Strategy.ROUND_ROBIN, "ab")
    assert names(bench, 3) == ["a", "b", "a"]
    more = stage(Strategy.ROUND_ROBIN, "abc")
    more.means, more.pointers = bench.means, bench.pointers
    more.pointers.follow(more.registry, more.now)
    assert names(more, 6) == ["c", "b", "a", "c", "b", "a"]


# --- sessions ---


def homes(bench: Stage, sessions: Sequence[str]) -> dict[str, str]:
    """Where each session goes now."""
    return {each: names(bench, 1, session=each)[-1] for each in sessions}


def test_C3_31_a_session_moves_once_and_stays_then_comes_home_after_30_idle_minutes() -> None:
    """Its route fails: the next by its hash, for good; nobody else's session moves."""
    bench = stage(Strategy.SESSION_STICKY)
    sessions = [f"s{n}" for n in range(30)]
    first = homes(bench, sessions)
    assert set(first.values()) == {"a", "b", "c"}
    assert homes(bench, sessions) == first
    bench.open("a")
    moved = homes(bench, sessions)
    assert {each for each in sessions if moved[each] != first[each]} == {
        each for each in sessions if first[each] == "a"
    }
    bench.now += 200
    bench.send(name="a/m")
    bench.send(name="a/m")
    assert _admits(bench, "a")
    assert homes(bench, sessions) == moved, "a recovered route takes nobody back"
    bench.now += IDLE_S - 1
    assert homes(bench, sessions) == moved
    bench.now += IDLE_S
    assert homes(bench, sessions) == first


def test_C3_31_one_failed_answer_moves_a_session_too() -> None:
    """The failover's route keeps it; a conversation that grew too long moves as well, a bad request does not."""
    for failure, moves in ((server(500), True), (CONTEXT, True), (client(), False)):
        bench = stage(Strategy.SESSION_STICKY)
        home = names(bench, 1, session="s")[0]
        told = bench.send({home: failure}, name="p", session="s")
        after = names(bench, 1, session="s")[0]
        assert (after != home) is moves
        assert after == (told.names[1] if moves else home)


def test_C3_31_sessions_are_bounded_and_keep_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many the one idle longest is forgotten; what is kept of a name is its hash."""
    monkeypatch.setattr(pointers, "MAX_SESSIONS", 10)
    bench = stage(Strategy.SESSION_STICKY)
    secret = "conversation of Ms Example"
    for n in range(50):
        names(bench, 1, session=f"{secret} {n}")
    assert bench.pointers.sessions == 10
    assert secret not in repr(bench.pointers._sessions)
    bench.now += IDLE_S
    bench.pointers.sweep(bench.now)
    assert bench.pointers.sessions == 0


def test_C3_31_a_session_without_its_member_finds_another() -> None:
    """The member it was bound to has left the pool."""
    bench = stage(Strategy.SESSION_STICKY)
    home = names(bench, 1, session="s")[0]
    left = stage(Strategy.SESSION_STICKY, "abc".replace(home, ""))
    left.means, left.pointers = bench.means, bench.pointers
    assert names(left, 2, session="s")[0] != home


# --- housekeeping ---


def _registry(bench: Stage) -> Registry:
    return bench.registry


def test_what_left_the_registry_is_forgotten() -> None:
    """Pools that went or changed their strategy lose their pointer, and that is written down."""
    bench = sticky()
    names(bench, 1)
    assert bench.pointers.dirty() == {"p": {"provider": "a", "account": None, "model": "m"}}
    assert bench.pointers.dirty() == {}
    bench.pointers.follow(_registry(stage(Strategy.COST_FIRST)), bench.now)
    assert bench.pointers.sticky("p") is None
    assert bench.pointers.dirty() == {"p": None}


def test_a_pointer_comes_back_after_a_restart() -> None:
    """As a record; nonsense is refused, and a member that is gone points nowhere."""
    memory = Pointers()
    memory.restore("p", {"provider": "b", "account": None, "model": "m"})
    bench = sticky()
    bench.means = bench.means.__class__(memory, bench.meter, bench.rng)
    bench.pointers = memory
    assert names(bench, 1) == ["b"]
    for broken in ({}, {"provider": 1, "account": None, "model": "m"}):
        with pytest.raises((KeyError, ValueError)):
            memory.restore("q", broken)
    memory.rotate("p", Route("gone", None, "m"))
    assert names(bench, 1) == ["a"]


def test_a_pool_by_priority_leaves_nothing_behind() -> None:
    """No track, no memory: the default costs nothing."""
    bench = stage(Strategy.PRIORITY)
    decision = bench.decide(name="p", session="s")
    assert decision.track is None
    names(bench, 3, session="s")
    assert (bench.pointers.sticky("p"), bench.pointers.sessions, dict(bench.pointers.turns("p"))) == (None, 0, {})


def test_looking_ahead_takes_nobodys_turn() -> None:
    """Any number of decisions leaves every pool where it was; only asking moves it."""
    for strategy in (Strategy.ROUND_ROBIN, Strategy.STICK_UNTIL_FAILURE, Strategy.SESSION_STICKY):
        bench = stage(strategy)
        seen = {bench.decide(name="p", session="s", peek=True).ranked[0].route for _ in range(5)}
        assert len(seen) == 1
        assert bench.pointers.sessions == 0
    assert Track("p", Strategy.ROUND_ROBIN, None).session is None


# --- several accounts ---


def test_members_are_models_whose_accounts_go_by_their_own_strategy() -> None:
    """Turns and sticky pointers are of models: a model with two keys has no two turns, and both its keys are used."""
    made = [provider("a", accounts=("x", "y"), priority=1), provider("b", priority=2)]
    for strategy, asked in (
        (Strategy.ROUND_ROBIN, ["a/m#x", "b/m", "a/m#y", "b/m"]),
        (Strategy.STICK_UNTIL_FAILURE, ["a/m#x", "a/m#y", "a/m#x", "a/m#y"]),
    ):
        bench = Stage(*made, pools=[pool("p", "a/m", "b/m", strategy=strategy)])
        assert [bench.send(name="p").labels[0] for _ in range(4)] == asked


def test_C3_27_one_account_that_fails_moves_no_pointer_while_the_other_serves() -> None:
    """The model is left only when another one had to serve."""
    made = [provider("a", accounts=("x", "y"), priority=1), provider("b", priority=2)]
    bench = Stage(*made, pools=[pool("p", "a/m", "b/m", strategy=Strategy.STICK_UNTIL_FAILURE)])
    assert bench.send({"a/m#x": rate(30.0)}, name="p").labels == ["a/m#x", "a/m#y"]
    assert bench.send(name="p").labels == ["a/m#y"]
    assert bench.send({"a/m#y": server(500)}, name="p").labels == ["a/m#y", "b/m"]
    bench.now += 4000
    assert names(bench, 1) == ["b"]


def test_a_pointer_or_session_at_a_key_that_is_gone_starts_anew() -> None:
    """The account was taken out of the configuration: nobody waits for it."""
    for strategy, session in ((Strategy.RATE_LIMIT_AWARE, None), (Strategy.SESSION_STICKY, "s")):
        pools = [pool("p", "a/m", strategy=strategy, session_mode=SessionMode.STRICT)]
        bench = Stage(provider("a", accounts=("x", "y")), pools=pools)
        (asked,) = bench.send(name="p", session=session).labels
        left = Stage(provider("a", accounts=("yx".replace(asked[-1], ""),)), pools=pools)
        left.means, left.pointers = bench.means, bench.pointers
        left.pointers.follow(left.registry, left.now)
        assert left.send(name="p", session=session).labels != [asked]
        assert left.decide(name="p", session=session, peek=True).track.lead is not None  # type: ignore[union-attr] # set
