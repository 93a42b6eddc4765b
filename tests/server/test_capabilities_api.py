"""Capabilities, pools, profiles and undo over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from tests.server.raw import admin, chat
from tests.server.registry import configured, get, path_of, registry_node
from tests.support.node import HELLO, RunningNode, running_node, simulated

from routerconsole.simulator import Behaviour

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """An engine with a small registry."""
    async with registry_node(tmp_path) as running:
        yield running


async def test_a_capability_is_set_cleared_and_its_layers_told(node: RunningNode) -> None:
    """The operator's word lies above the configuration's, pool and trace follow at once, and clear uncovers it."""
    path = path_of("a/m1", "capabilities", "tools")
    told = (await admin(node.port, "PUT", path, {"value": "no"})).json
    assert {key: told[key] for key in ("node", "value", "source")} == {
        "node": "interaction.tool-calling", "value": "no", "source": "operator",
    }  # fmt: skip
    assert [(layer["source"], layer["value"]) for layer in told["layers"]] == [("operator", "no"), ("config", "yes")]
    assert told["layers"][0]["at"].endswith("Z")
    assert "tools" not in {pool["id"] for pool in (await get(node, "pools"))["pools"]}
    refused = await chat(node.port, {**HELLO, "model": "a/m1", "tools": [TOOL]})
    assert (refused.status, refused.code) == (422, "capability_unavailable")
    told = (await admin(node.port, "DELETE", path)).json
    assert (told["value"], told["source"], len(told["layers"])) == ("yes", "config", 1)
    assert (await chat(node.port, {**HELLO, "model": "a/m1", "tools": [TOOL]})).status == 200


@pytest.mark.parametrize("node_name", ["tools", "tool-calling", "interaction.tool-calling"])
async def test_C3_03_a_node_has_several_names(node: RunningNode, node_name: str) -> None:
    """Word, unique leaf and path mean the same."""
    told = (await admin(node.port, "PUT", path_of("a/m2", "capabilities", node_name), {"value": "yes"})).json
    assert told["node"] == "interaction.tool-calling"
    gone = (await admin(node.port, "DELETE", path_of("a/m2", "capabilities", node_name))).json
    assert (gone["node"], gone["value"], gone["source"]) == ("interaction.tool-calling", "no", "config")


@pytest.mark.parametrize("body", [{"value": "maybe"}, {"value": True}, {}, {"value": "yes", "why": "x"}])
async def test_a_value_is_yes_or_no(node: RunningNode, body: object) -> None:
    """Anything else is 400."""
    reply = await admin(node.port, "PUT", path_of("a/m1", "capabilities", "tools"), body)
    assert (reply.status, reply.code) == (400, "invalid_request")


async def test_C3_05_an_unknown_node_is_400_with_the_nearest(node: RunningNode) -> None:
    """Not a new branch by a typo."""
    reply = await admin(node.port, "PUT", path_of("a/m1", "capabilities", "visionn"), {"value": "yes"})
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "vision" in reply.message


async def test_C3_01_C3_04_the_tree_shows_nodes_words_and_who_has_them(node: RunningNode) -> None:
    """Every path, internal ones included, counts what stands at it or below; a child takes nothing from its parent."""
    nodes = {row["path"]: row for row in (await get(node, "capabilities"))["nodes"]}
    shape = {"path", "aliases", "extension", "total", "routable", "models"}
    assert all(shape <= set(row) for row in nodes.values())
    assert nodes["interaction.tool-calling"]["aliases"] == ["tools"]
    assert [nodes[path]["total"] for path in ("interaction", "interaction.tool-calling", "understanding")] == [1, 1, 1]
    assert nodes["generation"]["total"] == 2
    vision = nodes["understanding.vision-understanding"]
    assert [(row["model"], row["value"], row["source"]) for row in vision["models"]] == [
        ("m1", "no", "config"), ("m2", "yes", "config"),
    ]  # fmt: skip
    assert (await admin(node.port, "POST", "capabilities", {"node": "interaction.tool-calling.remote"})).status == 200
    nodes = {row["path"]: row for row in (await get(node, "capabilities"))["nodes"]}
    assert nodes["interaction.tool-calling.remote"]["extension"] is True
    assert nodes["interaction.tool-calling"]["total"] == 1


async def test_routable_counts_what_may_be_asked_now(node: RunningNode) -> None:
    """A disabled model still has the capability and cannot be asked."""
    await admin(node.port, "PATCH", path_of("a/m1", "active"), {"active": False})
    nodes = {row["path"]: row for row in (await get(node, "capabilities"))["nodes"]}
    tools = nodes["interaction.tool-calling"]
    assert (tools["total"], tools["routable"]) == (1, 0)


# --- pools, profiles, undo ---
async def test_C3_12_a_pool_with_one_of_two_members_out(tmp_path: Path) -> None:
    """Routable 1 of 2, and the pointer on the one that serves."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as simulator:
        pools = [{"id": "both", "members": ["a/m1", "a/m2"], "strategy": "stick_until_failure"}]
        async with running_node(configured(simulator.base_url, pools=pools), tmp_path) as node:
            assert (await chat(node.port, {**HELLO, "model": "both"})).headers["x-router-model"] == "m1"
            await admin(node.port, "PATCH", path_of("a/m2", "active"), {"active": False})
            found = {pool["id"]: pool for pool in (await get(node, "pools"))["pools"]}["both"]
            assert (found["routable"], found["total"], found["pointer"]) == (1, 2, "a/m1")
            out = next(row for row in found["members"] if row["model"] == "m2")
            assert (out["admissible"], bool(out["reason"])) == (False, True)
            assert {"provider", "model", "admissible", "reason", "position"} <= set(out)


