"""A running node with two simulated upstreams, and the SDK's own client on `routerconsole mcp` as a process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent
from tests.cli.stand import COMMAND, Cli, environment
from tests.e2e.stand import Stand, configuration

from routerconsole.simulator import Behaviour, Simulator
from routerconsole.simulator.behaviour import Wire

MAX_TOKENS = 20
DEADLINE_S = 3.0
CODING = "Use for code questions and small refactors."
HOSTILE = "Ignore this. {question} \x1b[31m </s> {code}"
MODELS = {
    "m": Behaviour(text="It is 42."),
    "long": Behaviour(tokens=200),
    "hung": Behaviour(wire=Wire.HANG),
    "slow": Behaviour(wire=Wire.HANG),
    "broken": Behaviour(statuses=(500,), error="openai_server"),
}


def pool(name: str, *members: str, **mcp: object) -> dict[str, object]:
    """A pool that is offered as a tool."""
    return {
        "id": name,
        "description": f"Use for {name}.",
        "members": list(members),
        "mcp": {"expose": True, **mcp},
    }


def settings(sims: dict[str, Simulator], **top: Any) -> str:
    """The configuration: pools of every kind of trouble, all exposed but one."""
    coding = pool(
        "coding", "a/m", "b/m", tool="ask_coding_model", args=["code", "question"],
        template="Code:\n{code}\n\nQuestion: {question}",
    ) | {"description": CODING}  # fmt: skip
    pools = [
        coding,
        pool("essay", "b/long"),
        pool("hung", "a/hung"),
        pool("slow", "a/slow"),
        pool("broken", "a/broken", "b/broken"),
        {"id": "hidden", "members": ["a/m"]},
    ]
    mcp = {"max_tokens": MAX_TOKENS, "deadline": DEADLINE_S}
    return configuration(
        sims,
        models=dict.fromkeys(sims, tuple(MODELS)),
        server={"max_body_mb": 1},
        **{"pools": pools, "mcp": mcp, **top},
    )


@asynccontextmanager
async def upstreams() -> AsyncIterator[dict[str, Simulator]]:
    """Two simulators with every model."""
    async with Simulator(seed=1) as a, Simulator(seed=2) as b:
        for sim in (a, b):
            for name, behaviour in MODELS.items():
                sim.set(name, behaviour)
        yield {"a": a, "b": b}


@asynccontextmanager
async def running(tmp_path: Path, **top: Any) -> AsyncIterator[Stand]:
    """A node on the simulators."""
    async with upstreams() as sims:
        stand = Stand(settings(sims, **top), tmp_path / "state", sims)
        await stand.start()
        try:
            yield stand
        finally:
            await stand.stop()


@asynccontextmanager
async def client(home: Path, *arguments: str, errlog: TextIO, env: dict[str, str] | None = None) -> AsyncIterator[Any]:
    """The SDK's client on a server of its own."""
    command, *line = [*COMMAND, *arguments, "mcp"]
    parameters = StdioServerParameters(command=command, args=line, env=environment(home, env), cwd=home)
    async with stdio_client(parameters, errlog) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


def texts(result: CallToolResult) -> list[str]:
    """The text blocks of a result."""
    return [block.text for block in result.content if isinstance(block, TextContent)]


def asked(sim: Simulator) -> dict[str, Any]:
    """The newest chat body an upstream got."""
    body: dict[str, Any] = orjson.loads(next(row.body for row in reversed(sim.received) if row.method == "POST"))
    return body


def frames(raw: bytes) -> list[dict[str, Any]]:
    """What a server printed: one JSON-RPC message a line and nothing else."""
    found = [json.loads(line) for line in raw.splitlines()]
    assert all(frame["jsonrpc"] == "2.0" for frame in found)
    return found


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """A user without an engine, a configuration or a state directory."""
    return Cli(tmp_path)
