"""Real files and real faults: opened databases, an unprivileged user, a file-size limit, a foreign lock."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from routerconsole.storage.db import Database
from routerconsole.storage.migrations import LOG, STATE, Schema
from routerconsole.storage.state import AuditEntry, Record

NOW = 1_790_000_000.0
NOBODY = 65534

Open = Callable[..., Awaitable[Database]]


def change(n: int = 1) -> tuple[AuditEntry, list[Record]]:
    """A disabled provider, with its audit row."""
    name = f"p{n}"
    audit = AuditEntry(NOW + n, "operator", "disable_provider", name, {"enabled": True}, {"enabled": False})
    return audit, [Record((name, None, None), "admin", {"state": "disabled", "n": n})]


def asides(directory: Path) -> list[str]:
    """Files that were moved aside."""
    return sorted(entry.name for entry in directory.iterdir() if ".corrupt-" in entry.name)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A state directory with a place for backups."""
    (tmp_path / "backups").mkdir(mode=0o700)
    return tmp_path


@pytest_asyncio.fixture
async def open_db(place: Path, leakcheck: None) -> AsyncIterator[Open]:
    """Open `state.db` (or what is asked for) and close it at the end; nothing may leak."""
    opened: list[Database] = []

    async def open_one(
        directory: Path = place, *, schema: Schema = STATE, vfs: str | None = None, busy_timeout_s: float = 1.5
    ) -> Database:
        db = Database(
            directory / f"{schema.name}.db",
            schema,
            wall=lambda: NOW,
            synchronous="NORMAL" if schema is LOG else "FULL",
            backups=directory / "backups",
            busy_timeout_s=busy_timeout_s,
            vfs=vfs,
        )
        opened.append(db)
        await db.open()
        return db

    yield open_one
    for db in opened:
        await db.aclose()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A private directory of a user to whom file modes apply (root is above them), who we are for this test."""
    directory = Path(tempfile.mkdtemp(prefix="routerconsole-"))
    (directory / "backups").mkdir(mode=0o700)
    root = os.geteuid() == 0
    if root:
        for path in (directory, directory / "backups"):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield directory
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o700)
        shutil.rmtree(directory)


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes (RLIMIT_FSIZE), as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    """Another process holds the write lock of a database."""
    code = (
        "import sqlite3, sys\n"
        "conn = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "conn.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.close()
