"""One database file: one writing connection on its own thread, whole transactions as single jobs, readers `mode=ro`.

A write that returned is committed; one that raised is not. Trouble with the file never raises on opening: `degraded`
says what is wrong, writes are refused at once or within two seconds, and `check` finds the way back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

import aiosqlite

from . import files
from .errors import (
    MigrationFailed,
    NewerSchema,
    Notice,
    Reason,
    StorageError,
    StorageUnavailable,
    UnsafePlace,
    reason_of,
)
from .migrations import Schema
from .opening import FileSpec, open_read_only, open_read_write

T = TypeVar("T")
log = logging.getLogger(__name__)

WRITE_TIMEOUT = 2.0
"""Seconds a change may wait for somebody else's lock before it is refused."""
READ_TIMEOUT = 10.0
DISPOSABLE_CHECK_MB = 32.0
"""A `NORMAL` file bigger than this is not read through at the start; its damage is met when it is read.

Measured: quick_check takes 25 ms for 41 MB that the system has in memory, and as long as the disk takes otherwise.
"""
_REOPEN = frozenset({Reason.CORRUPT, Reason.GONE, Reason.CANNOT_OPEN})


class _Job(Generic[T]):
    """One transaction. Whoever comes first decides: the thread claims it for COMMIT, or the waiter abandons it."""

    def __init__(self, work: Callable[[sqlite3.Connection], T], identity: int) -> None:
        self._work, self._identity = work, identity
        self._decided = threading.Lock()

    def take(self) -> bool:
        """Return True to exactly one of the two sides."""
        return self._decided.acquire(blocking=False)

    def run(self, conn: sqlite3.Connection) -> T:
        """Run on the connection's thread: all of it or nothing."""
        if self._decided.locked():
            raise StorageUnavailable(Reason.LOCKED, "given up while waiting")
        conn.execute("BEGIN IMMEDIATE")
        try:
            result = self._work(conn)
            # Puts page 1 with the file's identity into the WAL, so that a log of another database is recognised.
            conn.execute(f"PRAGMA user_version={self._identity}")
            if not self.take():
                raise StorageUnavailable(Reason.LOCKED, "given up while waiting")
            conn.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
            raise
        return result


