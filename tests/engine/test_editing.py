"""Registry commands on a whole engine: what they do, what they refuse, what is audited, undone and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.engine.parts import event, running_engine, serve
from tests.support.node import RunningNode, chain, simulated

from routerconsole.control.commands import Command, Enable, Receipt, ReloadConfig, Target
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    AcceptModel,
    AssignAgent,
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    LabelModel,
    RegisterModel,
    RemoveModel,
    SetCapability,
    SetModelActive,
    UnassignAgent,
    Undo,
    UpdateModel,
)
from routerconsole.domain.capability import NODE_OF, Tri, Word
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.events import EventType
from routerconsole.domain.listing import ListedModel, Listing
from routerconsole.domain.overlay import Overlay
from routerconsole.domain.registry import Model, ModelFormat, ModelOrigin, Role
from routerconsole.domain.route import ModelKey, Route
from routerconsole.routing.learned import GAP_TTL, Gap
from routerconsole.simulator import Behaviour

TOOLS = NODE_OF[Word.TOOLS]
M1 = ModelKey("a", "m1")


@asynccontextmanager
async def pair(tmp_path: Path, *, extra: str = "", text: str | Path = "") -> AsyncIterator[RunningNode]:
    """Providers a (m1, with tools) and b (m2, with tools), nothing happening by itself."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        made = chain(sim, "m1", "m2", capabilities="[text, tools]", extra=extra)
        quiet = "health: {enabled: false}, models:"
        async with running_engine(text or made.replace("models:", quiet), tmp_path) as node:
            yield node


async def do(node: RunningNode, command: Command, *, dry_run: bool = False) -> Receipt:
    return await node.control.do(command, actor="tester", dry_run=dry_run)


async def refused(node: RunningNode, command: Command, status: int) -> str:
    """Expect a refusal with nothing changed, dry run or not; return its text."""
    registry, overlay = node.service.registry, node.service.overlay
    said = set()
    for dry_run in (True, False):
        with pytest.raises(ControlError) as told:
            await do(node, command, dry_run=dry_run)
        assert told.value.status == status, told.value.message
        said.add(told.value.message)
    assert (node.service.registry, node.service.overlay) == (registry, overlay)
    assert node.service.registry is registry
    assert len(said) == 1
    return said.pop()


def model(node: RunningNode, key: ModelKey = M1) -> Model:
    return node.service.registry.models[key]


def pools(node: RunningNode, key: ModelKey = M1) -> set[str]:
    return {pool.id for pool in node.service.registry.pools.values() if key in pool.members}


# --- register, update, remove ---


async def test_C0_34_registered_models_are_there_by_key_and_role(leakcheck: None, tmp_path: Path) -> None:
    """What was registered comes back with its path; two roles, one each."""
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"GGUF")
    async with pair(tmp_path) as node:
        await do(node, RegisterModel("a", "x/y:z%", {"role": "reward", "format": "gguf", "path": str(weights)}))
        await do(node, RegisterModel("b", "t", {"role": "teacher", "display": "Teacher"}))
        found = model(node, ModelKey("a", "x/y:z%"))
        assert (found.path, found.format, found.origin) == (str(weights), ModelFormat.GGUF, ModelOrigin.OPERATOR)
        assert ModelKey("a", "nope") not in node.service.registry.models
        roles = [each.role for each in node.service.registry.models.values()]
        assert (roles.count(Role.REWARD), roles.count(Role.TEACHER)) == (1, 1)


async def test_C0_37_a_second_registration_is_a_conflict_an_update_is_not(leakcheck: None, tmp_path: Path) -> None:
    """409 for a registered, a configured and a discovered one; an update replaces and keeps registered_at."""
    async with pair(tmp_path) as node:
        await do(node, RegisterModel("a", "x", {"tags": ["one"]}))
        before = model(node, ModelKey("a", "x"))
        listing = Listing("b", 1.0, {"seen": ListedModel("seen")})
        node.service.lay_over(replace(node.service.overlay, listings={"b": listing}))
        for command in (RegisterModel("a", "x"), RegisterModel("A", "m1"), RegisterModel("b", "seen")):
            assert "registered already" in await refused(node, command, 409)
        await do(node, UpdateModel("a", "x", {"tags": ["two"], "path": "/somewhere"}))
        after = model(node, ModelKey("a", "x"))
        assert (after.tags, after.path, after.registered_at) == (("two",), "/somewhere", before.registered_at)
        assert before.registered_at is not None


async def test_C0_37_another_spelling_of_a_model_is_a_duplicate_too(leakcheck: None, tmp_path: Path) -> None:
    """At Ollama a missing tag is `:latest`, so both names are one model."""
    text = """
version: 1
providers:
  - {name: a, kind: ollama, base_url: "http://127.0.0.1:1", discovery: {enabled: false}, health: {enabled: false},
     models: [{id: m1}]}
"""
    async with pair(tmp_path, text=text) as node:
        assert "another name" in await refused(node, RegisterModel("a", "m1:latest"), 409)
        await do(node, RegisterModel("a", "m1:7b"))


