"""One engine per state directory: a kernel lock, and engine.json that tells others where it listens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import AlreadyRunning, UnsafePlace
from .place import UNWRITABLE, Place, read_private, write_temporary

_LOCK_TRIES, _LOCK_PAUSE = 5, 0.02  # `running_engine` holds the lock for microseconds


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """What engine.json says of the engine that holds the directory."""

    pid: int
    url: str
    version: str


class EngineLock:
    """Held by the one engine of a state directory; the kernel frees it however the process ends."""

    def __init__(self, place: Place) -> None:
        """Take the lock; raise AlreadyRunning naming the holder's pid."""
        self._run_file = place.root / "engine.json"
        self._published = False
        self._descriptor: int | None = _locked(place.root)
        with contextlib.suppress(OSError):  # a directory's descriptor, or a full disk: engine.json names the pid too
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        with contextlib.suppress(OSError):
            self._run_file.unlink(missing_ok=True)  # nobody held the lock, so it is stale

    def publish(self, *, url: str, version: str) -> bool:
        """Write engine.json whole; return False where the directory cannot be written."""
        text = json.dumps({"pid": os.getpid(), "url": url, "version": version})
        try:
            write_temporary(self._run_file, text + "\n").rename(self._run_file)
        except OSError:
            return False
        self._published = True
        return True

    def release(self) -> None:
        """Remove engine.json and free the directory; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._published:
            with contextlib.suppress(OSError):
                self._run_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def running_engine(root: Path) -> RunningEngine | None:
    """Return the engine that holds a state directory; None where none does, whatever a dead one left in engine.json."""
    try:
        text = read_private(root / "engine.json")
        found = json.loads(text) if text else None
    except (OSError, UnsafePlace, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("pid"), int) or not isinstance(found.get("url"), str):
        return None
    return RunningEngine(found["pid"], found["url"], str(found.get("version", ""))) if _held(root) else None


def _locked(root: Path) -> int:
    """Return the descriptor that holds the lock."""
    descriptor = _open_lock(root)
    for turn in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if turn < _LOCK_TRIES - 1:
                time.sleep(_LOCK_PAUSE)  # at start only, before there is a loop
            continue
        return descriptor
    os.close(descriptor)
    raise AlreadyRunning(root, _holder(root))


def _open_lock(root: Path) -> int:
    """Open the lock file; in a directory that cannot be written an old one, or the directory itself, serves as well."""
    path = root / "engine.lock"
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafePlace(f"{path} is a symbolic link") from error
        if error.errno not in UNWRITABLE:
            raise
    return _open_lock_for_reading(root)


def _open_lock_for_reading(root: Path) -> int:
    path = root / "engine.lock"
    return os.open(path if path.exists() else root, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _held(root: Path) -> bool:
    try:
        descriptor = _open_lock_for_reading(root)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(root: Path) -> int | None:
    for name in ("engine.lock", "engine.json"):
        with contextlib.suppress(OSError, UnsafePlace, ValueError, TypeError, KeyError):
            text = read_private(root / name) or ""
            return int(text) if name == "engine.lock" else int(json.loads(text)["pid"])
    return None
