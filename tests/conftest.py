"""What every test may lean on: the Hypothesis profiles and the leak check. Nothing here knows the engine."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

# A runner started in the background has SIGINT ignored, and so would every program the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SETTLE_SECONDS = 30.0  # how long an orderly close may take before what is left counts as leaked

# `ci` is the default so that a run is the same everywhere; HYPOTHESIS_PROFILE=explore looks for new examples.
_slow_machine = [HealthCheck.too_slow]
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=_slow_machine)
settings.register_profile("explore", deadline=None, max_examples=2000, suppress_health_check=_slow_machine)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish() -> None:
    """Keep what collecting made (half a million objects) out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def _open_files() -> dict[int, str]:
    """Descriptors of this process with what they point at; the one used for listing drops out because it is closed."""
    listing = Path("/proc/self/fd") if sys.platform == "linux" else Path("/dev/fd")
    found: dict[int, str] = {}
    for name in os.listdir(listing):
        try:
            found[int(name)] = (
                os.readlink(listing / name) if sys.platform == "linux" else str(os.fstat(int(name)).st_ino)
            )
        except OSError:
            continue
    return found


def _threads() -> set[threading.Thread]:
    """Threads that somebody must end; the loop's default executor is ended by the test runner itself."""
    return {t for t in threading.enumerate() if not t.name.startswith(("asyncio_", "uvloop_"))}


@dataclass(frozen=True, slots=True)
class Resources:
    """Tasks, descriptors and threads that exist at one moment."""

    tasks: frozenset[asyncio.Task[object]]
    files: frozenset[tuple[int, str]]
    threads: frozenset[threading.Thread]

    @classmethod
    def now(cls) -> Resources:
        """Take stock on the running loop, leaving out the task that asks."""
        asking = asyncio.current_task()
        return cls(
            tasks=frozenset(t for t in asyncio.all_tasks() if t is not asking and not t.done()),
            files=frozenset(_open_files().items()),
            threads=frozenset(_threads()),
        )

    def beyond(self, baseline: Resources) -> list[str]:
        """Name what is here and was not in the baseline."""
        return [
            *(f"task {t.get_name()}: {t.get_coro()!r}" for t in self.tasks - baseline.tasks),
            *(f"fd {number} -> {target}" for number, target in sorted(self.files - baseline.files)),
            *(f"thread {t.name}" for t in self.threads - baseline.threads),
        ]


@pytest_asyncio.fixture
async def leakcheck() -> AsyncIterator[None]:
    """Fail the test unless tasks, descriptors and threads return to the baseline; ask for it before what it watches."""
    gc.collect()
    baseline = Resources.now()
    yield
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while left := Resources.now().beyond(baseline):
        if loop.time() > deadline:
            pytest.fail("leaked:\n  " + "\n  ".join(left), pytrace=False)
        gc.collect()
        await asyncio.sleep(
            0.01
        )  # closing is done by callbacks of this loop and by other threads: let them run, then look again
