"""The registry over real HTTP: models, agents, roles, versions, and every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.raw import Reply, admin, ask, chat
from tests.server.registry import ODD, configured, get, path_of, registry_node
from tests.support.node import HELLO, RunningNode, running_node, simulated

from routerconsole.simulator import Behaviour

FIELDS = {
    "default", "in_pools", "role", "format", "path", "capabilities", "context_window", "max_output_tokens",
    "usd_per_mtok_in", "usd_per_mtok_out", "tags", "limits", "tier",
}  # fmt: skip
"""The model fields of interface.md §2."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """An engine with a small registry."""
    async with registry_node(tmp_path) as running:
        yield running


async def register(node: RunningNode, name: str, **fields: object) -> Reply:
    """Register a model at `a`."""
    return await admin(node.port, "POST", "models", {"provider": "a", "id": name, **fields})


# --- reading ---
async def test_C0_34_a_registered_model_is_found_again_and_by_its_role(node: RunningNode, tmp_path: Path) -> None:
    """Get returns the same path, an unknown id is 404, filters by role give one each."""
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"GGUF")
    reply = await register(node, "judge-1", role="judge", format="gguf", path=str(weights))
    assert reply.status == 201, reply.body
    assert (await get(node, path_of("a/judge-1")))["path"] == str(weights)
    assert (await register(node, "teacher-1", role="teacher")).status == 201
    for role, model in (("judge", "a/judge-1"), ("teacher", "a/teacher-1")):
        page = await get(node, f"models?role={role}")
        assert [item["id"] for item in page["models"]] == [model]
        assert page["total"] == 1
    assert (await get(node, "models"))["total"] == 5
    unknown = await admin(node.port, "GET", path_of("a/nope"))
    assert (unknown.status, unknown.code) == (404, "not_found")


async def test_a_model_has_the_fields_of_the_contract(node: RunningNode) -> None:
    """interface.md §7: the fields of §2 and what is only known here, every value with all its layers."""
    model = await get(node, path_of("a/m1"))
    more = {"id", "provider", "upstream_id", "state", "served", "version", "registered_at", "pools", "display",
            "description", "enabled"}  # fmt: skip
    assert more | FIELDS <= set(model)
    assert (model["id"], model["provider"], model["upstream_id"]) == ("a/m1", "a", "m1")
    assert {"auto", "tools", "text"} <= set(model["pools"])
    tools = model["capabilities"]["interaction.tool-calling"]
    assert {"value", "source", "at", "layers"} <= set(tools)
    assert (tools["value"], tools["source"]) == ("yes", "config")
    assert {"source", "value", "at", "evidence"} <= set(tools["layers"][0])
    assert model["capabilities"]["understanding.vision-understanding"]["value"] == "no"
    assert set(await get(node, "models")) == {"models", "total", "weights_dir"}


async def test_ids_with_slash_colon_and_percent_are_one_segment(node: RunningNode) -> None:
    """The raw path is split before it is decoded, so every id has exactly one address."""
    assert (await get(node, path_of(f"a/{ODD}")))["upstream_id"] == ODD
    assert (await get(node, path_of(f"A/{ODD}")))["provider"] == "a"
    for wrong in (f"models/a/{ODD}", "models/m1", "models/a%2F", "models/%2Fm1"):
        assert (await admin(node.port, "GET", wrong)).status == 404
    reply = await admin(node.port, "PUT", path_of(f"a/{ODD}", "capabilities", "tools"), {"value": "yes"})
    assert reply.status == 200, reply.body
    assert [item["id"] for item in (await get(node, "models?capability=tools"))["models"]] == ["a/m1", f"a/{ODD}"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("capability=tools", ["a/m1"]),
        ("capability=interaction", ["a/m1"]),
        ("capability=interaction.tool-calling", ["a/m1"]),
        ("capability=vision", ["a/m2"]),
        ("capability=chat-completion", ["a/m1", "a/m2"]),
        ("capability=text&provider=A", ["a/m1", "a/m2"]),
        ("capability=ocr", []),
        ("provider=nobody", []),
        ("role=teacher", []),
    ],
)
async def test_models_are_found_by_what_they_can_do(node: RunningNode, query: str, found: list[str]) -> None:
    """By node or anything below it, by provider in any case, by role."""
    assert [item["id"] for item in (await get(node, f"models?{query}"))["models"]] == found


@pytest.mark.parametrize(
    ("query", "told"),
    [("role=bogus", "Invalid role"), ("capability=toolz", "tools"), ("capability=bogus.path", "bogus.path")],
)
async def test_C3_05_filters_that_mean_nothing_are_400_with_what_there_is(
    node: RunningNode, query: str, told: str
) -> None:
    """An unknown role names the choices, an unknown node the nearest."""
    reply = await admin(node.port, "GET", f"models?{query}")
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert told in reply.message


# --- changing ---
async def test_C0_36_active_is_reflected_and_an_unknown_model_is_404(node: RunningNode) -> None:
    """False takes the model out of service and keeps it listed, true brings it back."""
    for active in (False, True):
        reply = await admin(node.port, "PATCH", path_of("a/m1", "active"), {"active": active})
        assert reply.status == 200, reply.body
        assert (await get(node, path_of("a/m1")))["enabled"] is active
        served = (await chat(node.port, {**HELLO, "model": "a/m1"})).status
        assert (served == 200) is active
    assert (await admin(node.port, "PATCH", path_of("a/nope", "active"), {"active": True})).status == 404


async def test_C0_37_registering_twice_is_409_and_an_update_keeps_registered_at(
    node: RunningNode, tmp_path: Path
) -> None:
    """The duplicate changes nothing; an explicit update replaces format and path."""
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"GGUF")
    first = (await register(node, "new", format="api")).json
    assert first["registered_at"].endswith("Z")
    again = await register(node, "new", format="gguf", path=str(weights))
    assert (again.status, again.code) == (409, "conflict")
    assert (await register(node, "m1")).status == 409
    assert (await get(node, path_of("a/new")))["format"] == "api"
    change = {"format": "gguf", "path": str(weights), "version": first["version"]}
    updated = (await admin(node.port, "PATCH", path_of("a/new"), change)).json
    assert (updated["format"], updated["path"]) == ("gguf", str(weights))
    assert updated["registered_at"] == first["registered_at"]


async def test_C0_38_a_disabled_model_is_still_there_after_a_restart(tmp_path: Path) -> None:
    """It stays listed and can be enabled again; so does a registered one."""
    async with simulated(m1=Behaviour()) as simulator:
        text = configured(simulator.base_url)
        async with running_node(text, tmp_path) as node:
            await register(node, "mine", tags=["x"])
            for model in ("a/m1", "a/mine"):
                await admin(node.port, "PATCH", path_of(model, "active"), {"active": False})
        async with running_node(text, tmp_path) as node:
            listed = {item["id"]: item for item in (await get(node, "models"))["models"]}
            assert (listed["a/m1"]["enabled"], listed["a/mine"]["enabled"]) == (False, False)
            assert listed["a/mine"]["tags"] == ["x"]
            reply = await admin(node.port, "PATCH", path_of("a/m1", "active"), {"active": True})
            assert reply.json["enabled"] is True


async def test_C0_39_agents_are_assigned_and_unassigned(node: RunningNode) -> None:
    """A known model resolves for the agent; unknown ones are refused; without it the default holds again."""
    row = {"agent": "writer", "model": "a/m2"}
    for path in ("models/assignments", "assignments"):
        reply = await admin(node.port, "POST", path, row)
        assert (reply.status, reply.json) == (200, row)
    assert (await get(node, "models/assignments/all")) == {"assignments": [row]}
    headers = {"x-router-agent": "writer"}
    assert (await chat(node.port, HELLO, headers=headers)).headers["x-router-model"] == "m2"
    assert (await get(node, path_of("a/m2")))["agents"] == ["writer"]
    wrong = await admin(node.port, "POST", "models/assignments", {"agent": "writer", "model": "a/nope"})
    assert (wrong.status, wrong.code) == (404, "not_found")
    assert (await admin(node.port, "DELETE", "models/assignments/writer")).status == 200
    assert (await chat(node.port, HELLO, headers=headers)).headers["x-router-model"] == "m1"
    again = await admin(node.port, "DELETE", "models/assignments/writer")
    assert (again.status, again.code) == (404, "not_found")


async def test_an_agent_may_be_called_all(node: RunningNode) -> None:
    """The list's address takes no agent's name away."""
    await admin(node.port, "POST", "models/assignments", {"agent": "all", "model": "a/m2"})
    assert (await admin(node.port, "DELETE", "models/assignments/all")).status == 200
    assert (await get(node, "models/assignments/all")) == {"assignments": []}
    wrong = await admin(node.port, "PUT", "models/assignments/all", {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD")


@pytest.mark.parametrize("role", ["reward", "teacher"])
async def test_C0_40_C0_41_a_role_nobody_has_is_200_with_null(node: RunningNode, role: str) -> None:
    """An inactive model of a role counts as none."""
    for path in (f"models/roles/{role}", f"roles/{role}"):
        assert await get(node, path) is None
    assert (await register(node, "the-one", role=role)).status == 201
    assert (await get(node, f"models/roles/{role}"))["id"] == "a/the-one"
    await admin(node.port, "PATCH", path_of("a/the-one", "active"), {"active": False})
    assert await get(node, f"models/roles/{role}") is None


@pytest.mark.parametrize("role", ["general", "reward", "teacher", "judge"])
@pytest.mark.parametrize("form", ["api", "ollama"])
async def test_C0_40_every_role_and_format_is_taken(node: RunningNode, role: str, form: str) -> None:
    """The enums of the contract (weights have tests of their own)."""
    reply = await register(node, f"{role}-{form}", role=role, format=form)
    assert (reply.status, reply.json["role"], reply.json["format"]) == (201, role, form)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"format": "pickle"}, "Invalid format"),
        ({"role": "boss"}, "Invalid role"),
        ({"role": 5}, "Invalid role"),
        ({"tier": "huge"}, "Invalid tier"),
        ({"context_window": "8k"}, "context_window"),
        ({"context_window": True}, "context_window"),
        ({"usd_per_mtok_in": -1}, "usd_per_mtok_in"),
        ({"capabilities": ["toolz"]}, "tools"),
        ({"capabilites": ["tools"]}, "did you mean `capabilities`?"),
        ({"limits": {"rpms": 1}}, "Unknown key `limits.rpms`; did you mean `rpm`?"),
        ({"format": "gguf", "path": "/no/such/file.gguf"}, "file.gguf"),
        ({"limits": {"rpm": 0}}, "rpm"),
        ({"limits": {"rpx": 1}}, "rpx"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
async def test_C0_41_bad_fields_are_400_and_change_nothing(
    node: RunningNode, body: dict[str, object], told: str
) -> None:
    """Registering and updating refuse the same things in the same words, with the choices."""
    before = await get(node, path_of("a/m1"))
    for reply in (await register(node, "new", **body), await admin(node.port, "PATCH", path_of("a/m1"), body)):
        assert (reply.status, reply.code) == (400, "invalid_request"), reply.body
        assert told in reply.message
    assert (await admin(node.port, "GET", path_of("a/new"))).status == 404
    assert await get(node, path_of("a/m1")) == before
    assert (await get(node, "audit"))["audit"] == []


async def test_C0_41_unknown_things_are_404(node: RunningNode) -> None:
    """Delete, get, patch, assign and unassign of what is not there."""
    for method, path, body in (
        ("DELETE", path_of("a/nope"), b""),
        ("GET", path_of("nobody/m1"), b""),
        ("PATCH", path_of("a/nope"), {"tier": "deep"}),
        ("POST", "models/assignments", {"agent": "x", "model": "nope"}),
        ("DELETE", "models/assignments/nobody", b""),
        ("PUT", path_of("a/nope", "capabilities", "tools"), {"value": "yes"}),
        ("DELETE", path_of("a/nope", "capabilities", "tools"), b""),
        ("POST", "models", {"provider": "nobody", "id": "m"}),
        ("POST", "audit/999/undo", b""),
        ("POST", "audit/x/undo", b""),
        ("POST", "pools/nope/rotate", b""),
    ):
        reply = await admin(node.port, method, path, body)
        assert (reply.status, reply.code) == (404, "not_found"), (path, reply.body)


async def test_two_writers_on_one_model_the_stale_one_gets_409(node: RunningNode) -> None:
    """Exactly one of two that saw the same version wins, and nothing of it is lost."""
    seen = (await get(node, path_of("a/m1")))["version"]
    bodies = ({"tier": "deep", "version": seen}, {"description": "other", "version": seen})
    replies = await asyncio.gather(*(admin(node.port, "PATCH", path_of("a/m1"), body) for body in bodies))
    assert sorted(reply.status for reply in replies) == [200, 409]
    (stale,) = (reply for reply in replies if reply.status == 409)
    assert stale.code == "conflict"
    model = await get(node, path_of("a/m1"))
    assert model["version"] == seen + 1
    assert (model["tier"] == "deep") is not (model["description"] == "other")


async def test_null_takes_a_field_back_to_what_is_configured(node: RunningNode) -> None:
    """An edit lies over the configuration, and taking it away uncovers it."""
    path = path_of("a/m1")
    assert (await admin(node.port, "PATCH", path, {"tags": ["x"], "context_window": 8192})).json["tags"] == ["x"]
    model = (await admin(node.port, "PATCH", path, {"tags": None})).json
    assert (model["tags"], model["context_window"]) == (["fast"], 8192)


async def test_a_models_id_and_provider_stay(node: RunningNode) -> None:
    """A body may repeat them; another one is another model."""
    assert (await admin(node.port, "PATCH", path_of("a/m1"), {"id": "m1", "provider": "a"})).status in (200, 400)
    reply = await admin(node.port, "PATCH", path_of("a/m1"), {"id": "m9"})
    assert (reply.status, reply.json["error"]["param"]) == (400, "id")


async def test_C3_06_a_removed_model_leaves_pools_and_assignments(node: RunningNode) -> None:
    """It is gone at once and stays gone; removing it twice is 404."""
    await admin(node.port, "POST", "models/assignments", {"agent": "writer", "model": "a/m2"})
    assert (await admin(node.port, "DELETE", path_of("a/m2"))).status == 200
    assert (await admin(node.port, "GET", path_of("a/m2"))).status == 404
    assert (await get(node, "models/assignments/all")) == {"assignments": []}
    members = {(row["provider"], row["model"]) for pool in (await get(node, "pools"))["pools"]
               for row in pool["members"]}  # fmt: skip
    assert ("a", "m2") not in members
    assert (await admin(node.port, "DELETE", path_of("a/m2"))).status == 404


async def test_the_registry_is_the_admins(node: RunningNode) -> None:
    """A client token is 403, none is 401."""
    for method, path in (("GET", "models"), ("POST", "models"), ("DELETE", path_of("a/m1")), ("GET", "pools")):
        assert (await ask(node.port, method, f"/api/v1/{path}")).status == 403
        assert (await ask(node.port, method, f"/api/v1/{path}", token=None)).status == 401
