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
    OVERVIEW = "overview"
    LIST = "list"
    MARKS = "marks"
    TREE = "tree"
    CAPABILITIES = "capabilities"
    PROVIDERS = "providers"
    HEALTH = "health"
    ROUTES = "routes"
    REGISTRY = "registry"
    REQUESTS = "requests"
    DETAIL = "detail"
    CONFIRM = "confirm"
    QUIT = "quit"
    NOTE = "note"
    INCIDENT = "incident"
    EVALS = "evals"
    RUNS = "runs"
    MATRIX = "matrix"


LABEL: Final[Mapping[Context, str]] = {
    Context.GLOBAL: "everywhere",
    Context.OVERVIEW: "in Overview",
    Context.LIST: "in lists",
    Context.MARKS: "where rows can be marked",
    Context.TREE: "in the capability tree",
    Context.CAPABILITIES: "on a capability value",
    Context.PROVIDERS: "on a provider or route",
    Context.HEALTH: "in Health",
    Context.ROUTES: "in the table of providers and routes",
    Context.REGISTRY: "in the registry",
    Context.REQUESTS: "in the request log",
    Context.DETAIL: "in a detail",
    Context.CONFIRM: "when asked",
    Context.QUIT: "when quitting",
    Context.NOTE: "in the action log and other pages",
    Context.INCIDENT: "on an incident",
    Context.EVALS: "in Evals",
    Context.RUNS: "on an evaluation run",
    Context.MATRIX: "in the matrix of scenarios and targets",
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
    wellness, routes, book = Context.HEALTH, Context.ROUTES, Context.REGISTRY
    marks, tree, able = Context.MARKS, Context.TREE, Context.CAPABILITIES
    detail, confirm, quitting, note = Context.DETAIL, Context.CONFIRM, Context.QUIT, Context.NOTE
    runs = Context.RUNS
    return (
        Action("view.overview", ("1",), "", "Overview: providers and latest failovers", everywhere),
        Action("view.health", ("2",), "", "Health: providers and routes, what happened, what to do", everywhere),
        Action("view.capabilities", ("3",), "", "Capabilities: who can do what, and who says so", everywhere),
        Action("view.registry", ("4",), "", "Registry: models, their fields, staged edits", everywhere),
        Action("view.requests", ("5",), "", "Requests: the live log", everywhere),
        Action("view.evals", ("6",), "", "Evals: who passed what", everywhere),
        Action("view.back", ("minus",), "", "back to the view before", everywhere),
        Action("help", ("question_mark", "f1"), "help", "all keys; typing narrows, Enter does it", everywhere),
        Action("quit", ("q", "ctrl+q"), "quit", "quit; asks when requests are in flight", everywhere),
        Action("pane.next", ("tab",), "pane", "next pane", everywhere),
        Action("pane.previous", ("shift+tab",), "", "previous pane", everywhere),
        Action("pop", ("escape",), "", "close the detail, clear the filter", everywhere, fixed=True),
        Action("zoom.in", ("plus",), "", "the focused pane on the whole screen", everywhere),
        Action("zoom.out", ("underscore",), "", "list and detail beside each other again", everywhere),
        Action("menu", ("x",), "menu", "menu: everything to do with what is selected", everywhere),
        Action("palette", ("ctrl+p",), "", "palette: every action and every object by name", everywhere),
        Action("command", ("colon",), "", "command line, Tab completes", everywhere),
        Action(
            "undo", ("z",), "", "undo the last change made here to registry or capabilities", everywhere, mutating=True
        ),
        Action("incidents", ("M",), "", "incidents: what broke, who absorbed it, what it cost", everywhere),
        Action("usage", ("U",), "", "usage and budget: requests, tokens and cost by day, provider, model", everywhere),
        Action("theme", ("T",), "", "choose a theme", everywhere),
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
        # `TableModel.orders` names what a list can be sorted by; a view that sorts itself answers these two.
        Action("sort.next", ("o",), "", "sort by the next column; after the last one as the rows came", lists),
        Action("sort.turn", ("O",), "", "turn the order round", lists),
        Action("mark.toggle", ("space",), "mark", "mark the row, or take its mark away; Esc takes all away", marks),
        Action("mark.range", ("v",), "range", "begin a range of marks, then end it at the cursor", marks),
        Action("tree.fold", ("h", "left"), "", "close the node or go to its parent; from the models to the tree", tree),
        Action("capability.yes", ("y",), "yes", "say yes for the model or all marked ones", able, mutating=True),
        Action("capability.no", ("n",), "no", "say no for the model or all marked ones", able, mutating=True),
        Action(
            "capability.unknown",
            ("u",),
            "unknown",
            "take the operator's word away: the next layer counts again",
            able,
            mutating=True,
        ),
        Action("capability.accept", ("a",), "accept", "accept the measured value", able, mutating=True),
        Action("capability.filter", ("slash",), "filter", "show only models whose name has all the words", tree),
        Action("capability.requests", ("L",), "log", "the requests that needed this node", tree),
        Action("capability.forget", ("F",), "forget", "forget what was learned to be missing", able, mutating=True),
        Action("capability.evaluate", ("E",), "", "evaluate the model or all marked ones here", able, mutating=True),
        Action("capability.extend", ("A",), "add", "add a node to the tree", able, mutating=True),
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
        Action("provider.reset_breaker", ("b",), "", "reset only the breaker; gates stay", providers, mutating=True),
        Action(
            "provider.isolate", ("I",), "", "isolate: take it out for a while, back by itself", providers, mutating=True
        ),
        Action(
            "provider.force_close",
            ("C",),
            "",
            "force closed: for a while requests go there whatever the breaker says; again ends it",
            providers,
            mutating=True,
        ),
        Action("provider.priority", ("P",), "", "change the priority: lower is tried first", providers, mutating=True),
        Action("health.latency", ("p",), "latency", "latency history as a chart", wellness),
        Action("routes.fold", ("h", "left"), "", "fold the provider's routes away; l unfolds them", routes),
        Action("routes.filter", ("slash",), "", "filter: all words in name, kind, state, gate or reason", routes),
        Action("routes.unwell", ("e",), "", "next provider or route that is not well", routes),
        Action("routes.unwell_before", ("E",), "", "previous one that is not well", routes),
        Action("routes.all", ("full_stop",), "fold", "unfold or fold the routes of all providers", routes),
        Action(
            "registry.edit", ("i",), "edit", "edit the model in a form; what is changed is staged", book, mutating=True
        ),
        Action(
            "registry.tags",
            ("t",),
            "tags",
            "add and take away tags of the model or all marked ones",
            book,
            mutating=True,
        ),
        Action("registry.apply", ("a",), "apply", "apply everything staged, after a preview", book, mutating=True),
        Action(
            "registry.unstage", ("u",), "unstage", "unstage: of this model, or the chosen change", book, mutating=True
        ),
        Action("registry.switch", ("d",), "on/off", "switch off, or on again", book, mutating=True),
        Action(
            "registry.remove", ("D",), "remove", "remove from the registry; names who loses it", book, mutating=True
        ),
        Action("registry.accept", ("A",), "", "accept a discovered model: let it join pools", book, mutating=True),
        Action("registry.assign", ("b",), "", "assign an agent to the model", book, mutating=True),
        Action("registry.unassign", ("B",), "", "unassign an agent of the model", book, mutating=True),
        Action("registry.register", ("R",), "", "register a model nobody listed", book, mutating=True),
        Action("registry.pull", ("P",), "", "pull: have an Ollama server download a model", book, mutating=True),
        Action("registry.cancel", ("X",), "", "stop a download", book, mutating=True),
        Action("registry.evaluate", ("E",), "", "evaluate the model or all marked ones", book, mutating=True),
        Action("registry.sync", ("S",), "sync", "sync: ask all providers what they serve now", book, mutating=True),
        Action("registry.prices", ("C",), "", "prices from LiteLLM's or OpenRouter's table", book, mutating=True),
        Action(
            "registry.filter", ("slash",), "filter", "filter: words in id, tags, pools, agents, …; '-' excludes", book
        ),
        Action("registry.copy", ("c",), "", "copy the model's id", book),
        Action("overview.failure", ("e",), "last fail", "the newest failed or failed-over request", Context.OVERVIEW),
        Action(
            "evals.new",
            ("n",),
            "run",
            "new run: targets are the marked models or columns, or what is typed",
            Context.EVALS,
            mutating=True,
        ),
        Action("evals.left", ("h", "left"), "", "previous target; l goes to the next", Context.MATRIX),
        Action("evals.mark", ("m",), "", "mark the target for a new run; Space marks scenarios", Context.MATRIX),
        Action(
            "evals.compare",
            ("b",),
            "compare",
            "compare with this target, or in the list with this run; again: no longer",
            runs,
        ),
        Action(
            "evals.accept", ("a",), "accept", "accept what was measured as the model's capability", runs, mutating=True
        ),
        Action("evals.cancel", ("X",), "cancel", "stop the run, a row, a column or a cell of it", runs, mutating=True),
        Action(
            "evals.again", ("R",), "again", "go on with a run, or run all or a part of it again", runs, mutating=True
        ),
        Action("evals.export", ("W",), "export", "write the report to a new file: md, json, html, svg, xml", runs),
        Action("evals.request", ("L",), "", "the requests of the cell in the log, with their waterfalls", runs),
        Action(
            "evals.votes", ("J",), "", "have the judge vote on the cell's answer, or try the judge", runs, mutating=True
        ),
        Action(
            "evals.chart", ("p",), "", "the run's targets as a chart, beside those of the baseline if one is set", runs
        ),
        Action("evals.frames", ("f",), "", "show or hide the raw frames of a cell's calls", runs),
        Action("evals.copy", ("c",), "", "copy the run's id", runs),
        Action("log.freeze", ("f",), "freeze", "freeze the log, or follow it again", requests),
        Action("log.filter", ("slash",), "filter", "filter: words, fo, err, prov:groq, code:429, lat>2s, …", requests),
        Action("log.invert", ("exclamation_mark",), "", "turn the filter into its opposite", requests),
        Action("log.saved", ("F",), "", "saved filters: take, save or forget one", requests),
        Action("log.next_match", ("n",), "", "next request that passes the filter", requests),
        Action("log.previous_match", ("N",), "", "previous request that passes the filter", requests),
        Action("log.next_failure", ("e",), "next fail", "next failed or failed-over request", requests),
        Action("log.previous_failure", ("E",), "", "previous failed or failed-over request", requests),
        Action("log.next_slow", ("s",), "", "next slow request: over p95 of those shown", requests),
        Action("log.previous_slow", ("S",), "", "previous slow request", requests),
        Action("log.later", ("greater_than_sign",), "", "step on through the attempts of the request", requests),
        Action("log.earlier", ("less_than_sign",), "", "step back through its attempts", requests),
        Action("log.explain", ("w",), "why now", "why: where it would be routed now, and what differs", requests),
        Action("log.replay", ("R",), "replay", "send it again, to one or several models", requests, mutating=True),
        Action("log.cancel", ("X",), "", "cancel it while it is in flight", requests, mutating=True),
        Action("log.copy_id", ("c",), "", "copy its id", requests),
        Action("log.copy_text", ("y",), "", "copy it as text", requests),
        Action("log.copy_json", ("Y",), "", "copy it as JSON", requests),
        Action("log.copy_curl", (), "", "copy it as a curl line, its text left out", requests),
        Action("log.export", ("W",), "", "write the shown rows to a new file, JSON lines or CSV", requests),
        Action("detail.down", ("j", "down"), "", "scroll down", detail),
        Action("detail.up", ("k", "up"), "", "scroll up", detail),
        Action("detail.top", ("g", "home"), "", "to the top", detail),
        Action("detail.bottom", ("G", "end"), "", "to the end", detail),
        Action("detail.page_down", ("ctrl+d", "pagedown", "space"), "", "half a page down", detail),
        Action("detail.page_up", ("ctrl+u", "pageup"), "", "half a page up", detail),
        Action("detail.next", ("right_square_bracket",), "", "the next one of the list, here in the detail", detail),
        Action("detail.previous", ("left_square_bracket",), "", "the one before, here in the detail", detail),
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
        Action("incident.export", ("W",), "report", "write it as a redacted Markdown report", Context.INCIDENT),
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
    "full_stop": ".",
    "plus": "+",
    "underscore": "_",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
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
