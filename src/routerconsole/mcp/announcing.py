"""Tells the client when the tools are no longer those it knows: a changed configuration, or another engine.

Looked at every few seconds rather than heard: the engine's events are mostly of requests, and it may be another engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged

if TYPE_CHECKING:
    from mcp.server.session import ServerSession

    from .tools import PoolTool

Tools = tuple["PoolTool", ...]

LOOK_S = 2.0


class Announcer:
    """Remembers what was listed last, and to whom; `bus` serves `subscriptions/listen` of the newer protocol."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._known: Tools | None = None
        self._session: ServerSession | None = None

    def listed(self, tools: Tools, session: ServerSession) -> None:
        """Note what a client has seen."""
        self._known, self._session = tools, session

    async def watch(self, look: Callable[[], Awaitable[Tools | None]]) -> None:
        """Look until cancelled; None is an engine that is not there, which changes nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            tools = await look()
            if tools is None or tools == self._known:
                continue
            told, self._known = self._known is not None, tools
            if not told:
                continue
            await self.bus.publish(ToolsListChanged())
            if self._session is not None:
                await self._session.send_tool_list_changed()
