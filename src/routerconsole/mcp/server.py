"""The protocol side: the SDK's server with tools made from what the running engine exposes at each call.

What goes wrong in a call is a tool error (the model that called may act on it); a tool nobody has is an error of the
protocol. Cancelled calls are cancelled tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from routerconsole import __version__
from routerconsole.control.port import ControlError
from routerconsole.control.sample import add_needs
from routerconsole.control.wire import plain

from . import words
from .asking import Limits, ToolFailed, ask
from .tools import EXPLAIN_ROUTE, LIST_MODELS, BadArguments, PoolTool, Schema, pool_tools, refuse_others

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from routerconsole.control.discovery import Found
    from routerconsole.control.port import Control

    Context = ServerRequestContext[Any, Any]

Arguments = Mapping[str, object]

BEAT_S = 5.0
"""Between signs of life to clients that ask for them; many give up after a minute without."""
INSTRUCTIONS = (
    "Each ask_… tool sends one question to a pool of language models behind a router, which fails over between them; "
    "its description says what the pool is for. The models see nothing but what the arguments say, and remember "
    "nothing. A note behind each answer names the model that served and says when the answer was cut off."
)
_OWN_TOOLS: tuple[tuple[str, str, Schema], ...] = (
    (
        LIST_MODELS,
        "List the models, pools and profiles of the router with their health now.",
        {"type": "object", "properties": {}, "additionalProperties": False},
    ),
    (
        EXPLAIN_ROUTE,
        "Say which models the router would ask for a request, in which order and why; nothing is sent to any model.",
        {
            "type": "object",
            "properties": {
                "model": {"type": "string", "description": "A model, pool, profile or tool of this server."},
                "prompt": {"type": "string", "description": "What would be asked; its length counts."},
                "needs": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Capabilities it needs, e.g. tools, vision, json.",
                },
            },
            "additionalProperties": False,
        },
    ),
)


class Engines(Protocol):
    """Where the engine is; asked at each call, since engines come and go."""

    async def door(self) -> tuple[Found, Control]:
        """Return the engine's address with its token, and its control port; raise ControlError."""


class ToolServer:
    """The tools of one engine over one connection."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._server: Server[Any] = Server(
            "routerconsole",
            version=__version__,
            title="RouterConsole",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def serve(self) -> None:
        """Serve stdin and stdout until stdin ends; what else is printed goes to stderr."""
        async with stdio_server() as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())

    async def _list(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        try:
            _, control = await self._door()
            pools = await _pools(control)
        except ControlError as exc:
            raise MCPError(code=INTERNAL_ERROR, message=exc.message) from exc
        tools = [_tool(tool.name, tool.description, tool.schema, asks=True) for tool in pools]
        own = [_tool(name, text, schema, asks=False) for name, text, schema in _OWN_TOOLS]
        return ListToolsResult(tools=[*tools, *own])

    async def _call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Carry out a call.

        1 the server's own tools; 2 the tool of a pool; 3 a tool nobody has. What raises is a tool error.
        """
        given: Arguments = params.arguments or {}
        try:
            if params.name == LIST_MODELS:  # 1
                refuse_others(LIST_MODELS, given, ())
                return await self._models()
            if params.name == EXPLAIN_ROUTE:
                return await self._explain(given)
            found, control = await self._door()
            tool = next((each for each in await _pools(control) if each.name == params.name), None)
            if tool is not None:  # 2
                prompt, limits = tool.prompt(given), await _limits(control)
                async with asyncio.TaskGroup() as group:
                    beating = group.create_task(_beat(context.session))
                    try:
                        return await _asked(found, prompt, tool=tool, limits=limits)
                    finally:
                        beating.cancel()
        except BadArguments as exc:
            return _error(ToolFailed("invalid_arguments", f"{exc}."))
        except ControlError as exc:
            return _error(ToolFailed(exc.code, exc.message))
        raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {params.name[:100]}")  # 3

    async def _models(self) -> CallToolResult:
        _, control = await self._door()
        listed = words.health_of_all(
            await control.models(), await control.status(), await control.pools(), await control.profiles()
        )
        text = "\n".join(f"{name}: {health}" for name, health in listed)
        data = {"models": [{"id": name, "health": health} for name, health in listed]}
        return CallToolResult(content=[TextContent(text=text or "(no models)")], structured_content=data)

    async def _explain(self, given: Arguments) -> CallToolResult:
        refuse_others(EXPLAIN_ROUTE, given, ("model", "prompt", "needs"))
        prompt, model = _text(given, "prompt"), _text(given, "model")
        needs = given.get("needs") or []
        if not isinstance(needs, Sequence) or not all(isinstance(need, str) for need in needs):
            raise BadArguments(f"{EXPLAIN_ROUTE} takes `needs` as a list of texts")
        _, control = await self._door()
        pool = next((tool.pool for tool in await _pools(control) if tool.name == model), model)
        limits = await _limits(control)
        body: dict[str, object] = {
            "messages": [{"role": "user", "content": prompt or "Hello"}],
            "max_tokens": limits.max_tokens,
        }
        if pool:
            body["model"] = pool
        try:
            required = add_needs(body, [str(need) for need in needs])
        except ValueError as exc:
            raise BadArguments(str(exc)) from exc
        found = await control.explain(body, {"x-router-require": ",".join(required)} if required else {})
        return CallToolResult(content=[TextContent(text=words.explained(found))], structured_content=plain(found))

    async def _door(self) -> tuple[Found, Control]:
        return await self._engines.door()


async def _asked(found: Found, prompt: str, *, tool: PoolTool, limits: Limits) -> CallToolResult:
    """Ask a pool; its text comes first and as it was said, the note on who served behind it."""
    try:
        answer = await ask(found, prompt, model=tool.pool, limits=limits)
    except ToolFailed as exc:
        return _error(exc)
    note = words.served(answer, limits)
    told = {
        "provider": answer.provider,
        "model": answer.model,
        "chain": answer.chain,
        "truncated": answer.finish == words.CUT_OFF,
        "finish_reason": answer.finish,
        "request_id": answer.request_id,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
    content = [TextContent(text=words.said(answer)), TextContent(text=note)]
    return CallToolResult.model_validate({"content": content, "_meta": {"routerconsole": told}})


async def _beat(session: ServerSession) -> None:
    """Tell a client that asked for progress that the call is alive, until cancelled."""
    waited = 0.0
    while True:
        await asyncio.sleep(BEAT_S)
        waited += BEAT_S
        await session.report_progress(waited, message=f"waiting for {waited:.0f} s")


async def _pools(control: Control) -> tuple[PoolTool, ...]:
    return pool_tools(await control.pools())


async def _limits(control: Control) -> Limits:
    """Return what the configuration in force allows a call."""
    told = await control.config()
    mcp, size = told["mcp"], float(told["server"]["max_body_mb"])
    return Limits(int(mcp["max_tokens"]), float(mcp["deadline"]), max_bytes=int(size * 1024 * 1024))


def _tool(name: str, description: str, schema: Schema, *, asks: bool) -> Tool:
    hints = ToolAnnotations(read_only_hint=True, open_world_hint=asks)
    return Tool(name=name, description=description, input_schema=schema, annotations=hints)


def _text(given: Arguments, name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str):
        raise BadArguments(f"{EXPLAIN_ROUTE} takes `{name}` as text")
    return value


def _error(error: ToolFailed) -> CallToolResult:
    data = {"error": {"code": error.code, "message": error.message, "attempts": list(error.attempts)}}
    return CallToolResult(content=[TextContent(text=words.failed(error))], structured_content=data, is_error=True)