async def test_C0_37_G05_an_id_that_differs_by_case_is_a_duplicate_too(leakcheck: None, tmp_path: Path) -> None:
    """The configuration refuses two such ids of a provider, and an export must load; at another provider it is fine."""
    async with pair(tmp_path) as node:
        assert "another spelling of 'a/m1'" in await refused(node, RegisterModel("a", "M1"), 409)
        await do(node, RegisterModel("b", "M1"))


async def test_R26_two_writers_the_stale_one_gets_409_and_nothing_is_lost(leakcheck: None, tmp_path: Path) -> None:
    """Optimistic versions: of many at once exactly one wins each version, and the refusal names both numbers."""
    async with pair(tmp_path) as node:
        version = model(node).version
        said = await asyncio.gather(
            *(do(node, UpdateModel("a", "m1", {"tags": [f"t{n}"]}, version)) for n in range(8)), return_exceptions=True
        )
        refusals = [each for each in said if isinstance(each, ControlError)]
        assert len(refusals) == 7
        assert all(
            each.status == 409 and f"at version {version + 1}, not {version}" in each.message for each in refusals
        )
        assert model(node).version == version + 1
        assert model(node).tags == ("t0",)
        await do(node, UpdateModel("a", "m1", {"tier": "deep"}, version + 1))
        assert model(node).tags == ("t0",)


async def test_R26_of_many_that_saw_the_same_state_one_wins(leakcheck: None, tmp_path: Path) -> None:
    """`if_version` holds for edits that come together as for those that come one after another."""
    async with pair(tmp_path) as node:
        version = node.service.registry.version
        said = await asyncio.gather(
            *(node.control.do(LabelModel("a", "m1", (f"t{n}",)), if_version=version) for n in range(6)),
            return_exceptions=True,
        )
        assert [isinstance(each, Receipt) for each in said].count(True) == 1
        assert all(each.status == 409 for each in said if isinstance(each, ControlError))
        assert len(model(node).tags) == 1


async def test_a_version_never_comes_back(leakcheck: None, tmp_path: Path) -> None:
    """Every change counts up, whatever it is: removing, registering again and undoing too."""
    async with pair(tmp_path) as node:
        seen = [model(node).version]
        await do(node, LabelModel("a", "m1", ("x",)))
        seen.append(model(node).version)
        removed = await do(node, RemoveModel("a", "m1"))
        await do(node, RegisterModel("a", "m1"))
        seen.append(model(node).version)
        assert removed.audit_id is not None
        await do(node, SetCapability("a", "m1", "tools", "no"))
        seen.append(model(node).version)
        row = (await node.control.audit())[0]
        await do(node, Undo(row.id))
        seen.append(model(node).version)
        assert all(earlier < later for earlier, later in pairwise(seen))


async def test_null_unsets_and_the_configuration_comes_back(leakcheck: None, tmp_path: Path) -> None:
    """A field that was set and is unset is as configured, and so are capabilities set as a list."""
    async with pair(tmp_path) as node:
        before = model(node)
        await do(node, UpdateModel("a", "m1", {"tier": "deep", "tags": ["x"], "capabilities": ["vision", "-tools"]}))
        assert (model(node).tier.value, model(node).tags) == ("deep", ("x",))
        assert model(node).standing(TOOLS).value is Tri.NO
        await do(node, UpdateModel("a", "m1", {"tier": None, "tags": None, "capabilities": None}))
        assert replace(model(node), version=1) == before


