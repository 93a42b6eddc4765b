"""Views: list panes beside one detail pane, which of them has the focus, and what a view asks of its host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from routerconsole.console.actions import Context

from .panes import ListPane, Pane, TextPane

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from routerconsole.console.forms import Form
    from routerconsole.console.options import ConsoleOptions
    from routerconsole.console.picker import Picker
    from routerconsole.console.prompt import Prompt
    from routerconsole.console.sending import Proposal
    from routerconsole.console.state import ConsoleState
    from routerconsole.console.tick import Wants
    from routerconsole.control.port import Control

SIDE_BY_SIDE: Final = 100
"""Columns from which list and detail stand beside each other."""
ABREAST: Final = 160
"""Columns from which a view with two lists may put them side by side, for three columns in all."""


class Host(Protocol):
    """What a view asks of the application."""

    state: ConsoleState
    options: ConsoleOptions

    def show_request(self, request_id: str) -> None:
        """Go to one request in the request view."""

    def show_requests(self, text: str) -> None:
        """Go to the requests that pass a filter."""

    control: Control

    def operate(self, action_id: str, provider: str, model: str | None = None) -> None:
        """Ask for, or carry out, an action on a provider or on one model there."""

    def propose(self, proposal: Proposal) -> None:
        """Make a change, after asking where it asks."""

    def send_all(self, proposals: Sequence[Proposal]) -> None:
        """Make several changes without asking."""

    def marked_models(self) -> tuple[str, ...]:
        """Return the models marked in other views, `provider/model`."""

    def evaluate(self, models: Sequence[str], node: str | None = None) -> None:
        """Open the form of an evaluation run of models, of the scenarios that measure a capability node."""

    def ask_text(self, prompt: Prompt) -> None:
        """Open a line to type into at the bottom."""

    def pick(self, picker: Picker) -> None:
        """Open a page to choose from."""

    def open_page(self, page: TextPane) -> None:
        """Open a page over the view; Esc closes it."""

    def copy(self, text: str, what: str) -> None:
        """Hand text to the terminal's clipboard, harmless and within its size, and tell."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that waits."""

    def redraw(self) -> None:
        """Draw what changed, after something that waited."""

    def tell(self, text: str, *, ok: bool) -> None:
        """Show a result in the bottom line."""

    def look_soon(self) -> None:
        """Look at the engine again without waiting for the next tick."""


class FilledIn(Protocol):
    """A form of a view that is typed into while it is open."""

    form: Form | None

    @property
    def hints(self) -> Sequence[tuple[str, str]]:
        """The footer's keys while it is open."""

    def type(self, key: str, character: str | None) -> None:
        """Take a key."""

    def paste(self, text: str) -> None:
        """Take pasted text."""


