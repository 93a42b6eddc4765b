"""Whatever is found in the file's place, the database opens, nothing is deleted, and what was done is told."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from routerconsole.storage.db import Database
from routerconsole.storage.errors import NewerSchema, Reason, StorageUnavailable, UnsafePlace
from routerconsole.storage.migrations import LOG, STATE, Migration, Schema
from routerconsole.storage.state import StateStore

from .conftest import NOW, Open, asides, change


def trash_header(path: Path) -> None:
    """Overwrite the magic bytes."""
    with path.open("r+b") as file:
        file.write(os.urandom(100))


def trash_pages(path: Path) -> None:
    """Overwrite every page but the first with noise."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def truncate(path: Path) -> None:
    """Cut the file in the middle of a page."""
    os.truncate(path, 5000)


def empty(path: Path) -> None:
    """Leave a file of no bytes."""
    os.truncate(path, 0)


def noise(path: Path) -> None:
    """Put something that is no database there."""
    path.write_bytes(os.urandom(20_000))


def another_program(path: Path) -> None:
    """Put some other program's database there."""
    path.unlink()
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE records (key, kind, data, at)")
    conn.close()


DAMAGE = [trash_header, trash_pages, truncate, empty, noise, another_program]


async def with_one_change(open_db: Open, *, backup: bool) -> Path:
    """Leave a closed state database with change 1 in it."""
    db = await open_db()
    await StateStore(db).commit_change(*change(1))
    if backup:
        await db.backup()
    await db.aclose()
    return db.path


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("backup", [True, False])
async def test_D05_a_damaged_file_is_set_aside_and_restored(
    open_db: Open, damage: Callable[[Path], None], backup: bool
) -> None:
    """The damaged bytes are kept under another name, the newest backup takes their place, and the operator is told."""
    path = await with_one_change(open_db, backup=backup)
    damage(path)
    bytes_found = path.read_bytes()
    db = await open_db()
    assert db.degraded is None
    kept = [name for name in asides(path.parent) if name.startswith("state.db.corrupt-")]
    assert [(path.parent / name).read_bytes() for name in kept] == [bytes_found]
    codes = [notice.code for notice in db.notices]
    assert codes == (["moved_aside", "restored"] if backup else ["moved_aside"])
    state = await StateStore(db).load()
    assert len(state.records) == (1 if backup else 0)
    assert await StateStore(db).commit_change(*change(2)) == (2 if backup else 1)


async def test_D05_a_damaged_backup_is_passed_over(open_db: Open, place: Path) -> None:
    """The newest backup that is sound is taken, not the newest."""
    db = await open_db()
    store = StateStore(db)
    for n in (1, 2):
        await store.commit_change(*change(n))
        newest = await db.backup()
    await db.aclose()
    assert newest is not None
    trash_pages(newest)
    trash_header(db.path)
    again = await open_db()
    assert [r.entry.target for r in await StateStore(again).audit()] == ["p1"]


@pytest.mark.parametrize("damage", [trash_pages, trash_header])
async def test_D05_damage_while_running_is_found_and_mended(open_db: Open, damage: Callable[[Path], None]) -> None:
    """Damage met by a read or write is set aside at the next check, and work goes on with the backup."""
    path = await with_one_change(open_db, backup=True)
    db = await open_db()
    damage(path)
    with pytest.raises(StorageUnavailable) as refused:
        await StateStore(db).load()
    assert refused.value.reason is Reason.CORRUPT
    await db.check()
    assert db.degraded is None
    assert asides(path.parent) != []
    assert len((await StateStore(db).load()).records) == 1


KILLED = (
    "import asyncio, os, signal, sys\nfrom pathlib import Path\n"
    "from routerconsole.storage.db import Database\n"
    "from routerconsole.storage.migrations import STATE\n"
    "from routerconsole.storage.state import AuditEntry, Record, StateStore\n"
    "async def main():\n"
    "    db = Database(Path(sys.argv[1]) / 'state.db', STATE, wall=lambda: 0.0)\n"
    "    await db.open()\n"
    "    for n in range(int(sys.argv[2])):\n"
    "        audit = AuditEntry(0.0, 'killed', 'disable_provider', f'{sys.argv[3]}{n}', {}, {})\n"
    "        number = await StateStore(db).commit_change(audit, [Record((audit.target,), 'admin', {'n': n})])\n"
    "        print(number, flush=True)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "asyncio.run(main())\n"
)


