"""Owned background tasks."""

from __future__ import annotations

import asyncio
import logging

import pytest

from routerconsole.engine.tasks import TaskOwner


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("canary")


async def test_closing_ends_every_task(leakcheck: None) -> None:
    """The owner waits for what it cancels, and may be closed twice."""
    owner = TaskOwner()
    tasks = [owner.start(forever(), name=f"t{n}") for n in range(3)]
    assert len(owner) == 3
    await owner.aclose()
    await owner.aclose()
    assert all(task.cancelled() for task in tasks)
    assert len(owner) == 0


async def test_D28_a_failure_is_reported_once_and_the_others_live(
    leakcheck: None, caplog: pytest.LogCaptureFixture
) -> None:
    """One task that raises ends alone, by name."""
    heard: list[tuple[str, str]] = []
    owner = TaskOwner(lambda name, failure: heard.append((name, str(failure))))
    lives = owner.start(forever(), name="lives")
    with caplog.at_level(logging.ERROR):
        failing = owner.start(fail(), name="dies")
        await asyncio.wait({failing})
        await asyncio.sleep(0)
    assert heard == [("dies", "canary")]
    assert "background task dies failed" in caplog.text
    assert not lives.done()
    await owner.aclose()


async def test_an_owner_closed_by_one_of_its_tasks_spares_that_one(leakcheck: None) -> None:
    """A task may close its owner without waiting for itself."""
    owner = TaskOwner()
    other = owner.start(forever(), name="other")
    await owner.start(owner.aclose(), name="closer")
    assert other.cancelled()
