"""What the engine hands to a face: a whole reply, or a committed stream that settles itself however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from routerconsole.domain.errors import ErrorCode, StreamIncomplete
from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.providers.dialect import Undecodable
from routerconsole.providers.frames import FrameError
from routerconsole.providers.transport import TransportError
from routerconsole.routing import classify
from routerconsole.routing.faults import Phase
from routerconsole.routing.stream_gate import Gate, GateState

from .inflight import CancelReason

if TYPE_CHECKING:
    from routerconsole.domain.trace import Attempt, Trace
    from routerconsole.routing.cascade import Try

    from .attempt import CommittedStream
    from .clock import Clock
    from .pauses import Pauses
    from .settle import Settlement

DRAIN_S = 0.05
"""Longest wait for the end of an upstream stream that already said it was done."""


class WholeExchange:
    """A whole reply."""

    def __init__(self, trace: Trace, reply: bytes, headers: Sequence[tuple[str, str]], *, status: int = 200) -> None:
        self.trace, self.status, self.headers = trace, status, headers
        self.reply: bytes | None = reply

    async def deltas(self) -> AsyncIterator[Sequence[bytes]]:
        """Yield the reply as one batch."""
        yield (self.reply or b"",)

    def close(self) -> None:
        """Nothing is held."""


class StreamExchange:
    """A committed stream. Batches end with `[DONE]`, or StreamIncomplete is raised; ends exactly once."""

    def __init__(
        self,
        trace: Trace,
        stream: CommittedStream,
        *,
        settlement: Settlement,
        step: Try,
        attempt: Attempt,
        deadline: float,
        clock: Clock,
        pauses: Pauses,
    ) -> None:
        self.trace, self.status, self.headers = trace, 200, stream.headers
        self.reply: bytes | None = None
        self._stream, self._settlement, self._step, self._attempt = stream.stream, settlement, step, attempt
        self._first: Gate | None = stream.first
        self._deadline, self._clock, self._pauses = deadline, clock, pauses
        self._over = False
        self._complete = False

    def deltas(self) -> AsyncIterator[Sequence[bytes]]:
        """Return the batches; see Exchange."""
        return self

    def __aiter__(self) -> AsyncIterator[Sequence[bytes]]:
        return self

    async def __anext__(self) -> Sequence[bytes]:
        """Return the next batch; a cancellation settles the request before it goes on."""
        if self._complete:
            await self._drained()
            raise StopAsyncIteration
        try:
            verdict = self._first or await self._next()
        except asyncio.CancelledError:
            self._cancelled()
            raise
        self._first = None
        if verdict.failure is not None:
            if verdict.payloads:  # what was received goes out before the error
                self._first = _failed(verdict.failure)
                return verdict.payloads
            raise self._broke(verdict.failure)
        if self._settlement.keeps_replies:
            self._settlement.keep_reply(b"\n".join(verdict.payloads))
        if verdict.ended:
            self._served()
        return verdict.payloads

    def close(self) -> None:
        """Let go; a stream that was not read to its end counts as left by its client."""
        if not self._over:
            self._over = True
            self._settlement.cut_short(self._attempt, self._stream.gate)
            self._settlement.abandoned(self._step, self._attempt, "client gone")
            self._settlement.cancelled()
        self._stream.abort()

    async def _next(self) -> Gate:
        """Read on, within the idle limit and the request's deadline."""
        left = self._deadline - self._clock.monotonic()
        by_deadline = left <= self._step.idle  # decided before the wait: a timer may fire a moment early
        try:
            async with self._pauses.timeout(left if by_deadline else self._step.idle):
                return await self._stream.step()
        except TimeoutError:
            if by_deadline:
                late = Failure(OutcomeClass.CUT, "the request's deadline passed", counted=False)
                raise self._broke(late, code=ErrorCode.DEADLINE_EXCEEDED) from None
            stalled = f"nothing for {self._step.idle:g} s"
            return _failed(
                classify.timeout_failure(phase=Phase.IDLE, zero_bytes=False, waited_full=True, detail=stalled)
            )
        except TransportError as exc:
            return _failed(
                classify.transport_failure(
                    exc.kind, reused=exc.reused, any_bytes=True, detail=exc.detail, committed=True
                )
            )
        except (FrameError, Undecodable) as exc:
            return _failed(classify.bad_stream(200, str(exc), committed=True))

    def _served(self) -> None:
        self._over = self._complete = True
        self._attempt.ended_ms = (self._clock.monotonic() - self.trace.began) * 1000
        self._settlement.served_stream(self._step, self._attempt, self._stream.gate)

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._stream.drain()
        except TimeoutError:
            pass
        finally:
            self._stream.abort()

    def _broke(self, failure: Failure, *, code: ErrorCode = ErrorCode.STREAM_INCOMPLETE) -> StreamIncomplete:
        """Settle a broken stream and return the error its client is told."""
        self._over = True
        self._stream.abort()
        failure = self._settlement.redacted(failure)
        self._settlement.cut_short(self._attempt, self._stream.gate)
        self._attempt.ended_ms = (self._clock.monotonic() - self.trace.began) * 1000
        error = StreamIncomplete(code, f"The stream broke off: {failure.message or failure.detail}")
        error.cause = "deadline_exceeded" if code is ErrorCode.DEADLINE_EXCEEDED else failure.cls.value
        error.trace = self.trace
        self._settlement.attempt_failed(self._step, self._attempt, failure)
        self._settlement.truncated(error)
        return error

    def _cancelled(self) -> None:
        """The serving task was cancelled: by its client, or by us for a reason the client is told in-band."""
        if self._over:
            return
        self._over = True
        self._stream.abort()
        reason = self._settlement.reason
        self._settlement.cut_short(self._attempt, self._stream.gate)
        self._settlement.abandoned(self._step, self._attempt, reason.value if reason else "client gone")
        told = self._settlement.cancelled()
        if told is None:
            return
        error = StreamIncomplete(told.code, told.message)
        error.cause, error.trace = (reason or CancelReason.OPERATOR).value, self.trace
        raise error from None


def _failed(failure: Failure) -> Gate:
    return Gate(GateState.FAILED, failure=failure)
