"""Admission, settlement and the layers between them, through the board's public door with default policies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.routing.boards import (
    AUTH,
    BAD_200,
    CONNECT,
    CUT,
    E500,
    E503,
    FORBIDDEN,
    GONE,
    LATE,
    MISSING,
    OK,
    QUOTA,
    RATE,
    SILENT,
    Bench,
    kinds,
    provider,
    registry,
)

from routerconsole.domain.capability import Word
from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import Ending, Failure, FaultScope, OutcomeClass
from routerconsole.domain.registry import Account, Model
from routerconsole.domain.route import Route
from routerconsole.domain.secret import Secret
from routerconsole.routing.board import Lease, Refusal, RefusalKind

A = Route("a", None, "m")
B = Route("b", None, "m")
A2 = Route("a", None, "n")
A3 = Route("a", None, "o")


# --- admission ---


def test_a_route_nobody_configured_is_refused_and_not_remembered() -> None:
    """R28: state exists only for routes of the registry."""
    bench = Bench()
    for n in range(300):
        assert bench.refusal(Route("a", None, f"ghost-{n}")) == RefusalKind.UNKNOWN
        assert isinstance(bench.admit(Route("x", None, f"ghost-{n}")), Refusal)
    assert len(list(bench.board._nodes())) == 3  # provider, account, route


def test_C0_23_an_open_route_is_refused_with_its_time_and_the_other_is_admitted() -> None:
    """The refusal reads `circuit_open 28 s` and says when to come back."""
    bench = Bench(provider("a"), provider("b"))
    bench.send(A, *[E500] * 5)
    refusal = bench.board.refusal(A, bench.now)
    assert refusal is not None
    assert refusal.kind is RefusalKind.CIRCUIT
    assert refusal.retry_in is not None
    assert 24 <= refusal.retry_in <= 36
    assert refusal.text.startswith("circuit_open ")
    assert refusal.text.endswith(" s")
    assert bench.refusal(B) is None


def test_the_first_failing_layer_is_the_one_named() -> None:
    """admin, validity, fault, gate, provider circuit, route circuit, bulkhead: each is named when those before pass."""
    bench = Bench(provider("a", max_concurrency=0))
    bench.board.restore(_saved_open(bench), bench.now, 0.0)
    seen = []
    node = bench.board._routes[A]
    bench.board.disable("a", None, bench.now)
    node.owner.unavailable = "missing_secret: K"
    node.gates.restore(_quota(), end=bench.now + 50, started=bench.now, now=bench.now)
    node.owner.fault = node.fault = _fault()
    steps = [
        lambda: bench.board.enable("a", None, bench.now),
        lambda: setattr(node.owner, "unavailable", None),
        lambda: (setattr(node.owner, "fault", None), setattr(node, "fault", None)),
        node.gates.clear,
        lambda: node.owner.breaker.reset(bench.now),
        lambda: node.breaker.reset(bench.now),
        lambda: setattr(node.owner, "limit", 1),
    ]
    for step in steps:
        seen.append(bench.refusal(A))
        step()
    assert seen == [
        RefusalKind.DISABLED,
        RefusalKind.UNAVAILABLE,
        RefusalKind.CONFIG_ERROR,
        RefusalKind.GATE,
        RefusalKind.PROVIDER_CIRCUIT,
        RefusalKind.CIRCUIT,
        RefusalKind.BULKHEAD,
    ]
    assert bench.refusal(A) is None


def _saved_open(bench: Bench) -> list[dict[str, object]]:
    circuit = {"state": "open", "left_s": 20.0, "exponent": 1}
    plain = {"account": None, "at": 0.0, "admin": {"base": None, "overlay": None, "left_s": 0.0}, "circuit": circuit}
    return [
        {"scope": "provider", "provider": "a", "model": None, **plain},
        {"scope": "route", "provider": "a", "model": "m", "gates": [], "gaps": [], **plain},
    ]


def _quota() -> object:
    from routerconsole.domain.outcome import GateReason

    return GateReason.QUOTA


def _fault() -> object:
    from routerconsole.routing.state import Fault, FaultKind

    return Fault(FaultKind.CONFIG_ERROR, "bad key")


def test_B37_the_bulkhead_refuses_the_one_too_many_and_counts_nothing() -> None:
    """The 65th of 64 is refused; health and breaker know nothing of it; a settled lease makes room."""
    bench = Bench()
    leases = [bench.lease(A) for _ in range(64)]
    assert bench.refusal(A) == RefusalKind.BULKHEAD
    assert isinstance(bench.admit(A), Refusal)
    assert bench.board.in_flight("a") == bench.board.in_flight(A) == 64
    assert bench.board.stats(A).total == 0
    bench.settle(leases[0], GONE)
    assert bench.refusal(A) is None


def test_a_second_settlement_changes_nothing() -> None:
    """Every lease ends once: the slot is given back once and the failure counted once."""
    bench = Bench()
    lease = bench.lease(A)
    bench.settle(lease, E500)
    assert bench.settle(lease, E500) == []
    assert bench.settle(lease, OK) == []
    assert bench.board.in_flight("a") == 0
    assert bench.board.stats(A).total == 1


def test_C0_19_B06_one_probe_reaches_a_half_open_route_the_rest_go_elsewhere() -> None:
    """Of a thousand callers at the moment it elapses one gets A's lease, 999 are free for B."""
    bench = Bench(provider("a"), provider("b"))
    bench.send(A, *[E500] * 5)
    bench.wait_for_probe(A)
    got = [bench.admit(A) for _ in range(1000)]
    assert sum(isinstance(each, Lease) for each in got) == 1
    assert bench.state(A) == "half_open"
    assert bench.refusal(B) is None


