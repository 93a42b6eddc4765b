"""Migrations are applied whole or not at all, from blank and from the oldest file, with a backup before."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from routerconsole.storage.errors import MigrationFailed, Reason, StorageUnavailable
from routerconsole.storage.migrations import LOG, STATE, Migration, Schema, applied, migrate, pending, unknown
from routerconsole.storage.state import StateStore

from .conftest import Open, change

LATER = Migration("8000-later", ("ALTER TABLE audit ADD COLUMN note TEXT", "UPDATE audit SET note = 'migrated'"))
BROKEN = Migration("8001-broken", ("CREATE TABLE half (a)", "INSERT INTO half VALUES (1)", "SELECT * FROM nowhere"))


def extended(*more: Migration) -> Schema:
    """The state schema of some later version."""
    return Schema("state", STATE.application_id, (*STATE.migrations, *more))


@pytest.mark.parametrize("schema", [STATE, LOG])
def test_each_list_applies_to_a_blank_file_and_from_every_step(schema: Schema) -> None:
    """Whichever prefix of the list a file holds, the rest brings it to the same schema, once."""
    shapes = set()
    for start in range(len(schema.migrations) + 1):
        conn = sqlite3.connect(":memory:", isolation_level=None)
        migrate(conn, schema.migrations[:start])
        migrate(conn, schema.migrations)
        assert migrate(conn, schema.migrations) == ()
        assert applied(conn) == [m.name for m in schema.migrations]
        assert pending(conn, schema.migrations) == ()
        shapes.add(tuple(conn.execute("SELECT sql FROM sqlite_schema ORDER BY name")))
        conn.close()
    assert len(shapes) == 1


@pytest.mark.parametrize("schema", [STATE, LOG])
def test_names_are_unique_and_ordered(schema: Schema) -> None:
    """Names are the identity of a step: none twice, numbers rising."""
    names = [m.name for m in schema.migrations]
    assert names == sorted(set(names))


def test_D15_a_step_that_fails_leaves_nothing() -> None:
    """All pending steps are one transaction: the sound one before the broken one is rolled back too."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    migrate(conn, STATE.migrations)
    before = conn.execute("SELECT sql FROM sqlite_schema").fetchall()
    with pytest.raises(MigrationFailed, match="8001-broken"):
        migrate(conn, extended(LATER, BROKEN).migrations)
    assert conn.execute("SELECT sql FROM sqlite_schema").fetchall() == before
    assert unknown(conn, STATE.migrations) is None
    conn.close()


async def test_D15_a_file_is_backed_up_and_migrated(open_db: Open, place: Path) -> None:
    """An older file gets a backup as it was, then the new steps; the operator is told."""
    db = await open_db()
    await StateStore(db).commit_change(*change(1))
    await db.aclose()
    later = await open_db(schema=extended(LATER))
    assert [n.code for n in later.notices] == ["migrated"]
    assert await later.read(lambda c: c.execute("SELECT target, note FROM audit").fetchall()) == [("p1", "migrated")]
    [backup] = (place / "backups").iterdir()
    conn = sqlite3.connect(backup)
    assert applied(conn) == [m.name for m in STATE.migrations]
    assert conn.execute("SELECT target FROM audit").fetchall() == [("p1",)]
    conn.close()


async def test_D15_a_failed_migration_leaves_the_file_to_the_old_version(open_db: Open, place: Path) -> None:
    """The engine starts degraded, and the version before opens the file with everything in it."""
    db = await open_db()
    await StateStore(db).commit_change(*change(1))
    await db.aclose()
    failed = await open_db(schema=extended(LATER, BROKEN))
    assert failed.degraded is not None
    with pytest.raises(StorageUnavailable) as refused:
        await failed.write(lambda _: None)
    assert refused.value.reason is Reason.MIGRATION_FAILED
    await failed.aclose()
    again = await open_db()
    assert again.notices == ()
    assert len((await StateStore(again).load()).records) == 1


async def test_D15_a_kill_during_a_migration_is_rolled_back(open_db: Open, place: Path) -> None:
    """A process killed between two steps leaves the old schema, and the next start migrates."""
    db = await open_db()
    await StateStore(db).commit_change(*change(1))
    await db.aclose()
    code = (
        "import os, signal, sqlite3, sys\n"
        "from routerconsole.storage.migrations import STATE, Migration, migrate\n"
        "conn = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "conn.execute('PRAGMA journal_mode=WAL')\n"
        "conn.execute('PRAGMA cache_spill=1'); conn.execute('PRAGMA cache_size=1')\n"
        "conn.create_function('die', 0, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "big = 'INSERT INTO filler SELECT zeroblob(100000)'\n"
        "step = Migration('8002-killed', ('CREATE TABLE filler (a)', big, big, big, 'SELECT die()'))\n"
        "migrate(conn, (*STATE.migrations, step))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, db.path], check=False)
    assert done.returncode == -signal.SIGKILL
    later = await open_db(schema=extended(LATER))
    assert later.degraded is None
    assert await later.read(lambda c: c.execute("SELECT target, note FROM audit").fetchall()) == [("p1", "migrated")]
    assert (
        await later.read(lambda c: c.execute("SELECT name FROM sqlite_schema WHERE name = 'filler'").fetchall()) == []
    )
