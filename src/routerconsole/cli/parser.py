"""The command line's grammar: every command with its module, which is imported only when the command is run.

Global options stand before or after the command. Nothing here imports more than argparse.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from routerconsole import __version__
from routerconsole.cli.eval_grammar import eval_group
from routerconsole.cli.grammar import (
    MODULES,
    Adder,
    Parser,
    adder,
    count,
    cursor,
    dry_run,
    duration,
    global_options,
    limit,
    option,
    plain,
    port,
    runs,
    seconds,
    verbs,
    words,
)
from routerconsole.cli.registry_grammar import registry_groups
from routerconsole.cli.reward_grammar import reward_group
from routerconsole.cli.usage_grammar import usage_command

CONSOLE_FLAGS = ("read_only", "ascii", "slow", "on_hangup")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the arguments, with `module` and `function` naming what runs them; exits on --help, --version, errors."""
    parser = build()
    args = parser.parse_args(argv)
    given = [flag for flag in CONSOLE_FLAGS if flag in args]
    if args.command is None:
        args.module, args.function = f"{MODULES}.console", "run"
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
    shared = global_options()
    parser = Parser(
        prog="routerconsole",
        description="Route, watch, explain and fix LLM traffic. Without a command: the console with its engine.",
        parents=[shared, _console_flags()],
    )
    parser.add_argument("--version", action="version", version=f"routerconsole {__version__}")
    parser.set_defaults(config=None, state_dir=None, url=None, token_file=None, json=False)
    parser.set_defaults(log_level="warning", log_format="text")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    add = adder(commands, global_options())  # its own copies: set_defaults above wrote None into the shared ones
    _processes(add)
    _live(add)
    _targets(add)
    registry_groups(add)
    eval_group(add)
    reward_group(add)
    usage_command(add)
    _log(add)
    _config(add)
    _shell(add)
    return parser


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


def _filter() -> argparse.ArgumentParser:
    return option(
        "--filter",
        metavar="TERMS",
        help="only what passes, e.g. 'fo prov:groq code:429 lat>2s -cap:tools last:5m some text'; a lone `!` inverts;"
        " write --filter=-fo for one that begins with `-`",
    )


def _processes(add: Adder) -> None:
    runs(add("console", "the console with its engine, or on the one that runs", _console_flags()), "console")
    demo = add("demo", "a simulated fleet with faults and traffic", _console_flags())
    demo.add_argument("--seconds", type=seconds, metavar="N", help="end after N seconds (headless: 60)")
    demo.add_argument("--seed", type=int, metavar="N", help="repeatable traffic")
    demo.add_argument("--headless", action="store_true", help="one line per request instead of the console")
    runs(demo, "demo")
    serve = add("serve", "the engine without a console")
    serve.add_argument("--host", metavar="H", help="address to listen on (default: server.host)")
    serve.add_argument("--port", type=port, metavar="P", help="port, 0 for a free one (default: server.port)")
    runs(serve, "serve")
    attach = add("attach", "the console on a running engine", _console_flags())
    attach.add_argument("url", nargs="?", default=argparse.SUPPRESS, metavar="URL", help="the engine's address")
    runs(attach, "console", "attach")
    mcp = add("mcp", "pools as tools for other programs: an MCP server on stdin and stdout")
    mcp.add_argument("--print-config", action="store_true", help="print how a client registers this server")
    runs(mcp, "mcp")
    simulate = add("simulate", "a scripted OpenAI-dialect upstream")
    simulate.add_argument("--port", type=port, default=0, metavar="P", help="port (default: a free one)")
    simulate.add_argument("--script", type=Path, metavar="F", help="YAML script of models and faults")
    runs(simulate, "simulate")


def _live(add: Adder) -> None:
    runs(add("env", "shell lines that point OpenAI clients at the running engine"), "env")
    status = add("status", "providers, circuits, gates and rates as they are now", plain())
    status.add_argument("--plot", action="store_true", help="latency per provider as a chart")
    runs(status, "status")
    explain = add("explain", "what the router would do with a request; nothing is sent", plain())
    explain.add_argument("--model", metavar="M", help="model, pool, provider/model (default: the body's, or auto)")
    explain.add_argument("--needs", type=words, default=(), metavar="A,B", help="needs to add, e.g. tools,vision")
    explain.add_argument("--body", metavar="FILE", help="a chat body as JSON, - for stdin")
    runs(explain, "explain")
    complete = add("complete", "one request through the engine")
    complete.add_argument("prompt", metavar="PROMPT", help="what to ask, - for stdin")
    complete.add_argument("--model", metavar="M", help="model, pool, provider/model (default: auto)")
    complete.add_argument("--image", type=Path, metavar="FILE", help="send an image along")
    complete.add_argument("--stream", action="store_true", help="print the answer as it arrives")
    runs(complete, "complete")