def test_the_half_open_move_is_told_with_the_next_facts() -> None:
    """circuit.half_open reaches the readers by the next tick, before the circuit's closing."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    bench.wait_for_probe(A)
    lease = bench.lease(A)
    assert EventType.CIRCUIT_HALF_OPEN in kinds(bench.wait(0.25))
    bench.settle(lease, OK)
    assert EventType.CIRCUIT_CLOSED in kinds(bench.send(A, OK))


def test_B03_C0_18_opening_and_closing_are_told_with_who_and_why() -> None:
    """The fifth failure's facts hold exactly one circuit.opened; recovery by two requests one circuit.closed."""
    bench = Bench()
    facts = bench.send(A, *[E500] * 5)
    opened = [fact.data for fact in facts if fact.type is EventType.CIRCUIT_OPENED]
    assert len(opened) == 1
    assert opened[0] | {"open_for_s": 0} == {
        "provider": "a", "account": None, "model": "m", "before": "closed", "reason": "server", "open_for_s": 0,
    }  # fmt: skip
    assert 24 <= opened[0]["open_for_s"] <= 36
    bench.wait_for_probe(A)
    facts = bench.send(A, OK, OK)
    assert kinds(facts).count(EventType.CIRCUIT_CLOSED) == 1
    assert bench.state(A) == "closed"
    assert bench.health(A) == "healthy"


# --- neutral outcomes ---

NEUTRAL = [
    Failure(cls, "x", status=status)
    for cls, status in [
        (OutcomeClass.STALE_CONN, None),
        (OutcomeClass.WARMING, 503),
        (OutcomeClass.CAPABILITY, 400),
        (OutcomeClass.CONTEXT, 400),
        (OutcomeClass.OVERSIZE, 413),
        (OutcomeClass.POLICY, 400),
        (OutcomeClass.CLIENT_ERROR, 400),
        (OutcomeClass.BLANK, 200),
        (OutcomeClass.IGNORED, None),
        (OutcomeClass.LOCAL, None),
    ]
]


@pytest.mark.parametrize("ending", [*NEUTRAL, GONE], ids=lambda e: getattr(e, "cls", "gone"))
def test_C1_40_C4_24_neutral_endings_move_neither_breaker_nor_health(ending: Ending) -> None:
    """Twenty of them leave both circuits closed, the counts at zero and the window empty."""
    bench = Bench()
    bench.send(A, *[ending] * 20)
    assert bench.state(A) == bench.state("a") == "closed"
    assert bench.board.headroom(A, bench.now) == 5
    assert bench.board.success_rate(A, bench.now) == (1.0, 0)


