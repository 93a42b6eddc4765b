"""A keyed list with a cursor that stays on its record: pure state, whoever draws it. No Textual here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order(Generic[T]):
    """A way to sort: the head of its column and what a record has there; records without it come last either way."""

    title: str
    value: Callable[[T], float | str | None]
    largest_first: bool = False


class TableModel(Generic[T]):
    """Rows in order; cursor and first visible row are held by record key, so that arriving rows move neither."""

    def __init__(self, key: Callable[[T], str], *, follows: bool = False) -> None:
        self._key = key
        self._given: Sequence[T] = ()
        self._rows: Sequence[T] = ()
        self.orders: Sequence[Order[T]] = ()
        self.told: tuple[str, bool] | None = None
        """What `sorted_by` answers where the rows come sorted from a view that does it itself."""
        self._order: int | None = None
        self._turned = False
        self._index: dict[str, int] | None = None
        self._cursor = 0
        self._cursor_key: str | None = None
        self._top = 0
        self._top_key: str | None = None
        self.follows = follows
        self.following = follows
        self._frozen_last: str | None = None
        self._height = 1
        self._marks: set[str] = set()
        self._anchor: str | None = None
        self._marked: list[T] | None = None

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
        self._given, rows = rows, self._arranged(rows)
        self._rows = rows
        self._index = self._marked = None
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
        if self.follows and self._order is None:
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

    # -- order: as given, or by a column ------------------------------------------------------------------------------

    @property
    def sorted_by(self) -> tuple[str, bool] | None:
        """The head of the column the rows are sorted by and whether the largest is first; None: as they came."""
        if self._order is None:
            return self.told
        order = self.orders[self._order]
        return order.title, order.largest_first != self._turned

    def sort_next(self) -> None:
        """Sort by the next column that can be sorted by; after the last one the rows stand as they came."""
        place = -1 if self._order is None else self._order
        self._sort(place + 1 if place + 1 < len(self.orders) else None)

    def sort_by(self, title: str) -> None:
        """Sort by a column; by the same one again turns it round."""
        place = next((n for n, order in enumerate(self.orders) if order.title == title), None)
        if place is not None and place == self._order:
            self.sort_turn()
        else:
            self._sort(place)

    def sort_turn(self) -> None:
        """Turn the order round."""
        if self._order is not None:
            self._turned = not self._turned
            self.set(self._given)

    def _sort(self, place: int | None) -> None:
        self._order, self._turned = place, False
        if place is not None and self.following:
            self.freeze()
        self.set(self._given)

    def _arranged(self, rows: Sequence[T]) -> Sequence[T]:
        """Return rows in the chosen order; equal ones stay as they came."""
        if self._order is None:
            return rows
        order = self.orders[self._order]
        valued: list[tuple[float | str, T]] = []
        without: list[T] = []
        for row in rows:
            value = order.value(row)
            if value is None or (isinstance(value, float) and math.isnan(value)):
                without.append(row)
            else:
                valued.append((value, row))
        valued.sort(key=lambda pair: pair[0], reverse=order.largest_first != self._turned)
        return [*(row for _, row in valued), *without]

    # -- marks: rows an action is meant for, by key; those no longer in the list are not meant ------------------------

    @property
    def marked(self) -> Sequence[T]:
        """The marked records that are in the list, in its order; those of an open range too."""
        if self._marked is None:
            places = {place for key in self._marks if (place := self._find(key)) is not None}
            self._marked = [self._rows[place] for place in sorted(places.union(self._span()))]
        return self._marked

    @property
    def ranging(self) -> bool:
        """Whether a range was begun and not ended."""
        return self._anchor is not None

    def marks(self, top: int, count: int) -> list[bool]:
        """Return for `count` rows from `top` on whether each is marked."""
        if not self._marks and self._anchor is None:
            return [False] * count
        span = self._span()
        return [place in span or self._key(self._rows[place]) in self._marks for place in range(top, top + count)]

    def toggle_mark(self) -> None:
        """Mark the record under the cursor, or take its mark away, and go on to the next."""
        if self._cursor_key is not None:
            self._marks ^= {self._cursor_key}
            self._marked = None
            self.move(1)

    def mark_range(self) -> None:
        """Begin a range at the cursor; the second time mark everything from there to the cursor."""
        if self._anchor is None:
            if self.following:
                self.freeze()
            self._anchor = self._cursor_key
        else:
            self._marks.update(self._key(self._rows[place]) for place in self._span())
            self._anchor = None
        self._marked = None

    def clear_marks(self) -> bool:
        """Take all marks away; False when there were none."""
        had = bool(self._marks) or self._anchor is not None
        self._marks, self._anchor, self._marked = set(), None, None
        return had

    def _span(self) -> range:
        """Return the places of the open range, none where there is none or its first record is gone."""
        start = self._find(self._anchor) if self._anchor is not None else None
        return range(0) if start is None else range(min(start, self._cursor), max(start, self._cursor) + 1)

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
        if self._anchor is not None:
            self._marked = None  # the range ends at the cursor
        self._cursor_key = self._key(self._rows[self._cursor]) if self._rows else None
        self._top_key = self._key(self._rows[self._top]) if self._rows else None