def killed_after(directory: Path, changes: int, *, name: str = "k") -> None:
    """Acknowledge some changes in another process and kill it, so that its WAL is left behind."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, directory, str(changes), name], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(done.stdout.split()) == changes


async def test_D01_what_was_acknowledged_is_there_after_a_kill(open_db: Open, place: Path) -> None:
    """Audit rows and records whose write returned survive `kill -9`."""
    killed_after(place, 20)
    db = await open_db()
    assert db.notices == ()
    assert len(await StateStore(db).audit()) == len((await StateStore(db).load()).records) == 20


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_D06_a_missing_side_file_after_a_kill(open_db: Open, place: Path, suffix: str) -> None:
    """Without its WAL or index the file opens in a consistent state: rows and records agree."""
    killed_after(place, 5)
    (place / f"state.db{suffix}").unlink()
    db = await open_db()
    assert db.degraded is None
    rows, records = await StateStore(db).audit(), (await StateStore(db).load()).records
    assert len(rows) == len(records) == (5 if suffix == "-shm" else 0)


@pytest.mark.parametrize("keep_shm", [True, False])
async def test_D06_another_databases_wal_is_never_replayed(
    open_db: Open, place: Path, tmp_path: Path, keep_shm: bool
) -> None:
    """A WAL of another RouterConsole database, well-formed as it is, is set aside and its rows are not served."""
    other = tmp_path / "other"
    other.mkdir()
    killed_after(other, 6, name="stranger")
    path = await with_one_change(open_db, backup=False)
    shutil.copy(other / "state.db-wal", place / "state.db-wal")
    if keep_shm:
        shutil.copy(other / "state.db-shm", place / "state.db-shm")
    stranger = (other / "state.db-wal").read_bytes()
    db = await open_db()
    assert [r.entry.target for r in await StateStore(db).audit()] == ["p1"]
    assert [n.code for n in db.notices] == ["wal_aside"]
    kept = [name for name in asides(path.parent) if name.startswith("state.db-wal")]
    assert [(path.parent / name).read_bytes() for name in kept] == [stranger]


@pytest.mark.parametrize("kept", [32, 32 + 24, 32 + 24 + 100], ids=["header", "frame header", "part of a page"])
async def test_D01_D06_a_wal_a_killed_writer_had_only_begun_is_left_to_sqlite(
    open_db: Open, place: Path, kept: int
) -> None:
    """Before the first whole frame nothing would be replayed: the log is no stranger's and nothing is set aside."""
    killed_after(place, 5)
    begun = (place / "state.db-wal").read_bytes()[:kept]
    db = await open_db()
    await db.aclose()  # the file alone holds everything now
    (place / "state.db-wal").write_bytes(begun)
    db = await open_db()
    assert len(await StateStore(db).audit()) == 5
    assert (asides(place), db.notices) == ([], ())


async def test_D06_the_wal_of_before_a_restore_is_never_replayed(open_db: Open, place: Path) -> None:
    """A backup copied over the file by hand does not get the old file's WAL on top."""
    path = await with_one_change(open_db, backup=True)
    killed_after(place, 6, name="later")
    [backup] = (place / "backups").iterdir()
    shutil.copy(backup, path)
    db = await open_db()
    assert [r.entry.target for r in await StateStore(db).audit()] == ["p1"]


async def test_D06_the_logs_wal_beside_the_state_file(open_db: Open, place: Path) -> None:
    """A file of our other kind is not taken for this one."""
    await (await open_db(schema=LOG)).aclose()
    shutil.copy(place / "log.db", place / "state.db")
    db = await open_db()
    assert (await StateStore(db).load()).records == {}
    assert "moved_aside" in [n.code for n in db.notices]


async def test_D07_a_file_missing_at_the_start_is_restored(open_db: Open, place: Path) -> None:
    """A file lost between two runs comes back from the newest backup."""
    (await with_one_change(open_db, backup=True)).unlink()
    db = await open_db()
    assert len((await StateStore(db).load()).records) == 1
    assert [n.code for n in db.notices] == ["restored"]


async def test_D15_a_newer_schema_is_refused_and_untouched(place: Path, open_db: Open) -> None:
    """A file with a migration this version does not know raises NewerSchema; its bytes, and its WAL's, stay."""
    newer = Schema(
        "state", STATE.application_id, (*STATE.migrations, Migration("9999-future", ("CREATE TABLE f (a)",)))
    )
    path = await with_one_change(open_db, backup=True)
    await (await open_db(schema=newer)).aclose()
    before = {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()}
    db = Database(path, STATE, wall=lambda: NOW, backups=place / "backups")
    with pytest.raises(NewerSchema, match="9999-future"):
        await db.open()
    await db.aclose()
    assert {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "state.db-shm", "state.db-journal"])
async def test_X20_a_linked_database_is_refused(place: Path, name: str) -> None:
    """Neither the database nor a file beside it is opened through a symbolic link."""
    (place / "elsewhere.db").write_bytes(b"")
    (place / name).symlink_to(place / "elsewhere.db")
    db = Database(place / "state.db", STATE, wall=lambda: NOW)
    with pytest.raises(UnsafePlace):
        await db.open()
    await db.aclose()
    assert (place / "elsewhere.db").read_bytes() == b""


async def test_X21_database_files_are_private(open_db: Open, place: Path) -> None:
    """The file, its WAL and index, and backups are 0600 under umask 0, and an old wide file is narrowed."""
    before = os.umask(0)
    try:
        db = await open_db()
        await StateStore(db).commit_change(*change())
        await db.backup()
        found = [*place.glob("state.db*"), *(place / "backups").iterdir()]
        assert len(found) == 4
        assert {p.stat().st_mode & 0o777 for p in found} == {0o600}
        await db.aclose()
        db.path.chmod(0o666)
        await open_db()
        assert {p.stat().st_mode & 0o777 for p in place.glob("state.db*")} == {0o600}
    finally:
        os.umask(before)


async def test_D17_without_wal_support_a_journal_is_used(open_db: Open) -> None:
    """Where the file system has no shared memory, also for a file that was in WAL mode, work goes on and it is told."""
    await with_one_change(open_db, backup=False)
    db = await open_db(vfs="unix-dotfile")
    assert db.degraded is None
    assert [n.code for n in db.notices] == ["no_wal"]
    assert await StateStore(db).commit_change(*change(2)) == 2
    mode = await db.write(lambda conn: conn.execute("PRAGMA journal_mode").fetchone())
    assert mode == ("delete",)