BAD_FIELDS: list[tuple[Mapping[str, Any], str]] = [
    ({"format": "zip"}, "Invalid format 'zip'; choose one of: api, ollama, gguf, safetensors, hf."),
    ({"role": "king"}, "Invalid role 'king'; choose one of: general, reward, teacher, judge."),
    ({"role": 3}, "Invalid role 3"),
    ({"tier": "x"}, "Invalid tier"),
    ({"tagz": []}, "Unknown field 'tagz'; did you mean 'tags'?"),
    ({"id": "other"}, "Unknown field 'id'"),
    ({"context_window": -1}, "Invalid context_window"),
    ({"context_window": True}, "Invalid context_window"),
    ({"context_window": "8k"}, "Invalid context_window"),
    ({"usd_per_mtok_in": -0.1}, "Invalid usd_per_mtok_in"),
    ({"limits": {"rpq": 1}}, "'limits.rpq'; did you mean 'limits.rpm'?"),
    ({"limits": {"rpm": 0}}, "Invalid limits.rpm"),
    ({"tags": "x"}, "Invalid tags"),
    ({"tags": [1]}, "Invalid tags.0"),
    ({"enabled": "yes"}, "Invalid enabled"),
    ({"default_temperature": 9}, "Invalid default_temperature"),
    ({"delivery": ["carrier-pigeon"]}, "Invalid delivery.0"),
    ({"display": "\x1b[31m"}, "Invalid display"),
    ({"capabilities": ["toolz"]}, "'toolz' is no known capability; did you mean tools?"),
    ({"capabilities": ["tools", "-tools"]}, "contradicts"),
    ({"format": "gguf"}, "Invalid path: format gguf needs the file."),
    ({"format": "hf", "path": "/nowhere/at/all"}, "does not exist"),
    ({"format": "safetensors", "path": "relative.bin"}, "registry.weights_dir"),
    ({"path": "../escape"}, "leaves registry.weights_dir"),
    ({"format": "gguf", "path": "a\x00b"}, "Invalid path"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_FIELDS)
async def test_C0_41_a_wrong_field_is_named_with_what_it_takes(
    leakcheck: None, tmp_path: Path, fields: Mapping[str, Any], words: str
) -> None:
    """400 for register and update alike, dry run or not, and nothing is changed."""
    async with pair(tmp_path) as node:
        assert words in await refused(node, UpdateModel("a", "m1", fields), 400)
        assert words in await refused(node, RegisterModel("a", "new", fields), 400)


async def test_relative_paths_start_at_weights_dir_and_never_leave_it(leakcheck: None, tmp_path: Path) -> None:
    """An existing file below it is taken; a link out of it is not."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "in.gguf").write_bytes(b"GGUF")
    (tmp_path / "out.gguf").write_bytes(b"GGUF")
    (folder / "link.gguf").symlink_to(tmp_path / "out.gguf")
    async with pair(tmp_path, extra=f"registry: {{weights_dir: {folder}}}\n") as node:
        await do(node, UpdateModel("a", "m1", {"format": "gguf", "path": "in.gguf"}))
        assert model(node).path == "in.gguf"
        assert "leaves" in await refused(node, UpdateModel("a", "m1", {"path": "link.gguf"}), 400)
        assert "does not exist" in await refused(node, UpdateModel("a", "m1", {"path": "no.gguf"}), 400)


UNKNOWN: list[tuple[Command, str]] = [
    (UpdateModel("a", "m3", {"tags": []}), "did you mean a/m1?"),
    (UpdateModel("z", "m1", {"tags": []}), "there are: a, b"),
    (RegisterModel("z", "m"), "there are: a, b"),
    (RemoveModel("a", "M1"), "not found"),
    (SetModelActive("a", "nope", active=False), "not found"),
    (AcceptModel("b", "m1"), "not found"),
    (LabelModel("b", "m1", ("x",)), "not found"),
    (SetCapability("a", "nope", "tools", "yes"), "not found"),
    (ClearCapability("a", "m1", "tools"), "No operator value"),
    (ClearGap("a", "m1", "tools"), "Nothing was learned"),
    (ClearGap("a", "m1", "understanding"), "Nothing was learned"),
    (AssignAgent("x", "a/nope"), "Did you mean"),
    (AssignAgent("x", "nobody"), "not known here"),
    (UnassignAgent("x"), "not assigned"),
    (Undo(99), "not found"),
    (Undo(0), "not found"),
    (Undo(-1), "not found"),
    (Undo(2**70), "not found"),
]


async def test_C0_36_C0_39_C0_41_unknown_targets_are_404(leakcheck: None, tmp_path: Path) -> None:
    """Each names what is missing, and what there is where that helps; no audit row, no change."""
    async with pair(tmp_path) as node:
        for command, words in UNKNOWN:
            assert words in await refused(node, command, 404), command
        assert await node.control.audit() == ()


async def test_empty_changes_and_bad_ids_are_400(leakcheck: None, tmp_path: Path) -> None:
    """Nothing to change, ids and agents nobody could show, a second default."""
    async with pair(tmp_path) as node:
        await do(node, RegisterModel("a", "d", {"default": True}))
        assert node.service.registry.providers["a"].default_model == "d"
        for command in (
            UpdateModel("a", "m1", {}),
            LabelModel("a", "m1"),
            LabelModel("a", "m1", ("",)),
            RegisterModel("a", ""),
            RegisterModel("a", " m"),
            RegisterModel("a", "a\nb"),
            RegisterModel("a", "x" * 513),
            AssignAgent("", "a/m1"),
            AssignAgent(" x", "a/m1"),
            AssignAgent("x\x1b", "a/m1"),
            UpdateModel("a", "m1", {"default": True}),
        ):
            await refused(node, command, 400)


async def test_a_removed_model_leaves_pools_and_assignments_for_good(leakcheck: None, tmp_path: Path) -> None:
    """Configured: a tombstone that survives reload, sync and restart; registering brings it back."""
    path = tmp_path / "providers.yaml"
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        path.write_text(chain(sim, "m1", "m2", capabilities="[tools]"))
        async with running_engine(path, tmp_path) as node:
            await do(node, AssignAgent("bob", "A/m1"))
            assert node.service.registry.assignments == {"bob": "a/m1"}
            receipt = await do(node, RemoveModel("a", "m1"))
            assert receipt.after["assignments"] == {"bob": None}
            assert {"auto", "tools"} <= set(receipt.after["pools"]["removed"])
            assert (M1 in node.service.registry.models, pools(node)) == (False, set())
            assert node.service.registry.assignments == {}
            await do(node, ReloadConfig())
            listing = Listing("a", 1.0, {"m1": ListedModel("m1")})
            node.service.lay_over(replace(node.service.overlay, listings={"a": listing}))
            assert M1 not in node.service.registry.models
        async with running_engine(path, tmp_path) as node:
            assert M1 not in node.service.registry.models
            await refused(node, UpdateModel("a", "m1", {"tags": []}), 404)
            await do(node, RegisterModel("a", "m1", {"tags": ["again"]}))
            assert (model(node).tags, model(node).standing(TOOLS).value) == (("again",), Tri.YES)
            await serve(node, model="a/m1")


async def test_what_only_an_operator_brought_is_gone_without_a_tombstone(leakcheck: None, tmp_path: Path) -> None:
    """Should its server list it one day, it is a new model."""
    async with pair(tmp_path) as node:
        await do(node, RegisterModel("a", "own"))
        await do(node, RemoveModel("a", "own"))
        listing = Listing("a", 1.0, {"own": ListedModel("own")})
        node.service.lay_over(replace(node.service.overlay, listings={"a": listing}))
        assert model(node, ModelKey("a", "own")).origin is ModelOrigin.DISCOVERY


# --- active, accept, label, assign ---


async def test_C0_36_C0_38_inactive_is_refused_traffic_listed_and_remembered(leakcheck: None, tmp_path: Path) -> None:
    """Its routes are disabled whatever was said of them by hand; after a restart still, until it is enabled."""
    async with pair(tmp_path) as node:
        await do(node, Enable(Target("a", "m1")))
        await do(node, SetModelActive("a", "m1", active=False))
        assert not model(node).enabled
        assert "auto" in pools(node)
        with pytest.raises(RoutingFailed):
            await serve(node, model="a/m1")
        with pytest.raises(ControlError, match="models enable"):
            await do(node, Enable(Target("a", "m1")))
    async with pair(tmp_path) as node:
        assert not model(node).enabled
        with pytest.raises(RoutingFailed):
            await serve(node, model="a/m1")
        assert (await node.control.status()).providers[0].routes[0].enabled is False
        await do(node, SetModelActive("a", "m1", active=True))
        await serve(node, model="a/m1")


async def test_accepting_lets_a_discovered_model_join_pools(leakcheck: None, tmp_path: Path) -> None:
    """One that is not in pools is afterwards, and the receipt says in which."""
    async with pair(tmp_path) as node:
        await do(node, UpdateModel("a", "m1", {"in_pools": False}))
        assert pools(node) == set()
        receipt = await do(node, AcceptModel("a", "m1"))
        assert {"auto", "tools"} <= set(receipt.after["pools"]["added"])
        assert {"auto", "tools"} <= pools(node)


async def test_labels_are_added_and_taken_away_once(leakcheck: None, tmp_path: Path) -> None:
    """Tags keep their order and are there once; one that is not there can be removed."""
    async with pair(tmp_path) as node:
        await do(node, LabelModel("a", "m1", ("x", "y", "x")))
        receipt = await do(node, LabelModel("a", "m1", ("z",), ("x", "q")))
        assert (receipt.before["tags"], receipt.after["tags"]) == (["x", "y"], ["y", "z"])
        assert model(node).tags == ("y", "z")


async def test_C0_39_agents_are_assigned_to_models_pools_and_profiles(leakcheck: None, tmp_path: Path) -> None:
    """Canonical names are kept; unassigning uncovers the default; all of it survives a restart."""
    extra = "profiles:\n  - {id: Fast, provider: b, model: m2}\nagents: {bob: a/m1}\n"
    async with pair(tmp_path, extra=extra) as node:
        for target, kept in (("A/m1", "a/m1"), ("b__m2", "b/m2"), ("AUTO", "auto"), ("fast", "Fast"), ("m2", "m2")):
            await do(node, AssignAgent("bob", target))
            assert node.service.registry.assignments == {"bob": kept}
        await do(node, AssignAgent("eve", "router/tools"))
        await refused(node, AssignAgent("eve", "bob"), 404)
    async with pair(tmp_path, extra=extra) as node:
        assert node.service.registry.assignments["bob"] == "m2"
        receipt = await do(node, UnassignAgent("bob"))
        assert (receipt.before["model"], receipt.after["model"]) == ("m2", None)
        assert "bob" not in node.service.registry.assignments


async def test_C0_40_an_inactive_reward_model_is_one_without_use(leakcheck: None, tmp_path: Path) -> None:
    """It keeps its role and is not enabled; there is no teacher where nobody is one."""
    async with pair(tmp_path) as node:
        await do(node, UpdateModel("a", "m1", {"role": "reward"}))
        await do(node, SetModelActive("a", "m1", active=False))
        models = node.service.registry.models.values()
        assert [each.key for each in models if each.role is Role.REWARD and each.enabled] == []
        assert [each for each in models if each.role is Role.TEACHER] == []
        assert {role.value for role in Role} == {"general", "reward", "teacher", "judge"}
        assert {"gguf", "safetensors", "hf", "ollama"} <= {form.value for form in ModelFormat}


# --- capabilities ---


async def test_a_word_a_path_and_a_unique_leaf_are_one_node(leakcheck: None, tmp_path: Path) -> None:
    """Each spelling sets the same node; clearing uncovers the configured value, in pools too."""
    async with pair(tmp_path) as node:
        for name in ("tools", TOOLS, "tool-calling"):
            receipt = await do(node, SetCapability("a", "m1", name, "no"))
            assert (receipt.before["value"], receipt.before["source"]) == ("yes", "config")
            assert (receipt.after["node"], receipt.after["value"], receipt.after["source"]) == (TOOLS, "no", "operator")
            assert receipt.after["pools"] == {"added": [], "removed": ["tools"]}
            assert "tools" not in pools(node)
            receipt = await do(node, ClearCapability("a", "m1", name))
            assert (receipt.after["value"], receipt.after["source"]) == ("yes", "config")
            assert receipt.after["pools"] == {"added": ["tools"], "removed": []}
            assert "tools" in pools(node)


async def test_C3_05_unknown_nodes_come_with_the_nearest_ambiguous_ones_with_all(
    leakcheck: None, tmp_path: Path
) -> None:
    """400 either way, for capabilities and gaps."""
    extra = "capabilities: {extend: [evaluation.lab, evaluation.lab.blue, retrieval.shade, retrieval.shade.teal]}\n"
    async with pair(tmp_path, extra=extra) as node:
        for command in (SetCapability("a", "m1", "tols", "yes"), ClearCapability("a", "m1", "tols")):
            assert "did you mean tools" in await refused(node, command, 400)
        assert "did you mean" in await refused(node, ClearGap("a", "m1", "tols"), 400)
        assert "no known capability" in await refused(node, SetCapability("a", "m1", "q" * 500, "yes"), 400)


async def test_extending_the_tree(leakcheck: None, tmp_path: Path) -> None:
    """A new node can be set at once and after a restart; bad paths, doubles and circles are refused."""
    new = "interaction.computer-use"
    async with pair(tmp_path) as node:
        await do(node, ExtendCapabilities(new))
        await do(node, SetCapability("a", "m1", "computer-use", "yes"))
        assert "already in the tree" in await refused(node, ExtendCapabilities(new), 409)
        assert "already in the tree" in await refused(node, ExtendCapabilities("interaction.reasoning"), 409)
        for path, words in (
            ("Interaction.x", "no capability path"),
            ("", "no capability path"),
            ("a..b", "no capability path"),
            ("interaction." + "x" * 300, "no capability path"),
            ("interacton.x", "did you mean interaction"),
            ("tools.x", "write 'interaction.tool-calling.x'"),
            ("interaction.reasoning.interaction", "two parents"),
            ("retrieval.computer-use", "two parents"),
            ("vision", "meaning of its own"),
            ("interaction.tools", "meaning of its own"),
            ("interaction.auto", "meaning of its own"),
        ):
            assert words in await refused(node, ExtendCapabilities(path), 400), path
    async with pair(tmp_path) as node:
        assert new in node.service.registry.tree.nodes
        assert model(node).standing(new).value is Tri.YES


def learn(node: RunningNode, key: ModelKey = M1, word: Word = Word.TOOLS, *, ago: float = 0.0) -> None:
    """A route was found to lack a capability, so many seconds ago."""
    now = node.service.clock.monotonic()
    for route in node.service.registry.routes(key):
        node.service.board.relearn(route, word, Gap(now - ago, "refused it", now - ago + GAP_TTL))


def gated(node: RunningNode, key: ModelKey = M1) -> bool:
    return TOOLS in node.service.board.gap_nodes(Route(key.provider, None, key.model), node.service.clock.monotonic())


async def test_between_an_edit_and_a_gap_the_newer_wins(leakcheck: None, tmp_path: Path) -> None:
    """A word overrules an older gap, a newer gap gates again, a word taken back upholds it; over restarts too."""
    async with pair(tmp_path) as node:
        learn(node, ago=5)
        assert gated(node)
        await do(node, SetCapability("a", "m1", "tools", "yes"))
        assert not gated(node)
        (told,) = node.service.board.lessons(Route("a", None, "m1"), node.service.clock.monotonic())
        assert (told[0], told[1].evidence, told[2]) == (Word.TOOLS, "refused it", False)
    async with pair(tmp_path) as node:
        assert not gated(node), "after a restart the older gap still does not count"
        await do(node, ClearCapability("a", "m1", "tools"))
        assert gated(node)
        await do(node, SetCapability("a", "m1", "tools", "yes"))
        assert not gated(node)
        learn(node)
        assert gated(node)
        await node.service.keeper.save()
    async with pair(tmp_path) as node:
        assert gated(node), "after a restart the newer gap counts"


async def test_clearing_a_gap_forgets_it_on_every_account_and_can_be_undone(leakcheck: None, tmp_path: Path) -> None:
    """All routes of the model, nobody else's; the audit tells the evidence; undone it gates again."""
    accounts = "accounts: [{name: x, api_key: k1}, {name: y, api_key: k2}], models:"
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        text = chain(sim, "m1", "m2", capabilities="[tools]").replace("models:", accounts, 1)
        async with running_engine(text, tmp_path) as node:
            for key in (M1, ModelKey("b", "m2")):
                learn(node, key)
            now = node.service.clock.monotonic
            receipt = await do(node, ClearGap("a", "m1", "tools"))
            assert [(gap["account"], gap["evidence"]) for gap in receipt.before["gaps"]] == [
                ("x", "refused it"),
                ("y", "refused it"),
            ]
            routes = [Route("a", account, "m1") for account in ("x", "y")]
            assert [list(node.service.board.gap_nodes(route, now())) for route in routes] == [[], []]
            assert gated(node, ModelKey("b", "m2"))
            told = await event(node, EventType.CAPABILITY_CHANGED, provider="a", before="no")
            assert (told.data["node"], told.data["value"], told.data["source"]) == (TOOLS, "yes", "config")
            await refused(node, ClearGap("a", "m1", "tools"), 404)
            assert receipt.audit_id is not None
            await do(node, Undo(receipt.audit_id))
            assert all(TOOLS in node.service.board.gap_nodes(route, now()) for route in routes)
        async with running_engine(text, tmp_path) as node:
            assert all(TOOLS in node.service.board.gap_nodes(route, node.service.clock.monotonic()) for route in routes)


async def test_a_cleared_gap_is_cleared_after_a_restart(leakcheck: None, tmp_path: Path) -> None:
    """It was written down with its audit row."""
    async with pair(tmp_path) as node:
        learn(node)
        await node.service.keeper.save()
        await do(node, ClearGap("a", "m1", "tools"))
    async with pair(tmp_path) as node:
        assert not gated(node)


# --- dry runs, audit, undo ---

CHANGES: list[Command] = [
    RegisterModel("a", "new", {"tags": ["x"]}),
    UpdateModel("a", "m1", {"tier": "deep", "capabilities": ["vision"]}),
    RemoveModel("a", "m1"),
    SetModelActive("a", "m1", active=False),
    AcceptModel("a", "m1"),
    LabelModel("a", "m1", ("x",)),
    AssignAgent("bob", "b/m2"),
    UnassignAgent("eve"),
    SetCapability("a", "m1", "tools", "no"),
    ClearCapability("b", "m2", "tools"),
    ClearGap("a", "m1", "vision"),
    ExtendCapabilities("interaction.computer-use"),
]


async def prepare(node: RunningNode) -> None:
    """What the changes above need to be there."""
    await do(node, AssignAgent("eve", "a/m1"))
    await do(node, SetCapability("b", "m2", "tools", "no"))
    learn(node, word=Word.VISION)


def state(node: RunningNode) -> tuple[object, ...]:
    """Everything a change may change, versions left out."""
    service = node.service
    entries = {
        key: replace(entry, version=0)
        for key, entry in service.overlay.entries.items()
        if entry.fields or entry.capabilities or entry.registered or entry.removed
    }
    now = service.clock.monotonic()
    gaps = (
        [round(gap.at, 1) for gap in service.board.gaps(Route("a", None, "m1"), now).values()]
        if M1 in (service.registry.models)
        else []
    )
    members = {pool.id: pool.members for pool in service.registry.pools.values()}
    return replace(service.overlay, entries=entries), members, gaps


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: str(command.name))
async def test_a_dry_run_tells_the_same_and_changes_nothing(leakcheck: None, tmp_path: Path, command: Command) -> None:
    """Before and after are those of the change that follows; memory, file, audit and events are untouched."""
    async with pair(tmp_path) as node:
        await prepare(node)
        await node.service.keeper.save()
        before, rows = state(node), await node.control.audit()
        stored, last = await node.service.keeper.state.load(), node.service.bus.last
        would = await do(node, command, dry_run=True)
        assert (would.dry_run, would.audit_id) == (True, None)
        assert state(node) == before
        assert await node.control.audit() == rows
        assert (await node.service.keeper.state.load()).records == stored.records
        assert not [e for e in node.service.bus.page(last, 100).events if e.type is not EventType.HEALTH_CHANGED]
        did = await do(node, command)
        assert timeless(did.before) == timeless(would.before)
        assert timeless(did.after) == timeless(would.after)
        row = (await node.control.audit())[0]
        assert (row.id, row.command, row.actor, row.before, row.after) == (
            did.audit_id,
            command.name,
            "tester",
            did.before,
            did.after,
        )


