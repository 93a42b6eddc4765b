"""A real node on a loopback port with simulated upstreams behind it; what the end-to-end tests ask and look at.

Everything goes through the public port; the node's control port is used to look, and to give operators' commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from routerconsole.control.port import RequestQuery
from routerconsole.control.views import AttemptView, ProviderStatus, RequestDetail, RouteStatus
from routerconsole.domain.events import Event
from routerconsole.simulator import Simulator
from routerconsole.wiring import EngineOptions, Node, prepare

HELLO = [{"role": "user", "content": "Say something."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
FORCED = {"tools": [TOOL], "tool_choice": "required"}
JSON_MODE = {"response_format": {"type": "json_object"}}
PATIENCE_S = 60.0
"""How long a condition may take on a crowded machine before a test gives up."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as the client saw it; `ms` until its last byte, `first_ms` until its head."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ms: float
    first_ms: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of a failed whole answer."""
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def id(self) -> str:
        """The request's id."""
        return self.headers["x-router-request-id"]

    @property
    def attempts(self) -> int:
        """How many upstream calls the headers tell of."""
        return int(self.headers["x-router-attempts"])

    @property
    def served_by(self) -> str:
        """Provider and model as the headers name them."""
        return f"{self.headers['x-router-provider']}/{self.headers['x-router-model']}"

    @property
    def content(self) -> Any:
        """The text of the first choice."""
        return self.json["choices"][0]["message"]["content"]

    @property
    def events(self) -> list[bytes]:
        """The payloads of a stream; the framing is checked on the way."""
        blocks = self.body.split(b"\n\n")
        assert blocks[-1] == b"", f"a stream ends with a blank line, not with {blocks[-1]!r}"
        assert all(block.startswith((b"data: ", b":")) for block in blocks[:-1])
        return [block.removeprefix(b"data: ") for block in blocks[:-1] if not block.startswith(b":")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a stream, without [DONE] and errors."""
        made = [orjson.loads(event) for event in self.events if event != b"[DONE]"]
        return [chunk for chunk in made if "error" not in chunk]

    @property
    def text(self) -> str:
        """The text a stream's client got (first choice)."""
        return said(self.chunks)

    @property
    def finished(self) -> bool:
        """Whether the stream ended with [DONE]."""
        return bool(self.events) and self.events[-1] == b"[DONE]"

    @property
    def in_band(self) -> dict[str, Any] | None:
        """The error a stream ended with; it is the last event, and there is one at most."""
        errors = [n for n, event in enumerate(self.events) if event.startswith(b'{"error"')]
        if not errors:
            return None
        assert errors == [len(self.events) - 1], "an in-band error ends its stream"
        found: dict[str, Any] = orjson.loads(self.events[-1])["error"]
        return found


def said(chunks: Sequence[Mapping[str, Any]], index: int = 0) -> str:
    """The text of one choice in these chunks."""
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


@dataclass(slots=True)
class Stand:
    """One node with its client; `sims` are its upstreams by provider name."""

    text: str
    state: Path
    sims: Mapping[str, Simulator]
    env: Mapping[str, str] = field(default_factory=dict)
    _node: Node | None = None
    _session: aiohttp.ClientSession | None = None
    url: str = ""
    port: int = 0
    client_token: str = ""
    admin_token: str = ""

    async def start(self) -> None:
        """Start the node on a free port."""
        prepared = prepare(
            EngineOptions(state_dir=self.state, port=0, host="127.0.0.1", seed=7), self.env, text=self.text
        )
        self.url, self.port = prepared.url, prepared.sock.getsockname()[1]
        self.client_token, self.admin_token = prepared.tokens.client.reveal(), prepared.tokens.admin.reveal()
        self._node = Node(prepared)
        await self._node.start()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )

    async def stop(self) -> None:
        """Stop the node and its client."""
        if self._session is not None:
            await self._session.close()
        if self._node is not None:
            await self._node.stop()
        self._session = self._node = None

    async def restart(self, text: str | None = None) -> None:
        """Stop and start on the same state directory."""
        await self.stop()
        self.text = text or self.text
        await self.start()

    @property
    def node(self) -> Node:
        """The running node."""
        assert self._node is not None
        return self._node

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP client."""
        assert self._session is not None
        return self._session

    # --- asking ---

    async def chat(self, model: str | None = "m", *, headers: Mapping[str, str] | None = None, **body: Any) -> Reply:
        """Send a chat request; `model` None leaves it out."""
        named = {} if model is None else {"model": model}
        return await self.post("/v1/chat/completions", {"messages": HELLO, **named, **body}, headers=headers)

    async def stream(self, model: str | None = "m", *, headers: Mapping[str, str] | None = None, **body: Any) -> Reply:
        """Send a streamed chat request and read it to its end."""
        return await self.chat(model, headers=headers, stream=True, **body)

    async def post(
        self, path: str, body: Any, *, headers: Mapping[str, str] | None = None, admin: bool = False
    ) -> Reply:
        """POST JSON."""
        return await self._ask("POST", path, orjson.dumps(body), headers or {}, admin=admin)

    async def get(self, path: str) -> Reply:
        """GET with the admin token."""
        return await self._ask("GET", path, None, {}, admin=True)

    async def _ask(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], *, admin: bool
    ) -> Reply:
        loop = asyncio.get_running_loop()
        token = self.admin_token if admin else self.client_token
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
        began = loop.time()
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            first = (loop.time() - began) * 1000
            body = await answer.read()
            return Reply(answer.status, answer.headers, body, (loop.time() - began) * 1000, first)

    async def many(self, count: int, **body: Any) -> list[Reply]:
        """Send the same chat request so many times at once."""
        return list(await asyncio.gather(*(self.chat(**body) for _ in range(count))))

    # --- looking ---

    async def detail(self, reply: Reply | str) -> RequestDetail:
        """The trace of a request."""
        wanted = reply if isinstance(reply, str) else reply.id
        found = await self.node.control.request(wanted)
        assert found is not None, f"no trace of {wanted}"
        return found

    async def tried(self, reply: Reply | str) -> list[tuple[str, str | None]]:
        """Provider and class of every attempt, in order."""
        return [(attempt.provider, attempt.class_) for attempt in (await self.detail(reply)).attempts_detail]

    async def first(self, reply: Reply | str) -> AttemptView:
        """The first attempt."""
        return (await self.detail(reply)).attempts_detail[0]

    async def newest(self) -> RequestDetail:
        """The trace of the newest request, whether or not its client saw an id."""
        (row,) = self.node.service.recorder.rows(RequestQuery(limit=1))
        return await self.detail(row.id)

    async def provider(self, name: str = "a") -> ProviderStatus:
        """What the status says of a provider."""
        status = await self.node.control.status()
        return next(item for item in status.providers if item.name == name)

    async def route(self, name: str = "a", model: str = "m") -> RouteStatus:
        """What the status says of a route."""
        return next(item for item in (await self.provider(name)).routes if item.model == model)

    def events(self, kind: str | None = None) -> list[Event]:
        """Every event so far, of one type or of all."""
        page = self.node.service.bus.page(0, 100_000)
        return [event for event in page.events if kind is None or event.type == kind]

    @property
    def idle(self) -> bool:
        """Whether no request is under way and every lease is returned."""
        board = self.node.service.board
        return not self.node.service.chat.in_flight and not any(board.in_flight(name) for name in self.sims)

    async def until(self, holds: Callable[[], object], what: str = "the condition") -> None:
        """Return once something holds; it is looked at in every turn of the loop for `PATIENCE_S` at most."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"{what} did not come within {PATIENCE_S:g} s") from None


def configuration(
    sims: Mapping[str, Simulator],
    *,
    routing: Mapping[str, Any] | None = None,
    models: Mapping[str, Sequence[str | Mapping[str, Any]]] | None = None,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
    **top: Any,
) -> str:
    """A configuration (JSON is YAML) with one provider per simulator, tried in order, each with a model `m`."""
    made = []
    for number, (name, sim) in enumerate(sims.items()):
        listed = [{"id": item} if isinstance(item, str) else dict(item) for item in (models or {}).get(name, ("m",))]
        base = {
            "name": name, "kind": "openai_compatible", "priority": 10 * (number + 1), "base_url": sim.base_url,
            "models": listed,
        }  # fmt: skip
        told = (providers or {}).get(name, {})
        key = {"api_key": "sk-simulated"} if told.get("kind") in ("anthropic", "openai") else {}
        made.append({**base, **key, **told})
    config = {"version": 1, "providers": made, **({"routing": routing} if routing else {}), **top}
    return orjson.dumps(config).decode()
