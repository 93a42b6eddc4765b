"""Pauses of the whole process (SIGSTOP, a suspended machine, a held loop): time nobody may be blamed for.

When the loop runs again its timers are due before a socket is looked at, so every answer that waits there would count
as late. A beat that was due before them notices, and gives every running timer the pause back.
"""

from __future__ import annotations

import asyncio
import logging
import math
from types import TracebackType

log = logging.getLogger(__name__)

BEAT_S = 0.05
PAUSE_S = 1.0
"""A beat later than this was a pause: a loop that is merely busy is not that late, and no timer is that short."""


class Pauses:
    """The running timers of one loop, and when it last stood still."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()
        self._beat: asyncio.TimerHandle | None = None
        self.ended = -math.inf
        """The loop's time (monotonic seconds) at which the last pause was over."""

    def watch(self) -> None:
        """Begin to look; `close` ends it."""
        loop = asyncio.get_running_loop()
        self._next(loop)

    def close(self) -> None:
        """Stop looking; idempotent."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def timeout(self, seconds: float) -> PatientTimeout:
        """Return `asyncio.timeout(seconds)`, of seconds in which the process ran."""
        return PatientTimeout(seconds, self._running)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + BEAT_S
        self._beat = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        late = now - due
        if late > PAUSE_S:
            self.ended = now
            for timer in self._running:
                when = timer.when()
                if when is not None and not timer.expired():
                    timer.reschedule(when + late)
            log.warning("the process stood still for %.1f s; nothing under way is blamed for it", late)
        self._next(loop)


class PatientTimeout:
    """An `async with` that raises TimeoutError like asyncio's, and is known to the pauses meanwhile."""

    __slots__ = ("_running", "_timer")

    def __init__(self, seconds: float, running: set[asyncio.Timeout]) -> None:
        self._timer, self._running = asyncio.timeout(seconds), running

    async def __aenter__(self) -> None:
        await self._timer.__aenter__()
        self._running.add(self._timer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.discard(self._timer)
        await self._timer.__aexit__(kind, error, trace)
