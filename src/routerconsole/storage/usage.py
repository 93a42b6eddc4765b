"""state.db: what was used and spent, by UTC date, provider, model and agent. Rows are whole: a write replaces one.

Kept for a little over a year; nothing of any request's text comes here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from .db import Database

KEPT_DAYS = 400
_COLUMNS = (
    "date, provider, model, agent, requests, prompt_tokens, completion_tokens, cost_usd, priced, unknown, estimated,"
    " guessed_usd"
)


class UsageRow(NamedTuple):
    """One row, spelt as the books spell it; `agent` is empty where none was named."""

    date: str
    provider: str
    model: str
    agent: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    priced: int
    unknown: int
    estimated: int
    guessed_usd: float


class UsageStore:
    """Reads and writes over the one state database; each call is one transaction, or raises StorageUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def save(self, rows: Iterable[UsageRow]) -> None:
        """Write rows in place of what they were."""
        values = [tuple(_text(value) if isinstance(value, str) else value for value in row) for row in rows]
        await self._db.write(
            lambda conn: conn.executemany(
                f"INSERT OR REPLACE INTO usage ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - names of our own
                values,
            )
        )

    async def since(self, date: str) -> list[UsageRow]:
        """Return the rows from a date on; none where no writer has made or brought up to date a file yet."""
        if not self._db.path.exists():
            return []

        def work(conn: sqlite3.Connection) -> list[tuple[Any, ...]]:
            if conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 'usage'").fetchone() is None:
                return []
            return conn.execute(f"SELECT {_COLUMNS} FROM usage WHERE date >= ?", (date,)).fetchall()  # noqa: S608 - as above

        return [UsageRow(*row) for row in await self._db.read(work)]

    async def forget_before(self, date: str) -> None:
        """Drop the rows of earlier days."""
        await self._db.write(lambda conn: conn.execute("DELETE FROM usage WHERE date < ?", (date,)))


def _text(value: str) -> str:
    """SQLite text is UTF-8: a lone surrogate is stored as its escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
