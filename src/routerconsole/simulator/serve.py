"""The simulator as a stand-alone upstream: start, say so, serve until cancelled, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from routerconsole.simulator.script import Script
from routerconsole.simulator.simulator import Simulator


async def serve(script: Script | None, host: str, port: int, ready: Callable[[Simulator], None]) -> None:
    """Run one simulator until this task is cancelled; `ready` is called once with it when it listens."""
    simulator = Simulator(script)
    await simulator.start(host, port)
    try:
        ready(simulator)
        await asyncio.get_running_loop().create_future()
    finally:
        await simulator.stop()
