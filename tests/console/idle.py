"""Lets Textual's pilot wait for an idle event loop instead of for 20 ms naps in which the process uses little CPU."""

from __future__ import annotations

import asyncio
from typing import Any

QUIET_ROUNDS = 3  # a callback may come back from the selector in the round after the queue ran dry
SOON_S = 1 / 60 + 0.001  # layouts and resizes are put off to the next frame: a timer within it belongs to the key
MOST_FRAMES = 30  # something that moves all the time is never idle


async def loop_is_idle(*_limits: float) -> None:
    """Return once the caller alone can run, and nothing else is due within a frame: the rest waits for real time."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(MOST_FRAMES):
        quiet = 0
        while quiet < QUIET_ROUNDS:
            await asyncio.sleep(0)
            quiet = 0 if loop._ready else quiet + 1
        due = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
        wait = min(due, default=float("inf")) - loop.time()
        if wait > SOON_S:
            return
        await asyncio.sleep(max(wait, 0.0))
