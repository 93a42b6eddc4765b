"""What work costs, told without a clock on the wall: function calls counted, or processor time of two sizes compared.

How fast something is, bench/ measures. A test asks how the work grows, which no other load on the machine changes.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Counted:
    """How many functions were called, C ones included."""

    calls = 0


@contextmanager
def counting() -> Iterator[Counted]:
    """Count the calls this thread makes in a with-block: the same number on every machine."""
    counted, before = Counted(), sys.getprofile()

    def seen(_frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_call"):
            counted.calls += 1

    sys.setprofile(seen)
    try:
        yield counted
    finally:
        sys.setprofile(before)


def calls(work: Callable[[], object]) -> int:
    """Return how many functions a piece of work calls."""
    with counting() as counted:
        work()
    return counted.calls


def cpu(work: Callable[[], object], *, tries: int = 3) -> float:
    """Return the processor seconds of this thread that a piece of work takes, the least of some tries."""
    took = []
    enabled = gc.isenabled()
    gc.disable()  # a collection of what other tests left is none of this work's
    try:
        for _ in range(tries):
            began = time.thread_time()
            work()
            took.append(time.thread_time() - began)
    finally:
        if enabled:
            gc.enable()
    return min(took)
