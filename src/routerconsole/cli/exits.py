"""One table from what went wrong to the exit codes of interface.md §3, said in one line (or one per problem) on stderr.

0 ok · 1 the check found problems · 2 usage or configuration · 3 newer state · 4 no engine · 5 refused · 130 Ctrl-C
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from routerconsole.cli import logs
from routerconsole.domain.visible import BLOCK_LIMIT, visible

log = logging.getLogger(__name__)


class Exit(IntEnum):
    """Every exit code a command can end with."""

    OK = 0
    PROBLEMS = 1
    USAGE = 2
    NEWER_STATE = 3
    NO_ENGINE = 4
    REFUSED = 5
    INTERRUPTED = 130


MEANINGS: Final[Mapping[Exit, str]] = {
    Exit.OK: "ok",
    Exit.PROBLEMS: "the check itself found problems",
    Exit.USAGE: "usage or configuration error",
    Exit.NEWER_STATE: "state written by a newer version",
    Exit.NO_ENGINE: "no engine reachable",
    Exit.REFUSED: "refused (token, conflict)",
    Exit.INTERRUPTED: "interrupted",
}
"""What each code says, for the manual page and the reference."""


class Stop(Exception):
    """A command ends here, with this code and this sentence."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def explain(exc: BaseException) -> int:
    """Say on stderr what went wrong and return the exit code."""
    if isinstance(exc, BrokenPipeError):
        _drop_output()
        return Exit.OK  # who read our output has seen enough
    if isinstance(exc, KeyboardInterrupt):
        return Exit.INTERRUPTED
    code, lines = _judged(exc)
    for line in lines:
        say(line)
    try:
        sys.stdout.flush()
    except OSError:  # a full disk, say: the interpreter would try again at exit
        _drop_output()
    log.debug("the command ended with", exc_info=exc)
    return code


def say(line: str) -> None:
    """Print one diagnostic line on stderr, secrets taken out and nothing in it active."""
    print(f"routerconsole: {visible(logs.redact(line), BLOCK_LIMIT)}", file=sys.stderr)


def _judged(exc: BaseException) -> tuple[Exit, list[str]]:
    """Return code and lines.

    1 our own stops · 2 the engine's answers · 3 configuration and start · 4 the state directory · 5 files · 6 bugs
    """
    from routerconsole.control.port import ControlError, EngineUnreachable

    text = str(exc)
    if isinstance(exc, Stop):  # 1
        return exc.code, [text]
    if isinstance(exc, EngineUnreachable):  # 2
        return Exit.NO_ENGINE, [text]
    if isinstance(exc, ControlError):
        return (Exit.USAGE if exc.status in (400, 404, 413, 415, 422) else Exit.REFUSED), [text]
    kind = {
        base.__name__ for base in type(exc).__mro__
    }  # by name: importing them all would cost what failed early saved
    if "ConfigError" in kind:  # 3
        return Exit.USAGE, text.splitlines()
    if kind & {"CannotStart", "ScriptError"}:
        return Exit.USAGE, [text]
    if "ExportRefusedError" in kind:
        return (Exit.REFUSED if "already exists" in text else Exit.USAGE), [text]
    if "NewerSchema" in kind:  # 4
        return Exit.NEWER_STATE, [text]
    if "AlreadyRunning" in kind:
        return Exit.REFUSED, [text]
    if "StorageError" in kind:
        return Exit.USAGE, [text]
    if isinstance(exc, OSError):  # 5
        return Exit.USAGE, [_said(exc)]
    return Exit.PROBLEMS, [f"internal error: {type(exc).__name__}: {text} (`--log-level debug` shows where)"]  # 6


def _said(exc: OSError) -> str:
    why = exc.strerror or str(exc) or type(exc).__name__
    return f"{exc.filename}: {why}" if exc.filename is not None else why


def _drop_output() -> None:
    """Point stdout at nothing, or the interpreter complains about the pipe once more at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