def timeless(told: object) -> object:
    """A picture without the moment it was made at."""
    if isinstance(told, Mapping):
        return {
            name: timeless(value) for name, value in told.items() if name not in ("at", "registered_at", "expires_at")
        }
    return [timeless(value) for value in told] if isinstance(told, list) else told


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: str(command.name))
async def test_an_undo_puts_back_what_was_and_is_audited(leakcheck: None, tmp_path: Path, command: Command) -> None:
    """The row is marked, the undo has a row of its own, a second one is refused; it survives a restart."""
    async with pair(tmp_path) as node:
        await prepare(node)
        before = state(node)
        done = await do(node, command)
        assert done.audit_id is not None
        if command.name != "accept_model":  # it was in pools before
            assert state(node) != before
        undone = await do(node, Undo(done.audit_id))
        kept = 2 if command.name == "remove_model" else 3  # what its routes learned went with them
        assert state(node)[:kept] == before[:kept]
        rows = await node.control.audit()
        assert (rows[0].command, rows[0].after["undoes"], rows[0].target) == ("undo", done.audit_id, done.target)
        assert [row.undone for row in rows if row.id in (done.audit_id, undone.audit_id)] == [False, True]
        assert "undone already" in await refused(node, Undo(done.audit_id), 409)
        assert undone.audit_id is not None
        assert "cannot be undone" in await refused(node, Undo(undone.audit_id), 409)
    async with pair(tmp_path) as node:
        assert state(node)[:kept] == before[:kept]


