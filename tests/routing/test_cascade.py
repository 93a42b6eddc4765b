"""The walk over a plan: who is asked next, for how long, and when it ends (routing.md §6)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.routing.cascades import (
    AUTH,
    BLANK,
    CHAT,
    CONTEXT,
    FORCED,
    HANG,
    HTML,
    MISSING,
    NO_TOOLS,
    OK,
    OVERSIZE,
    POLICY,
    QUOTA,
    REFUSED,
    STALE,
    TOOLS,
    UNDELIVERED,
    WARMING,
    Stage,
    Told,
    client,
    fleet,
    model,
    paid,
    pool,
    provider,
    rate,
    server,
)  # fmt: skip

from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.outcome import Ending, Failure, NextRoute, OutcomeClass
from routerconsole.domain.policy import LastResort, OnUndelivered, RetryPolicy, RoutingPolicy, Timeouts
from routerconsole.domain.registry import Provider
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Decision
from routerconsole.routing.budget import RetryBudget
from routerconsole.routing.cascade import GATE_JITTER, PATIENCE_S, Stop, Try
from routerconsole.routing.health import HealthWord

A, B = Route("a", None, "m"), Route("b", None, "m")


# --- failover ---


@pytest.mark.parametrize(
    "ending",
    [REFUSED, server(500), server(502), server(503), server(529, 5), WARMING, rate(), rate(1), QUOTA, AUTH, MISSING,
     NO_TOOLS, OVERSIZE, HTML, BLANK, client(), HANG],
    ids=lambda ending: f"{ending.cls}-{ending.status}",
)  # fmt: skip
def test_C0_22_C1_23_U01_U11_any_failure_of_one_is_served_by_the_next_at_once(ending: Failure) -> None:
    """One attempt each, no waiting, the failed one is not asked again."""
    told = Stage(*fleet("a", "b")).send({"a": ending}, TOOLS)
    assert told.names == ["a", "b"]
    assert told.waits == []
    assert told.served == B


def test_C0_17_one_failing_request_does_not_stop_the_next() -> None:
    """Default configuration, a lone provider, first ever request fails: the next is sent and succeeds."""
    bench = Stage(provider("a"))
    first = bench.send({"a": server(500)})
    assert first.error.status == 500
    assert bench.send({}).served == A


def test_C0_23_an_open_circuit_is_not_called() -> None:
    """Provider 1 opened just now: provider 2 answers, 1 is not called."""
    bench = Stage(*fleet("a", "b"))
    bench.open("a")
    assert bench.send().names == ["b"]


def test_C0_24_a_disabled_provider_is_not_called() -> None:
    """The next one is."""
    assert Stage(provider("a", priority=1, enabled=False), provider("b", priority=2)).send().names == ["b"]


def test_a_failed_route_is_not_tried_again_while_another_is_admissible() -> None:
    """Three calls, three routes: never the dead primary for all of them (pitfalls.md)."""
    told = Stage(*fleet("a", "b", "c")).send({"a": server(500), "b": server(503)})
    assert told.names == ["a", "b", "c"]


def test_C1_18_an_optional_tool_not_called_is_an_answer() -> None:
    """tool_choice auto and prose: nothing fails over (deliver finds nothing forced), [m1] only."""
    assert Stage(*fleet("m1", "m2")).send({"m1": OK}, TOOLS).names == ["m1"]


def test_B22_eight_candidates_all_500_make_six_attempts() -> None:
    """max_attempts 6; those not asked say why in the trace."""
    names = [f"p{n}" for n in range(8)]
    told = Stage(*fleet(*names)).send(dict.fromkeys(names, server(500)))
    assert told.names == names[:6]
    assert told.error.status == 500
    left = told.plan.candidates[-1]
    assert left.decision is Decision.SKIPPED
    assert left.reasons == ["not asked: all 6 attempts were used"]


def test_no_fallback_is_exactly_one_attempt() -> None:
    """Not even a stale connection or a same-route retry adds one."""
    for ending in (server(500), STALE, rate(1), WARMING, client()):
        told = Stage(*fleet("a", "b")).send({"a": ending}, no_fallback=True)
        assert (told.names, told.waits) == (["a"], [])


def test_no_fallback_asks_the_first_that_can_be_asked() -> None:
    """Routes out of the question are passed over; a lone gated one is the one attempt."""
    bench = Stage(*fleet("a", "b"))
    bench.open("a")
    assert bench.send({}, no_fallback=True).names == ["b"]
    lone = Stage(provider("a"))
    lone.send({"a": rate(30)})
    assert lone.send({}, no_fallback=True).names == ["a"]


# --- time ---


def test_B23_while_alternatives_remain_an_attempt_gets_60_percent() -> None:
    """Deadline 10 s: A is cut at 6 s and stays neutral, B has the 4 s left."""
    bench = Stage(*fleet("a", "b"))
    told = bench.send({"a": HANG}, deadline=10.0)
    assert [round(step.wait, 6) for step in told.calls] == [6.0, 4.0]
    assert [step.wait_full for step in told.calls] == [False, False]
    assert told.served == B


def test_an_attempt_waits_no_longer_than_configured() -> None:
    """first_token for a stream, total for a whole answer, connect never past what is allowed."""
    quick = provider("a", timeouts=Timeouts(connect=5, first_token=7, idle=3, total=9))
    stream, whole = (Stage(quick).send(stream=each).calls[0] for each in (True, False))
    assert (stream.wait, whole.wait, stream.idle, stream.connect) == (7, 9, 3, 5)
    assert stream.wait_full
    assert Stage(quick).send(deadline=2.0).calls[0].connect == 2.0


def test_the_deadline_ends_it_with_504() -> None:
    """Both hang; the error lists both and asks for no retry."""
    told = Stage(*fleet("a", "b")).send({"a": HANG, "b": HANG}, deadline=10.0)
    assert (told.error.status, told.error.code) == (504, ErrorCode.DEADLINE_EXCEEDED)
    assert told.error.should_retry is False
    assert "a/m timeout_first; b/m timeout_first" in told.error.message


def test_a_timer_that_fired_a_little_early_starts_no_further_attempt() -> None:
    """A millisecond before the deadline there is no time left for anybody."""
    bench = Stage(*fleet("a", "b"))
    decision = bench.decide()
    cascade = bench.cascade(decision, deadline=10.0)
    first = cascade.next(bench.now)
    assert isinstance(first, Try)
    bench.board.settle(first.lease, HANG, bench.now + 9.999)
    cascade.report(first.ranked, HANG, bench.now + 9.999)
    last = cascade.next(bench.now + 9.999)
    assert not isinstance(last, Try)
    assert bench.board.in_flight(B) == 0


# --- the same route again ---


def test_a_lone_route_is_retried_twice_after_server_errors() -> None:
    """Full jitter before each; then the error."""
    told = Stage(provider("a")).send({"a": server(500)})
    assert told.names == ["a"] * 3
    assert len(told.waits) == 2
    assert told.waits[0] <= 0.25
    assert told.waits[1] <= 0.5


def test_the_back_off_is_full_jitter() -> None:
    """U(0, min(max_delay, base * 2^n)): over many seeds both ends are reached."""
    waits = [Stage(provider("a"), seed=seed).send({"a": server(500)}).waits for seed in range(300)]
    first, second = ([each[n] for each in waits] for n in (0, 1))
    assert min(first) < 0.02
    assert 0.23 < max(first) <= 0.25
    assert min(second) < 0.04
    assert 0.46 < max(second) <= 0.5
    capped = RoutingPolicy(retry=RetryPolicy(base_delay=0.25, max_delay=0.1))
    assert all(wait <= 0.1 for wait in Stage(provider("a"), policy=capped).send({"a": server(500)}).waits)


def test_the_most_recently_tried_route_that_allows_it_is_retried() -> None:
    """A 500, B 429 with a long hint: A is the one to ask again."""
    told = Stage(*fleet("a", "b")).send({"a": [server(500), OK], "b": rate(30)})
    assert told.names == ["a", "b", "a"]
    assert Stage(*fleet("a", "b")).send({"a": server(500), "b": [server(500), OK]}).names == ["a", "b", "b"]


def test_a_route_whose_last_word_forbids_it_is_not_retried() -> None:
    """500, then on the retry a 429 with a long hint: no third call."""
    told = Stage(provider("a")).send({"a": [server(500), rate(30)]})
    assert told.names == ["a", "a"]


@pytest.mark.parametrize("ending", [REFUSED, HTML, BLANK, AUTH, MISSING, QUOTA, NO_TOOLS, OVERSIZE, CONTEXT, client()])
def test_other_classes_are_never_retried_on_the_same_route(ending: Failure) -> None:
    """One attempt on a lone route."""
    assert Stage(provider("a")).send({"a": ending}, TOOLS).names == ["a"]


def test_warming_is_asked_again_three_times_a_second_apart() -> None:
    """Four calls, three waits of one second."""
    told = Stage(provider("a")).send({"a": WARMING})
    assert told.names == ["a"] * 4
    assert told.waits == [1.0] * 3
    assert told.error.status == 503
    assert told.error.retry_after is not None
    assert Stage(provider("a")).send({"a": [WARMING, WARMING, OK]}).served == A


def test_U14_a_short_hint_is_waited_out_on_the_only_route() -> None:
    """429 with `Retry-After: 1`: 1 to 1.25 s, then success; true for every seed of the gate's jitter."""
    for seed in range(50):
        told = Stage(provider("a"), seed=seed).send({"a": [rate(1), OK]})
        assert told.served == A
        assert 1.0 <= sum(told.waits) <= 1.25


