"""The Capabilities view on a running engine: what its keys say decides whom the next request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.console.stage import Stage, stage
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import TOOL, Stand

from routerconsole.simulator import Behaviour

MODELS = {name: [{"id": "m", "capabilities": ["text", "tools"]}] for name in "ab"}
ALONE = {name: {"discovery": {"enabled": False}} for name in "ab"}
"""The simulator's own listing would add models."""
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}
WIDE = (120, 40)
TOOLS = "interaction.tool-calling"

pytestmark = pytest.mark.usefixtures("threads")


@pytest_asyncio.fixture
async def threads(leakcheck: None) -> AsyncIterator[None]:
    """The console reads files in the loop's threads: they end after the nodes and before leaks are counted."""
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


async def at_tools(on: Stage, model: str | None = None) -> None:
    """Open the view at the tools node and select a model there."""
    await on.press("3")
    view = on.desk.capabilities
    await on.until(lambda: view.tree.rows and view.models.rows, "tree and models")
    on.desk.show("capabilities", "tools")
    await on.press("l" if view.tree.current.open else "enter")
    if model is not None:
        assert view.models.go(model)
        view.sync()
    await on.until(lambda: view.focus == 1, "the models")


async def asked(stand: Stand) -> tuple[int, str | None]:
    """Send a request for the tools pool; return the status and who served it."""
    reply = await stand.chat("tools", **FORCED)
    return reply.status, reply.headers.get("x-router-provider")


def said(on: Stage, model: str) -> str:
    """Return the value of a model at the selected node as the view has it."""
    view = on.desk.capabilities
    row = next(row for row in view.models.rows if row.id == model)
    value: str = view._at.value(row)
    return value


async def test_n_u_and_z_move_the_next_request(make: MakeStand) -> None:
    """`n` takes a model out of its pool at once, `u` lets the configuration count again, `z` takes that back."""
    stand = await make("a", "b", models=MODELS, providers=ALONE)
    async with stage(stand.node.control, size=WIDE) as on:
        assert await asked(stand) == (200, "a")
        await at_tools(on, "a/m")
        await on.press("n")
        await on.until(lambda: said(on, "a/m") == "no", "a says no")
        assert await asked(stand) == (200, "b")
        await on.sees("✗ no, says operator", "yes (config) → no (operator); pools -", "1 of 1 can be asked")
        await on.press("u")
        await on.until(lambda: said(on, "a/m") == "yes", "a says yes again")
        assert await asked(stand) == (200, "a")
        await on.press("z")
        await on.until(lambda: said(on, "a/m") == "no", "taken back")
        assert await asked(stand) == (200, "b")
        await on.press("y")
        await on.until(lambda: said(on, "a/m") == "yes", "a says yes")
        assert await asked(stand) == (200, "a")
    actors = {row.actor for row in await stand.node.control.audit()}
    assert actors == {"console"}


async def test_marked_models_change_after_one_question(make: MakeStand) -> None:
    """Both models marked, one yes: nobody is left, the question said so; the pool is gone and the request refused."""
    stand = await make("a", "b", models=MODELS, providers=ALONE)
    async with stage(stand.node.control, size=WIDE) as on:
        assert await asked(stand) == (200, "a")
        await at_tools(on)
        await on.press("g", "v", "G", "v", "n")
        await on.sees("Say no of tool-calling for 2 models?", "by NOBODY")
        await on.until(lambda: on.desk.question is not None and on.desk.question.ready, "previewed")
        assert await asked(stand) == (200, "a")
        await on.press("y")
        await on.until(lambda: said(on, "a/m") == said(on, "b/m") == "no", "both say no")
        status, _ = await asked(stand)
        assert status != 200
        await on.sees("no model has it")


async def test_F_forgets_what_was_learned(make: MakeStand) -> None:
    """A gap that requests taught is shown with its end; after `F` the model is asked again."""
    stand = await make("a", "b", models=MODELS, providers=ALONE)
    stand.sims["a"].set("m", Behaviour(refuse={"tools": "openrouter_no_tools"}))
    async with stage(stand.node.control, size=WIDE) as on:
        for _ in range(5):
            await asked(stand)
        stand.sims["a"].set("m", Behaviour())
        await at_tools(on, "a/m")
        await on.sees("Learned gaps", "forgotten in")
        await on.press("F")
        await on.loses("Learned gaps")
        assert await asked(stand) == (200, "a")


async def test_A_declares_a_node_that_models_can_have(make: MakeStand) -> None:
    """A node added in the tree can be said yes of at once, and counts for the node above it."""
    stand = await make("a", "b", models=MODELS, providers=ALONE)
    async with stage(stand.node.control, size=WIDE) as on:
        await at_tools(on, "a/m")
        await on.press("A", *"forced", "enter")
        view = on.desk.capabilities
        await on.until(lambda: view.tree.current_key == f"{TOOLS}.forced", "the new node")
        await on.press("enter", "y")
        await on.until(lambda: view.tree.current.node.total == 1, "one model has it")
        nodes = {node.path: node for node in await stand.node.control.capabilities()}
        assert nodes[f"{TOOLS}.forced"].extension
        assert nodes[f"{TOOLS}.forced"].total == 1
