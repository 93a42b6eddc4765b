"""A step done again and again, or sooner when asked; a bug in one stops nothing for good."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FAILED_STEP_S = 1.0
"""Rest after a step that raised."""


async def every(
    seconds: float, step: Callable[[], Awaitable[None]], *, name: str, sooner: asyncio.Event | None = None
) -> None:
    """Do a step every so many seconds, and when `sooner` is set; one that raises is told and tried again."""
    while True:
        await (asyncio.sleep(seconds) if sooner is None else _set_within(sooner, seconds))
        try:
            await step()
        except Exception:
            log.exception("background step %r failed; it is tried again", name)
            await asyncio.sleep(FAILED_STEP_S)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after so many seconds; it is cleared."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
