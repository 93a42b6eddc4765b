"""The data plane: /v1 for stock OpenAI clients. Plain ASGI, one JSON parse a request, reply bytes handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError, RoutingFailed, StreamIncomplete
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.domain.trace import chain_text

from .errors import (
    Headers,
    attempts_of,
    dumps,
    error_body,
    error_headers,
    overhead_header,
    skipped_of,
    trace_headers,
    undelivered_header,
)
from .hints import hints_of
from .protocol import scope_watch
from .strict_json import parse_object

if TYPE_CHECKING:
    from routerconsole.control.port import Chat, Exchange
    from routerconsole.domain.trace import Trace

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

ENDPOINTS = {
    b"/v1/chat/completions": Endpoint.CHAT,
    b"/v1/completions": Endpoint.COMPLETIONS,
    b"/v1/embeddings": Endpoint.EMBEDDINGS,
}
HEARTBEAT_S = 10.0
"""Between comments that keep an early-headers client waiting before commit."""
_JSON = (b"content-type", b"application/json")
_SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_DONE = b"[DONE]"


class OpenAIFace:
    """Serves the three completion endpoints over the Chat port."""

    def __init__(self, chat: Chat, *, max_body: int) -> None:
        self._chat, self._max_body = chat, max_body

    async def serve(self, scope: Scope, receive: Receive, send: Send, endpoint: Endpoint) -> None:
        """Answer one request; a client that leaves cancels everything done for it."""
        request_id = self._chat.new_id()
        loop = asyncio.get_running_loop()
        began = loop.time()
        watch = scope_watch(scope)
        task = asyncio.current_task()
        if watch is not None and task is not None:
            watch.on_gone(task.cancel)
        try:
            await self._answer(scope, receive, send, endpoint, request_id=request_id)
        except RouterError as exc:
            await send_error(send, exc, request_id, router_ms=(loop.time() - began) * 1000)
        except asyncio.CancelledError:
            if watch is None or not watch.gone:
                raise
            # the client is gone and everything is settled: nobody is left to answer
        finally:
            if watch is not None:
                watch.on_gone(None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, endpoint: Endpoint, *, request_id: str) -> None:
        headers: Headers = scope["headers"]
        raw = await read_json_body(headers, receive, self._max_body)
        request = chat_request(request_id, endpoint, raw, headers)
        if request.stream and request.hints.early_headers:
            await self._early(request, send)
            return
        exchange = await self._chat.open(request)
        if exchange.reply is not None:
            await _send_whole(send, exchange, request)
        else:
            ours = trace_headers(request_id, exchange.trace)
            if exchange.trace.undelivered:
                ours.append(undelivered_header(exchange.trace))
            try:
                await _start_stream(send, ours, exchange.headers)
                await _send_stream(send, exchange, request)
            finally:
                exchange.close()

    async def _early(self, request: ChatRequest, send: Send) -> None:
        """Send the 200 as soon as an upstream is asked, comments until the commit; what fails then is told in-band.

        What is refused before that is still a real status: `open` says so before it first waits.
        """
        begun = asyncio.Event()
        exchange: Exchange | None = None
        failed: RouterError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(_beat(send, request.id, begun))
                try:
                    exchange = await self._chat.open(request)
                except RouterError as exc:
                    failed = exc
                finally:
                    beating.cancel()
            if failed is not None and not begun.is_set():
                raise failed
            if exchange is not None:
                if not begun.is_set():
                    await _start_stream(send, [(b"x-router-request-id", request.id.encode())], ())
                await _send_stream(send, exchange, request)
            elif failed is not None:
                await _body(send, in_band(failed, request.id), more=False)
        finally:
            if exchange is not None:
                exchange.close()


async def _beat(send: Send, request_id: str, begun: asyncio.Event) -> None:
    """Begin the answer, then send a comment now and then, for ever."""
    begun.set()
    await _start_stream(send, [(b"x-router-request-id", request_id.encode())], ())
    while True:
        await _body(send, b": waiting\n\n")
        await asyncio.sleep(HEARTBEAT_S)


def chat_request(request_id: str, endpoint: Endpoint, raw: bytes, headers: Headers) -> ChatRequest:
    """Parse a body and its headers; raise RequestRejected. Shape rules for single fields are routing's."""
    body = parse_object(raw)
    model, stream = body.get("model"), body.get("stream")
    if model is not None and not isinstance(model, str):
        raise RequestRejected(ErrorCode.INVALID_REQUEST, "`model` must be a string.", param="model")
    if stream is not None and not isinstance(stream, bool):
        raise RequestRejected(ErrorCode.INVALID_REQUEST, "`stream` must be true or false.", param="stream")
    hints, forward, retry = hints_of(headers)
    return ChatRequest(
        id=request_id,
        endpoint=endpoint,
        body=body,
        size=len(raw),
        model=model,
        stream=bool(stream),
        hints=hints,
        origin=hints.origin,
        forward=forward,
        client_retry=retry,
    )


