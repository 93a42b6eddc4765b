"""One line of text being typed: the filter, the command line, a value. Pure; keys in, text out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_TEXT: Final = 2000
"""Characters kept, pasted or typed."""
SHOWN_CHOICES: Final = 8


def _nothing(_text: str) -> Sequence[str]:
    return ()


def _sound(_text: str) -> str:
    return ""


def _ignored(_text: str) -> None:
    return


@dataclass(slots=True)
class Prompt:
    """A label and the text behind it; Enter hands the text to `accept`, Esc to nobody.

    `complete` returns whole texts that Tab offers in turn, `problem` says what is wrong with the text so far (empty:
    nothing), `changed` hears every edit. A text with a problem is not accepted.
    """

    label: str
    accept: Callable[[str], None]
    text: str = ""
    complete: Callable[[str], Sequence[str]] = _nothing
    problem: Callable[[str], str] = _sound
    changed: Callable[[str], None] = _ignored
    cancelled: Callable[[], None] = lambda: None
    history: list[str] = field(default_factory=list)
    secret: bool = False
    at: int = -1
    _offered: list[str] = field(default_factory=list)
    _turn: int = -1
    _back: int = 0

    def __post_init__(self) -> None:
        if self.at < 0:
            self.at = len(self.text)

    def key(self, key: str, character: str | None) -> bool:
        """Edit; return True when the prompt is over (accepted or left)."""
        if key != "tab":
            self._offered, self._turn = [], -1
        match key:
            case "enter":
                if self.problem(self.text):
                    return False
                self.accept(self.text)
                return True
            case "escape":
                self.cancelled()
                return True
            case "tab":
                self._offer()
            case "up" | "down":
                self._recall(1 if key == "up" else -1)
            case "left" | "right" | "home" | "ctrl+a" | "end" | "ctrl+e":
                self._move(key)
            case "backspace":
                self._put(self.text[: max(0, self.at - 1)], self.text[self.at :])
            case "delete":
                self._put(self.text[: self.at], self.text[self.at + 1 :])
            case "ctrl+u":
                self._put("", self.text[self.at :])
            case "ctrl+w":
                self._put(self.text[: self.at].rstrip().rpartition(" ")[0], self.text[self.at :])
            case _:
                if character is not None and character.isprintable():
                    self.paste(character)
        return False

    def paste(self, text: str) -> None:
        """Put text in at the cursor, on one line and capped."""
        clean = "".join(char if char.isprintable() else " " for char in text[:MAX_TEXT])
        room = MAX_TEXT - len(self.text)
        self._put(self.text[: self.at] + clean[:room], self.text[self.at :])

    def shown(self) -> str:
        """Return label and text with the cursor in it, and what is wrong or what Tab would offer."""
        text = "•" * len(self.text) if self.secret else self.text
        line = f"{self.label}{visible(text[: self.at], MAX_TEXT)}▏{visible(text[self.at :], MAX_TEXT)}"
        problem = self.problem(self.text) if self.text else ""
        if problem:
            return f"{line}   ✗ {visible(problem, 200)}"
        choices = self.complete(self.text)
        if choices:
            return f"{line}   {'  '.join(visible(choice, 40) for choice in list(choices)[:SHOWN_CHOICES])}"
        return line

    def _put(self, before: str, after: str) -> None:
        self.text, self.at = before + after, len(before)
        self.changed(self.text)

    def _move(self, key: str) -> None:
        to = {"left": self.at - 1, "right": self.at + 1, "home": 0, "ctrl+a": 0}.get(key, len(self.text))
        self.at = max(0, min(len(self.text), to))

    def _offer(self) -> None:
        """Put the next offered text in; the first Tab fixes what is offered."""
        if self._turn < 0:
            self._offered = list(self.complete(self.text))
        if self._offered:
            self._turn = (self._turn + 1) % len(self._offered)
            self._put(self._offered[self._turn], "")

    def _recall(self, by: int) -> None:
        if self.history:
            self._back = max(0, min(len(self.history), self._back + by))
            self._put(self.history[-self._back] if self._back else "", "")
