"""The hot path never waits for the disk, memory stays bounded, and rows arrive when the disk is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest_asyncio

from routerconsole.storage.log import LoggedBody, RequestLog
from routerconsole.storage.migrations import LOG
from routerconsole.storage.writer import LogWriter

from .conftest import Open, asides, files_limited_to, locked_by_another_process
from .test_log import request

Begin = Callable[..., Awaitable[LogWriter]]


class States:
    """Remembers what the writer reported and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, str]] = []
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()

    def __call__(self, degraded: bool, reason: str) -> None:
        self.seen.append((degraded, reason))
        self._wake.set()

    async def until(self, degraded: bool) -> str:
        """Wait until the last report says so and return its reason."""
        async with asyncio.timeout(60):
            while not self.seen or self.seen[-1][0] is not degraded:
                self._wake.clear()
                await self._wake.wait()
        return self.seen[-1][1]


@pytest_asyncio.fixture
async def states() -> States:
    """What the writer reports."""
    return States()


@pytest_asyncio.fixture
async def begin(open_db: Open, states: States) -> AsyncIterator[Begin]:
    """Start a writer on a fresh log; it is closed at the end."""
    writers: list[LogWriter] = []
    tasks: set[asyncio.Task[Any]] = set()

    def start(work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        tasks.add(task)
        return task

    async def begin_one(*, running: bool = True, **limits: int) -> LogWriter:
        writer = LogWriter(RequestLog(await open_db(schema=LOG, busy_timeout_s=0.1)), on_state=states, **limits)
        writers.append(writer)
        if running:
            writer.start(start)
        return writer

    yield begin_one
    for writer in writers:
        await writer.aclose(timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)


async def rows(writer: LogWriter) -> int:
    """How many rows are on disk."""
    (count,) = await writer.store.db.read(lambda c: c.execute("SELECT count(*) FROM requests").fetchone())
    return int(count)


async def test_what_was_offered_is_on_disk_after_closing(begin: Begin) -> None:
    """Closing writes what waits, in order; closing twice does no harm."""
    writer = await begin()
    for n in range(1, 1201):
        writer.offer(request(n))
    await writer.aclose()
    await writer.aclose()
    assert writer.queued == writer.queued_bytes == 0
    assert (writer.written, writer.dropped_rows, writer.dropped_details) == (1200, 0, 0)
    page = await writer.store.page(2000)
    assert [row for _, row in page] == [b'{"n":%d}' % n for n in range(1200, 0, -1)]


async def test_rows_are_written_without_closing(begin: Begin) -> None:
    """A single row reaches the disk by itself."""
    writer = await begin()
    writer.offer(request(1))
    async with asyncio.timeout(60):
        while writer.queued:
            await writer.store.page(1)  # a read of the file per turn lets the writer's task run
    assert await rows(writer) == 1


async def test_D02_a_full_disk_costs_no_row_and_recovers_alone(begin: Begin, states: States) -> None:
    """While the file cannot grow rows wait and it is told; when it can, all arrive and that is told too."""
    writer = await begin()
    with files_limited_to(100_000):
        for n in range(1, 301):
            writer.offer(request(n, detail=b"d" * 2000))
        assert await states.until(True) in ("disk_full", "io_error")
        writer.offer(request(301))
    await states.until(False)
    await writer.aclose()
    assert await rows(writer) == 301
    assert states.seen[-1] == (False, "")


async def test_D04_a_locked_log_costs_no_row(begin: Begin, states: States) -> None:
    """Rows wait while another process holds the file and arrive when it lets go."""
    writer = await begin()
    with locked_by_another_process(writer.store.db.path):
        writer.offer(request(1))
        assert await states.until(True) == "locked"
    assert await states.until(False) == ""
    await writer.aclose()
    assert await rows(writer) == 1


async def test_D05_a_log_damaged_while_running_is_replaced(
    begin: Begin, open_db: Open, states: States, place: Path
) -> None:
    """The writer itself has a damaged log set aside and goes on with a fresh one; no row is lost from the queue."""
    before = await open_db(schema=LOG)
    await RequestLog(before).append([request(n, detail=b"d" * 3000) for n in range(1000, 4000)])
    await before.aclose()
    writer = await begin()
    with (place / "log.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * ((place / "log.db").stat().st_size - 4096))
    writer.offer(request(1))
    await states.until(True)
    await states.until(False)
    assert await writer.store.get("req-1") == b'{"detail":1}'
    assert "moved_aside" in [n.code for n in writer.store.db.notices]
    assert asides(place) != []


async def test_D12_an_overflow_drops_details_then_rows_and_counts_them(begin: Begin, states: States) -> None:
    """50,000 rows at once: memory stays under the cap, what was dropped is counted, and it is told."""
    writer = await begin(running=False, max_rows=20_000, max_bytes=20_000_000)
    body = LoggedBody(b"q" * 500, b"a" * 500)
    for n in range(50_000):
        writer.offer(request(n, detail=b"d" * 1000, body=body))
        assert writer.queued_bytes <= 20_000_000
    assert writer.queued <= 20_000
    assert writer.queued + writer.dropped_rows == 50_000
    assert writer.dropped_details > 0
    assert states.seen == [(True, "overflow")]


async def test_D12_the_overflow_ends_when_the_queue_is_empty(begin: Begin, states: States) -> None:
    """Once the disk has caught up the banner goes, and the rows that were kept are there."""
    writer = await begin(max_rows=1000)
    for n in range(1500):
        writer.offer(request(n))
    assert states.seen == [(True, "overflow")]
    await states.until(False)
    assert (await rows(writer), writer.dropped_rows) == (1000, 500)
