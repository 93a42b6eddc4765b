"""The one door for untrusted text: what passes it holds no byte a terminal could act on and no markup.

Also the two line filters every strip passes before it leaves: the control-character backstop and the ASCII form.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color

CELL_LIMIT: Final = 256
"""Characters of untrusted text a table cell keeps."""
BLOCK_LIMIT: Final = 4096
"""Characters of untrusted text a detail block keeps."""
MAX_MARKS: Final = 2
"""Combining marks kept on one base character; real scripts need two, stacked marks paint over other lines."""

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS: Final = frozenset({"Mn", "Me", "Mc"})
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

ASCII_FORMS: Final = str.maketrans(
    {
        "✗": "!", "●": "*", "○": "o", "◐": "+", "›": ">", "→": ">", "…": "~", "·": "-", "⊘": "!", "│": "|", "▶": ">",
        "─": "-", "━": "=", "╌": ".", "┄": "~", "▲": "^", "▼": "v", "✓": "+", "×": "x", "–": "-", "—": "-", "≥": ">",
        "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#", "◌": "o", "⚑": "!", "≤": "<",
        "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "▏": "|", "⏎": "<",
    }
)  # fmt: skip
"""The ASCII form of every glyph the console itself draws; each is one cell, so columns stay where they are."""


def _escape(char: str) -> str:
    """Spell one dangerous character out in the form Python source would use."""
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _ambiguous(code: int) -> bool:
    """Whether terminals disagree on the width of a character: variation selectors, skin tones, flag letters."""
    return 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF or 0x1F1E6 <= code <= 0x1F1FF


def _spell(text: str) -> str:
    """Replace what a terminal could act on, or would hide, by visible text of a known width."""
    out: list[str] = []
    marks = -1  # -1: no base character yet, so a mark would attach to whatever stands left of this text
    for char in text:
        category = unicodedata.category(char)
        code = ord(char)
        if category in _MARKS and not _ambiguous(code):
            if marks < 0:
                out.append(_escape(char))
                continue
            marks += 1
            if marks <= MAX_MARKS:
                out.append(char)
            continue
        if marks > MAX_MARKS:
            out.append(f"(+{marks - MAX_MARKS})")
        marks = 0
        if category == "Zs":
            out.append(" ")
        elif category in _HIDDEN or _ambiguous(code) or cell_len(char) == 0:
            out.append(_escape(char))
        else:
            out.append(char)
    if marks > MAX_MARKS:
        out.append(f"(+{marks - MAX_MARKS})")
    return "".join(out)


@lru_cache(maxsize=4096)
def _visible_cached(text: str, limit: int) -> str:
    return visible_uncached(text, limit)


def visible_uncached(text: str, limit: int) -> str:
    """Return `visible` without remembering the answer, for long texts."""
    cut = text[:limit]
    if not (cut.isascii() and cut.isprintable()):
        cut = _spell(unicodedata.normalize("NFC", cut))
    if len(cut) > limit or len(text) > limit:
        cut = cut[: max(limit - 1, 0)] + "…"
    return cut


def visible(text: str | None, limit: int = CELL_LIMIT) -> str:
    """Return one line of at most `limit` characters, nothing in it hidden or active; None gives "–"."""
    if text is None:
        return "–"
    return _visible_cached(text, limit) if len(text) <= CELL_LIMIT else visible_uncached(text, limit)


def safe_text(text: str | None, limit: int = BLOCK_LIMIT) -> Content:
    """Return untrusted text as Textual `Content`: literal, escaped, at most `limit` characters, no style, no link."""
    return Content(visible(text, limit))


def to_ascii(text: str) -> str:
    """Return text in ASCII, every glyph on the same columns; foreign characters become `?`, wide ones `??`."""
    if text.isascii():
        return text
    text = text.translate(ASCII_FORMS)
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in text)


def _no_controls(text: str) -> str:
    """Replace what must never reach the terminal by `?`, keeping the width of everything else."""
    if text.isprintable():
        return text
    return "".join(
        "?" if unicodedata.category(char) in _HIDDEN else " " if unicodedata.category(char) == "Zs" else char
        for char in text
    )


class ControlFilter(LineFilter):
    """The backstop: no control character leaves in any strip, whichever widget drew it."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with control characters replaced and control codes dropped."""
        if all(control is None and text.isprintable() for text, _, control in segments):
            return segments
        return [Segment(_no_controls(text), style) for text, style, control in segments if control is None]


class AsciiFilter(LineFilter):
    """Swaps every glyph for its ASCII form (`--ascii`, `TERM=linux`, a locale that is not UTF-8)."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments in ASCII, cell for cell."""
        if all(text.isascii() for text, _, _ in segments):
            return segments
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
