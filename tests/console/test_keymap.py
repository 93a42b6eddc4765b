"""The action registry and the validation of `console.keys`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from routerconsole.console.actions import ACTIONS, BY_ID, Bindings, Context
from routerconsole.console.keymap import RESERVED, canonical, keymap_problems, resolve_keymap
from routerconsole.console.views.base import View
from routerconsole.console.views.overview import OverviewView
from routerconsole.console.views.requests import RequestsView

FOCUSES = [
    (Context.PROVIDERS, Context.LIST),
    (Context.LIST,),
    (Context.PROVIDERS, Context.DETAIL),
    (Context.REQUESTS, Context.LIST),
    (Context.DETAIL, Context.REQUESTS),
    (Context.GLOBAL,),
    (Context.CONFIRM,),
    (Context.QUIT,),
    (Context.NOTE,),
]


def test_focuses_above_are_all_there_are() -> None:
    """The panes use exactly the combinations of contexts the clash test looks at."""
    from tests.console.bare_host import BareHost

    host = BareHost()
    panes = [pane for view in (OverviewView(host), RequestsView(host)) for pane in view.panes]
    assert {pane.contexts for pane in panes} <= set(FOCUSES)


def test_a_view_that_does_not_say_what_it_wants_cannot_be_made() -> None:
    """What a view must answer is asked for when it is made, not when the first tick comes."""
    from tests.console.bare_host import BareHost

    class Silent(OverviewView):
        wants = View.wants

    with pytest.raises(TypeError, match="wants"):
        Silent(BareHost())


@pytest.mark.parametrize("focus", FOCUSES, ids="+".join)
def test_no_key_means_two_things_in_one_focus(focus: tuple[Context, ...]) -> None:
    """Within one focus each key belongs to one action."""
    keys = [key for action in ACTIONS if action.context in focus for key in action.keys]
    assert len(keys) == len(set(keys))


def test_every_key_is_a_key_the_terminal_can_report() -> None:
    """The registry itself passes the rules for overrides, and nothing needs Alt or only an F key."""
    for action in ACTIONS:
        assert all(canonical(key) == key for key in action.keys), action.id
        assert any(not key.startswith(("alt+", "f1")) for key in action.keys), action.id


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
    usable, problems = resolve_keymap({"log.freeze": ["F", ";"], "provider.reset": "R"})
    assert problems == []
    bindings = Bindings(usable)
    assert bindings.find("F", (Context.REQUESTS,)) is BY_ID["log.freeze"]
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
