"""The one ASGI app: guard first, then the hot routes by exact raw path, then the control plane."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError

from .errors import dumps, trace_headers
from .guard import Access, Guard, check_subscription, speaks_anthropic
from .openai import ENDPOINTS, OpenAIFace, Receive, Scope, Send, send_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from routerconsole.control.port import Chat, Control

    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

API = b"/api/v1/"
MODELS = b"/v1/models"
MESSAGES = b"/v1/messages"
METRICS = b"/metrics"
CLIENT_PATHS = frozenset({b"/api/v1/router/complete"})
"""Control routes a client token may use too (interface.md §5)."""
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class App:
    """Serves one engine. `api` is the control plane's own ASGI app, reached only with the right token."""

    def __init__(
        self,
        *,
        chat: Chat,
        control: Control,
        guard: Guard,
        api: AsgiApp,
        metrics: Callable[[], Awaitable[bytes]],
        max_body: int,
    ) -> None:
        self._chat, self._control, self._guard, self._api, self._metrics = chat, control, guard, api, metrics
        self._face = OpenAIFace(chat, max_body=max_body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is spoken here."""
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except RouterError as exc:
            await send_error(send, exc, self._chat.new_id())
        except Exception:
            request_id = self._chat.new_id()
            log.exception("request %s hit a bug in the server", request_id)
            bug = RouterError(ErrorCode.INTERNAL_ERROR, f"Internal error; the request id is {request_id}.")
            await send_error(send, bug, request_id)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route by the raw path only.

        1 Host and origin; 2 /healthz; 3 the hot endpoints; 4 the model list; 5 what is not emulated; 6 the control
        plane; 7 monitoring; 8 nothing else exists.
        """
        headers = scope["headers"]
        self._guard.check_host(headers)  # 1
        self._guard.check_origin(headers)
        path: bytes = scope["raw_path"]
        if path == b"/healthz":  # 2
            _allow(scope, "GET")
            await _send_json(send, 200, b'{"status":"ok"}', [])
            return
        peer = scope["client"][0] if scope.get("client") else ""
        endpoint = ENDPOINTS.get(path)
        if endpoint is not None:  # 3
            _allow(scope, "POST")
            self._guard.check_token(headers, Access.CLIENT, peer=peer)
            await self._face.serve(scope, receive, send, endpoint)
        elif path == MODELS or path.startswith(MODELS + b"/"):  # 4
            _allow(scope, "GET")
            self._guard.check_token(headers, Access.CLIENT, peer=peer)
            await self._models(send, path[len(MODELS) :])
        elif MESSAGES in path.lower() and not path.startswith(API):  # 5
            check_subscription(headers)
            if not speaks_anthropic(headers):  # such a client is told what is wrong with it before its token is
                self._guard.check_token(headers, Access.CLIENT, peer=peer)
            raise RequestRejected(
                ErrorCode.ANTHROPIC_INGRESS_NOT_SUPPORTED,
                "Anthropic's Messages API is not emulated here: RouterConsole speaks the OpenAI API, "
                "POST /v1/chat/completions. Anthropic's models are reached through it as upstreams, with an API key "
                "(kind: anthropic); Anthropic's own programs reach models of this router as MCP tools "
                "(`routerconsole mcp`).",
            )
        elif path.startswith(API):  # 6
            access = Access.CLIENT if path in CLIENT_PATHS else Access.ADMIN
            self._guard.check_token(headers, access, peer=peer)
            await self._api(scope, receive, send)
        elif path == METRICS:  # 7
            _allow(scope, "GET")
            self._guard.check_token(headers, Access.CLIENT, peer=peer)
            await _send(send, 200, await self._metrics(), _TEXT, [])
        else:  # 8
            raise RequestRejected(ErrorCode.NOT_FOUND, "There is nothing at this path.")

    async def _models(self, send: Send, rest: bytes) -> None:
        """List the models, or show the one whose name follows the path; names mean what they mean in a request."""
        ours = trace_headers(self._chat.new_id(), None)
        if not rest:
            listed = [_card(card.id, card.owned_by, card.created) for card in await self._control.models()]
            await _send_json(send, 200, dumps({"object": "list", "data": listed}), ours)
            return
        wanted = unquote_to_bytes(rest[1:]).decode("utf-8", "replace")
        card = await self._control.model_card(wanted)
        if card is None:
            raise RequestRejected(ErrorCode.MODEL_NOT_FOUND, "No such model; GET /v1/models lists them.", param="model")
        body = _card(card.id, card.owned_by, card.created) | {"capabilities": card.capabilities}
        await _send_json(send, 200, dumps(body), ours)


def _allow(scope: Scope, method: str) -> None:
    """Raise RequestRejected for another method; HEAD goes wherever GET does (the server leaves the body out)."""
    given = scope["method"]
    if given == method or (given == "HEAD" and method == "GET"):
        return
    allow = "GET, HEAD" if method == "GET" else method
    raise RequestRejected(ErrorCode.METHOD_NOT_ALLOWED, f"Only {allow} is allowed here.", allow=allow)


def _card(model_id: str, owned_by: str, created: int) -> dict[str, Any]:
    return {"id": model_id, "object": "model", "created": created, "owned_by": owned_by}


async def _send_json(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await _send(send, status, body, _JSON, headers)


async def _send(
    send: Send, status: int, body: bytes, kind: tuple[bytes, bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    head = [kind, (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
