"""The operator's desk: which view is open, what is asked, where a key goes, which command is sent. No Textual here.

Every key is answered at once and in order, so that keys typed ahead meet the state the keys before them made.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from routerconsole.control.commands import Target

from .actions import Action, Bindings, Context, shown_key
from .breath import breathe
from .clipboard import clipboard_text
from .keymap import resolve_keymap
from .operate import Question, quit_question
from .options import ConsoleExit, ConsoleOptions, ExitReason
from .palette import PALETTE, command_line, manual, menu, palette, palette_entries, theme_picker
from .prompt import Prompt
from .safe_text import visible
from .sending import Proposal, Sender
from .state import ConsoleState, LastResult
from .verbs import asked_first, command_for, explained, needs_asking, problem_of, subject_of
from .views.base import View
from .views.capabilities import CapabilitiesView
from .views.evals import EvalsView
from .views.health import HealthView
from .views.incident_actions import incidents_page
from .views.overview import OverviewView
from .views.pages import AUDIT, page_of
from .views.registry import RegistryView
from .views.requests import RequestsView

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from routerconsole.control.port import Control

    from .picker import Picker
    from .tick import Pulled, Wants
    from .views.panes import TextPane


class Shell(Protocol):
    """What the desk needs of whoever runs it."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that waits, without holding up keys."""

    def look(self) -> None:
        """Look at the engine again soon."""

    def redraw(self) -> None:
        """Draw what changed."""

    def repaint(self) -> None:
        """Draw everything."""

    def copy(self, text: str) -> None:
        """Hand text to the terminal's clipboard."""

    def leave(self, ending: ConsoleExit) -> None:
        """End the console."""

    def theme_names(self) -> Sequence[str]:
        """Return the themes there are."""

    def use_theme(self, name: str) -> str:
        """Draw with another theme; return why not, or nothing."""


