"""A page to pick one entry from by typing a part of it: palette, menus, targets. Pure; keys in, lines out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .render.cells import Line, Role, fit, merge, plain, width_of
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_QUERY: Final = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One choice: what is looked for and shown, a dim note behind it, the key that does the same, what it does."""

    text: str
    choose: Callable[[], None]
    note: str = ""
    key: str = ""


class Picker:
    """Choices narrowed by what is typed: all words must occur, those that begin with it come first."""

    def __init__(self, title: str, entries: Sequence[Entry], *, empty: str = "nothing matches") -> None:
        self.title = title
        self.query = ""
        self._entries = list(entries)
        self._empty = empty
        self._cursor = 0
        self._room = 1

    @property
    def matches(self) -> list[Entry]:
        """The entries that pass, the best first."""
        words = self.query.casefold().split()
        found = [
            entry for entry in self._entries if all(word in f"{entry.text} {entry.note}".casefold() for word in words)
        ]
        return sorted(found, key=lambda entry: not entry.text.casefold().startswith(self.query.casefold()))

    def key(self, key: str, character: str | None) -> bool:
        """Move, narrow or choose; return True when the picker is over."""
        match key:
            case "escape":
                return True
            case "enter":
                matches = self.matches
                if not matches:
                    return False
                matches[min(self._cursor, len(matches) - 1)].choose()
                return True
            case "down" | "ctrl+n" | "tab":
                self._move(1)
            case "up" | "ctrl+p" | "shift+tab":
                self._move(-1)
            case "pagedown":
                self._move(self._room)
            case "pageup":
                self._move(-self._room)
            case "backspace":
                self.query, self._cursor = self.query[:-1], 0
            case "ctrl+u":
                self.query, self._cursor = "", 0
            case _:
                if character is not None and character.isprintable():
                    self.paste(character)
        return False

    def paste(self, text: str) -> None:
        """Narrow by pasted text."""
        clean = "".join(char if char.isprintable() else " " for char in text[:MAX_QUERY])
        self.query, self._cursor = (self.query + clean)[:MAX_QUERY], 0

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the query line and the matching entries around the cursor."""
        matches = self.matches
        self._room = max(1, height - 2)
        cursor = min(self._cursor, max(0, len(matches) - 1))
        top = max(0, min(cursor - self._room // 2, len(matches) - self._room))
        head: Line = merge([(f"▶ {self.title}  ", Role.TITLE), (f"{len(matches)} of {len(self._entries)}", Role.DIM)])
        lines: list[Line] = [head, ((fit(f" › {visible(self.query, MAX_QUERY)}▏", width), Role.TEXT),)]
        for place, entry in enumerate(matches[top : top + self._room], start=top):
            line = self._line(entry, width)
            lines.append(((fit("▶" + plain(line)[1:], width), Role.CURSOR),) if place == cursor else line)
        if not matches:
            lines.append(((f"   {self._empty}", Role.DIM),))
        return lines[:height]

    def _move(self, by: int) -> None:
        count = len(self.matches)
        if count:
            self._cursor = max(0, min(min(self._cursor, count - 1) + by, count - 1))

    @staticmethod
    def _line(entry: Entry, width: int) -> Line:
        key = f" {entry.key} " if entry.key else ""
        room = max(8, width - width_of(key) - 2)
        text = visible(entry.text, 200)
        note = f"  {visible(entry.note, 200)}" if entry.note else ""
        shown = fit(text, min(width_of(text), room))
        return merge(
            [("  " + shown, Role.TEXT), (fit(note, max(0, room - width_of(shown))), Role.DIM), (key, Role.INFO)]
        )
