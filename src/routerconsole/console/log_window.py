"""Which rows of the log are shown: the filter, rows older than the live ones, what counts as slow. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from routerconsole.domain.query import FilterError, RowFilter, inverted, parse_filter

from .render import quantity
from .safe_text import visible
from .state import MAX_ROWS, in_flight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from routerconsole.control.views import RequestPage, RequestRow

FILTER_LIMIT: Final = 2000
"""Characters a filter keeps."""
SLOW: Final = 0.95
_place: Final = attrgetter("at", "id")


class Filter:
    """A text in the filter language; while its last word is wrong those before it go on narrowing."""

    def __init__(self) -> None:
        self.text = ""
        self.problem = ""
        self.wanted = RowFilter()
        self._passed: dict[str, tuple[RequestRow, bool]] = {}

    @property
    def active(self) -> bool:
        """Whether anything is narrowed."""
        return bool(self.wanted.terms)

    def set(self, text: str) -> None:
        """Take another text."""
        self.text = text[:FILTER_LIMIT]
        try:
            wanted, self.problem = parse_filter(self.text), ""
        except FilterError as error:
            self.problem = str(error)
            try:  # most likely the word that is just being typed
                wanted = parse_filter(self.text.rpartition(" ")[0])
            except FilterError:
                return
        if wanted != self.wanted:
            self.wanted = wanted
            self._passed.clear()

    def invert(self) -> None:
        """Become the opposite."""
        self.set(inverted(self.text))

    def select(self, rows: Sequence[RequestRow], now: datetime) -> list[RequestRow]:
        """Return the rows that pass; each is looked at once, or each time where its age counts."""
        if not self.active:
            return list(rows)
        if self.wanted.looks_at_age:
            return [row for row in rows if self.wanted.matches(row, age_s=_age_s(row, now))]
        if len(self._passed) > 3 * MAX_ROWS:
            self._passed.clear()
        return [row for row in rows if self._passes(row)]

    def _passes(self, row: RequestRow) -> bool:
        known = self._passed.get(row.id)
        if known is None or known[0] is not row:
            known = self._passed[row.id] = (row, self.wanted.matches(row))
        return known[1]

    def chips(self) -> str:
        """Return the terms as shown."""
        chips = " ".join(f"[{visible(term.chip, 40)}]" for term in self.wanted.terms)
        return f"not {chips}" if self.wanted.inverted else chips


def _age_s(row: RequestRow, now: datetime) -> float:
    began = quantity.moment(row.at)
    return math.inf if began is None or began.tzinfo is None else (now - began).total_seconds()


@dataclass(slots=True)
class Older:
    """Rows read from the log below the live ones, or found there by the filter."""

    rows: dict[str, RequestRow] = field(default_factory=dict)
    next: str | None = None
    ended: bool = False
    reading: bool = False
    generation: int = 0
    version: int = 0

    def forget(self) -> None:
        """Let go of everything; a page still under way belongs to nobody."""
        self.rows, self.next, self.ended, self.reading = {}, None, False, False
        self.generation += 1
        self.version += 1

    def take(self, page: RequestPage, shown: Sequence[RequestRow]) -> None:
        """Add a page below the rows that are shown, which stay although newer ones push them out of the live list."""
        if self.next is None:
            newest = sorted(shown, key=_place, reverse=True)
            self.rows = {row.id: row for row in newest if not in_flight(row)} | self.rows
        self.rows.update((row.id, row) for row in page.requests if not in_flight(row))
        while len(self.rows) > MAX_ROWS:  # the newest give way: who reads backwards has seen them
            del self.rows[next(iter(self.rows))]
        self.next, self.ended = page.next, page.next is None
        self.version += 1

    def add(self, row: RequestRow) -> None:
        """Add one row that was looked for."""
        self.rows[row.id] = row
        self.version += 1


def together(live: Sequence[RequestRow], older: Sequence[RequestRow], *, newest: bool) -> tuple[list[RequestRow], bool]:
    """Return both in the log's order, at most MAX_ROWS of them, and whether newer ones had to be left out."""
    if not older:
        return list(live), False
    known = {row.id for row in live}
    rows = sorted([*(row for row in older if row.id not in known), *live], key=_place)
    if newest:
        return rows[-MAX_ROWS:], False
    return rows[:MAX_ROWS], len(rows) > MAX_ROWS


def slow_from(rows: Sequence[RequestRow]) -> float | None:
    """Return the p95 of the durations of rows in milliseconds, None without any; what is over it is slow."""
    known = sorted(number for row in rows if (number := _finite(row.total_ms)) is not None)
    return known[int(SLOW * (len(known) - 1))] if known else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None
