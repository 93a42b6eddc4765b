"""The control plane, /api/v1: translates HTTP to the control port and back; every change is one command.

Host, origin and token were checked before a request comes here.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pydantic import BaseModel

from routerconsole.control.port import ACTOR_HEADER, Actor, ControlError
from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError

from .errors import dumps
from .openai import Receive, Scope, Send, read_json_body, send_error
from .operations import Operations
from .protocol import Watch, scope_watch
from .routes import AnyRoute, Call, Table
from .schemas import checked
from .strict_json import parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from routerconsole.control.port import Chat

    from .errors import Headers
    from .events import PushingControl

    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

ROOT = b"/api/v1/"
_JSON = (b"content-type", b"application/json")
_SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


def api_app(control: PushingControl, chat: Chat, *, max_body: int) -> AsgiApp:
    """Return the control plane's ASGI app over one engine; `max_body` is in bytes."""
    return ControlApp(Table(Operations(control, chat).routes()), chat, max_body=max_body)


class ControlApp:
    """Matches, checks, calls, answers; knows no single route."""

    def __init__(self, table: Table, chat: Chat, *, max_body: int) -> None:
        self._table, self._chat, self._max_body = table, chat, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every error has the one shape and an id."""
        watch = scope_watch(scope)
        request_id = (
            self._chat.new_id() if scope["method"] not in ("GET", "HEAD") else ""
        )  # polls do not use numbers up
        try:
            await self._serve(scope, receive, send, request_id=request_id)
        except RouterError as exc:
            await send_error(send, exc, request_id or self._chat.new_id())
        except ControlError as exc:
            await send_error(send, told(exc), request_id or self._chat.new_id())
        except asyncio.CancelledError:
            if watch is None or not watch.gone:
                raise
            # the client is gone: nobody is left to answer
        finally:
            if watch is not None:
                watch.on_gone(None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
        match = self._table.match(scope["raw_path"][len(ROOT) :])
        if match is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, "There is nothing at this path; see /api/v1/openapi.json.")
        found = match.route(scope["method"])
        if found is None:
            raise RequestRejected(
                ErrorCode.METHOD_NOT_ALLOWED, f"Only {match.allow} is allowed here.", allow=match.allow
            )
        route, params = found
        call = await self._call(route, params, scope, receive, request_id=request_id)
        watch, task = scope_watch(scope), asyncio.current_task()
        if route.ends_with_client and watch is not None and task is not None:
            watch.on_gone(task.cancel)
        answer = await route.handler(call)
        if answer.stream is None:
            pieces = answer.pieces or (b"null" if answer.data is None else dumps(dict(answer.data)),)
            head = [_JSON, (b"content-length", str(sum(map(len, pieces))).encode()), *answer.headers]
            await send({"type": "http.response.start", "status": route.status, "headers": head})
            for number, piece in enumerate(pieces, 1):
                await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *answer.headers]})
        if scope["method"] == "HEAD":
            await answer.stream.aclose()
        else:
            await _push(send, answer.stream, watch)
        await send({"type": "http.response.body", "body": b""})

    async def _call(
        self, route: AnyRoute, params: Mapping[str, str], scope: Scope, receive: Receive, *, request_id: str
    ) -> Call[BaseModel, BaseModel]:
        headers: Headers = scope["headers"]
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")
        query = checked(route.query, dict(pairs))
        raw = b"{}"
        if route.takes_body and not (route.body_optional and _bodyless(headers)):
            raw = await read_json_body(headers, receive, self._max_body)
        data = parse_object(raw)
        return Call(
            id=request_id,
            path=params,
            query=query,
            body=checked(route.body, data),
            json=data,
            size=len(raw),
            headers=headers,
            actor=Actor.API if route.client_token else _actor(headers),
        )


async def _push(send: Send, stream: AsyncGenerator[bytes], watch: Watch | None) -> None:
    """Send what the stream yields; return when its client has left or the server stops."""
    if watch is not None:
        watch.endless = True
    try:
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if watch is None or not watch.gone or task is None:
            raise
        task.uncancel()


def _actor(headers: Headers) -> Actor:
    """Return who says it is asking, `api` where nobody does; raise RequestRejected for a name that is none of ours."""
    said = [value.decode("latin-1") for name, value in headers if name == ACTOR_HEADER.encode()]
    if not said:
        return Actor.API
    try:
        (name,) = said
        return Actor(name)
    except ValueError as exc:
        raise RequestRejected(
            ErrorCode.INVALID_REQUEST, f"`{ACTOR_HEADER}` must be one of {', '.join(Actor)}.", param=ACTOR_HEADER
        ) from exc


def _bodyless(headers: Headers) -> bool:
    return not any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0) for name, value in headers
    )


def told(error: ControlError) -> RouterError:
    """Return a refusal of the control port as an error of the one shape."""
    known = {code.value: code for code in ErrorCode}
    code = known.get(error.code, ErrorCode.INVALID_REQUEST if error.status < 500 else ErrorCode.INTERNAL_ERROR)
    return RouterError(code, error.message, status=error.status)
