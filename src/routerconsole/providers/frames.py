"""What the stream parsers share: the event, the limits, the errors. Parsers cut bytes into events, they judge none.

FrameError                 the stream cannot be read any further
├── FrameTooLarge          a line or an event is over its limit
└── FrameNotUtf8           a complete line is not UTF-8
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import orjson

MAX_LINE: Final = 1 << 20
"""Bytes of one line (routing.md §7.3)."""
MAX_EVENT: Final = 4 << 20
"""Bytes of the data of one event (routing.md §7.3)."""


class Event(NamedTuple):
    """One event: its data bytes (valid UTF-8) and its name, where the stream gave one."""

    data: bytes
    event: bytes | None = None


class FrameError(Exception):
    """The stream cannot be read any further."""


class FrameTooLarge(FrameError):
    """A line or an event is over its limit."""


class FrameNotUtf8(FrameError):
    """A complete line is not UTF-8."""


class FrameParser(Protocol):
    """Bytes in, events out, in any slicing.

    An error behind good events is held: that call returns the events, `error` is set, and the next call raises it.
    """

    error: FrameError | None
    heartbeats: int
    """Comments, blank lines and empty events seen: the upstream lives, though it says nothing."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events completed by these bytes; raises FrameError."""
        ...

    def finish(self) -> list[Event]:
        """The last event where the stream ended without its terminator, if it is whole; raises a held FrameError."""
        ...


def check_utf8(line: bytes | bytearray) -> None:
    """Raise FrameNotUtf8 unless the line is UTF-8."""
    if line.isascii():
        return
    try:
        line.decode()
    except UnicodeDecodeError as exc:
        raise FrameNotUtf8("the stream holds bytes that are not UTF-8") from exc


def is_whole(data: bytes) -> bool:
    """Whether an unterminated last event is complete: valid JSON or the `[DONE]` mark."""
    if data == b"[DONE]":
        return True
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