@pytest.mark.parametrize("ending", [E500, E503, LATE, SILENT, BAD_200, CUT], ids=lambda e: f"{e.cls}{e.status or ''}")
def test_counted_classes_take_one_from_the_route(ending: Failure) -> None:
    """Each row of the table with +1 in the route column."""
    bench = Bench()
    bench.send(A, ending)
    assert bench.board.headroom(A, bench.now) == 4


def test_a_timeout_we_cut_short_is_neutral() -> None:
    """counted False: five of them leave the circuit closed and the health window empty."""
    bench = Bench()
    bench.send(A, *[replace(SILENT, counted=False)] * 5)
    assert bench.state(A) == bench.state("a") == "closed"
    assert bench.board.success_rate(A, bench.now) == (1.0, 0)


def test_C1_40_what_counts_for_health() -> None:
    """5xx, 429, 402 and timeouts do; 400, 404 and success do not."""
    for ending, counts in [(E500, 1), (RATE, 1), (QUOTA, 1), (LATE, 1), (CONNECT, 1), (MISSING, 0), (NEUTRAL[6], 0)]:
        bench = Bench()
        bench.send(A, ending)
        rate, samples = bench.board.success_rate(A, bench.now)
        assert (samples, rate) == (counts, 1.0 - counts)


# --- half-open ---


def probing(*providers: object) -> tuple[Bench, Lease]:
    """A bench whose route A is half-open, and the probe's lease."""
    bench = Bench(*providers)  # type: ignore[arg-type] # providers
    bench.send(A, *[E500] * 5)
    bench.wait_for_probe(A)
    return bench, bench.lease(A)


def test_B07_a_probe_whose_client_left_gives_its_permit_back() -> None:
    """The next caller probes at once."""
    bench, lease = probing()
    bench.settle(lease, GONE)
    assert bench.state(A) == "half_open"
    assert bench.lease(A).probing


@pytest.mark.parametrize(
    ("ending", "refused"),
    [(NEUTRAL[6], None), (AUTH, RefusalKind.CONFIG_ERROR), (RATE, RefusalKind.GATE)],
    ids=["400", "401", "429"],
)
def test_B09_neutral_probe_endings_return_the_lease(ending: Failure, refused: str | None) -> None:
    """400: probe again · 401: config_error · 429: still half-open, gate set."""
    bench, lease = probing()
    bench.settle(lease, ending)
    assert bench.state(A) == "half_open"
    assert bench.refusal(A) == refused


def test_B08_a_lost_probe_is_replaced_once() -> None:
    """After deadline + 5 s one more goes out; the late failure of the first changes nothing."""
    bench, lost = probing()
    bench.now += 65.0
    again = bench.lease(A)
    assert isinstance(bench.admit(A), Refusal)
    bench.settle(lost, E500)
    assert bench.state(A) == "half_open"
    bench.settle(again, OK)
    bench.send(A, OK)
    assert bench.state(A) == "closed"


def test_a_probe_lost_twice_reopens_and_holds_nothing() -> None:
    """The admission that finds out is refused, takes no slot, and the reopening is told."""
    bench, _ = probing()
    bench.now += 65.0
    bench.lease(A)
    before = bench.board.in_flight("a")
    bench.now += 65.0
    assert isinstance(bench.admit(A), Refusal)
    assert bench.board.in_flight("a") == before
    assert bench.state(A) == "open"
    assert EventType.CIRCUIT_OPENED in kinds(bench.wait(0.25))


