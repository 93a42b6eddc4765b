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

from routerconsole.domain.visible import BLOCK_LIMIT, CELL_LIMIT, HIDDEN
from routerconsole.domain.visible import visible as domain_visible

if TYPE_CHECKING:
    from textual.color import Color

ASCII_FORMS: Final = str.maketrans(
    {
        "✗": "!", "●": "*", "○": "o", "◐": "+", "›": ">", "→": ">", "…": "~", "·": "-", "⊘": "!", "│": "|", "▶": ">",
        "─": "-", "━": "=", "╌": ".", "┄": "~", "▲": "^", "▼": "v", "✓": "+", "×": "x", "–": "-", "—": "-", "≥": ">",
        "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#", "◌": "o", "⚑": "!", "≤": "<",
        "▸": "+", "▾": "-", "◆": "#",
        "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "▏": "|", "⏎": "<",
    }
)  # fmt: skip
"""The ASCII form of every glyph the console itself draws; each is one cell, so columns stay where they are."""


_remembered = lru_cache(maxsize=4096)(domain_visible)


def visible(text: str | None, limit: int = CELL_LIMIT) -> str:
    """Return `domain.visible.visible` of a text; what fits a cell is remembered, because panes are drawn again."""
    return domain_visible(text, limit) if text is not None and len(text) > CELL_LIMIT else _remembered(text, limit)


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
        "?" if unicodedata.category(char) in HIDDEN else " " if unicodedata.category(char) == "Zs" else char
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
