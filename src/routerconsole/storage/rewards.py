"""state.db: scores of judges, how judges did when they were tried, what evaluations passed; JSON of the caller's.

Only the newest scores are kept, so that sampling for years does not fill the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .db import Database

MOST_SCORES = 10_000


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One score; `at` is UTC epoch seconds, `id` 0 before it is written, `data` JSON text."""

    at: float
    agent: str | None
    model: str | None
    score: float
    data: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class PassRow:
    """What a model passed of one scenario: `passed` is pass^k, `node` the capability it measures."""

    provider: str
    model: str
    scenario: str
    node: str | None
    passed: float


class RewardStore:
    """Reads and writes over the one state database; each call is one transaction, or raises StorageUnavailable."""

    def __init__(self, db: Database, *, most: int = MOST_SCORES) -> None:
        self._db, self._most = db, most

    async def add(self, row: ScoreRow) -> int:
        """Write a score and return its number; what is older than the newest `most` goes."""

        def work(conn: sqlite3.Connection) -> int:
            number = (
                conn.execute(
                    "INSERT INTO reward_scores (at, agent, model, score, data) VALUES (?, ?, ?, ?, ?)",
                    (row.at, row.agent, row.model, row.score, row.data),
                ).lastrowid
                or 0
            )
            conn.execute("DELETE FROM reward_scores WHERE id <= ?", (number - self._most,))
            return number

        return await self._db.write(work)

    async def scores(self, limit: int, *, agent: str | None = None, model: str | None = None) -> list[ScoreRow]:
        """Return the newest scores first, of one agent or model where that is named."""
        asked = [(name, value) for name, value in (("agent", agent), ("model", model)) if value is not None]
        where = " AND ".join(f"{name} = ?" for name, _ in asked)
        rows = await self._rows(
            f"SELECT at, agent, model, score, data, id FROM reward_scores{' WHERE ' if where else ''}{where}"  # noqa: S608 - names of our own
            " ORDER BY id DESC LIMIT ?",
            *(value for _, value in asked),
            limit,
        )
        return [ScoreRow(*row) for row in rows]

    async def save_check(self, judge: str, at: float, data: str) -> None:
        """Write how a judge did, in place of the time before."""
        await self._db.write(
            lambda conn: conn.execute(
                "INSERT OR REPLACE INTO judge_checks (judge, at, data) VALUES (?, ?, ?)", (judge, at, data)
            )
        )

    async def checks(self) -> list[tuple[str, float, str]]:
        """Return judge, UTC epoch seconds and what was written of each judge that was tried, newest first."""
        return [
            (str(judge), float(at), str(data))
            for judge, at, data in await self._rows("SELECT judge, at, data FROM judge_checks ORDER BY at DESC, judge")
        ]

    async def save_passes(self, rows: Sequence[PassRow], at: float) -> None:
        """Write what a run passed, in place of what a run before did."""
        values = [(row.provider, row.model, row.scenario, row.node, row.passed, at) for row in rows]
        await self._db.write(
            lambda conn: conn.executemany(
                "INSERT OR REPLACE INTO eval_quality (provider, model, scenario, node, passed, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        )

    async def passes(self) -> list[PassRow]:
        """Return what every model passed when it was last asked."""
        return [
            PassRow(*row)
            for row in await self._rows("SELECT provider, model, scenario, node, passed FROM eval_quality")
        ]

    async def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Return rows; none where there is no file yet, or one that no writer has brought up to date."""
        if not self._db.path.exists():
            return []

        def work(conn: sqlite3.Connection) -> list[tuple[Any, ...]]:
            if conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 'eval_quality'").fetchone() is None:
                return []
            return conn.execute(query, values).fetchall()

        return await self._db.read(work)
