"""A program on its own pseudo-terminal: what it painted, typing, a stalled reader, a hang-up."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Terminal:
    """A program on its own pseudo-terminal, its output read by a thread until told to stop reading."""

    def __init__(
        self, command: Sequence[str], *, rows: int = 24, columns: int = 80, env: Mapping[str, str] | None = None
    ):
        self.seen = bytearray()
        self.started = time.monotonic()
        self._reading = threading.Event()
        self._reading.set()
        self._hung_up = threading.Event()
        full = {**os.environ, **(env or {}), "TERM": "xterm-256color", "LINES": str(rows), "COLUMNS": str(columns)}
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(command[0], list(command), full)
            finally:
                os._exit(127)
        self._resize(rows, columns)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        """Read until the program is gone or the terminal hangs up; only this thread closes the terminal's side."""
        with suppress(OSError):  # EIO is how a pty says that the other side is gone
            while not self._hung_up.is_set():
                if not self._reading.wait(0.05):
                    continue
                ready, _, _ = select.select([self._master], [], [], 0.02)
                if ready:
                    self.seen += os.read(self._master, 65536)
        self._hung_up.wait()
        os.close(self._master)

    def stall(self) -> None:
        """Stop reading, as a frozen SSH link does."""
        self._reading.clear()

    def resume(self) -> None:
        """Read again."""
        self._reading.set()

    def write(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal's other side: the program gets SIGHUP, then EIO."""
        self._hung_up.set()
        self._reader.join()

    def alive(self) -> bool:
        """Whether the program still runs."""
        with suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        return False

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Signal the program; SIGKILL also reaps it and closes the terminal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
        if how is signal.SIGKILL:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.hang_up()
