"""An httpx transport over one aiohttp session: bounded resolver, addresses checked at connect, one table of faults.

It owns connections and says how they failed; it retries nothing, follows nothing, times only the connect phase.

TransportError              the exchange failed; `.kind` says how
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import io
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from routerconsole.domain.address import forbidden_address
from routerconsole.routing.faults import TransportFault

from .brief import MAX_BRIEF, MAX_HEADER, MAX_HEADERS, PIECE, BriefAnswer, BriefWay
from .resolver import Resolver

if TYPE_CHECKING:
    from aiohttp.client import ClientTimeout
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

MAX_BODY: Final = 32 << 20  # bytes of a whole answer (faults.md U42)
_LARGE: Final = 1 << 20  # from here on aiohttp wants a file object
_PROXY_AUTH: Final = 407
_DNS_TTL: Final = 30  # seconds
_KEEPALIVE: Final = 30.0  # seconds an idle connection is kept
_REASONS: Final = {
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "self-signed",
    62: "hostname mismatch",
    64: "hostname mismatch",
}
"""OpenSSL's X509_V_ERR codes, as a person would say them; others are shown in OpenSSL's words."""


class TransportError(Exception):
    """The exchange failed. `reused`: the connection had served before; `bytes_received`: the answer had begun."""

    def __init__(
        self, kind: TransportFault, detail: str, *, reused: bool = False, bytes_received: bool = False
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.reused, self.bytes_received = kind, detail, reused, bytes_received


class ForbiddenAddressError(OSError):
    """The address a name resolved to is never connected to."""


@dataclass(slots=True)
class Timings:
    """When things happened, in seconds of the transport's monotonic clock; filled in as the exchange goes on."""

    connect_start: float | None = None
    connect_end: float | None = None
    first_byte: float | None = None
    reused: bool = True  # until a connection is made for it


@dataclass(slots=True)
class Call:
    """What one exchange needs besides its httpx.Request (its `call` extension), and what it found out.

    `fresh` wants a connection that has served nobody yet.
    """

    url: URL
    connect_timeout: float = 5.0
    tls: ssl.SSLContext | bool = True
    proxy: str | None = None
    timings: Timings = field(default_factory=Timings)
    fresh: bool = False
    socket: asyncio.Transport | None = None
    forbidden: str | None = None


Bounded = Callable[[float], AbstractAsyncContextManager[object]]
"""What `asyncio.timeout` is: seconds in, a with-block that raises TimeoutError out."""

_refusal = functools.lru_cache(1024)(forbidden_address)
_CALL: contextvars.ContextVar[Call] = contextvars.ContextVar("routerconsole_call")


