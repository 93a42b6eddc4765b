"""The terminal driver: its writer never blocks the UI loop and drops whole frames while the terminal is slow.

It ends the console when the terminal is gone, ignores invalid input, never stops the process and restores every mode.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from base64 import b64encode
from codecs import getincrementaldecoder
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from textual import events
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from .sequences import ESC, SequenceGuard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from textual.app import App

DEEP_FRAMES: Final = 4
"""Queued frames from which new ones are dropped; Textual's own queue blocks the loop at 30 writes."""
DEEP_BYTES: Final = 256 * 1024
"""Queued bytes from which frames are dropped, about ten full repaints at 200 x 60."""
CHUNK: Final = 4096
POLL_MS: Final = 100
CLOSE_POLLS: Final = 10
"""Polls (1 s) a closing console waits for a terminal that takes nothing before it leaves without restoring it."""
PASTE_POLLS: Final = 8
"""Idle polls (0.8 s) after which an unterminated paste is ended, so that keys work again (T03)."""
PASTE_LIMIT: Final = 64 * 1024
"""Characters of one bracketed paste kept (T03); the rest is read and thrown away."""
_CANCEL: Final = b"\x18"
"""CAN ends a half-written escape sequence, so the restoring sequences behind it are read as such."""


class HangupTarget(Protocol):
    """What the driver tells the app from its threads."""

    def terminal_lost(self) -> None:
        """The terminal is gone: end the console."""

    def terminal_drained(self) -> None:
        """Dropped frames are owed a full repaint."""


class FrameWriter(threading.Thread):
    """Writes queued frames to one terminal; `put` never blocks, and a frame is written whole or not at all."""

    def __init__(self, fileno: int, *, on_drained: Callable[[], None], on_lost: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="console-output")
        self._fd, self._owned = _open_nonblocking(fileno)
        self._on_drained = on_drained
        self._on_lost = on_lost
        self._queue: deque[bytes] = deque()
        self._ready = threading.Condition()
        self._queued_bytes = 0
        self._owes_repaint = False
        self._closing = False
        self.lost = False
        self.dropped = 0

    @property
    def deep(self) -> bool:
        """Whether the terminal is behind by more than a frame may wait for."""
        return len(self._queue) >= DEEP_FRAMES or self._queued_bytes >= DEEP_BYTES

    def put(self, data: bytes, *, droppable: bool) -> None:
        """Queue one frame; a droppable one is thrown away while the queue is deep and owed as a repaint."""
        with self._ready:
            if self.lost or not data:
                return
            if droppable and self.deep:
                self.dropped += 1
                self._owes_repaint = True
                return
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._ready.notify()

    def run(self) -> None:
        """Write until closed; a failing terminal is reported once and everything after it is discarded."""
        try:
            while (data := self._next()) is not None:
                if not self._write(data):
                    break
                self._settle(len(data))
        except OSError:
            self._lose()
        finally:
            if self._owned:
                os.close(self._fd)

    def close(self, last: bytes) -> None:
        """Write `last` (the restoring sequences) after at most one unfinished frame, and stop within the grace."""
        with self._ready:
            self._queue.clear()
            self._queued_bytes = 0
            self._owes_repaint = False
            if not self.lost:
                self._queue.append(last)
            self._closing = True
            self._ready.notify()
        if self.is_alive():
            self.join(POLL_MS / 1000 * (CLOSE_POLLS + 5))

    def _next(self) -> bytes | None:
        with self._ready:
            while not self._queue:
                if self._closing or self.lost:
                    return None
                self._ready.wait()
            return self._queue.popleft()

    def _settle(self, written: int) -> None:
        """Account for a written frame and ask for the repaint owed once nothing is queued."""
        with self._ready:
            self._queued_bytes = max(0, self._queued_bytes - written)
            drained = not self._queue and self._owes_repaint
            if drained:
                self._owes_repaint = False
        if drained:
            self._on_drained()

    def _write(self, data: bytes) -> bool:
        """Write one frame whole; False when the console closed and the terminal took nothing within the grace."""
        view = memoryview(data)
        last = self._closing
        idle = 0
        while view:
            if self._closing and not last:
                # Closing while a frame is half out: cut it, its rest would be painted over the restored screen.
                with self._ready:
                    self._queue.appendleft(_CANCEL)
                return True
            if not _wait_writable(self._fd):
                idle += 1
                if last and idle >= CLOSE_POLLS:
                    return False
                continue
            try:
                view = view[os.write(self._fd, view[:CHUNK]) :]
            except (BlockingIOError, InterruptedError):
                continue
        return True

    def _lose(self) -> None:
        with self._ready:
            self.lost = True
            self._queue.clear()
            closing = self._closing
        if not closing:
            self._on_lost()


