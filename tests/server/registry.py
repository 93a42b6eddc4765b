"""A node with a small registry, and how the tests of its routes name and read things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from tests.server.raw import admin
from tests.support.node import RunningNode, running_node, simulated

from routerconsole.simulator import Behaviour

ODD = "vendor/m:1%b"
MODELS = [
    {"id": "m1", "capabilities": ["text", "tools", "-vision"], "tags": ["fast"]},
    {"id": "m2", "capabilities": ["text", "vision", "-tools"]},
    {"id": ODD, "capabilities": ["-tools"]},
]


def configured(url: str, **extra: object) -> str:
    """One local provider `a` with three models that nobody lists."""
    provider = {
        "name": "a", "kind": "openai_compatible", "base_url": url, "discovery": {"enabled": False}, "models": MODELS,
    }  # fmt: skip
    return orjson.dumps({"version": 1, "providers": [provider], **extra}).decode()


@asynccontextmanager
async def registry_node(tmp_path: Path, **extra: object) -> AsyncIterator[RunningNode]:
    """An engine whose provider `a` serves `m1`, `m2` and one with an odd name."""
    async with (
        simulated(m1=Behaviour(), m2=Behaviour()) as simulator,
        running_node(configured(simulator.base_url, **extra), tmp_path) as running,
    ):
        running.simulators.append(simulator)
        yield running


def path_of(model: str, *more: str) -> str:
    """The path of a model: its id is one segment."""
    return "/".join(("models", quote(model, safe=""), *(quote(part, safe="") for part in more)))


async def get(node: RunningNode, path: str) -> Any:
    """What a path answers, which must be 200."""
    reply = await admin(node.port, "GET", path)
    assert reply.status == 200, reply.body
    return reply.json
