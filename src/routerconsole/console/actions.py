"""The action registry: the one table behind key bindings, footer, `?` help and keymap validation. No Textual here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Context(StrEnum):
    """Where keys go. Pane contexts shadow their view's, a view's shadow the global ones; dialogs shadow everything."""

    GLOBAL = "global"
    LIST = "list"
    PROVIDERS = "providers"
    REQUESTS = "requests"
    DETAIL = "detail"
    CONFIRM = "confirm"
    QUIT = "quit"
    NOTE = "note"


LABEL: Final[Mapping[Context, str]] = {
    Context.GLOBAL: "everywhere",
    Context.LIST: "in lists",
    Context.PROVIDERS: "on a provider",
    Context.REQUESTS: "in the request log",
    Context.DETAIL: "in a detail",
    Context.CONFIRM: "when asked",
    Context.QUIT: "when quitting",
    Context.NOTE: "in help and action log",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the console can do. `keys` are Textual key names; `hint` is the footer's word, or empty."""

    id: str
    keys: tuple[str, ...]
    hint: str
    help: str
    context: Context
    mutating: bool = False
    fixed: bool = False  # not remappable: the way out must always be where it is


def _actions() -> tuple[Action, ...]:
    everywhere, lists, providers, requests = Context.GLOBAL, Context.LIST, Context.PROVIDERS, Context.REQUESTS
    detail, confirm, quitting, note = Context.DETAIL, Context.CONFIRM, Context.QUIT, Context.NOTE
    return (
        Action("view.overview", ("1",), "", "Overview: providers and latest failovers", everywhere),
        Action("view.requests", ("5",), "", "Requests: the live log", everywhere),
        Action("view.back", ("minus",), "", "back to the view before", everywhere),
        Action("help", ("question_mark", "f1"), "help", "all keys", everywhere),
        Action("quit", ("q", "ctrl+q"), "quit", "quit; asks when requests are in flight", everywhere),
        Action("pane.next", ("tab",), "pane", "next pane", everywhere),
        Action("pane.previous", ("shift+tab",), "", "previous pane", everywhere),
        Action("pop", ("escape",), "", "close the detail, clear the filter", everywhere, fixed=True),
        Action("palette", ("ctrl+p",), "", "palette: every action and every object by name", everywhere),
        Action("command", ("colon",), "", "command line, Tab completes", everywhere),
        Action(
            "undo", ("z",), "", "undo the last change made here to registry or capabilities", everywhere, mutating=True
        ),
        Action("log.show", ("at",), "log", "action log: every operator change, before and after", everywhere),
        Action("repaint", ("ctrl+l",), "", "draw the whole screen again", everywhere),
        Action(
            "interrupt",
            ("ctrl+c",),
            "",
            "quit with exit code 130; asks when requests are in flight",
            everywhere,
            fixed=True,
        ),
        Action("cursor.down", ("j", "down"), "", "next row", lists),
        Action("cursor.up", ("k", "up"), "", "previous row; freezes a following list", lists),
        Action("cursor.top", ("g", "home"), "", "first row", lists),
        Action("cursor.bottom", ("G", "end"), "", "last row; follows again in the log", lists),
        Action("cursor.page_down", ("ctrl+d", "pagedown"), "", "half a page down", lists),
        Action("cursor.page_up", ("ctrl+u", "pageup"), "", "half a page up", lists),
        Action("open", ("enter",), "open", "open the detail", lists),
        Action("into", ("l", "right"), "", "into the detail", lists),
        Action(
            "provider.probe",
            ("t",),
            "probe",
            "probe: check reachability now, changes nothing",
            providers,
            mutating=True,
        ),
        Action("provider.reset", ("r",), "reset", "reset the breaker and clear faults", providers, mutating=True),
        Action(
            "provider.drain",
            ("d",),
            "drain/on",
            "drain: no new requests; enables again what is out",
            providers,
            mutating=True,
        ),
        Action(
            "provider.disable",
            ("D",),
            "disable",
            "disable now, remembered over restarts; enables again",
            providers,
            mutating=True,
        ),
        Action("log.freeze", ("f",), "freeze", "freeze the log, or follow it again", requests),
        Action("log.filter", ("slash",), "filter", "filter by text; '-' before a word excludes it", requests),
        Action("log.invert", ("exclamation_mark",), "", "turn the filter into its opposite", requests),
        Action("log.next_failure", ("e",), "next fail", "next failed or failed-over request", requests),
        Action("log.previous_failure", ("E",), "", "previous failed or failed-over request", requests),
        Action("detail.down", ("j", "down"), "", "scroll down", detail),
        Action("detail.up", ("k", "up"), "", "scroll up", detail),
        Action("detail.top", ("g", "home"), "", "to the top", detail),
        Action("detail.bottom", ("G", "end"), "", "to the end", detail),
        Action("detail.page_down", ("ctrl+d", "pagedown", "space"), "", "half a page down", detail),
        Action("detail.page_up", ("ctrl+u", "pageup"), "", "half a page up", detail),
        Action("detail.back", ("h", "left"), "back", "back to the list", detail),
        Action("confirm.yes", ("y", "enter"), "yes", "do it", confirm, fixed=True),
        Action("confirm.no", ("n", "escape"), "no", "leave everything as it is", confirm, fixed=True),
        Action(
            "quit.drain",
            ("q",),
            "drain and quit",
            "let running requests finish (10 s), then quit",
            quitting,
            fixed=True,
        ),
        Action("quit.handoff", ("h",), "hand off", "leave the screen, keep serving headless", quitting, fixed=True),
        Action("quit.stay", ("escape", "n"), "stay", "stay here", quitting, fixed=True),
        Action("note.down", ("j", "down"), "", "scroll down", note),
        Action("note.up", ("k", "up"), "", "scroll up", note),
        Action("note.page_down", ("ctrl+d", "pagedown", "space"), "", "half a page down", note),
        Action("note.page_up", ("ctrl+u", "pageup"), "", "half a page up", note),
        Action("note.close", ("escape", "q", "enter", "at", "question_mark"), "close", "close", note, fixed=True),
    )


