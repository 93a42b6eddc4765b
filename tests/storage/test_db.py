"""One writer, whole transactions, and a file that may be full, locked, read-only or gone."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from routerconsole.storage.db import Database
from routerconsole.storage.errors import Reason, StorageUnavailable
from routerconsole.storage.migrations import STATE
from routerconsole.storage.state import AuditRecord, StateStore

from .conftest import NOW, Open, asides, change, files_limited_to, locked_by_another_process


def targets(rows: list[AuditRecord]) -> list[str]:
    """Which providers the audit speaks of."""
    return [row.entry.target for row in rows]


async def test_D11_a_cancelled_caller_leaves_no_half_transaction(open_db: Open) -> None:
    """A task cancelled between two statements of its transaction leaves all of it or nothing."""
    db = await open_db()
    between, go_on = threading.Event(), threading.Event()

    def work(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO records VALUES ('[\"a\"]', 'admin', '{}', 0)")
        between.set()
        go_on.wait(60)
        conn.execute("INSERT INTO records VALUES ('[\"b\"]', 'admin', '{}', 0)")

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(db.write(work, timeout=60))
        await asyncio.to_thread(between.wait, 10)
        writing.cancel()
    assert writing.cancelled()
    go_on.set()
    await StateStore(db).commit_change(*change(1))
    found = {key[1][0] for key in (await StateStore(db).load()).records}
    assert found == {"a", "b", "p1"}


async def test_D11_a_failing_transaction_is_rolled_back_whole(open_db: Open) -> None:
    """A statement that fails takes the ones before it along, and the error comes as it is."""
    db = await open_db()

    def work(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO records VALUES ('[\"a\"]', 'admin', '{}', 0)")
        conn.execute("INSERT INTO records VALUES ('[\"a\"]', 'admin', '{}', 0)")

    with pytest.raises(sqlite3.IntegrityError):
        await db.write(work)
    assert (await StateStore(db).load()).records == {}
    assert db.degraded is None


async def test_D11_a_change_given_up_is_never_written_later(open_db: Open) -> None:
    """A write that was refused because it waited too long does not happen behind the caller's back."""
    db = await open_db()
    begun, go_on = threading.Event(), threading.Event()
    store = StateStore(db)

    def slowly(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(60)

    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(db.write(slowly, timeout=60))
        await asyncio.to_thread(begun.wait, 10)
        with pytest.raises(StorageUnavailable) as refused:
            await db.write(lambda conn: conn.execute("DELETE FROM nowhere"), timeout=0.05)
        assert refused.value.reason is Reason.LOCKED
        go_on.set()
        await slow
    await store.commit_change(*change(1))
    assert db.degraded is None


async def test_D04_a_lock_held_by_another_process_refuses_edits_in_time(open_db: Open) -> None:
    """Edits that wait together are refused together, reads go on, and edits work again once the lock is gone."""
    db = await open_db()
    store = StateStore(db)
    await store.commit_change(*change(1))
    with locked_by_another_process(db.path):
        loop = asyncio.get_running_loop()
        began = loop.time()
        refusals = await asyncio.gather(*(store.commit_change(*change(n)) for n in (2, 3, 4)), return_exceptions=True)
        assert loop.time() - began < 4.4, "one after the other they would wait for a second and a half each"
        assert [getattr(r, "reason", r) for r in refusals] == [Reason.LOCKED] * 3
        assert db.degraded is not None
        assert db.degraded.code == "locked"
        assert len((await store.load()).records) == 1
    await db.check()
    assert db.degraded is None
    await store.commit_change(*change(5))
    assert targets(await store.audit()) == ["p5", "p1"]


async def test_D04_a_file_locked_at_the_start_opens_later(open_db: Open, place: Path) -> None:
    """An engine that starts while somebody holds the file starts anyway, refuses edits, and recovers by itself."""
    await (await open_db()).aclose()
    with locked_by_another_process(place / "state.db"):
        db = await open_db()
        with pytest.raises(StorageUnavailable):
            await StateStore(db).commit_change(*change(1))
    await db.check()
    assert db.degraded is None
    assert await StateStore(db).commit_change(*change(1)) == 1


async def test_D03_a_full_disk_refuses_the_edit_and_keeps_the_old_value(open_db: Open) -> None:
    """Nothing of a refused change is stored; what was there is read as before; the next check ends it."""
    db = await open_db()
    store = StateStore(db)
    await store.commit_change(*change(1))
    audit, [record] = change(2)
    big = type(record)(("p1", None, None), "admin", {"state": "x" * 400_000})
    with files_limited_to(200_000):
        with pytest.raises(StorageUnavailable) as refused:
            await store.commit_change(audit, [big])
        assert refused.value.reason in (Reason.DISK_FULL, Reason.IO_ERROR)
        assert db.degraded is not None
        assert (await store.load()).of("admin") == {("p1", None, None): {"state": "disabled", "n": 1}}
    await db.check()
    assert db.degraded is None
    assert targets(await store.audit()) == ["p1"]
    await store.commit_change(audit, [big])
    assert targets(await store.audit()) == ["p2", "p1"]


async def test_D03_a_database_at_its_page_limit_says_full(open_db: Open) -> None:
    """SQLite's own word for no space is reported as a full disk."""
    db = await open_db()
    await db.write(lambda conn: conn.execute("CREATE TABLE filler (a)"))
    await db.write(lambda _: None)
    with pytest.raises(StorageUnavailable) as refused:
        await db.write(fill_up)
    assert refused.value.reason is Reason.DISK_FULL
    assert db.degraded is not None


def fill_up(conn: sqlite3.Connection) -> None:
    """Write more than the pages there are."""
    conn.execute("PRAGMA max_page_count=20")
    conn.execute("INSERT INTO filler VALUES (zeroblob(1000000))")


async def test_D03_a_disk_full_at_the_start(open_db: Open) -> None:
    """An engine that cannot even make its file starts degraded and gets its file when there is room."""
    with files_limited_to(0):
        db = await open_db()
        assert db.degraded is not None
        with pytest.raises(StorageUnavailable):
            await StateStore(db).commit_change(*change(1))
    await db.check()
    assert db.degraded is None
    assert await StateStore(db).commit_change(*change(1)) == 1


@pytest.mark.parametrize("what", ["file", "directory"])
async def test_D08_read_only_is_told_and_ends_by_itself(open_db: Open, unprivileged: Path, what: str) -> None:
    """What is stored is still read, edits are refused, and rights given back are noticed."""
    db = await open_db(unprivileged)
    await StateStore(db).commit_change(*change(1))
    await db.aclose()
    (db.path if what == "file" else unprivileged).chmod(0o444 if what == "file" else 0o500)
    again = await open_db(unprivileged)
    store = StateStore(again)
    assert again.degraded is not None
    with pytest.raises(StorageUnavailable) as refused:
        await store.commit_change(*change(2))
    assert refused.value.reason in (Reason.READ_ONLY, Reason.CANNOT_OPEN)
    assert targets(await store.audit()) == ["p1"]
    await again.check()
    assert again.degraded is not None
    (db.path if what == "file" else unprivileged).chmod(0o600 if what == "file" else 0o700)
    await again.check()
    assert again.degraded is None
    assert await store.commit_change(*change(2)) == 2
    await again.aclose()


@pytest.mark.parametrize("replacement", [None, b"", b"something else" * 1000])
@pytest.mark.parametrize("side_files", [True, False])
async def test_D07_a_file_removed_or_replaced_while_running(
    open_db: Open, place: Path, replacement: bytes | None, side_files: bool
) -> None:
    """What was acknowledged is written to the path again; what was put there is set aside, and it is told."""
    db = await open_db()
    store = StateStore(db)
    await store.commit_change(*change(1))
    for path in place.glob("state.db*" if side_files else "state.db"):
        path.unlink()
    if replacement is not None:
        (place / "state.db").write_bytes(replacement)
    await db.check()
    assert db.degraded is None
    assert "brought_back" in [n.code for n in db.notices]
    await store.commit_change(*change(2))
    kept = [name for name in asides(place) if name.startswith("state.db.corrupt")]
    assert [(place / name).read_bytes() for name in kept] == ([] if replacement is None else [replacement])
    await db.aclose()
    again = await open_db()
    assert targets(await StateStore(again).audit()) == ["p2", "p1"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_D06_a_side_file_removed_while_running(open_db: Open, place: Path, suffix: str) -> None:
    """The WAL or its index taken away under a running engine costs no acknowledged change."""
    db = await open_db()
    store = StateStore(db)
    await store.commit_change(*change(1))
    (place / f"state.db{suffix}").unlink()
    await db.check()
    await store.commit_change(*change(2))
    seen = subprocess.run(
        [sys.executable, "-c", "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute("
         "'SELECT target FROM audit'))", db.path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout.split() == ["('p1',)", "('p2',)"]


async def test_D19_closing_folds_the_wal_into_the_file(open_db: Open, place: Path) -> None:
    """After an orderly close the file alone holds everything; closing twice does no harm, writing is refused."""
    db = await open_db()
    await StateStore(db).commit_change(*change(1))
    await db.aclose()
    await db.aclose()
    assert [p.name for p in place.iterdir() if p.is_file()] == ["state.db"]
    with pytest.raises(StorageUnavailable) as refused:
        await StateStore(db).commit_change(*change(2))
    assert refused.value.reason is Reason.CLOSED
    with pytest.raises(StorageUnavailable):
        await StateStore(db).load()


async def test_closing_waits_for_writes_under_way(open_db: Open) -> None:
    """Writes that were begun are finished before the file is closed."""
    db = await open_db()
    async with asyncio.TaskGroup() as tasks:
        writes = [tasks.create_task(StateStore(db).commit_change(*change(n))) for n in range(20)]
        await asyncio.sleep(0)  # lets each of them reach the connection's queue
        await db.aclose()
    assert sorted(write.result() for write in writes) == list(range(1, 21))


async def test_only_the_newest_backups_are_kept_and_each_is_whole(open_db: Open, place: Path) -> None:
    """Backups are numbered, five are kept, and a backup opens by itself with what was there."""
    db = await open_db()
    for n in range(1, 8):
        await StateStore(db).commit_change(*change(n))
        newest = await db.backup()
    assert newest is not None
    names = sorted(p.name for p in (place / "backups").iterdir())
    assert [name.split("-")[1] for name in names] == [f"{n:06d}" for n in range(3, 8)]
    conn = sqlite3.connect(newest)
    assert conn.execute("SELECT count(*) FROM audit").fetchone() == (7,)
    assert conn.execute("PRAGMA quick_check").fetchone() == ("ok",)
    conn.close()
    assert not os.path.exists(f"{newest}-wal")


async def test_readers_cannot_write(open_db: Open) -> None:
    """The reading connection refuses changes."""
    db = await open_db()
    with pytest.raises(StorageUnavailable) as refused:
        await db.read(lambda conn: conn.execute("DELETE FROM audit"))
    assert refused.value.reason is Reason.READ_ONLY


async def test_a_write_during_opening_waits_for_it(open_db: Open, place: Path) -> None:
    """A change that comes while the file is being opened is kept, not refused."""
    db = Database(place / "state.db", STATE, wall=lambda: NOW)
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(db.open())
        writing = tasks.create_task(StateStore(db).commit_change(*change(1)))
    assert opening.done()
    assert writing.result() == 1
    await db.aclose()


def test_a_closed_database_lets_the_process_end(place: Path) -> None:
    """After closing no thread is left to hang the exit, and nothing was left unclosed."""
    code = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from routerconsole.storage.db import Database\nfrom routerconsole.storage.migrations import STATE\n"
        "async def main():\n"
        "    db = Database(Path(sys.argv[1]) / 'state.db', STATE, wall=lambda: 0.0)\n"
        "    await db.open(); await db.read(lambda c: None); await db.aclose()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-X", "dev", "-c", code, place], check=True, timeout=60)
