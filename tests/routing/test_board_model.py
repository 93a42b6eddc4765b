"""The board against an independent model: several routes, every ending, operators and a clock, 10^5 steps (B01)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.routing.boards import (
    AUTH,
    BAD_200,
    CONNECT,
    CUT,
    E500,
    E503,
    GONE,
    LATE,
    MISSING,
    OK,
    QUOTA,
    RATE,
    SILENT,
    Bench,
    provider,
)  # fmt: skip
from tests.routing.breaker_model import Model

from routerconsole.domain.outcome import Ending, Failure, FaultScope, OutcomeClass
from routerconsole.domain.policy import CircuitPolicy
from routerconsole.domain.route import Route
from routerconsole.routing.board import Lease
from routerconsole.routing.health import HealthWord
from routerconsole.routing.words import spotless

ROUTES = [Route("a", None, "m"), Route("a", None, "n"), Route("b", "x", "m"), Route("b", "y", "m")]
CLIENT = Failure(OutcomeClass.CLIENT_ERROR, "no", status=400)
ENDINGS = [OK, GONE, CLIENT, E500, E503, CONNECT, SILENT, LATE, BAD_200, CUT, RATE, QUOTA, AUTH, MISSING]
ENDINGS += [replace(RATE, retry_after=2.0), replace(QUOTA, scope=FaultScope.ACCOUNT), replace(SILENT, counted=False)]
COUNTS_ON_ROUTE = {"timeout_first", "server", "bad_200", "cut"}


@dataclass
class Ticket:
    """What the model remembers of one admission."""

    route: Route
    lease: Lease
    epochs: tuple[int, int]  # route, provider
    probes: tuple[bool, bool]
    ended: bool = False


@dataclass
class Expected:
    """Layers of all routes, told with dictionaries."""

    circuits: dict[object, Model] = field(default_factory=dict)
    disabled: set[object] = field(default_factory=set)
    bad_keys: set[object] = field(default_factory=set)
    missing: dict[Route, float] = field(default_factory=dict)
    gates: dict[object, float] = field(default_factory=dict)  # earliest possible end
    flying: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    streak: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    blamed: dict[str, set[Route]] = field(default_factory=lambda: {"a": set(), "b": set()})
    used: dict[Route, float] = field(default_factory=dict)


class Pair:
    """The board and the model, driven alike. Ends of open periods and gates are read from the board, then checked."""

    def __init__(self, seed: int) -> None:
        self.bench = Bench(provider("a", ["m", "n"]), provider("b", ["m"], accounts={"x": "1", "y": "2"}), seed=seed)
        self.model = Expected(circuits={key: Model(CircuitPolicy()) for key in [*ROUTES, "a", "b"]})
        self.tickets: list[Ticket] = []
        self.spotless = 0

    def breaker(self, key: Route | str) -> object:
        board = self.bench.board
        return board._providers[key].breaker if isinstance(key, str) else board._routes[key].breaker

    def expected(self, route: Route) -> str | None:
        """The first reason against, from the model's layers alone."""
        model, now, key = self.model, self.bench.now, (route.provider, route.account)
        if route in model.disabled or route.provider in model.disabled:
            return "admin_disabled"
        if key in model.bad_keys:
            return "config_error"
        if model.missing.get(route, 0.0) > now:
            return "missing"
        if max(model.gates.get(route, 0.0), model.gates.get(key, 0.0)) > now:
            return "gate"
        for name, kind in ((route.provider, "provider_circuit_open"), (route, "circuit_open")):
            circuit = model.circuits[name]
            if circuit.state == "open" and now < self.breaker(name).until:
                return kind
            if circuit.state == "half_open" and any(expires > now for expires, _ in circuit.probes.values()):
                return kind
        return "bulkhead_full" if model.flying[route.provider] >= 64 else None

    def ask(self, route: Route) -> None:
        model, now = self.model, self.bench.now
        expected = self.expected(route)
        assert self.bench.refusal(route) == expected
        outcome = self.bench.admit(route)
        if expected is not None:
            assert not isinstance(outcome, Lease)
            return
        answers = []
        for name in (route.provider, route):
            answers.append(model.circuits[name].admit(now, self.breaker(name).until))
            if answers[-1] == "reopen":
                break
        assert isinstance(outcome, Lease) == ("reopen" not in answers)
        if not isinstance(outcome, Lease):
            self.check()
            return
        for name, answer in zip((route.provider, route), answers, strict=True):
            if answer == "probe":
                model.circuits[name].lease(outcome, now + 65.0)
        model.flying[route.provider] += 1
        probes = (answers[1] == "probe", answers[0] == "probe")
        epochs = (model.circuits[route].epoch, model.circuits[route.provider].epoch)
        self.tickets.append(Ticket(route, outcome, epochs, probes))
        self.check()

    def finish(self, index: int, ending: Ending) -> None:
        ticket = self.tickets.pop(index % len(self.tickets))
        self.bench.settle(ticket.lease, ending)
        self.expect(ticket, ending)
        self.check()
        before = self.picture()
        self.bench.settle(ticket.lease, E500)  # a token ends once
        assert self.picture() == before

    def expect(self, ticket: Ticket, ending: Ending) -> None:
        """The consequences of an ending, from the table of routing.md §3."""
        model, now, route = self.model, self.bench.now, ticket.route
        name, key = route.provider, (route.provider, route.account)
        model.flying[name] -= 1
        model.used[route] = now
        failure = ending if isinstance(ending, Failure) else None
        cls = "ok" if ending is OK else str(failure.cls) if failure else "gone"
        on_route = cls in COUNTS_ON_ROUTE and failure is not None and failure.counted
        was_open = model.circuits[route].state == "open"
        how = "succeeded" if cls == "ok" else "failed" if on_route else "abandoned"
        self.close_or_count(ticket, how, of_route=True)
        opened = model.circuits[route].state == "open" and not was_open
        self.on_provider(ticket, failure, cls=cls, opened=opened)
        if failure is None:
            return
        if cls in ("rate", "quota"):
            where = route if failure.scope is FaultScope.ROUTE else key
            board = self.bench.board
            node = board._routes[route].gates if where == route else board._routes[route].account.gates
            wait = failure.retry_after or (60.0 if cls == "rate" else 3600.0)
            end = node.until(now)
            assert end is not None
            assert max(now + wait, model.gates.get(where, 0.0)) <= end + 1e-6
            assert end <= max(now + wait * 1.1, model.gates.get(where, 0.0)) + 1e-6
            model.gates[where] = end
        elif cls == "auth":
            model.bad_keys.add(key)
        elif cls == "missing":
            model.missing[route] = now + 600.0

    def close_or_count(self, ticket: Ticket, how: str, *, of_route: bool) -> None:
        which = 0 if of_route else 1
        circuit = self.model.circuits[ticket.route if of_route else ticket.route.provider]
        circuit.end(ticket.lease, epoch=ticket.epochs[which], probe=ticket.probes[which], how=how, now=self.bench.now)

    def on_provider(self, ticket: Ticket, failure: Failure | None, *, cls: str, opened: bool) -> None:
        """Three in a row without a byte; 5xx of two routes; two open routes that are half of those used."""
        model, now, name = self.model, self.bench.now, ticket.route.provider
        circuit = model.circuits[name]
        before, current = circuit.epoch, ticket.epochs[1] == circuit.epoch
        counted = failure is not None and failure.counted and failure.provider_counts
        if cls == "ok":
            self.close_or_count(ticket, "succeeded", of_route=False)
            model.streak[name], model.blamed[name] = 0, set()
            return
        if not counted:
            self.close_or_count(ticket, "abandoned", of_route=False)
            if failure is not None and failure.status is not None:
                model.streak[name] = 0
        elif circuit.state == "half_open":
            if cls == "server":
                model.streak[name] = 0
            self.close_or_count(ticket, "failed", of_route=False)
        elif current and circuit.state == "closed":
            hard = cls != "server"
            model.streak[name] = model.streak[name] + 1 if hard else 0
            if not hard:
                model.blamed[name].add(ticket.route)
            self.count_softly(circuit, may_trip=not hard and len(model.blamed[name]) >= 2)
            if circuit.state == "closed" and model.streak[name] >= 3:
                circuit.open(now, tripped=True)
        elif cls == "server":
            model.streak[name] = 0
        if opened and circuit.state == "closed" and circuit.epoch == before:
            used = [each for each in ROUTES if each.provider == name and model.used.get(each, -1e9) >= now - 60]
            down = sum(model.circuits[each].state == "open" for each in used)
            if down >= 2 and 2 * down >= len(used):
                circuit.open(now, tripped=True)
        if circuit.epoch != before and circuit.state == "open":
            model.streak[name], model.blamed[name] = 0, set()

    def count_softly(self, circuit: Model, *, may_trip: bool) -> None:
        """One failure in a closed circuit that may or may not open it."""
        policy = circuit.policy
        if not may_trip:
            circuit.policy = replace(policy, failure_threshold=10**9, min_samples=10**9)
        circuit.end(None, epoch=circuit.epoch, probe=False, how="failed", now=self.bench.now)
        circuit.policy = policy

    def operate(self, verb: str, route: Route, *, whole: bool) -> None:
        board, model, now = self.bench.board, self.model, self.bench.now
        target: object = route.provider if whole else route
        name = None if whole else route.model
        siblings = [each for each in ROUTES if each.provider == route.provider and (whole or each.model == route.model)]
        getattr(board, verb)(route.provider, name, now)
        if verb == "reset":
            if whole:
                model.circuits[target].reset()
            model.streak[route.provider], model.blamed[route.provider] = 0, set()
            for each in siblings:
                model.circuits[each].reset()
                model.bad_keys.discard((each.provider, each.account))
                model.missing.pop(each, None)
        else:
            targets = {target} if whole else set(siblings)
            model.disabled = model.disabled | targets if verb == "disable" else model.disabled - targets
        self.check()

    def picture(self) -> list[object]:
        keys: list[Route | str] = [*ROUTES, "a", "b"]
        return [(b.state, b.generation, b.consecutive) for b in map(self.breaker, keys)] + [dict(self.model.flying)]

    def check(self) -> None:
        board, now = self.bench.board, self.bench.now
        for key, circuit in self.model.circuits.items():
            breaker = self.breaker(key)
            assert (breaker.state, breaker.generation) == (circuit.state, circuit.epoch), key
            assert breaker.leases(now) <= 1
            if circuit.state == "closed":
                assert breaker.consecutive == circuit.streak, key
        for name, count in self.model.flying.items():
            assert board.in_flight(name) == count
        for route in ROUTES:
            assert board.in_flight(route) == sum(ticket.route == route for ticket in self.tickets)
            if spotless(board._routes[route]):  # the short way to a word never says another than the long one
                self.spotless += 1
                assert {board.health(route, now), board.health(route.provider, now)} == {HealthWord.HEALTHY}

    def recovers(self) -> None:
        """Healthy upstreams, traffic and a reset of faults: every circuit closes within its cap and a few probes."""
        bench = self.bench
        for ticket in self.tickets:
            bench.settle(ticket.lease, GONE)
        for name in "ab":
            bench.board.enable(name, None, bench.now)
        for route in ROUTES:
            bench.board.enable(route.provider, route.model, bench.now)
            bench.board.probe_result(route.provider, True, bench.now)
        limit = bench.now + 86_400.0 + 2 * 300.0
        for _ in range(2000):
            waits = []
            for route in ROUTES:
                refusal = bench.board.refusal(route, bench.now)
                if refusal is None:
                    lease = bench.admit(route)
                    if isinstance(lease, Lease):
                        bench.settle(lease, OK)
                else:
                    assert refusal.retry_in is not None
                    waits.append(refusal.retry_in)
            if all(bench.state(key) == "closed" for key in [*ROUTES, "a", "b"]):
                return
            bench.wait(min(waits, default=0.1) + 0.001)
            assert bench.now < limit
        raise AssertionError("still not closed")