async def read_json_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read a whole JSON body; raise RequestRejected for another media type or more than `limit` bytes."""
    announced = None
    media = b""
    for name, value in headers:
        if name == b"content-type":
            media = value.partition(b";")[0].strip().lower()
        elif name == b"content-length":
            announced = int(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise RequestRejected(
                ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Compressed bodies are not read; send the body as it is."
            )
    if announced is not None and announced > limit:
        raise _too_large(limit)
    if media != b"application/json":
        raise RequestRejected(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body as `application/json`.")
    message = await receive()
    chunk: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return chunk
    chunks, size = [chunk], len(chunk)
    while message["type"] != "http.disconnect" and message.get("more_body"):
        message = await receive()
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
    if message["type"] == "http.disconnect":
        raise asyncio.CancelledError
    return b"".join(chunks)


async def send_error(send: Send, error: RouterError, request_id: str, *, router_ms: float | None = None) -> None:
    """Send an error as a whole answer; one that leaves body bytes unread closes the connection.

    `router_ms` is the time spent here on a request that was never routed; of a routed one its trace knows better.
    """
    body = dumps(error_body(error, request_id))
    trace = error.trace if isinstance(error, RoutingFailed) else None
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *trace_headers(request_id, trace)]
    headers.extend(error_headers(error))
    if trace is not None and trace.router_ms is not None:
        router_ms = trace.router_ms
    if router_ms is not None:
        headers.append(overhead_header(router_ms))
    if trace is not None and trace.undelivered:
        headers.append(undelivered_header(trace))
    if error.code is ErrorCode.PAYLOAD_TOO_LARGE:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def in_band(error: RouterError, request_id: str) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: " + dumps(error_body(error, request_id)) + b"\n\n"


async def _send_whole(send: Send, exchange: Exchange, request: ChatRequest) -> None:
    trace = exchange.trace
    body = exchange.reply or b""
    if request.hints.trace:
        body = _with_trace(body, trace)
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *trace_headers(request.id, trace)]
    headers.append(overhead_header(trace.router_ms or 0.0))
    if trace.undelivered:
        headers.append(undelivered_header(trace))
    headers.extend((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in exchange.headers)
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _start_stream(send: Send, ours: Headers, theirs: Sequence[tuple[str, str]]) -> None:
    headers = [*_SSE, *ours]
    headers.extend((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in theirs)
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_stream(send: Send, exchange: Exchange, request: ChatRequest) -> None:
    """Frame the committed stream; it ends with [DONE], or with one error event and no [DONE]."""
    last = b""
    try:
        async for batch in exchange.deltas():
            if not batch:
                continue
            if request.hints.trace and batch[-1] == _DONE:
                batch = _with_told(batch, exchange.trace, last)  # noqa: PLW2901 - the one batch that ends the stream
            last = batch[-1]
            await _body(send, b"data: " + b"\n\ndata: ".join(batch) + b"\n\n")
    except StreamIncomplete as exc:
        await _body(send, in_band(exc, request.id), more=False)
        return
    await _body(send, b"", more=False)


async def _body(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


def _with_trace(body: bytes, trace: Trace) -> bytes:
    data = orjson.loads(body)
    return orjson.dumps({**data, "routerconsole": _told(trace)}) if isinstance(data, dict) else body


def _with_told(batch: Sequence[bytes], trace: Trace, sent: bytes) -> Sequence[bytes]:
    """Return the batch that ends a stream with the trace in its last chunk; one of its own where that has left."""
    *before, done = batch
    if before:
        return [*before[:-1], _with_trace(before[-1], trace), done]
    chunk = orjson.loads(sent) if sent else {}
    envelope = {key: chunk[key] for key in ("id", "object", "created", "model") if key in chunk}
    return [dumps({"object": "chat.completion.chunk", **envelope, "choices": [], "routerconsole": _told(trace)}), done]


def _told(trace: Trace) -> dict[str, Any]:
    route = trace.selected
    return {
        "request_id": trace.id,
        "provider": route.provider if route else None,
        "model": route.model if route else None,
        "resolved": {"kind": trace.resolved_kind, "id": trace.resolved, "because": trace.because},
        "chain": chain_text(trace),
        "usage": {
            "prompt_tokens": trace.prompt_tokens,
            "completion_tokens": trace.completion_tokens,
            "source": trace.usage_source,
        },
        "cost_usd": trace.cost_usd,
        "attempts": attempts_of(trace),
        "skipped": skipped_of(trace),
        "candidates": [
            {
                "provider": item.route.provider,
                "model": item.route.model,
                "decision": item.decision.value,
                "reasons": item.reasons,
            }
            for item in trace.candidates
        ],
    }


def _too_large(limit: int) -> RequestRejected:
    return RequestRejected(
        ErrorCode.PAYLOAD_TOO_LARGE, f"The body is over {limit / (1024 * 1024):.3g} MB (`server.max_body_mb`)."
    )
