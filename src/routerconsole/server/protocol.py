"""uvicorn's HTTP protocol with our limits, timers and disconnect hook; uvicorn itself has none of them."""

from __future__ import annotations

import asyncio
import fcntl
import termios
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from routerconsole.domain.errors import ErrorCode, RequestRejected

from .door import Door, Phase
from .errors import dumps, error_body, error_headers, trace_headers

MAX_PIPELINED = 32
"""Requests that may wait behind the one being answered on a connection; nobody sends more in good faith."""
WATCH = "routerconsole.watch"
"""Where a request's Watch stands in its ASGI scope."""
MIN_PROGRESS = 1024
"""Bytes of a body that count as progress; a byte a second would hold a connection for ever."""

_REASONS = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
}


class Watch:
    """Tells one request that its client has gone: set `on_gone` to be called once, at once if it already has.

    `endless` marks an answer that never ends by itself: a server that stops counts as its client leaving.
    """

    __slots__ = ("_on_gone", "endless", "gone")

    def __init__(self) -> None:
        self.gone = self.endless = False
        self._on_gone: Callable[[], object] | None = None

    def on_gone(self, call: Callable[[], object] | None) -> None:
        """Be called when the client leaves; None stops listening."""
        self._on_gone = call
        if self.gone and call is not None:
            call()

    def leave(self) -> None:
        """The client is gone."""
        if not self.gone:
            self.gone = True
            if self._on_gone is not None:
                self._on_gone()


class JoinedWriter(asyncio.Transport):
    """What one answer writes to: a head that announces its body's length leaves with it, a system call less.

    The head of a stream, whose first bytes may be long in coming, goes out at once, as does one without a body.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._transport = cycle.transport
        self._cycle: RequestResponseCycle | None = cycle  # let go of at the head: the two refer to each other
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, or keep the head; a `100 Continue` comes before the answer has started."""
        cycle = self._cycle
        if cycle is not None and cycle.response_started:
            self._cycle = None
            if cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD":
                self._head = bytes(data)
                return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        """Close behind what was written; where the request's body is still coming, not before it has come."""
        if self._head:
            self.write(b"")
        protocol = self._transport.get_protocol()
        if isinstance(protocol, GuardedProtocol) and protocol.phase is Phase.BODY:
            protocol.linger()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is going."""
        return self._transport.is_closing()


class UnchunkedWriter(JoinedWriter):
    """The same for a client of HTTP/1.0, which knows no chunks: what has no length ends with its connection."""

    __slots__ = ("_whole",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        super().__init__(cycle)
        self._whole = cycle

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write without what uvicorn puts around each chunk; the head is the first thing it writes."""
        if self._whole.chunked_encoding:
            if self._cycle is None:
                size, _, rest = bytes(data).partition(b"\r\n")
                data = rest[: int(size, 16)]
            else:
                data = bytes(data).replace(b"transfer-encoding: chunked\r\n", b"", 1)
        super().write(data)


def protocol_class(door: Door) -> type[HttpToolsProtocol]:
    """Return the protocol class bound to a door; uvicorn makes the instances."""

    class BoundProtocol(GuardedProtocol):
        the_door = door

    return BoundProtocol


