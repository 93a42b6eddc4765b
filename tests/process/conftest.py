"""A bench per test, and simulated upstreams on a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process.router import Bench

from routerconsole.simulator import Behaviour, Simulator

Upstreams = Callable[..., tuple[str, Simulator]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Start processes with this."""
    made = Bench(tmp_path)
    yield made
    made.end()


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    """Call it with models and behaviours: configuration text of a provider per model, and the simulator behind it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstreams")
    thread.start()
    simulators: list[Simulator] = []

    def run(extra: str = "", provider: str = "", **models: Behaviour) -> tuple[str, Simulator]:
        simulator = Simulator(seed=7)
        for name, behaviour in models.items():
            simulator.set(name, behaviour)
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(60)
        simulators.append(simulator)
        rows = "".join(
            f'  - {{name: {name}, kind: openai_compatible, base_url: "{simulator.base_url}", priority: {number + 1}, '
            f"health: {{enabled: false}}, max_concurrency: 200, {provider}models: [{{id: {name}}}]}}\n"
            for number, name in enumerate(models)
        )
        return f"version: 1\nproviders:\n{rows}{extra}", simulator

    yield run
    for simulator in simulators:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()