@pytest.mark.parametrize(("hint", "calls"), [(0.0, 2), (1.5, 2), (2.0, 2), (2.1, 1), (30.0, 1), (None, 1)])
def test_U18_only_hints_of_two_seconds_or_less_are_waited_out(hint: float | None, calls: int) -> None:
    """Else the answer is immediate."""
    told = Stage(provider("a")).send({"a": [rate(hint), OK]})
    assert len(told.calls) == calls
    assert sum(told.waits) <= PATIENCE_S * GATE_JITTER


def test_a_gate_extended_meanwhile_is_waited_out_within_the_same_patience() -> None:
    """Another request prolonged it: no call into a known gate."""
    bench = Stage(provider("a"))
    decision = bench.decide()
    cascade = bench.cascade(decision)
    first = cascade.next(bench.now)
    assert isinstance(first, Try)
    other = bench.board.admit(A, bench.now, deadline=bench.now + 60)
    bench.board.settle(first.lease, rate(0.5), bench.now)
    cascade.report(first.ranked, rate(0.5), bench.now)
    bench.board.settle(other, rate(1.5), bench.now)  # type: ignore[arg-type] # it was admitted
    bench.now += cascade.next(bench.now).seconds  # type: ignore[union-attr] # a wait
    assert bench.board.refusal(A, bench.now) is None
    assert isinstance(cascade.next(bench.now), Try)