async def test_an_undo_is_refused_where_the_thing_changed_since_and_only_there(leakcheck: None, tmp_path: Path) -> None:
    """Another field of the same model is left as it is; the same field changed again is a conflict that names it."""
    async with pair(tmp_path) as node:
        first = await do(node, UpdateModel("a", "m1", {"tier": "deep"}))
        other = await do(node, SetCapability("a", "m1", "vision", "yes"))
        assert first.audit_id is not None
        assert other.audit_id is not None
        await do(node, Undo(first.audit_id))
        assert model(node).standing(NODE_OF[Word.VISION]).value is Tri.YES
        await do(node, SetCapability("a", "m1", "vision", "no"))
        assert "changed again since" in await refused(node, Undo(other.audit_id), 409)
        extended = await do(node, ExtendCapabilities("interaction.computer-use"))
        await do(node, SetCapability("a", "m1", "computer-use", "yes"))
        assert extended.audit_id is not None
        assert "has a value of it" in await refused(node, Undo(extended.audit_id), 409)
        priority = await do(node, Enable(Target("a")))
        assert priority.audit_id is not None
        assert "cannot be undone" in await refused(node, Undo(priority.audit_id), 409)


async def test_undoing_a_registration_drops_what_was_assigned_to_it_meanwhile(leakcheck: None, tmp_path: Path) -> None:
    """No agent is left pointing at a model that is gone."""
    async with pair(tmp_path) as node:
        done = await do(node, RegisterModel("a", "new"))
        await do(node, AssignAgent("bob", "a/new"))
        assert done.audit_id is not None
        await do(node, Undo(done.audit_id))
        assert node.service.registry.assignments == {}