class Transport(httpx.AsyncBaseTransport):
    """One per engine; `clock` is monotonic seconds, `bounded` limits the connect phase.

    Bodies up to `max_brief` bytes go the brief way. The session is made on first use, so construction does no I/O.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        user_agent: str,
        bounded: Bounded = asyncio.timeout,
        max_brief: int = MAX_BRIEF,
    ) -> None:
        self._clock, self._bounded = clock, bounded
        self._user_agent, self._max_brief = user_agent, max_brief
        self._opened: tuple[aiohttp.ClientSession, BriefWay] | None = None
        self._resolver: Resolver | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The httpx face of `exchange`; the caller reads or aborts `.stream`, a Body."""
        call = request.extensions.get("call") or Call(URL(str(request.url), encoded=True))
        headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        answered = await self.exchange(request.method, call, headers, await request.aread())
        if answered.body is None:
            return httpx.Response(answered.status)
        body = cast("Body", answered.body)  # of a network, so an httpx stream
        return httpx.Response(answered.status, headers=list(answered.headers), stream=body)

    async def exchange(self, method: str, call: Call, headers: CIMultiDict[str], content: bytes) -> Answered:
        """Return once the head is there; raises TransportError. The caller reads or aborts the body.

        The sender calls this directly: httpx's request and response objects cost 30 µs of an attempt's 400.
        """
        reason = _refusal(call.url.raw_host or "")  # a proxy would resolve it out of our sight
        if reason is not None:
            raise TransportError(TransportFault.FORBIDDEN_ADDRESS, f"the address {reason}")
        _CALL.set(call)
        try:
            answer = await self._ask(method, call, headers, content)
        except asyncio.CancelledError:
            _abort(call.socket)
            raise
        except aiohttp.ClientHttpProxyError as exc:
            if exc.status != _PROXY_AUTH:
                raise translate(exc, call) from exc
            return Answered(exc.status, (), None)  # the same as where the proxy answers in the upstream's stead
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RuntimeError) as exc:
            _abort(call.socket)
            raise translate(exc, call) from exc
        call.timings.first_byte = self._clock()
        return Answered(answer.status, answer.raw_headers, Body(answer, call))

    async def _ask(
        self, method: str, call: Call, headers: CIMultiDict[str], content: bytes
    ) -> aiohttp.ClientResponse | BriefAnswer:
        session, brief = self._opened or self._open()
        if call.proxy is None and len(content) <= self._max_brief:
            return await brief.ask(method, call.url, call.tls, headers=headers, content=content)
        return await session.request(
            method,
            call.url,
            data=(content if len(content) < _LARGE else io.BytesIO(content)) if content else None,
            headers=headers,
            allow_redirects=False,
            ssl=call.tls,
            proxy=call.proxy,
        )

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[0].close()
        if self._resolver is not None:
            await self._resolver.close()

    def _open(self) -> tuple[aiohttp.ClientSession, BriefWay]:
        self._resolver = Resolver()
        connector = _Connector(
            limit=0,  # the bulkheads of the engine are the limit
            resolver=self._resolver,
            ttl_dns_cache=_DNS_TTL,
            keepalive_timeout=_KEEPALIVE,
            socket_factory=_make_socket,
        )
        connector.clock, connector.bounded = self._clock, self._bounded
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            headers={"Accept-Encoding": "identity", "User-Agent": self._user_agent},
            read_bufsize=PIECE,
            skip_auto_headers=("Accept",),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
        )
        self._opened = session, BriefWay(session, connector)
        return self._opened


class Readable(Protocol):
    """A body: read whole and bounded, or as it arrives. Whoever stops early aborts it."""

    async def read(self, *, limit: int = MAX_BODY) -> bytes:
        """Return the whole body; raises TransportError, TOO_LARGE over `limit` bytes."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes as they arrive; raises TransportError."""

    def abort(self) -> None:
        """Cut it off at once unless it is complete; idempotent, never waits."""


class Answered(NamedTuple):
    """An opened answer: its status, its headers as they came, and its body (None where there is none to read)."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: Readable | None


class Body(httpx.AsyncByteStream):
    """The body of an answer: chunks as they arrive, or whole and bounded. Whoever stops early aborts it."""

    def __init__(self, answer: aiohttp.ClientResponse | BriefAnswer, call: Call) -> None:
        self._answer, self._call = answer, call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes as they arrive, a piece at a time; raises TransportError."""
        content = self._answer.content
        try:
            while chunk := await content.read(PIECE):
                yield chunk
        except (aiohttp.ClientError, HttpProcessingError, OSError) as exc:
            raise translate(exc, self._call, answered=True) from exc
        finally:
            self.abort()

    async def read(self, *, limit: int = MAX_BODY) -> bytes:
        """Return the whole body; raises TransportError, TOO_LARGE over `limit` bytes."""
        announced = self._answer.content_length
        size = 0
        chunks: list[bytes] = []
        try:
            while announced is None or announced <= limit:
                chunk = await self._answer.content.readany()
                if not chunk:
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    break
        except (aiohttp.ClientError, HttpProcessingError, OSError) as exc:
            raise translate(exc, self._call, answered=True) from exc
        finally:
            self.abort()
        raise TransportError(
            TransportFault.TOO_LARGE,
            f"the body is over {limit} bytes",
            reused=self._call.timings.reused,
            bytes_received=True,
        )

    def abort(self) -> None:
        """Cut the connection at once unless the answer is complete (it then serves again); idempotent, never waits."""
        if self._answer.connection is not None:
            _abort(self._answer.connection.transport)
        self._answer.close()

    async def aclose(self) -> None:
        """Same as abort: nothing is left to wait for."""
        self.abort()


class _Connector(aiohttp.TCPConnector):
    """Notes when connections are made and for whom, and bounds the making to the exchange's connect timeout."""

    clock: Callable[[], float]
    bounded: Bounded

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        _CALL.get().socket = connection.transport
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        return None if _CALL.get().fresh else await super()._get(key, traces)

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> ResponseHandler:
        call = _CALL.get()
        timings = call.timings
        timings.reused = False
        timings.connect_start = self.clock()
        # aiohttp's own timers round up to whole seconds over 5 s
        async with self.bounded(call.connect_timeout):
            made = await super()._create_connection(req, traces, timeout)
        timings.connect_end = self.clock()
        return made