def test_waits_end_before_the_deadline_or_are_not_begun() -> None:
    """A hint of 1 s with half a second left: the error now."""
    told = Stage(provider("a")).send({"a": rate(1)}, deadline=0.5)
    assert (told.waits, told.error.status) == ([], 429)


def test_a_route_that_becomes_free_while_waiting_is_asked_first() -> None:
    """B's gate ends during A's back-off: failover beats the same route."""
    bench = Stage(*fleet("a", "b"))
    bench.send({"b": rate(1)}, name="b/m", no_fallback=True)
    told = bench.send({"a": [WARMING, WARMING, WARMING]})
    assert told.names[:1] == ["a"]
    assert told.served == B


def test_a_route_refused_first_and_asked_later_is_listed_once() -> None:
    """Among the attempts, not among those that were not asked."""
    bench = Stage(*fleet("a", "b"))
    bench.send({"b": rate(1)}, name="b/m", no_fallback=True)
    told = bench.send({"a": WARMING, "b": HTML})
    assert set(told.names) == {"a", "b"}
    assert "b/m bad_200" in told.error.message
    assert "Not asked" not in told.error.message


# --- stale connections ---


def test_U07_a_stale_connection_is_retried_once_for_free_on_a_new_one() -> None:
    """Same route at once, not counted toward max_attempts, nothing taken from the budget."""
    bench = Stage(provider("a"), policy=RoutingPolicy(max_attempts=1))
    bench.drain_budget("a")
    told = bench.send({"a": [STALE, OK]})
    assert (told.names, told.waits) == (["a", "a"], [])
    assert [step.fresh for step in told.calls] == [False, True]


def test_U07_the_retry_of_a_stale_connection_leaves_the_other_attempts() -> None:
    """Two attempts allowed: A's (in two calls) and B's."""
    bench = Stage(*fleet("a", "b", "c"), policy=RoutingPolicy(max_attempts=2))
    assert bench.send({"a": [STALE, server(500)], "b": server(500)}).names == ["a", "a", "b"]


def test_a_second_stale_connection_fails_over() -> None:
    """Once per route; each route has its own."""
    told = Stage(*fleet("a", "b")).send({"a": STALE, "b": [STALE, OK]})
    assert told.names == ["a", "a", "b", "b"]


# --- the budget ---


def test_B21_the_first_failover_is_free_with_an_empty_budget() -> None:
    """A fails, B is closed and ungated."""
    bench = Stage(*fleet("a", "b"))
    bench.drain_budget("a", "b")
    assert bench.send({"a": server(500)}).served == B


def test_B21_only_the_first_failover_is_free() -> None:
    """The second extra attempt finds the bucket empty: best error now, and the reason."""
    bench = Stage(*fleet("a", "b", "c"))
    bench.drain_budget("a", "b", "c")
    told = bench.send({"a": server(500), "b": server(500)})
    assert told.names == ["a", "b"]
    assert told.error.status == 500
    assert "retry budget is empty" in told.error.message
    assert told.plan.candidates[-1].reasons == ["not asked: the retry budget is empty"]


def test_B21_a_failover_to_a_probe_is_not_free() -> None:
    """B waits for its probe and cannot be paid for; C is closed and free."""
    bench = Stage(*fleet("a", "b", "c"))
    bench.open("b")
    bench.now += 120.0
    bench.drain_budget("a", "b", "c")
    assert bench.send({"a": server(500)}).names == ["a", "c"]