def test_a_route_that_turns_down_its_probe_leaves_the_providers_probe_to_others() -> None:
    """Both circuits half-open: when the route's probe was lost twice, the provider's permit is free for a sibling."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, *[E500] * 5)
    bench.wait_for_probe(A)
    bench.lease(A)
    bench.now += 65.0
    bench.lease(A)
    for _ in range(3):
        bench.send(A2, CONNECT)
    bench.now += 65.0
    assert bench.state("a") == "open"
    assert isinstance(bench.admit(A), Refusal)
    assert (bench.state(A), bench.state("a")) == ("open", "half_open")
    assert bench.lease(A2).probing


def test_a_probing_stream_is_credited_at_commit_and_its_cut_still_counts() -> None:
    """Two commits close the circuit while both streams run; a cut is one failure of the closed circuit."""
    bench, first = probing()
    bench.board.commit(first, bench.now)
    second = bench.lease(A)
    assert EventType.CIRCUIT_CLOSED in kinds(bench.board.commit(second, bench.now))
    bench.settle(second, CUT)
    assert bench.board.headroom(A, bench.now) == 4
    bench.settle(first, OK)
    assert bench.state(A) == "closed"


def test_streams_that_are_cut_every_time_open_the_circuit() -> None:
    """S22 five times over: a commit is not a success that zeroes the count."""
    bench = Bench()
    for _ in range(5):
        lease = bench.lease(A)
        bench.board.commit(lease, bench.now)
        bench.settle(lease, CUT)
    assert bench.state(A) == "open"


# --- the provider's breaker ---


def test_B17_a_tripped_route_leaves_its_sibling_usable() -> None:
    """Five failures of one model, 500 or 503, open that model only."""
    for ending in (E500, E503):
        bench = Bench(provider("a", ["m", "n"]))
        bench.send(A, *[ending] * 5)
        assert bench.refusal(A) == RefusalKind.CIRCUIT
        assert bench.refusal(A2) is None


@pytest.mark.parametrize("ending", [CONNECT, SILENT], ids=["connect", "zero bytes"])
def test_B17_U01_three_connects_trip_all(ending: Failure) -> None:
    """Three in a row, over any of its routes, refuse every route of the provider and of no other."""
    bench = Bench(provider("a", ["m", "n"]), provider("b"))
    bench.send(A, ending)
    bench.send(A2, ending)
    assert bench.refusal(A3) == RefusalKind.UNKNOWN
    assert bench.refusal(A) is None
    bench.send(A, ending)
    assert [bench.refusal(route) for route in (A, A2, B)] == [RefusalKind.PROVIDER_CIRCUIT] * 2 + [None]
    assert bench.health(A2) == "open"


def test_connects_must_be_consecutive() -> None:
    """An answer in between, good or bad, shows the server is there."""
    for answer in (OK, E500, RATE):
        bench = Bench()
        bench.send(A, CONNECT, CONNECT, answer)
        bench.now += 70.0
        bench.send(A, CONNECT, CONNECT)
        assert bench.state("a") == "closed"


def test_two_open_routes_that_are_half_of_those_in_use_open_the_provider() -> None:
    """Routes not used for a minute are not weighed."""
    bench = Bench(provider("a", ["m", "n", "o", "p", "q"]))
    for model in ("o", "p", "q"):
        bench.send(Route("a", None, model), OK)
    bench.send(A, *[E500] * 5)
    bench.send(A2, *[E500] * 5)
    assert bench.state("a") == "closed"  # 2 of 5
    bench = Bench(provider("a", ["m", "n", "o", "p", "q"]))
    for model in ("o", "p", "q"):
        bench.send(Route("a", None, model), OK)
    bench.now += 61.0
    bench.send(A, *[E500] * 5)
    bench.send(A2, *[E500] * 5)
    assert bench.state("a") == "open"  # 2 of 2


def test_5xx_of_several_routes_count_on_the_provider() -> None:
    """Five in a row, from two routes and none of them a success, open it; 500 is not among them."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, E503, E503, E503)
    bench.send(A2, E503, E503)
    assert bench.state("a") == "open"
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, E500, E500, E500)
    bench.send(A2, E500, E500)
    assert bench.state("a") == "closed"


def test_a_provider_recovers_through_its_probes_and_its_routes_start_afresh() -> None:
    """After three refused connections and a recovery the route is not demoted for what the provider did."""
    bench = Bench(provider("a", circuit=None))
    bench.send(A, CONNECT, CONNECT, CONNECT)
    bench.wait_for_probe("a")
    first = bench.lease(A)
    assert isinstance(bench.admit(A), Refusal)
    bench.settle(first, OK)
    bench.send(A, OK)
    assert bench.state("a") == "closed"
    assert bench.board.success_rate(A, bench.now)[0] == 1.0


# --- last one standing ---


