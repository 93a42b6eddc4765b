"""A small request on a connection of aiohttp's: written in one go, so that it needs no task that uploads.

aiohttp's own way builds a request, a response and an upload task each time, a tenth of what an exchange costs us. It
stays the way of large bodies, which an upstream may answer or refuse while they are being sent, and of proxies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import ClientRequest
from aiohttp.http import RawResponseMessage, StreamWriter

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import StreamReader
    from aiohttp.connector import BaseConnector, Connection
    from multidict import CIMultiDict
    from yarl import URL

MAX_BRIEF: Final = 32 << 10
"""Bytes of a body that is always taken at once: half of what a transport buffers before it asks to pause."""
MAX_HEADER: Final = 32 << 10
"""Bytes of a header line: a 10 KB header is dropped, a 64 KB one is no answer (X15, U40)."""
MAX_HEADERS: Final = 256
PIECE: Final = 32 << 10
"""Bytes read ahead of a slow client, with one read of the socket's more (S35)."""
_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_SWITCHING: Final = 101
_MAX_PLACES: Final = 512


class BriefAnswer:
    """An opened answer. Its connection goes back to the pool at the end of the body, and is closed by `close`."""

    __slots__ = ("connection", "content", "content_length", "raw_headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, content: StreamReader) -> None:
        self.connection: Connection | None = connection
        self.status, self.raw_headers, self.content = message.code, message.raw_headers, content
        announced = message.headers.get("content-length")
        self.content_length = None if announced is None else int(announced)
        content.on_eof(self._complete)

    def close(self) -> None:
        """Close the connection unless the body is complete; a reader that still waits is told."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        connection.close()
        if self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))

    def _complete(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()


class BriefWay:
    """Sends small requests over one session's connector."""

    def __init__(self, session: aiohttp.ClientSession, connector: BaseConnector) -> None:
        self._session, self._connector = session, connector
        self._places: dict[tuple[URL, SSLContext | bool], ClientRequest] = {}

    async def ask(
        self, method: str, url: URL, tls: SSLContext | bool, *, headers: CIMultiDict[str], content: bytes
    ) -> BriefAnswer:
        """Send up to MAX_BRIEF bytes and return the answer once its head is there; raises what aiohttp raises."""
        place = self._places.get((url, tls)) or self._place(url, tls)
        fields = place.headers.copy()
        fields.update(headers)
        if content or method != "GET":
            fields["Content-Length"] = str(len(content))
        connection = await self._connector.connect(place, [], _NO_LIMIT)
        try:
            protocol = connection.protocol
            if protocol is None:
                raise aiohttp.ClientConnectionError("Connection closed")
            protocol.set_response_params(
                read_until_eof=True,
                auto_decompress=False,
                read_bufsize=PIECE,
                max_line_size=MAX_HEADER,
                max_field_size=MAX_HEADER,
                max_headers=MAX_HEADERS,
            )
            writer = StreamWriter(protocol, place.loop)
            await writer.write_headers(f"{method} {place.url.raw_path_qs} HTTP/1.1", fields)
            await writer.write_eof(content)
            message, body = await protocol.read()
            while message.code < 200 and message.code != _SWITCHING:  # interim answers
                message, body = await protocol.read()
            return BriefAnswer(connection, message, body)
        except BaseException:
            connection.close()
            raise

    def _place(self, url: URL, tls: SSLContext | bool) -> ClientRequest:
        """Make what tells the connector where to go: a request that is never sent, with what each one there has."""
        if len(self._places) >= _MAX_PLACES:  # configurations come and go
            self._places.clear()
        place = self._places[url, tls] = ClientRequest(
            "POST",
            url,
            headers=self._session.headers,
            skip_auto_headers=self._session.skip_auto_headers,
            ssl=tls,
            session=self._session,
            loop=asyncio.get_running_loop(),
        )
        return place
