"""How many requests of the last hour needed which capability, and how many of them failed; from the rows in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from routerconsole.control.views import RequestRow

    from .state import RequestStore

HOUR: Final = timedelta(hours=1)
AGAIN_S: Final = 1.0
"""Seconds between two counts, however busy the log is."""
_SECOND: Final = len("2026-03-01T12:00:00")
_FAILED: Final = frozenset({"failed", "truncated"})
_IMPLIED: Final[Mapping[str, str]] = {"chat": "text", "embeddings": "embeddings"}
"""What an endpoint needs of itself, as a word."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Requests that needed a node, and those of them that failed or were cut."""

    count: int = 0
    failed: int = 0


class Demand:
    """Counts by what requests needed together, so that a node and those below it are added up without the rows."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._figures: dict[str, Figure] = {}
        self._nodes: Mapping[str, str] = {}
        self._seen = -1
        self._counted_at = -AGAIN_S
        self.version = 0
        """Grows when a count came out otherwise."""
        self.since: str | None = None
        """The oldest row's moment where the log in memory does not reach back an hour, else None."""

    def name(self, nodes: Mapping[str, str]) -> None:
        """Take the node of every word."""
        if nodes != self._nodes:
            self._nodes, self._figures = nodes, {}
            self.version += 1

    def refresh(self, store: RequestStore, *, now: datetime, clock: float, full: bool) -> None:
        """Count anew where rows came, once a second at most; `full` says that older rows were let go."""
        if store.version == self._seen or 0 <= clock - self._counted_at < AGAIN_S:
            return
        self._seen, self._counted_at = store.version, clock
        since = (now.astimezone(UTC) - HOUR).isoformat()[:_SECOND]
        rows, counts = store.rows(), dict[tuple[str, ...], list[int]]()
        for row in reversed(rows):
            if row.at[:_SECOND] < since:
                break
            figure = counts.setdefault(_needed(row), [0, 0])
            figure[0] += 1
            figure[1] += row.status in _FAILED
        self.since = rows[0].at if full and rows and rows[0].at[:_SECOND] > since else None
        if counts != self._counts:
            self._counts, self._figures = counts, {}
            self.version += 1

    def of(self, node: str) -> Figure:
        """Return how many requests needed a node or one below it."""
        known = self._figures.get(node)
        if known is None:
            below = f"{node}."
            figures = [
                figure
                for words, figure in self._counts.items()
                if any((path := self._nodes.get(word, word)) == node or path.startswith(below) for word in words)
            ]
            known = Figure(sum(figure[0] for figure in figures), sum(figure[1] for figure in figures))
            self._figures[node] = known
        return known


def _needed(row: RequestRow) -> tuple[str, ...]:
    implied = _IMPLIED.get(row.endpoint)
    return row.needed if implied is None or implied in row.needed else (implied, *row.needed)