def test_B32_sixty_percent_failing_sole_route_stays_admitted_and_degraded() -> None:
    """Nothing else to go to: two good answers of five beat none."""
    bench = Bench()
    for _ in range(20):
        bench.send(A, OK, E500, E500, OK, E500, sole=True)
    assert bench.refusal(A) is None
    assert bench.health(A) == "degraded"
    bench.send(A, E500)  # no longer alone
    assert bench.state(A) == "open"


def test_B32_ninety_five_percent_failing_sole_route_opens() -> None:
    """Under a tenth of successes it opens like any other."""
    bench = Bench()
    bench.send(A, OK, *[E500] * 9, sole=True)
    assert bench.state(A) == "closed"
    bench.send(A, E500, sole=True)
    assert bench.state(A) == "open"


def test_B32_connection_refused_opens_the_sole_route_too() -> None:
    """A hard failure is never spared, nor is silence."""
    for ending in (CONNECT, SILENT):
        bench = Bench()
        bench.send(A, OK, ending, ending, ending, sole=True)
        assert bench.refusal(A) == RefusalKind.PROVIDER_CIRCUIT


def test_B32_timeouts_open_the_sole_route_too() -> None:
    """A route that answers headers and then hangs is a hard failure of the route, whatever worked before."""
    bench = Bench()
    bench.send(A, OK, *[LATE] * 5, sole=True)
    assert bench.state(A) == "open"


# --- faults ---


def test_U24_a_rejected_key_stops_its_account_only() -> None:
    """401: no traffic on that account's routes, the other account goes on, no breaker moved."""
    bench = Bench(provider("a", ["m", "n"], accounts={"x": "k1", "y": "k2"}))
    bench.send(Route("a", "x", "m"), AUTH)
    assert bench.refusal(Route("a", "x", "n")) == RefusalKind.CONFIG_ERROR
    assert bench.refusal(Route("a", "y", "m")) is None
    assert bench.state(Route("a", "x", "m")) == bench.state("a") == "closed"
    assert bench.health(Route("a", "x", "m")) == "config_error"
    assert bench.health("a") == "unknown"


@pytest.mark.parametrize("cure", ["reset", "probe", "key", "origin"])
def test_U24_a_config_error_is_cured_by_reset_good_probe_or_changed_config(cure: str) -> None:
    """And by nothing else: a failed probe and a reload without change leave it."""
    first = provider("a")
    bench = Bench(first)
    bench.send(A, AUTH)
    bench.board.probe_result("a", False, bench.now)
    bench.board.configure(registry(first), bench.now)
    assert bench.refusal(A) == RefusalKind.CONFIG_ERROR
    if cure == "reset":
        bench.board.reset("a", "m", bench.now)
    elif cure == "probe":
        bench.board.probe_result("a", True, bench.now)
    elif cure == "key":
        bench.board.configure(registry(replace(first, accounts=(Account(None, Secret("new")),))), bench.now)
    else:
        bench.board.configure(registry(replace(first, base_url="http://elsewhere")), bench.now)
    assert bench.refusal(A) is None


def test_403_is_the_routes_until_two_routes_say_so() -> None:
    """One forbidden model leaves its siblings; a second makes it the provider's."""
    bench = Bench(provider("a", ["m", "n", "o"]))
    bench.send(A, FORBIDDEN)
    assert bench.refusal(A) == RefusalKind.CONFIG_ERROR
    assert bench.refusal(A3) is None
    bench.send(A2, FORBIDDEN)
    assert bench.refusal(A3) == RefusalKind.CONFIG_ERROR
    bench.board.reset("a", None, bench.now)
    assert [bench.refusal(route) for route in (A, A2, A3)] == [None] * 3


