"""Database files as files: what a header says, which WAL belongs to it, moving aside, backups, restoring.

Nothing here opens a file that SQLite has open in this process;
closing any descriptor of it would drop SQLite's locks.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sqlite3
import stat
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from .errors import UnsafePlace
from .migrations import Schema, unknown

MAGIC = b"SQLite format 3\x00"
SIDE_FILES = ("-wal", "-shm", "-journal")
KEPT_BACKUPS = 5
_WAL_MAGIC = (0x377F0682, 0x377F0683)  # https://sqlite.org/fileformat2.html#the_write_ahead_log
_HEADER = 100
_IDENTITY_AT, _APPLICATION_AT = 60, 68  # user_version and application_id in the database header


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a file; `identity` is the random number this database was born with."""

    application_id: int
    identity: int


def regular_file(path: Path) -> bool:
    """Return whether the file exists; raise UnsafePlace for a link, a directory or a device."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(found.st_mode):
        raise UnsafePlace(f"{path} is a symbolic link; remove it, or use the directory it points to as --state-dir")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafePlace(f"{path} is not a regular file")
    return True


def make_private(path: Path) -> None:
    """Create an empty file 0600 whatever the umask; raise FileExistsError rather than follow or reuse one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def keep_private(path: Path) -> bool:
    """Take group and world rights off a file of ours; return whether there were any."""
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)
    except OSError:
        return False
    return bool(mode & 0o077)


def match_rights(path: Path) -> None:
    """Give side files the rights of their database: SQLite made them read-only while the file was."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.lstat().st_mode)
        for suffix in SIDE_FILES:
            beside = side(path, suffix)
            if os.path.lexists(beside) and not beside.is_symlink() and stat.S_IMODE(beside.lstat().st_mode) != mode:
                beside.chmod(mode)


def uri(path: Path, **options: str) -> str:
    """Return an SQLite URI whose path cannot be mistaken for options."""
    return f"file:{quote(str(path))}?" + "&".join(f"{name}={value}" for name, value in options.items())


def header(path: Path) -> Header | None:
    """Read a database header; None where the file is empty, short or something else."""
    with path.open("rb") as file:
        first = file.read(_HEADER)
    return _parse(first)


def _parse(first: bytes) -> Header | None:
    if len(first) < _HEADER or not first.startswith(MAGIC):
        return None
    (identity,) = struct.unpack_from(">I", first, _IDENTITY_AT)
    (application_id,) = struct.unpack_from(">I", first, _APPLICATION_AT)
    return Header(application_id, identity)


def wal_replays(wal: Path) -> tuple[bool, Header | None]:
    """Return whether SQLite would replay anything of a write-ahead log, and the file header that would come of it.

    Only whole frames with the log's own salts up to a commit count: what a killed writer had begun is no part of it.
    """
    committed, found = False, None
    with wal.open("rb") as file:
        start = file.read(32)
        if len(start) < 32:
            return False, None
        magic, _, page_size, _, salt1, salt2, _, _ = struct.unpack(">8I", start)
        if magic not in _WAL_MAGIC or not 512 <= page_size <= 65536:
            return False, None
        while len(frame := file.read(24)) == 24:
            number, size_after_commit, frame_salt1, frame_salt2 = struct.unpack_from(">4I", frame)
            page = file.read(page_size)
            if (frame_salt1, frame_salt2) != (salt1, salt2) or len(page) < page_size:
                break
            if number == 1 and not committed:
                found = _parse(page[:_HEADER])
            committed = committed or size_after_commit != 0
            if committed and found is not None:
                break
    return committed, found


def wal_belongs(path: Path, schema: Schema) -> bool:
    """Return whether a `-wal` beside a sound file is that file's own, or holds nothing that would be replayed.

    SQLite itself replays any well-formed log: the pages of another database would be served mixed with this one's.
    Every transaction of ours writes page 1, so a log with commits and another file's page 1, or none, is not ours.
    """
    try:
        committed, theirs = wal_replays(side(path, "-wal"))
    except FileNotFoundError:
        return True
    mine = header(path)
    return not committed or (mine is not None and theirs == mine and mine.application_id == schema.application_id)


def side(path: Path, suffix: str) -> Path:
    """Return the path of a side file, e.g. `state.db-wal`."""
    return path.with_name(path.name + suffix)


def utc(at: float) -> str:
    """Return UTC epoch seconds for a file name."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def move_aside(path: Path, *, at: float, suffixes: tuple[str, ...] = ("", *SIDE_FILES)) -> Path | None:
    """Rename a file and its side files to `*.corrupt-<utc>`; return the first new name, None where there is none."""
    base, n = utc(at), 0
    while any(os.path.lexists(f"{path}{suffix}.corrupt-{base}{_nth(n)}") for suffix in ("", *SIDE_FILES)):
        n += 1
    first: Path | None = None
    for suffix in suffixes:
        source = side(path, suffix)
        target = Path(f"{source}.corrupt-{base}{_nth(n)}")
        with contextlib.suppress(FileNotFoundError):
            source.rename(target)
            first = first or target
    sync_directory(path.parent)
    return first


