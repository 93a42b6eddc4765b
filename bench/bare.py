"""The yardstick: the least a Python gateway can do with the same libraries (read, parse, rewrite the model, pass on).

Run by uvicorn inside the peers' environment (bench/peers.py); it imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

Message = MutableMapping[str, Any]  # ASGI's own type
UPSTREAM = "http://127.0.0.1:9100/{}/v1/chat/completions"
HEADERS = [(b"host", b"127.0.0.1:9100"), (b"content-type", b"application/json"), (b"authorization", b"Bearer x")]
TIMEOUT = {"timeout": {"connect": 5, "read": 30, "write": 5, "pool": 5}}

transport: AiohttpTransport | None = None


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2000))


async def _forward(body: bytes) -> tuple[bool, httpx.Response]:
    """Send the request upstream; tells whether a stream was asked for."""
    global transport  # noqa: PLW0603  one per process, made inside the running loop
    transport = transport or AiohttpTransport(client=_session)
    asked = orjson.loads(body)
    stream = bool(asked.get("stream"))
    asked["model"] = "bench-model"
    url = UPSTREAM.format("s" if stream else "r")
    request = httpx.Request("POST", url, headers=HEADERS, content=orjson.dumps(asked), extensions=TIMEOUT)
    return stream, await transport.handle_async_request(request)


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if not body:  # a readiness check
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    stream, reply = await _forward(body)
    start: Message = {"type": "http.response.start", "status": reply.status_code}
    if stream:
        await send({**start, "headers": [(b"content-type", b"text/event-stream")]})
        async for piece in reply.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await reply.aclose()
        await send({"type": "http.response.body", "body": b""})
        return
    data = await reply.aread()
    orjson.loads(data)
    length = str(len(data)).encode()
    await send({**start, "headers": [(b"content-type", b"application/json"), (b"content-length", length)]})
    await send({"type": "http.response.body", "body": data})