def test_B01_the_board_agrees_with_its_model_over_1e5_steps() -> None:
    """Reasons for refusal, circuits, counts and slots match an independent telling of the rules at every step."""
    reasons: dict[str | None, int] = {}
    for seed in range(5):
        dice, pair = random.Random(seed), Pair(seed)
        weights = [1] * len(ENDINGS)
        for step in range(20_000):
            if step % 300 == 0:
                weights = [dice.choice((0, 0, 1, 5)) for _ in ENDINGS]
                weights[0] += 1
            what, route = dice.random(), dice.choice(ROUTES)
            if what < 0.15:
                pair.bench.wait(dice.choice((0.01, 0.5, 5.0, 30.0)))
            elif what < 0.152:
                pair.bench.wait(dice.choice((700.0, 4000.0)))
            elif what < 0.165:
                verb = dice.choice(("reset", "reset", "disable", "enable", "enable", "enable"))
                pair.operate(verb, route, whole=dice.random() < 0.5)
            elif what < 0.55 or not pair.tickets:
                reason = pair.expected(route)
                reasons[reason] = reasons.get(reason, 0) + 1
                pair.ask(route)
            else:
                pair.finish(dice.randrange(64), dice.choices(ENDINGS, weights)[0])
        pair.recovers()
        assert pair.spotless > 100
    wanted = {None, "admin_disabled", "config_error", "missing", "gate", "provider_circuit_open", "circuit_open"}
    assert all(reasons.get(reason, 0) > 100 for reason in wanted), reasons


