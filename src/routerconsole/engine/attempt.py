"""One upstream call, start to verdict: encode, send, read or stream up to commit, classify, check delivery.

It acts for exactly one Try and never decides what comes next. Cancelling it cuts the upstream connection at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.providers.client import Answer, passed_back
from routerconsole.providers.dialect import Reply, Undecodable, Unsupported, WireRequest
from routerconsole.providers.frames import FrameError
from routerconsole.providers.kinds import frame_parser
from routerconsole.providers.transport import Timings, TransportError
from routerconsole.routing import classify, deliver, shapes
from routerconsole.routing.faults import Phase
from routerconsole.routing.stream_gate import GateState, StreamGate

from .stream import CommittedStream, OpenStream

if TYPE_CHECKING:
    from routerconsole.domain.capability import Word
    from routerconsole.domain.request import ChatRequest, Needs
    from routerconsole.domain.trace import Attempt
    from routerconsole.providers.client import Sender, Target
    from routerconsole.routing.cascade import Try

    from .clock import Clock

OK = 200


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A usable whole reply and the upstream headers a client may see."""

    reply: Reply
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A failed attempt; `kept` is the body of an undelivered answer, in case a lone route's must be returned."""

    failure: Failure
    kept: WholeAnswer | None = None
    undelivered: tuple[Word, ...] = ()


Result = WholeAnswer | CommittedStream | Refused


class AttemptRunner:
    """Runs one attempt; made per attempt, holds what several of its steps share."""

    def __init__(
        self,
        *,
        request: ChatRequest,
        needs: Needs,
        step: Try,
        target: Target,
        sender: Sender,
        clock: Clock,
        began: float,
    ) -> None:
        self.request, self.needs, self.step, self.target = request, needs, step, target
        self._sender, self._clock, self._began = sender, clock, began
        self._timings = Timings()

    async def run(self, attempt: Attempt) -> Result:
        """Make the call; the marks of `attempt` are filled in as things happen. Raises only CancelledError."""
        try:
            wire = self.target.dialect.encode(self.request, self.step.ranked.model)
        except Unsupported as exc:
            detail = f"this dialect cannot carry it: {exc.reason}"
            return Refused(Failure(OutcomeClass.CAPABILITY, detail, message=detail))
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self.step.wait):
                answer = await self._sender.open(
                    self.target,
                    wire,
                    connect_timeout=self.step.connect,
                    timings=self._timings,
                    stream=self.request.stream,
                    forward=self.request.forward,
                )
                attempt.status = answer.status
                result = await self._receive(answer, wire)
        except TimeoutError:
            result = Refused(self._timed_out())
        except TransportError as exc:
            result = Refused(self._transport_failure(exc))
        finally:
            self._mark(attempt)
            if answer is not None and not isinstance(locals().get("result"), CommittedStream):
                answer.abort()
        return result

    async def _receive(self, answer: Answer, wire: WireRequest) -> Result:
        if answer.status < OK or answer.status >= 300:
            return Refused(await self._error(answer))
        if self.request.stream:
            return await self._stream(answer)
        return await self._whole(answer)

    async def _error(self, answer: Answer) -> Failure:
        body = await answer.read()
        return classify.http_failure(
            status=answer.status,
            headers=answer.headers,
            body=body,
            kind=self.target.provider.kind,
            endpoint=self.request.endpoint,
            needs=self.needs,
            wall_now=self._clock.wall(),
        )

    async def _whole(self, answer: Answer) -> Result:
        body = await answer.read()
        try:
            if answer.media_type == "text/event-stream":
                reply = shapes.whole_from_stream(body)
            else:
                reply = self.target.dialect.decode(self.request, body)
        except Undecodable as exc:
            return Refused(classify.not_json(answer.status, answer.media_type, body, str(exc)))
        return self.judge(reply, answer)

    def judge(self, reply: Reply, answer: Answer) -> Result:
        """Apply the shape rules and the delivery check to a whole reply."""
        failure = classify.whole_reply(
            reply.data, endpoint=self.request.endpoint, needs=self.needs, status=answer.status
        )
        if failure is not None:
            return Refused(failure)
        whole = WholeAnswer(reply, passed_back(answer.headers))
        if self.needs.forced:
            missing, detail = deliver.undelivered(reply.data, self.needs)
            if missing:
                return Refused(Failure(OutcomeClass.UNDELIVERED, detail, status=answer.status), whole, missing)
        return whole

    async def _stream(self, answer: Answer) -> Result:
        """Read until the gate commits or the attempt has failed; nothing of it has reached the client yet."""
        stream = OpenStream(
            answer,
            self.target.dialect.stream_decoder(self.request),
            frame_parser(self.target.dialect.framing),
            StreamGate(self.needs, want_usage=self._wants_usage()),
        )
        if answer.media_type == "application/json":
            return await self._json_to_stream(answer, stream)
        try:
            verdict = await stream.until_commit()
        except (FrameError, Undecodable) as exc:
            return Refused(classify.bad_stream(answer.status, str(exc)))
        if verdict.state is GateState.FAILED and verdict.failure is not None:
            return Refused(verdict.failure, undelivered=verdict.undelivered)
        return CommittedStream(stream, verdict, passed_back(answer.headers), self.step.idle)

    async def _json_to_stream(self, answer: Answer, stream: OpenStream) -> Result:
        judged = await self._whole(answer)
        if not isinstance(judged, WholeAnswer):
            return judged
        verdict = stream.from_reply(judged.reply.data)
        return CommittedStream(stream, verdict, judged.headers, self.step.idle)

    def _wants_usage(self) -> bool:
        options = self.request.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    def _timed_out(self) -> Failure:
        zero = self._timings.first_byte is None
        phase = Phase.FIRST_BYTE if zero else (Phase.FIRST_TOKEN if self.request.stream else Phase.WHOLE)
        return classify.timeout_failure(
            phase=phase,
            zero_bytes=zero,
            waited_full=self.step.wait_full,
            detail=f"no {'first token' if self.request.stream else 'answer'} within {self.step.wait:.3g} s",
        )

    def _transport_failure(self, exc: TransportError) -> Failure:
        return classify.transport_failure(exc.kind, reused=exc.reused, any_bytes=exc.bytes_received, detail=exc.detail)

    def _mark(self, attempt: Attempt) -> None:
        timings = self._timings
        attempt.reused = timings.reused
        if timings.connect_end is not None:
            attempt.connect_ms = (timings.connect_end - self._began) * 1000
        if timings.first_byte is not None:
            attempt.first_byte_ms = (timings.first_byte - self._began) * 1000
