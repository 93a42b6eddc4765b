"""The command line's grammar: every command with its module, which is imported only when the command is run.

Global options stand before or after the command. Nothing here imports more than argparse.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from routerconsole import __version__

LEVELS = ("debug", "info", "warning", "error")
CONSOLE_FLAGS = ("read_only", "ascii", "slow", "on_hangup")
_MODULES = "routerconsole.cli"
_MAX_PORT = 65535

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

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=2, cutoff=0.5)
        what = "command" if action.dest in ("command", "verb") else action.dest
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(map(str, choices))}"
        raise argparse.ArgumentError(None, f"unknown {what} {value!r}{hint}")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the arguments, with `module` and `function` naming what runs them; exits on --help, --version, errors."""
    parser = build()
    args = parser.parse_args(argv)
    given = [flag for flag in CONSOLE_FLAGS if flag in args]
    if args.command is None:
        args.module, args.function = f"{_MODULES}.console", "run"
    elif given and args.command not in ("console", "attach", "demo"):
        parser.error(f"--{given[0].replace('_', '-')} belongs to console, attach and demo, not to {args.command}")
    if args.command in (None, "console") and args.url:
        args.function = "attach"  # an engine was named: its console is meant, not one of our own
    wrong = next((text for text in _texts(args) if not _is_text(text)), None)
    if wrong is not None:
        parser.error(f"{wrong!r} is not valid UTF-8")
    for flag in CONSOLE_FLAGS:
        if flag not in args:
            setattr(args, flag, "headless" if flag == "on_hangup" else False)
    return args


def _texts(args: argparse.Namespace) -> Iterable[str]:
    """Yield every text given; paths are left out, since a file may have any name."""
    for value in vars(args).values():
        yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str))


def _is_text(value: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in value)


def build() -> Parser:
    """Return the whole grammar."""
    shared = _globals()
    parser = Parser(
        prog="routerconsole",
        description="Route, watch, explain and fix LLM traffic. Without a command: the console with its engine.",
        parents=[shared, _console_flags()],
    )
    parser.add_argument("--version", action="version", version=f"routerconsole {__version__}")
    parser.set_defaults(config=None, state_dir=None, url=None, token_file=None, json=False, log_level="warning")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    add = _adder(commands, _globals())  # its own copies: set_defaults above wrote None into the shared ones
    _processes(add)
    _live(add)
    _targets(add)
    _log(add)
    _config(add)
    return parser


Adder = Callable[..., Parser]


def _adder(commands: Commands, *parents: argparse.ArgumentParser) -> Adder:
    def add(name: str, summary: str, *more: argparse.ArgumentParser) -> Parser:
        made: Parser = commands.add_parser(name, help=summary, description=summary, parents=[*parents, *more])
        return made

    return add


def _verbs(parser: Parser) -> Adder:
    """Return what adds the second words of a command, which all take the global options too."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    return _adder(verbs, _globals())


def _runs(parser: argparse.ArgumentParser, module: str, function: str = "run") -> None:
    parser.set_defaults(module=f"{_MODULES}.{module}", function=function)


def _globals() -> argparse.ArgumentParser:
    """The options of every command; SUPPRESS keeps one given before a command from being reset after it."""
    made = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = made.add_argument_group("options of every command")
    group.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    group.add_argument("--state-dir", type=Path, metavar="DIR", help="state directory")
    group.add_argument("--url", metavar="URL", help="a running engine, instead of the state directory's")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="token for that engine")
    group.add_argument("--json", action="store_true", help="print one JSON document")
    group.add_argument("--log-level", choices=LEVELS, help="diagnostics on stderr (default: warning)")
    return made


def _console_flags() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = made.add_argument_group("console")
    group.add_argument("--read-only", action="store_true", help="look, change nothing")
    group.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    group.add_argument("--slow", action="store_true", help="one update a second")
    group.add_argument(
        "--on-hangup", choices=("headless", "exit"), help="what a lost terminal leaves behind (default: headless)"
    )
    return made


def _option(*names: str, **settings: Any) -> argparse.ArgumentParser:
    """One option as a parent for several commands."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(*names, **settings)
    return made


def _plain() -> argparse.ArgumentParser:
    return _option("--plain", action="store_true", help="one `key: value` sentence per item (screen readers)")


def _dry_run() -> argparse.ArgumentParser:
    return _option("--dry-run", action="store_true", help="show before → after, change nothing")


def _limit(default: int) -> argparse.ArgumentParser:
    return _option("--limit", type=count, default=default, metavar="N", help=f"at most N items (default {default})")


def _filter() -> argparse.ArgumentParser:
    return _option("--filter", metavar="TEXT", help="only what has TEXT in its id, model, provider or chain")


def _processes(add: Adder) -> None:
    _runs(add("console", "the console with its engine, or on the one that runs", _console_flags()), "console")
    demo = add("demo", "a simulated fleet with faults and traffic", _console_flags())
    demo.add_argument("--seconds", type=seconds, metavar="N", help="end after N seconds (headless: 60)")
    demo.add_argument("--seed", type=int, metavar="N", help="repeatable traffic")
    demo.add_argument("--headless", action="store_true", help="one line per request instead of the console")
    _runs(demo, "demo")
    serve = add("serve", "the engine without a console")
    serve.add_argument("--host", metavar="H", help="address to listen on (default: server.host)")
    serve.add_argument("--port", type=port, metavar="P", help="port, 0 for a free one (default: server.port)")
    _runs(serve, "serve")
    attach = add("attach", "the console on a running engine", _console_flags())
    attach.add_argument("url", nargs="?", default=argparse.SUPPRESS, metavar="URL", help="the engine's address")
    _runs(attach, "console", "attach")
    simulate = add("simulate", "a scripted OpenAI-dialect upstream")
    simulate.add_argument("--port", type=port, default=0, metavar="P", help="port (default: a free one)")
    simulate.add_argument("--script", type=Path, metavar="F", help="YAML script of models and faults")
    _runs(simulate, "simulate")


