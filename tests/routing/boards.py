"""A board over a made-up registry, with a fake clock and one-line traffic."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.outcome import Abandoned, Ending, Failure, FaultScope, OutcomeClass, Success
from routerconsole.domain.policy import CircuitPolicy, RoutingPolicy
from routerconsole.domain.registry import Account, Model, Provider, ProviderKind, Registry
from routerconsole.domain.route import Route
from routerconsole.domain.secret import Secret
from routerconsole.routing.board import Board, Lease, Refusal

OK = Success(total_ms=100.0)
GONE = Abandoned()
CONNECT = Failure(OutcomeClass.CONNECT, "refused", provider_counts=True)
SILENT = Failure(OutcomeClass.TIMEOUT_FIRST, "no byte", provider_counts=True)
LATE = Failure(OutcomeClass.TIMEOUT_FIRST, "no content")
E500 = Failure(OutcomeClass.SERVER, "boom", status=500)
E503 = Failure(OutcomeClass.SERVER, "busy", status=503, provider_counts=True)
RATE = Failure(OutcomeClass.RATE, "slow down", status=429)
QUOTA = Failure(OutcomeClass.QUOTA, "out of credit", status=402)
AUTH = Failure(OutcomeClass.AUTH, "bad key", status=401, scope=FaultScope.ACCOUNT)
FORBIDDEN = Failure(OutcomeClass.AUTH, "not for you", status=403)
MISSING = Failure(OutcomeClass.MISSING, "no such model", status=404)
CUT = Failure(OutcomeClass.CUT, "broke off")
BAD_200 = Failure(OutcomeClass.BAD_200, "html", status=200)


def provider(
    name: str,
    models: Sequence[str] = ("m",),
    *,
    accounts: Mapping[str | None, str] | None = None,
    circuit: CircuitPolicy | None = None,
    **more: object,
) -> Provider:
    """A provider of plain models; `accounts` maps names to keys."""
    keys = tuple(Account(key, Secret(value)) for key, value in (accounts or {None: "k"}).items())
    made = tuple(Model(name, model) for model in models)
    base = Provider(name, ProviderKind.OPENAI, f"http://{name}", accounts=keys, models=made)
    return replace(base, circuit=circuit or CircuitPolicy(), **more)  # type: ignore[arg-type] # fields by name


def registry(*providers: Provider) -> Registry:
    """A registry of these providers and all their models."""
    models = {model.key: model for each in providers for model in each.models}
    return Registry(1, RoutingPolicy(), providers={each.name: each for each in providers}, models=models)


class Bench:
    """A board under test: the clock moves only by hand."""

    def __init__(self, *providers: Provider, seed: int = 5) -> None:
        self.board = Board(random.Random(seed))
        self.now = 1000.0
        self.facts: list[Fact] = []
        self.board.configure(registry(*(providers or (provider("a"),))), self.now)

    def admit(self, route: Route, *, size: int = 0, sole: bool = False, last_resort: bool = False) -> Lease | Refusal:
        """Ask for a lease of one minute."""
        return self.board.admit(route, self.now, deadline=self.now + 60, size=size, sole=sole, last_resort=last_resort)

    def lease(self, route: Route, *, size: int = 0, sole: bool = False) -> Lease:
        """Ask for a lease that must be given."""
        got = self.admit(route, size=size, sole=sole)
        assert isinstance(got, Lease), got
        return got

    def settle(self, lease: Lease, ending: Ending) -> list[Fact]:
        """End a lease and keep the facts."""
        facts = self.board.settle(lease, ending, self.now)
        self.facts += facts
        return facts

    def send(self, route: Route, *endings: Ending, size: int = 0, sole: bool = False) -> list[Fact]:
        """Let requests end like this, one after the other; return the facts of the last."""
        facts: list[Fact] = []
        for ending in endings:
            facts = self.settle(self.lease(route, size=size, sole=sole), ending)
        return facts

    def wait(self, seconds: float) -> list[Fact]:
        """Let time pass and tick."""
        self.now += seconds
        facts = self.board.tick(self.now)
        self.facts += facts
        return facts

    def refusal(self, route: Route) -> str | None:
        """The first failing reason's kind."""
        refusal = self.board.refusal(route, self.now)
        return None if refusal is None else str(refusal.kind)

    def wait_for_probe(self, target: Route | str) -> None:
        """Pass the time a circuit stays open."""
        self.now += self.board.circuit(target, self.now)[1]

    def state(self, target: Route | str) -> str:
        """The circuit's state."""
        return str(self.board.circuit(target, self.now)[0])

    def health(self, target: Route | str) -> str:
        """The health word."""
        return str(self.board.health(target, self.now))


def kinds(facts: Sequence[Fact]) -> list[EventType]:
    """The types of facts, in order."""
    return [fact.type for fact in facts]
