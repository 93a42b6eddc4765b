"""A keyed list with a cursor that stays on its record: pure state, whoever draws it. No Textual here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class TableModel(Generic[T]):
    """Rows in order; cursor and first visible row are held by record key, so that arriving rows move neither."""

    def __init__(self, key: Callable[[T], str], *, follows: bool = False) -> None:
        self._key = key
        self._rows: Sequence[T] = ()
        self._index: dict[str, int] | None = None
        self._cursor = 0
        self._cursor_key: str | None = None
        self._top = 0
        self._top_key: str | None = None
        self.follows = follows
        self.following = follows
        self._frozen_last: str | None = None
        self._height = 1

    @property
    def rows(self) -> Sequence[T]:
        """The rows as last set."""
        return self._rows

    @property
    def cursor(self) -> int:
        """The cursor's row number; 0 in an empty table."""
        return self._cursor

    @property
    def current(self) -> T | None:
        """The record under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def current_key(self) -> str | None:
        """The key of the record under the cursor."""
        return self._cursor_key

    @property
    def height(self) -> int:
        """The rows that were last visible at once."""
        return self._height

    @property
    def arrived(self) -> int:
        """Rows that came below since the list was frozen."""
        if self.following or self._frozen_last is None:
            return 0
        at = self._find(self._frozen_last)
        return len(self._rows) - 1 - at if at is not None else len(self._rows)

    def set(self, rows: Sequence[T]) -> None:
        """Replace the rows; cursor and first row follow their records, or stay at their place when those are gone."""
        self._rows = rows
        self._index = None
        last = max(0, len(rows) - 1)
        if self.following:
            self._cursor = last
        else:
            found = self._find(self._cursor_key) if self._cursor_key is not None else None
            self._cursor = min(self._cursor, last) if found is None else found
            top = self._find(self._top_key) if self._top_key is not None else None
            self._top = min(self._top, last) if top is None else top
        self._settle()

    def window(self, height: int) -> tuple[int, Sequence[T]]:
        """Return the number of the first visible row and the rows that fit `height` lines."""
        self._height = max(1, height)
        self._settle()
        return self._top, self._rows[self._top : self._top + self._height]

    def move(self, by: int) -> None:
        """Move the cursor; up from a following list freezes it."""
        if by < 0 and self.following and len(self._rows) > 1:
            self.freeze()
        self._cursor = min(max(self._cursor + by, 0), max(0, len(self._rows) - 1))
        self._settle(keep_cursor_visible=True)

    def page(self, direction: int) -> None:
        """Move by half the visible rows."""
        self.move(direction * max(1, self._height // 2))

    def to_top(self) -> None:
        """Go to the first row."""
        self.move(-len(self._rows))

    def to_bottom(self) -> None:
        """Go to the last row; a list that can follow does so again."""
        if self.follows:
            self.following = True
        self._cursor = max(0, len(self._rows) - 1)
        self._settle(keep_cursor_visible=True)

    def go(self, key: str) -> bool:
        """Put the cursor on a record; False when it is not in the list."""
        place = self._find(key)
        if place is None:
            return False
        if self.following:
            self.freeze()
        self._cursor = place
        self._settle(keep_cursor_visible=True)
        return True

    def freeze(self) -> None:
        """Stop following: rows that arrive change neither what is visible nor the cursor."""
        self.following = False
        self._frozen_last = self._key(self._rows[-1]) if self._rows else None

    def toggle_follow(self) -> None:
        """Freeze a following list, or follow again from the newest row."""
        if self.following:
            self.freeze()
        else:
            self.to_bottom()

    def _find(self, key: str) -> int | None:
        """Return a record's place; the index is made when first asked for, a following list never asks."""
        if self._index is None:
            self._index = {self._key(row): place for place, row in enumerate(self._rows)}
        return self._index.get(key)

    def _settle(self, *, keep_cursor_visible: bool = False) -> None:
        last_top = max(0, len(self._rows) - self._height)
        if self.following:
            self._top = last_top
        elif keep_cursor_visible or not self._top <= self._cursor < self._top + self._height:
            self._top = min(max(self._top, self._cursor - self._height + 1), self._cursor)
        self._top = min(max(self._top, 0), last_top)
        self._cursor_key = self._key(self._rows[self._cursor]) if self._rows else None
        self._top_key = self._key(self._rows[self._top]) if self._rows else None
