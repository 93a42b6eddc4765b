"""One started simulator per test, watched for leaks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from routerconsole.simulator import Behaviour, Simulator


@pytest_asyncio.fixture
async def sim(leakcheck: None) -> AsyncIterator[Simulator]:
    """A simulator with one healthy model `m`."""
    async with Simulator(seed=7) as simulator:
        simulator.set("m", Behaviour())
        yield simulator