def test_paid_attempts_take_one_token_each() -> None:
    """The third route and two same-route retries are paid; the first attempt and the first failover are not."""
    bench = Stage(*fleet("a", "b", "c"))
    told = bench.send({"a": server(500), "b": server(500), "c": REFUSED})
    assert told.names == ["a", "b", "c", "b", "b"]
    left = sum(1 for _ in range(100) if paid(bench.budget, bench.now))
    assert bench.policy.retry.budget_burst - left == 3


def test_a_same_route_retry_that_cannot_be_paid_for_is_not_waited_for() -> None:
    """The error comes at once."""
    bench = Stage(provider("a"))
    bench.drain_budget("a")
    told = bench.send({"a": server(500)})
    assert (told.names, told.waits) == (["a"], [])


# --- who is to blame ---


def test_R16_a_blamed_request_gets_one_confirmation() -> None:
    """Two attempts at most, the upstream's status and message, the others left alone."""
    told = Stage(*fleet("a", "b", "c")).send({"a": client(), "b": client()})
    assert told.names == ["a", "b"]
    assert (told.error.status, told.error.should_retry) == (400, False)
    assert "temperature must be a number" in told.error.message
    assert told.plan.candidates[-1].decision is Decision.SKIPPED


def test_R16_a_lone_route_needs_no_confirmation() -> None:
    """One attempt."""
    told = Stage(provider("a")).send({"a": client()})
    assert (told.names, told.error.status, told.error.param) == (["a"], 400, "temperature")
    assert told.error.message == "temperature must be a number"


@pytest.mark.parametrize("other", [REFUSED, rate(), AUTH, MISSING, HANG, STALE])
def test_R16_who_never_judged_the_request_has_no_vote(other: Failure) -> None:
    """A down, B and C blame the request: D is not asked."""
    told = Stage(*fleet("a", "b", "c", "d")).send({"a": other, "b": client(), "c": client(422)})
    assert set(told.names) == {"a", "b", "c"}
    assert told.error.status == 400


@pytest.mark.parametrize("other", [server(500), HTML, BLANK])
def test_R16_a_route_that_failed_otherwise_breaks_unanimity(other: Failure) -> None:
    """It did not refuse the request, so the next may serve it."""
    told = Stage(*fleet("a", "b", "c", "d")).send({"a": other, "b": client(), "c": client()})
    assert told.names == ["a", "b", "c", "d"]


def test_one_blame_and_one_answer_is_an_answer() -> None:
    """The confirmation served."""
    assert Stage(*fleet("a", "b")).send({"a": client()}).served == B


def test_U29_a_content_filter_is_returned() -> None:
    """No failover; even after another failure its word is the answer."""
    told = Stage(*fleet("a", "b")).send({"a": POLICY})
    assert (told.names, told.error.status) == (["a"], 400)
    assert "content filter" in told.error.message
    after = Stage(*fleet("a", "b", "c")).send({"a": server(503), "b": POLICY})
    assert (after.names, after.error.status) == (["a", "b"], 400)
    assert after.error.message.startswith("The content filter was triggered")


# --- context ---


def windows(**sizes: int | None) -> list[Provider]:
    """Providers with these context windows, tried in this order."""
    return [
        provider(name, model(name, "m", context_window=size), priority=n)
        for n, (name, size) in enumerate(sizes.items())
    ]


def test_U27_after_a_context_refusal_larger_known_windows_first_then_unknown() -> None:
    """Equal and smaller ones never."""
    made = windows(a=4096, same=4096, less=2048, unknown=None, big=32_768, bigger=131_072)
    script = dict.fromkeys(("a", "big", "bigger", "unknown"), CONTEXT)
    told = Stage(*made).send(script)
    assert told.names == ["a", "big", "bigger", "unknown"]
    assert (told.error.status, told.error.code) == (400, ErrorCode.CONTEXT_LENGTH_EXCEEDED)
    reasons = {item.route.provider: item.reasons for item in told.plan.candidates if item.decision is Decision.SKIPPED}
    assert reasons == {name: ["not asked: no larger context window"] for name in ("same", "less")}


def test_U27_none_larger_is_400_after_one_attempt() -> None:
    """With the upstream's words."""
    told = Stage(*windows(a=4096, b=4096, c=2048)).send({"a": CONTEXT})
    assert told.names == ["a"]
    assert (told.error.status, told.error.code, told.error.param) == (400, "context_length_exceeded", "messages")
    assert "4096 tokens" in told.error.message
    assert told.error.should_retry is False


