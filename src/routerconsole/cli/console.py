"""The console on an engine: its own on a thread beside it, or a running one over HTTP (`attach`)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.console.options import ConsoleOptions, ExitReason
from routerconsole.console.terminal import terminal_problem, wants_ascii, wants_no_color

if TYPE_CHECKING:
    from routerconsole.cli.process import Beside
    from routerconsole.config.models import ConsoleSettings
    from routerconsole.wiring import Prepared

NO_TERMINAL = 2


def run(args: argparse.Namespace) -> int:
    """Open the console with an engine of its own, or on the one that already runs on this state directory."""
    if not terminal_is_fine():
        return NO_TERMINAL
    from routerconsole.control.discovery import state_directory
    from routerconsole.storage.lock import running_engine
    from routerconsole.wiring import EngineOptions, prepare

    place = state_directory(args.state_dir, os.environ)
    running = running_engine(place)
    if running is not None:
        print(
            f"routerconsole: an engine already runs here (pid {running.pid}, {running.url}); attaching", file=sys.stderr
        )
        return attach(args)
    prepared = prepare(EngineOptions(config=args.config, state_dir=args.state_dir), os.environ)
    return run_beside(prepared, args)


def attach(args: argparse.Namespace) -> int:
    """Open the console on a running engine; closing it never stops routing."""
    if not terminal_is_fine():
        return NO_TERMINAL
    from routerconsole.cli.session import remote_control
    from routerconsole.console.app import run_console

    control = remote_control(args)
    ending = run_console(control, console_options(args, None, title="attached", owns_engine=False))
    return ending.code


def run_beside(
    prepared: Prepared, args: argparse.Namespace, *, title: str = "router", beside: Beside | None = None
) -> int:
    """Run an engine on its own thread and the console on this one; what happens at the end is the operator's choice."""
    from routerconsole.cli.process import EngineThread

    engine = EngineThread(prepared, beside=beside)
    control = engine.start()
    from routerconsole.console.app import run_console

    options = console_options(args, prepared.config.settings.console, title=title, owns_engine=True)
    ending = run_console(control, options)
    if ending.reason is ExitReason.HANDOFF:
        print(f"routerconsole serves on at {prepared.url}; Ctrl-C stops it, `routerconsole attach` opens a console.")
        return engine.serve_on()
    if ending.reason is ExitReason.HANGUP and args.on_hangup == "headless":
        _let_go_of_terminal()
        return engine.serve_on()
    engine.stop()
    return ending.code


def terminal_is_fine() -> bool:
    """Say on stderr why there can be no console here, without an escape byte; return whether there can."""
    problem = terminal_problem()
    if problem is not None:
        print(f"routerconsole: {problem}", file=sys.stderr)
    return problem is None


def console_options(
    args: argparse.Namespace, settings: ConsoleSettings | None, *, title: str, owns_engine: bool
) -> ConsoleOptions:
    """Return a console's options from flags, configuration and environment."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    keys = {} if settings is None else settings.keys
    return ConsoleOptions(
        title=title,
        theme="routerconsole-dark" if settings is None else settings.theme,
        theme_folder=base / "routerconsole" / "themes",
        filters_file=base / "routerconsole" / "filters.yaml",
        read_only=args.read_only,
        ascii=args.ascii or wants_ascii(),
        slow=args.slow,
        no_color=wants_no_color(),
        owns_engine=owns_engine,
        keys=keys,
        max_fps=10 if settings is None else settings.max_fps,
    )


def _let_go_of_terminal() -> None:
    """Point the standard streams at nothing: writing to a terminal that is gone raises EIO."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
