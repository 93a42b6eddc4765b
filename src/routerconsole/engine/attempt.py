"""One upstream call, start to verdict: send, read or stream up to commit, classify, check delivery.

It acts for exactly one Try and never decides what comes next. Cancelling it cuts the upstream connection at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.providers.client import Answer, passed_back
from routerconsole.providers.dialect import Framing, Reply, Undecodable
from routerconsole.providers.frames import FrameError
from routerconsole.providers.kinds import frame_parser
from routerconsole.providers.transport import Timings, TransportError
from routerconsole.routing import classify, deliver, shapes
from routerconsole.routing.faults import Phase
from routerconsole.routing.stream_gate import Gate, StreamGate

from .stream import OpenStream

if TYPE_CHECKING:
    from routerconsole.domain.capability import Word
    from routerconsole.domain.request import ChatRequest, Needs
    from routerconsole.domain.trace import Attempt
    from routerconsole.providers.client import Sender, Target
    from routerconsole.providers.dialect import WireRequest
    from routerconsole.routing.cascade import Try

    from .clock import Clock
    from .pauses import Pauses

_WHOLE_TYPES = frozenset({"application/json", "text/html"})
"""Media types that are no stream, whatever was asked."""


class WholeAnswer(NamedTuple):
    """A usable whole reply and the upstream headers a client may see."""

    reply: Reply
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CommittedStream:
    """A stream whose first content is here; `first` is the verdict that committed it."""

    stream: OpenStream
    first: Gate
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A failed attempt. `kept` is an undelivered answer, in case a lone route's must be returned all the same."""

    failure: Failure
    kept: WholeAnswer | CommittedStream | None = None
    undelivered: tuple[Word, ...] = ()
    said: Any = None  # the answer as far as there was one: what it took is paid for all the same


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
        wire: WireRequest,
        sender: Sender,
        clock: Clock,
        began: float,
        pauses: Pauses,
    ) -> None:
        self.request, self.needs, self.step, self.target = request, needs, step, target
        self._wire, self._sender, self._clock, self._began, self._pauses = wire, sender, clock, began, pauses
        self._timings = Timings()

    async def run(self, attempt: Attempt) -> Result:
        """Make the call; the marks of `attempt` are filled in as things happen. Raises only CancelledError."""
        answer: Answer | None = None
        result: Result | None = None
        try:
            async with self._pauses.timeout(self.step.wait):
                answer = await self._sender.open(
                    self.target,
                    self._wire,
                    connect_timeout=self.step.connect,
                    timings=self._timings,
                    stream=self.request.stream,
                    fresh=self.step.fresh,
                    forward=self.request.forward,
                )
                attempt.status = answer.status
                result = await self._receive(answer)
        except TimeoutError:
            result = Refused(self._timed_out())
        except TransportError as exc:
            failure = classify.transport_failure(
                exc.kind, reused=exc.reused, any_bytes=exc.bytes_received, detail=exc.detail
            )
            result = Refused(failure)
        finally:
            self._mark(attempt)
            if answer is not None and not _still_open(result):
                answer.abort()
        return result

    async def _receive(self, answer: Answer) -> Result:
        if not 200 <= answer.status < 300:
            return Refused(await self._error(answer))
        if self.request.stream and answer.media_type not in _WHOLE_TYPES:
            return await self._stream(answer)
        judged = await self._whole(answer)
        if self.request.stream and isinstance(judged, WholeAnswer):
            return self._as_stream(judged, answer)
        return judged

    async def _error(self, answer: Answer) -> Failure:
        return classify.http_failure(
            status=answer.status,
            headers=answer.headers,
            body=await answer.read(),
            kind=self.target.provider.kind,
            endpoint=self.request.endpoint,
            needs=self.needs,
            wall_now=self._clock.wall(),
        )

    async def _whole(self, answer: Answer) -> Result:
        """Read and judge a whole answer: shape first, then delivery."""
        body = await answer.read()
        try:
            if answer.media_type == "text/event-stream":
                reply = self._aggregated(body)
            else:
                reply = self.target.dialect.decode(self.request, body)
        except (Undecodable, FrameError) as exc:
            return Refused(classify.not_json(answer.status, answer.media_type, body, str(exc)))
        failure = classify.whole_reply(
            reply.data, endpoint=self.request.endpoint, needs=self.needs, status=answer.status
        )
        if failure is not None:
            return Refused(failure, said=reply.data)
        whole = WholeAnswer(reply, passed_back(answer.headers))
        missing = deliver.undelivered(reply.data, self.needs)
        if missing:
            failure = Failure(
                OutcomeClass.UNDELIVERED, missing.detail, status=answer.status, refused=tuple(missing.words)
            )
            return Refused(failure, whole, missing.words, reply.data)
        return whole

    def _aggregated(self, body: bytes) -> Reply:
        """Read an answer that was streamed although nobody asked; raise Undecodable or FrameError."""
        parser, decoder = frame_parser(Framing.SSE), self.target.dialect.stream_decoder(self.request)
        events = [*parser.feed(body), *parser.finish()]
        payloads = [payload for event in events for payload in decoder.decode_delta(event.data, event.event)]
        data = shapes.reply_from_events([*payloads, *decoder.finish()])
        if data is None:
            raise Undecodable("a stream came to a request for a whole answer, and it broke off")
        return Reply(orjson.dumps(data), data)

    async def _stream(self, answer: Answer) -> Result:
        """Read until the gate commits or the attempt has failed; nothing of it has reached the client yet."""
        stream = self._open_stream(answer)
        try:
            verdict = await stream.until_commit()
        except (FrameError, Undecodable) as exc:
            return Refused(classify.bad_stream(answer.status, str(exc)))
        return self._verdict(stream, verdict, passed_back(answer.headers))

    def _as_stream(self, whole: WholeAnswer, answer: Answer) -> Result:
        stream = self._open_stream(answer)
        verdict = stream.from_reply(shapes.events_from_reply(whole.reply.data))
        return self._verdict(stream, verdict, whole.headers)

    def _verdict(self, stream: OpenStream, verdict: Gate, headers: tuple[tuple[str, str], ...]) -> Result:
        committed = CommittedStream(stream, verdict, headers)
        if verdict.failure is not None and not verdict.committed:
            kept = committed if verdict.undelivered else None
            usage = stream.gate.usage
            return Refused(verdict.failure, kept, verdict.undelivered, usage and {"usage": usage})
        return committed

    def _open_stream(self, answer: Answer) -> OpenStream:
        dialect = self.target.dialect
        options = self.request.body.get("stream_options")
        want_usage = isinstance(options, dict) and options.get("include_usage") is True
        gate = StreamGate(self.needs, want_usage=want_usage)
        return OpenStream(answer, dialect.stream_decoder(self.request), frame_parser(dialect.framing), gate)

    def _timed_out(self) -> Failure:
        zero = self._timings.first_byte is None
        what = "first token" if self.request.stream else "whole answer"
        phase = Phase.FIRST_BYTE if zero else Phase.FIRST_TOKEN if self.request.stream else Phase.WHOLE
        return classify.timeout_failure(
            phase=phase,
            zero_bytes=zero,
            waited_full=self.step.wait_full,
            detail=f"no {what} within {self.step.wait:.3g} s",
        )

    def _mark(self, attempt: Attempt) -> None:
        timings = self._timings
        attempt.reused = timings.reused
        if timings.connect_end is not None:
            attempt.connect_ms = (timings.connect_end - self._began) * 1000
        if timings.first_byte is not None:
            attempt.first_byte_ms = (timings.first_byte - self._began) * 1000


def _still_open(result: Result | None) -> bool:
    """Whether the upstream answer lives on: a committed stream, or an undelivered one kept for a lone route."""
    return isinstance(result, CommittedStream) or (
        isinstance(result, Refused) and isinstance(result.kept, CommittedStream)
    )
