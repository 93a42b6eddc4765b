"""Which rows of the log are shown and in which order: the filter, rows older than the live ones, the sort. Pure."""

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
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from routerconsole.control.views import RequestPage, RequestRow

FILTER_LIMIT: Final = 2000
"""Characters a filter keeps."""
SLOW: Final = 0.95
_place: Final = attrgetter("at", "id")


class Filter:
    """A text in the filter language; while it is wrong the last one that meant something goes on narrowing."""

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
            wanted = parse_filter(self.text)
        except FilterError as error:
            self.problem = str(error)
            return
        self.problem = ""
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

    def forget(self) -> None:
        """Let go of everything; a page still under way belongs to nobody."""
        self.rows, self.next, self.ended, self.reading = {}, None, False, False
        self.generation += 1

    def take(self, page: RequestPage) -> int:
        """Add a page and return how many of its rows are new."""
        before = len(self.rows)
        self.rows.update((row.id, row) for row in page.requests if not in_flight(row))
        while len(self.rows) > MAX_ROWS:  # the newest give way: who reads backwards has seen them
            del self.rows[next(iter(self.rows))]
        self.next, self.ended = page.next, page.next is None
        return len(self.rows) - before


SORTS: Final[tuple[tuple[str, Callable[[RequestRow], float | None] | None], ...]] = (
    ("time", None),
    ("total", lambda row: row.total_ms),
    ("ttft", lambda row: row.ttft_ms),
    ("tokens", lambda row: _sum(row.prompt_tokens, row.completion_tokens)),
    ("cost", lambda row: row.cost_usd),
    ("attempts", lambda row: row.attempts),
)
"""What the log can be ordered by, the largest first; `time` is the log's own order, the newest last."""


@dataclass(slots=True)
class Order:
    """How the rows are ordered."""

    by: int = 0
    turned: bool = False

    @property
    def natural(self) -> bool:
        """Whether it is the log's own, in which the newest come last."""
        return self.by == 0 and not self.turned

    def following(self) -> None:
        """Order by the next thing."""
        self.by, self.turned = (self.by + 1) % len(SORTS), False

    def apply(self, rows: list[RequestRow]) -> list[RequestRow]:
        """Return rows, given in the log's order, in this one; those without a figure come last."""
        value = SORTS[self.by][1]
        if value is None:
            return rows[::-1] if self.turned else rows
        known = [(number, row) for row in rows if (number := _finite(value(row))) is not None]
        known.sort(key=lambda pair: pair[0], reverse=not self.turned)
        have = {row.id for _, row in known}
        return [row for _, row in known] + [row for row in rows if row.id not in have]

    def text(self) -> str:
        """Return it as shown, empty where it is natural."""
        if self.natural:
            return ""
        falls = (self.by != 0) is not self.turned
        return f"by {SORTS[self.by][0]} {'▼' if falls else '▲'}"


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


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