class GuardedProtocol(HttpToolsProtocol):
    """One client connection."""

    the_door: Door

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        """Count the connection; one too many is told so and closed."""
        super().connection_made(transport)
        self.phase, self.fresh = Phase.IDLE, True
        self.since = self.the_door.now()
        self.stalled_since: float | None = None
        self.peer = self.client[0] if self.client else ""
        self._header_bytes = self._header_fields = self._progress = 0
        self._watches: list[Watch] = []
        self._cycles: list[RequestResponseCycle] = []
        self._refused = self._upgrading = False
        if not self.the_door.admit(self):
            told = RequestRejected(ErrorCode.OVERLOADED, "Too many connections.", retry_after=1.0)
            self._refuse(429, told, sending=self in self.the_door.turned_away)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and tell its request."""
        self.the_door.forget(self)
        super().connection_lost(exc)
        self._client_gone()

    def eof_received(self) -> None:
        """A FIN is a disconnect in every phase; the transport closes itself when this returns."""
        self._disconnect_cycle()
        self._client_gone()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, noting that bytes came.

        Headers have one deadline; a body has an idle limit that a drop now and then does not extend.
        """
        if self._refused:
            return
        if self.phase is Phase.IDLE:
            self.phase, self.since = Phase.HEADERS, self.the_door.now()
        elif self.phase is Phase.BODY:
            self._progress += len(data)
            if self._progress >= MIN_PROGRESS:
                self._progress, self.since = 0, self.the_door.now()
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Parse. A wish to speak another protocol is declined as HTTP says, by answering in this one.

        Java's own client sends one (h2c) with every request; the parser takes such a request's body for the other
        protocol's bytes, so the request is parsed once more without the wish.
        """
        try:
            while not self.transport.is_closing():
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as wish:
                    data = self._without_upgrade() + data[wish.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        except httptools.HttpParserError:
            self.send_400_response("")

    def _without_upgrade(self) -> bytes:
        fields = b"".join(b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, fields)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._upgrading = False
        self._header_bytes = self._header_fields = 0
        self.fresh = False

    def on_url(self, url: bytes) -> None:
        """Count the request line toward the header limit."""
        self._header_bytes += len(url)
        self._check_headers()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count fields and bytes."""
        self._header_bytes += len(name) + len(value) + 4
        self._header_fields += 1
        self._check_headers()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the app, with a watch on its client."""
        if self._refused:
            return
        if self.parser.get_method() == b"CONNECT":  # its target is no path, so it never reaches the app
            self._refuse(405, RequestRejected(ErrorCode.METHOD_NOT_ALLOWED, "This is not a proxy."))
            return
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        if not self.url.startswith((b"/", b"*")) and not self._at_its_host():
            told = "The request's target and its Host header name different servers."
            self._refuse(421, RequestRejected(ErrorCode.MISDIRECTED_HOST, told))
            return
        watch = Watch()
        self._watches.append(watch)
        self.scope[WATCH] = watch  # type: ignore[literal-required]  # ASGI lets servers add keys
        if self.phase is not Phase.ANSWERING:  # a pipelined request waits behind the one being answered
            self.phase, self.since, self._progress = Phase.BODY, self.the_door.now(), 0
        super().on_headers_complete()
        self._cycles.append(self.cycle)
        writer = UnchunkedWriter if self.scope["http_version"] == "1.0" else JoinedWriter
        self.cycle.transport = writer(self.cycle)
        if len(self.pipeline) > MAX_PIPELINED:
            self.cut()
        elif self.pipeline:  # uvicorn stops reading behind a waiting request and would not see the client leave
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        """The whole request is here."""
        if self._refused or self._upgrading:
            return
        if self.cycle.response_complete:  # by its head alone
            self.phase, self.since = Phase.IDLE, self.the_door.now()
        else:
            self.phase = Phase.ANSWERING
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Take body bytes of a request that is still wanted."""
        if not self._refused:
            super().on_body(body)

    def on_response_complete(self) -> None:
        """The answer is out; the door's sweep ends idle connections, so no timer is armed per request."""
        if self._watches:
            self._watches.pop(0)  # answers leave in the order their requests came
            self._cycles.pop(0)
        self.server_state.total_requests += 1
        if self._refused or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:  # one that was refused by its head may have a body to come, which is read into nothing
            self.since = self.the_door.now()
            self.phase = Phase.BODY if self.phase is Phase.BODY else Phase.IDLE

    def pause_writing(self) -> None:
        """The client reads too slowly; from now it has 30 s to read on."""
        self.stalled_since = self.the_door.now()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.stalled_since = None
        super().resume_writing()

    def shutdown(self) -> None:
        """The server stops: answers under way are finished, endless ones are ended."""
        super().shutdown()
        for watch in self._watches:
            if watch.endless:
                watch.leave()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP in the one error shape."""
        self._refuse(400, RequestRejected(ErrorCode.INVALID_REQUEST, "This is not a valid HTTP request."), sending=True)

    def expel(self, reason: str) -> None:
        """See Doorstep."""
        if self.phase is Phase.BODY:
            self._disconnect_cycle()
        self._refuse(408, RequestRejected(ErrorCode.REQUEST_TIMEOUT, reason))

    def cut(self) -> None:
        """See Doorstep."""
        self.transport.abort()
        self._disconnect_cycle()
        self._client_gone()

    def linger(self) -> None:
        """Say no more and read on, into nothing, until the client has closed or the door's patience ends.

        A socket closed over bytes nobody has read is reset, and a client that is still sending never sees its answer.
        """
        self._refused = True
        self.phase, self.since = Phase.LINGERING, self.the_door.now()
        self.transport.write_eof()
        self.flow.resume_reading()

    def leave(self) -> None:
        """See Doorstep; where a request waits to be read it is this process that is busy, not the client idle."""
        if not _bytes_wait(self.transport):
            self.transport.close()

    def _check_headers(self) -> None:
        limits = self.the_door.limits
        if self._refused or (
            self._header_bytes <= limits.max_header_bytes and self._header_fields <= limits.max_header_fields
        ):
            return
        told = f"Headers are limited to {limits.max_header_bytes // 1024} KB and {limits.max_header_fields} fields."
        self._refuse(431, RequestRejected(ErrorCode.HEADERS_TOO_LARGE, told), sending=True)

    def _at_its_host(self) -> bool:
        """Whether a target in absolute form names the server the Host header does, which alone is checked."""
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0].lower()
        return [value.lower() for name, value in self.headers if name == b"host"] == [authority]

    def _disconnect_cycle(self) -> None:
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    def _client_gone(self) -> None:
        for watch in self._watches:
            watch.leave()

    def _refuse(self, status: int, error: RequestRejected, *, sending: bool = False) -> None:
        """Answer without the app and close; used before or outside a request. `sending`: more of it may be coming."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        body = dumps(error_body(error, "none"))
        headers = [*trace_headers("none", None), *error_headers(error)]
        lines = b"".join(b"%s: %s\r\n" % (name, value) for name, value in headers)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (status, _REASONS[status], len(body), lines, body)
        )
        if sending:
            self._disconnect_cycle()
            self._client_gone()
            self.linger()
        else:
            self.transport.close()


def _bytes_wait(transport: asyncio.BaseTransport) -> bool:
    sock = transport.get_extra_info("socket")
    try:
        return any(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    except (OSError, AttributeError):
        return False  # closed, or no socket at all


def scope_watch(scope: Any) -> Watch | None:
    """Return the watch of a request; None under another server (tests over ASGI)."""
    found = scope.get(WATCH)
    return found if isinstance(found, Watch) else None
