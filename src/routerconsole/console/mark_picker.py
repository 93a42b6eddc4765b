"""A page to pick several from: Space marks, Enter takes the marked ones, or the one under the cursor. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .picker import Entry, Picker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _nothing() -> None:
    """What a choice does by itself: the marked ones are taken together."""


class MarkPicker(Picker):
    """Choices by their text, each with a note; no text holds a space, which is the key that marks."""

    def __init__(self, title: str, take: Callable[[tuple[str, ...]], None], *, empty: str = "nothing matches") -> None:
        super().__init__(title, (), empty=empty)
        self._take = take
        self._choices: dict[str, str] = {}
        self._marked: dict[str, None] = {}

    @property
    def hints(self) -> list[tuple[str, str]]:
        """Its keys for the bottom line."""
        taken = f"take {len(self._marked)} marked" if self._marked else "take this"
        return [("Space", "mark"), ("Enter", taken), ("Esc", "leave"), ("abc", "narrow")]

    def offer(self, choices: Sequence[tuple[str, str]]) -> None:
        """Add choices as (text, note); one that is there already stays as it is."""
        for text, note in choices:
            self._choices.setdefault(text, note)
        self._refill()

    def key(self, key: str, character: str | None) -> bool:
        """Mark, take, else as any picker."""
        matches = self.matches
        here = matches[min(self._cursor, len(matches) - 1)].text if matches else None
        if key == "space":
            if here is not None:
                self._toggle(here)
                self._move(1)
            return False
        if key != "enter":
            return super().key(key, character)
        if not self._marked and here is None:
            return False
        self._take(tuple(self._marked) or (str(here),))
        return True

    def _toggle(self, text: str) -> None:
        if text in self._marked:
            del self._marked[text]
        else:
            self._marked[text] = None
        self._refill()

    def _refill(self) -> None:
        self.refill(
            [
                Entry(text, _nothing, note, key="◆ marked" if text in self._marked else "")
                for text, note in self._choices.items()
            ]
        )