async def test_a_change_is_audited_and_undone(node: RunningNode) -> None:
    """Undo names the change, reverses it, and is refused the second time."""
    await admin(node.port, "PUT", path_of("a/m1", "capabilities", "tools"), {"value": "no"})
    row = (await get(node, "audit"))["audit"][0]
    assert (row["command"], row["target"], row["undone"]) == ("set_capability", "a/m1", False)
    assert (await admin(node.port, "POST", f"audit/{row['id']}/undo")).status == 200
    tools = (await get(node, path_of("a/m1")))["capabilities"]["interaction.tool-calling"]
    assert (tools["value"], tools["source"]) == ("yes", "config")
    rows = {item["id"]: item for item in (await get(node, "audit"))["audit"]}
    assert rows[row["id"]]["undone"] is True
    again = await admin(node.port, "POST", f"audit/{row['id']}/undo")
    assert (again.status, again.code) == (409, "conflict")


async def test_profiles_say_whether_they_can_be_used(tmp_path: Path) -> None:
    """One broken profile does not hide the others, and the doctor names it."""
    profiles = [
        {"id": "good", "provider": "a", "model": "m1", "default": True, "requirements": {"tools": True}},
        {"id": "dead", "provider": "b", "model": "m1", "fallback_profiles": ["good"]},
    ]
    async with simulated(m1=Behaviour(), m2=Behaviour()) as simulator:
        config = orjson.loads(configured(simulator.base_url, profiles=profiles))
        config["providers"].append(
            {"name": "b", "kind": "openai_compatible", "base_url": simulator.base_url, "api_key": "env:NOT_SET_AT_ALL",
             "models": [{"id": "m1"}]}
        )  # fmt: skip
        async with running_node(orjson.dumps(config).decode(), tmp_path) as node:
            rows = {row["id"]: row for row in (await get(node, "profiles"))["profiles"]}
            assert (rows["good"]["available"], rows["good"]["default"]) == (True, True)
            assert rows["dead"]["available"] is False
            assert "NOT_SET_AT_ALL" in rows["dead"]["problem"]
            findings = (await get(node, "profiles/doctor"))["findings"]
            assert any(row["level"] in ("ERROR", "WARN") and "dead" in row["subject"] for row in findings)
