"""From what went wrong to an exit code and a line on stderr."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.stand import COMMAND, environment

from routerconsole.cli.exits import Exit, Stop, explain
from routerconsole.config.problems import ConfigError, Problem
from routerconsole.control.new_file import ExportRefusedError
from routerconsole.control.port import ControlError, EngineUnreachable
from routerconsole.simulator.script import ScriptError
from routerconsole.storage.errors import AlreadyRunning, NewerSchema, Reason, StorageUnavailable, UnsafePlace
from routerconsole.wiring import CannotStart

STATE = Path("/state")


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (ConfigError([Problem("f", 1, "a", "x"), Problem("f", 2, "b", "y")]), 2),
        (CannotStart("port in use"), 2),
        (ScriptError("models: wrong"), 2),
        (UnsafePlace("a link"), 2),
        (StorageUnavailable(Reason.CORRUPT, "log.db"), 2),
        (NewerSchema(STATE, "0099"), 3),
        (AlreadyRunning(STATE, 17), 5),
        (EngineUnreachable("none"), 4),
        (ControlError("invalid_request", "no"), 2),
        (ControlError("not_found", "no", status=404), 2),
        (ControlError("unauthorized", "no", status=401), 5),
        (ControlError("forbidden", "no", status=403), 5),
        (ControlError("conflict", "no", status=409), 5),
        (ControlError("storage_unavailable", "no", status=503), 5),
        (ExportRefusedError("f already exists; choose a new file"), 5),
        (ExportRefusedError("f cannot be created: No such file or directory"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"), 2),
        (Stop(Exit.PROBLEMS, "failed"), 1),
        (ZeroDivisionError("a bug"), 1),
    ],
)
def test_each_failure_has_its_code_and_its_lines(exc: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on stdout, every line of a problem on stderr behind the program's name, no traceback."""
    assert explain(exc) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == len(str(exc).splitlines())
    assert all(line.startswith("routerconsole: ") for line in lines)


def test_an_interrupt_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """130 and silence: whoever pressed the key knows."""
    assert explain(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_what_went_wrong_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    """An engine's message may quote an upstream: no control character and no key reaches the terminal."""
    explain(ControlError("x", "model '\x1b[2J' and sk-abcdefghijklmnopqrstuvwx0123456789", status=409))
    shown = capsys.readouterr().err
    assert "\\x1b[2J" in shown
    assert "sk-abcdefghijklmnopqrstuvwx0123456789" not in shown


@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [(">/dev/full", 2, "No space left"), (">&-", 0, ""), ("2>&- </dev/null", 0, "")],
)
def test_streams_that_cannot_be_written(tmp_path: Path, redirect: str, code: int, said: str) -> None:
    """A full or closed stream ends in a code of the table, never in a traceback or the interpreter's own 120."""
    script = f'"$@" config check {redirect}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "x", *COMMAND],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_locale_without_the_characters_costs_nothing(tmp_path: Path) -> None:
    """Arrows and dashes are escaped where the terminal's encoding lacks them."""
    code = "import sys; from routerconsole.cli.entry import _prepare_streams as p; p(); print('a → b')"
    env = {**environment(tmp_path), "PYTHONIOENCODING": "ascii"}
    del env["PYTHONUTF8"]
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (0, "a \\u2192 b\n")


@pytest.mark.parametrize("flag", ["--help", "--version"])
@pytest.mark.parametrize(("sink", "code", "said"), [("| true", 0, ""), ("> /dev/full", 2, "No space left on device")])
def test_help_that_cannot_be_written_ends_as_any_output(
    flag: str, sink: str, code: int, said: str, tmp_path: Path
) -> None:
    """A reader that has gone is no error, a full disk is one line; the interpreter adds nothing."""
    script = f"set -o pipefail; {sys.executable} -m routerconsole {flag} {sink}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False
    )
    assert done.returncode == code
    assert done.stderr == (f"routerconsole: {said}\n" if said else "")


def test_a_closed_stdin_is_an_empty_one(tmp_path: Path) -> None:
    """`complete - <&-` says that the prompt is empty."""
    script = f"{sys.executable} -m routerconsole complete - <&-"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False
    )
    assert (done.returncode, done.stderr) == (2, "routerconsole: the prompt is empty\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_simulator_ends_by_signal_as_an_engine_does(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Ctrl-C is 130, SIGTERM 0, and neither says anything."""
    with subprocess.Popen(
        [*COMMAND, "simulate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("routerconsole simulator listening on ")
        process.send_signal(number)
        assert process.wait(60) == code
        assert process.stderr.read() == ""
