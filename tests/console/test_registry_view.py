"""The Registry view: what it shows, how edits are staged, tried, applied, undone, refused and fought over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.console.fake_control import FakeControl, provider, status
from tests.console.registry_scene import model, shop
from tests.console.stage import Stage, stage
from tests.engine.parts import running_engine, serve
from tests.support.effort import calls
from tests.support.node import RunningNode, chain, simulated

from routerconsole.console.actions import ACTIONS, Context
from routerconsole.control.port import ControlError, EngineUnreachable
from routerconsole.control.registry_commands import (
    AcceptModel,
    ApplyEdits,
    AssignAgent,
    CancelPull,
    LabelModel,
    PullModel,
    RegisterModel,
    RemoveModel,
    SetModelActive,
    SyncModels,
    UnassignAgent,
    UpdateModel,
)
from routerconsole.control.registry_views import ModelPage
from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour

SIZES = [(80, 24), (120, 40), (200, 60)]


@asynccontextmanager
async def engine(tmp_path: Path, **options: object) -> AsyncIterator[tuple[Stage, RunningNode]]:
    """The console in the registry of a real engine: a/m1 and b/m2, three requests served by a."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        made = chain(sim, "m1", "m2", capabilities="[text, tools]").replace(
            "models:", "health: {enabled: false}, models:"
        )
        async with running_engine(made, tmp_path) as node:
            for _ in range(3):
                await serve(node)
            async with stage(node.control, size=(120, 40), **options) as on:
                await on.press("4")
                await on.sees("a/m1", "b/m2")
                yield on, node


async def ready(on: Stage) -> None:
    """Wait until the engine has said what a change would mean, and the question is there to be answered."""
    await on.until(lambda: on.desk.question is not None and on.desk.question.ready, "the preview")
    await on.sees("y yes")


def tags(node: RunningNode, provider: str = "a", name: str = "m1") -> tuple[str, ...]:
    return next(each.tags for key, each in node.service.registry.models.items() if key == (provider, name))


async def staged(on: Stage, *keys: str) -> None:
    """Stage a change of tags by typing."""
    await on.press("t", *keys, "enter")


# -- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("form", ["dark", "ascii"])
@pytest.mark.parametrize("scene", ["registry", "registry-model", "registry-form", "registry-apply"])
async def test_snapshot(scene: str, form: str, size: tuple[int, int], snapshot: Callable[[str, str], None]) -> None:
    """List, detail, form and preview look as they were approved at each size, with glyphs and in ASCII."""
    async with stage(shop(), size=size, ascii=form == "ascii") as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        match scene:
            case "registry-model":
                await on.press("j", "enter")
                await on.sees("Model ollama-local/llama3.1:8b")
            case "registry-form":
                await on.press("j", "j", "j", "i", "comma", "space", "n", "e", "w", "down", "right")
                await on.sees("✓ allowed" if form == "dark" else "+ allowed")
            case "registry-apply":
                await on.press("j", "j", "j")
                await staged(on, "n", "e", "w")
                await on.press("a")
                await ready(on)
                await on.sees("Staged  1 not applied", "fast, new")
        snapshot(f"{scene}-{size[0]}x{size[1]}-{form}", on.text())
        if form == "ascii":
            assert on.text().isascii()


async def test_every_state_of_the_pane_says_what_to_do_next() -> None:
    """Loading, unreachable, refused and empty are told apart."""
    control = FakeControl(provider("groq"))
    control.fails = EngineUnreachable("No engine answers at http://127.0.0.1:1")
    async with stage(control) as on:
        await on.press("4")
        await on.sees("No engine answers", "it is tried again")
        control.fails = ControlError("storage_unavailable", "The registry cannot be read.", status=503)
        await on.sees("The registry cannot be read; it is tried again")
        control.fails = None
        await on.sees("No models. S asks the providers")


async def test_a_registry_that_is_still_being_read_says_so() -> None:
    """Before the first answer the pane waits, and is not empty."""
    control = shop()
    async with stage(control) as on:
        control.gate.clear()
        await on.press("4")
        await on.sees("reading the registry…")
        control.gate.set()
        await on.sees("anthropic/claude-x")