class Database:
    """A file that may come and go. All methods are called on one event loop."""

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        wall: Callable[[], float],
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        backups: Path | None = None,
        busy_timeout_s: float = 1.5,
        vfs: str | None = None,
    ) -> None:
        check = None if synchronous == "FULL" else DISPOSABLE_CHECK_MB
        self._spec = FileSpec(path, schema, wall, synchronous, backups, busy_timeout_s, check, vfs)
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._identity = 0
        self._inodes: dict[str, tuple[int, int]] = {}
        self._degraded: Notice | None = None
        self._suspect = False
        self._closed = False
        self._running: set[asyncio.Future[object]] = set()
        self._gate = asyncio.Lock()

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._spec.path

    def wall(self) -> float:
        """Return UTC epoch seconds by the clock it was given."""
        return self._spec.wall()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What happened to the file since it was opened, oldest first."""
        return tuple(self._spec.notices)

    @property
    def degraded(self) -> Notice | None:
        """Why changes are not being kept just now, None while they are."""
        return self._degraded

    async def open(self) -> None:
        """Open, recover and migrate; raise NewerSchema or UnsafePlace. Any other trouble leaves it `degraded`."""
        async with self._gate:
            await self._open()

    async def write(self, work: Callable[[sqlite3.Connection], T], *, timeout: float = WRITE_TIMEOUT) -> T:
        """Run `work` in one transaction and return its result once that is committed; raise StorageUnavailable.

        A cancelled caller does not cut the transaction: it is committed or rolled back whole. Errors of `work` itself
        (a constraint, a value SQLite cannot hold) are raised as they are, rolled back.
        """
        if self._writer is None and self._gate.locked():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gate_open(), timeout)
        writer = self._writer
        if writer is None:
            raise self._refusal()
        job = _Job(work, self._identity)
        running = asyncio.shield(_on_thread(writer, job.run))
        self._track(running)
        await asyncio.wait({running}, timeout=timeout)
        if not running.done():
            if job.take():
                raise self._failed(StorageUnavailable(Reason.LOCKED, f"no lock on {self.path.name} in {timeout:g} s"))
            await asyncio.wait({running})  # it is in COMMIT: only the disk decides now
        try:
            result = running.result()
        except (sqlite3.Error, StorageUnavailable) as error:
            if reason_of(error) is None:
                raise
            raise self._failed(error) from error
        self._degraded = None
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T], *, timeout: float = READ_TIMEOUT) -> T:
        """Run `work` on the read-only connection, in one snapshot; raise StorageUnavailable."""
        async with self._gate:
            if self._closed:
                raise StorageUnavailable(Reason.CLOSED, self.path.name)
            try:
                if self._reader is None:
                    self._reader = await _connected(lambda: open_read_only(self._spec))
                reader = self._reader
            except (sqlite3.Error, OSError, UnsafePlace) as error:
                raise self._unreadable(error) from error
        running = asyncio.shield(_on_thread(reader, lambda conn: _snapshot(conn, work)))
        self._track(running)
        await asyncio.wait({running}, timeout=timeout)
        if not running.done():
            await reader.interrupt()
            await asyncio.wait({running})
        try:
            return running.result()
        except sqlite3.Error as error:
            if reason_of(error) is None:
                raise
            raise self._unreadable(error) from error

    async def check(self) -> None:
        """Look after the file, every few seconds: find it deleted, replaced or damaged; end `degraded` if it can."""
        async with self._gate:
            if self._closed:
                return
            writer = self._writer
            try:
                if writer is None or self._suspect:
                    await self._reopen()
                elif (moved := self._moved()) is not None:
                    await self._bring_back(writer, moved)
            except (NewerSchema, UnsafePlace) as error:
                self._failed(error)
            probe = self._degraded is not None and self._writer is not None
        if probe:
            with contextlib.suppress(StorageUnavailable):
                await self.write(lambda _: None)

    async def backup(self) -> Path | None:
        """Write a backup and return it, None where the file has no backup directory; raise StorageUnavailable."""
        directory = self._spec.backups
        if directory is None:
            return None
        if self._writer is None:
            raise self._refusal()
        at = self._spec.wall()
        try:
            return await _on_thread(self._writer, lambda conn: files.write_backup(conn, self.path, directory, at=at))
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(reason_of(error) or Reason.IO_ERROR, str(error)) from error

    async def aclose(self) -> None:
        """Finish what runs, fold the WAL into the file and close; idempotent."""
        async with self._gate:
            self._closed = True
            await self._close()

    async def _gate_open(self) -> None:
        """Return once nobody opens or mends the file."""
        async with self._gate:
            return

    async def _open(self) -> None:
        try:
            self._writer = await _connected(lambda: open_read_write(self._spec))
        except (sqlite3.Error, OSError, StorageUnavailable, MigrationFailed) as error:
            self._failed(error)
            return
        (self._identity,) = await _on_thread(self._writer, lambda c: c.execute("PRAGMA user_version").fetchone())
        self._inodes = {}
        self._moved()  # remembers which files these are
        self._suspect = False
        self._degraded = None

    async def _reopen(self) -> None:
        await self._close()
        await self._open()

    async def _close(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        if reader is not None:
            await _close_connection(reader)
        if writer is not None:
            with contextlib.suppress(sqlite3.Error):
                await _on_thread(writer, _checkpoint)
            await _close_connection(writer)

    def _moved(self) -> str | None:
        """Return which of the open files is no longer at its path: `""` for the database, else a side file's suffix."""
        for suffix in ("", "-wal", "-shm"):
            known = self._inodes.get(suffix)
            now = _inode(files.side(self.path, suffix))
            if known is None:
                if now != _NOWHERE:
                    self._inodes[suffix] = now
            elif now != known:
                return suffix
        return None

    async def _bring_back(self, writer: aiosqlite.Connection, suffix: str) -> None:
        """Write what the open connection still holds to the path again; a replacement is set aside, not served."""
        if suffix:
            with contextlib.suppress(sqlite3.Error):
                await _on_thread(writer, _checkpoint)
            self._spec.tell("side_file_lost", f"{self.path.name}{suffix} was removed or replaced; nothing was lost")
            await self._reopen()
            return
        target = self.path.with_name(f".{self.path.name}.new")
        try:
            await _on_thread(writer, lambda conn: files.copy_live(conn, target))
            aside = files.move_aside(self.path, at=self._spec.wall())
            target.rename(self.path)
            files.sync_directory(self.path.parent)
        except (sqlite3.Error, OSError) as error:
            self._failed(StorageUnavailable(Reason.GONE, f"{self.path.name} was removed or replaced ({error})"))
            if reason_of(error) is Reason.CORRUPT:
                await self._reopen()
            return
        replaced = f"; what was found there is {aside}" if aside is not None else ""
        self._spec.tell("brought_back", f"{self.path.name} was removed or replaced and written again{replaced}")
        await self._reopen()

    def _refusal(self) -> StorageUnavailable:
        if self._closed:
            return StorageUnavailable(Reason.CLOSED, self.path.name)
        reason = Reason(self._degraded.code) if self._degraded is not None else Reason.CANNOT_OPEN
        return StorageUnavailable(reason, f"{self.path.name} is not open for writing")

    def _unreadable(self, error: BaseException) -> StorageUnavailable:
        reason = reason_of(error) or Reason.CANNOT_OPEN
        self._suspect = self._suspect or reason in _REOPEN
        return StorageUnavailable(reason, str(error))

    def _failed(self, error: BaseException) -> StorageUnavailable:
        reason = reason_of(error) or Reason.CANNOT_OPEN
        detail = error.detail if isinstance(error, StorageUnavailable) else str(error)
        if self._degraded is None or self._degraded.code != reason.value:
            self._degraded = Notice(reason.value, f"{self.path.name}: {detail}")
            log.warning("changes to %s are not kept: %s: %s", self.path.name, reason.value, detail)
        self._suspect = self._suspect or reason in _REOPEN
        return StorageUnavailable(reason, detail)

    def _track(self, running: asyncio.Future[T]) -> None:
        future = cast("asyncio.Future[object]", running)
        self._running.add(future)
        future.add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[object]) -> None:
        self._running.discard(future)
        if not future.cancelled():
            future.exception()  # seen, even where the caller was cancelled and nobody asks any more


