"""The protocol side: the SDK's server with tools made from what the running engine exposes at each call.

What goes wrong in a call is a tool error (the model that called may act on it); a tool nobody has is an error of the
protocol. Cancelled calls are cancelled tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mcp.server import NotificationOptions, Server
from mcp.server.subscriptions import ListenHandler
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
from .announcing import Announcer
from .asking import Answer, Limits, ToolFailed, ask
from .pipes import pipes
from .tools import EXPLAIN_ROUTE, LIST_MODELS, BadArguments, PoolTool, Schema, pool_tools, refuse_others

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from routerconsole.control.discovery import Found
    from routerconsole.control.port import Control

    Context = ServerRequestContext[Any, Any]

Arguments = Mapping[str, object]
log = logging.getLogger(__name__)

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

    async def glance(self) -> Control | None:
        """Return the control port of an engine that runs, None where one would have to be started or waited for."""


class ToolServer:
    """The tools of one engine over one connection."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._announcer = Announcer()
        self._deadline_s: float | None = None  # of the calls so far, for an engine that does not even say that
        self._server: Server[Any] = Server(
            "routerconsole",
            version=__version__,
            title="RouterConsole",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=ListenHandler(self._announcer.bus),
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve stdin and stdout until either ends, or `stop`; what else is printed goes to stderr. Raises OSError."""
        options = self._server.create_initialization_options(NotificationOptions(tools_changed=True))
        async with pipes(stop) as (read, write), asyncio.TaskGroup() as group:
            watching = group.create_task(self._announcer.watch(self._glance))
            try:
                await self._server.run(read, write, options)
            finally:
                watching.cancel()

    async def _glance(self) -> tuple[PoolTool, ...] | None:
        try:
            control = await self._engines.glance()
            return None if control is None else await _pools(control)
        except Exception:  # noqa: BLE001 - whatever is wrong with the engine, a call will say so; looking ends nothing
            return None

    async def _list(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        try:
            _, control = await self._door()
            pools = await _pools(control)
            self._deadline_s = (await _limits(control)).deadline_s
        except ControlError as exc:
            raise MCPError(code=INTERNAL_ERROR, message=exc.message) from exc
        self._announcer.listed(pools, context.session)
        tools = [_tool(tool.name, tool.description, tool.schema, asks=True) for tool in pools]
        own = [_tool(name, text, schema, asks=False) for name, text, schema in _OWN_TOOLS]
        return ListToolsResult(tools=[*tools, *own])

    async def _call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Carry out a call, with signs of life; a tool nobody has is an error of the protocol."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(_beat(context.session))
            try:
                result = await self._outcome(params.name, params.arguments or {})
            finally:
                beating.cancel()
        if result is None:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {params.name[:100]}")
        return result

    async def _outcome(self, name: str, given: Arguments) -> CallToolResult | None:
        """Return what a tool answers, errors included; None where nobody has it."""
        try:
            if name == LIST_MODELS:
                refuse_others(LIST_MODELS, given, ())
                return await self._models()
            if name == EXPLAIN_ROUTE:
                return await self._explain(given)
            return await self._ask(name, given)
        except BadArguments as exc:
            return _error(ToolFailed("invalid_arguments", f"{exc}."))
        except ControlError as exc:
            return _error(ToolFailed(exc.code, exc.message))
        except ToolFailed as exc:
            return _error(exc)
        except Exception as exc:  # an engine of another version, or a bug of ours, is an answer too
            log.debug("the call failed with", exc_info=exc)
            return _error(ToolFailed("internal_error", f"The call failed here with {type(exc).__name__}."))

    async def _ask(self, name: str, given: Arguments) -> CallToolResult | None:
        """Ask the pool of a tool, None where there is none; once there is an engine, the deadline is of all of it."""
        loop = asyncio.get_running_loop()
        found, control = await self._door()
        began = loop.time()
        try:
            async with asyncio.timeout(self._deadline_s) as ending:
                tool = next((each for each in await _pools(control) if each.name == name), None)
                if tool is None:
                    return None
                prompt, limits = tool.prompt(given), await _limits(control)
                self._deadline_s, until = limits.deadline_s, began + limits.deadline_s
                ending.reschedule(until)
                return _answered(await ask(found, prompt, model=tool.pool, limits=limits, until=until), limits)
        except TimeoutError:
            text = f"No answer within {self._deadline_s:g} s (`mcp.deadline`)."
            raise ToolFailed("deadline_exceeded", text) from None

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
        needs = [] if given.get("needs") is None else given["needs"]
        if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
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


def _answered(answer: Answer, limits: Limits) -> CallToolResult:
    """Return an answer: its text first and as it was said, the note on who served behind it."""
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
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadArguments(f"{EXPLAIN_ROUTE} takes `{name}` as text")
    return value


def _error(error: ToolFailed) -> CallToolResult:
    data = {"error": {"code": error.code, "message": error.message, "attempts": list(error.attempts)}}
    return CallToolResult(content=[TextContent(text=words.failed(error))], structured_content=data, is_error=True)
