"""One upstream stream: bytes to events to chunk payloads to the gate's verdicts. Decides nothing, times nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.providers.dialect import Undecodable
from routerconsole.providers.transport import TransportError
from routerconsole.routing.stream_gate import Gate, GateState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.providers.client import Answer
    from routerconsole.providers.dialect import StreamDecoder
    from routerconsole.providers.frames import Event, FrameParser
    from routerconsole.routing.stream_gate import StreamGate


class OpenStream:
    """Reads one answer through its decoder and gate. `gate` knows usage, finish reason and flags."""

    def __init__(self, answer: Answer, decoder: StreamDecoder, parser: FrameParser, gate: StreamGate) -> None:
        self.gate = gate
        self._answer, self._decoder, self._parser = answer, decoder, parser
        self._chunks = answer.chunks()
        self._broken: Undecodable | None = None
        self._over = False

    async def step(self) -> Gate:
        """Read the next bytes; return the verdict on them. Raises TransportError, FrameError, Undecodable."""
        if self._broken is not None:
            raise self._broken
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return self._finish()
        return self.gate.feed(self._decode(self._parser.feed(chunk)))

    async def until_commit(self) -> Gate:
        """Read until there is a verdict other than to hold."""
        while True:
            verdict = await self.step()
            if verdict.state is not GateState.HOLD:
                return verdict
            if self._over:
                return self.gate.finish()

    async def drain(self) -> None:
        """Read what follows a finished stream, normally just its end, so that the connection can serve again."""
        try:
            async for _ in self._chunks:
                continue
        except TransportError:
            return

    def from_reply(self, payloads: Iterable[bytes]) -> Gate:
        """Pass a whole reply's chunk payloads through the gate, as if they had been streamed."""
        self._over = True
        verdict = self.gate.feed(tuple(payloads))
        return verdict if verdict.ended or verdict.failure else self.gate.finish()

    def abort(self) -> None:
        """Cut the upstream connection unless the answer is complete."""
        self._answer.abort()

    def _decode(self, events: Iterable[Event]) -> list[bytes]:
        payloads: list[bytes] = []
        for event in events:
            try:
                payloads.extend(self._decoder.decode_delta(event.data, event.event))
            except Undecodable as exc:
                self._broken = exc
                break
        return payloads

    def _finish(self) -> Gate:
        self._over = True
        payloads = self._decode(self._parser.finish())
        if self._broken is not None and not payloads:
            raise self._broken
        payloads.extend(self._decoder.finish())
        verdict = self.gate.feed(payloads)
        if verdict.ended or verdict.failure is not None:
            return verdict
        last = self.gate.finish()
        return Gate(
            state=last.state,
            payloads=(*verdict.payloads, *last.payloads),
            failure=last.failure,
            committed=verdict.committed or last.committed,
            ended=last.ended,
            undelivered=last.undelivered,
        )