_NOWHERE = (0, 0)


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except OSError:
        return _NOWHERE
    return (found.st_dev, found.st_ino)


def _checkpoint(conn: sqlite3.Connection) -> None:
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _snapshot(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    conn.execute("BEGIN")
    try:
        return work(conn)
    finally:
        with contextlib.suppress(sqlite3.Error):
            conn.execute("ROLLBACK")


async def _connected(opening: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    """Open on a thread of its own; an opening that fails still ends that thread in order before it is raised.

    (A connector that raises leaves aiosqlite's thread to end by itself, possibly after the loop it reports to.)
    """
    failures: list[Exception] = []

    def connector() -> sqlite3.Connection:
        try:
            return opening()
        except (sqlite3.Error, OSError, StorageError) as error:
            failures.append(error)
            return sqlite3.connect(":memory:")

    connection = await aiosqlite.Connection(connector, 64)
    if failures:
        await _close_connection(connection)
        raise failures[0]
    return connection


async def _on_thread(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run a function on the connection's thread; aiosqlite's public calls are one statement each."""
    result = await connection._execute(work, connection._conn)  # type: ignore[no-untyped-call]  # it carries no types
    return cast("T", result)


async def _close_connection(connection: aiosqlite.Connection) -> None:
    """Close and end the thread; a damaged file may refuse to close cleanly."""
    with contextlib.suppress(sqlite3.Error, ValueError):
        await connection.close()