async def test_the_list_sorts_filters_and_marks() -> None:
    """`o` sorts by the next column, `/` narrows while one types, Esc takes marks and then the filter away."""
    async with stage(shop(), size=(200, 60)) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        table = on.desk.registry.table
        await on.press("o")
        assert [row.id for row in table.rows] == sorted(row.id for row in table.rows)
        await on.press("slash", *"groq", "space", "minus", *"fast")
        assert [row.id for row in table.rows] == ["groq/new-preview-1"]
        await on.press("enter")
        await on.sees("[groq] [-fast] (Esc clears)")
        await on.press("space")
        await on.sees("◆ 1 marked")
        await on.press("escape", "escape")
        assert len(table.rows) == 11


async def test_the_detail_has_layers_header_note_agents_and_limits() -> None:
    """Weights say what they are, read when they are looked at; a model nobody serves says what to run."""
    control = shop()
    async with stage(control, size=(120, 40)) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        on.desk.show("registry", "lab/tiny-q4")
        await on.sees("architecture llama, parameters", "not served; run: llama-server", "below /srv/weights")
        on.desk.show("registry", "ollama-local/llama3.1:8b")
        await on.sees("no (operator)", "learned: no", "guessed: yes", "rpm 60, tpm 9000", "agents    cli-2")


async def test_objects_are_reachable_by_name_whatever_the_filter() -> None:
    """The palette goes to a model; one that is not there is told."""
    async with stage(shop(), size=(120, 40)) as on:
        await on.press("4", "slash", *"nothing", "enter")
        await on.sees("No model passes the filter")
        on.desk.show("registry", "openai/gpt-x")
        assert on.desk.registry.table.current_key == "openai/gpt-x"
        await on.press("ctrl+p", *"llama-3.3", "space", *"registry", "enter")
        assert on.desk.registry.table.current_key == "groq/llama-3.3-70b"
        on.desk.show("registry", "no/such")
        assert "there is no no/such" in on.desk.state.last.text


async def test_read_only_changes_nothing() -> None:
    """No mutating key is there, in the list or in the detail; filter and sort are."""
    mutating = [action for action in ACTIONS if action.context is Context.REGISTRY and action.mutating]
    async with stage(shop(), size=(120, 40), read_only=True) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        await on.press(*(key for action in mutating for key in action.keys), "enter", "i", "d", "a")
        assert (on.control.commands, on.control.dry_runs) == ([], [])
        assert (on.desk.question, on.desk.prompt, on.desk.registry.editor.form) == (None, None, None)
        assert not [word for _, word in on.desk.hints() if word in {action.hint for action in mutating if action.hint}]


async def test_untrusted_names_stay_text() -> None:
    """Escape sequences and markup of an upstream's ids are spelt out everywhere."""
    control = shop()
    odd = model("lab", "\x1b]0;x\x07[b]", display="\x9b31m", tags=("\x1b[2J",), note="\x1b[31m", description="a\x00b")
    control.model_page = ModelPage((odd,), 1)
    async with stage(control, size=(120, 40)) as on:
        await on.press("4")
        await on.sees("lab/")
        await on.press("i")
        assert not any(char in on.text() for char in "\x1b\x07\x9b\x00")


# -- staged edits on a real engine ------------------------------------------------------------------------------------


async def test_a_tag_change_is_applied_and_undone_with_preview_in_eight_keys(tmp_path: Path) -> None:
    """From another view: open, type a tag, preview, yes, undo."""
    async with engine(tmp_path) as (on, node):
        await on.press("1")
        keys = 0

        async def press(key: str) -> None:
            nonlocal keys
            keys += 1
            await on.press(key)

        await press("4")
        for key in ("t", "x", "enter", "a"):
            await press(key)
        await ready(on)
        await on.sees("tags – → x")
        await on.sees("none of the last 3 requests would have gone elsewhere")
        assert tags(node) == ()
        await press("y")
        await on.until(lambda: tags(node) == ("x",), "the tag")
        await on.sees("#1 update model a/m1: tags – → x")
        await press("z")
        await on.until(lambda: tags(node) == (), "the undo")
        assert keys <= 8
        await on.sees("#2 undo")


