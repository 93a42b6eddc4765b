"""`ctrl+p`, `x`, `:` and `?`: every action and object by name, from the one action registry. No Textual here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from .actions import LABEL, Action, Bindings, Context, shown_key
from .picker import Entry, Picker
from .prompt import Prompt
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .state import ConsoleState
    from .views.base import View

PALETTE: Final = "Palette"
MANUAL: Final = "Keys"
HISTORY: Final = 50
MIN_OBJECT: Final = 2
"""Letters after which `:` also completes names of objects."""
_UNLISTED: Final = frozenset({Context.CONFIRM, Context.QUIT, Context.NOTE, Context.INCIDENT})
"""Contexts whose actions only make sense in answer to what is open."""
_MOVING: Final = frozenset({Context.GLOBAL, Context.LIST, Context.DETAIL})


class Stage(Protocol):
    """What palette and command line need of the desk."""

    state: ConsoleState
    bindings: Bindings
    views: dict[str, View]
    view: View

    def perform(self, action_id: str) -> None:
        """Carry out an action as if its key had been pressed."""

    def show(self, mode: str, key: str) -> None:
        """Go to one object in its home view."""

    def tell(self, text: str, *, ok: bool) -> None:
        """Show a result in the bottom line."""

    def theme_names(self) -> Sequence[str]:
        """Return the themes there are."""

    def use_theme(self, name: str) -> str:
        """Draw with another theme; return why not, or nothing."""


def palette(stage: Stage) -> Picker:
    """Return the page of everything there is to do here and to go to."""
    return Picker(PALETTE, palette_entries(stage), empty="no action or object of this name; Esc leaves")


def palette_entries(stage: Stage) -> list[Entry]:
    """Return what the palette lists, as far as it is known by now."""
    return [*_actions(stage, stage.view.contexts()), *_objects(stage)]


def manual(stage: Stage) -> Picker:
    """Return the page of all keys by where they work, those of the focused pane first."""
    here = stage.view.contexts()
    places = dict.fromkeys((*here, *Context))
    entries = [
        Entry(
            action.help,
            partial(_do_or_say, stage, action),
            note=action.id,
            key=" ".join(map(shown_key, stage.bindings.keys(action.id))),
            section=LABEL[place].capitalize(),
        )
        for place in places
        for action in stage.bindings.actions
        if action.context is place
    ]
    return Picker(MANUAL, entries, empty="no key for this; Esc leaves")


def _do_or_say(stage: Stage, action: Action) -> None:
    """Carry out an action picked in the manual, or say where it works."""
    if action.context in stage.view.contexts():
        stage.perform(action.id)
    else:
        stage.tell(f"{action.id} works {LABEL[action.context]}", ok=False)


def menu(stage: Stage) -> Picker:
    """Return the page of what the focused pane can do beside moving about."""
    here = [context for context in stage.view.contexts() if context not in _MOVING]
    return Picker("Menu", list(_actions(stage, here)), empty="nothing to do here; Esc leaves")


def command_line(stage: Stage, history: list[str]) -> Prompt:
    """Return the `:` line: an action id or a view, then an object's name where one is meant."""

    def accept(text: str) -> None:
        if text.strip():
            history[:] = [*[each for each in history if each != text][-HISTORY:], text]
            _obey(stage, text.strip())

    return Prompt(":", accept, complete=partial(_completions, stage), history=history)


def _available(stage: Stage, here: Sequence[Context]) -> list[Action]:
    """Return the actions of some contexts."""
    return [action for action in stage.bindings.actions if action.context in here and action.context not in _UNLISTED]


def _actions(stage: Stage, here: Sequence[Context]) -> Iterator[Entry]:
    for action in _available(stage, here):
        if action.id not in {"palette", "command", "pop"}:
            keys = stage.bindings.keys(action.id)
            yield Entry(
                action.help,
                partial(stage.perform, action.id),
                note=f"{action.id} · {LABEL[action.context]}",
                key=shown_key(keys[0]) if keys else "",
            )


def _objects(stage: Stage) -> Iterator[Entry]:
    for mode, view in stage.views.items():
        for key, text in view.objects():
            yield Entry(visible(text, 120), partial(stage.show, mode, key), note=f"go to · {mode}")


def _completions(stage: Stage, text: str) -> list[str]:
    verb, space, rest = text.partition(" ")
    if not space:
        words = ("filter ", "help", "quit", "theme ")
        names = [*stage.views, *words, *(action.id for action in _available(stage, stage.view.contexts()))]
        if len(verb) >= MIN_OBJECT:
            names.extend(key for view in stage.views.values() for key, _ in view.objects())
        return [name for name in dict.fromkeys(names) if name.startswith(verb)]
    if verb == "theme":
        return [f"theme {name}" for name in stage.theme_names() if name.startswith(rest)]
    if verb in stage.views:
        return [f"{verb} {key}" for key, _ in stage.views[verb].objects() if key.startswith(rest)]
    return []


def _obey(stage: Stage, text: str) -> None:
    verb, _, rest = text.partition(" ")
    rest = rest.strip()
    home = next((mode for mode, view in stage.views.items() for key, _ in view.objects() if key == text), None)
    if verb in stage.views:
        if rest:
            stage.show(verb, rest)
        else:
            stage.perform(f"view.{verb}")
    elif verb == "theme":
        _theme(stage, rest)
    elif verb == "filter":
        if not stage.view.narrow(rest):
            stage.tell(f"{stage.view.mode} has no filter", ok=False)
    elif not rest and any(action.id == verb for action in _available(stage, stage.view.contexts())):
        stage.perform(verb)
    elif text in {"q", "quit"}:
        stage.perform("quit")
    elif home is not None:
        stage.show(home, text)
    else:
        stage.tell(f"no command {visible(verb, 40)!r} here; Tab completes, ctrl+p lists all", ok=False)


def theme_picker(stage: Stage) -> Picker:
    """Return the page of themes; Enter draws with one."""
    names = stage.theme_names()
    return Picker("Theme", [Entry(name, partial(_theme, stage, name)) for name in names], empty="no such theme")


def _theme(stage: Stage, name: str) -> None:
    if not name:
        stage.perform("theme")
        return
    problem = stage.use_theme(name)
    stage.tell(problem or f"theme {name}", ok=not problem)
