"""The registry through the control port, the same rules over all three implementations: local, threaded, remote."""

from __future__ import annotations

import pytest
from tests.contract.conftest import FAILING, SERVING, Held
from tests.support.node import HELLO

from routerconsole.control.commands import Command
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    AcceptModel,
    ApplyEdits,
    AssignAgent,
    CancelPull,
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    LabelModel,
    PullModel,
    RegisterModel,
    RemoveModel,
    RotatePool,
    SetCapability,
    SetModelActive,
    SyncModels,
    UnassignAgent,
    Undo,
    UpdateModel,
)
from routerconsole.control.registry_views import Assignment, ModelQuery, ModelView

TOOLS = "interaction.tool-calling"
ODD = "vendor/m:1%b"


async def model(held: Held, name: str, provider: str = "b") -> ModelView:
    """One model."""
    found = await held.control.registry_model(provider, name)
    assert found is not None
    return found


# --- reads ---
async def test_the_registry_is_the_same_picture_wherever_it_is_read(held: Held) -> None:
    """By priority, with every layer; one model alone is what it is in the list."""
    page = await held.control.registry(ModelQuery())
    assert [each.id for each in page.models] == [f"a/{FAILING}", f"b/{SERVING}"]
    assert (page.total, page.weights_dir) == (2, None)
    assert page.models[1] == await model(held, SERVING)
    assert page.models[0].pools[0] == "auto"
    assert await held.control.registry_model("b", "nope") is None
    assert await held.control.registry_model("nobody", SERVING) is None


async def test_filters_narrow_and_refuse_what_means_nothing(held: Held) -> None:
    """Role, provider and capability; an unknown role or node is 400."""
    await held.control.do(RegisterModel("b", "judge", {"role": "judge", "capabilities": ["vision"]}))
    for query in (ModelQuery(role="judge"), ModelQuery(capability="vision"), ModelQuery(provider="B", role="judge")):
        page = await held.control.registry(query)
        assert ([each.id for each in page.models], page.total) == (["b/judge"], 1)
    for query in (ModelQuery(role="boss"), ModelQuery(capability="visoin")):
        with pytest.raises(ControlError) as refused:
            await held.control.registry(query)
        assert (refused.value.code, refused.value.status) == ("invalid_request", 400)


async def test_pools_profiles_tree_and_doctor_are_read(held: Held) -> None:
    """What there is without any configuration of them."""
    pools = {pool.id: pool for pool in await held.control.pools()}
    assert [(each.provider, each.model, each.position) for each in pools["auto"].members] == [
        ("a", FAILING, 1),
        ("b", SERVING, 2),
    ]
    (profile,) = await held.control.profiles()
    assert (profile.id, profile.implicit, profile.default) == ("default", True, True)
    nodes = {node.path: node for node in await held.control.capabilities()}
    assert nodes[TOOLS].aliases == ("tools",)
    for scope in ("models", "profiles"):
        assert all(found.level in ("ERROR", "WARN") for found in await held.control.doctor(scope))
    assert await held.control.assignments() == ()


# --- commands ---
async def test_a_capability_is_set_and_cleared(held: Held) -> None:
    """The operator's layer lies above the others until it is taken back, and both changes are audited."""
    before = (await model(held, SERVING)).capabilities.get(TOOLS)
    receipt = await held.control.do(SetCapability("b", SERVING, "tools", "no"))
    assert (receipt.command, receipt.target, receipt.after["node"]) == ("set_capability", f"b/{SERVING}", TOOLS)
    value = (await model(held, SERVING)).capabilities[TOOLS]
    assert (value.value, value.source, value.layers[0].source) == ("no", "operator", "operator")
    await held.control.do(ClearCapability("b", SERVING, "tools"))
    assert (await model(held, SERVING)).capabilities.get(TOOLS) == before
    assert [row.command for row in await held.control.audit(2)] == ["clear_capability", "set_capability"]