def test_403_with_a_billing_code_is_the_providers_at_once() -> None:
    """The classifier's scope decides."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, replace(FORBIDDEN, scope=FaultScope.PROVIDER))
    assert bench.refusal(A2) == RefusalKind.CONFIG_ERROR


def test_U26_a_missing_model_is_back_after_ten_minutes_or_a_listing() -> None:
    """Siblings are unaffected; the refusal counts down."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, MISSING)
    assert bench.refusal(A) == RefusalKind.MISSING
    assert bench.health(A) == "missing"
    assert bench.refusal(A2) is None
    bench.wait(599.0)
    assert bench.refusal(A) == RefusalKind.MISSING
    bench.wait(1.0)
    assert bench.refusal(A) is None
    bench.send(A, MISSING)
    bench.board.discovered("a", ["n"], bench.now)
    assert bench.refusal(A) == RefusalKind.MISSING
    bench.board.discovered("a", ["m"], bench.now)
    assert bench.refusal(A) is None


# --- probes and reload ---


def test_B25_C0_32_a_good_listing_neither_closes_nor_enables() -> None:
    """Chat says 500: the circuits stay open whatever `/models` answers, and disabled stays disabled."""
    bench = Bench(provider("a", ["m", "n"]))
    bench.send(A, *[E500] * 5)
    bench.send(A2, *[E500] * 5)
    bench.board.disable("a", None, bench.now)
    bench.board.probe_result("a", True, bench.now)
    assert bench.state(A) == bench.state("a") == "open"
    assert bench.health("a") == "disabled"


def test_a_good_probe_lets_an_unreachable_provider_be_tried_early() -> None:
    """Opened by refused connections, it goes half-open, not closed; a bad probe changes nothing."""
    bench = Bench()
    bench.send(A, CONNECT, CONNECT, CONNECT)
    assert bench.board.probe_result("a", False, bench.now) == []
    assert bench.state("a") == "open"
    assert EventType.CIRCUIT_HALF_OPEN in kinds(bench.board.probe_result("a", True, bench.now))
    assert bench.state("a") == "half_open"
    bench.send(A, OK, OK)
    assert bench.state("a") == "closed"


def test_G16_a_reload_keeps_what_exists_and_drops_what_does_not() -> None:
    """In-flight leases of a removed provider settle without a trace; a circuit of a kept one stays open."""
    bench = Bench(provider("a"), provider("b"))
    bench.send(A, *[E500] * 5)
    flying = [bench.lease(B) for _ in range(50)]
    bench.board.configure(registry(provider("a")), bench.now)
    for lease in flying:
        bench.settle(lease, RATE)
        assert lease.circuit == "closed"
    assert bench.refusal(B) == RefusalKind.UNKNOWN
    assert bench.state(A) == "open"
    assert all(record["provider"] == "a" for record in bench.board.dirty(bench.now, 0.0))
    assert bench.wait(100.0) is not None
    bench.board.configure(registry(provider("a"), provider("b")), bench.now)
    assert bench.refusal(B) is None
    assert bench.board.in_flight("b") == 0


def test_config_disables_until_an_operator_says_otherwise() -> None:
    """`enabled: false` holds over reloads; an operator's enable outranks it from then on."""
    off = provider("a", enabled=False)
    bench = Bench(off)
    assert bench.refusal(A) == RefusalKind.DISABLED
    bench.board.configure(registry(replace(off, enabled=True)), bench.now)
    assert bench.refusal(A) is None
    bench.board.configure(registry(off), bench.now)
    bench.board.enable("a", None, bench.now)
    bench.board.configure(registry(off), bench.now)
    assert bench.refusal(A) is None
    model_off = replace(off, enabled=True, models=(Model("a", "m", enabled=False),))
    bench.board.configure(registry(model_off), bench.now)
    assert bench.refusal(A) == RefusalKind.DISABLED


def test_an_unusable_provider_is_listed_with_its_reason() -> None:
    """missing_secret is a refusal in words and shows as config_error."""
    bench = Bench(provider("a", unavailable="missing_secret: K"))
    refusal = bench.board.refusal(A, bench.now)
    assert refusal == Refusal(RefusalKind.UNAVAILABLE, "missing_secret: K")
    assert bench.health("a") == bench.health(A) == "config_error"


# --- learning ---