def _live(add: Adder) -> None:
    _runs(add("env", "shell lines that point OpenAI clients at the running engine"), "env")
    status = add("status", "providers, circuits, gates and rates as they are now", _plain())
    status.add_argument("--plot", action="store_true", help="latency per provider as a chart")
    _runs(status, "status")
    explain = add("explain", "what the router would do with a request; nothing is sent", _plain())
    explain.add_argument("--model", metavar="M", help="model, pool, provider/model (default: the body's, or auto)")
    explain.add_argument("--needs", type=words, default=(), metavar="A,B", help="needs to add, e.g. tools,vision")
    explain.add_argument("--body", metavar="FILE", help="a chat body as JSON, - for stdin")
    _runs(explain, "explain")
    complete = add("complete", "one request through the engine")
    complete.add_argument("prompt", metavar="PROMPT", help="what to ask, - for stdin")
    complete.add_argument("--model", metavar="M", help="model, pool, provider/model (default: auto)")
    complete.add_argument("--image", type=Path, metavar="FILE", help="send an image along")
    complete.add_argument("--stream", action="store_true", help="print the answer as it arrives")
    _runs(complete, "complete")


def _targets(add: Adder) -> None:
    for command, metavar, what in (
        ("providers", "NAME", "a provider"),
        ("routes", "PROVIDER/MODEL", "a route (all accounts)"),
    ):
        parser = add(command, f"list, watch over and change {command}")
        verb = _verbs(parser)
        _runs(verb("list", f"{command} with health, circuit and gate", _plain()), "targets", f"list_{command}")
        target = _option("target", metavar=metavar, help=what)
        ttl = _option(
            "--ttl", type=duration, default=900.0, metavar="T", help="how long, e.g. 90s or 15m (the default)"
        )
        cut = _option("--cancel-in-flight", action="store_true", help="cut what runs there too")
        for name, summary, more in (
            ("enable", "take requests again", ()),
            ("disable", "no new requests, remembered over restarts", (cut,)),
            ("drain", "no new requests until enabled or restarted", (cut,)),
            (
                "reset",
                "close the circuit and clear faults",
                (_option("--gates", action="store_true", help="clear rate, overload and quota gates too"),),
            ),
            ("isolate", "take out for a while", (ttl, cut)),
            ("force-close", "admit whatever the breaker says, for a while", (ttl,)),
            (
                "priority",
                f"change the order of {command} (lower is tried first)",
                (_option("priority", type=int, metavar="N", help="the new priority"),),
            ),
        ):
            _runs(verb(name, summary, target, *more, _dry_run()), "targets", f"change_{command}")
        _runs(
            verb("probe", "check reachability now; exit 1 if unhealthy", target, _plain(), _dry_run()),
            "targets",
            "probe",
        )


def _log(add: Adder) -> None:
    verb = _verbs(add("requests", "the request log"))
    chosen = (
        _filter(),
        _option("--status", choices=("ok", "failed", "cancelled", "truncated", "in_flight"), help="only these"),
        _option("--provider", metavar="NAME", help="only those it served"),
    )
    page = _option("--before", metavar="CURSOR", help="continue below a page (its `next`)")
    _runs(verb("list", "requests, newest first", *chosen, _limit(50), page, _plain()), "requests", "list_")
    one = _option("id", metavar="ID", help="a request's id, or a part only it has")
    _runs(verb("show", "one request in full, with its waterfall", one, _plain()), "requests", "show")
    _runs(verb("tail", "requests as they finish, until Ctrl-C", _filter(), _limit(10), _plain()), "tail")
    export = verb("export", "the log as JSON lines or CSV", *chosen, _limit(100_000))
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    export.add_argument("--out", type=Path, metavar="FILE", help="a new file, 0600 (default: stdout)")
    _runs(export, "export")
    _runs(verb("cancel", "stop a request in flight", one, _dry_run()), "requests", "cancel")
    replay = verb("replay", "send a kept request again", one, _dry_run())
    replay.add_argument("--models", type=words, default=(), metavar="A,B", help="once per model (default: its own)")
    _runs(replay, "requests", "replay")
    verb = _verbs(add("failures", "recent failed attempts"))
    _runs(verb("list", "failed attempts, newest first", _limit(100), _plain()), "records", "list_failures")
    _runs(verb("clear", "empty the list", _dry_run()), "records", "clear_failures")
    verb = _verbs(add("audit", "what operators changed"))
    _runs(verb("list", "changes, newest first", _limit(100), _plain()), "records", "list_audit")


def _config(add: Adder) -> None:
    verb = _verbs(add("config", "check, show, write configuration"))
    _runs(verb("check", "validate; exit 2 if it cannot be used"), "config", "check")
    _runs(verb("show", "the effective configuration, secrets masked"), "config", "show")
    out = _option("--out", type=Path, metavar="FILE", help="a new file")
    _runs(verb("init", "write a first file from what is found here", out), "config", "init")
    _runs(verb("export", "the effective configuration as YAML that loads again", out), "config", "export")


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def count(text: str) -> int:
    """Return a whole number above 0; raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


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


def commands_of(parser: argparse.ArgumentParser) -> Iterable[str]:
    """Return every command as typed, e.g. `requests list`, for docs and tests."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from (f"{name} {more}" for more in commands_of(below))
