"""Short rests between pieces of drawing: the engine's thread shares the interpreter and perhaps the core."""

from __future__ import annotations

import time
from typing import Final

REST_S: Final = 0.00005
"""Long enough to be taken off the core. Without rests a look at 500 requests/s held one up for 3-4 ms: the scheduler's
slice, which the engine's thread waits for on a core of its own process (bench/HOT_PATH.md)."""
PIECE: Final = 32
"""Rows or events that are worked through in one go: some tenths of a millisecond."""


def breathe() -> None:
    """Let the engine's thread run before the next piece."""
    time.sleep(REST_S)
