"""Learned gaps through the registry's face: seen on the exact route, overruled by an operator, forgotten on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.server.raw import admin, chat
from tests.support.node import HELLO, RunningNode, running_node, simulated

from routerconsole.simulator import Behaviour

NODE = "interaction.tool-calling"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ASKED = {**HELLO, "tools": [TOOL]}
REFUSES = Behaviour(refuse={"tools": "openrouter_no_tools"})
PATH = f"models/a%2Fm1/capabilities/{NODE}"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """`a/m1` refuses tools although the configuration says it has them; `b/m1` serves."""
    async with simulated(m1=REFUSES) as refusing, simulated(m1=Behaviour()) as serving:
        rows = [
            {"name": name, "kind": "openai_compatible", "base_url": upstream.base_url, "priority": place,
             "discovery": {"enabled": False}, "models": [{"id": "m1", "capabilities": ["text", "tools"]}]}
            for place, (name, upstream) in enumerate((("a", refusing), ("b", serving)))
        ]  # fmt: skip
        async with running_node(orjson.dumps({"version": 1, "providers": rows}).decode(), tmp_path) as running:
            running.simulators.extend((refusing, serving))
            yield running


async def value(node: RunningNode, provider: str = "a") -> dict[str, Any]:
    """What is said of the node, as the model shows it."""
    model = (await admin(node.port, "GET", f"models/{provider}%2Fm1")).json
    return dict(model["capabilities"][NODE])


async def served(node: RunningNode) -> list[str]:
    """Send a request with tools; return the providers asked."""
    reply = await chat(node.port, {**ASKED, "model": "m1"})
    assert reply.status == 200, reply.body
    detail = (await admin(node.port, "GET", f"requests/{reply.headers['x-router-request-id']}")).json
    return [attempt["provider"] for attempt in detail["attempts_detail"]]


async def test_a_refusal_is_a_layer_of_that_route_with_evidence_and_expiry(node: RunningNode) -> None:
    """The gap lies above the configuration, names its account and end, and the other provider's model has none."""
    assert await served(node) == ["a", "b"]
    told = await value(node)
    assert (told["value"], told["source"]) == ("no", "gap")
    gap, below = told["layers"]
    assert (gap["source"], gap["value"], gap["account"]) == ("gap", "no", None)
    assert "tool" in gap["evidence"]
    lasts = datetime.fromisoformat(gap["expires_at"]) - datetime.fromisoformat(gap["at"])
    assert 23 < lasts.total_seconds() / 3600 <= 24
    assert told["at"] == gap["at"]
    assert below["source"] == "config"
    assert (await value(node, "b"))["source"] == "config"
    assert await served(node) == ["b"]
    nodes = {row["path"]: row for row in (await admin(node.port, "GET", "capabilities")).json["nodes"]}
    assert [(row["provider"], row["value"]) for row in nodes[NODE]["models"]] == [("a", "no"), ("b", "yes")]


async def test_clearing_a_gap_uncovers_the_next_layer(node: RunningNode) -> None:
    """The route is asked again, and clearing what is not there is 404."""
    await served(node)
    told = (await admin(node.port, "DELETE", f"{PATH}/gap")).json
    assert (told["node"], told["value"], told["source"]) == (NODE, "yes", "config")
    assert [layer["source"] for layer in told["layers"]] == ["config"]
    again = await admin(node.port, "DELETE", f"{PATH}/gap")
    assert (again.status, again.code) == (404, "not_found")
    (upstream, _) = node.simulators
    upstream.set("m1", Behaviour())
    assert await served(node) == ["a"]


async def test_between_a_gap_and_an_operator_the_newer_wins(node: RunningNode) -> None:
    """A later word overrules the gap, which stays visible; a later refusal overrules the word; clear upholds again."""
    await served(node)
    told = (await admin(node.port, "PUT", PATH, {"value": "yes"})).json
    assert (told["value"], told["source"]) == ("yes", "operator")
    assert [layer["source"] for layer in told["layers"]] == ["operator", "gap", "config"]
    assert await served(node) == ["a", "b"]  # asked again, refused again: that is newer
    told = await value(node)
    assert (told["value"], told["source"]) == ("no", "gap")
    assert [layer["source"] for layer in told["layers"]] == ["gap", "operator", "config"]
    assert await served(node) == ["b"]


async def test_taking_the_word_back_upholds_the_gap(node: RunningNode) -> None:
    """What was overruled counts again."""
    await served(node)
    await admin(node.port, "PUT", PATH, {"value": "yes"})
    told = (await admin(node.port, "DELETE", PATH)).json
    assert (told["value"], told["source"]) == ("no", "gap")
    assert await served(node) == ["b"]


async def test_a_gap_outlives_a_restart_and_its_clearing_can_be_undone(tmp_path: Path) -> None:
    """What was learned is kept, and an undo learns it again."""
    async with simulated(m1=REFUSES) as upstream:
        models = [{"id": "m1", "capabilities": ["text", "tools"]}]
        provider = {"name": "a", "kind": "openai_compatible", "base_url": upstream.base_url, "models": models}
        text = orjson.dumps({"version": 1, "providers": [provider]}).decode()
        async with running_node(text, tmp_path) as node:
            assert (await chat(node.port, {**ASKED, "model": "a/m1"})).status >= 400
            assert (await value(node))["source"] == "gap"
        async with running_node(text, tmp_path) as node:
            assert (await value(node))["source"] == "gap"
            await admin(node.port, "DELETE", f"{PATH}/gap")
            row = (await admin(node.port, "GET", "audit?limit=1")).json["audit"][0]
            assert row["command"] == "clear_gap"
            assert (await admin(node.port, "POST", f"audit/{row['id']}/undo")).status == 200
            assert (await value(node))["source"] == "gap"


async def test_a_gap_of_one_account_is_not_the_models(tmp_path: Path) -> None:
    """Shown with its account; the model as a whole can do it through the other."""
    async with simulated(m1=REFUSES) as upstream:
        accounts = [{"name": name, "api_key": f"sk-for-tests-{name}"} for name in ("one", "two")]
        provider = {"name": "a", "kind": "openai_compatible", "base_url": upstream.base_url, "accounts": accounts,
                    "account_strategy": "priority", "discovery": {"enabled": False},
                    "models": [{"id": "m1", "capabilities": ["text", "tools"]}]}  # fmt: skip
        async with running_node(orjson.dumps({"version": 1, "providers": [provider]}).decode(), tmp_path) as node:
            await chat(node.port, {**ASKED, "model": "a/m1"}, headers={"x-router-no-fallback": "1"})
            told = await value(node)
            assert [(layer["source"], layer.get("account")) for layer in told["layers"]] == [
                ("gap", "one"), ("config", None),
            ]  # fmt: skip
            assert (told["value"], told["source"]) == ("yes", "config")