async def test_the_form_stages_what_differs_and_applies_it_together(tmp_path: Path) -> None:
    """Several fields of two models are one change with one undo, shown before → after."""
    async with engine(tmp_path) as (on, node):
        await on.press("i", *"cheap", "down", "right", "right", "enter")
        assert on.desk.registry.editor.form is None
        await on.press("j", "i", *"big", "enter")
        assert [change.key for change in on.desk.registry.editor.staging.changes] == [
            "a/m1 tags",
            "a/m1 tier",
            "b/m2 tags",
        ]
        await on.sees("Staged  3 not applied")
        await on.press("a")
        await ready(on)
        assert isinstance(on.desk.question.proposal.command, ApplyEdits)
        await on.sees("Apply 3 staged changes to 2 models?")
        await on.press("y")
        await on.until(lambda: tags(node, "b", "m2") == ("big",), "both")
        assert tags(node) == ("cheap",)
        await on.until(lambda: not on.desk.registry.editor.staging.changes, "nothing staged any more")
        audit = await node.control.audit()
        assert [row.command for row in audit] == ["apply_edits"]
        await on.press("z")
        await on.until(lambda: tags(node) == () and tags(node, "b", "m2") == (), "both undone")


async def test_what_is_typed_is_checked_as_one_types(tmp_path: Path) -> None:
    """A wrong type is told at once, what the configuration's rules refuse once the keys pause; neither is staged."""
    async with engine(tmp_path) as (on, node):
        await on.press("i")
        form = on.desk.registry.editor.form
        form.restore("default_temperature")
        await on.press(*"warm")
        await on.sees("default_temperature: a number")
        await on.press("enter")
        assert on.desk.registry.editor.form is form
        await on.press("ctrl+u", *"9")
        await on.sees("✗ Invalid default_temperature 9")
        await on.press("enter")
        assert on.desk.registry.editor.form is form
        await on.press("ctrl+u", *"0.5")
        await on.sees("✓ allowed; no pool changes")
        form.restore("in_pools")
        await on.press("n")
        await on.sees("pools -auto")
        await on.press("enter")
        assert on.desk.registry.editor.staging.of("a/m1") == {"default_temperature": 0.5, "in_pools": False}
        assert (await node.control.audit()) == ()


async def test_esc_leaves_the_form_and_asks_once_where_something_is_lost(tmp_path: Path) -> None:
    """An untouched form goes at once, a touched one at the second Esc; digits and letters in it are text."""
    async with engine(tmp_path) as (on, _):
        await on.press("i", "escape")
        assert on.desk.registry.editor.form is None
        await on.press("i", "1", "q", "escape")
        await on.sees("Esc once more drops")
        assert on.desk.view.mode == "registry"
        await on.press("escape")
        assert on.desk.registry.editor.form is None
        assert not on.desk.registry.editor.staging.changes


async def test_unstaging_takes_one_change_or_all_of_a_model(tmp_path: Path) -> None:
    """In the list `u` means the model, in the staged pane the chosen change; a value as it is now is not staged."""
    async with engine(tmp_path) as (on, _):
        await on.press("i", *"x", "down", "right", "enter")
        staging = on.desk.registry.editor.staging
        assert len(staging.changes) == 2
        await on.press("tab", "j", "u")
        assert [change.field for change in staging.changes] == ["tags"]
        await on.press("u")
        assert not staging.changes
        assert on.desk.registry.focus == 0
        await on.press("u")
        await on.sees("nothing is staged")
        await staged(on, *"x")
        await staged(on, "minus", *"x")
        assert not staging.changes


