"""A terminal for tests: a child on a pseudo-terminal, its bytes, and the screen they make."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")


class Terminal:
    """One child process and what its terminal shows."""

    def __init__(self, argv: list[str], *, size: tuple[int, int] = (80, 24), env: dict[str, str] | None = None) -> None:
        width, height = size
        clean = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self.child = pexpect.spawn(
            argv[0],
            argv[1:],
            dimensions=(height, width),
            cwd=str(ROOT),
            env={**clean, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})},
            timeout=PATIENCE_S,
        )
        self.child.delaybeforesend = None
        self.stty = termios.tcgetattr(self.child.child_fd)
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
        if not self.child.closed:
            self.child.close(force=True)
        else:
            self.child.wait()

    def pump(self, timeout: float = 0.05) -> bool:
        """Read what has come; False at the end of file."""
        try:
            self._take(self.child.read_nonblocking(65536, timeout))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    def sip(self, most: int, timeout: float) -> int:
        """Read at most so many bytes, as a slow line carries them; return how many came."""
        try:
            data = self.child.read_nonblocking(most, timeout)
        except pexpect.TIMEOUT:
            return 0
        self._take(data)
        return len(data)

    def _take(self, data: bytes) -> None:
        self.bytes += data
        # pyte does not know the kitty keyboard and synchronised-output sequences and would print their ends
        self._stream.feed(re.sub(rb"\x1b\[[<>=][0-9;]*u|\x1b\[\?[0-9;]+\$p", b"", data))

    def text(self) -> str:
        """Return the screen as text."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, condition: Callable[[], object], why: str = "") -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            alive = self.pump()
            if condition():
                return
            if not alive or time.monotonic() > deadline:
                raise AssertionError(f"never came true: {why}\n{self.text()}\n{self.bytes[-300:]!r}")

    def sees(self, *parts: str) -> None:
        """Read until all parts are on the screen."""
        self.until(lambda: all(part in self.text() for part in parts), f"{parts} on the screen")

    def send(self, keys: str | bytes) -> None:
        """Type."""
        self.child.send(keys)

    def resize(self, width: int, height: int) -> None:
        """Change the terminal's size."""
        self.child.setwinsize(max(0, height), max(0, width))
        if width and height:
            self.screen.resize(height, width)

    def hang_up(self) -> None:
        """Close our end, as a terminal window does."""
        self.child.ptyproc.fileobj.close()
        self.child.ptyproc.closed = self.child.closed = True
        self.child.child_fd = self.child.ptyproc.fd = -1

    def ended(self) -> int:
        """Read to the end and return the exit code (negative: killed by a signal)."""
        deadline = time.monotonic() + PATIENCE_S
        while self.pump():
            assert time.monotonic() < deadline, f"never ended\n{self.text()}"
        self.child.wait()
        return self.child.exitstatus if self.child.exitstatus is not None else -int(self.child.signalstatus or 0)

    def modes_left(self) -> set[int]:
        """Return the private modes still set after everything read, cursor visibility turned round."""
        left: set[int] = set()
        for numbers, what in _MODE.findall(self.bytes):
            for number in map(int, numbers.split(b";")):
                set_now = (what == b"h") != (number in {7, 25})
                (left.add if set_now else left.discard)(number)
        return left

    def attributes(self) -> list[Any]:
        """Return the terminal's attributes as `stty` would."""
        return termios.tcgetattr(self.child.child_fd)


def showcase(*flags: str, **options: Any) -> Terminal:
    """Return the console on scripted data."""
    return Terminal([sys.executable, "-m", "tests.console.showcase", *flags], **options)