class Desk:
    """The console without its screen."""

    def __init__(self, control: Control, options: ConsoleOptions, shell: Shell) -> None:
        keymap, problems = resolve_keymap(options.keys)
        self.state = ConsoleState()
        self.options = options
        self.bindings = Bindings(keymap, read_only=options.read_only)
        self.title_text, self.read_only = options.title, options.read_only
        self.overview = OverviewView(self)
        self.health = HealthView(self)
        self.capabilities = CapabilitiesView(self)
        self.requests = RequestsView(self)
        self.registry = RegistryView(self)
        self.evals = EvalsView(self)
        views = (self.overview, self.health, self.capabilities, self.registry, self.requests, self.evals)
        self.views: dict[str, View] = {view.mode: view for view in views}
        self.view: View = self.overview
        self.question: Question | None = None
        self.page: TextPane | None = None
        self.prompt: Prompt | None = None
        self.picker: Picker | None = None
        self._stamp: tuple[object, ...] = ()
        self._came_from: list[str] = []
        self._typed: list[str] = []
        self.control = control
        self._shell = shell
        self._sender = Sender(control, self)
        if problems:
            self.tell(problems[0], ok=False)

    # -- what is seen ------------------------------------------------------------------------------------------------

    def take(self, pulled: Pulled, clock: float) -> bool:
        """Take one look at the engine in; False when nothing that is shown can have changed."""
        before = self._stamp
        self.state.apply(pulled, clock)
        breathe()
        open_for = self.question.target if self.question is not None and pulled.status is not None else None
        if open_for is not None and subject_of(self.state.status, open_for) is None:
            self._sender.gone()
        try:
            self.view.sync()
        except Exception as error:  # noqa: BLE001 - one view's bug must not end the looks the others live on
            self.tell(f"{self.view.mode} failed: {type(error).__name__}: {error}", ok=False)
        if pulled.snapshots is not None and self.picker is not None and self.picker.title == PALETTE:
            self.picker.refill(palette_entries(self))
        state = self.state
        self._stamp = (self.view.stamp(), self.view.mode, state.link, state.missed, state.loaded, state.last)
        return pulled.shows or self._stamp != before

    def wants(self, *, status: bool = True) -> Wants:
        """Return what the open view and page need read, and whether the status is due."""
        wanted = self.view.wants()
        audit = wanted.audit or (self.page is not None and self.page.name == AUDIT)
        reads = wanted.reads if self.page is None else wanted.reads | self.page.reads
        wants = replace(wanted, status=status, audit=audit, reads=reads)
        if self.picker is None or self.picker.title != PALETTE:
            return wants
        return replace(wants, reads=wants.reads.union(*(view.wants().reads for view in self.views.values())))

    def contexts(self) -> tuple[Context, ...]:
        """Return where the next key is looked up."""
        if self.question is not None:
            return (self.question.context,)
        return self.page.contexts if self.page is not None else self.view.contexts()

    @property
    def typing(self) -> Prompt | Picker | View | None:
        """Who takes typed characters as text, if anybody does."""
        if self.question is not None:
            return None
        if self.prompt is not None or self.picker is not None:
            return self.prompt or self.picker
        return self.view if self.view.editing and self.page is None else None

    def hints(self) -> list[tuple[str, str]]:
        """Return the footer's keys: of what is asked, else of the focused pane."""
        if self.question is not None:
            return self.question.keys
        if self.picker is not None:
            return self.picker.hints
        if self.view.editing:
            return self.view.typing_hints
        *near, last = self.contexts()
        if self.page is not None:
            return self.bindings.hints((*near, last))
        ends = [self.bindings.keys(f"view.{mode}")[:1] for mode in (*self.views,)[:: max(1, len(self.views) - 1)]]
        numbers = "-".join(shown_key(key) for keys in ends for key in keys)
        zoomed = [(shown_key(key), "unzoom") for key in self.bindings.keys("zoom.out")[:1] if self.view.zoomed]
        return [*zoomed, *self.bindings.hints(near), (numbers, "views"), *self.bindings.hints((last,))]

    def tell(self, text: str, *, ok: bool) -> None:
        """Show a result in the bottom line."""
        self.state.last = LastResult(visible(text, 300), ok, self.state.clock)

    def look_soon(self) -> None:
        """Look at the engine again without waiting for the next tick."""
        self._shell.look()

    # -- keys --------------------------------------------------------------------------------------------------------

    def key(self, key: str, character: str | None) -> bool:
        """Answer one key press; False when it means nothing here."""
        if self.typing is not None and key != "ctrl+c":
            self._type(key, character)
            self._shell.look()
            self._shell.redraw()
            return True
        action = self.bindings.find(key, self.contexts())
        if action is None and key in self.bindings.keys("interrupt"):
            action = self.bindings.find(key, (Context.GLOBAL,))
        if action is None:
            return False
        self._run(action)
        self._shell.redraw()
        return True

    def paste(self, text: str) -> None:
        """Take pasted text where text is typed; anywhere else a paste presses nothing."""
        taker = self.typing
        if taker is not None:
            taker.paste(text)
            self._shell.redraw()

    def _type(self, key: str, character: str | None) -> None:
        """Hand a key to whoever takes text; one that is over is put away first, so that what it opens stays."""
        try:
            if self.prompt is not None:
                prompt, self.prompt = self.prompt, None
                if not prompt.key(key, character):
                    self.prompt = prompt
            elif self.picker is not None:
                picker, self.picker = self.picker, None
                if not picker.key(key, character):
                    self.picker = picker
            else:
                self.view.type(key, character)
        except Exception as error:  # noqa: BLE001 - a key that fails must not take the console with it
            self.tell(f"that failed: {type(error).__name__}: {error}", ok=False)

    def ask_text(self, prompt: Prompt) -> None:
        """Open a line to type into at the bottom."""
        self.prompt = prompt

    def pick(self, picker: Picker) -> None:
        """Open a page to choose from."""
        self.picker = picker

    def open_page(self, page: TextPane) -> None:
        """Open a page over the view; Esc closes it."""
        self.page = page
        self._shell.look()

    def copy(self, text: str, what: str) -> None:
        """Hand text to the terminal's clipboard, harmless and within its size, and tell."""
        clean, problem = clipboard_text(text)
        if problem:
            self.tell(f"{what} not copied: {problem}", ok=False)
        else:
            self._shell.copy(clean)
            self.tell(f"{what} copied, {len(clean.encode())} bytes by OSC 52", ok=True)

    def perform(self, action_id: str) -> None:
        """Carry out an action as if its key had been pressed."""
        action = next((action for action in self.bindings.actions if action.id == action_id), None)
        if action is not None:
            self._run(action)
            self._shell.redraw()

    def _run(self, action: Action) -> None:
        try:
            if not self._own(action.id):
                self.view.act(action.id)
        except Exception as error:  # noqa: BLE001 - a key that fails must not take the console with it
            self.tell(f"{action.id} failed: {type(error).__name__}: {error}", ok=False)

    def _own(self, action_id: str) -> bool:
        """Carry out what belongs to no view; the branches are the registry's contexts in order."""
        match action_id.split("."):
            case ["view", "back"]:
                if self._came_from:
                    self._go(self._came_from.pop(), remember=False)
            case ["view", mode] if mode in self.views:
                self._go(mode)
            case ["palette" | "menu" | "help" | "theme" as which]:
                self.pick({"palette": palette, "menu": menu, "help": manual, "theme": theme_picker}[which](self))
                self._shell.look()
            case ["command"]:
                self.ask_text(command_line(self, self._typed))
            case ["undo"]:
                self._sender.undo()
            case ["log", "show"] | ["usage"]:
                self.open_page(page_of(action_id, self))
            case ["note", "close"]:
                self.page = None
            case ["note" | "incident", _] if self.page is not None:
                self.page.act(action_id)
            case ["incidents"]:
                self.pick(incidents_page(self.overview))
            case ["repaint"]:
                self._shell.repaint()
            case ["quit" | "interrupt"]:
                self.ask_to_leave(interrupted=action_id == "interrupt")
            case ["quit", answer]:
                self._leave_answer(answer)
            case ["confirm", answer]:
                self._sender.answer(yes=answer == "yes")
            case _:
                return False
        return True

    # -- views -------------------------------------------------------------------------------------------------------

    def _go(self, mode: str, *, remember: bool = True) -> None:
        if mode == self.view.mode:
            return
        if remember:
            self._came_from = [*self._came_from[-20:], self.view.mode]
        self.view = self.views[mode]
        self.view.sync()
        self._shell.look()

    def show_request(self, request_id: str) -> None:
        """Go to one request in the request view."""
        self.show(self.requests.mode, request_id)

    def show_requests(self, text: str) -> None:
        """Go to the requests that pass a filter."""
        self._go(self.requests.mode)
        self.requests.focus_pane(self.requests.lists[0])
        self.requests.narrow(text)

    def show(self, mode: str, key: str) -> None:
        """Go to one object in its home view."""
        self._go(mode)
        if not self.view.go(key):
            self.tell(f"{mode}: there is no {visible(key, 60)}", ok=False)
        self._shell.look()

    def theme_names(self) -> Sequence[str]:
        """Return the themes there are."""
        return self._shell.theme_names()

    def use_theme(self, name: str) -> str:
        """Draw with another theme; return why not, or nothing."""
        return self._shell.use_theme(name)

    def marked_models(self) -> tuple[str, ...]:
        """Return the models marked in other views, `provider/model`."""
        return tuple(dict.fromkeys(each.id for each in (*self.registry.table.marked, *self.capabilities.models.marked)))

    def evaluate(self, models: Sequence[str], node: str | None = None) -> None:
        """Open the form of an evaluation run of models, of the scenarios that measure a capability node."""
        self._go(self.evals.mode)
        self.evals.begin(models, node)

    # -- changes -----------------------------------------------------------------------------------------------------

    def operate(self, action_id: str, provider: str, model: str | None = None) -> None:
        """Act on a provider, or on one model there: ask for a value where it takes one, then whether to do it."""
        target = Target(provider, model)
        subject = subject_of(self.state.status, target)
        asked = asked_first(action_id, subject) if subject is not None else None
        if asked is None:
            self._operate(action_id, target, "")
            return

        def problem(text: str) -> str:
            gone = subject_of(self.state.status, target) is None
            return f"{target.label()} is gone; Esc leaves" if gone else problem_of(action_id, text)

        self.ask_text(Prompt(asked.label, partial(self._operate, action_id, target), text=asked.text, problem=problem))

    def _operate(self, action_id: str, target: Target, value: str) -> None:
        subject, status = subject_of(self.state.status, target), self.state.status
        if subject is None or status is None:
            self.tell(f"{target.label()} is gone", ok=False)
            return
        command = command_for(action_id, subject, value)
        title, paragraphs = explained(command, subject, status)
        asks, provider, model = needs_asking(command, subject), target.provider, target.model
        self.propose(Proposal(command, target.label(), title, paragraphs, asks=asks, provider=provider, model=model))

    def propose(self, proposal: Proposal) -> None:
        """Make a change, after asking where it asks."""
        self._sender.propose(proposal)

    def send_all(self, proposals: Sequence[Proposal]) -> None:
        """Make several changes without asking."""
        self._sender.send_all(proposals)

    def changed(self) -> None:
        """Look at the engine again and draw."""
        self._shell.look()
        self._shell.redraw()

    def redraw(self) -> None:
        """Draw what changed."""
        self._shell.redraw()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that waits."""
        self._shell.spawn(work)

    # -- leaving -----------------------------------------------------------------------------------------------------

    def ask_to_leave(self, *, interrupted: bool) -> None:
        """Leave, or ask first when requests of our own engine are in flight; a second interrupt does not ask."""
        again = self.question is not None and self.question.interrupted
        running = self.state.status.in_flight if self.state.status is not None else 0
        if not self.options.owns_engine or not running or (interrupted and again):
            self._leave(interrupted=interrupted)
        else:
            self.question = quit_question(running, interrupted=interrupted)

    def _leave_answer(self, answer: str) -> None:
        question, self.question = self.question, None
        if question is None or answer == "stay":
            return
        if answer == "handoff":
            self._shell.leave(ConsoleExit(ExitReason.HANDOFF))
        else:
            self._leave(interrupted=question.interrupted)

    def _leave(self, *, interrupted: bool) -> None:
        self._shell.leave(ConsoleExit(ExitReason.INTERRUPTED, 130) if interrupted else ConsoleExit(ExitReason.QUIT))