class BoardMachine(RuleBasedStateMachine):
    """Hypothesis looks for the shortest sequence on which board and model part."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(9)

    @rule(route=st.sampled_from(ROUTES))
    def ask(self, route: Route) -> None:
        self.pair.ask(route)

    @precondition(lambda self: self.pair.tickets)
    @rule(index=st.integers(0, 9), ending=st.sampled_from(ENDINGS))
    def finish(self, index: int, ending: Ending) -> None:
        self.pair.finish(index, ending)

    @rule(route=st.sampled_from(ROUTES), ending=st.sampled_from([E500, E503, CONNECT, LATE]))
    def outage(self, route: Route, ending: Ending) -> None:
        for _ in range(5):
            before = len(self.pair.tickets)
            self.pair.ask(route)
            if len(self.pair.tickets) > before:
                self.pair.finish(before, ending)

    @rule(seconds=st.sampled_from([0.5, 10.0, 36.0, 65.0, 300.0, 601.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.pair.bench.wait(seconds)

    @rule(verb=st.sampled_from(["reset", "disable", "enable"]), route=st.sampled_from(ROUTES), whole=st.booleans())
    def operate(self, verb: str, route: Route, whole: bool) -> None:
        self.pair.operate(verb, route, whole=whole)

    @invariant()
    def every_route_gives_the_expected_reason(self) -> None:
        for route in ROUTES:
            assert self.pair.bench.refusal(route) == self.pair.expected(route)

    def teardown(self) -> None:
        self.pair.recovers()


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
