"""Synchronous endings: what an attempt or a request leaves on the board, in its trace and on the bus.

No await anywhere: a disconnect cancels every await, and an ending must be recorded exactly once all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routerconsole.domain.errors import ErrorCode, RoutingFailed, StreamIncomplete
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.outcome import Abandoned, Failure, OutcomeClass, Success
from routerconsole.domain.request import Endpoint
from routerconsole.domain.trace import RequestStatus, Terminal
from routerconsole.routing.resolution import ResolvedKind

from .inflight import CancelReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.errors import RouterError
    from routerconsole.domain.outcome import Ending
    from routerconsole.domain.trace import Attempt
    from routerconsole.routing.cascade import Try
    from routerconsole.routing.stream_gate import StreamGate

    from .engine import ChatEngine
    from .inflight import InFlight

CLIENT_GONE = 499
"""nginx's status for a client that closed the connection; shown in the log, never sent."""
_EXHAUSTED = frozenset({ErrorCode.NO_ROUTABLE_CANDIDATE, ErrorCode.OVERLOADED})
_NO_POOL = frozenset({ResolvedKind.PROVIDER_MODEL, ResolvedKind.MODEL})


class Settlement:
    """The ending of one request; every method may be called when it applies, the request ends only once."""

    def __init__(self, engine: ChatEngine, flight: InFlight) -> None:
        self._engine, self._flight = engine, flight
        self.trace = flight.trace
        self._over = False

    @property
    def keeps_replies(self) -> bool:
        """Whether answers are logged (`log.bodies: summary | full`)."""
        return self._engine.bodies.reply_bytes > 0

    def keep_reply(self, data: bytes) -> None:
        """Add to what was answered, for the log."""
        self._engine.bodies.keep_reply(self.trace.id, data)

    def redacted(self, failure: Failure) -> Failure:
        """Return a failure without known secrets."""
        return self._engine.redacted(failure)

    def attempt_failed(self, step: Try, attempt: Attempt, failure: Failure, *, said: Any = None) -> None:
        """Record a failed attempt on the board, in the trace, in the books and as an event.

        `said` is what the upstream answered all the same.
        """
        attempt.cls, attempt.detail = failure.cls, failure.detail
        attempt.status = failure.status or attempt.status
        self._uncharged(failure)
        self._billed_failure(attempt, failure, said)
        if failure.cls is OutcomeClass.CUT and self._flight.track is not None:
            self._engine.means.pointers.cut(self._flight.track.pool, attempt.route)
        self._on_board(step, attempt, failure)
        self._engine.recorder.attempt_failed(self.trace, attempt)

    def attempt_served(self, step: Try, attempt: Attempt, usage: Usage) -> None:
        """Record a served attempt: its usage and times."""
        attempt.cls = OutcomeClass.OK
        trace = self.trace
        self.answered(usage)
        attempt.prompt_tokens, attempt.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        attempt.served_model = usage.model
        embedded = trace.endpoint is Endpoint.EMBEDDINGS  # there nothing is completed
        if usage.prompt_tokens is not None and (usage.completion_tokens is not None or embedded):
            self._charged(usage.prompt_tokens + (usage.completion_tokens or 0))
        self._billed(attempt, usage)
        trace.selected = step.ranked.route
        ended = attempt.ended_ms or attempt.started_ms
        ttft = None if attempt.first_token_ms is None else attempt.first_token_ms - attempt.started_ms
        success = Success(
            total_ms=ended - attempt.started_ms,
            ttft_ms=ttft,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        self._on_board(step, attempt, success)
        self._engine.recorder.attempt_succeeded(trace, attempt)

    def answered(self, usage: Usage) -> None:
        """Note what the answer that goes to the client says of itself."""
        trace = self.trace
        trace.finish_reason = usage.finish_reason
        trace.prompt_tokens, trace.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        trace.usage_source = "missing" if usage.completion_tokens is None else "reported"

    def cut_short(self, attempt: Attempt, gate: StreamGate) -> None:
        """Note how far a stream came that did not end well: what the upstream reported, else one token an event.

        A prompt nobody counted is as long as it was taken to be before the call.
        """
        asked, reported = _count((gate.usage or {}).get("prompt_tokens")), _completed(gate.final_usage)
        bill, trace = self._flight.bills.get(attempt.n), self.trace
        guessed = asked is None or reported is None
        if asked is None and bill is not None:
            asked = bill.prompt
        completion = gate.tokens if reported is None else reported
        trace.prompt_tokens, trace.completion_tokens = asked, completion
        attempt.prompt_tokens, attempt.completion_tokens = asked, completion
        trace.usage_source = "estimated" if guessed else "reported"
        if bill is not None:
            attempt.cost_usd = bill.used(asked, completion, estimated=guessed)
            self._summed()
        if asked is not None:
            self._charged(asked + completion)

    def abandoned(self, step: Try, attempt: Attempt, reason: str) -> None:
        """Give the lease of an attempt nobody waits for back; neutral."""
        attempt.cls, attempt.detail = OutcomeClass.IGNORED, reason
        attempt.ended_ms = self._elapsed_ms()
        bill = self._flight.bills.get(attempt.n)
        unsent = not attempt.reused and attempt.connect_ms is None  # it never had a connection
        if bill is not None and bill.open:
            bill.unsent() if unsent else bill.lost()
        if unsent and self._flight.charge is not None:
            self._flight.charge.unsent()
        self._on_board(step, attempt, Abandoned(reason))

    def committed(self, step: Try, attempt: Attempt) -> None:
        """A stream reached its first content: a half-open probe is answered."""
        attempt.first_token_ms = self._elapsed_ms()
        self.trace.selected = step.ranked.route
        self.trace.ttft_ms = attempt.first_token_ms
        now = self._engine.clock.monotonic()
        self._engine.bus.publish_all(self._engine.board.commit(step.lease, now))
        self._engine.recorder.attempt_first_token(self.trace, attempt)

    @property
    def reason(self) -> CancelReason | None:
        """Why the serving task was cancelled, None where its client left."""
        return self._flight.reason

    def served_stream(self, step: Try, attempt: Attempt, gate: StreamGate) -> None:
        """A stream ended well; what the gate learned of it goes into the trace."""
        counts = gate.usage or {}
        usage = Usage(
            model=gate.served_model,
            finish_reason=gate.finish_reason,
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_completed(counts),
        )
        self.trace.flags.extend(gate.flags)
        if attempt.cls is None:
            self.attempt_served(step, attempt, usage)
        else:  # an undelivered answer returned all the same stays what it was
            self.answered(usage)
            self._billed(attempt, usage)
        self.served(Terminal.CLEAN)

    def served(self, terminal: Terminal = Terminal.NONE) -> None:
        """The client has its answer."""
        self.trace.terminal = terminal
        self._end(RequestStatus.OK, 200)

    def truncated(self, failure: StreamIncomplete) -> None:
        """A committed stream broke; the client was told in-band."""
        self.trace.terminal = Terminal.TRUNCATED
        self.trace.error_code = failure.code.value
        self._end(RequestStatus.TRUNCATED, 200)

    def failed(self, error: RouterError) -> None:
        """The request is answered with an error."""
        self.trace.error_code = error.code.value
        if error.code is ErrorCode.BUDGET_EXCEEDED:
            self._engine.means.books.refused = True
        bound = self._flight.track is not None and self._flight.track.strict  # others of the pool were not looked at
        pooled = self.trace.resolved_kind not in _NO_POOL and not bound
        if error.code in _EXHAUSTED and not self.trace.attempts and pooled:
            self._engine.bus.publish(
                Fact(
                    EventType.POOL_EXHAUSTED,
                    {"id": self.trace.id, "pool": self.trace.resolved or self.trace.model, "reason": error.message},
                )
            )
        self._end(RequestStatus.FAILED, error.status)

    def cancelled(self) -> RoutingFailed | None:
        """The serving task was cancelled; return the error to answer with where it was not the client who left."""
        reason = self._flight.reason
        trace = self.trace
        if reason is CancelReason.SHUTDOWN:
            error = RoutingFailed(ErrorCode.SHUTTING_DOWN, "The router is shutting down.", retry_after=1.0)
        elif reason is CancelReason.OPERATOR:
            error = RoutingFailed(ErrorCode.CANCELLED, "An operator cancelled this request.", should_retry=False)
        else:
            trace.terminal = Terminal.CLIENT_CANCEL
            self._end(RequestStatus.CANCELLED, CLIENT_GONE)
            return None
        error.trace = trace
        trace.error_code = error.code.value
        if trace.ttft_ms is not None:
            trace.terminal = Terminal.TRUNCATED
        self._end(RequestStatus.CANCELLED, error.status)
        return error

    def _billed(self, attempt: Attempt, usage: Usage) -> None:
        """Enter what an answer took, and what the request cost with it."""
        bill = self._flight.bills.get(attempt.n)
        if bill is not None:
            embedded = self.trace.endpoint is Endpoint.EMBEDDINGS and usage.completion_tokens is None
            attempt.cost_usd = bill.used(usage.prompt_tokens, 0 if embedded else usage.completion_tokens)
            self._summed()

    def _billed_failure(self, attempt: Attempt, failure: Failure, said: Any) -> None:
        """Enter what a failed attempt took: what it answered, nothing where it refused, else nobody knows."""
        bill = self._flight.bills.get(attempt.n)
        if bill is None or not bill.open:
            return
        if failure.cls in (OutcomeClass.CONNECT, OutcomeClass.STALE_CONN):
            bill.unsent()
        elif failure.status is not None and failure.status >= 400:
            bill.refused()
        elif isinstance(said, dict):
            usage = Usage.of_reply(said)
            attempt.prompt_tokens, attempt.completion_tokens = usage.prompt_tokens, usage.completion_tokens
            self._billed(attempt, usage)
        else:
            bill.lost()

    def _summed(self) -> None:
        """Add up what the request cost; one answer of unknown price, and the sum is unknown."""
        trace = self.trace
        counted = (item for item in trace.attempts if item.completion_tokens is not None or item.cls is OutcomeClass.OK)
        costs = [item.cost_usd for item in counted]
        known = [cost for cost in costs if cost is not None]
        trace.cost_usd = sum(known) if known and len(known) == len(costs) else None

    def _charged(self, tokens: int) -> None:
        """Put what an attempt really took in the books."""
        if self._flight.charge is not None:
            self._flight.charge.known(tokens)

    def _uncharged(self, failure: Failure) -> None:
        """Take back what a failed attempt did not use: everything where nobody was reached, tokens where refused."""
        charge = self._flight.charge
        if charge is None:
            return
        if failure.cls in (OutcomeClass.CONNECT, OutcomeClass.STALE_CONN):
            charge.unsent()
        elif failure.status is not None and failure.status >= 400:
            charge.known(0)

    def _on_board(self, step: Try, attempt: Attempt, ending: Ending) -> None:
        engine = self._engine
        paused = engine.pauses.ended >= self.trace.began + attempt.started_ms / 1000
        if paused and isinstance(ending, Failure):  # what we missed while we stood still is not its fault
            ending = replace(ending, counted=False)
        engine.bus.publish_all(engine.board.settle(step.lease, ending, engine.clock.monotonic()))
        attempt.circuit_after = step.lease.circuit.value

    def _elapsed_ms(self) -> float:
        return (self._engine.clock.monotonic() - self.trace.began) * 1000

    def _end(self, status: RequestStatus, http_status: int) -> None:
        if self._over:
            return
        self._over = True
        trace = self.trace
        trace.status, trace.http_status = status, http_status
        trace.total_ms = self._elapsed_ms()
        upstream = sum((item.ended_ms or trace.total_ms) - item.started_ms for item in trace.attempts)
        trace.router_ms = max(0.0, trace.total_ms - upstream - self._flight.waited * 1000)
        self._engine.in_flight.pop(trace.id, None)
        self._engine.recorder.finish(trace)


class Usage:
    """What an answer says of itself: its model, finish reason and token counts, None where it does not."""

    __slots__ = ("completion_tokens", "finish_reason", "model", "prompt_tokens")

    def __init__(
        self,
        *,
        model: str | None = None,
        finish_reason: str | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> None:
        self.model, self.finish_reason = model, finish_reason
        self.prompt_tokens, self.completion_tokens = prompt_tokens, completion_tokens

    @classmethod
    def of_reply(cls, data: Any) -> Usage:
        """Read a whole reply; wrong types count as not said."""
        if not isinstance(data, dict):
            return cls()
        usage = data.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        choices = data.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        return cls(
            model=_text(data.get("model")),
            finish_reason=_text(first.get("finish_reason")),
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_completed(counts),
        )


def _completed(counts: Mapping[str, Any]) -> int | None:
    """Return the tokens an answer had; some (xAI) count reasoning in the total only, and bill it all the same."""
    completion = _count(counts.get("completion_tokens"))
    details = counts.get("completion_tokens_details")
    if completion is None or not isinstance(details, dict):
        return completion
    reasoning, prompt = _count(details.get("reasoning_tokens")), _count(counts.get("prompt_tokens"))
    if not reasoning or prompt is None or counts.get("total_tokens") != prompt + completion + reasoning:
        return completion
    return completion + reasoning


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