@pytest.mark.parametrize("choice", ["theirs", "mine", "keep"])
async def test_T19_two_edits_at_once_are_a_choice_and_lose_nothing(choice: str, tmp_path: Path) -> None:
    """Somebody else was faster: theirs stays, mine goes over it after another look, or the form shows both."""
    async with engine(tmp_path) as (on, node):
        await staged(on, *"mine")
        await node.control.do(UpdateModel("a", "m1", {"tags": ["theirs"]}, 1), actor="api")
        await on.press("a")
        await on.until(lambda: on.desk.picker is not None, "the choice")
        await on.sees("Conflict: a/m1 was changed by somebody else (it says tags theirs)")
        assert tags(node) == ("theirs",)
        await on.press(*choice, "enter")
        editor = on.desk.registry.editor
        if choice == "theirs":
            assert not editor.staging.changes
        elif choice == "mine":
            await ready(on)
            await on.sees("tags theirs → mine")
            await on.press("y")
            await on.until(lambda: tags(node) == ("mine",), "mine over theirs")
        else:
            await on.sees("▶● tags")
            assert (editor.form.original["tags"], editor.form.texts["tags"]) == ("theirs", "mine")
            await on.press("enter", "a")
            await ready(on)
            assert tags(node) == ("theirs",)


async def test_T19_an_edit_between_question_and_yes_is_a_conflict(tmp_path: Path) -> None:
    """The version that was looked at counts until the change is made."""
    async with engine(tmp_path) as (on, node):
        await staged(on, *"mine")
        await on.press("a")
        await ready(on)
        await node.control.do(LabelModel("a", "m1", add=("theirs",)), actor="api")
        await on.press("y")
        await on.until(lambda: on.desk.picker is not None, "the choice")
        assert tags(node) == ("theirs",)
        assert on.desk.registry.editor.staging.of("a/m1") == {"tags": ["mine"]}


async def test_T19_a_model_that_went_away_takes_its_staged_edit_along(tmp_path: Path) -> None:
    """Nothing is left to apply it to, and the console says so."""
    async with engine(tmp_path) as (on, node):
        await staged(on, *"x")
        await node.control.do(RemoveModel("a", "m1"), actor="api")
        await on.sees("changed elsewhere")
        await on.press("a")
        await on.until(lambda: on.desk.picker is not None, "the choice")
        await on.sees("was removed by somebody else")
        await on.press("enter")
        assert not on.desk.registry.editor.staging.changes


async def test_T20_a_refused_edit_shows_at_its_field_with_the_old_value_back(tmp_path: Path) -> None:
    """What the engine refuses at the end comes back to the form: the field says why, its old value stands there."""
    async with engine(tmp_path) as (on, node):
        await on.press("j")
        await staged(on, *"ok")
        await on.press("k")
        editor = on.desk.registry.editor
        now = await node.control.registry_model("a", "m1")
        editor.staging.stage(now, {"default_temperature": 9.0, "tags": ["fine"]})
        await on.press("a")
        await on.until(lambda: editor.form is not None, "the form")
        await on.sees("Invalid default_temperature 9")
        assert (editor.form.texts["default_temperature"], editor.form.current.name) == ("", "default_temperature")
        assert editor.staging.of("a/m1") == {"tags": ["fine"]}
        await on.press("enter", "a")
        await ready(on)
        await on.press("y")
        await on.until(lambda: tags(node) == ("fine",), "the rest")
        assert tags(node, "b", "m2") == ("ok",)


async def test_an_engine_that_cannot_keep_changes_leaves_them_staged(tmp_path: Path) -> None:
    """A refusal that is about no field is told, and nothing staged is lost."""
    control = shop()
    async with stage(control, size=(120, 40)) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        await staged(on, *"x")
        control.refuses = ControlError("storage_unavailable", "Changes cannot be written down now.", status=503)
        await on.press("a")
        await on.sees("Changes cannot be written down now.")
        assert on.desk.question is None
        assert len(on.desk.registry.editor.staging.changes) == 1


# -- actions ----------------------------------------------------------------------------------------------------------


async def scripted(on: Stage, key: str) -> None:
    await on.press("4")
    await on.sees("anthropic/claude-x")
    on.desk.show("registry", key)


