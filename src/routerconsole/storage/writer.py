"""The way from the hot path to log.db: a bounded queue, batches, and patience with a disk that says no.

`offer` never waits and never raises; when the queue is full, details go first, then rows, and both are counted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from .errors import Reason, StorageUnavailable
from .log import LoggedRequest, RequestLog

log = logging.getLogger(__name__)

BATCH_ROWS = 500
BATCH_SECONDS = 0.05
FIRST_RETRY, LAST_RETRY = 0.25, 5.0
_REOPENS = frozenset({Reason.CORRUPT, Reason.GONE, Reason.CANNOT_OPEN, Reason.READ_ONLY, Reason.MIGRATION_FAILED})


class Start(Protocol):
    """Starts an owned background task (the engine's TaskOwner.start)."""

    def __call__(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]: ...


class LogWriter:
    """Keeps the last requests in order until they are on disk. Lives on the engine's loop.

    `on_state(degraded, reason)` is called on each change; `max_rows` and `max_bytes` bound the memory.
    """

    def __init__(
        self,
        store: RequestLog,
        *,
        on_state: Callable[[bool, str], None],
        max_rows: int = 20_000,
        max_bytes: int = 32_000_000,
    ) -> None:
        self.store, self._on_state = store, on_state
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._queue: deque[LoggedRequest] = deque()
        self._bytes = 0
        self._some, self._many, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._state = self._disk = ""  # what was reported last; the disk's present trouble
        self._overflowing = False
        self._left = 0  # rows that have left the queue
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []  # who waits until how many have
        self.dropped_details = 0
        self.dropped_rows = 0
        self.written = 0

    def start(self, start: Start) -> None:
        """Begin writing; the task ends with `aclose`."""
        self._task = start(self._run(), name="log-writer")

    @property
    def queued(self) -> int:
        """Rows waiting for the disk."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """About how many bytes wait."""
        return self._bytes

    def offer(self, item: LoggedRequest) -> None:
        """Take one finished request; never waits, never raises."""
        size = item.size()
        if self._bytes + size > self._max_bytes // 2 and (item.detail is not None or item.body is not None):
            item = item._replace(detail=None, body=None)
            size = item.size()
            self.dropped_details += 1
            self._overflowing = True
        if len(self._queue) >= self._max_rows or self._bytes + size > self._max_bytes:
            self.dropped_rows += 1
            self._overflowing = True
            self._tell()
            return
        self._queue.append(item)
        self._bytes += size
        self._some.set()
        if len(self._queue) >= BATCH_ROWS:
            self._many.set()
        if self._overflowing:
            self._tell()

    async def settled(self, *, timeout: float = 0.5) -> None:
        """Return once what waits now is on the disk; after `timeout` seconds, or while the disk says no, without."""
        if not self._queue or self._disk or self._task is None:
            return
        goal = self._left + len(self._queue)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((goal, done))
        self._many.set()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            return
        finally:
            self._awaited = [each for each in self._awaited if each[1] is not done]

    async def aclose(self, *, timeout: float = 5.0) -> None:
        """Write what waits, if the disk lets us within `timeout` seconds; idempotent."""
        self._closing.set()
        self._some.set()
        self._many.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait({task}, timeout=timeout)
            task.cancel()
        if self._queue:
            log.warning("%d request log rows were not written", len(self._queue))

    async def _run(self) -> None:
        delay = FIRST_RETRY
        while self._queue or not self._closing.is_set():
            await self._some.wait()
            await _within(self._many.wait(), BATCH_SECONDS)
            trouble = await self._write_batch()
            if trouble is None:
                delay = FIRST_RETRY
                continue
            self._disk = trouble
            self._tell()
            if self._closing.is_set():
                return
            await _within(self._closing.wait(), delay)
            delay = min(delay * 2, LAST_RETRY)

    async def _write_batch(self) -> str | None:
        """Write the oldest rows; return why not, None when it went well. Rows leave the queue once they are on disk."""
        batch = [self._queue[n] for n in range(min(BATCH_ROWS, len(self._queue)))]
        try:
            if batch:
                await self.store.append(batch)
        except StorageUnavailable as error:
            if error.reason in _REOPENS:
                await self.store.db.check()
            return error.reason.value
        except (sqlite3.Error, ValueError, OverflowError) as error:
            log.error("a batch of %d request log rows cannot be stored: %s", len(batch), type(error).__name__)
            self.dropped_rows += len(batch)
        else:
            self.written += len(batch)
        for item in batch:
            self._queue.popleft()
            self._bytes -= item.size()
        self._left += len(batch)
        for goal, done in self._awaited:
            if goal <= self._left and not done.done():
                done.set_result(None)
        if not self._queue:
            self._overflowing = False
            if not self._closing.is_set():
                self._some.clear()
        if len(self._queue) < BATCH_ROWS and not self._closing.is_set():
            self._many.clear()
        self._disk = ""
        self._tell()
        return None

    def _tell(self) -> None:
        """Report a changed state once: the disk's trouble first, else an overflow."""
        state = self._disk or ("overflow" if self._overflowing else "")
        if state == self._state:
            return
        self._state = state
        self._on_state(bool(state), state)


async def _within(waiting: Coroutine[Any, Any, Any], seconds: float) -> None:
    """Wait for an event, but not longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return