# --- one swap, events, storage ---


async def test_a_change_is_one_swap_and_tells_what_changed(leakcheck: None, tmp_path: Path) -> None:
    """One version further; events for registry, capability and the pool that lost a member, after the audit's."""
    async with pair(tmp_path) as node:
        before, last = node.service.registry, node.service.bus.last
        await do(node, SetCapability("a", "m1", "tools", "no"))
        assert node.service.registry.version == before.version + 1
        assert M1 in before.pools["tools"].members, "a request keeps the registry it started with"
        told = {found.type: found.data for found in node.service.bus.page(last, 100).events}
        assert list(told)[:2] == [EventType.AUDIT, EventType.REGISTRY_CHANGED]
        assert told[EventType.REGISTRY_CHANGED]["changed"] == ["a/m1"]
        assert told[EventType.REGISTRY_CHANGED]["version"] == before.version + 1
        capability = told[EventType.CAPABILITY_CHANGED]
        assert (capability["model"], capability["node"], capability["before"], capability["value"]) == (
            "m1",
            TOOLS,
            "yes",
            "no",
        )
        assert (told[EventType.POOL_CHANGED]["pool"], told[EventType.POOL_CHANGED]["removed"]) == ("tools", ["a/m1"])


async def test_changes_at_once_are_all_kept(leakcheck: None, tmp_path: Path) -> None:
    """Fifty edits of one and another model together with listings: none is lost."""
    async with pair(tmp_path) as node:

        async def listed(number: int) -> None:
            await asyncio.sleep(0)
            listing = Listing("b", float(number), {f"l{number}": ListedModel(f"l{number}")})
            node.service.lay_over(replace(node.service.overlay, listings={"b": listing}))

        edits = [do(node, LabelModel("ab"[n % 2], f"m{n % 2 + 1}", (f"t{n}",))) for n in range(50)]
        await asyncio.gather(*edits, *(listed(n) for n in range(50)))
        tags = {*model(node).tags, *model(node, ModelKey("b", "m2")).tags}
        assert tags == {f"t{n}" for n in range(50)}
        assert ModelKey("b", "l49") in node.service.registry.models