def test_a_proven_gap_is_the_exact_routes_and_lasts_a_day() -> None:
    """The sibling account and model know nothing of it; it can be cleared by hand."""
    bench = Bench(provider("a", ["m", "n"], accounts={"x": "1", "y": "2"}))
    route, now = Route("a", "x", "m"), bench.now
    facts = bench.send(route, Failure(OutcomeClass.CAPABILITY, "no tools", 400, refused=(Word.TOOLS,)))
    assert EventType.CAPABILITY_GAP_LEARNED in kinds(facts)
    gap = bench.board.gaps(route, now)[Word.TOOLS]
    assert (gap.at, gap.evidence, gap.expires) == (now, "no tools", now + 86_400)
    assert bench.board.gap_nodes(route, now) == ("interaction.tool-calling",)
    for other in (Route("a", "y", "m"), Route("a", "x", "n")):
        assert not bench.board.gaps(other, now)
    assert not bench.board.gaps(route, now + 86_400)
    bench.send(route, Failure(OutcomeClass.CAPABILITY, "no", 400, refused=(Word.TOOLS, Word.VISION)))
    assert bench.board.clear_gap("a", "m", Word.TOOLS)
    assert set(bench.board.gaps(route, now)) == {Word.VISION}
    assert not bench.board.clear_gap("a", "m", Word.TOOLS)


def test_three_undelivered_answers_make_a_gap() -> None:
    """A delivery in between starts the count again."""
    bench = Bench()
    undelivered = Failure(OutcomeClass.UNDELIVERED, "prose", 200, refused=(Word.JSON,))
    bench.send(A, undelivered, undelivered)
    lease = bench.board.admit(A, bench.now, deadline=bench.now + 9, forced=(Word.JSON,))
    assert isinstance(lease, Lease)
    bench.settle(lease, OK)
    bench.send(A, undelivered, undelivered)
    assert not bench.board.gaps(A, bench.now)
    facts = bench.send(A, undelivered)
    assert kinds(facts).count(EventType.CAPABILITY_GAP_LEARNED) == 1
    assert Word.JSON in bench.board.gaps(A, bench.now)


def test_C1_45_the_size_watermark() -> None:
    """413 at 5000: 5000 and more are demoted, not refused, 4999 is not; lower tightens, higher does not loosen."""
    bench = Bench()
    oversize = Failure(OutcomeClass.OVERSIZE, "too big", 413)
    bench.send(A, oversize, size=5000)
    assert [bench.board.too_big(A, size) for size in (4999, 5000, 9000)] == [False, True, True]
    assert bench.refusal(A) is None
    assert bench.board.gate(A, bench.now) is None
    bench.send(A, oversize, size=8000)
    assert bench.board.watermark(A) == 5000
    bench.send(A, oversize, size=3000)
    assert bench.board.watermark(A) == 3000
    bench.send(A, OK, size=2999)
    assert bench.board.watermark(A) == 3000
    bench.send(A, OK, size=3000)
    assert bench.board.watermark(A) is None


# --- what is kept of a failure ---


def test_totals_and_last_error_survive_a_reset() -> None:
    """A reset closes and clears faults; what happened stays on record."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    bench.board.reset("a", "m", bench.now)
    error = bench.board.last_error(A)
    assert error is not None
    assert (error.cls, error.detail, error.status, error.at) == ("server", "boom", 500, bench.now)
    assert bench.board.stats(A).failed == 5


def test_B11_reset_with_twenty_in_flight_that_then_fail() -> None:
    """Their failures belong to the old epoch: totals grow, the circuit stays closed at zero."""
    bench = Bench()
    flying = [bench.lease(A) for _ in range(20)]
    bench.send(A, *[E500] * 5)
    bench.board.reset("a", "m", bench.now)
    for lease in flying:
        bench.settle(lease, E500)
    assert bench.state(A) == "closed"
    assert bench.board.headroom(A, bench.now) == 5
    assert bench.board.stats(A).failed == 25


def test_a_recovering_route_keeps_its_place_in_the_order() -> None:
    """Demoting a route that waits for its probe would keep the probe from ever coming."""
    bench = Bench()
    bench.send(A, *[E500] * 5)
    assert bench.board.degraded(A, bench.now)
    bench.wait_for_probe(A)
    assert not bench.board.degraded(A, bench.now)
    bench.send(A, OK)
    assert not bench.board.degraded(A, bench.now)
    bench.send(A, OK)
    assert not bench.board.degraded(A, bench.now)
