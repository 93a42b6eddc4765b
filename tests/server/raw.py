"""Raw HTTP over a socket, for what no client library would send."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
from tests.support.node import ADMIN_TOKEN, CLIENT_TOKEN

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came; header names in lower case, of doubled ones the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code; fails where the body is not of the one error shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "code", "param", "routerconsole"}, error
        assert {"request_id", "attempts", "skipped"} <= set(error["routerconsole"])
        return str(error["code"])

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.json["error"]["message"])


class Wire:
    """One connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int | None = None) -> Self:
        """Connect; with a `receive_buffer` of few bytes a client that does not read is felt early."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:  # before the connect: it bounds the window that is announced
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes; a peer that has closed already is no failure of the sender's."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return

    async def reply(self, *, head: bool = False, within: float = 60.0) -> Reply:
        """Read one answer that has a length or is chunked; `head`: the answer to a HEAD."""
        async with asyncio.timeout(within):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            status, headers = _head(raw)
            if head or status in (204, 304):
                return Reply(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Reply(status, headers, await self._chunks())
            if "content-length" in headers:
                return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))
            return Reply(status, headers, await self.reader.read())

    async def rest(self, *, within: float = 60.0) -> bytes:
        """Read until the server closes; a reset ends it as well."""
        found = bytearray()
        async with asyncio.timeout(within):
            try:
                while data := await self.reader.read(65536):
                    found += data
            except ConnectionError:
                pass
        return bytes(found)

    def reset(self) -> None:
        """Close with RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _chunks(self) -> bytes:
        found = bytearray()
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            found += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readline()
        return bytes(found)


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    token: str | None = CLIENT_TOKEN,
    host: str | None = "127.0.0.1",
) -> bytes:
    """Return a request's bytes; `headers` override what is sent by default, None values leave a header out."""
    fields: dict[str, str | None] = {"host": host}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    if body:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


async def ask(port: int, method: str, path: str, body: bytes | object = b"", **options: Any) -> Reply:
    """Send one request on a connection of its own and read its answer; objects go as JSON."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    async with await Wire.open(port) as wire:
        await wire.send(request(method, path, raw, **options))
        return await wire.reply(head=method == "HEAD")


async def chat(port: int, body: bytes | object, **options: Any) -> Reply:
    """POST a chat completion."""
    return await ask(port, "POST", CHAT, body, **options)


async def admin(port: int, method: str, path: str, body: bytes | object = b"") -> Reply:
    """Ask the control plane with the admin token; `path` is below /api/v1/."""
    return await ask(port, method, f"/api/v1/{path}", body, token=ADMIN_TOKEN)
