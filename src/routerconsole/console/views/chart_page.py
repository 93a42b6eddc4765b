"""A page with a chart on it: what draws charts is imported beside the loop, when the first one is opened."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from routerconsole.console.actions import Context

from .panes import TextPane

if TYPE_CHECKING:
    from collections.abc import Callable

    from routerconsole.console.render.cells import Line

    from .base import Host


class ChartPage(TextPane):
    """Draws without its chart until `loaded`."""

    def __init__(self, name: str, *, draw: Callable[[int], list[Line]]) -> None:
        super().__init__(name, (Context.NOTE,), draw=draw, prefix="note")
        self.loaded = False

    async def load(self, host: Host) -> None:
        """Import what draws charts on a thread of its own; that takes longer than a key may."""
        await asyncio.to_thread(importlib.import_module, "plotext")
        self.loaded = True
        host.redraw()
