"""The error a request ends with: one status, the most actionable cause, everything that was tried and skipped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.routing.cascades import (
    AUTH,
    BLANK,
    CHAT,
    CONTEXT,
    FORBIDDEN,
    FORCED,
    HTML,
    MISSING,
    NO_TOOLS,
    OK,
    OVERSIZE,
    POLICY,
    QUOTA,
    REFUSED,
    TOOLS,
    UNDELIVERED,
    VISION,
    Stage,
    client,
    fleet,
    model,
    provider,
    rate,
    server,
)  # fmt: skip

from routerconsole.domain.capability import Word
from routerconsole.domain.errors import ErrorCode, ErrorType, RoutingFailed
from routerconsole.domain.outcome import Failure, GateReason, OutcomeClass
from routerconsole.routing.exhausted import Tried, confirmed, exhausted

TIMEOUT = Failure(OutcomeClass.TIMEOUT_FIRST, "no first token within 60 s")
E504 = server(504)


def closing(*failures: Failure, needs: object = CHAT, retry_in: float | None = None) -> RoutingFailed:
    """The error after each of so many routes failed like this."""
    names = [f"p{n}" for n in range(len(failures))]
    bench = Stage(*fleet(*names))
    decision = bench.decide(needs)  # type: ignore[arg-type] # a Needs
    tried = [Tried(item.route, None, failure) for item, failure in zip(decision.ranked, failures, strict=True)]
    return exhausted(tried, {}, decision, retry_in=retry_in)


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([MISSING, MISSING], 502),
        ([E504, E504, MISSING], 502),
        ([AUTH], 502),
        ([FORBIDDEN], 502),
        ([rate(), server(503)], 502),
        ([client(), client()], 400),
        ([OVERSIZE, OVERSIZE], 413),
        ([client(422)], 422),
        ([rate(), rate()], 429),
        ([server(503), server(503)], 503),
        ([server(502)], 502),
        # of the same kinds
        ([E504, E504], 504),
        ([server(500)], 500),
        ([server(529), server(529)], 529),
        ([server(500), server(503)], 502),
        ([server(408), server(408)], 502),
        ([server(409)], 502),
        ([REFUSED], 502),
        ([TIMEOUT, TIMEOUT], 502),
        ([HTML, HTML], 502),
        ([BLANK], 502),
        ([client(500), client(501)], 400),
        ([client(400), client(422)], 400),
        ([client(422), client(422)], 422),
        ([client(405)], 502),
        ([client(418), client(418)], 502),
        ([client(400), server(500)], 502),
        ([client(400), REFUSED], 502),
        ([OVERSIZE, CONTEXT], 400),
        ([POLICY], 400),
        ([replace(POLICY, status=403)], 400),
        ([QUOTA, QUOTA], 429),
        ([QUOTA, rate()], 429),
        ([replace(QUOTA, status=400), replace(QUOTA, status=403)], 429),
        ([replace(rate(), status=200), rate()], 429),
        ([replace(AUTH, status=400), replace(AUTH, status=400)], 502),
        ([replace(MISSING, status=400)], 502),
    ],
    ids=lambda value: "-".join(f"{item.cls}{item.status or ''}" for item in value) if isinstance(value, list) else None,
)
def test_C1_30_the_status_of_an_exhausted_cascade(failures: list[Failure], status: int) -> None:
    """Unanimous 400/413/422/429/5xx keep theirs, blame behind a 5xx is a 400, everything else a bad gateway."""
    error = closing(*failures)
    assert (error.status, error.code) == (status, ErrorCode.ALL_CANDIDATES_FAILED)
    assert error.should_retry is False
    wanted = ErrorType.UPSTREAM if status >= 500 else ErrorType.INVALID_REQUEST
    assert error.type is (ErrorType.RATE_LIMIT if status == 429 else wanted)


def test_C1_31_C0_22_the_roll_call_names_targets_statuses_and_reasons() -> None:
    """Every route tried with its class and status; the code says that all failed."""
    told = Stage(*fleet("p1", "p2")).send({"p1": MISSING, "p2": E504})
    error = told.error
    assert (error.status, error.code) == (502, ErrorCode.ALL_CANDIDATES_FAILED)
    assert "p1/m missing 404" in error.message
    assert "p2/m server 504" in error.message
    assert "no such model" in error.message


def test_C0_22_what_was_not_asked_is_named_with_its_reason() -> None:
    """Skips and drops in the one message."""
    bench = Stage(
        provider("up", priority=1),
        provider("off", enabled=False),
        provider("blind", model("blind", "m", "-vision")),
        provider("keyless", unavailable="missing_secret: KEY"),
    )
    message = bench.send({"up": REFUSED}, VISION).error.message
    for part in ("up/m failed (connect)", "off/m: admin_disabled", "blind/m: vision: no (config)",
                 "keyless/m: missing_secret: KEY"):  # fmt: skip
        assert part in message


def test_U54_the_most_actionable_cause_leads() -> None:
    """A bad key before a slow server, whatever came first."""
    error = closing(server(503), TIMEOUT, AUTH, rate())
    assert error.status == 502
    assert error.message.startswith("All 4 attempts failed. p2/m: Incorrect API key.")
    assert error.message.count("p2/m") == 2
    for name in ("p0/m server 503", "p1/m timeout_first", "p3/m rate 429"):
        assert name in error.message
    assert "out of credit" in closing(server(500), QUOTA).message.partition("Attempts")[0]


def test_a_lone_client_error_is_the_upstreams_own_message() -> None:
    """With its param, nothing added."""
    error = closing(client(422, "n must be at most 8"))
    assert (error.message, error.param, error.type) == ("n must be at most 8", "temperature", ErrorType.INVALID_REQUEST)


def test_no_address_url_or_path_reaches_the_client() -> None:
    """Details and reasons are for the operator; what a client reads is cleaned."""
    dirty = replace(REFUSED, detail="cannot reach http://10.1.2.3:9000/v1 from /home/me/app/x.py")
    assert not any(part in closing(dirty).message for part in ("10.1.2.3", "http://", "/home"))
    bench = Stage(provider("a"))
    forbidden = replace(FORBIDDEN, detail="see https://intern.example/keys at 10.0.0.7:443")
    bench.send({"a": forbidden})
    message = bench.send({}).error.message
    assert "config_error" in message
    assert not any(part in message for part in ("https://", "10.0.0.7"))


@pytest.mark.parametrize(("hint", "shown"), [(42.0, 42.0), (0.4, 0.4)])
def test_C1_36_U15_a_429_keeps_its_retry_after(hint: float, shown: float) -> None:
    """As the upstream said it."""
    assert Stage(provider("a")).send({"a": rate(hint)}, no_fallback=True).error.retry_after == shown


def test_several_hints_give_the_soonest() -> None:
    """Of the routes tried and of those that were away."""
    bench = Stage(*fleet("a", "b"))
    assert bench.send({"a": rate(60), "b": rate(20)}).error.retry_after == 20
    other = Stage(*fleet("a", "b"))
    left = other.board.circuit(other.open("b"), other.now)
    error = other.send({"a": rate(60)}).error
    assert (error.status, error.retry_after) == (429, pytest.approx(left[1]))


@pytest.mark.parametrize(("hint", "shown"), [(None, 1.0), (45.0, 45.0)])
def test_every_503_has_retry_after(hint: float | None, shown: float) -> None:
    """The upstream's hint, else a second."""
    error = Stage(provider("a")).send({"a": server(503, hint)}).error
    assert (error.status, error.retry_after) == (503, shown)