def _targets(add: Adder) -> None:
    for command, metavar, what in (
        ("providers", "NAME", "a provider"),
        ("routes", "PROVIDER/MODEL", "a route (all accounts)"),
    ):
        parser = add(command, f"list, watch over and change {command}")
        verb = verbs(parser)
        runs(verb("list", f"{command} with health, circuit and gate", plain()), "targets", f"list_{command}")
        target = option("target", metavar=metavar, help=what)
        ttl = option("--ttl", type=duration, default=900.0, metavar="T", help="how long, e.g. 90s or 15m (the default)")
        cut = option("--cancel-in-flight", action="store_true", help="cut what runs there too")
        for name, summary, more in (
            ("enable", "take requests again; also ends isolate and force-close early", ()),
            ("disable", "no new requests, remembered over restarts", (cut,)),
            ("drain", "no new requests until enabled or restarted", (cut,)),
            (
                "reset",
                "close the circuit and clear faults",
                (option("--gates", action="store_true", help="clear rate, overload and quota gates too"),),
            ),
            ("isolate", "take out for a while", (ttl, cut)),
            ("force-close", "admit whatever the breaker says, for a while", (ttl,)),
            (
                "priority",
                f"change the order of {command} (lower is tried first)",
                (option("priority", type=int, metavar="N", help="the new priority"),),
            ),
        ):
            runs(verb(name, summary, target, *more, dry_run()), "targets", f"change_{command}")
        runs(
            verb("probe", "check reachability now; exit 1 if unhealthy", target, plain(), dry_run()),
            "targets",
            "probe",
        )


def _log(add: Adder) -> None:
    verb = verbs(add("requests", "the request log"))
    chosen = (
        _filter(),
        option("--status", choices=("ok", "failed", "cancelled", "truncated", "in_flight"), help="only these"),
        option("--provider", metavar="NAME", help="only those it served"),
    )
    page = option("--before", type=cursor, metavar="CURSOR", help="continue below a page (its `next`)")
    runs(verb("list", "requests, newest first", *chosen, limit(50), page, plain()), "requests", "list_")
    one = option("id", metavar="ID", help="a request's id, or a part only it has")
    runs(verb("show", "one request in full, with its waterfall", one, plain()), "requests", "show")
    runs(verb("tail", "requests as they finish, until Ctrl-C", _filter(), limit(10), plain()), "tail")
    export = verb("export", "the log as JSON lines or CSV", *chosen, limit(100_000))
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    export.add_argument("--out", type=Path, metavar="FILE", help="a new file, 0600 (default: stdout)")
    runs(export, "export")
    runs(verb("cancel", "stop a request in flight", one, dry_run()), "requests", "cancel")
    replay = verb("replay", "send a kept request again", one, dry_run())
    replay.add_argument("--models", type=words, default=(), metavar="A,B", help="once per model (default: its own)")
    runs(replay, "requests", "replay")
    verb = verbs(add("failures", "recent failed attempts"))
    runs(verb("list", "failed attempts, newest first", limit(100), plain()), "records", "list_failures")
    runs(verb("clear", "empty the list", dry_run()), "records", "clear_failures")
    verb = verbs(add("audit", "what operators changed"))
    runs(verb("list", "changes, newest first", limit(100), plain()), "records", "list_audit")
    undo = add("undo", "reverse a change of the registry", dry_run())
    undo.add_argument("audit_id", nargs="?", type=count, metavar="AUDIT_ID", help="default: the last one that can be")
    runs(undo, "registry", "undo")


def _config(add: Adder) -> None:
    verb = verbs(add("config", "check, show, write configuration"))
    runs(verb("check", "validate; exit 2 if it cannot be used"), "config", "check")
    runs(verb("show", "the effective configuration, secrets masked"), "config", "show")
    out = option("--out", type=Path, metavar="FILE", help="a new file")
    runs(verb("init", "write a first file from what is found here", out), "config", "init")
    runs(verb("export", "the effective configuration as YAML that loads again", out), "config", "export")


def _shell(add: Adder) -> None:
    completions = add("completions", "a script that completes commands and options, to be sourced")
    completions.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    runs(completions, "completions")
    runs(add("man", "this program's manual page, for `man -l -`"), "manual")
    unit = add("unit", "a systemd unit that keeps an engine running; printed, not installed")
    unit.add_argument("--system", action="store_true", help="for the machine instead of for you (systemctl --user)")
    unit.add_argument("--host", metavar="H", help="address to listen on (default: server.host)")
    unit.add_argument("--port", type=port, metavar="P", help="port (default: server.port)")
    runs(unit, "unit")


def commands_of(parser: argparse.ArgumentParser) -> Iterable[str]:
    """Return every command as typed, e.g. `requests list`, for docs and tests."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from (f"{name} {more}" for more in commands_of(below))
