"""The operator's desk: which view is open, what is asked, where a key goes, which command is sent. No Textual here.

Every key is answered at once and in order, so that keys typed ahead meet the state the keys before them made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from routerconsole.control.port import ControlError

from .actions import Action, Bindings, Context, shown_key
from .keymap import resolve_keymap
from .operate import (
    Question,
    ask,
    command_for,
    needs_asking,
    quit_question,
    result_text,
    settle,
    withdraw,
)
from .options import ConsoleExit, ConsoleOptions, ExitReason
from .render.notes import audit_lines, help_lines
from .safe_text import visible
from .state import ConsoleState, LastResult
from .views.base import TextPane, View
from .views.overview import OverviewView
from .views.requests import RequestsView

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from routerconsole.control.commands import Command
    from routerconsole.control.port import Control

    from .tick import Pulled, Wants


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

    def leave(self, ending: ConsoleExit) -> None:
        """End the console."""


class Desk:
    """The console without its screen."""

    def __init__(self, control: Control, options: ConsoleOptions, shell: Shell) -> None:
        keymap, problems = resolve_keymap(options.keys)
        self.state = ConsoleState()
        self.options = options
        self.bindings = Bindings(keymap, read_only=options.read_only)
        self.title_text = options.title
        self.read_only = options.read_only
        self.overview = OverviewView(self)
        self.requests = RequestsView(self)
        self.views: dict[str, View] = {view.mode: view for view in (self.overview, self.requests)}
        self.view: View = self.overview
        self.question: Question | None = None
        self.page: TextPane | None = None
        self._stamp: tuple[object, ...] = ()
        self._came_from: list[str] = []
        self._acting: set[str] = set()
        self._control = control
        self._shell = shell
        if problems:
            self.tell(problems[0], ok=False)

    # -- what is seen ------------------------------------------------------------------------------------------------

    def take(self, pulled: Pulled, clock: float) -> bool:
        """Take one look at the engine in; False when nothing that is shown can have changed."""
        before = self._stamp
        self.state.apply(pulled, clock)
        asked = self.question
        open_for = asked.provider if asked is not None and not asked.gone and pulled.status is not None else None
        if asked is not None and open_for is not None and self.state.provider(open_for) is None:
            withdraw(asked)
        try:
            self.view.sync()
        except Exception as error:  # noqa: BLE001 - one view's bug must not end the looks the others live on
            self.tell(f"{self.view.mode} failed: {type(error).__name__}: {error}", ok=False)
        state = self.state
        self._stamp = (self.view.stamp(), self.view.mode, state.link, state.missed, state.loaded, state.last)
        return pulled.shows or self._stamp != before

    def wants(self, *, status: bool = True) -> Wants:
        """Return what the open view and page need read, and whether the status is due."""
        audit = self.page is not None and self.page.name == "Action log"
        return replace(self.view.wants(), status=status, audit=audit)

    def contexts(self) -> tuple[Context, ...]:
        """Return where the next key is looked up."""
        if self.question is not None:
            return (self.question.context,)
        return (Context.NOTE,) if self.page is not None else self.view.contexts()

    def hints(self) -> list[tuple[str, str]]:
        """Return the footer's keys: of what is asked, else of the focused pane."""
        if self.question is not None:
            return self.question.keys
        if self.view.editing:
            return [("Enter", "keep"), ("Esc", "clear")]
        *near, last = self.contexts()
        if self.page is not None:
            return self.bindings.hints((last,))
        other = "view.overview" if self.view is self.requests else "view.requests"
        mode = [(shown_key(self.bindings.keys(other)[0]), other.removeprefix("view."))]
        return [*self.bindings.hints(near), *mode, *self.bindings.hints((last,))]

    def tell(self, text: str, *, ok: bool) -> None:
        """Show a result in the bottom line."""
        self.state.last = LastResult(visible(text, 300), ok)

    def look_soon(self) -> None:
        """Look at the engine again without waiting for the next tick."""
        self._shell.look()

    # -- keys --------------------------------------------------------------------------------------------------------

    def key(self, key: str, character: str | None) -> bool:
        """Answer one key press; False when it means nothing here."""
        if self.view.editing and self.question is None and self.page is None and key != "ctrl+c":
            self.view.type(key, character)
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
        if self.view.editing and self.question is None and self.page is None:
            self.view.paste(text)
            self._shell.redraw()

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
            case ["view", "overview" | "requests" as mode]:
                self._go(mode)
            case ["view", "back"]:
                if self._came_from:
                    self._go(self._came_from.pop(), remember=False)
            case ["log", "show"]:
                self.state.audit = None
                self.page = TextPane(
                    "Action log", (Context.NOTE,), draw=lambda w: audit_lines(self.state.audit, w), prefix="note"
                )
                self._shell.look()
            case ["help"]:
                self.page = TextPane(
                    "Keys", (Context.NOTE,), draw=lambda w: help_lines(self.bindings, w), prefix="note"
                )
            case ["note", "close"]:
                self.page = None
            case ["note", _] if self.page is not None:
                self.page.act(action_id)
            case ["repaint"]:
                self._shell.repaint()
            case ["quit" | "interrupt"]:
                self.ask_to_leave(interrupted=action_id == "interrupt")
            case ["quit", answer]:
                self._leave_answer(answer)
            case ["confirm", answer]:
                self._confirm_answer(yes=answer == "yes")
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
        self._go(self.requests.mode)
        self.requests.go(request_id)

    # -- provider actions --------------------------------------------------------------------------------------------

    def operate(self, action_id: str, provider: str) -> None:
        """Send a provider action, after asking when it touches live traffic."""
        known, status = self.state.provider(provider), self.state.status
        if known is None or status is None:
            self.tell(f"{provider} is gone", ok=False)
            return
        command = command_for(action_id, known)
        if not needs_asking(command, known):
            self._send(command, provider)
            return
        self.question = ask(command, known, status)
        self._shell.spawn(self._preview(self.question, command))

    async def _preview(self, question: Question, command: Command) -> None:
        """Ask the engine what a command would change and put it into the question."""
        try:
            receipt = await self._control.do(command, actor="console", dry_run=True)
        except ControlError as error:
            if self.question is question:
                self.question = None
            self.tell(error.message, ok=False)
        else:
            if not question.gone:
                settle(question, receipt)
        self._shell.redraw()

    def _confirm_answer(self, *, yes: bool) -> None:
        question = self.question
        if question is None or (yes and not (question.ready or question.gone)):
            return
        self.question = None
        if yes and question.command is not None and question.provider is not None:
            self._send(question.command, question.provider)
        elif not question.gone:
            self.tell("nothing was changed", ok=True)

    def _send(self, command: Command, provider: str) -> None:
        """Send a command once: while one for the same provider is under way a second is refused."""
        if provider in self._acting:
            self.tell(f"{provider}: the last action is still running", ok=False)
            return
        self._acting.add(provider)
        self.tell(f"{command.name.replace('_', ' ')} {provider}…", ok=True)
        self._shell.spawn(self._carry_out(command, provider))

    async def _carry_out(self, command: Command, provider: str) -> None:
        try:
            receipt = await self._control.do(command, actor="console")
        except ControlError as error:
            self.tell(f"refused: {error.message}", ok=False)
        else:
            self.tell(result_text(receipt), ok=True)
        finally:
            self._acting.discard(provider)
            self._shell.look()
            self._shell.redraw()

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
