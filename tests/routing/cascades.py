"""Whole requests through plan and cascade over a real board and budget: scripted endings, a clock moved by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import NODE_OF, Layer, Source, Tri, Word
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.outcome import Ending, Failure, FaultScope, GateReason, OutcomeClass, Success
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.pool import Pool
from routerconsole.domain.registry import Account, Model, Provider, ProviderKind, Registry
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.domain.route import ModelKey, Route
from routerconsole.domain.trace import Decision
from routerconsole.routing.board import Board
from routerconsole.routing.budget import RetryBudget
from routerconsole.routing.cascade import Cascade, Stop, Try, Wait
from routerconsole.routing.limits import Meter
from routerconsole.routing.order import Means
from routerconsole.routing.plan import AccountTurns, Plan, plan
from routerconsole.routing.pointers import Pointers
from routerconsole.routing.resolve import resolve

CHAT = Needs(Endpoint.CHAT, estimate_tokens=10, size=100)
TOOLS = replace(CHAT, needed=(Word.TOOLS,))
FORCED = replace(TOOLS, forced=(Word.TOOLS,))
VISION = replace(CHAT, needed=(Word.VISION,))
EMBED = Needs(Endpoint.EMBEDDINGS, needed=(Word.EMBEDDINGS,), estimate_tokens=10, size=100)
OK = Success(total_ms=100.0)
HANG = Failure(OutcomeClass.TIMEOUT_FIRST, "no byte in time", provider_counts=True)
"""Answers nothing until the attempt's own timer ends it."""
REFUSED = Failure(OutcomeClass.CONNECT, "connection refused", provider_counts=True)
STALE = Failure(OutcomeClass.STALE_CONN, "closed as it was taken")
WARMING = Failure(OutcomeClass.WARMING, "Loading model", status=503, message="Loading model")
AUTH = Failure(OutcomeClass.AUTH, "bad key", status=401, message="Incorrect API key", scope=FaultScope.ACCOUNT)
FORBIDDEN = Failure(OutcomeClass.AUTH, "no", status=403)
MISSING = Failure(OutcomeClass.MISSING, "no such model", status=404, message="no such model")
QUOTA = Failure(OutcomeClass.QUOTA, "out of credit", status=402, gate=GateReason.QUOTA)
CONTEXT = Failure(OutcomeClass.CONTEXT, "too long", status=400, message="maximum context length is 4096 tokens")
OVERSIZE = Failure(OutcomeClass.OVERSIZE, "too large", status=413)
POLICY = Failure(OutcomeClass.POLICY, "filtered", status=400, message="The content filter was triggered")
NO_TOOLS = Failure(
    OutcomeClass.CAPABILITY, "does not support tools", status=400, message="no tools here", refused=(Word.TOOLS,)
)
HTML = Failure(OutcomeClass.BAD_200, "not JSON (text/html)", status=200)
BLANK = Failure(OutcomeClass.BLANK, "nothing in it", status=200)
UNDELIVERED = Failure(OutcomeClass.UNDELIVERED, "no tool call", status=200, refused=(Word.TOOLS,))


def server(status: int, hint: float | None = None) -> Failure:
    """An upstream's 5xx, with Retry-After if given."""
    gate = None if hint is None else GateReason.OVERLOAD
    return Failure(
        OutcomeClass.SERVER, "boom", status=status, provider_counts=status != 500, retry_after=hint, gate=gate
    )


def rate(hint: float | None = None) -> Failure:
    """A 429, with Retry-After if given."""
    return Failure(OutcomeClass.RATE, "slow down", status=429, gate=GateReason.RATE, retry_after=hint)


def client(status: int = 400, message: str = "temperature must be a number") -> Failure:
    """A refusal that blames the request."""
    return Failure(OutcomeClass.CLIENT_ERROR, message, status=status, message=message, param="temperature")


def model(provider: str, name: str = "m", caps: str = "", *, source: Source = Source.CONFIG, **more: object) -> Model:
    """A model; `caps` are words or nodes, a leading `-` is a known no."""
    layers = {
        NODE_OF.get(word.removeprefix("-"), word.removeprefix("-")): (
            Layer(source, Tri.NO if word.startswith("-") else Tri.YES),
        )
        for word in caps.split()
    }
    return replace(Model(provider, name, layers=layers), **more)  # type: ignore[arg-type] # fields by name


def provider(name: str, *models: Model, priority: int = 100, accounts: Sequence[str] = (), **more: object) -> Provider:
    """A provider of one plain model `m` unless others are given."""
    base = Provider(name, ProviderKind.OPENAI, f"http://{name}", priority=priority, models=models or (model(name),))
    if accounts:
        base = replace(base, accounts=tuple(Account(each) for each in accounts))
    return replace(base, **more)  # type: ignore[arg-type] # fields by name


def fleet(*names: str) -> list[Provider]:
    """Providers tried in this order."""
    return [provider(name, priority=n) for n, name in enumerate(names)]


@dataclass
class Told:
    """What became of one request."""

    plan: Plan
    calls: list[Try] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    served: Route | None = None
    stop: Stop | None = None

    @property
    def names(self) -> list[str]:
        """The providers asked, in order."""
        return [step.ranked.route.provider for step in self.calls]

    @property
    def labels(self) -> list[str]:
        """The routes asked, in order."""
        return [step.ranked.route.label() for step in self.calls]

    @property
    def error(self) -> RoutingFailed:
        """The closing error of a request that was not served."""
        error = self.stop.error if self.stop is not None else self.plan.error
        assert error is not None, "it was served"
        return error

    @property
    def decisions(self) -> list[tuple[str, Decision]]:
        """The candidates as the trace shows them."""
        return [(item.route.label(), item.decision) for item in self.plan.candidates]


