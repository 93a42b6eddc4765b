"""What the kernel tells of a running router: its memory, its descriptors; and what it tells itself on SIGUSR1."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.process.router import Router, until


def _status_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def resident_mb(router: Router) -> float:
    """Resident memory now (VmRSS)."""
    return _status_mb(router.process.pid, "VmRSS")


def processor_s(router: Router) -> float:
    """Processor seconds of all its threads since it began, by its own clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~router.process.pid << 3 | 2)


@dataclass(slots=True)
class Grown:
    """How far the peak of resident memory rose in a with-block, in MB."""

    mb: float = 0.0


@contextmanager
def growth(router: Router) -> Iterator[Grown]:
    """Measure the growth of the peak (VmHWM), which no sampling can miss.

    The peak is reset first; who may not do that measures from the last peak, which start-up may have made.
    """
    pid, grown = router.process.pid, Grown()
    before = _status_mb(pid, "VmRSS")
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except PermissionError:
        before = _status_mb(pid, "VmHWM")
    yield grown
    grown.mb = _status_mb(pid, "VmHWM") - before


def descriptors(router: Router) -> int:
    """How many descriptors it has open; skips where this machine does not show them to us."""
    try:
        return len(os.listdir(f"/proc/{router.process.pid}/fd"))
    except PermissionError:
        pytest.skip("the descriptors of a process without core dumps are shown to root only")


def tasks(router: Router) -> Counter[str]:
    """How many tasks of each name it has, from the dump it writes on SIGUSR1."""
    before = len(router.err)
    router.send(signal.SIGUSR1)
    until(lambda: "\ntask " in router.err[before:], "the dump")
    size = 0
    while size != len(router.err):  # the dump is written in pieces
        size = len(router.err)
        router.ask("/healthz")
    lines = router.err[before:].splitlines()
    return Counter(line.removeprefix("task ") for line in lines if line.startswith("task ") and "Task-" not in line)


def allow_files(count: int) -> None:
    """Raise this process's own limit so far, or skip."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"a process may open {hard} files here, the test needs {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
