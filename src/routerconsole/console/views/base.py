"""Panes and views: a view is a stack of list panes beside one detail pane, drawn as lines and driven by action ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, cut, fit, head_at, marked_head, merge, plain
from routerconsole.console.table import TableModel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

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

T = TypeVar("T")


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


class Pane(Protocol):
    """Something that fills a rectangle with lines."""

    name: str
    contexts: tuple[Context, ...]

    def paint(self, width: int, height: int, *, focused: bool) -> list[Line]:
        """Return at most `height` lines of at most `width` cells."""

    def scroll(self, by: int) -> None:
        """Answer the mouse wheel."""

    def click(self, line: int) -> bool:
        """Answer a click on a line; True when it hit what was selected already."""

    def act(self, action_id: str) -> bool:
        """Carry out a movement; False when it is not one of this pane."""


def pane_title(text: str, note: str, width: int, *, focused: bool) -> Line:
    """Return a pane's title line; the focused pane is marked by a glyph, not by colour alone."""
    mark = "▶ " if focused else "  "
    return cut(merge([(mark + text, Role.TITLE), (f"  {note}" if note else "", Role.DIM)]), width)


class ListPane(Generic[T]):
    """A keyed list with title line, column heads, cursor, and a sentence where it has nothing to show."""

    def __init__(
        self,
        name: str,
        contexts: tuple[Context, ...],
        *,
        table: TableModel[T],
        draw: Callable[[Sequence[T], int], tuple[Line, list[Line]]],
        empty: Callable[[], Sequence[Line]],
        note: Callable[[], str],
    ) -> None:
        self.name = name
        self.contexts = contexts
        self.table = table
        self._draw = draw
        self._empty = empty
        self._note = note
        self._heads: Line = ()
        self._moves: dict[str, Callable[[], None]] = {
            "cursor.down": lambda: table.move(1),
            "cursor.up": lambda: table.move(-1),
            "cursor.top": table.to_top,
            "cursor.bottom": table.to_bottom,
            "cursor.page_down": lambda: table.page(1),
            "cursor.page_up": lambda: table.page(-1),
            "mark.toggle": table.toggle_mark,
            "mark.range": table.mark_range,
            "sort.next": table.sort_next,
            "sort.turn": table.sort_turn,
        }

    def paint(self, width: int, height: int, *, focused: bool) -> list[Line]:
        """Return title, heads and the visible rows; the cursor row carries a glyph and one style, marked ones `◆`."""
        title = pane_title(self.name, self._noted(), width, focused=focused)
        if not self.table.rows:
            return [title, *self._empty()][:height]
        top, rows = self.table.window(height - 2)
        gap = " " if self.markable else ""
        heads, lines = self._draw(rows, max(0, width - 1 - len(gap)))
        self._heads = ((" " + gap, Role.DIM), *heads)
        out: list[Line] = [title, self._sorted_heads()]
        for place, (line, marked) in enumerate(zip(lines, self.table.marks(top, len(lines)), strict=True), start=top):
            mark = "◆" if marked else gap
            if place == self.table.cursor:
                role = Role.CURSOR if focused else Role.IDLE_CURSOR
                out.append(((fit("▶" + mark + plain(line), width), role),))
            else:
                out.append(((" " + mark, Role.INFO if marked else Role.TEXT), *line))
        return out[:height]

    @property
    def markable(self) -> bool:
        """Whether its rows can be marked."""
        return Context.MARKS in self.contexts

    def _noted(self) -> str:
        """Return the note behind the title, with how many rows are marked."""
        table, note = self.table, self._note()
        count = len(table.marked) if self.markable else 0
        if not count:
            return note
        marked = f"◆ {count} marked" + (", v ends the range" if table.ranging else "")
        return f"{marked} · {note}" if note else marked

    def _sorted_heads(self) -> Line:
        """Return the column titles, the sorted one with an arrow."""
        by = self.table.sorted_by
        marked = marked_head(self._heads, by[0], largest_first=by[1]) if by is not None else None
        return self._heads if marked is None else marked

    def sort_at(self, cell: int) -> bool:
        """Sort by the column whose title is at a cell of the title line; False when it cannot be sorted by."""
        title = head_at(self._heads, [order.title for order in self.table.orders], cell)
        if title is None:
            return False
        self.table.sort_by(title)
        return True

    def scroll(self, by: int) -> None:
        """Move the cursor with the wheel."""
        self.table.move(by)

    def click(self, line: int) -> bool:
        """Put the cursor on the clicked row; True when it was there already."""
        top, rows = self.table.window(self.table.height)
        place = line - 2
        if not 0 <= place < len(rows):
            return False
        again = top + place == self.table.cursor
        self.table.move(top + place - self.table.cursor)
        return again

    def act(self, action_id: str) -> bool:
        """Move the cursor."""
        if (move := self._moves.get(action_id)) is None:
            return False
        move()
        return True


class TextPane:
    """A scrollable page of lines."""

    def __init__(
        self, name: str, contexts: tuple[Context, ...], *, draw: Callable[[int], list[Line]], prefix: str = "detail"
    ) -> None:
        self.name = name
        self.contexts = contexts
        self._draw = draw
        self._top = 0
        self._room = 1
        self._length = 0
        self._prefix = prefix
        self._subject: str | None = None
        self.watch: int | None = None
        """The line that stays in sight, if one has to."""

    def about(self, subject: str | None) -> None:
        """Say what the page is about; another subject starts at its top."""
        if subject != self._subject:
            self._subject, self._top = subject, 0

    def paint(self, width: int, height: int, *, focused: bool) -> list[Line]:
        """Return the title and the visible part of the page."""
        lines = self._draw(width)
        self._length, self._room = len(lines), max(1, height - 1)
        if self.watch is not None:
            self._top = min(max(self._top, self.watch - self._room + 1), self.watch)
        self._top = min(self._top, max(0, self._length - self._room))
        below = self._length - self._top - self._room
        note = f"▼ {below} more lines" if below > 0 else ("▲ end" if self._top else "")
        title = pane_title(self.name, note, width, focused=focused)
        return [title, *lines[self._top : self._top + self._room]][:height]

    def scroll(self, by: int) -> None:
        """Scroll by lines."""
        self._top = max(0, min(self._top + by, max(0, self._length - self._room)))

    def click(self, line: int) -> bool:
        """Nothing on a page can be clicked."""
        return False

    def act(self, action_id: str) -> bool:
        """Scroll; the action is one of this page's prefix."""
        prefix, _, what = action_id.rpartition(".")
        steps = {
            "down": 1,
            "up": -1,
            "page_down": self._room // 2,
            "page_up": -(self._room // 2),
            "top": -self._length,
            "bottom": self._length,
        }
        if prefix != self._prefix or what not in steps:
            return False
        self.scroll(steps[what])
        return True


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
        return False

    @property
    def typing_hints(self) -> list[tuple[str, str]]:
        """The footer's keys while typed characters are text."""
        return [("Enter", "keep"), ("Esc", "clear")]

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
        if self.focused.act(action_id):
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

    def type(self, key: str, character: str | None) -> None:  # noqa: B027 - a view that edits nothing takes no text
        """Take a key as text while editing."""

    def paste(self, text: str) -> None:  # noqa: B027 - the same
        """Take pasted text while editing."""
