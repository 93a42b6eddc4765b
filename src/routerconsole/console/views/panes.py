"""Panes: a list with its cursor, a page that scrolls; drawn as lines, driven by action ids, mouse included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, cut, fit, head_at, marked_head, merge, plain
from routerconsole.console.table import TableModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routerconsole.console.snapshots import Read

T = TypeVar("T")


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
        self.sorts: tuple[Sequence[str], Callable[[str], None]] | None = None
        """The titles that can be sorted by, and how, where the view sorts by itself."""
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
        titles, sort = self.sorts or ([order.title for order in self.table.orders], self.table.sort_by)
        title = head_at(self._heads, titles, cell)
        if title is None:
            return False
        sort(title)
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
        self.reads: frozenset[Read] = frozenset()
        """What has to be read while it is open."""

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
