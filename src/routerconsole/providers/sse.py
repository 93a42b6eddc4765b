"""Server-sent events, read as bytes: LF, CRLF and CR, any slicing, bounded. Knows nothing of what the data means."""

from __future__ import annotations

from typing import Final

from routerconsole.providers.frames import (
    MAX_EVENT,
    MAX_LINE,
    Event,
    FrameError,
    FrameNotUtf8,
    FrameTooLarge,
    check_utf8,
    is_whole,
)

_BOM: Final = b"\xef\xbb\xbf"
_PIECE: Final = 1 << 16
"""From so many bytes on a data line is kept by itself, so that nothing big has to grow and move (faults.md S18)."""


class SseParser:
    """An incremental parser; one per response."""

    __slots__ = ("_after_cr", "_data", "_head", "_name", "_size", "_tail", "error", "heartbeats")

    def __init__(self) -> None:
        self.error: FrameError | None = None
        self.heartbeats = 0
        self._head: bytes | None = b""  # first bytes, until it is known whether they are a BOM
        self._after_cr = False
        self._tail = bytearray()  # the line not yet ended
        self._data: list[bytes | bytearray] = []  # data lines of the open event with their LF, in a few pieces
        self._size = 0  # of them together
        self._name: bytes | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events completed by these bytes; raises FrameError (on the next call if events came before it)."""
        if self.error is not None:
            raise self.error
        if self._head is not None:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if b"\r" in chunk:  # raw CR cannot occur inside JSON, so this is rare
            self._after_cr = chunk[-1] == 0x0D
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        out: list[Event] = []
        try:
            self._consume(chunk, out)
        except FrameError as exc:
            self.error = exc
            self._tail.clear()
            self._data.clear()
            if not out:
                raise
        return out

    def finish(self) -> list[Event]:
        """The last event if it is whole, though without its blank line; raises a held FrameError."""
        if self.error is not None:
            raise self.error
        out: list[Event] = []
        line = bytes(self._head or b"") + bytes(self._tail)
        self._tail.clear()
        try:
            if line:
                self._line(line, out)
        except FrameError:
            return []
        data = self._joined()
        if self._data and is_whole(data):
            out.append(Event(data, self._name))
        self._reset()
        return out

    def _without_bom(self, chunk: bytes) -> bytes:
        head = (self._head or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head[len(_BOM) :] if head.startswith(_BOM) else head

    def _consume(self, chunk: bytes, out: list[Event]) -> None:
        """Parse LF-only bytes: finish what is open line by line, take whole events in bulk, keep the rest."""
        pos = 0
        while self._tail or self._data or self._name is not None:
            cut = chunk.find(b"\n", pos)
            if cut < 0:
                self._hold(chunk[pos:])
                return
            line: bytes | bytearray = chunk[pos:cut]
            if self._tail:
                self._hold(line)
                line, self._tail = self._tail, bytearray()
            self._line(line, out)
            pos = cut + 1
        end = chunk.rfind(b"\n\n", pos)
        if end >= 0:
            self._blocks(chunk[pos:end], out)
            pos = end + 2
        while (cut := chunk.find(b"\n", pos)) >= 0:
            self._line(chunk[pos:cut], out)
            pos = cut + 1
        if pos < len(chunk):
            self._hold(chunk[pos:])

    def _blocks(self, body: bytes, out: list[Event]) -> None:
        """Whole events, separated by blank lines; the usual two forms are cut out without looking at each line."""
        simple = len(body) <= MAX_LINE and (body.isascii() or _is_utf8(body))
        for block in body.split(b"\n\n"):
            if simple:
                first = block.find(b"\n")
                if first < 0 and block.startswith(b"data: ") and len(block) > 6:
                    out.append(Event(block[6:]))
                    continue
                if (
                    first > 0
                    and block.startswith(b"event: ")
                    and block.startswith(b"data: {", first + 1)
                    and block.find(b"\n", first + 1) < 0
                ):
                    out.append(Event(block[first + 7 :], block[7:first]))
                    continue
            for line in block.split(b"\n"):
                self._line(line, out)
            self._line(b"", out)

    def _hold(self, piece: bytes | bytearray) -> None:
        if len(self._tail) + len(piece) > MAX_LINE:
            raise FrameTooLarge(f"a line is over {MAX_LINE} bytes")
        self._tail += piece

    def _line(self, line: bytes | bytearray, out: list[Event]) -> None:
        """One complete line, by the rules of the HTML standard, section 9.2.6; a long value is copied once (S18)."""
        if not line:
            self._dispatch(out)
            return
        if len(line) > MAX_LINE:
            raise FrameTooLarge(f"a line is over {MAX_LINE} bytes")
        check_utf8(line)
        if line[0] == 0x3A:
            self.heartbeats += 1
            return
        end = line.find(b":")
        field = line if end < 0 else line[:end]
        start = len(line) if end < 0 else end + 2 if line[end + 1 : end + 2] == b" " else end + 1
        if field == b"data":
            self._add(line, start)
        elif field == b"event":
            self._name = bytes(line[start:])

    def _add(self, line: bytes | bytearray, start: int) -> None:
        """Keep a data line's value: a long one alone and without room to grow, short ones together."""
        self._size += len(line) - start + 1
        if self._size > MAX_EVENT + 1:  # the last LF is not part of the event
            raise FrameTooLarge(f"an event is over {MAX_EVENT} bytes")
        if len(line) >= _PIECE:
            self._data += (bytes(memoryview(line)[start:]), bytearray(b"\n"))
            return
        if not self._data or len(self._data[-1]) >= _PIECE:
            self._data.append(bytearray())
        self._data[-1] += line[start:] + b"\n"

    def _joined(self) -> bytes:
        """The data lines without their last LF."""
        if self._data:
            self._data[-1] = self._data[-1][:-1]
        return bytes(self._data[0]) if len(self._data) == 1 else b"".join(self._data)

    def _dispatch(self, out: list[Event]) -> None:
        data = self._joined()
        if data:
            out.append(Event(data, self._name))
        else:
            self.heartbeats += 1
        self._reset()

    def _reset(self) -> None:
        self._data.clear()
        self._size = 0
        self._name = None


def _is_utf8(body: bytes) -> bool:
    try:
        check_utf8(body)
    except FrameNotUtf8:
        return False
    return True
