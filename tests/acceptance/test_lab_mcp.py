"""`routerconsole mcp` in front of real llama.cpp servers, spoken to by the SDK's own client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent
from tests.acceptance.lab import Lab
from tests.acceptance.live import Client, Json, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine

SERVERS = ("lab-ready", "lab-tools")
DEADLINE_S = 3.0
MAX_TOKENS = 4
"""lab-ready needs six for READY."""


@pytest.fixture
def engine(make_engine: MakeEngine, lab: Lab) -> Engine:
    """A router whose pools are tools: one that fails over, one with a single server."""
    providers = [
        {
            "name": name, "kind": "openai_compatible", "base_url": lab.url(name), "discovery": {"enabled": False},
            "health": {"enabled": False}, "models": [{"id": name}],
        }
        for name in SERVERS
    ]  # fmt: skip
    pools = [
        {
            "id": "coding", "description": "Use for code questions and small refactors.", "strategy": "priority",
            "members": ["lab-ready/lab-ready", "lab-tools/lab-tools"],
            "mcp": {"expose": True, "tool": "ask_coding_model", "args": ["code", "question"],
                    "template": "Code:\n{code}\n\nQuestion: {question}"},
        },
        {
            "id": "noise", "description": "Use for noise.", "members": ["lab-tools/lab-tools"],
            "mcp": {"expose": True},
        },
    ]  # fmt: skip
    mcp = {"max_tokens": MAX_TOKENS, "deadline": DEADLINE_S}
    return make_engine({"server": {"port": 0}, "providers": providers, "pools": pools, "mcp": mcp})


@asynccontextmanager
async def tools(engine: Engine, errlog: Path) -> AsyncIterator[ClientSession]:
    """The SDK's client on a server that uses the running engine."""
    command, *arguments = engine.command("mcp")
    parameters = StdioServerParameters(command=command, args=arguments, env=engine.env)
    with errlog.open("w") as log:
        async with stdio_client(parameters, log) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            yield session


def texts(result: CallToolResult) -> list[str]:
    """The text blocks of a result."""
    return [block.text for block in result.content if isinstance(block, TextContent)]


def established(url: str) -> int:
    """How many connections to a server are open at the router's end (/proc/net/tcp: state 01, remote port)."""
    port = f":{urlsplit(url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(port) and row[3] == "01" for row in rows)


def newest(admin: Client) -> Json:
    """The newest request's row."""
    row: Json = admin.get("/api/v1/requests?limit=1")["requests"][0]
    return row


async def test_a_client_uses_real_servers_as_tools(engine: Engine, lab: Lab, tmp_path: Path) -> None:
    """Answers, a failover named, a cut answer, a frozen server in time, a cancelled call closed upstream."""
    admin = engine.admin()
    given: dict[str, Any] = {"code": "def f(): pass", "question": "Are you ready?"}
    async with tools(engine, tmp_path / "stderr") as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert names == ["ask_coding_model", "ask_noise", "list_models", "explain_route"]

        text, note = texts(await session.call_tool("ask_coding_model", given))
        assert text == "READ"
        assert "served by lab-ready/lab-ready" in note
        assert f"truncated: the answer was cut off after {MAX_TOKENS} tokens" in note
        assert (newest(admin)["origin"], newest(admin)["resolved"]) == ("mcp", "coding")

        lab.kill("lab-ready")
        text, note = texts(await session.call_tool("ask_coding_model", given))
        assert "served by lab-tools/lab-tools: lab-ready✗" in note
        assert "› lab-tools✓" in note
        lab.revive("lab-ready")

        listed = texts(await session.call_tool("list_models", {}))[0].splitlines()
        assert "noise: 1 of 1 routable" in listed
        assert {line.partition(":")[0] for line in listed} >= {f"{name}__{name}" for name in SERVERS}

        lab.freeze("lab-tools")
        began = time.monotonic()
        hung = await session.call_tool("ask_noise", {"prompt": "go on"})
        assert time.monotonic() - began < DEADLINE_S + 0.5
        assert hung.is_error
        assert texts(hung)[0].startswith("deadline_exceeded: ")

        before = newest(admin)["id"]
        call = asyncio.get_running_loop().create_task(session.call_tool("ask_noise", {"prompt": "go on"}))
        await asyncio.to_thread(wait_until, lambda: newest(admin)["id"] != before, "the call")
        await asyncio.to_thread(wait_until, lambda: established(lab.url("lab-tools")) > 0, "the connection")
        call.cancel()
        began = time.monotonic()
        await asyncio.to_thread(wait_until, lambda: established(lab.url("lab-tools")) == 0, "its end")
        assert time.monotonic() - began < DEADLINE_S / 2, "the deadline would have ended it too"
        assert newest(admin)["status"] == "cancelled"
        lab.thaw("lab-tools")

        text, _ = texts(await session.call_tool("ask_noise", {"prompt": "go on"}))
        assert text.strip()
    assert "Traceback" not in (tmp_path / "stderr").read_text()
