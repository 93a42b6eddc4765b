"""What may go to the clipboard: text without anything a terminal or shell would act on, up to a size."""

from __future__ import annotations

from typing import Final

from .safe_text import visible

MAX_BYTES: Final = 64 * 1024
"""Of UTF-8 text; terminals throw longer OSC 52 sequences away or hang on them (xterm's limit is about 75 KB)."""


def clipboard_text(text: str) -> tuple[str, str]:
    """Return text with every control and hidden character spelt out, lines kept, and why it cannot be copied if so."""
    if len(text) > MAX_BYTES:  # before anything is done with all of it
        return "", _too_long(len(text))
    clean = "\n".join(visible(line, MAX_BYTES) for line in text.split("\n"))
    size = len(clean.encode("utf-8", "replace"))
    return (clean, "") if size <= MAX_BYTES else ("", _too_long(size))


def _too_long(size: int) -> str:
    return f"{-(-size // 1024)} KB, and a clipboard takes {MAX_BYTES // 1024} KB; W writes a file instead"
