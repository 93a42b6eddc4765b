"""Opening a database file whatever state it is in; runs on the connection's own thread, from first look to migrated.

1 refuse links and newer schemas, untouched · 2 set aside what is not ours or broken · 3 restore or create
4 open, set pragmas, check · 5 back up and migrate. Steps 2 and 3 are repeated when step 4 finds damage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from . import files
from .errors import NewerSchema, Notice, Reason, StorageUnavailable, reason_of
from .migrations import Schema, migrate, pending, unknown

_KEPT_NOTICES = 50
_ROUNDS = 3  # damaged file, damaged restore, fresh file


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One database file. `wall` gives UTC epoch seconds for file names; sizes are MB, times seconds."""

    path: Path
    schema: Schema
    wall: Callable[[], float]
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    backups: Path | None = None
    busy_timeout_s: float = 1.5
    check_up_to_mb: float | None = None  # quick_check reads the whole file; a bigger one is trusted until a read fails
    vfs: str | None = None  # e.g. unix-dotfile where the file system has no locks
    notices: list[Notice] = field(default_factory=list)

    def tell(self, code: str, text: str) -> None:
        """Add a notice for the operator, once."""
        notice = Notice(code, text)
        if notice not in self.notices:
            self.notices.append(notice)
            del self.notices[:-_KEPT_NOTICES]

    def connect(self, **options: str) -> sqlite3.Connection:
        """Open a connection in autocommit mode with the pragmas every connection has."""
        if self.vfs is not None:
            options["vfs"] = self.vfs
        conn = sqlite3.connect(files.uri(self.path, **options), uri=True, isolation_level=None, check_same_thread=False)
        try:
            conn.execute(f"PRAGMA busy_timeout={int(self.busy_timeout_s * 1000)}")
            conn.execute("PRAGMA foreign_keys=ON")
            conn.execute("PRAGMA trusted_schema=OFF")
        except BaseException:
            conn.close()
            raise
        return conn


def open_read_write(spec: FileSpec) -> sqlite3.Connection:
    """Return the one writing connection, migrated; raise NewerSchema, MigrationFailed, UnsafePlace, StorageUnavailable.

    Errors of the machine (disk full, read-only, locked) come as they are: sqlite3.Error or OSError.
    """
    for suffix in files.SIDE_FILES:
        files.regular_file(files.side(spec.path, suffix))
    for _ in range(_ROUNDS):
        if files.regular_file(spec.path):
            _refuse_newer(spec)
        _settle_file(spec)
        conn = spec.connect(mode="rw")
        try:
            damage = _damage(conn, spec)
            if damage is None:
                _journal(conn, spec)
                _writable(conn, spec)
                _migrate(conn, spec)
                return conn
        except sqlite3.DatabaseError as error:
            conn.close()
            if reason_of(error) is not Reason.CORRUPT:
                raise
            damage = str(error)
        except BaseException:
            conn.close()
            raise
        conn.close()
        _set_aside(spec, damage)
    raise StorageUnavailable(Reason.CORRUPT, f"{spec.path.name} is damaged and its backups too")


def open_read_only(spec: FileSpec) -> sqlite3.Connection:
    """Return a reading connection; where not even a WAL index can be made, one on the file alone."""
    files.regular_file(spec.path)
    conn = spec.connect(mode="ro")
    try:
        conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        conn.close()
        if reason_of(error) not in (Reason.CANNOT_OPEN, Reason.READ_ONLY):
            raise
        conn = spec.connect(mode="ro", immutable="1")
    return conn


def _refuse_newer(spec: FileSpec) -> None:
    """Raise NewerSchema without a byte of the file changing: a read-only connection never checkpoints."""
    found = files.header(spec.path)
    if found is None or found.application_id != spec.schema.application_id:
        return
    has_wal = files.side(spec.path, "-wal").exists() and files.wal_belongs(spec.path, spec.schema)
    conn: sqlite3.Connection | None = None
    try:
        conn = spec.connect(mode="ro") if has_wal else spec.connect(mode="ro", immutable="1")
        foreign = unknown(conn, spec.schema.migrations)
    except sqlite3.DatabaseError:
        return  # what is damaged is found, told and set aside below
    finally:
        if conn is not None:
            conn.close()
    if foreign is not None:
        raise NewerSchema(spec.path, foreign)