def test_C3_19_quota_on_all_is_429_at_once_and_while_gated() -> None:
    """Retry-After is the hour of the gate; the second request sends nothing."""
    bench = Stage(*fleet("a", "b"))
    first = bench.send({"a": QUOTA, "b": QUOTA})
    assert (first.error.status, first.names) == (429, ["a", "b"])
    assert 3600 <= (first.error.retry_after or 0) <= 3960
    second = bench.send({})
    assert (second.error.status, second.names) == (429, [])
    assert second.error.code is ErrorCode.NO_ROUTABLE_CANDIDATE
    assert second.error.type is ErrorType.RATE_LIMIT
    assert "a/m: quota" in second.error.message
    bench.board.reset("a", None, bench.now, gates=True)
    bench.board.reset("a", "m", bench.now, gates=True)
    assert bench.send({}).names == ["a"]


def test_an_overload_gate_among_them_is_503() -> None:
    """429 only where every candidate is rate- or quota-gated."""
    bench = Stage(*fleet("a", "b"))
    bench.send({"a": rate(60), "b": server(503, 30.0)})
    for _ in range(2):  # each gated period's one last resort
        bench.send({"a": rate(60), "b": server(503, 30.0)})
    told = bench.send({})
    assert told.names == []
    assert (told.error.status, told.error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert 30 <= (told.error.retry_after or 0) <= 33


def test_gated_and_disabled_is_503_with_the_soonest() -> None:
    """A disabled one is not gated."""
    bench = Stage(provider("a", priority=1), provider("off", enabled=False))
    bench.send({"a": replace(QUOTA, retry_after=100.0)})
    error = bench.send({}).error
    assert error.status == 503
    assert 100 <= (error.retry_after or 0) <= 110


def test_gated_and_full_is_429_overloaded() -> None:
    """Both say: come back later."""
    bench = Stage(provider("a", priority=1), provider("b", priority=2, max_concurrency=1))
    bench.send({"a": QUOTA}, name="a/m")
    bench.board.admit(bench.decide(name="b/m").ranked[0].route, bench.now, deadline=bench.now + 60)
    error = bench.send({}).error
    assert (error.status, error.code, error.retry_after) == (429, ErrorCode.OVERLOADED, 1.0)


def test_an_unusable_key_is_503_with_a_time_to_look_again() -> None:
    """A fault only configuration cures: the reason is named, Retry-After is when checks look again."""
    bench = Stage(provider("a"))
    assert bench.send({"a": AUTH}).error.status == 502
    error = bench.send({}).error
    assert (error.status, error.code, error.retry_after) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE, 30.0)
    assert "config_error: bad key" in error.message


