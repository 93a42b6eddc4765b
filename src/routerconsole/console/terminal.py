"""Says whether this process has a terminal a console can be drawn on, and in which form; importable without Textual."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TextIO


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and os.isatty(stream.fileno())
    except (OSError, ValueError):
        return False


def terminal_problem() -> str | None:
    """Return why no console can be drawn here, with what to run instead, or None; writes nothing."""
    instead = "use `routerconsole serve` (headless), `status --plain` or `requests tail --plain`"
    if os.environ.get("TERM", "dumb") in {"", "dumb"}:
        return f"TERM is {os.environ.get('TERM') or 'not set'}, which cannot show a console; {instead}"
    for name, stream in (("standard input", sys.__stdin__), ("standard output", sys.__stdout__)):
        if not _is_terminal(stream):
            return f"{name} is not a terminal; {instead}"
    return None


def wants_ascii() -> bool:
    """Return whether glyphs beyond ASCII would be garbled: the Linux text console, or a locale that is not UTF-8."""
    if os.environ.get("TERM") == "linux":
        return True
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    if "." in locale:
        return not _is_utf8(locale.split(".", 1)[1].split("@", 1)[0])
    return locale in {"C", "POSIX"} or not _is_utf8(getattr(sys.__stdout__, "encoding", None) or "utf-8")


def wants_no_color() -> bool:
    """Return whether `NO_COLOR` is set to anything but the empty text (no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False
