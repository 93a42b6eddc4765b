"""state.db: what operators decided and what the board learned, and the audit of every change.

Values are JSON objects of the caller's making; nothing here knows what they mean, and no request text ever comes here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .db import Database

Key = tuple[str | None, ...]
"""What a record is about, e.g. `(provider, account, model)` or `(provider,)`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One stored object; `kind` is e.g. admin, breaker, gate, gap, priority. `data` None removes it."""

    key: Key
    kind: str
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change about to be made; `at` is UTC epoch seconds."""

    at: float
    actor: str
    command: str
    target: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change that was written down."""

    id: int
    entry: AuditEntry
    undone: bool


@dataclass(frozen=True, slots=True)
class StoredState:
    """Everything to start from: objects by kind and key, with the UTC epoch seconds each was saved at."""

    records: Mapping[tuple[str, Key], Mapping[str, Any]] = field(default_factory=dict)
    saved_at: Mapping[tuple[str, Key], float] = field(default_factory=dict)
    unreadable: int = 0

    def of(self, kind: str) -> dict[Key, Mapping[str, Any]]:
        """Return the objects of one kind by key."""
        return {key: data for (found, key), data in self.records.items() if found == kind}


class StateStore:
    """Reads and writes over the one state database; every write raises StorageUnavailable when it is not kept."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def load(self) -> StoredState:
        """Return all records; raise StorageUnavailable. A row that is no record of ours is left out and counted."""
        rows = await self.db.read(lambda conn: conn.execute("SELECT kind, key, data, at FROM records").fetchall())
        records: dict[tuple[str, Key], Mapping[str, Any]] = {}
        saved_at: dict[tuple[str, Key], float] = {}
        for kind, text, data, at in rows:
            try:
                key, value = json.loads(text), json.loads(data)
            except ValueError:
                continue
            if isinstance(key, list) and isinstance(value, dict):
                records[kind, tuple(key)], saved_at[kind, tuple(key)] = value, at
        return StoredState(records, saved_at, unreadable=len(rows) - len(records))

    async def save_records(self, records: Iterable[Record], wall: float) -> None:
        """Write or remove records in one transaction; raise ValueError for what JSON cannot hold."""
        rows = [_encode(record) for record in records]
        if rows:
            await self.db.write(lambda conn: _put(conn, rows, wall))

    async def commit_change(
        self, audit: AuditEntry, records: Iterable[Record] = (), *, undoes: int | None = None
    ) -> int:
        """Write the audit row and the state it describes together; return the audit id once both are on the disk.

        `undoes` is the row that is marked as undone with it. Raises StorageUnavailable within about two seconds, with
        nothing written.
        """
        rows = [_encode(record) for record in records]
        values = (
            audit.at,
            _text(audit.actor),
            _text(audit.command),
            _text(audit.target),
            _json(audit.before),
            _json(audit.after),
        )

        def work(conn: sqlite3.Connection) -> int:
            cursor = conn.execute(
                "INSERT INTO audit (at, actor, command, target, before, after) VALUES (?, ?, ?, ?, ?, ?)", values
            )
            _put(conn, rows, audit.at)
            if undoes is not None:
                conn.execute("UPDATE audit SET undone = 1 WHERE id = ?", (undoes,))
            return cursor.lastrowid or 0

        return await self.db.write(work)

    async def audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return the newest changes first, by number, not by clock."""
        rows = await self.db.read(lambda conn: conn.execute(f"{_AUDIT} ORDER BY id DESC LIMIT ?", (limit,)).fetchall())
        return [_audit_record(row) for row in rows]

    async def audited(self, number: int) -> AuditRecord | None:
        """Return one change by its number, None where there is none; raise StorageUnavailable."""
        row = await self.db.read(lambda conn: conn.execute(f"{_AUDIT} WHERE id = ?", (number,)).fetchone())
        return None if row is None else _audit_record(row)


_AUDIT = "SELECT id, at, actor, command, target, before, after, undone FROM audit"


def _audit_record(row: tuple[Any, ...]) -> AuditRecord:
    number, at, actor, command, target, before, after, undone = row
    entry = AuditEntry(at, actor, command, target, json.loads(before), json.loads(after))
    return AuditRecord(number, entry, bool(undone))


def _encode(record: Record) -> tuple[str, str, str | None]:
    key = json.dumps(list(record.key), separators=(",", ":"))
    return key, _text(record.kind), None if record.data is None else _json(record.data)


def _json(data: Mapping[str, Any]) -> str:
    """ASCII JSON: a lone surrogate becomes an escape and survives; NaN and infinity are refused with ValueError."""
    return json.dumps(dict(data), allow_nan=False, separators=(",", ":"))


def _text(value: str) -> str:
    """SQLite text is UTF-8: a lone surrogate is stored as its escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _put(conn: sqlite3.Connection, rows: list[tuple[str, str, str | None]], at: float) -> None:
    for key, kind, data in rows:
        if data is None:
            conn.execute("DELETE FROM records WHERE key = ? AND kind = ?", (key, kind))
        else:
            conn.execute(
                "INSERT INTO records (key, kind, data, at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key, kind) DO UPDATE SET data = excluded.data, at = excluded.at",
                (key, kind, data, at),
            )