class View(ABC):
    """One mode: list panes, a detail pane, which of them has the focus, and whether the detail is pushed."""

    def __init__(self, mode: str, host: Host, lists: tuple[Pane, ...], detail: TextPane) -> None:
        self.mode = mode
        self.host = host
        self.lists = lists
        self.detail = detail
        self.focus = 0
        self.pushed = False
        self.wide = False
        self.zoomed = False
        self.filled_in: FilledIn | None = None

    @property
    def panes(self) -> tuple[Pane, ...]:
        """All panes in tab order."""
        return (*self.lists, self.detail)

    @property
    def focused(self) -> Pane:
        """The pane keys go to."""
        return self.panes[self.focus]

    @property
    def editing(self) -> bool:
        """Whether typed characters are text."""
        return self.filled_in is not None and self.filled_in.form is not None

    @property
    def typing_hints(self) -> list[tuple[str, str]]:
        """The footer's keys while typed characters are text."""
        return [("Enter", "keep"), ("Esc", "clear")] if self.filled_in is None else [*self.filled_in.hints]

    def shows(self, pane: Pane) -> bool:
        """Say whether a pane is there to be gone to; one without lines is not."""
        return True

    def contexts(self) -> tuple[Context, ...]:
        """Return where keys are looked up, the nearest first."""
        return (*self.focused.contexts, Context.GLOBAL)

    @abstractmethod
    def sync(self) -> None:
        """Take the state in."""

    def stamp(self) -> object:
        """Return what differs when rows or time changed what is shown; time does while a request runs."""
        state = self.host.state
        return state.requests.version, state.now if state.requests.unfinished() else None

    @abstractmethod
    def wants(self) -> Wants:
        """Return what this view needs read besides status and rows."""

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Return the height of each list pane, None for the one that takes the rest, 0 for one that is not shown."""
        return tuple(None for _ in self.lists)

    def list_width(self, width: int) -> int:
        """Return the columns the lists take beside the detail."""
        return width // 2

    def abreast(self, width: int) -> tuple[int, ...] | None:
        """Return the columns of each list where they stand side by side, None where they stand one below the other.

        A view of three columns answers from `ABREAST` columns on; together they are `list_width`.
        """
        return None

    def grid(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return columns and lines of four lists standing two by two, None where they do not; see `abreast`."""
        return None

    def act(self, action_id: str) -> bool:
        """Carry out an action; False when it is none of this view's."""
        pane = self.focused
        if action_id.startswith("sort.") and isinstance(pane, ListPane) and not pane.table.orders:
            self.host.tell(f"{pane.name} has one order only", ok=False)
            return True
        if pane.act(action_id):
            self.sync()
            return True
        match action_id:
            case "pane.next" | "pane.previous":
                self._cycle(1 if action_id == "pane.next" else -1)
            case "open" | "into":
                self._into_detail()
            case "detail.next" | "detail.previous":
                self._neighbour(1 if action_id == "detail.next" else -1)
            case "detail.back":
                self.pop()
            case "zoom.in" | "zoom.out":
                self.zoomed = action_id == "zoom.in"
            case "pop":
                return self.pop()
            case _:
                return False
        return True

    def pop(self) -> bool:
        """Take marks away, leave the detail; False when there was nothing to leave."""
        if isinstance(self.focused, ListPane) and self.focused.markable and self.focused.table.marked:
            return self.focused.table.clear_marks()
        if self.focused is self.detail or self.pushed:
            self.pushed = False
            self.focus = min(self._last_list, len(self.lists) - 1)
            return True
        return False

    def objects(self) -> Iterable[tuple[str, str]]:
        """Return (key, name) of what this view is the home of, for palette and command line."""
        return ()

    def go(self, key: str) -> bool:
        """Select one of this view's objects; False when there is no such."""
        return False

    def narrow(self, text: str) -> bool:
        """Filter by a text, none takes the filter away; False when nothing here can be filtered."""
        return False

    def focus_pane(self, pane: Pane) -> None:
        """Give a pane the focus (mouse)."""
        self.focus = self.panes.index(pane)

    _last_list = 0

    def _into_detail(self) -> None:
        if self.focus < len(self.lists):
            self._last_list = self.focus
        self.pushed = True
        self.focus = len(self.panes) - 1
        self.sync()
        self.host.look_soon()

    def _neighbour(self, by: int) -> None:
        """Show the next or previous object of the list the detail was opened from."""
        pane = self.lists[min(self._last_list, len(self.lists) - 1)]
        if isinstance(pane, ListPane):
            pane.table.move(by)
            self.sync()
            self.host.look_soon()

    def _cycle(self, by: int) -> None:
        count = len(self.panes) if self.wide else len(self.lists)
        if self.pushed and not self.wide:
            return
        places = [(self.focus + by * step) % count for step in range(1, count + 1)]
        self.focus = next((place for place in places if self.shows(self.panes[place])), self.focus)
        if self.focus < len(self.lists):
            self._last_list = self.focus
            self.pushed = False
        self.sync()

    def settle(self, *, wide: bool) -> None:
        """Adapt to the width: a narrow terminal shows either the lists or the pushed detail."""
        self.wide = wide
        if not wide:
            self.pushed = self.focused is self.detail

    def type(self, key: str, character: str | None) -> None:
        """Take a key as text while editing."""
        if self.filled_in is not None:
            self.filled_in.type(key, character)
            self.sync()

    def paste(self, text: str) -> None:
        """Take pasted text while editing."""
        if self.filled_in is not None:
            self.filled_in.paste(text)
            self.sync()
