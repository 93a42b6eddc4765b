"""A page to pick one entry from by typing a part of it: palette, menus, targets. Pure; keys in, lines out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .render.cells import Line, Role, fit, merge, plain, width_of
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_QUERY: Final = 200
LEAD: Final = 18
"""Cells of the keys before each entry of a page with headings."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One choice: what is looked for and shown, a dim note behind it, the key that does the same, what it does.

    A page whose entries have a `section` shows it as a heading and keeps their order.
    """

    text: str
    choose: Callable[[], None]
    note: str = ""
    key: str = ""
    section: str = ""

    @property
    def hay(self) -> str:
        """What typed words are looked for in."""
        return f"{self.text} {self.note} {self.key} {self.section}".casefold()


class Picker:
    """Choices narrowed by what is typed: all words must occur, those that begin with it come first."""

    def __init__(self, title: str, entries: Sequence[Entry], *, empty: str = "nothing matches") -> None:
        self.title = title
        self.query = ""
        self._entries = list(entries)
        self._empty = empty
        self._cursor = 0
        self._room = 1
        self._shown: list[int | str] = []

    @property
    def matches(self) -> list[Entry]:
        """The entries that pass, the best first."""
        words = self.query.casefold().split()
        found = [entry for entry in self._entries if all(word in entry.hay for word in words)]
        if any(entry.section for entry in found):
            return found
        return sorted(found, key=lambda entry: not entry.text.casefold().startswith(self.query.casefold()))

    def refill(self, entries: Sequence[Entry]) -> None:
        """Take other choices, because what there is to choose from changed; what was typed stays."""
        self._entries = list(entries)

    @property
    def hints(self) -> list[tuple[str, str]]:
        """Its keys for the bottom line."""
        return [("Enter", "choose"), ("Esc", "leave"), ("abc", "narrow")]

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
        """Return the query line and the matching entries around the cursor, under their headings."""
        matches = self.matches
        self._room = max(1, height - 2)
        cursor = min(self._cursor, max(0, len(matches) - 1))
        head: Line = merge([(f"▶ {self.title}  ", Role.TITLE), (f"{len(matches)} of {len(self._entries)}", Role.DIM)])
        lines: list[Line] = [head, ((fit(f" › {visible(self.query, MAX_QUERY)}▏", width), Role.TEXT),)]
        if not matches:
            return [*lines, ((f"   {self._empty}", Role.DIM),)][:height]
        self._shown = self._rows(matches, cursor)
        for place in self._shown:
            if isinstance(place, str):
                lines.append(((fit(f" {place}", width), Role.TITLE),))
                continue
            line = self._line(matches[place], width)
            lines.append(((fit("▶" + plain(line)[1:], width), Role.CURSOR),) if place == cursor else line)
        return lines[:height]

    def _rows(self, matches: Sequence[Entry], cursor: int) -> list[int | str]:
        """Return what is shown: headings, and the places of entries, with the cursor's about in the middle."""
        first = max(0, cursor - self._room)
        rows: list[int | str] = []
        for place, entry in enumerate(matches[first : cursor + self._room + 1], start=first):
            if entry.section and (place == 0 or matches[place - 1].section != entry.section):
                rows.append(entry.section)
            rows.append(place)
        at = rows.index(cursor)
        top = max(0, min(at - self._room // 2, len(rows) - self._room))
        return rows[top : top + self._room]

    def scroll(self, by: int) -> None:
        """Answer the mouse wheel."""
        self._move(by)

    def click(self, line: int) -> bool:
        """Put the cursor on the clicked entry and choose it; False when there is none at that line."""
        place = self._shown[line - 2] if 0 <= line - 2 < len(self._shown) else None
        if not isinstance(place, int):
            return False
        self._cursor = place
        return True

    def _move(self, by: int) -> None:
        count = len(self.matches)
        if count:
            self._cursor = max(0, min(min(self._cursor, count - 1) + by, count - 1))

    @staticmethod
    def _line(entry: Entry, width: int) -> Line:
        if entry.section:
            return merge(
                [("  " + fit(entry.key, LEAD), Role.INFO), (fit(entry.text, max(8, width - LEAD - 2)), Role.TEXT)]
            )
        key = f" {entry.key} " if entry.key else ""
        room = max(8, width - width_of(key) - 2)
        text = visible(entry.text, 200)
        note = f"  {visible(entry.note, 200)}" if entry.note else ""
        shown = fit(text, min(width_of(text), room))
        return merge(
            [("  " + shown, Role.TEXT), (fit(note, max(0, room - width_of(shown))), Role.DIM), (key, Role.INFO)]
        )
