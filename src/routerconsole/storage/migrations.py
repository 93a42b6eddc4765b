"""Append-only lists of named migrations, one per file. An entry that was released is never edited, only followed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import MigrationFailed, reason_of


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; `statements` run in order inside the transaction that applies all pending steps."""

    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file is: `application_id` marks its header, so that one kind is never taken for the other."""

    name: str
    application_id: int
    migrations: tuple[Migration, ...]


STATE = Schema(
    name="state",
    application_id=0x52435354,  # "RCST"
    migrations=(
        Migration(
            "0001-records-and-audit",
            (
                "CREATE TABLE records (key TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, at REAL NOT NULL,"
                " PRIMARY KEY (key, kind)) WITHOUT ROWID",
                "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL,"
                " command TEXT NOT NULL, target TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,"
                " undone INTEGER NOT NULL DEFAULT 0)",
            ),
        ),
        Migration(
            "0002-evaluations",
            (
                "CREATE TABLE eval_runs (id TEXT PRIMARY KEY, started_at REAL NOT NULL, data TEXT NOT NULL)"
                " WITHOUT ROWID",
                "CREATE TABLE eval_cells (run TEXT NOT NULL REFERENCES eval_runs (id) ON DELETE CASCADE,"
                " scenario TEXT NOT NULL, target TEXT NOT NULL, repeat INTEGER NOT NULL, data TEXT NOT NULL,"
                " PRIMARY KEY (run, scenario, target, repeat)) WITHOUT ROWID",
            ),
        ),
        Migration(
            "0003-rewards",
            (
                # AUTOINCREMENT: newest first is by number, which is never given twice.
                "CREATE TABLE reward_scores (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, agent TEXT,"
                " model TEXT, score REAL NOT NULL, data TEXT NOT NULL)",
                "CREATE INDEX reward_scores_agent ON reward_scores (agent, id)",
                "CREATE TABLE judge_checks (judge TEXT PRIMARY KEY, at REAL NOT NULL, data TEXT NOT NULL)"
                " WITHOUT ROWID",
                "CREATE TABLE eval_quality (provider TEXT NOT NULL, model TEXT NOT NULL, scenario TEXT NOT NULL,"
                " node TEXT, passed REAL NOT NULL, at REAL NOT NULL, PRIMARY KEY (provider, model, scenario))"
                " WITHOUT ROWID",
            ),
        ),
        Migration(
            "0004-usage",
            (
                "CREATE TABLE usage (date TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,"
                " agent TEXT NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,"
                " completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL, priced INTEGER NOT NULL,"
                " unknown INTEGER NOT NULL, estimated INTEGER NOT NULL, guessed_usd REAL NOT NULL,"
                " PRIMARY KEY (date, provider, model, agent)) WITHOUT ROWID",
            ),
        ),
    ),
)

LOG = Schema(
    name="log",
    application_id=0x52434C47,  # "RCLG"
    migrations=(
        Migration(
            "0001-requests-and-bodies",
            (
                # AUTOINCREMENT: a number is never given twice, not even after retention emptied the table.
                "CREATE TABLE requests (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
                " at REAL NOT NULL, status TEXT NOT NULL, provider TEXT, model TEXT, origin TEXT NOT NULL,"
                " failed_over INTEGER NOT NULL, error_code TEXT, chain TEXT NOT NULL, row BLOB NOT NULL, detail BLOB)",
                "CREATE INDEX requests_at ON requests (at)",
                "CREATE TABLE bodies (id TEXT PRIMARY KEY REFERENCES requests (id) ON DELETE CASCADE, request BLOB,"
                " response BLOB, truncated_bytes INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
            ),
        ),
    ),
)


def applied(conn: sqlite3.Connection) -> list[str]:
    """Return the names of the migrations a file holds, in order; empty for a blank one."""
    if conn.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'").fetchone() is None:
        return []
    return [name for (name,) in conn.execute("SELECT name FROM migrations ORDER BY position")]


def unknown(conn: sqlite3.Connection, migrations: Sequence[Migration]) -> str | None:
    """Return the first applied migration that this version does not know, or None."""
    known = {migration.name for migration in migrations}
    return next((name for name in applied(conn) if name not in known), None)


def pending(conn: sqlite3.Connection, migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Return the migrations a file still lacks, in order."""
    have = set(applied(conn))
    return tuple(migration for migration in migrations if migration.name not in have)


def migrate(conn: sqlite3.Connection, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Apply what is pending in one transaction and return the names; raise MigrationFailed with nothing applied.

    `conn` is in autocommit mode. A disk, lock or permission error is raised as it is: the migration is not at fault.
    """
    steps = pending(conn, migrations)
    if not steps:
        return ()
    current = ""
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)"
        )
        for step in steps:
            current = step.name
            for statement in step.statements:
                conn.execute(statement)
            conn.execute("INSERT INTO migrations (name) VALUES (?)", (step.name,))
        conn.execute("COMMIT")
    except sqlite3.Error as error:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        if reason_of(error) is not None:
            raise
        raise MigrationFailed(current, str(error)) from error
    return tuple(step.name for step in steps)
