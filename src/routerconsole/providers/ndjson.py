"""JSON lines (Ollama's streams), read as bytes with the limits of the SSE parser: one line, one event."""

from __future__ import annotations

from routerconsole.providers.frames import MAX_LINE, Event, FrameError, FrameTooLarge, check_utf8, is_whole


class NdjsonParser:
    """An incremental parser; one per response."""

    __slots__ = ("_tail", "error", "heartbeats")

    def __init__(self) -> None:
        self.error: FrameError | None = None
        self.heartbeats = 0
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> list[Event]:
        """The lines completed by these bytes; raises FrameError (on the next call if lines came before it)."""
        if self.error is not None:
            raise self.error
        out: list[Event] = []
        try:
            first, *rest = chunk.split(b"\n")
            self._hold(first)
            for piece in rest:
                line = bytes(self._tail)
                self._tail.clear()
                self._line(line, out)
                self._hold(piece)
        except FrameError as exc:
            self.error = exc
            self._tail.clear()
            if not out:
                raise
        return out

    def finish(self) -> list[Event]:
        """The last line if it is whole, though without its newline; raises a held FrameError."""
        if self.error is not None:
            raise self.error
        line = bytes(self._tail).strip()
        self._tail.clear()
        return [Event(line)] if line and is_whole(line) else []

    def _hold(self, piece: bytes) -> None:
        if len(self._tail) + len(piece) > MAX_LINE:
            raise FrameTooLarge(f"a line is over {MAX_LINE} bytes")
        self._tail += piece

    def _line(self, line: bytes, out: list[Event]) -> None:
        line = line.strip()  # JSON whitespace round a line, a CR before the LF included, means nothing
        if not line:
            self.heartbeats += 1
            return
        check_utf8(line)
        out.append(Event(line))