def _settle_file(spec: FileSpec) -> None:
    """Leave a sound file of our kind at the path, with only its own WAL beside it."""
    path = spec.path
    if files.regular_file(path):
        found = files.header(path)
        if found is None:
            _set_aside(spec, "it is empty" if path.stat().st_size == 0 else "it is not a database")
        elif found.application_id != spec.schema.application_id:
            _set_aside(spec, f"it is not a RouterConsole {spec.schema.name} database")
        elif not files.wal_belongs(path, spec.schema):
            aside = files.move_aside(path, at=spec.wall(), suffixes=("-wal", "-shm"))
            spec.tell("wal_aside", f"{path.name}-wal did not belong to {path.name} and was moved to {aside}")
    elif (aside := files.move_aside(path, at=spec.wall())) is not None:
        spec.tell("moved_aside", f"{path.name} was missing; what was left of it was moved to {aside}")
    if not path.exists():
        _create(spec)
    files.keep_private(path)
    files.match_rights(path)


def _set_aside(spec: FileSpec, why: str) -> None:
    aside = files.move_aside(spec.path, at=spec.wall())
    spec.tell("moved_aside", f"{spec.path.name} was set aside as {aside}: {why}")


def _create(spec: FileSpec) -> None:
    """Restore the newest backup, or build a blank file under another name and put it in place whole."""
    if spec.backups is not None:
        backup = files.restore_newest(spec.path, spec.backups, spec.schema)
        if backup is not None:
            spec.tell("restored", f"{spec.path.name} was restored from {backup}")
            return
    blank = spec.path.with_name(f".{spec.path.name}.new")
    for suffix in ("", *files.SIDE_FILES):
        files.side(blank, suffix).unlink(missing_ok=True)
    files.make_private(blank)
    conn = sqlite3.connect(files.uri(blank, mode="rw"), uri=True, isolation_level=None)
    try:
        conn.execute("PRAGMA auto_vacuum=INCREMENTAL")
        conn.execute(f"PRAGMA application_id={spec.schema.application_id}")
        conn.execute(f"PRAGMA user_version={files.new_identity()}")
        migrate(conn, spec.schema.migrations)
    finally:
        conn.close()
    blank.rename(spec.path)
    files.sync_directory(spec.path.parent)


def _damage(conn: sqlite3.Connection, spec: FileSpec) -> str | None:
    try:
        conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        if reason_of(error) not in (Reason.CANNOT_OPEN, Reason.IO_ERROR):
            raise
        # A file in WAL mode where no shared WAL index can be made: alone with it, SQLite keeps the index in memory.
        conn.execute("PRAGMA locking_mode=EXCLUSIVE")
        conn.execute("PRAGMA journal_mode=DELETE")
        conn.execute("PRAGMA locking_mode=NORMAL")
        conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    limit = spec.check_up_to_mb
    if limit is not None and spec.path.stat().st_size > limit * 1_000_000:
        return None
    return files.quick_check(conn)


def _journal(conn: sqlite3.Connection, spec: FileSpec) -> None:
    """WAL where the file system can, else a rollback journal and a notice (network and overlay file systems)."""
    try:
        (mode,) = conn.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.OperationalError as error:
        if reason_of(error) not in (Reason.IO_ERROR, Reason.CANNOT_OPEN):
            raise
        mode = "unsupported"
    if mode != "wal":
        conn.execute("PRAGMA journal_mode=DELETE")
        spec.tell(
            "no_wal", f"{spec.path.parent} has no support for write-ahead logging; {spec.path.name} uses a journal"
        )
    conn.execute(f"PRAGMA synchronous={spec.synchronous}")


def _writable(conn: sqlite3.Connection, spec: FileSpec) -> None:
    """Raise what SQLite says of a file it could only open for reading; somebody else's lock is not that."""
    conn.execute("PRAGMA busy_timeout=0")
    try:
        conn.execute("BEGIN IMMEDIATE")
        try:
            # BEGIN alone succeeds on a file that could only be opened for reading; this says so, and is undone.
            conn.execute("PRAGMA user_version=0")
        finally:
            conn.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if reason_of(error) is not Reason.LOCKED:
            raise
    conn.execute(f"PRAGMA busy_timeout={int(spec.busy_timeout_s * 1000)}")


def _migrate(conn: sqlite3.Connection, spec: FileSpec) -> None:
    if not pending(conn, spec.schema.migrations):
        return
    if spec.backups is not None:
        files.write_backup(conn, spec.path, spec.backups, at=spec.wall())
    names = migrate(conn, spec.schema.migrations)
    spec.tell("migrated", f"{spec.path.name} was migrated: {', '.join(names)}")
