"""Why something could not be kept, in words the engine can act on; the only file that knows SQLite's error codes.

StorageError
├── StorageUnavailable   not kept: act in memory, say `persisted: false`, try again later
├── NewerSchema          written by a newer version; the file is untouched (exit 3)
├── MigrationFailed      a migration raised; rolled back, the backup is usable
├── UnsafePlace          the state directory or a file in it cannot be trusted
└── AlreadyRunning       another engine holds the state directory
"""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """Why a file cannot be written just now."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    GONE = "gone"
    IO_ERROR = "io_error"
    CANNOT_OPEN = "cannot_open"
    MIGRATION_FAILED = "migration_failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the operator is told; `text` is one sentence without secrets, `code` a stable word."""

    code: str
    text: str


class StorageError(Exception):
    """Anything storage refuses or fails at."""


class StorageUnavailable(StorageError):
    """The change is not on disk and will not get there by itself."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason, self.detail = reason, detail


class NewerSchema(StorageError):
    """A file holds migrations this version does not know."""

    def __init__(self, path: Path, unknown: str) -> None:
        super().__init__(f"{path} was written by a newer version (migration {unknown!r}); it was left untouched")
        self.path, self.unknown = path, unknown


class MigrationFailed(StorageError):
    """A migration raised; nothing of it is in the file."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"migration {name!r} failed and was rolled back: {detail}")
        self.name, self.detail = name, detail


class UnsafePlace(StorageError):
    """A path has the wrong owner, is a link, or is not the kind of file it should be."""


class AlreadyRunning(StorageError):
    """A second engine on one state directory; `pid` is the first's, None where it could not be read."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        holder = f"pid {pid}" if pid is not None else "another process"
        super().__init__(f"an engine is already running on {directory} ({holder})")
        self.directory, self.pid = directory, pid


# Primary result codes; an extended code keeps its primary in the low byte (https://sqlite.org/rescode.html).
_BY_CODE = {
    sqlite3.SQLITE_FULL: Reason.DISK_FULL,
    sqlite3.SQLITE_READONLY: Reason.READ_ONLY,
    sqlite3.SQLITE_PERM: Reason.READ_ONLY,
    sqlite3.SQLITE_BUSY: Reason.LOCKED,
    sqlite3.SQLITE_LOCKED: Reason.LOCKED,
    sqlite3.SQLITE_INTERRUPT: Reason.LOCKED,
    sqlite3.SQLITE_CORRUPT: Reason.CORRUPT,
    sqlite3.SQLITE_NOTADB: Reason.CORRUPT,
    sqlite3.SQLITE_IOERR: Reason.IO_ERROR,
    sqlite3.SQLITE_NOMEM: Reason.IO_ERROR,
    sqlite3.SQLITE_PROTOCOL: Reason.LOCKED,
    sqlite3.SQLITE_CANTOPEN: Reason.CANNOT_OPEN,
}
_READONLY_DBMOVED = sqlite3.SQLITE_READONLY | (4 << 8)
_BY_ERRNO = {
    errno.ENOSPC: Reason.DISK_FULL,
    errno.EDQUOT: Reason.DISK_FULL,
    errno.EFBIG: Reason.DISK_FULL,
    errno.EROFS: Reason.READ_ONLY,
    errno.EACCES: Reason.READ_ONLY,
    errno.EPERM: Reason.READ_ONLY,
    errno.ENOENT: Reason.GONE,
}


def reason_of(error: BaseException) -> Reason | None:
    """Return why the machine refused, or None for a mistake in the statement or its values."""
    if isinstance(error, StorageUnavailable):
        return error.reason
    if isinstance(error, NewerSchema | UnsafePlace):
        return Reason.CANNOT_OPEN
    if isinstance(error, MigrationFailed):
        return Reason.MIGRATION_FAILED
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return None
        if code == _READONLY_DBMOVED:
            return Reason.GONE
        return _BY_CODE.get(code & 0xFF)
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, Reason.IO_ERROR)
    return None