async def test_D04_an_edit_that_cannot_be_kept_is_refused_whole(leakcheck: None, tmp_path: Path) -> None:
    """503, nothing in force, nothing in the file; a dry run still tells; after that all is well."""
    async with pair(tmp_path) as node:
        await prepare(node)
        await node.service.keeper.save()
        before = state(node)
        refusing = node.service.keeper.state.db
        await refusing.aclose()
        for command in CHANGES:
            assert (await do(node, command, dry_run=True)).dry_run
            with pytest.raises(ControlError) as told:
                await do(node, command)
            assert (told.value.status, told.value.code) == (503, "storage_unavailable"), command
            assert state(node) == before
    async with pair(tmp_path) as node:
        assert state(node) == before


async def test_a_caller_that_leaves_changes_nothing_about_it(leakcheck: None, tmp_path: Path) -> None:
    """What was written down is in force, although nobody waits for the receipt any more."""
    async with pair(tmp_path) as node:
        for turn in range(8):
            call = asyncio.ensure_future(do(node, SetCapability("a", "m1", "tools", "yes" if turn % 2 else "no")))
            for _ in range(turn):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            while [task for task in asyncio.all_tasks() if task.get_name().startswith("command")]:
                await asyncio.sleep(0)
            rows = await node.control.audit()
            assert model(node).standing(TOOLS).value.value == (rows[0].after["value"] if rows else "yes")