async def test_removing_names_who_loses_the_model() -> None:
    """Pools and agents are named, and what it would have meant; `n` leaves everything."""
    async with stage(shop(), size=(120, 40)) as on:
        await scripted(on, "anthropic/claude-x")
        await on.press("D")
        await ready(on)
        await on.sees(
            "Remove anthropic/claude-x", "lost by auto, text, tools", "lost by coder, planner", "14 of the last 500"
        )
        await on.press("n")
        assert on.control.commands == []
        await on.press("D")
        await ready(on)
        await on.press("y")
        await on.until(lambda: on.control.commands == [RemoveModel("anthropic", "claude-x")], "the removal")


async def test_marked_models_are_switched_removed_and_labelled_together() -> None:
    """Marks mean all of them: one question with one preview, one command each; tags are staged of each."""
    async with stage(shop(), size=(120, 40)) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        await on.press("space", "space", "d")
        await ready(on)
        await on.sees("Switch off 2 models?")
        wanted = [SetModelActive("anthropic", "claude-x", False), SetModelActive("ollama-local", "llama3.1:8b", False)]
        assert on.control.tried == [tuple(wanted)]
        await on.press("y")
        await on.until(lambda: on.control.commands == wanted, "both off")
        await on.press("D")
        await ready(on)
        await on.press("y")
        await on.until(lambda: len(on.control.commands) == 4, "both removed")
        await staged(on, *"new", "space", "minus", *"fast")
        staging = on.desk.registry.editor.staging
        assert staging.of("anthropic/claude-x") == {"tags": ["smart", "paid", "new"]}
        assert staging.of("ollama-local/llama3.1:8b") == {"tags": ["local", "new"]}


async def test_switching_on_does_not_ask_and_accepting_says_that_it_may_cost() -> None:
    """What is off takes requests again at once; a hosted model that was found joins pools only after a yes."""
    async with stage(shop(), size=(120, 40)) as on:
        await scripted(on, "openai/gpt-x")
        await on.press("d")
        await on.until(lambda: on.control.commands == [SetModelActive("openai", "gpt-x", True)], "on again")
        await on.press("A")
        await on.sees("joins pools already")
        on.desk.show("registry", "groq/new-preview-1")
        await on.press("A")
        await ready(on)
        await on.sees("may cost groq/new-preview-1")
        await on.press("y")
        await on.until(lambda: on.control.commands[1:] == [AcceptModel("groq", "new-preview-1")], "accepted")


async def test_agents_are_assigned_from_those_known_or_by_name() -> None:
    """Agents of models and of the log are there to choose; another one is typed; one of the model's falls back."""
    async with stage(shop(), size=(120, 40)) as on:
        await scripted(on, "groq/llama-3.3-70b")
        await on.press("b", *"reviewer", "enter")
        await on.until(lambda: on.control.commands == [AssignAgent("reviewer", "groq/llama-3.3-70b")], "assigned")
        await on.press("b", *"another", "enter", *"new one", "enter")
        await on.until(lambda: len(on.control.commands) == 2, "the new one")
        assert on.control.commands[1] == AssignAgent("new one", "groq/llama-3.3-70b")
        on.desk.show("registry", "anthropic/claude-x")
        await on.press("B", *"plan", "enter")
        await on.until(lambda: on.control.commands[2:] == [UnassignAgent("planner")], "unassigned")


async def test_a_model_is_registered_by_a_form_that_comes_back_when_it_is_refused() -> None:
    """Provider and id are needed; the question has a preview; a refusal opens the form again as it was."""
    async with stage(shop(), size=(120, 40)) as on:
        await scripted(on, "groq/llama-3.3-70b")
        await on.press("R", "enter")
        await on.sees("must not be empty")
        await on.press(*"fresh", "down", *"t1", "enter")
        await ready(on)
        assert on.desk.question.proposal.command == RegisterModel("groq", "fresh", {"tags": ["t1"]})
        on.control.refuses = ControlError("conflict", "Model 'groq/fresh' is registered already.", status=409)
        await on.press("y")
        await on.sees("is registered already", "fresh")
        assert on.desk.registry.editor.form.texts["model"] == "fresh"