def test_U27_an_unknown_window_that_refused_sets_no_bound() -> None:
    """Every known window over the estimate may still be larger."""
    made = [provider("a", model("a", "m", tags=("first",))), *windows(b=4096, c=9)]
    told = Stage(*made).send({"a": CONTEXT}, replace(CHAT, tags=("first",)))
    assert told.names == ["a", "b"]
    assert Stage(*windows(a=None, b=None)).send({"a": CONTEXT}).names == ["a", "b"]


# --- delivery ---


def test_C1_19_all_ignore_a_forced_tool() -> None:
    """502 with the roll-call, no retry."""
    told = Stage(*fleet("a", "b")).send({"a": UNDELIVERED, "b": UNDELIVERED}, FORCED)
    error = told.error
    assert (error.status, error.code, error.should_retry) == (502, ErrorCode.CAPABILITY_NOT_DELIVERED, False)
    assert "tools" in error.message
    assert "a/m undelivered" in error.message
    assert "b/m undelivered" in error.message
    assert told.stop is not None
    assert not told.stop.return_last


def test_a_lone_routes_undelivered_body_is_returned() -> None:
    """One route tried, whatever else is listed: gated, dropped or out of attempts."""
    alone = Stage(provider("a")).send({"a": UNDELIVERED}, FORCED)
    others = Stage(provider("a", priority=1), provider("off", enabled=False)).send({"a": UNDELIVERED}, FORCED)
    only = Stage(*fleet("a", "b")).send({"a": UNDELIVERED}, FORCED, no_fallback=True)
    for told in (alone, others, only):
        assert told.stop is not None
        assert told.stop.return_last


def test_several_means_distinct_routes() -> None:
    """A server error and then an undelivered answer of the same lone route: its body is returned."""
    told = Stage(provider("a")).send({"a": [server(500), UNDELIVERED]}, FORCED)
    assert told.names == ["a", "a"]
    assert told.stop is not None
    assert told.stop.return_last


def test_return_last_gives_the_last_body_of_several() -> None:
    """`on_undelivered: return_last`; without an undelivered answer there is nothing to return."""
    policy = RoutingPolicy(on_undelivered=OnUndelivered.RETURN_LAST)
    told = Stage(*fleet("a", "b"), policy=policy).send({"a": UNDELIVERED, "b": server(500)}, FORCED)
    assert told.stop is not None
    assert told.stop.return_last
    filtered = Stage(*fleet("a", "b"), policy=policy).send({"a": UNDELIVERED, "b": POLICY}, FORCED)
    assert filtered.stop is not None
    assert not filtered.stop.return_last
    none = Stage(*fleet("a", "b"), policy=policy).send({"a": server(500), "b": server(500)}, FORCED)
    assert none.stop is not None
    assert not none.stop.return_last


# --- gates, the last resort, bulkheads ---


def test_U15_a_long_hint_is_handed_on_exactly() -> None:
    """429 with `Retry-After: 30` from the only candidate: at once, 30, for every seed of the gate's jitter."""
    for seed in range(50):
        bench = Stage(provider("a"), seed=seed)
        told = bench.send({"a": rate(30)})
        assert told.waits == []
        assert (told.error.status, told.error.retry_after, told.error.should_retry) == (429, 30, False)


