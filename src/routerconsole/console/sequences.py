"""What of a terminal's input may reach the key parser: whole escape sequences it knows, and typed characters.

Textual presses the characters of a sequence it does not know, or that comes in pieces, as keys: a broken mouse report
would reset a breaker. Here pieces wait for the rest, and what is broken, unknown or too late presses nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from textual._parser import ParseError
from textual._xterm_parser import XTermParser

if TYPE_CHECKING:
    from collections.abc import Callable

ESC: Final = "\x1b"
WAIT_POLLS: Final = 20
"""Idle polls (2 s) a sequence in pieces waits for its rest, as long as a bad link may hold a packet back."""
GIVE_BACK_POLLS: Final = 10
"""Idle polls (1 s) after which an introducer behind an Escape was typed, and an unended string has ended."""
LATE_POLLS: Final = 10
"""Idle polls (1 s) in which an introducer behind an Escape may begin the rest of a sequence."""
INTRODUCERS: Final = tuple("[O]PX^_")
MAX_HELD: Final = 64
"""Characters kept of one sequence; none that is known is half as long."""

_WHOLE: Final = re.compile(
    r"\x1b(?:\[M[^\x1b]{3}|\[\[[A-E]|\[(?![M\[])[0-?]*[ -/]*[@-~]|O[0-9;]*[@-~]|[^\[O\]PX^_\x1b])", re.DOTALL
)
_BEGUN: Final = re.compile(r"\x1b(?:\[(?:M[^\x1b]{0,2}|\[|[0-?]*[ -/]*)|O[0-9;]*)?", re.DOTALL)
_STRING: Final = re.compile(
    r"\x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?P<end>[\x07\x18\x1a]|\x1b\\|\x1b(?=\x1b)|(?=\x1b[^\\]))?", re.DOTALL
)
"""A report nobody asked us for (colours, names): to BEL, ST, CAN or SUB, or to the next sequence."""


class SequenceGuard:
    """Reads input as it comes in; `feed` and `idle` return what goes on to the parser."""

    def __init__(self, known: Callable[[str], bool] | None = None) -> None:
        self._known = known or understood
        self._held = ""  # the beginning of a sequence
        self._after_escape = False  # what is held follows an Escape that was given out already
        self._late = 0
        self._idle = 0

    def feed(self, text: str) -> str:
        """Return the typed characters and whole known sequences of `text`, together with what was held."""
        self._idle = 0
        if self._late and text[:1] in INTRODUCERS:
            text, self._after_escape = ESC + text, True
        text, self._held, self._late = self._held + text, "", 0
        out: list[str] = []
        while (at := text.find(ESC)) >= 0:
            out.append(text[:at])
            taken, text = self._sequence(text[at:])
            out.append(taken)
            if self._held:
                break
        return "".join(out) + text

    def idle(self) -> str:
        """Count one poll without input; return what was typed after all: an Escape, or an introducer behind one."""
        self._late = max(0, self._late - 1)
        if not self._held:
            return ""
        self._idle += 1
        if self._held == ESC:
            self._held, self._late = "", LATE_POLLS
            return ESC
        if self._after_escape and len(self._held) == 2:
            return self._give_back() if self._idle >= GIVE_BACK_POLLS else ""
        if self._idle >= (GIVE_BACK_POLLS if self._held[1] in "]PX^_" else WAIT_POLLS):
            self._held, self._after_escape = "", False
        return ""

    def _sequence(self, text: str) -> tuple[str, str]:
        """Return what of the sequence at the start of `text` goes on, and the text behind it; its beginning is held."""
        if (found := _STRING.match(text)) is not None:
            if found["end"] is not None:
                self._after_escape = False
                return "", text[found.end() :]
            self._after_escape = self._after_escape and len(text) == 2
            self._held = text[:2] + (ESC if text.endswith(ESC) else "")
            return "", ""
        if (found := _WHOLE.match(text)) is not None:
            after, self._after_escape = self._after_escape, False
            sequence, rest = found[0], text[found.end() :]
            fits = len(sequence) <= MAX_HELD and (len(sequence) == 2 or self._known(sequence))
            if after:
                return "" if fits and len(sequence) > 2 else sequence[1:], rest
            return sequence if fits else "", rest
        begun = _BEGUN.match(text)
        size = begun.end() if begun is not None else 1
        if size == len(text):
            self._held = text[:MAX_HELD]
            return "", ""
        after, self._after_escape = self._after_escape, False
        if size == 1:
            return ESC, text[1:]
        return text[1:size] if after and size == 2 else "", text[size:]

    def _give_back(self) -> str:
        typed, self._held, self._after_escape = self._held[1:], "", False
        return typed


def understood(sequence: str) -> bool:
    """Say whether Textual's parser takes a sequence whole."""
    parser = XTermParser()
    try:
        for _ in parser.feed(sequence):
            continue
    except (ParseError, EOFError, ValueError, LookupError):
        return False
    return parser._timeout_time is None
