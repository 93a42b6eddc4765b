"""state.db: evaluation runs and their finished cells, JSON of the caller's making; nothing here knows what it means."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .db import Database

Place = tuple[str, str, int]
"""Scenario, target, repeat."""


class EvalStore:
    """Reads and writes over the one state database; each call is one transaction, or raises StorageUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def save_run(self, run: str, started_at: float, data: str) -> None:
        """Write a run, new or changed; its cells stay."""
        await self._db.write(
            lambda conn: conn.execute(
                "INSERT INTO eval_runs (id, started_at, data) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET data = excluded.data",
                (run, started_at, data),
            )
        )

    async def save_cell(self, run: str, place: Place, data: str) -> None:
        """Write one finished cell, in place of what stood there."""
        await self._db.write(
            lambda conn: conn.execute(
                "INSERT OR REPLACE INTO eval_cells (run, scenario, target, repeat, data) VALUES (?, ?, ?, ?, ?)",
                (run, *place, data),
            )
        )

    async def run(self, run: str) -> str | None:
        """Return what was written of a run, None where there is none."""
        found = await self._texts("SELECT data FROM eval_runs WHERE id = ?", run)
        return found[0] if found else None

    async def runs(self, limit: int) -> list[str]:
        """Return the newest runs first."""
        return await self._texts("SELECT data FROM eval_runs ORDER BY started_at DESC, id DESC LIMIT ?", limit)

    async def cells(self, run: str) -> list[str]:
        """Return the cells of a run, in the order of their places."""
        return await self._texts("SELECT data FROM eval_cells WHERE run = ?", run)

    async def earlier(self, scenario: str, target: str, since: float) -> list[tuple[str, str]]:
        """Return run and cell of every repeat of one square in runs since then (UTC epoch seconds), newest first."""
        rows = await self._rows(
            "SELECT r.data, c.data FROM eval_runs AS r JOIN eval_cells AS c ON c.run = r.id"
            " WHERE r.started_at >= ? AND c.scenario = ? AND c.target = ? ORDER BY r.started_at DESC",
            since,
            scenario,
            target,
        )
        return [(str(run), str(cell)) for run, cell in rows]

    async def save_cells(self, run: str, cells: Sequence[tuple[Place, str]]) -> None:
        """Write several finished cells in one transaction."""
        rows = [(run, *place, data) for place, data in cells]
        await self._db.write(
            lambda conn: conn.executemany(
                "INSERT OR REPLACE INTO eval_cells (run, scenario, target, repeat, data) VALUES (?, ?, ?, ?, ?)", rows
            )
        )

    async def _texts(self, query: str, value: str | int) -> list[str]:
        return [str(row[0]) for row in await self._rows(query, value)]

    async def _rows(self, query: str, *values: str | float) -> list[tuple[object, ...]]:
        """Return rows; nothing where there is no file yet, or one that no writer has brought up to date."""
        if not self._db.path.exists():
            return []

        def work(conn: sqlite3.Connection) -> list[tuple[object, ...]]:
            if conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 'eval_cells'").fetchone() is None:
                return []
            return conn.execute(query, values).fetchall()

        return await self._db.read(work)