def test_U15_while_gated_one_last_resort_then_the_seconds_left() -> None:
    """The second request of the period is let through once; the third is told how long."""
    bench = Stage(provider("a"))
    bench.send({"a": rate(30)})
    bench.now += 10
    assert bench.send({"a": rate(20)}).names == ["a"]
    bench.now += 5
    told = bench.send({})
    assert told.names == []
    assert (told.error.status, told.error.code) == (429, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert told.error.retry_after == pytest.approx(bench.board.gate_remaining(A, bench.now))
    assert 15 <= (told.error.retry_after or 0) <= 18


def test_the_last_resort_takes_the_route_that_frees_soonest_and_never_a_quota_gate() -> None:
    """Rate or overload only."""
    bench = Stage(*fleet("a", "b", "c"))
    for name, ending in (("a", rate(300)), ("b", rate(60)), ("c", replace(QUOTA, retry_after=10.0))):
        bench.send({name: ending}, name=f"{name}/m", no_fallback=True)
    assert bench.send({}).names == ["b"]
    assert bench.send({}).names == ["a"]
    assert bench.send({}).names == []


def test_the_last_resort_is_never_the_request_that_caused_the_gate() -> None:
    """Nor a route of an account this very request got gated."""
    bench = Stage(*fleet("a", "b"))
    told = bench.send({"a": rate(30), "b": rate(60)})
    assert told.names == ["a", "b"]
    shared = Stage(provider("a", model("a", "m"), model("a", "n"), accounts=["x"]))
    whole = replace(rate(30), scope=AUTH.scope)
    assert shared.send({"a": whole}).labels == ["a/m#x"]


def test_a_last_resort_after_another_attempt_is_paid_for() -> None:
    """A down, B gated from before: with an empty budget it is left alone, with tokens it is asked."""
    for empty, names in ((True, ["a"]), (False, ["a", "b"])):
        bench = Stage(*fleet("a", "b"))
        bench.send({"b": rate(60)}, name="b/m")
        if empty:
            bench.drain_budget("a", "b")
        told = bench.send({"a": REFUSED, "b": rate(60)})
        assert told.names == names
        assert ("retry budget is empty" in told.error.message) is empty


def test_last_resort_none_asks_nobody() -> None:
    """A configuration switch."""
    bench = Stage(provider("a"), policy=RoutingPolicy(last_resort=LastResort.NONE))
    bench.send({"a": rate(30)})
    assert bench.send({}).names == []


def test_an_open_circuit_is_never_a_last_resort() -> None:
    """Only its probe asks it."""
    bench = Stage(provider("a"))
    bench.open("a")
    told = bench.send({})
    assert told.names == []
    assert (told.error.status, told.error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert told.error.retry_after == pytest.approx(bench.board.circuit(A, bench.now)[1])


def test_C0_19_one_probe_the_rest_elsewhere() -> None:
    """Half-open, five at once: exactly one reaches the route."""
    bench = Stage(*fleet("a", "b"))
    bench.open("a")
    bench.now += 120.0
    walks = [bench.cascade(bench.decide()) for _ in range(5)]
    asked = [step.ranked.route for walk in walks if isinstance(step := walk.next(bench.now), Try)]
    assert Counter(asked) == {A: 1, B: 4}


def test_B37_a_full_bulkhead_goes_to_the_next_candidate() -> None:
    """Without any health effect on the full one."""
    bench = Stage(provider("a", priority=1, max_concurrency=2), provider("b", priority=2))
    held = [bench.board.admit(A, bench.now, deadline=bench.now + 60) for _ in range(2)]
    assert bench.send({}).names == ["b"]
    assert bench.board.health(A, bench.now) is HealthWord.UNKNOWN
    assert len(held) == 2


def test_B37_a_bulkhead_is_not_waited_for() -> None:
    """It filled up while the lone route's retry was due: the error now."""
    bench = Stage(provider("a", max_concurrency=1))
    cascade = bench.cascade(bench.decide())
    first = cascade.next(bench.now)
    assert isinstance(first, Try)
    bench.board.settle(first.lease, server(500), bench.now)
    cascade.report(first.ranked, server(500), bench.now)
    bench.board.admit(A, bench.now, deadline=bench.now + 60)
    last = cascade.next(bench.now + 0.3)
    assert isinstance(last, Stop)
    assert last.error.status == 500


def test_B37_all_bulkheads_full_is_429_overloaded() -> None:
    """With Retry-After; the reason says how full."""
    bench = Stage(provider("a", max_concurrency=1))
    bench.board.admit(A, bench.now, deadline=bench.now + 60)
    error = bench.send({}).error
    assert (error.status, error.code) == (429, ErrorCode.OVERLOADED)
    assert error.retry_after is not None
    assert error.retry_after > 0
    assert "bulkhead_full 1 of 1" in error.message


def test_B33_nothing_enabled_is_503_saying_so() -> None:
    """Every reason is named, and Retry-After is there."""
    error = Stage(provider("a", enabled=False), provider("b", unavailable="missing_secret: KEY")).send().error
    assert (error.status, error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert "a/m: admin_disabled" in error.message
    assert "b/m: missing_secret: KEY" in error.message
    assert error.retry_after is not None


@pytest.mark.parametrize(
    ("ok_of_twenty", "ending", "state"),
    [(8, server(500), "closed"), (1, server(500), "open"), (0, REFUSED, "open")],
)
def test_B32_the_last_one_standing(ok_of_twenty: int, ending: Failure, state: str) -> None:
    """A lone target at 60 % 5xx stays admitted and DEGRADED; at 95 % or refusing connections it opens."""
    bench = Stage(provider("a"))
    script = [OK if n * ok_of_twenty % 20 < ok_of_twenty else ending for n in range(20)]
    for each in script:
        if bench.board.refusal(A, bench.now) is None:
            bench.send({"a": each}, no_fallback=True)
        bench.now += 0.1
    target = A if ending is not REFUSED else "a"
    assert str(bench.board.circuit(target, bench.now)[0]) == state
    if state == "closed":
        assert bench.board.health(A, bench.now) is HealthWord.DEGRADED


@pytest.mark.parametrize("no_fallback", [False, True])
def test_B05_with_another_candidate_the_same_share_of_failures_opens(no_fallback: bool) -> None:
    """The route is spared only while nothing else in the pool is admissible, whether or not it would be asked."""
    bench = Stage(*fleet("a", "b"))
    for n in range(12):
        bench.send({"a": server(500) if n % 2 else OK}, no_fallback=no_fallback)
    assert str(bench.board.circuit(A, bench.now)[0]) == "open"


def test_C3_14_C0_05_a_refusal_met_on_the_way_is_kept_in_the_trace() -> None:
    """Admissible when planned, full when asked: the candidate says so."""
    bench = Stage(provider("a", priority=1, max_concurrency=1), provider("b", priority=2))
    decision = bench.decide()
    bench.board.admit(A, bench.now, deadline=bench.now + 60)
    step = bench.cascade(decision).next(bench.now)
    assert isinstance(step, Try)
    assert step.ranked.route == B
    assert decision.candidates[0].decision is Decision.SKIPPED
    assert decision.candidates[0].reasons == ["bulkhead_full 1 of 1 in flight"]


def test_the_hot_path_asks_the_board_a_bounded_number_of_times() -> None:
    """A large pool of which all but the last are open: the cost of one step grows with the pool, not its square."""
    names = [f"p{n}" for n in range(60)]
    bench = Stage(*fleet(*names))
    for name in names[:-1]:
        bench.open(name)
    decision = bench.decide()
    calls = 0
    real = bench.board.refusal

    class Counting:
        """The board, counting."""

        def __getattr__(self, name: str) -> object:
            nonlocal calls
            if name == "refusal":
                calls += 1
            return getattr(bench.board, name)

    cascade = bench.cascade(decision)
    cascade.board = Counting()  # type: ignore[assignment] # the same board seen through a counter
    assert isinstance(cascade.next(bench.now), Try)
    assert calls <= 3 * len(names)
    assert real(Route("p59", None, "m"), bench.now) is None


# --- properties ---

ENDINGS: list[Ending] = [
    OK, REFUSED, HANG, server(500), server(503), server(503, 1.0), server(503, 60.0), WARMING, rate(), rate(0.0),
    rate(1.5), rate(30.0), QUOTA, AUTH, MISSING, NO_TOOLS, CONTEXT, OVERSIZE, POLICY, client(), client(422), HTML,
    BLANK, UNDELIVERED, STALE,
]  # fmt: skip
STOPS = {OutcomeClass.POLICY, OutcomeClass.CLIENT_ERROR, OutcomeClass.CONTEXT}

scripts = st.lists(st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=5), min_size=1, max_size=9)


def play(script: list[list[Ending]], seed: int, *, attempts: int, deadline: float, budget: bool) -> tuple[Stage, Told]:
    """Send one request to as many providers as the script has lines."""
    names = [f"p{n}" for n in range(len(script))]
    bench = Stage(*fleet(*names), policy=RoutingPolicy(max_attempts=attempts), seed=seed)
    if not budget:
        bench.drain_budget(*names)
    return bench, bench.send(dict(zip(names, script, strict=True)), FORCED, deadline=deadline, takes=0.01)


@settings(max_examples=400, deadline=None)
@given(scripts, st.integers(0, 99), st.integers(1, 8), st.sampled_from([0.5, 10.0, 600.0]), st.booleans())
@example([[STALE]] * 3, 1, 3, 600.0, False)
def test_every_request_ends_within_its_bounds(
    script: list[list[Ending]], seed: int, attempts: int, deadline: float, budget: bool
) -> None:
    """It terminates; attempts and waits are bounded; every lease came back; what is out is said."""
    bench, told = play(script, seed, attempts=attempts, deadline=deadline, budget=budget)
    routes = Counter(step.ranked.route for step in told.calls)
    free = sum(step.fresh for step in told.calls)
    assert len(told.calls) - free <= attempts
    assert free <= len(routes)
    assert all(wait > 0 for wait in told.waits)
    assert bench.now <= 1000.0 + deadline + 0.02 * len(told.calls)
    assert all(step.wait > 0 for step in told.calls)
    assert all(at + step.wait <= 1000.0 + deadline + 1e-6 for at, step in zip(told.at, told.calls, strict=True))
    for each in told.plan.candidates:
        assert bench.board.in_flight(each.route) == 0
    if told.served is None:
        assert told.error.message
        assert told.error.status in (400, 413, 422, 429, 500, 502, 503, 504)
        assert told.error.should_retry is False or told.error.status in (429, 503)
        assert told.error.status not in (429, 503) or told.error.retry_after is not None
        unasked = [item for item in told.plan.candidates if item.route not in routes]
        assert all(item.reasons for item in unasked)


@settings(max_examples=300, deadline=None)
@given(scripts, st.integers(0, 99))
def test_no_route_is_asked_again_while_another_is_admissible(script: list[list[Ending]], seed: int) -> None:
    """Before any repeat that is not a fresh connection, every route was asked (all are admissible at the start)."""
    _, told = play(script, seed, attempts=100, deadline=600.0, budget=True)
    seen: set[Route] = set()
    blocked = any(isinstance(each, Failure) and each.cls in STOPS for line in script for each in line)
    for step in told.calls:
        route = step.ranked.route
        if route in seen and not step.fresh and not blocked:
            assert len(seen) == len(script)
        seen.add(route)


@settings(max_examples=300, deadline=None)
@given(scripts, st.integers(0, 99))
def test_every_admissible_route_is_tried_before_giving_up(script: list[list[Ending]], seed: int) -> None:
    """Unless a stop class, the budget or the deadline says otherwise."""
    plain = [[each for each in line if not _stops(each)] or [server(500)] for line in script]
    _, told = play(plain, seed, attempts=100, deadline=6000.0, budget=True)
    if told.served is None:
        assert {step.ranked.route for step in told.calls} == {item.route for item in told.plan.ranked}


def _stops(ending: Ending) -> bool:
    return isinstance(ending, Failure) and ending.effect.next is not NextRoute.YES


@settings(max_examples=100, deadline=None)
@given(scripts, st.integers(0, 99))
def test_the_same_seed_walks_the_same_way(script: list[list[Ending]], seed: int) -> None:
    """Routes, times, waits and the closing error."""
    one, two = (play(script, seed, attempts=6, deadline=600.0, budget=True)[1] for _ in range(2))
    assert (one.labels, one.at, one.waits, one.served) == (two.labels, two.at, two.waits, two.served)
    assert one.served is not None or one.error.message == two.error.message


@settings(max_examples=100, deadline=None)
@given(scripts, st.integers(0, 99))
def test_first_visits_follow_the_shown_order(script: list[list[Ending]], seed: int) -> None:
    """What explain prints is the order in which routes are first asked (context refusals apart)."""
    plain = [[each for each in line if each is not CONTEXT] or [OK] for line in script]
    _, told = play(plain, seed, attempts=100, deadline=600.0, budget=True)
    firsts = list(dict.fromkeys(step.ranked.route for step in told.calls))
    shown = [item.route for item in told.plan.candidates]
    assert firsts == [route for route in shown if route in firsts]


def test_C4_13_a_pool_with_one_fit_goes_straight_there() -> None:
    """An estimate over the small windows runs on the large one first."""
    made = windows(small=8192, large=262_144)
    bench = Stage(*made, pools=[pool("p", "small/m", "large/m")])
    assert bench.send({}, replace(CHAT, estimate_tokens=200_000), name="p").names == ["large"]


# --- dialects that cannot carry a request ---


def test_an_unfit_dialect_is_skipped_and_nobody_is_charged() -> None:
    """No call, no lease, no budget, no attempt of the allowed number: the next candidate is the first call."""
    bench = Stage(*fleet("a", "b", "c"), policy=RoutingPolicy(max_attempts=1))
    taken: list[str | None] = []

    class Watched(RetryBudget):
        def take(self, provider: str | None, now: float) -> None:
            taken.append(provider)
            super().take(provider, now)

    bench.budget = Watched(bench.policy.retry)
    bench.unfit = {"a", "b"}
    told = bench.send({"c": server(500)})
    assert told.names == ["c"]
    assert ("a/m", Decision.SKIPPED) in told.decisions
    assert "a/m: cannot carry it" in told.error.message
    assert all(bench.board.stats(name).total == bench.board.in_flight(name) == 0 for name in ("a", "b"))
    assert taken == []


@pytest.mark.parametrize("no_fallback", [False, True])
def test_when_no_dialect_can_carry_it_the_request_is_at_fault(no_fallback: bool) -> None:
    """422 naming each route's reason; a route that is only away makes it 503."""
    bench = Stage(*fleet("a", "b"))
    bench.unfit = {"a", "b"}
    error = bench.send(no_fallback=no_fallback).error
    assert (error.status, error.code) == (422, ErrorCode.CAPABILITY_UNAVAILABLE)
    assert "a/m: cannot carry it; b/m: cannot carry it" in error.message
    bench.unfit = {"a"}
    bench.open("b")
    error = bench.send(no_fallback=no_fallback).error
    assert (error.status, error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert "a/m: cannot carry it" in error.message


def test_the_last_resort_is_one_that_can_carry_it() -> None:
    """Of two gated routes the one that frees later is asked where the other's dialect cannot carry the request."""
    bench = Stage(*fleet("a", "b"))
    bench.send({"a": rate(10), "b": rate(30)})
    bench.unfit = {"a"}
    assert bench.send().served == Route("b", None, "m")


def test_an_unfit_route_is_no_alternative() -> None:
    """What cannot carry the request neither shortens another's time nor keeps it from being the last one standing."""
    bench = Stage(*fleet("a", "b"))
    bench.unfit = {"a"}
    (step,) = bench.send(deadline=10.0).calls
    assert step.lease.sole
    assert step.wait == 10.0
