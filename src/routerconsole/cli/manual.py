"""`routerconsole man`: the manual page, made of the grammar, the exit codes and the variables the program reads."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Final

from routerconsole import __version__
from routerconsole.cli.exits import MEANINGS
from routerconsole.cli.output import show_json
from routerconsole.cli.parser import build
from routerconsole.cli.tree import Command, Taken, Value, tree
from routerconsole.config.load import CONFIG_VARIABLE
from routerconsole.control.discovery import ADMIN_TOKEN_VARIABLE, CLIENT_TOKEN_VARIABLE, STATE_VARIABLE

ENVIRONMENT: Final = (
    (CONFIG_VARIABLE, "The configuration file, where --config names none."),
    (STATE_VARIABLE, "The state directory, where --state-dir names none."),
    (CLIENT_TOKEN_VARIABLE, "The token of programs, instead of the one in the state directory."),
    (ADMIN_TOKEN_VARIABLE, "The token of operators, instead of the one in the state directory."),
    ("NO_COLOR", "Draw without colours."),
)
FILES: Final = (
    ("./config/providers.yaml, $XDG_CONFIG_HOME/routerconsole/providers.yaml", "The configuration, first found."),
    ("$XDG_STATE_HOME/routerconsole", "State: two databases, two tokens, the address of the running engine."),
)


def run(args: argparse.Namespace) -> int:
    """Print the page as roff."""
    page = manual(tree(build()))
    if args.json:
        show_json({"page": page})
    else:
        print(page, end="")
    return 0


def manual(root: Command) -> str:
    """Return the page in the man macros, UTF-8."""
    everywhere = frozenset(name for option in root.options for name in option.names)
    lines = [
        f'.TH ROUTERCONSOLE 1 "" "routerconsole {_roff(__version__)}" "User Commands"',
        *_section("NAME", [_roff("routerconsole - the LLM router with a console")]),
        *_section("SYNOPSIS", [".B routerconsole", _roff("[OPTIONS] [COMMAND …]")]),
        *_section("DESCRIPTION", [_roff(root.help)]),
        *_section("OPTIONS", _listed(root.options)),
        *_section("COMMANDS", (line for each in root.walk() if each.words for line in _command(each, everywhere))),
        *_section("EXIT STATUS", (line for code, text in MEANINGS.items() for line in _item(str(code.value), text))),
        *_section("ENVIRONMENT", (line for name, text in ENVIRONMENT for line in _item(name, text))),
        *_section("FILES", (line for name, text in FILES for line in _item(name, text))),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f'.SH "{title}"'
    yield from lines


def _item(name: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_roff(name)}\\fR"
    yield _roff(text)


def _command(command: Command, everywhere: frozenset[str]) -> Iterator[str]:
    """Yield one command; groups only say what they are, since their verbs follow."""
    arguments = "".join(f" \\fI{_roff(_argument(each))}\\fR" for each in command.arguments)
    yield ".TP"
    yield f"\\fB{_roff(' '.join(command.words))}\\fR{arguments}"
    yield _roff(command.help)
    inside = [
        *command.arguments,
        *(option for option in command.options if not everywhere.intersection(option.names)),
    ]
    if inside:
        yield ".RS"
        yield from _listed(inside)
        yield ".RE"


def _argument(taken: Taken) -> str:
    shown = taken.shown + (" …" if taken.many else "")
    return f"[{shown}]" if taken.optional else shown


def _listed(taken: Iterable[Taken]) -> Iterator[str]:
    for each in taken:
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in each.names)
        value = "" if each.value is Value.NOTHING else f"\\fI{_roff(each.shown)}\\fR"
        yield ".TP"
        yield " ".join(part for part in (names, value) if part)
        yield _roff(each.help)


def _roff(text: str) -> str:
    """Return a text that roff prints as it is: one line, no escapes, no requests, hyphens to copy."""
    plain = " ".join(text.split()).replace("\\", "\\[rs]").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain or "\\&"
