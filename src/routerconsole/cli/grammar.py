"""What the command line's grammar is made of: the parser, groups and verbs, shared options, kinds of values."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LEVELS = ("debug", "info", "warning", "error")
MODULES = "routerconsole.cli"
_MAX_PORT = 65535
_CURSOR = re.compile(r"[0-9]{1,18}|[0-9a-f]{6}-[0-9a-f]{5,}", re.ASCII)

Commands = Any
"""argparse's subparsers action; its class is private and generic only in type stubs."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, no abbreviations and "did you mean" for commands and choices."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr and end with 2."""
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message)
        self.exit(2, f"routerconsole: {shown} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is left over here, where the command's own options are known to suggest one of them."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            wrong = next((each.partition("=")[0] for each in rest if each.startswith("--")), None)
            near = difflib.get_close_matches(wrong, self._option_string_actions, n=1, cutoff=0.6) if wrong else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=2, cutoff=0.5)
        what = "command" if action.dest in ("command", "verb", "deed") else action.dest.replace("_", "-")
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(map(str, choices))}"
        raise argparse.ArgumentError(None, f"unknown {what} {value!r}{hint}")


Adder = Callable[..., Parser]


def adder(commands: Commands, *parents: argparse.ArgumentParser) -> Adder:
    """Return what adds commands that all take `parents`' options."""

    def add(name: str, summary: str, *more: argparse.ArgumentParser) -> Parser:
        made: Parser = commands.add_parser(name, help=summary, description=summary, parents=[*parents, *more])
        return made

    return add


def verbs(parser: Parser, dest: str = "verb") -> Adder:
    """Return what adds the next words of a command, which all take the global options too."""
    below = parser.add_subparsers(dest=dest, metavar=dest.upper(), required=True, parser_class=Parser)
    return adder(below, global_options())


def runs(parser: argparse.ArgumentParser, module: str, function: str = "run") -> None:
    """Say which function of which module carries a command out."""
    parser.set_defaults(module=f"{MODULES}.{module}", function=function)


def global_options() -> argparse.ArgumentParser:
    """The options of every command; SUPPRESS keeps one given before a command from being reset after it."""
    made = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = made.add_argument_group("options of every command")
    group.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    group.add_argument("--state-dir", type=Path, metavar="DIR", help="state directory")
    group.add_argument("--url", metavar="URL", help="a running engine, instead of the state directory's")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="token for that engine")
    group.add_argument("--json", action="store_true", help="print one JSON document")
    group.add_argument("--log-level", choices=LEVELS, help="diagnostics on stderr (default: warning; info: requests)")
    group.add_argument("--log-format", choices=("text", "json"), help="json: one object a line (default: text)")
    return made


def option(*names: str, **settings: Any) -> argparse.ArgumentParser:
    """One option as a parent for several commands."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(*names, **settings)
    return made


def plain() -> argparse.ArgumentParser:
    """The option of every list."""
    return option("--plain", action="store_true", help="one `key: value` sentence per item (screen readers)")


def dry_run() -> argparse.ArgumentParser:
    """The option of every change."""
    return option("--dry-run", action="store_true", help="show before → after, change nothing")


def limit(default: int) -> argparse.ArgumentParser:
    """How much of a list that grows."""
    return option("--limit", type=count, default=default, metavar="N", help=f"at most N items (default {default})")


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def count(text: str) -> int:
    """Return a whole number above 0; raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def cursor(text: str) -> str:
    """Return the `next` of a page, or a request's id; raises ArgumentTypeError."""
    if not _CURSOR.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no cursor (take the `next` of a page, or a request's id)")
    return text


def port(text: str) -> int:
    """Return a port number; raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0-{_MAX_PORT})")
    return int(text)


def seconds(text: str) -> float:
    """Return seconds above 0; raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def duration(text: str) -> float:
    """Return the seconds of `90`, `90s`, `15m` or `2h`; raises ArgumentTypeError."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit, factor in units.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdecimal():
            return seconds(text[: -len(unit)]) * factor
    return seconds(text)
