"""Fixtures of the fault wall: a node of its own per test, on the loop production uses, watched for leaks."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from tests.conftest import SETTLE_SECONDS, Resources
from tests.e2e.stand import Stand, configuration

from routerconsole.simulator import Behaviour, Script, Simulator

MakeStand = Callable[..., Awaitable[Stand]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The engine runs on uvloop, and its sockets behave a little differently."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def leakcheck() -> AsyncIterator[None]:
    """Fail the test unless tasks, threads and descriptors return to the baseline.

    uvloop replaces its self-pipe with every run and keeps a spare descriptor from its first listener on, so descriptors
    are compared by kind and number, after a first listener.
    """
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    server.close()
    await server.wait_closed()
    gc.collect()
    baseline = Resources.now()
    yield
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while left := _beyond(Resources.now(), baseline):
        if loop.time() > deadline:
            pytest.fail("leaked:\n  " + "\n  ".join(left), pytrace=False)
        gc.collect()
        await asyncio.sleep(0.01)  # closing is done by callbacks and other threads: let them run, then look again


def _beyond(now: Resources, baseline: Resources) -> list[str]:
    more = _kinds(now) - _kinds(baseline)
    return [
        *(f"task {task.get_name()}: {task.get_coro()!r}" for task in now.tasks - baseline.tasks),
        *(f"thread {thread.name}" for thread in now.threads - baseline.threads),
        *(f"{count} more of {kind}" for kind, count in more.items()),
    ]


def _kinds(found: Resources) -> Counter[str]:
    return Counter(target.partition(":[")[0] for _, target in found.files)


@pytest_asyncio.fixture
async def make(leakcheck: None, tmp_path: Path) -> AsyncIterator[MakeStand]:
    """Start nodes: each name given is a provider with a simulator and a healthy model `m`, tried in that order.

    A provider with a script has the script's models only, and declares none unless told.
    """
    stands: list[Stand] = []

    async def start(
        *names: str, env: dict[str, str] | None = None, scripts: Mapping[str, Script] | None = None, **config: Any
    ) -> Stand:
        told = scripts or {}
        sims = {name: Simulator(told.get(name), seed=n) for n, name in enumerate(names or ("a", "b"), 1)}
        for name, sim in sims.items():
            await sim.start()
            if name not in told:
                sim.set("m", Behaviour())
        if told:
            config["models"] = {**dict.fromkeys(told, ()), **config.get("models", {})}
        text = configuration(sims, **config)
        stand = Stand(text, tmp_path / f"state{len(stands)}", sims, env or {})
        stands.append(stand)
        await stand.start()
        return stand

    try:
        yield start
    finally:
        for stand in stands:
            await stand.stop()
            for sim in stand.sims.values():
                await sim.stop()
