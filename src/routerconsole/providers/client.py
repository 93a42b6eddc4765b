"""The one sender: a target and an encoded request in, an opened answer out. Headers are built here, never copied.

A key goes only to the origin it was configured for; three of the client's headers go up, a few of the upstream's back.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from routerconsole import __version__
from routerconsole.domain.registry import Account, Provider
from routerconsole.domain.secret import Secret
from routerconsole.providers.dialect import Dialect, WireRequest
from routerconsole.providers.transport import MAX_BODY, Answered, Call, Timings, Transport, TransportError
from routerconsole.routing.faults import TransportFault

USER_AGENT: Final = f"routerconsole/{__version__}"
_FORWARDED: Final = frozenset({"traceparent", "tracestate", "x-request-id"})
_OURS: Final = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "cookie",
    ]
)
"""Headers no configuration may set: they belong to the transport."""
_PASSED_BACK: Final = {
    "retry-after": "retry-after",
    "openai-processing-ms": "openai-processing-ms",
    "x-request-id": "x-upstream-request-id",
}
_MAX_SENT: Final = 1024  # characters of a forwarded value
_MAX_BACK: Final = 256  # characters of a value given to the client
_MAX_KEPT: Final = 4096  # characters of a value kept for classification


Exchange = Callable[[str, Call, CIMultiDict[str], bytes], Awaitable[Answered]]
"""What carries a request: a transport's, or the door of a worker on this machine. Raises TransportError."""


class WrongOriginError(Exception):
    """A dialect built a URL outside the origin the key belongs to."""


@dataclass(slots=True)
class Target:
    """A provider as one account sees it: built once per registry snapshot, URLs and headers ready."""

    provider: Provider
    dialect: Dialect
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    tls: ssl.SSLContext | bool = True
    proxy: str | None = field(default=None, repr=False)
    exchange: Exchange | None = field(default=None, repr=False)  # None: the network
    urls: dict[str, URL] = field(default_factory=dict, repr=False)
    _fields: dict[bool, CIMultiDict[str]] = field(default_factory=dict, repr=False)

    def fields(self, *, stream: bool) -> CIMultiDict[str]:
        """The headers every request shares, built once; not to be changed."""
        known = self._fields.get(stream)
        if known is None:
            known = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
            known["accept"] = "text/event-stream" if stream else "application/json"
            self._fields[stream] = known
        return known

    def url(self, path: str) -> URL:
        """The full URL of a path, parsed once; raises WrongOriginError."""
        known = self.urls.get(path)
        if known is None:
            text = self.dialect.url(self.provider, path)
            parsed = URL(text)
            if parsed.origin() != URL(self.provider.base_url).origin():
                raise WrongOriginError("the request would leave the origin its key was configured for")
            known = self.urls[path] = parsed
        return known


def target(provider: Provider, account: Account, dialect: Dialect) -> Target:
    """Build what every request to this provider and account shares; raises OSError where `ca_file` cannot be used."""
    headers = {"content-type": "application/json", "user-agent": USER_AGENT}
    headers.update((name.lower(), value) for name, value in dialect.auth_headers(account.api_key))
    headers.update((name.lower(), _plain(value)) for name, value in provider.headers if name.lower() not in _OURS)
    pairs = tuple((name.encode("latin-1"), value.encode()) for name, value in headers.items())
    return Target(
        provider,
        dialect,
        (*pairs, (b"accept-encoding", b"identity")),
        tls=True if provider.ca_file is None else _tls(provider.ca_file),
        proxy=None if provider.proxy is None else _plain(provider.proxy),
    )


def passed_back(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a client may see of an upstream's headers (lower-case names): no control characters, capped."""
    return tuple(
        (_PASSED_BACK.get(name, name), clean)
        for name, value in headers.items()
        if (name in _PASSED_BACK or name.startswith("x-ratelimit-")) and (clean := _clean(value, _MAX_BACK))
    )


class Answer:
    """An opened upstream answer. Whoever does not read it to its end aborts it."""

    __slots__ = ("_body", "headers", "status", "timings")

    def __init__(self, answered: Answered, timings: Timings) -> None:
        self.status, raw, self._body = answered
        self.timings = timings
        self.headers: dict[str, str] = {}
        for name, value in raw:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")[:_MAX_KEPT]
            self.headers[key] = f"{self.headers[key]}, {text}"[:_MAX_KEPT] if key in self.headers else text

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower-case; empty where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read(self, *, limit: int = MAX_BODY) -> bytes:
        """Return the whole body; raises TransportError, TOO_LARGE over `limit` bytes."""
        return b"" if self._body is None else await self._body.read(limit=limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive; raises TransportError."""
        if self._body is not None:
            async for chunk in self._body:
                yield chunk

    def abort(self) -> None:
        """Cut the connection at once unless the answer is complete; idempotent, never waits."""
        if self._body is not None:
            self._body.abort()


class Sender:
    """Sends encoded requests; owns nothing but its transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def open(
        self,
        where: Target,
        wire: WireRequest,
        *,
        connect_timeout: float,
        timings: Timings,
        stream: bool = False,
        fresh: bool = False,
        forward: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Return the answer once its head is there; raises TransportError. A cancel cuts the connection at once.

        `fresh` takes no kept connection.
        """
        try:
            url = where.url(wire.path)
        except ValueError as exc:
            raise TransportError(TransportFault.UNREACHABLE, "the address cannot be used") from exc
        headers = where.fields(stream=stream)
        if wire.headers or forward:
            headers = headers.copy()
            headers.extend(wire.headers)
            headers.extend(
                (name.lower(), clean)
                for name, value in forward
                if name.lower() in _FORWARDED and (clean := _clean(value, _MAX_SENT).encode("ascii", "ignore").decode())
            )
        call = Call(
            url, connect_timeout=connect_timeout, tls=where.tls, proxy=where.proxy, timings=timings, fresh=fresh
        )
        exchange = where.exchange or self._transport.exchange
        return Answer(await exchange(wire.method, call, headers, wire.body), timings)

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        await self._transport.aclose()


@lru_cache(32)
def _tls(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _clean(value: str, limit: int) -> str:
    return "".join(char for char in value[: 4 * limit] if char.isprintable()).strip()[:limit]
