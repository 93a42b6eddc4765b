"""strace on a running router: what its threads write and sync, in order; and system calls that fail or take long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.process.router import Router, until

SYNCS = "fsync,fdatasync"


@contextmanager
def traced(router: Router, calls: str, *, inject: str | None = None) -> Iterator[Path]:
    """Attach to every thread meanwhile; gives the file of calls in the order in which they ended."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace on this machine")
    out, said = router.state / "strace.out", router.state / "strace.err"
    options = ["-f", "-yy", "-s", "400", "-e", f"trace={calls}", "-o", str(out), "-p", str(router.process.pid)]
    if inject is not None:
        options += ["-e", f"inject={inject}"]
    with said.open("wb") as err:
        tracer = subprocess.Popen([strace, *options], stdin=subprocess.DEVNULL, stdout=err, stderr=err)
    threads = len(os.listdir(f"/proc/{router.process.pid}/task"))
    try:
        until(lambda: said.read_text().count("attached") >= 1 or tracer.poll() is not None, "strace attaches")
        if tracer.poll() is not None:
            pytest.skip(f"no tracing on this machine: {said.read_text().strip()[-200:]}")
        until(lambda: attached(said) >= threads, "strace is attached to every thread")
        yield out
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait(60)


def attached(said: Path) -> int:
    """How many threads strace says it holds: one a line, or `with N threads` in one."""
    lines = [line for line in said.read_text().splitlines() if "attached" in line]
    if lines and "with" in lines[0]:
        return int(lines[0].split("with")[1].split()[0])
    return len(lines)