def _make_socket(info: AddrInfoType) -> socket.socket:
    family, kind, proto, _, where = info
    reason = _refusal(str(where[0]))
    if reason is not None:
        _CALL.get().forbidden = reason
        raise ForbiddenAddressError(errno.EACCES, f"the address {reason}")
    return socket.socket(family=family, type=kind, proto=proto)


def _abort(transport: asyncio.Transport | asyncio.BaseTransport | None) -> None:
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def translate(exc: Exception, call: Call, *, answered: bool = False) -> TransportError:
    """Say in our words what aiohttp or the system reported; the first rule that fits wins: special before general."""
    reused = call.timings.reused

    def error(kind: TransportFault, detail: str, *, began: bool = answered) -> TransportError:
        return TransportError(kind, detail, reused=reused, bytes_received=began)

    connecting = isinstance(exc, aiohttp.ClientConnectorError | TimeoutError) and not answered
    if call.forbidden is not None and connecting:
        return error(TransportFault.FORBIDDEN_ADDRESS, f"the address {call.forbidden}")
    match exc:
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            return error(TransportFault.DNS, "the name does not resolve")
        case aiohttp.ClientConnectorCertificateError():
            why = _certificate_reason(exc.certificate_error)
            return error(TransportFault.TLS_CERTIFICATE, f"the certificate is not accepted: {why}")
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError() if not answered:
            return error(TransportFault.TLS_HANDSHAKE, f"TLS failed: {getattr(exc, 'reason', None) or 'handshake'}")
        case aiohttp.ClientHttpProxyError():
            return error(TransportFault.UNREACHABLE, f"the proxy answered {exc.status}")
        case TimeoutError() if not answered:
            return error(TransportFault.CONNECT_TIMEOUT, f"no connection within {call.connect_timeout:g} s")
        case aiohttp.ClientConnectorError():
            return error(*_connect_fault(exc.os_error))
        case aiohttp.ServerDisconnectedError():
            return error(
                TransportFault.EOF, "closed without an answer", began=answered or not isinstance(exc.message, str)
            )
        case aiohttp.ClientPayloadError():
            return error(TransportFault.EOF, "the answer stopped short", began=True)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return error(
                TransportFault.BAD_RESPONSE, "the answer is not valid HTTP or its head is too large", began=True
            )
        case aiohttp.InvalidURL():
            return error(TransportFault.UNREACHABLE, "the address cannot be used")
        case ConnectionError() | aiohttp.ClientConnectionError() if _errno(exc) in _RESETS:
            return error(TransportFault.RESET, "the connection was reset")
        case _:
            kind = TransportFault.READ_FAILED if answered else TransportFault.WRITE_FAILED
            return error(kind, f"the exchange failed: {_errno_name(exc)}")


_RESETS: Final = frozenset({None, errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})
_CONNECT: Final = {
    errno.ECONNREFUSED: (TransportFault.REFUSED, "connection refused"),
    errno.ETIMEDOUT: (TransportFault.CONNECT_TIMEOUT, "the connection timed out"),
    errno.ECONNRESET: (TransportFault.RESET, "reset while connecting"),
    errno.ECONNABORTED: (TransportFault.RESET, "reset while connecting"),
    errno.EPIPE: (TransportFault.RESET, "reset while connecting"),
}


def _connect_fault(cause: OSError) -> tuple[TransportFault, str]:
    if isinstance(cause, ConnectionResetError | ConnectionAbortedError):
        return TransportFault.RESET, "reset while connecting"  # asyncio's, without a number, in a TLS handshake
    return _CONNECT.get(cause.errno or 0, (TransportFault.UNREACHABLE, f"unreachable: {_errno_name(cause)}"))


def _errno(exc: Exception) -> int | None:
    return exc.errno if isinstance(exc, OSError) else None


def _errno_name(exc: Exception) -> str:
    return errno.errorcode.get(_errno(exc) or 0, type(exc).__name__)


def _certificate_reason(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _REASONS.get(cause.verify_code) or str(cause.verify_message)
    return "not valid"
