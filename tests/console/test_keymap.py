"""The action registry and the validation of `console.keys`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest
from tests.console.bare_host import BareHost
from tests.console.fake_control import FakeControl

from routerconsole.console.actions import ACTIONS, BY_ID, Bindings, Context
from routerconsole.console.desk import Desk, Shell
from routerconsole.console.keymap import FOCUSES, RESERVED, canonical, keymap_problems, resolve_keymap
from routerconsole.console.options import ConsoleOptions
from routerconsole.console.views.base import View
from routerconsole.console.views.overview import OverviewView


class Nobody:
    """A shell nobody looks at."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args: None


def focuses() -> dict[str, frozenset[Context]]:
    """Return the contexts of every pane of every view the console has, and of the pages that have their own."""
    desk = Desk(FakeControl(), ConsoleOptions(), cast("Shell", Nobody()))
    found = {
        f"{view.mode}: {pane.name}": frozenset(pane.contexts) for view in desk.views.values() for pane in view.panes
    }
    for place, _ in enumerate(desk.overview.lists):  # its detail takes a provider's keys only where it shows one
        desk.overview.focus = place
        desk.overview.sync()
        found[f"overview: detail of list {place}"] = frozenset(desk.overview.detail.contexts)
    return found | {"page: incident": frozenset({Context.INCIDENT, Context.NOTE})}


def test_the_focuses_keys_are_checked_against_are_those_of_the_views() -> None:
    """`keymap.FOCUSES` names the contexts of every pane there is, and of none that is not."""
    written = {frozenset(focus) for focus in FOCUSES}
    missing = {pane: sorted(contexts) for pane, contexts in focuses().items() if contexts not in written}
    assert missing == {}, "add these to keymap.FOCUSES"
    assert written == set(focuses().values()), "no pane has these: take them out of keymap.FOCUSES"


@pytest.mark.parametrize(
    "contexts", sorted(map(sorted, {*focuses().values(), *(frozenset({each}) for each in Context)}))
)
def test_no_key_means_two_things_in_one_focus(contexts: list[Context]) -> None:
    """Within one focus each key belongs to one action, in every pane of every view and in every page and question."""
    owners: dict[str, list[str]] = {}
    for action in ACTIONS:
        if action.context in contexts:
            for key in action.keys:
                owners.setdefault(key, []).append(action.id)
    assert {key: ids for key, ids in owners.items() if len(ids) > 1} == {}


def test_every_action_can_be_reached_somewhere() -> None:
    """No action hangs in a context that neither a pane, nor a page, nor a question, nor everywhere has."""
    live = frozenset().union(*focuses().values()) | {Context.GLOBAL, Context.CONFIRM, Context.QUIT, Context.NOTE}
    assert [action.id for action in ACTIONS if action.context not in live] == []


def test_a_view_that_does_not_say_what_it_wants_cannot_be_made() -> None:
    """What a view must answer is asked for when it is made, not when the first tick comes."""

    class Silent(OverviewView):
        wants = View.wants

    with pytest.raises(TypeError, match="wants"):
        Silent(BareHost())


def test_every_key_is_a_key_the_terminal_can_report() -> None:
    """The registry itself passes the rules for overrides, and nothing needs Alt or only an F key."""
    for action in ACTIONS:
        assert all(canonical(key) == key for key in action.keys), action.id
        assert not action.keys or any(not key.startswith(("alt+", "f1")) for key in action.keys), action.id


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"log.freez": "x"}, "no such action; did you mean log.freeze?"),
        ({"log.freeze": "ctrl+alt+hyper"}, "is not a key"),
        ({"log.freeze": 7}, "write a key or a list of keys"),
        ({"log.freeze": "ctrl+c"}, "is reserved"),
        ({"log.freeze": "escape"}, "is reserved"),
        ({"log.freeze": "e"}, "'e' is already log.next_failure"),
        ({"log.freeze": "j"}, "'j' is already cursor.down"),
        ({"pop": "x"}, "cannot be changed"),
    ],
)
def test_bad_overrides_are_named_and_left_out(overrides: dict[str, object], says: str) -> None:
    """An override that cannot work is reported with the reason; the default stays."""
    usable, problems = resolve_keymap(overrides)
    assert usable == {}
    assert len(problems) == 1
    assert says in problems[0]
    assert problems == keymap_problems(overrides)


def test_good_override_replaces_the_keys() -> None:
    """A remapped action answers its new key only, and symbols may be written as such."""
    usable, problems = resolve_keymap({"log.freeze": ["f9", ";"], "provider.reset": "f8"})
    assert problems == []
    bindings = Bindings(usable)
    assert bindings.find("f9", (Context.REQUESTS,)) is BY_ID["log.freeze"]
    assert bindings.find("semicolon", (Context.REQUESTS,)) is BY_ID["log.freeze"]
    assert bindings.find("f", (Context.REQUESTS,)) is None


def test_swapping_two_keys_is_no_clash() -> None:
    """Overrides are judged together, so two actions may change places."""
    assert keymap_problems({"log.next_failure": "E", "log.previous_failure": "e"}) == []


def test_a_view_key_may_shadow_a_global_one() -> None:
    """What the registry does itself is allowed to users too."""
    assert keymap_problems({"log.freeze": "q"}) == []
    assert "ctrl+z" in RESERVED


def test_registry_keymap_and_terminal_need_no_textual() -> None:
    """`config check` and the CLI can validate keys and the terminal without loading Textual."""
    names = ", ".join(f"routerconsole.console.{name}" for name in ("keymap", "terminal", "options"))
    code = f"import sys, {names}; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