class Stage:
    """A board, a budget and a clock that stands still between requests unless moved."""

    def __init__(
        self, *providers: Provider, policy: RoutingPolicy | None = None, pools: Sequence[Pool] = (), seed: int = 1
    ) -> None:
        self.policy = policy or RoutingPolicy()
        self.registry: Registry = assemble(version=1, policy=self.policy, providers=providers, pools=pools)
        self.rng = random.Random(seed)
        self.board = Board(self.rng)
        self.budget = RetryBudget(self.policy.retry)
        self.turns = AccountTurns()
        self.pointers, self.meter = Pointers(), Meter()
        self.means = Means(self.pointers, self.meter, self.rng)
        self.asking: tuple[str | None, bool] = (None, False)
        self.unfit: set[str] = set()
        self.now = 1000.0
        self.board.configure(self.registry, self.now)

    def decide(
        self,
        needs: Needs = CHAT,
        *,
        name: str | None = None,
        session: str | None = None,
        stream: bool = False,
        peek: bool = False,
    ) -> Plan:
        """Plan a request; `peek` as `explain` does."""
        means = self.means.peeking() if peek else self.means
        session, stream = session or self.asking[0], stream or self.asking[1]
        return plan(
            resolve(name, self.registry), needs, self.registry, self.board,
            now=self.now, turns=self.turns, means=means, session=session, stream=stream,
        )  # fmt: skip

    def cascade(self, decision: Plan, *, deadline: float = 600.0, **more: bool) -> Cascade:
        """Start walking a plan; `unfit` providers speak a dialect that cannot carry the request."""
        stream, no_fallback = more.get("stream", False), more.get("no_fallback", False)
        return Cascade(
            decision, self.policy, self.board, self.budget, self.now + deadline, self.rng, stream,
            no_fallback=no_fallback, turns=self.turns, pointers=self.pointers,
            objection=lambda ranked: "cannot carry it" if ranked.route.provider in self.unfit else None,
        )  # fmt: skip

    def send(
        self,
        script: Mapping[str, Sequence[Ending] | Ending] | None = None,
        needs: Needs = CHAT,
        *,
        name: str | None = None,
        deadline: float = 600.0,
        takes: float = 0.0,
        stream: bool = False,
        no_fallback: bool = False,
        session: str | None = None,
    ) -> Told:
        """Drive one request to its end; `script` gives each provider's (or route label's) endings, the last repeats."""
        answers = {key: _endings(given) for key, given in (script or {}).items()}
        self.asking = (session, stream)
        told = Told(self.decide(needs, name=name))
        self.asking = (None, False)
        if told.plan.error is not None:
            return told
        self.budget.deposit(self.now, told.plan.ranked[0].provider.name)
        cascade = self.cascade(told.plan, deadline=deadline, stream=stream, no_fallback=no_fallback)
        for _ in range(200):
            step = cascade.next(self.now)
            if isinstance(step, Wait):
                told.waits.append(step.seconds)
                self.now += step.seconds
            elif isinstance(step, Stop):
                told.stop = step
                return told
            elif self._answered(step, answers, told, takes=takes, cascade=cascade):
                told.served = step.ranked.route
                return told
        raise AssertionError("the cascade does not end")

    def _answered(
        self, step: Try, answers: Mapping[str, Iterator[Ending]], told: Told, *, takes: float, cascade: Cascade
    ) -> bool:
        told.calls.append(step)
        told.at.append(self.now)
        route = step.ranked.route
        self.meter.sent(route, 0, self.now, 0.0)
        script = answers.get(route.label()) or answers.get(route.provider)
        ending: Ending = next(script) if script is not None else OK
        if ending is HANG:
            self.now += step.wait
            ending = replace(HANG, counted=step.wait_full, provider_counts=step.wait_full)
        else:
            self.now += takes
        self.board.settle(step.lease, ending, self.now)
        if isinstance(ending, Failure):
            cascade.report(step.ranked, ending, self.now)
            return False
        return True

    def open(self, name: str, upstream: str = "m") -> Route:
        """Open a route's circuit by five failures of its own."""
        route = Route(name, None, upstream)
        for _ in range(5):
            lease = self.board.admit(route, self.now, deadline=self.now + 60)
            self.board.settle(lease, server(500), self.now, sole=False)  # type: ignore[arg-type] # it is admitted
        assert str(self.board.circuit(route, self.now)[0]) == "open"
        return route

    def drain_budget(self, *names: str) -> None:
        """Leave these providers' and the process's buckets empty."""
        for name in names:
            for _ in count():
                if not paid(self.budget, self.now, name):
                    break


def paid(budget: RetryBudget, now: float, provider: str | None = None) -> bool:
    """Pay for one extra attempt as the cascade does: False, and nothing taken, where a bucket is empty."""
    if not budget.available(provider, now):
        return False
    budget.take(provider, now)
    return True


def _endings(given: Sequence[Ending] | Ending) -> Iterator[Ending]:
    if not isinstance(given, Sequence):
        given = (given,)
    yield from given
    while True:
        yield given[-1]


def pool(name: str, *members: str, **more: object) -> Pool:
    """A pool of `provider/model` members."""
    keys = tuple(ModelKey(*member.split("/", 1)) for member in members)
    return replace(Pool(name, listed=keys), **more)  # type: ignore[arg-type] # fields by name
