"""Running an engine in this process: headless on the main thread, or on a thread of its own beside a console.

Signals are caught here and handed to the engine's loop; a second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import uvloop

from routerconsole.cli import logs
from routerconsole.control.threaded import ThreadedControl
from routerconsole.wiring import Node, Prepared

SWITCH_INTERVAL_S = 0.0001
"""Longest the console's thread keeps the interpreter from the engine's. console.md §4.1 says 0.5 ms; a request
takes it several times, and flat out under a console p99 was 33-49 ms then, 16-37 ms with this (bench/HOT_PATH.md)."""
START_TIMEOUT_S = 30.0
PR_SET_DUMPABLE = 4  # linux/prctl.h
COLLECT_AFTER = (10_000, 10, 50)
"""gc thresholds. With Python's own (700, 10, 10) the collector walks the kept request log again and again: a quarter of
the time under load, in pauses of up to 100 ms."""

Beside = Callable[[Node], Coroutine[Any, Any, None]]
"""Work that runs on the engine's loop until the engine stops, e.g. the demo's traffic."""


def run_headless(prepared: Prepared, *, ready: Callable[[Node], None], beside: Beside | None = None) -> int:
    """Serve on this thread until a signal, or until `beside` ends; return the exit code."""
    keep_memory_private()
    return uvloop.run(_headless(prepared, ready, beside))


async def _headless(prepared: Prepared, ready: Callable[[Node], None], beside: Beside | None) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = _Signals(lambda: _on_loop(loop, stop.set), dump=lambda: _on_loop(loop, _dump_tasks))
    signals.install()
    node = node_of(prepared)
    work: asyncio.Future[None] | None = None
    try:
        await node.start()
        settle_memory()
        ready(node)
        if beside is not None:
            work = node.service.tasks.start(_then(beside(node), stop.set), name="beside")
        await stop.wait()
    finally:
        await node.stop()
    if work is not None and work.done() and not work.cancelled():
        work.result()
    return 130 if signals.last is signal.SIGINT else 0


def keep_memory_private() -> None:
    """No core files and, on Linux, no looking in by other processes of the user: this memory holds keys."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # the limit does not bind a core_pattern that is a program
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def settle_memory() -> None:
    """Spare the collector what start-up made, which lives as long as the process, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def _then(work: Coroutine[Any, Any, None], after: Callable[[], None]) -> None:
    try:
        await work
    finally:
        after()


def node_of(prepared: Prepared) -> Node:
    """Return the engine; from now on the process's log lines are rid of every secret its configuration holds."""
    node = Node(prepared)
    logs.learn(lambda text: node.service.loaded.scrub(text))  # noqa: PLW0108 - a reload brings another one
    return node


def _on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    """Hand work to a loop from a signal handler; a loop that has just closed needs none."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(work)


def _dump_tasks() -> None:
    """Write every task and where it waits to stderr (SIGUSR1); source lines only, no values."""
    for task in asyncio.all_tasks():
        print(f"task {task.get_name()}", file=sys.stderr)
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


class _Signals:
    """What each signal does to an engine.

    SIGTERM, SIGINT: stop once, end the process at the second · SIGQUIT: end at once, without a core that holds keys ·
    SIGHUP: nothing, a lost terminal does not stop an engine · SIGUSR1: dump threads and tasks · SIGUSR2: nothing
    """

    def __init__(self, stop: Callable[[], object], *, dump: Callable[[], object]) -> None:
        self._stop, self._dump = stop, dump
        self.last: signal.Signals | None = None

    def install(self) -> None:
        """Take the process's signals (main thread only)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, lambda number, _: os._exit(128 + number))
        signal.signal(signal.SIGUSR1, lambda *_: self._dump())
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)  # answers even where the loop is stuck

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self.last is not None:
            os._exit(128 + number)
        self.last = signal.Signals(number)
        self._stop()


class EngineThread:
    """An engine on its own thread and loop; the console only ever sees `control`."""

    def __init__(self, prepared: Prepared, *, beside: Beside | None = None) -> None:
        self._prepared, self._beside = prepared, beside
        self._started: concurrent.futures.Future[tuple[Node, asyncio.AbstractEventLoop]] = concurrent.futures.Future()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> ThreadedControl:
        """Start and return the control port once the engine serves; raise what kept it from starting."""
        keep_memory_private()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()
        node, loop = self._started.result(START_TIMEOUT_S)
        return ThreadedControl(node.control, loop)

    def stop(self, *, timeout: float = 15.0) -> None:
        """Drain, flush and end the thread; idempotent. `timeout` seconds is the drain and a margin."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            _on_loop(self._loop, self._stop.set)
        self._thread.join(timeout)

    def serve_on(self) -> int:
        """Go on without a console until a signal asks to stop; return the exit code (main thread only)."""
        asked = threading.Event()
        signals = _Signals(asked.set, dump=self._dump)
        signals.install()
        while not asked.wait(1.0) and self._thread.is_alive():
            continue
        self.stop()
        return 130 if signals.last is signal.SIGINT else 0

    def _dump(self) -> None:
        if self._loop is not None:
            _on_loop(self._loop, _dump_tasks)

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except Exception as exc:
            if self._started.done():
                raise
            self._started.set_exception(exc)

    async def _main(self) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        node = node_of(self._prepared)
        try:
            await node.start()
            settle_memory()
            if self._beside is not None:
                node.service.tasks.start(self._beside(node), name="beside")
            self._started.set_result((node, self._loop))
            await self._stop.wait()
        finally:
            await node.stop()