def test_R14_all_refuse_for_a_missing_capability() -> None:
    """422 naming it, each route's words, and those the gate had dropped before."""
    bench = Stage(*fleet("a", "b"), provider("c", model("c", "m", "-tools"), priority=9))
    told = bench.send({"a": NO_TOOLS, "b": NO_TOOLS}, TOOLS)
    error = told.error
    assert (error.status, error.code, error.should_retry) == (422, ErrorCode.CAPABILITY_UNAVAILABLE, False)
    assert "(tools)" in error.message
    for part in ("a/m: no tools here", "b/m: no tools here", "c/m: tools: no (config)"):
        assert part in error.message
    assert bench.send({}, TOOLS).error.status == 422


def test_R14_with_a_disabled_route_it_is_still_422() -> None:
    """It is out of service, not away for a moment."""
    bench = Stage(provider("a", priority=1), provider("off", enabled=False))
    assert bench.send({"a": NO_TOOLS}, TOOLS).error.status == 422


def test_a_capable_route_that_is_only_away_makes_it_503() -> None:
    """The same answer now as the next request gets, when the gap is known: both say when to come back."""
    bench = Stage(*fleet("a", "b"))
    bench.open("b")
    for _ in range(2):
        error = bench.send({"a": NO_TOOLS}, TOOLS).error
        assert (error.status, error.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
        assert 20 <= (error.retry_after or 0) <= 40


def test_some_undelivered_is_capability_not_delivered() -> None:
    """Whatever the others died of; the forced words are named."""
    for other in (UNDELIVERED, server(500), NO_TOOLS, REFUSED):
        error = closing(UNDELIVERED, other, needs=FORCED)
        assert (error.status, error.code) == (502, ErrorCode.CAPABILITY_NOT_DELIVERED)
        assert "No route delivered tools." in error.message


def test_confirmation_needs_two_routes_and_no_other_judgement() -> None:
    """Two calls of one route are one voice."""
    bench = Stage(*fleet("a", "b"))
    a, b = (item.route for item in bench.decide().ranked)
    assert not confirmed([Tried(a, None, client())])
    assert not confirmed([Tried(a, None, client()), Tried(a, None, client())])
    assert confirmed([Tried(a, None, client()), Tried(b, None, client(422))])
    assert not confirmed([Tried(a, None, HTML), Tried(a, None, client()), Tried(b, None, client())])
    assert confirmed([Tried(a, None, replace(rate(), gate=GateReason.RATE)), Tried(a, None, client()),
                      Tried(b, None, client())])  # fmt: skip


def test_many_routes_make_no_endless_message() -> None:
    """Twenty are named, the rest counted."""
    names = [f"p{n:03}" for n in range(200)]
    bench = Stage(*(provider(name, enabled=False) for name in names))
    message = bench.send().error.message
    assert message.count("admin_disabled") == 20
    assert "180 more" in message


def test_a_served_request_has_no_error() -> None:
    """The stage itself: nothing is closed that was served."""
    told = Stage(provider("a")).send({"a": OK}, replace(TOOLS, needed=(Word.TOOLS, Word.SYSTEM)))
    assert told.stop is None