async def test_a_reload_keeps_what_operators_decided(leakcheck: None, tmp_path: Path) -> None:
    """New configuration, same overlay: the file's new facts show where nobody decided otherwise."""
    path = tmp_path / "providers.yaml"
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        path.write_text(chain(sim, "m1", "m2", capabilities="[tools]"))
        async with running_engine(path, tmp_path) as node:
            await do(node, SetCapability("a", "m1", "tools", "no"))
            await do(node, RegisterModel("b", "own"))
            path.write_text(chain(sim, "m1", "m2", capabilities="[tools, vision]", tags="[new]"))
            await do(node, ReloadConfig())
            assert (model(node).tags, model(node).standing(TOOLS).value) == (("new",), Tri.NO)
            assert "vision" in pools(node)
            assert "tools" not in pools(node)
            assert ModelKey("b", "own") in node.service.registry.models


async def test_a_stored_record_that_is_nonsense_is_told_and_stops_nothing(leakcheck: None, tmp_path: Path) -> None:
    """The others count, the start goes on, the status says how many could not be understood."""
    async with pair(tmp_path) as node:
        await do(node, SetCapability("a", "m1", "tools", "no"))

        def spoil(conn: Any) -> None:
            conn.execute("INSERT INTO records VALUES ('[\"a\",\"x\"]', 'model', '{\"version\": []}', 1)")
            conn.execute("INSERT INTO records VALUES ('[\"a\"]', 'listing', '{}', 1)")

        await node.service.keeper.state.db.write(spoil)
    async with pair(tmp_path) as node:
        assert model(node).standing(TOOLS).value is Tri.NO
        assert node.service.overlay.listings == Overlay().listings
        assert "2 stored records could not be understood" in "\n".join((await node.control.status()).notices)
