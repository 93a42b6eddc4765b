"""From arguments to an exit code: parse, set up output and logging, import one module, run it, explain a failure."""

from __future__ import annotations

import argparse
import os
import sys

from routerconsole.cli.parser import parse


def run(argv: list[str]) -> int:
    """Run one command and return its exit code; no exception and no traceback leaves here."""
    _prepare_streams()
    try:
        args = parse(argv)
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else 2)
    from routerconsole.cli import logs

    logs.set_up(args.log_level, os.environ, form=args.log_format)
    return carry_out(args)


def _prepare_streams() -> None:
    """Neither a closed stream nor a locale without the character costs a command."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for the life of the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        else:
            stream.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """Write out what --help or --version printed; a reader that has gone and a full disk are told as everywhere."""
    try:
        sys.stdout.flush()
    except OSError as exc:
        from routerconsole.cli.exits import explain

        return explain(exc)
    return code


def carry_out(args: argparse.Namespace) -> int:
    """Import what runs a parsed command, run it, and return its exit code; whatever it raises becomes one."""
    try:
        from importlib import import_module

        code: int = getattr(import_module(args.module), args.function)(args)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - the one place where every failure becomes a code
        from routerconsole.cli.exits import explain

        return explain(exc)
    return code
