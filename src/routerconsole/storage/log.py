"""log.db: one row per finished request, in order of arrival here, bounded by age and size. Disposable.

Bodies are written only where a `LoggedBody` is handed over, which the engine does for `log.bodies: summary | full`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from routerconsole.domain.query import RowFilter

from . import search
from .db import Database

PRUNE_ROWS = 100
"""Rows deleted in one slice. Measured at 3.6 KB a row, 90 slices: half under 1.2 ms, the longest 13.5 ms."""
VACUUM_PAGES = 150
"""Free pages given back to the file system in one slice."""


NO_FILTER = RowFilter()


@dataclass(frozen=True, slots=True)
class LoggedBody:
    """Request and response as kept; `truncated_bytes` were cut off by the cap."""

    request: bytes | None
    response: bytes | None
    truncated_bytes: int = 0


class LoggedRequest(NamedTuple):
    """One finished request: columns to search by, and its row and detail as JSON bytes; `at` is UTC epoch seconds."""

    id: str
    at: float
    status: str
    origin: str
    chain: str
    row: bytes
    detail: bytes | None
    provider: str | None = None
    model: str | None = None
    error_code: str | None = None
    failed_over: bool = False
    body: LoggedBody | None = None

    def size(self) -> int:
        """Return about how many bytes it keeps in memory."""
        body = self.body
        kept = 0 if body is None else len(body.request or b"") + len(body.response or b"")
        return 400 + len(self.row) + len(self.detail or b"") + kept


class RequestLog:
    """Reads and writes over the one log database; all raise StorageUnavailable."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def append(self, batch: Sequence[LoggedRequest]) -> None:
        """Write a batch in one transaction; an id that is already there is left alone, so a repeat does no harm."""
        rows = [_columns(item) for item in batch]
        bodies = [
            (_text(item.id), item.body.request, item.body.response, item.body.truncated_bytes)
            for item in batch
            if item.body is not None
        ]

        def work(conn: sqlite3.Connection) -> None:
            conn.executemany(
                "INSERT INTO requests"
                " (id, at, status, provider, model, origin, failed_over, error_code, chain, row, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                rows,
            )
            conn.executemany(
                "INSERT INTO bodies (id, request, response, truncated_bytes) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO NOTHING",
                bodies,
            )

        await self.db.write(work)

    async def page(
        self,
        limit: int,
        *,
        before_seq: int | None = None,
        provider: str | None = None,
        status: str | None = None,
        wanted: RowFilter = NO_FILTER,
        failed_over: bool = False,
    ) -> list[tuple[int, bytes]]:
        """Return `(seq, row JSON)`, newest first, of rows that pass; a provider's are also those it failed."""
        where: list[str] = []
        values: list[object] = []
        for clause, value in (("seq < ?", before_seq), ("status = ?", status)):
            if value is not None:
                where.append(clause)
                values.append(_text(value) if isinstance(value, str) else value)
        if provider is not None:
            where.append("(provider = ? OR instr(' › ' || chain, ' › ' || ? || '✗') > 0)")
            values += [_text(provider)] * 2
        if failed_over:
            where.append("failed_over = 1")
        conditions, used = search.where(wanted, now=self.db.wall())
        where += conditions
        values += [_text(value) if isinstance(value, str) else value for value in used]
        clauses = f" WHERE {' AND '.join(where)}" if where else ""
        sql = f"SELECT seq, row FROM requests{clauses} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - clauses are literals above
        return await self.db.read(lambda conn: conn.execute(sql, (*values, max(0, limit))).fetchall())

    async def cursor(self, before: str | None) -> int | None:
        """Return the number a page goes on below: a cursor's own, or that of the row with this id.

        Below a row that is no longer there is nothing (0): the log loses its oldest first.
        """
        if before is None or before.isdecimal():
            return None if before is None else int(before)
        sql = "SELECT seq FROM requests WHERE id = ?"
        found = await self.db.read(lambda conn: conn.execute(sql, (_text(before),)).fetchone())
        return 0 if found is None else int(found[0])

    async def below(self, request_ids: Sequence[str]) -> int:
        """Return the cursor below these rows; where none of them is written yet, one above all that are."""
        holes = ", ".join("?" * len(request_ids))
        sql = f"SELECT min(seq) FROM requests WHERE id IN ({holes})"  # noqa: S608 - only placeholders
        last = "SELECT coalesce(max(seq), 0) + 1 FROM requests"

        def work(conn: sqlite3.Connection) -> int:
            (found,) = conn.execute(sql, [_text(each) for each in request_ids]).fetchone()
            return int(found if found is not None else conn.execute(last).fetchone()[0])

        return await self.db.read(work)

    async def get(self, request_id: str) -> bytes | None:
        """Return the detail JSON of a request; None where it is unknown or its detail was dropped."""
        sql = "SELECT detail FROM requests WHERE id = ?"
        found = await self.db.read(lambda conn: conn.execute(sql, (_text(request_id),)).fetchone())
        return None if found is None else found[0]

    async def body(self, request_id: str) -> LoggedBody | None:
        """Return the body kept on disk, None without one."""
        sql = "SELECT request, response, truncated_bytes FROM bodies WHERE id = ?"
        found = await self.db.read(lambda conn: conn.execute(sql, (_text(request_id),)).fetchone())
        return None if found is None else LoggedBody(*found)

    async def prune(self, *, max_age_s: float, max_mb: float, wall: float) -> int:
        """Do one slice of retention and return how many rows went; call again while it is not 0.

        Too old means older than `max_age_s` at `wall`; too big means over `max_mb` (10⁶ bytes) of pages in use, and
        then the lowest numbers go first, whatever their clock says.
        """
        return await self.db.write(lambda conn: _prune(conn, wall - max_age_s, max_mb * 1_000_000))


def _prune(conn: sqlite3.Connection, oldest: float, max_bytes: float) -> int:
    gone = conn.execute(
        "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests WHERE at < ? ORDER BY at LIMIT ?)",
        (oldest, PRUNE_ROWS),
    ).rowcount
    if gone == 0 and _used(conn) > max_bytes:
        gone = conn.execute(
            "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests ORDER BY seq LIMIT ?)", (PRUNE_ROWS,)
        ).rowcount
    for _ in range(VACUUM_PAGES):  # one page each: Python steps a statement without columns only once
        conn.execute("PRAGMA incremental_vacuum(1)")
    return gone


def _used(conn: sqlite3.Connection) -> int:
    (pages,), (free,), (size,) = (
        conn.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _columns(item: LoggedRequest) -> tuple[object, ...]:
    return (
        _text(item.id),
        item.at,
        _text(item.status),
        _optional(item.provider),
        _optional(item.model),
        _text(item.origin),
        int(item.failed_over),
        _optional(item.error_code),
        _text(item.chain),
        item.row,
        item.detail,
    )


def _optional(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _text(value: str) -> str:
    """SQLite text is UTF-8: a lone surrogate is stored as its escape."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
