"""Makes untrusted text harmless in a terminal: what a terminal could act on, or would hide, is spelt out.

Pure and without a terminal library: the console's one door for such text and everything that prints without it.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Final

CELL_LIMIT: Final = 256
"""Characters of untrusted text a table cell keeps."""
BLOCK_LIMIT: Final = 4096
"""Characters of untrusted text a message keeps."""
MAX_MARKS: Final = 2
"""Combining marks kept on one base character; real scripts need two, stacked marks paint over other lines."""

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS: Final = frozenset({"Mn", "Me", "Mc"})
HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories a terminal acts on, or shows nothing of."""


def _codes(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(code for first, last in ranges for code in range(first, last + 1))


# Unicode's Default_Ignorable letters and the Hangul jamo that join the letter before them: they take no cell.
_INVISIBLE: Final = _codes((0x115F, 0x11FF), (0x17B4, 0x17B5), (0x3164, 0x3164), (0xD7B0, 0xD7FF), (0xFFA0, 0xFFA0))
# Terminals disagree on the width of variation selectors, skin tones and flag letters.
_AMBIGUOUS: Final = _codes((0xFE00, 0xFE0F), (0x1F3FB, 0x1F3FF), (0x1F1E6, 0x1F1FF))


def visible(text: str | None, limit: int = CELL_LIMIT) -> str:
    """Return one line of at most `limit` characters, nothing in it hidden or active; None gives "–"."""
    if text is None:
        return "–"
    cut = text[:limit]
    if not (cut.isascii() and cut.isprintable()):
        cut = _spell(unicodedata.normalize("NFC", cut))
    return cut[: max(limit - 1, 0)] + "…" if len(cut) > limit or len(text) > limit else cut


def visible_block(text: str) -> str:
    """Return text of several lines, whole: line ends and tabs stay, everything else as in `visible`."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(visible(part, len(part) * 12 + 12) for part in line.split("\t")) for line in lines)


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return JSON in ASCII; DEL, which JSON leaves as it is, is escaped too."""
    return json.dumps(document, ensure_ascii=True, indent=indent).replace("\x7f", "\\u007f")


def cells(text: str) -> int:
    """Return how many terminal cells text made visible takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(char) for char in text)


def _cells_of(char: str) -> int:
    if unicodedata.category(char) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _spell(text: str) -> str:
    """Replace what a terminal could act on, or would hide, by visible text of a known width."""
    out: list[str] = []
    marks = -1  # -1: no base character yet, so a mark would attach to whatever stands left of this text
    for char in text:
        category, code = unicodedata.category(char), ord(char)
        if category in _MARKS and code not in _AMBIGUOUS:
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
        elif category in HIDDEN or code in _AMBIGUOUS or code in _INVISIBLE:
            out.append(_escape(char))
        else:
            out.append(char)
    if marks > MAX_MARKS:
        out.append(f"(+{marks - MAX_MARKS})")
    return "".join(out)


def _escape(char: str) -> str:
    """Spell one dangerous character out in the form Python source would use."""
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