async def test_a_model_with_any_id_lives_and_dies(held: Held) -> None:
    """Registered, changed, labelled, switched, accepted, removed: each is in the next read."""
    await held.control.do(RegisterModel("b", ODD, {"tags": ["x"], "tier": "deep"}))
    first = await model(held, ODD)
    assert (first.tier, first.tags, first.origin) == ("deep", ("x",), "operator")
    await held.control.do(UpdateModel("b", ODD, {"context_window": 4096}, first.version))
    await held.control.do(LabelModel("b", ODD, add=("y",), remove=("x",)))
    await held.control.do(SetModelActive("b", ODD, active=False))
    await held.control.do(AcceptModel("b", ODD))
    last = await model(held, ODD)
    assert (last.context_window, last.tags, last.enabled, last.in_pools) == (4096, ("y",), False, True)
    assert last.registered_at == first.registered_at
    with pytest.raises(ControlError) as stale:
        await held.control.do(UpdateModel("b", ODD, {"tier": "standard"}, first.version))
    assert (stale.value.code, stale.value.status) == ("conflict", 409)
    await held.control.do(RemoveModel("b", ODD))
    assert await held.control.registry_model("b", ODD) is None


async def test_agents_nodes_and_undo(held: Held) -> None:
    """An assignment and a node are there until they are undone."""
    receipt = await held.control.do(AssignAgent("writer", f"b/{SERVING}"))
    assert await held.control.assignments() == (Assignment("writer", f"b/{SERVING}"),)
    assert (await model(held, SERVING)).agents == ("writer",)
    assert receipt.audit_id is not None
    await held.control.do(Undo(receipt.audit_id))
    assert await held.control.assignments() == ()
    assert [row.undone for row in await held.control.audit(2)] == [False, True]
    await held.control.do(ExtendCapabilities("interaction.computer-use"))
    assert any(node.extension for node in await held.control.capabilities())
    await held.control.do(AssignAgent("writer", "auto"))
    await held.control.do(UnassignAgent("writer"))
    assert await held.control.assignments() == ()


