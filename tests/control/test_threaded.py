"""Calls over to an engine's loop that is about to end, or has ended: every one ends in an answer or a clear error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.console.fake_control import FakeControl, provider

from routerconsole.control.port import EngineUnreachable
from routerconsole.control.threaded import ThreadedControl

PATIENCE_S = 60.0


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An engine's loop that nobody runs unless the test does."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


async def test_a_call_after_the_end_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    """A closed loop takes nothing."""
    loop.close()
    with pytest.raises(EngineUnreachable, match="stopped"):
        await ThreadedControl(FakeControl(provider("a")), loop).status()


async def test_a_call_between_the_last_turn_and_the_close_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    """What was handed over and never looked at ends as soon as the loop is closed."""
    call = asyncio.ensure_future(ThreadedControl(FakeControl(provider("a")), loop).status())
    await asyncio.sleep(0)  # it is handed over now
    assert not call.done()
    loop.close()
    with pytest.raises(EngineUnreachable, match="stopped"):
        await asyncio.wait_for(call, PATIENCE_S)


async def test_a_call_the_ending_engine_cuts_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    """An engine that cancels what still runs as it stops is gone for the caller, who was not cancelled himself."""
    control = FakeControl(provider("a"))
    control.gate = asyncio.Event()  # never set: the read hangs
    call = asyncio.ensure_future(ThreadedControl(control, loop).status())
    await asyncio.sleep(0)  # it is handed over now
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        with pytest.raises(EngineUnreachable, match="stopped"):
            await asyncio.wait_for(call, PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, PATIENCE_S)


async def test_a_caller_who_gives_up_gives_up(loop: asyncio.AbstractEventLoop) -> None:
    """Cancelling the caller is a cancellation, no refusal."""
    call = asyncio.ensure_future(ThreadedControl(FakeControl(provider("a")), loop).status())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))  # takes what was handed over, to no effect
