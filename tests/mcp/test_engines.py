"""Calls of an engine that is there and says nothing, or nothing that can be understood."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.mcp.conftest import texts

from routerconsole.control.discovery import Found
from routerconsole.domain.secret import Secret
from routerconsole.mcp.server import ToolServer

FOUND = Found("http://127.0.0.1:9", Secret("x" * 20))


class Frozen:
    """A control port and who finds it: it answers nothing once it is frozen."""

    frozen = strange = False

    async def door(self) -> tuple[Found, Any]:
        """Return itself."""
        return FOUND, self

    async def glance(self) -> Any:
        """Return itself."""
        return self

    async def pools(self) -> tuple[()]:
        """Return no pools, or nothing at all."""
        if self.frozen:
            await asyncio.Event().wait()
        if self.strange:
            raise KeyError("id")
        return ()

    async def config(self) -> dict[str, Any]:
        """Return the shortest deadline there is."""
        return {"mcp": {"max_tokens": 1, "deadline": 0.001}, "server": {"max_body_mb": 1}}


class Session:
    """Takes nothing: no call lives long enough."""


class Context:
    """As much of a request's context as a listing uses."""

    session = Session()


async def test_an_engine_that_says_nothing_is_a_tool_error_at_the_deadline() -> None:
    """Looking up the tool is part of the call: the deadline is the one that was in force when tools were listed."""
    engine = Frozen()
    server = ToolServer(engine)
    await server._list(Context(), None)  # type: ignore[arg-type]  # as much of a context as is used
    engine.frozen = True
    result = await server._outcome("ask_anything", {"prompt": "x"})
    assert result is not None
    assert result.is_error
    assert texts(result) == ["deadline_exceeded: No answer within 0.001 s (`mcp.deadline`)."]


async def test_an_engine_of_another_version_is_a_tool_error_and_ends_nothing() -> None:
    """Whoever looks whether tools changed goes on too."""
    engine = Frozen()
    engine.strange = True
    server = ToolServer(engine)
    result = await server._outcome("ask_anything", {"prompt": "x"})
    assert result is not None
    assert result.is_error
    assert texts(result) == ["internal_error: The call failed here with KeyError."]
    assert await server._glance() is None