async def test_rotate_and_sync_answer(held: Held) -> None:
    """A pointer moves on; a listing of providers is told by what it changed."""
    receipt = await held.control.do(SyncModels(("b",)))
    assert {"new", "changed", "missing"} <= set(receipt.after)
    with pytest.raises(ControlError) as refused:
        await held.control.do(RotatePool("nope"))
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("command", "code", "status"),
    [
        (RegisterModel("b", SERVING), "conflict", 409),
        (RegisterModel("nobody", "m"), "not_found", 404),
        (UpdateModel("b", "nope", {"tier": "deep"}), "not_found", 404),
        (UpdateModel("b", SERVING, {"tier": "huge"}), "invalid_request", 400),
        (UpdateModel("b", SERVING, {"role": "boss"}), "invalid_request", 400),
        (SetCapability("b", SERVING, "toolz", "yes"), "invalid_request", 400),
        (ClearCapability("b", SERVING, "vision"), "not_found", 404),
        (ClearGap("b", SERVING, "vision"), "not_found", 404),
        (AssignAgent("writer", "nobody/nothing"), "not_found", 404),
        (UnassignAgent("nobody"), "not_found", 404),
        (ExtendCapabilities("interaction.Tool Calling"), "invalid_request", 400),
        (PullModel("b", "m"), "invalid_request", 400),
        (CancelPull("b", "m"), "not_found", 404),
        (SyncModels(("nobody",)), "not_found", 404),
        (Undo(4711), "not_found", 404),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_refused_command_tells_code_and_status(held: Held, command: Command, code: str, status: int) -> None:
    """The same refusal through every implementation, with nothing changed and nothing audited."""
    before = await held.control.registry(ModelQuery())
    with pytest.raises(ControlError) as refused:
        await held.control.do(command)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert await held.control.registry(ModelQuery()) == before
    assert await held.control.audit() == ()


async def test_a_dry_run_shows_before_and_after_and_changes_nothing(held: Held) -> None:
    """Also of the registry's commands."""
    receipt = await held.control.do(SetModelActive("b", SERVING, active=False), dry_run=True)
    assert (receipt.dry_run, receipt.before["enabled"], receipt.after["enabled"]) == (True, True, False)
    assert (await model(held, SERVING)).enabled
    assert await held.control.audit() == ()


async def test_explain_names_the_strategy_of_a_pool(held: Held) -> None:
    """Of the one the name stands for, and none of a single model."""
    assert (await held.control.explain({**HELLO, "model": "auto"}, {})).resolved.strategy == "priority"
    assert (await held.control.explain({**HELLO, "model": f"b/{SERVING}"}, {})).resolved.strategy is None


# --- several at once, and what they would mean ---
async def test_several_edits_are_one_change_and_one_undo(held: Held) -> None:
    """All of them or none, in one audit row that undoes all; a stale version of one refuses all."""
    edits = (UpdateModel("a", FAILING, {"tags": ["x"]}, 1), UpdateModel("b", SERVING, {"tier": "deep"}, 1))
    tried = await held.control.do(ApplyEdits(edits), dry_run=True)
    assert (tried.after[f"b/{SERVING}"]["tier"], tried.before[f"b/{SERVING}"]["tier"]) == ("deep", "exploratory")
    receipt = await held.control.do(ApplyEdits(edits))
    assert receipt.target == f"a/{FAILING}, b/{SERVING}"
    assert ((await model(held, FAILING, "a")).tags, (await model(held, SERVING)).tier) == (("x",), "deep")
    with pytest.raises(ControlError) as told:
        await held.control.do(ApplyEdits((UpdateModel("a", FAILING, {"tags": []}), edits[1])))
    assert (told.value.status, told.value.message.split(":")[0]) == (409, f"b/{SERVING}")
    assert (await model(held, FAILING, "a")).tags == ("x",)
    for odd in ((), (edits[0], UpdateModel("a", FAILING, {"tags": ["y"]}))):
        with pytest.raises(ControlError) as told:
            await held.control.do(ApplyEdits(odd))
        assert told.value.status in (400, 409)
    assert receipt.audit_id is not None
    await held.control.do(Undo(receipt.audit_id))
    assert ((await model(held, FAILING, "a")).tags, (await model(held, SERVING)).tier) == ((), "exploratory")


async def test_several_edits_changed_again_are_not_undone(held: Held) -> None:
    """One model that was changed since keeps the whole change from being undone."""
    edits = (UpdateModel("a", FAILING, {"tags": ["x"]}), UpdateModel("b", SERVING, {"tags": ["x"]}))
    receipt = await held.control.do(ApplyEdits(edits))
    await held.control.do(LabelModel("b", SERVING, add=("y",)))
    assert receipt.audit_id is not None
    with pytest.raises(ControlError) as told:
        await held.control.do(Undo(receipt.audit_id))
    assert told.value.status == 409
    assert (await model(held, FAILING, "a")).tags == ("x",)


async def test_the_impact_of_a_change_is_told_without_making_it(held: Held) -> None:
    """The last requests are planned anew; pools shift; a refusal is that of the command."""
    async with held.client() as client:
        for _ in range(2):
            assert (await client.post("/v1/chat/completions", json=HELLO)).status_code == 200
    told = await held.control.impact([UpdateModel("a", FAILING, {"in_pools": False})])
    assert (told.replayed, told.elsewhere, told.unserved, told.served) == (2, 2, 0, 0)
    assert [(move.before, move.after, move.requests) for move in told.moves] == [(f"a/{FAILING}", f"b/{SERVING}", 2)]
    assert {shift.pool: shift.removed for shift in told.pools}["auto"] == (f"a/{FAILING}",)
    assert (await model(held, FAILING, "a")).in_pools
    with pytest.raises(ControlError) as refused:
        await held.control.impact([RemoveModel("a", "nope")])
    assert refused.value.status == 404