async def test_a_download_shows_its_bar_and_can_be_stopped() -> None:
    """Progress events draw a line of their own; the end says how it went, and Esc puts it away."""
    control = shop()
    async with stage(control, size=(120, 40)) as on:
        await scripted(on, "ollama-local/llama3.1:8b")
        await on.press("P", "ctrl+w", *"ollama-local/tiny:1b", "enter")
        await on.until(lambda: on.control.commands == [PullModel("ollama-local", "tiny:1b")], "the download")
        told: dict[str, Any] = {
            "provider": "ollama-local",
            "model": "tiny:1b",
            "state": "running",
            "status": "pulling abc",
        }
        control.publish(EventType.PULL_PROGRESS, **told, completed=1_200_000_000, total=2_400_000_000, percent=50.0)
        await on.sees("██████████··········  50%  1.2GB of 2.4GB")
        await on.press("X")
        await ready(on)
        await on.press("y")
        await on.until(lambda: on.control.commands[1:] == [CancelPull("ollama-local", "tiny:1b")], "the stop")
        ended = {
            **told,
            "state": "failed",
            "status": "failed",
            "error": "disk full",
            "proposal": "ollama-local/llama3.1:8b",
        }
        control.publish(EventType.PULL_PROGRESS, **ended, completed=0, total=0, percent=None)
        await on.sees("✗ failed: disk full")
        await on.press("tab")
        await on.sees("installed instead: ", "│ ollama-local/llama3.1:8b", "not in the registry yet")
        await on.press("X")
        await on.sees("nothing is being downloaded")
        await on.press("escape")
        assert on.desk.registry.focus == 0
        await on.loses("disk full")


async def test_only_ollama_downloads() -> None:
    """Without such a server the key says so and asks nothing."""
    control = shop()
    control.now = status(provider("groq"))
    async with stage(control) as on:
        await on.press("4", "P")
        assert on.desk.prompt is None
        assert "none is configured" in on.desk.state.last.text


async def test_a_sync_shows_what_is_new_changed_and_missing() -> None:
    """A page waits for the listings and then has the diff, with who could not be asked."""
    control = shop()
    found = {
        "new": ["groq/x-1"], "changed": [], "missing": ["lab/gone-7b"],
        "providers": {"groq": {"status": "ok", "models": 3},
                      "lab": {"status": "failed", "stale": True, "detail": "no"}},
    }  # fmt: skip
    control.synced = found
    async with stage(control, size=(120, 40)) as on:
        await on.press("4")
        await on.sees("anthropic/claude-x")
        control.do_gate.clear()
        await on.press("S")
        await on.sees("asking every provider for its models")
        control.do_gate.set()
        await on.sees("New 1", "+ groq/x-1", "Missing 1", "- lab/gone-7b", "✗ lab failed; its last list stays: no")
        assert SyncModels(()) in on.control.commands


async def test_a_key_costs_a_few_calls_a_model_and_a_frame_what_is_visible() -> None:
    """Filtering 5,000 models, taking a page of them in and moving grow no faster than that."""
    many = tuple(model("lab", f"m-{number}", tags=(f"t{number % 7}",)) for number in range(5000))
    control = shop()
    control.model_page = ModelPage(many, len(many))
    async with stage(control, size=(120, 40)) as on:
        await on.press("4")
        await on.sees("lab/m-0 ")
        for text in ("t", "t3", "m-4999", ""):
            assert calls(partial(on.desk.registry.narrow, text)) < 15 * len(many)
        assert calls(on.app.redraw) < 30_000
        on.desk.state.snapshots.models = ModelPage(tuple(replace(each, version=2) for each in many), len(many))
        assert len(many) < calls(on.desk.registry.sync) < 15 * len(many)
        assert calls(partial(on.desk.key, "j", "j")) < 5 * len(many)