def _nth(n: int) -> str:
    return f"-{n}" if n else ""


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_identity() -> int:
    """Return a random number that tells one database file from every other."""
    return secrets.randbelow(2**31 - 1) + 1


def backups_of(path: Path, directory: Path) -> list[Path]:
    """Return the backups of a file, newest first; the number in the name counts, not a clock."""
    pattern = re.compile(re.escape(path.stem) + r"-(\d{6,})-\d{8}T\d{6}Z\.db")
    found: list[tuple[int, Path]] = []
    with contextlib.suppress(OSError):
        found = [
            (int(match[1]), entry)
            for entry in directory.iterdir()
            if (match := pattern.fullmatch(entry.name)) is not None
        ]
    return [entry for _, entry in sorted(found, reverse=True)]


def copy_live(conn: sqlite3.Connection, target: Path) -> None:
    """Copy what a connection sees into a new private file with an identity of its own, safe on disk when it returns."""
    target.unlink(missing_ok=True)
    make_private(target)
    try:
        copy = sqlite3.connect(uri(target, mode="rw"), uri=True, isolation_level=None)
        try:
            conn.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("PRAGMA synchronous=FULL")
            copy.execute(f"PRAGMA user_version={new_identity()}")
        finally:
            copy.close()
    except BaseException:
        for suffix in ("", *SIDE_FILES):
            side(target, suffix).unlink(missing_ok=True)
        raise


def write_backup(conn: sqlite3.Connection, path: Path, directory: Path, *, at: float) -> Path:
    """Back a live database up as the newest of its directory and drop the oldest ones; return the new file."""
    existing = backups_of(path, directory)
    newest = int(existing[0].stem.split("-")[-2]) if existing else 0
    target = directory / f"{path.stem}-{newest + 1:06d}-{utc(at)}.db"
    temporary = directory / f".{path.stem}.backup"
    copy_live(conn, temporary)
    temporary.rename(target)
    sync_directory(directory)
    for old in existing[KEPT_BACKUPS - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    return target


def restore_newest(path: Path, directory: Path, schema: Schema) -> Path | None:
    """Put the newest sound backup in the file's place; return which one, None where there is none."""
    temporary = path.with_name(f".{path.name}.new")
    for backup in backups_of(path, directory):
        try:
            temporary.unlink(missing_ok=True)
            make_private(temporary)
            with backup.open("rb") as source, temporary.open("r+b") as target:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
        except PermissionError:
            continue
        if _sound(temporary, schema):
            temporary.rename(path)
            sync_directory(path.parent)
            return backup
    temporary.unlink(missing_ok=True)
    return None


def _sound(path: Path, schema: Schema) -> bool:
    found = header(path)
    if found is None or found.application_id != schema.application_id:
        return False
    try:
        conn = sqlite3.connect(uri(path, mode="ro", immutable="1"), uri=True, isolation_level=None)
        try:
            return quick_check(conn) is None and unknown(conn, schema.migrations) is None
        finally:
            conn.close()
    except sqlite3.DatabaseError:
        return False


def quick_check(conn: sqlite3.Connection) -> str | None:
    """Return what is wrong with a database, or None."""
    (verdict,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    return None if verdict == "ok" else str(verdict)
