"""A form of labelled fields being filled in: text, numbers, words and choices. Pure; keys in, values out.

It knows what a field's type takes; whether a value is allowed is the engine's to say (`refuse`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from .prompt import Prompt
from .safe_text import visible

Json = Any
"""A JSON value; `Any` because that is what a model's fields are made of."""

UNKNOWN: Final = "unknown"


class Kind(StrEnum):
    """What a field takes."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    WORDS = "words"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the JSON name (a dot leads into an object), what it takes, and a word on what it means."""

    name: str
    kind: Kind = Kind.TEXT
    choices: tuple[str, ...] = ()
    hint: str = ""
    needed: bool = False

    def text(self, value: Json) -> str:
        """Return a value as it is typed; nothing is an empty text."""
        if self.kind is Kind.CHOICE:
            named = {True: "yes", False: "no", None: UNKNOWN}
            return named[value] if value is None or isinstance(value, bool) else str(value)
        if value is None:
            return ""
        if self.kind is Kind.WORDS:
            return ", ".join(map(str, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    def problem(self, text: str) -> str:
        """Say why a text is none of this field's, empty where it is."""
        if not text.strip():
            return "must not be empty" if self.needed else ""
        match self.kind:
            case Kind.WHOLE:
                clean = text.replace("_", "").strip()
                return "" if clean.isascii() and clean.isdigit() else "a whole number, 0 or more"
            case Kind.NUMBER:
                try:
                    number = float(text)
                except ValueError:
                    return "a number, like 0.5"
                return "" if math.isfinite(number) and number >= 0 else "a number, 0 or more"
            case Kind.CHOICE:
                return "" if text in self.choices else f"one of {', '.join(self.choices)}"
            case Kind.TEXT | Kind.WORDS:
                return ""

    def value(self, text: str) -> Json:
        """Return what a sound text means; an empty one unsets."""
        clean = text.strip()
        if self.kind is Kind.CHOICE:
            return {"yes": True, "no": False, UNKNOWN: None}.get(clean, clean)
        if self.kind is Kind.WORDS:
            return list(dict.fromkeys(word for part in clean.split(",") if (word := part.strip())))
        if not clean:
            return None
        if self.kind is Kind.WHOLE:
            return int(clean)
        return float(clean) if self.kind is Kind.NUMBER else clean


class Step(StrEnum):
    """What a key made of the form."""

    ON = "on"
    ACCEPTED = "accepted"
    LEFT = "left"


@dataclass(slots=True)
class Form:
    """Fields with what stands in them. `note` is shown above them, `refused` are the engine's words by field name.

    `revision` grows with every edit, so that an answer about an older text can be told from one about this.
    """

    title: str
    fields: Sequence[Field]
    original: Mapping[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    note: str = ""
    cursor: int = 0
    revision: int = 0
    warned: bool = False
    tried: bool = False
    _line: Prompt | None = None

    def __post_init__(self) -> None:
        self.texts = {each.name: self.texts.get(each.name, self.original[each.name]) for each in self.fields}
        self._turn_to(self.cursor)

    @property
    def current(self) -> Field:
        """The field keys go to."""
        return self.fields[self.cursor]

    @property
    def at(self) -> int:
        """The cursor's place in the current text."""
        return self._line.at if self._line is not None else 0

    @property
    def dirty(self) -> bool:
        """Whether something differs from how it was."""
        return any(self.texts[each.name] != self.original[each.name] for each in self.fields)

    def problem(self, each: Field) -> str:
        """Say what is wrong with a field: its type's word, else the engine's; nothing typed yet is not wrong yet."""
        own = each.problem(self.texts[each.name])
        waiting = not self.tried and not self.texts[each.name].strip()
        return ("" if waiting else own) or self.refused.get(each.name, "")

    def _wrong(self, each: Field) -> bool:
        """Whether a field keeps the form from being accepted: one that is as it was does not, whatever was said."""
        text = self.texts[each.name]
        if text == self.original[each.name]:
            return each.needed and not text.strip()
        return bool(self.problem(each))

    def changed(self) -> dict[str, Json]:
        """Return what differs, JSON-ready; of an object all of it goes along. What is not sound is left out."""
        found: dict[str, Json] = {}
        for each in self.fields:
            text = self.texts[each.name]
            if text == self.original[each.name] or each.problem(text):
                continue
            outer, dot, _ = each.name.partition(".")
            found[outer] = self._object(outer) if dot else each.value(text)
        return found

    def _object(self, outer: str) -> Json:
        inside = [each for each in self.fields if each.name.startswith(f"{outer}.")]
        values = {each.name.partition(".")[2]: each.value(self.texts[each.name]) for each in inside}
        return {name: value for name, value in values.items() if value is not None} or None

    def refuse(self, message: str) -> None:
        """Take the engine's refusal in: it stands at the field it names, else above the form."""
        found = re.search(r"Invalid ([\w.]+)", message)
        where = found[1].rstrip(".") if found else ""
        names = [each.name for each in self.fields]
        outer = where.partition(".")[0]
        near = [name for name in names if name == where] or [name for name in names if name.partition(".")[0] == outer]
        self.refused = {near[0]: message} if near and outer else {}
        self.note = "" if self.refused else message

    def restore(self, name: str) -> None:
        """Put a field back to how it was, and go there."""
        for place, each in enumerate(self.fields):
            if each.name == name or each.name.startswith(f"{name}."):
                self.texts[each.name] = self.original[each.name]
                self._turn_to(place)

    def fill(self, name: str, text: str) -> None:
        """Put a text into a field as if it had been typed, and go there."""
        place = next(place for place, each in enumerate(self.fields) if each.name == name)
        self._turn_to(place)
        self._set(text)
        self._turn_to(place)

    def key(self, key: str, character: str | None) -> Step:
        """Answer one key; Esc asks for a second one where something would be lost."""
        if key == "escape":
            if not self.dirty or self.warned:
                return Step.LEFT
            self.warned = True
            return Step.ON
        self.warned = False
        match key:
            case "enter":
                self.tried = True
                wrong = next((place for place, each in enumerate(self.fields) if self._wrong(each)), None)
                if wrong is None:
                    return Step.ACCEPTED
                self._turn_to(wrong)
            case "down" | "tab" | "ctrl+n":
                self._turn_to((self.cursor + 1) % len(self.fields))
            case "up" | "shift+tab" | "ctrl+p":
                self._turn_to((self.cursor - 1) % len(self.fields))
            case "ctrl+r":
                self._set(self.original[self.current.name])
                self._turn_to(self.cursor)
            case _:
                self._edit(key, character)
        return Step.ON

    def paste(self, text: str) -> None:
        """Put pasted text into the current field; a choice takes none."""
        self.warned = False
        if self._line is not None:
            self._line.paste(text)

    def _edit(self, key: str, character: str | None) -> None:
        if self._line is not None:
            self._line.key(key, character)
            return
        choices, now = self.current.choices, self.texts[self.current.name]
        at = choices.index(now) if now in choices else -1
        match key:
            case "right" | "space":
                self._set(choices[(at + 1) % len(choices)])
            case "left":
                self._set(choices[at - 1])
            case _:
                found = next((each for each in choices if character and each.startswith(character.lower())), None)
                if found is not None:
                    self._set(found)

    def _turn_to(self, place: int) -> None:
        self.cursor = place
        typed = self.current.kind is not Kind.CHOICE
        self._line = Prompt("", _ignored, self.texts[self.current.name], changed=self._set) if typed else None

    def _set(self, text: str) -> None:
        name = self.current.name
        if self.texts[name] != text:
            self.texts[name] = text
            self.revision += 1
            self.note = ""
            self.refused = {}


def _ignored(_text: str) -> None:
    return


def shown_value(value: Json) -> str:
    """Return a JSON value in a few words: lists with commas, nothing as `–`."""
    if value is None or value in ([], {}, ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown_value(each)}" for name, each in value.items() if each is not None) or "–"
    if isinstance(value, (list, tuple)):
        return visible(", ".join(map(str, value)), 200)
    return f"{value:g}" if isinstance(value, float) else visible(str(value), 200)
