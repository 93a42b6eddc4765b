"""The command line as its users meet it: a process, with its own home, environment and state directory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from routerconsole.cli.entry import carry_out
from routerconsole.cli.parser import parse

COMMAND = [sys.executable, "-m", "routerconsole"]
SECONDS = 60.0


def environment(home: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    """An environment without anything of this machine's user that the program would read."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONUTF8": "1", **(more or {})}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be one JSON document."""
        return json.loads(self.out)


@dataclass
class Cli:
    """One user: home, configuration, state directory."""

    home: Path
    config: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.home / "state"

    def line(self, *arguments: str) -> list[str]:
        """The full command line."""
        config = [] if self.config is None else ["--config", str(self.config)]
        return [*COMMAND, *config, "--state-dir", str(self.state), *arguments]

    def __call__(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
        """Run a command to its end in this process, which saves starting an interpreter."""
        out, err = io.StringIO(), io.StringIO()
        typed = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        surroundings = environment(self.home, {**self.env, **(env or {})})
        with (
            mock.patch.dict(os.environ, surroundings, clear=True),
            mock.patch.object(sys, "stdin", typed),
            contextlib.chdir(self.home),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = carry_out(parse(self.line(*arguments)[len(COMMAND) :]))
        return Done(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
        """Run a command to its end in a process of its own."""
        done = subprocess.run(
            self.line(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.home,
            env=environment(self.home, {**self.env, **(env or {})}),
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, *arguments: str, ready: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """Run a command beside the test; gives it once a line starts with `ready`, and the rest of that line."""
        log = (self.home / f"{arguments[0]}.stderr").open("w+")
        process = subprocess.Popen(
            self.line(*arguments),
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.home,
            env=environment(self.home, self.env),
        )
        assert process.stdout is not None
        try:
            with in_time(process):
                line = process.stdout.readline()
            assert line.startswith(ready), (line, Path(log.name).read_text())
            yield process, line.removeprefix(ready).strip()
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait(60)
                process.stdout.close()
                log.close()


@contextmanager
def in_time(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process whose output is waited for in vain, so that the test fails instead of hanging."""
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def active(text: str) -> set[str]:
    """The characters in a text that a terminal would act on or hide, line ends aside."""
    return {char for char in text if char != "\n" and not char.isprintable()}
