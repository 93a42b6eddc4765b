"""Commands as JSON and back: every one of them, by its own name, with exactly the arguments and types it names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.control import registry_commands
from routerconsole.control.commands import Command
from routerconsole.control.eval_commands import ScenarioFile, StartEval
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    AssignAgent,
    LabelModel,
    RegisterModel,
    RegistryCommand,
    RotatePool,
    SetCapability,
    SyncModels,
    Undo,
    UpdateModel,
)
from routerconsole.control.wire import command_from_json, command_json, command_names
from routerconsole.domain.secret import Secret

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=3))
FIELDS = st.dictionaries(TEXT, JSON, max_size=3)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(RegisterModel, TEXT, TEXT, FIELDS),
    st.builds(UpdateModel, TEXT, TEXT, FIELDS, st.none() | st.integers(0, 99)),
    st.builds(LabelModel, TEXT, TEXT, st.lists(TEXT).map(tuple), st.lists(TEXT).map(tuple)),
    st.builds(AssignAgent, TEXT, TEXT),
    st.builds(SetCapability, TEXT, TEXT, TEXT, st.sampled_from(["yes", "no"])),
    st.builds(Undo, st.integers(-(2**63), 2**63 - 1)),
    st.builds(SyncModels, st.lists(TEXT).map(tuple)),
    st.builds(RotatePool, TEXT),
)


@given(COMMANDS)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    """Name and arguments, whatever text stands in them."""
    data = command_json(command)
    assert data["command"] == command.name
    assert command_from_json(data["command"], data["args"]) == command


def test_every_registry_command_has_a_name_that_is_taken() -> None:
    """All of the module's commands are in the union and on the wire, once."""
    kinds = [kind for kind in vars(registry_commands).values() if isinstance(kind, type) and hasattr(kind, "name")]
    assert len(kinds) == 20
    assert set(kinds) <= set(get_args(Command))
    assert set(get_args(RegistryCommand)) < set(kinds)
    names = command_names()
    assert len(set(names)) == len(names)
    assert {str(kind.name) for kind in kinds} <= set(names)


MODEL = {"provider": "a", "model": "m"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("set_capability", {**MODEL, "node": "tools", "value": True}, "value"),
    ("set_capability", {**MODEL, "node": "tools", "value": "maybe"}, "'yes' or 'no'"),
    ("set_capability", {**MODEL, "node": "tools"}, "value"),
    ("set_capability", {**MODEL, "node": 1, "value": "yes"}, "node"),
    ("set_model_active", {**MODEL, "active": "false"}, "active"),
    ("set_model_active", {**MODEL, "active": 0}, "active"),
    ("update_model", {**MODEL, "fields": []}, "fields"),
    ("update_model", {**MODEL, "fields": {}, "version": "1"}, "version"),
    ("label_model", {**MODEL, "add": "x"}, "add"),
    ("undo", {"audit_id": "3"}, "audit_id"),
    ("undo", {"audit_id": True}, "audit_id"),
    ("undo", {"id": 3}, "'id'"),
    ("register_model", {"provider": "a"}, "model"),
    ("sync_models", {"providers": [1]}, "providers"),
    ("set_capabilities", {}, "there are: "),
]


@pytest.mark.parametrize(("name", "args", "words"), WRONG)
def test_arguments_of_another_type_are_refused_by_name(name: str, args: dict[str, Any], words: str) -> None:
    """Nothing is coerced: 400 naming the argument, or the commands there are."""
    with pytest.raises(ControlError) as told:
        command_from_json(name, args)
    assert told.value.status == 400
    assert words in told.value.message


@pytest.mark.parametrize("kind", get_args(RegistryCommand), ids=lambda kind: str(kind.name))
def test_an_unknown_argument_is_refused_with_those_there_are(kind: type[Any]) -> None:
    """A typo changes nothing silently."""
    with pytest.raises(ControlError) as told:
        command_from_json(kind.name, {"surprise": 1})
    assert all(field.name in told.value.message for field in fields(kind))


def test_a_key_travels_and_is_shown_nowhere() -> None:
    """On the wire it is plain, or it could not be used; everywhere else it is masked."""
    command = StartEval(("url:http://x/v1",), scenario_files=(ScenarioFile("a.yaml", "b"),), key=Secret("sk-canary"))
    assert "canary" not in f"{command!r} {command}"
    data = command_json(command)
    assert data["args"]["key"] == "sk-canary"
    assert command_from_json(data["command"], data["args"]) == command
    for key in (7, ["sk-canary"]):
        with pytest.raises(ControlError, match="key"):
            command_from_json("start_eval", {**data["args"], "key": key})
