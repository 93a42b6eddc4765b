"""The grammar as plain data: every command with its options and arguments, for completions and the manual page.

Read out of the argparse tree that parses, so neither can say what the parser does not accept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Value(StrEnum):
    """What stands behind an option or as an argument."""

    NOTHING = "nothing"
    WORD = "word"
    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Taken:
    """An option (`names` are its spellings) or an argument (no names); `shown` is what stands for its value."""

    names: tuple[str, ...]
    help: str
    value: Value
    shown: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command as typed after `routerconsole`; the root has no words. `below` are its verbs."""

    words: tuple[str, ...]
    help: str
    options: tuple[Taken, ...]
    arguments: tuple[Taken, ...]
    below: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """Yield this command and all below it, in the order of the grammar."""
        yield self
        for each in self.below:
            yield from each.walk()


def tree(parser: argparse.ArgumentParser, words: tuple[str, ...] = (), summary: str = "") -> Command:
    """Return what a parser accepts."""
    options: list[Taken] = []
    arguments: list[Taken] = []
    below: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                below.append(tree(inner, (*words, name), inner.description or ""))
        elif action.option_strings:
            options.append(_taken(action))
        else:
            arguments.append(_taken(action))
    return Command(words, summary or parser.description or "", tuple(options), tuple(arguments), tuple(below))


def _taken(action: argparse.Action) -> Taken:
    choices = tuple(str(each) for each in action.choices or ())
    shown = action.metavar if isinstance(action.metavar, str) else "|".join(choices) or action.dest.upper()
    return Taken(
        names=tuple(action.option_strings),
        help=action.help or "",
        value=_value(action, shown),
        shown=shown,
        choices=choices,
        optional=action.nargs in ("?", "*"),
        many=action.nargs in ("*", "+"),
    )


def _value(action: argparse.Action, shown: str) -> Value:
    if action.nargs == 0:
        return Value.NOTHING
    if shown == "DIR":
        return Value.FOLDER
    return Value.FILE if action.type is Path or shown == "FILE" else Value.WORD