ACTIONS: Final = _actions()
BY_ID: Final[Mapping[str, Action]] = {action.id: action for action in ACTIONS}

SHOWN_AS: Final[Mapping[str, str]] = {
    "minus": "-",
    "at": "@",
    "question_mark": "?",
    "slash": "/",
    "exclamation_mark": "!",
    "colon": ":",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "shift+tab": "S-Tab",
    "space": "Space",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "f1": "F1",
}


def shown_key(key: str) -> str:
    """Return a key as people write it: `@`, `Esc`, `^d`."""
    return SHOWN_AS.get(key, f"^{key[5:]}" if key.startswith("ctrl+") else key)


class Bindings:
    """Keys to actions for one console: the registry under a keymap and, read-only, without what changes things."""

    def __init__(self, keymap: Mapping[str, tuple[str, ...]] | None = None, *, read_only: bool = False) -> None:
        changed = keymap or {}
        self.actions = tuple(action for action in ACTIONS if not (read_only and action.mutating))
        self._keys = {action.id: changed.get(action.id, action.keys) for action in self.actions}
        self._by_context: dict[Context, dict[str, Action]] = {context: {} for context in Context}
        for action in self.actions:
            for key in self._keys[action.id]:
                self._by_context[action.context][key] = action

    def keys(self, action_id: str) -> tuple[str, ...]:
        """Return the keys of an action, none when it is not available."""
        return self._keys.get(action_id, ())

    def find(self, key: str, contexts: Iterable[Context]) -> Action | None:
        """Return the action of a key, the first context that knows it deciding."""
        return next((found for context in contexts if (found := self._by_context[context].get(key))), None)

    def hints(self, contexts: Iterable[Context]) -> list[tuple[str, str]]:
        """Return (key, word) pairs for the footer, the focused pane's first."""
        return [
            (shown_key(self._keys[action.id][0]), action.hint)
            for context in contexts
            for action in self.actions
            if action.context is context and action.hint and self._keys[action.id]
        ]

    def listing(self) -> list[tuple[Context, list[tuple[str, str]]]]:
        """Return per context the (keys, help) pairs of everything available, for the help page."""
        return [
            (
                context,
                [(" ".join(map(shown_key, self._keys[a.id])), a.help) for a in self.actions if a.context is context],
            )
            for context in Context
        ]
