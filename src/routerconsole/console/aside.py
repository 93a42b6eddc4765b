"""Keeps what the process writes to standard error off the screen while the console draws, and hands it back after."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_LINES: Final = 200
LINE_LIMIT: Final = 2000
_STDERR: Final = 2


def _collect(fd: int, kept: deque[str]) -> None:
    """Read lines until every writer is gone; only the newest are kept, so a chatty engine costs no memory."""
    with os.fdopen(fd, "r", encoding="utf-8", errors="replace") as source:
        for line in source:
            kept.append(visible(line.rstrip("\n"), LINE_LIMIT))


@contextlib.contextmanager
def stderr_aside() -> Iterator[None]:
    """Hold standard error back while the console has the terminal; the last lines are printed once it is restored.

    Log handlers and the interpreter write to descriptor 2 itself, so it is the descriptor that is turned away. When it
    is no terminal (`2>file`) nothing is changed.
    """
    if not os.isatty(_STDERR):
        yield
        return
    terminal = os.dup(_STDERR)
    source, sink = os.pipe()
    os.dup2(sink, _STDERR)
    os.close(sink)
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    reader = threading.Thread(target=_collect, args=(source, kept), daemon=True, name="console-stderr")
    reader.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(terminal, _STDERR)  # also closes the pipe's last writer, which ends the reader
        os.close(terminal)
        reader.join(1.0)
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            for line in list(kept):
                sys.stderr.write(line + "\n")
            sys.stderr.flush()
