"""Runs the console headless for a test: waits on conditions, reads the screen as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.console.fake_control import NOW, FakeControl
from textual.pilot import Pilot

from routerconsole.console.app import RouterConsoleApp
from routerconsole.console.options import ConsoleOptions
from routerconsole.control.port import Control

PATIENCE_S = 60.0
POLL_S = 0.002  # between two questions; what is waited for may be a timer, a thread or a socket


@dataclass
class Stage:
    """A running console and the control behind it: a scripted one, or that of a real engine."""

    app: RouterConsoleApp
    pilot: Pilot[Any]
    control: Any

    @property
    def desk(self) -> Any:
        """The console's desk."""
        return self.app.desk

    def lines(self) -> list[str]:
        """Return what is on the screen, one string per line, as the filters leave it."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        """Return the whole screen."""
        return "\n".join(self.lines())

    async def until(self, condition: Callable[[], object], why: str = "") -> None:
        """Let the console run until a condition holds."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self.app.look()
                    await self.pilot.pause()
                    await asyncio.sleep(POLL_S)
                await self.pilot.pause()
        except TimeoutError:
            raise AssertionError(f"never came true: {why or 'condition'}\n{self.text()}") from None

    async def sees(self, *parts: str) -> None:
        """Wait until all parts are on the screen."""
        await self.until(lambda: all(part in self.text() for part in parts), f"{parts} on the screen")

    async def loses(self, part: str) -> None:
        """Wait until a part is no longer on the screen."""
        await self.until(lambda: part not in self.text(), f"{part!r} off the screen")

    async def press(self, *keys: str) -> None:
        """Press keys and let them be answered."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def looked(self) -> None:
        """Wait for a look that began after now."""
        seen = self.control.looks
        await self.until(lambda: self.control.looks > seen + 1, "another look")
        await self.pilot.pause()


@asynccontextmanager
async def stage(control: Control, *, size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[Stage]:
    """Run the console on a control and wait for its first look."""
    app = RouterConsoleApp(control, ConsoleOptions(title="prod", now=lambda: NOW, **options))
    async with app.run_test(size=size) as pilot:
        on = Stage(app, pilot, control)
        if not isinstance(control, FakeControl) or (control.gate.is_set() and control.fails is None):
            await on.until(lambda: app.desk.state.loaded, "the first look")
        await pilot.pause()
        yield on
