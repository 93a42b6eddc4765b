"""The chat entry: one request in, one exchange out, everything recorded. Decides nothing: it asks routing and acts.

A bug in here costs one request (500 with its id), never the process.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from routerconsole.domain.errors import ErrorCode, RouterError, RoutingFailed
from routerconsole.domain.outcome import Failure, FaultScope, OutcomeClass
from routerconsole.domain.request import Origin
from routerconsole.domain.trace import Attempt, Trace
from routerconsole.routing import profiles
from routerconsole.routing.cascade import Cascade, Stop, Try, Wait
from routerconsole.routing.limits import Meter
from routerconsole.routing.needs import needs_of
from routerconsole.routing.order import Means
from routerconsole.routing.plan import AccountTurns, Plan, RouteFacts, plan
from routerconsole.routing.pointers import Pointers
from routerconsole.routing.resolve import resolve

from .attempt import AttemptRunner, CommittedStream, Refused, Result, WholeAnswer
from .exchange import StreamExchange, WholeExchange
from .inflight import InFlight
from .packing import Packer
from .settle import Settlement, Usage

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from routerconsole.control.port import Exchange
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.request import ChatRequest, Needs
    from routerconsole.domain.route import Route
    from routerconsole.routing.board import Board
    from routerconsole.routing.budget import RetryBudget
    from routerconsole.routing.resolution import Resolution

    from .bodies import BodyStore
    from .bus import Bus
    from .clock import Clock
    from .pauses import Pauses
    from .recorder import Recorder
    from .upstreams import Upstreams

log = logging.getLogger(__name__)


class Facts(RouteFacts, Protocol):
    """What a decision reads of the board."""

    def enabled(self, target: Route | str) -> bool:
        """Say whether a provider or route is not disabled."""


class Asked(NamedTuple):
    """What of a request decides beside its needs."""

    model: str | None
    agent: str | None
    tags: tuple[str, ...]
    session: str | None
    stream: bool


class ChatEngine:
    """Serves requests on the loop it was made on; implements the Chat port."""

    def __init__(
        self,
        *,
        registry: Registry,
        board: Board,
        budget: RetryBudget,
        upstreams: Upstreams,
        recorder: Recorder,
        bus: Bus,
        bodies: BodyStore,
        clock: Clock,
        rng: random.Random,
        pauses: Pauses,
        means: Means | None = None,
    ) -> None:
        self.registry, self.board, self.budget = registry, board, budget
        self.upstreams, self.recorder, self.bus, self.bodies = upstreams, recorder, bus, bodies
        self.clock, self._rng, self.pauses = clock, rng, pauses
        self.redact: Callable[[str], str] = str
        self.tap: Callable[[ChatRequest, Exchange], Exchange] = lambda _, exchange: exchange  # sees what is answered
        self.in_flight: dict[str, InFlight] = {}
        self.closing = False
        self._boot = secrets.token_hex(3)
        self._numbers = count(1)
        self._turns = AccountTurns()
        self.means = means or Means(Pointers(), Meter(), rng)

    def new_id(self) -> str:
        """Return a request id: this start's six hex digits and a running number."""
        return f"{self._boot}-{next(self._numbers):05x}"

    async def open(self, request: ChatRequest) -> Exchange:
        """Route and serve; return at the whole reply or a stream's commit; raise RoutingFailed or RequestRejected."""
        if self.closing:
            raise RoutingFailed(ErrorCode.SHUTTING_DOWN, "The router is shutting down.", retry_after=1.0)
        now = self.clock.monotonic()
        trace = Trace(
            id=request.id,
            at=self.clock.wall(),
            began=now,
            origin=request.origin,
            endpoint=request.endpoint,
            model=request.model,
            stream=request.stream,
            agent=request.hints.agent,
            client_retry=request.client_retry,
            forward=request.forward,
        )
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("open() needs a running task")
        flight = InFlight(trace, task)
        self.in_flight[request.id] = flight
        self.recorder.begin(trace)
        settlement = Settlement(self, flight)
        try:
            decision = self.decide(request, now=now, trace=trace)
            self.recorder.received(trace)
            self.bodies.keep(request)
            if decision.error is not None:
                raise decision.error
            return self.tap(request, await self._serve(request, decision, flight, settlement))
        except RouterError as exc:
            if isinstance(exc, RoutingFailed):
                exc.trace = trace
            settlement.failed(exc)
            raise
        except asyncio.CancelledError:
            stopped = settlement.cancelled()
            if stopped is None:
                raise
            task.uncancel()
            raise stopped from None
        except Exception as exc:
            log.exception("request %s hit a bug", request.id)
            failure = RoutingFailed(ErrorCode.INTERNAL_ERROR, f"Internal error; the request id is {request.id}.")
            failure.trace = trace
            settlement.failed(failure)
            raise failure from exc

    def decide(self, request: ChatRequest, *, now: float, trace: Trace | None = None) -> Plan:
        """Take the decision of routing.md §2 steps 2 to 11; it changes nothing, so `explain` may ask too."""
        registry, hints = self.registry, request.hints
        needs = needs_of(request, registry.tree)
        if trace is not None:
            trace.needed, trace.forced = needs.needed, needs.forced
            trace.estimate_tokens, trace.size = needs.estimate_tokens, needs.size
            trace.required, trace.tags, trace.session = needs.required, hints.tags, hints.session
        means = self.means if trace is not None else self.means.peeking()
        decision = self.replanned(
            Asked(request.model, hints.agent, hints.tags, hints.session, request.stream),
            needs,
            registry,
            self.board,
            now=now,
            means=means,
        )
        if trace is not None:
            resolution = decision.resolution
            trace.resolved, trace.resolved_kind = resolution.id, resolution.kind.value
            trace.candidates, trace.because = decision.candidates, decision.because
            if decision.fell_back:
                trace.flags.append("fallback")
        return decision

    def replanned(
        self, asked: Asked, needs: Needs, registry: Registry, board: Facts, *, now: float, means: Means
    ) -> Plan:
        """Decide as `decide` does on any registry and view of the board; raise what resolving the name raises."""
        enabled = board.enabled
        resolution = resolve(asked.model, registry, agent=asked.agent, tags=asked.tags, enabled=enabled)
        return profiles.decided(
            resolution,
            registry,
            lambda meant: self.planned(meant, asked, needs, registry, board, now=now, means=means),
            enabled=enabled,
        )

    def planned(
        self,
        meant: Resolution,
        asked: Asked,
        needs: Needs,
        registry: Registry,
        board: Facts,
        *,
        now: float,
        means: Means,
    ) -> Plan:
        """Plan for one meaning of a name."""
        return plan(
            meant,
            needs,
            registry,
            board,
            now=now,
            turns=self._turns,
            means=means,
            session=asked.session,
            stream=asked.stream,
        )

    def redacted(self, failure: Failure) -> Failure:
        """Return a failure without known secrets: an upstream may echo the key it was sent, anywhere."""
        message, code, param = (text and self.redact(text) for text in (failure.message, failure.code, failure.param))
        return replace(failure, detail=self.redact(failure.detail), message=message, code=code, param=param)

    def _clean(self, headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Return an upstream's headers without known secrets; numbers and media types are left as they are."""
        return tuple(
            (name, value if value.isdigit() or name == "content-type" else self.redact(value))
            for name, value in headers
        )

    async def _serve(self, request: ChatRequest, decision: Plan, flight: InFlight, settlement: Settlement) -> Exchange:
        """Walk the cascade until something serves or it stops."""
        policy = self.registry.policy
        trace = flight.trace
        flight.track = decision.track
        deadline = trace.began + min(policy.request_deadline, request.hints.timeout or policy.request_deadline)
        self.budget.deposit(trace.began, decision.ranked[0].provider.name)
        packer = Packer(request, self.upstreams)
        cascade = Cascade(
            decision,
            policy,
            self.board,
            self.budget,
            deadline,
            self._rng,
            request.stream,
            no_fallback=request.hints.no_fallback,
            turns=self._turns,
            pointers=self.means.pointers,
            books=self.means.books,
            objection=packer.objection,
        )
        kept, skipped = _Kept(), 0
        try:
            while True:
                step = cascade.next(self.clock.monotonic())
                if len(cascade.skipped) > skipped:
                    for route, refusal in islice(cascade.skipped.items(), skipped, None):
                        self.recorder.skipped(trace, route, refusal.text)
                    skipped = len(cascade.skipped)
                if isinstance(step, Wait):
                    flight.waited += step.seconds
                    await asyncio.sleep(step.seconds)
                    continue
                if isinstance(step, Stop):
                    if step.return_last and kept.step is not None:
                        return self._undelivered(kept, settlement, deadline)
                    if step.error.code is ErrorCode.CAPABILITY_NOT_DELIVERED:
                        trace.undelivered = kept.words
                    raise step.error
                result, attempt = await self._attempt(request, decision, step, flight=flight, packer=packer)
                if isinstance(result, Refused):
                    result = replace(result, failure=self.redacted(result.failure))
                    kept.replace(step, attempt, result)
                    settlement.attempt_failed(step, attempt, result.failure, said=result.said)
                    cascade.report(step.ranked, result.failure, self.clock.monotonic())
                    continue
                if isinstance(result, WholeAnswer):
                    self.bodies.keep_reply(trace.id, result.reply.raw)
                    settlement.attempt_served(step, attempt, Usage.of_reply(result.reply.data))
                    settlement.served()
                    return WholeExchange(trace, result.reply.raw, self._clean(result.headers))
                settlement.committed(step, attempt)
                return self._streaming(result, settlement, step=step, attempt=attempt, deadline=deadline)
        finally:
            kept.drop()

    async def _attempt(
        self, request: ChatRequest, decision: Plan, step: Try, *, flight: InFlight, packer: Packer
    ) -> tuple[Result, Attempt]:
        """Make one upstream call; however it is cut short, its lease is given back."""
        trace = flight.trace
        attempt = Attempt(
            n=len(trace.attempts) + 1,
            route=step.ranked.route,
            started_ms=(self.clock.monotonic() - trace.began) * 1000,
            circuit_before=step.lease.circuit.value,
        )
        trace.attempts.append(attempt)
        step.lease.neutral = request.origin is Origin.EVAL
        flight.step, flight.charge = step, None
        try:
            self.recorder.attempt_started(trace, attempt)
            result = await self._run(request, decision, step, attempt=attempt, flight=flight, packer=packer)
        except asyncio.CancelledError:
            why = flight.reason.value if flight.reason else "client gone"
            Settlement(self, flight).abandoned(step, attempt, why)
            raise
        except BaseException:
            Settlement(self, flight).abandoned(step, attempt, "internal error")
            raise
        finally:
            flight.step = None
        if not isinstance(result, CommittedStream):  # whose attempt lasts as long as its stream
            attempt.ended_ms = (self.clock.monotonic() - trace.began) * 1000
        return result, attempt

    async def _run(
        self, request: ChatRequest, decision: Plan, step: Try, *, attempt: Attempt, flight: InFlight, packer: Packer
    ) -> Result:
        target = self.upstreams.target(step.ranked.route)
        if target is None:
            reason = self.upstreams.broken.get(step.ranked.provider.name, "the provider cannot be used")
            return Refused(Failure(OutcomeClass.AUTH, reason, scope=FaultScope.PROVIDER))
        wall, needs = self.clock.wall(), decision.needs
        flight.charge = self.means.meter.sent(attempt.route, needs.estimate_tokens, self.clock.monotonic(), wall)
        flight.bills[attempt.n] = self.means.books.sent(step.ranked, needs, agent=flight.trace.agent, wall=wall)
        runner = AttemptRunner(
            request=request,
            needs=needs,
            step=step,
            target=target,
            wire=packer.wire(step.ranked, target),
            sender=self.upstreams.sender,
            clock=self.clock,
            began=flight.trace.began,
            pauses=self.pauses,
        )
        return await runner.run(attempt)

    def _streaming(
        self, stream: CommittedStream, settlement: Settlement, *, step: Try, attempt: Attempt, deadline: float
    ) -> StreamExchange:
        return StreamExchange(
            settlement.trace,
            replace(stream, headers=self._clean(stream.headers)),
            settlement=settlement,
            step=step,
            attempt=attempt,
            deadline=deadline,
            clock=self.clock,
            pauses=self.pauses,
        )

    def _undelivered(self, kept: _Kept, settlement: Settlement, deadline: float) -> Exchange:
        """Return a lone route's answer although it lacks a forced capability; headers say so."""
        step, attempt, answer = kept.take()
        trace = settlement.trace
        trace.undelivered = kept.words
        trace.selected = attempt.route
        trace.flags.append("undelivered")
        if isinstance(answer, WholeAnswer):
            settlement.answered(Usage.of_reply(answer.reply.data))
            settlement.served()
            return WholeExchange(trace, answer.reply.raw, self._clean(answer.headers))
        released = CommittedStream(answer.stream, answer.stream.gate.release(), answer.headers)
        attempt.first_token_ms = trace.ttft_ms = (self.clock.monotonic() - trace.began) * 1000
        return self._streaming(released, settlement, step=step, attempt=attempt, deadline=deadline)


class _Kept:
    """The last undelivered answer of a request; a stream in it stays open until it is returned or dropped."""

    def __init__(self) -> None:
        self.step: Try | None = None
        self._attempt: Attempt | None = None
        self._answer: WholeAnswer | CommittedStream | None = None
        self.words: tuple[str, ...] = ()

    def replace(self, step: Try, attempt: Attempt, refused: Refused) -> None:
        """Remember a newer one, if this refusal has one."""
        if refused.kept is None:
            return
        self.drop()
        self.step, self._attempt, self._answer = step, attempt, refused.kept
        self.words = tuple(word.value for word in refused.undelivered)

    def take(self) -> tuple[Try, Attempt, WholeAnswer | CommittedStream]:
        """Hand it over; from here on it is not ours to drop."""
        step, attempt, answer = self.step, self._attempt, self._answer
        if step is None or attempt is None or answer is None:
            raise RuntimeError("no undelivered answer is kept")
        self._answer = None
        return step, attempt, answer

    def drop(self) -> None:
        """Close a stream nobody will read."""
        if isinstance(self._answer, CommittedStream):
            self._answer.stream.abort()
        self._answer = None