def _open_nonblocking(fileno: int) -> tuple[int, bool]:
    """Open the terminal behind `fileno` again, non-blocking; the flag on the shared one would reach the shell too."""
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(fileno), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY), True
    return fileno, False


def _wait_writable(fd: int) -> bool:
    """Wait up to `POLL_MS` for room; a hang-up raises OSError on the write that follows."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(POLL_MS))


class ConsoleDriver(LinuxDriver):
    """Textual's Linux driver with our writer and input loop."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._out = sys.__stdout__ if sys.__stdout__ is not None else sys.stdout
        self._writer: FrameWriter | None = None
        self._frame: list[str] = []
        self._control = threading.local()
        self._restored = b""
        self._eof = False
        # Textual stops the process on ctrl+z or SIGTSTP; ours holds a router that others depend on.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, self._continued)

    @property
    def can_suspend(self) -> bool:
        """Never: the process serves requests."""
        return False

    def _continued(self, _signum: int, _frame: FrameType | None) -> None:
        """After an outside SIGSTOP and SIGCONT the shell may have reset the terminal: take its modes again."""
        if self._writer is not None and not self._writer.lost:
            self._raw_mode()
            self._put("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h", droppable=False)
            self._tell("terminal_drained")

    def _raw_mode(self) -> None:
        with contextlib.suppress(termios.error):
            attrs = termios.tcgetattr(self.fileno)
            attrs[3] = self._patch_lflag(attrs[3])
            attrs[0] = self._patch_iflag(attrs[0])
            attrs[6][termios.VMIN] = 1
            termios.tcsetattr(self.fileno, termios.TCSANOW, attrs)

    def _tell(self, method: str) -> None:
        """Call one of the `HangupTarget` methods on the app's loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is already closed: nobody is left to tell
            self._loop.call_soon_threadsafe(getattr(self._app, method))

    # -- output ------------------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Collect a piece of a frame, or queue a mode sequence at once; never blocks, never sends an OSC."""
        if data.startswith("\x1b]"):  # pointer shapes, clipboard: a terminal that does not know them may print them
            return
        if getattr(self._control, "active", False):
            self._put(data, droppable=False)
        else:
            self._frame.append(data)

    def copy(self, text: str) -> None:
        """Hand text to the terminal's clipboard (OSC 52): the one OSC there is, asked for by the operator."""
        self._put(f"\x1b]52;c;{b64encode(text.encode('utf-8', 'replace')).decode('ascii')}\a", droppable=False)

    def flush(self) -> None:
        """Seal the collected pieces into one frame."""
        if self._frame:
            frame, self._frame = "".join(self._frame), []
            self._put(frame, droppable=True)

    def _put(self, data: str, *, droppable: bool) -> None:
        if self._writer is not None:
            self._writer.put(data.encode("utf-8", "replace"), droppable=droppable)

    @contextlib.contextmanager
    def _modes(self) -> Any:
        """What is written inside sets terminal modes and is never dropped."""
        self._control.active = True
        try:
            yield
        finally:
            self._control.active = False

    def start_application_mode(self) -> None:
        """Take the terminal: writer first, then the modes."""
        self._writer = FrameWriter(
            self._out.fileno(),
            on_drained=lambda: self._tell("terminal_drained"),
            on_lost=lambda: self._tell("terminal_lost"),
        )
        self._writer.start()
        with self._modes():
            super().start_application_mode()  # type: ignore[no-untyped-call]  # untyped in Textual
        if self._writer_thread is not None:  # Textual's own writer was started by super() and never fed
            self._writer_thread.stop()
            self._writer_thread = None

    def process_message(self, message: Any) -> None:
        """Pass a message on; the modes Textual answers to in-band resize reports must not be dropped."""
        with self._modes():
            super().process_message(message)

    def stop_application_mode(self) -> None:
        """Give the terminal back: modes off, `stty` as before, main screen; safe to call on a terminal that is gone."""
        self._frame.clear()
        pieces: list[str] = []
        real, self._writer = self._writer, None
        self.disable_input()
        if self.attrs_before is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
        pieces.append("\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1016l")
        pieces.append("\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l")
        pieces.append("\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h")
        if real is not None:
            real.close("".join(pieces).encode())

    def disable_input(self) -> None:
        """Stop reading keys; joins the input thread unless called from it."""
        if self.exit_event.is_set():
            return
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self.exit_event.set()
        if self._key_thread is not None and self._key_thread is not threading.current_thread():
            self._key_thread.join(1.0)
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self.fileno, termios.TCIFLUSH)

    def close(self) -> None:
        """Close the writer if the application mode was not stopped in order."""
        if self._writer is not None:
            self.stop_application_mode()

    # -- input -------------------------------------------------------------------------------------------------------

    def run_input_thread(self) -> None:
        """Read keys until told to stop; invalid UTF-8 is dropped, end of file and I/O errors end the console."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("ignore").decode
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        limiter, guard = PasteLimiter(), SequenceGuard()
        while not self.exit_event.is_set():
            try:
                data = os.read(self.fileno, CHUNK) if poll.poll(POLL_MS) else None
            except OSError:
                data = b""
            if data == b"":
                self._tell("terminal_lost")
                return
            text = limiter.idle() if data is None else limiter.feed(decode(data))
            text = guard.feed(text) if text else guard.idle() if data is None else ""
            try:
                if text == ESC:  # the guard has waited for more already
                    self.process_message(events.Key("escape", ESC))
                    continue
                for event in parser.feed(text) if text else parser.tick():
                    self.process_message(event)
            except (ParseError, EOFError, ValueError, LookupError):
                parser = XTermParser(self._debug)  # a broken escape sequence is forgotten and presses no key


class PasteLimiter:
    """Cuts a bracketed paste to `PASTE_LIMIT` characters while it streams in; ends one never terminated."""

    START: Final = "\x1b[200~"
    END: Final = "\x1b[201~"

    def __init__(self) -> None:
        self._left = -1  # -1: no paste is open
        self._held = ""  # a possible beginning of END, kept back until the rest is here
        self._seen = ""  # the last characters passed on, where a split START may have begun
        self._idle = 0

    def feed(self, text: str) -> str:
        """Return what of `text` may go on to the key parser."""
        self._idle = 0
        out: list[str] = []
        text, self._held = self._held + text, ""
        while text:
            taken, text = self._inside(text) if self._left >= 0 else self._outside(text)
            out.append(taken)
        return "".join(out)

    def idle(self) -> str:
        """Count one poll without input; returns the missing END once a paste has been silent for too long."""
        if self._left < 0:
            return ""
        self._idle += 1
        if self._idle < PASTE_POLLS:
            return ""
        self._left, self._held, self._idle = -1, "", 0
        return self.END

    def _outside(self, text: str) -> tuple[str, str]:
        at = (self._seen + text).find(self.START)
        if at < 0:
            self._seen = (self._seen + text)[-(len(self.START) - 1) :]
            return text, ""
        end = at + len(self.START) - len(self._seen)
        self._seen, self._left = "", PASTE_LIMIT
        return text[:end], text[end:]

    def _inside(self, text: str) -> tuple[str, str]:
        inside, mark, rest = text.partition(self.END)
        if not mark and (cut := _partial_suffix(inside, self.END)):
            inside, self._held = inside[:-cut], inside[-cut:]
        # Textual's parser presses the characters of an escape sequence as keys even inside a paste: leave it none.
        kept = inside[: self._left].replace("\x1b", "␛")
        self._left = -1 if mark else self._left - len(kept)
        return kept + mark, rest


def _partial_suffix(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` could be the beginning of `mark`."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)
