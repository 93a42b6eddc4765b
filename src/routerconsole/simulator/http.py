"""The simulator's HTTP/1.1 side: a raw asyncio protocol that reads requests and plays back steps, broken ones too.

A reply is an iterator of steps (bytes to send, a wait, an end of the connection); playing it is all this file does.
It refuses to decide anything about models, and it never starts a task: timers and flow control drive the playback.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol, cast

import httptools

_BATCH_BYTES = 32_768  # steps without a wait between them leave in one write
_TURN_STEPS = 512  # the loop gets its turn after so many steps
_RESET_GRACE_S = 0.02  # what was written before an RST should arrive before it


class Greeting(StrEnum):
    """What a new connection gets before it says anything."""

    SERVE = "serve"
    SILENT = "silent"  # accepted, never read, never answered
    CLOSE = "close"
    RESET = "reset"


class End(StrEnum):
    """How the server ends a connection on purpose."""

    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause in the reply; None is for ever."""

    seconds: float | None


Step = bytes | Wait | End


@dataclass(slots=True)
class Request:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    peer: str
    reused: bool  # not the first request on its connection

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Reply:
    """What is played back for one request, and whose it is."""

    steps: Iterator[Step]
    model: str | None = None
    n: int = 0
    sent: int = field(default=0, init=False)  # bytes handed to the transport, headers included


class Owner(Protocol):
    """What a connection needs of the simulator."""

    def opened(self, connection: Connection) -> Greeting:
        """A peer connected: say how it is greeted."""

    def answer(self, request: Request) -> Reply:
        """Choose the reply for a request."""

    def closed(self, connection: Connection, reply: Reply | None, *, by_us: bool) -> None:
        """A connection ended, in the middle of a reply or between two."""

    @property
    def idle_s(self) -> float | None:
        """How long an idle connection is kept."""


class Connection(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._served = 0
        self._silent = False
        self._retired = False
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._reply: Reply | None = None
        self._keep_alive = True
        self._paused = False
        self._held = False  # the playback stopped at a full buffer and goes on when it drains
        self._ours = False
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    # --- asyncio ---
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer as the owner says."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)
        greeting = self._owner.opened(self)
        self._silent = greeting is not Greeting.SERVE
        if greeting is Greeting.CLOSE:
            self._end(End.CLOSE)
        elif greeting is Greeting.RESET:
            self._end(End.RESET)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is no HTTP is answered with 400."""
        if self._silent or self._transport is None:
            return
        if self._reply is None:
            self._stop_timer()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError:
            self._transport.write(head(400, [("connection", "close"), ("content-length", "0")]))
            self._end(End.CLOSE)

    def eof_received(self) -> bool:
        """A FIN from the peer is a disconnect, in every phase; what is still buffered is not worth sending."""
        if self._reply is not None and self._transport is not None:
            self._transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner and drop what was being played."""
        self._stop_timer()
        reply, self._reply = self._reply, None
        self._waiting.clear()
        self._transport = None
        self._owner.closed(self, reply, by_us=self._ours)

    def pause_writing(self) -> None:
        """The peer reads too slowly: hold the playback."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._paused = False
        if self._held:
            self._held = False
            self._play()

    @property
    def throttled(self) -> bool:
        """Whether the peer reads too slowly just now."""
        return self._paused

    # --- httptools ---
    def on_message_begin(self) -> None:
        """A new request starts."""
        self._url = b""
        self._headers = []
        self._body = []

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Invite the body of a client that asks first."""
        for name, value in self._headers:
            if name == "expect" and value.lower() == "100-continue" and self._transport is not None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it now, or after those before it."""
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            target=self._url.decode("latin-1"),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            peer=self._peer,
            reused=self._served > 0,
        )
        self._served += 1
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self._reply is None:
            self._next()

    # --- playback ---
    def retire(self) -> None:
        """End the connection once the reply being played is over, or now if there is none."""
        self._retired = True
        if self._reply is None:
            self.drop()

    def drop(self) -> None:
        """End the connection at once, as the server."""
        self._ours = True
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Start the next reply, or wait for a request."""
        if not self._waiting:
            idle = self._owner.idle_s
            if idle is not None:
                self._timer = self._loop.call_later(idle, self._end, End.CLOSE)
            return
        request, self._keep_alive = self._waiting.popleft()
        self._reply = self._owner.answer(request)
        self._play()

    def _resume(self) -> None:
        """Go on after a wait."""
        self._timer = None
        self._held = self._paused
        if not self._held:
            self._play()

    def _play(self) -> None:
        """Send steps until a wait, an end, a full buffer or the loop's turn."""
        reply, transport = self._reply, self._transport
        if reply is None or transport is None:
            return
        batch: list[bytes] = []
        size = 0
        for _ in range(_TURN_STEPS):
            step = next(reply.steps, None)
            if type(step) is bytes:
                batch.append(step)
                size += len(step)
                if size < _BATCH_BYTES:
                    continue
                self._write(batch, size)
                batch, size = [], 0
                if self._paused:
                    self._held = True
                    return
                continue
            self._write(batch, size)
            if step is None:
                self._finish()
            elif isinstance(step, Wait):
                if step.seconds is not None:
                    self._timer = self._loop.call_later(step.seconds, self._resume)
            elif step is End.RESET and reply.sent:
                self._timer = self._loop.call_later(_RESET_GRACE_S, self._end, End.RESET)
            else:
                self._end(cast("End", step))
            return
        self._write(batch, size)
        self._timer = self._loop.call_soon(self._resume)

    def _write(self, batch: list[bytes], size: int) -> None:
        """Hand bytes to the transport and count them."""
        if size and self._reply is not None and self._transport is not None:
            self._reply.sent += size
            self._transport.write(batch[0] if len(batch) == 1 else b"".join(batch))

    def _finish(self) -> None:
        """A reply was sent as planned."""
        self._reply = None
        if self._keep_alive and not self._retired:
            self._next()
        else:
            self._ours = True
            if self._transport is not None:
                self._transport.close()

    def _end(self, how: End) -> None:
        """End the connection with FIN or RST."""
        self._stop_timer()
        self._ours = True
        if self._transport is None:
            return
        if how is End.CLOSE:
            self._transport.close()
            return
        handle = self._transport.get_extra_info("socket")
        # A duplicate works with asyncio's and uvloop's socket wrappers alike.
        with socket.socket(fileno=os.dup(handle.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _stop_timer(self) -> None:
        """Forget a planned resumption."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """A response head with its blank line."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
