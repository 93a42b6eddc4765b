"""One headless router process as acceptance runs and benchmarks use it: start, kill, restart, run its CLI."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.acceptance.live import READY, Client, Json, resident_mb, router_command


class Engine:
    """One headless router: its configuration, its state directory and, while it runs, its process."""

    def __init__(self, config: Path, state_dir: Path, *, core: int | None = None, env: Mapping[str, str] | None = None):
        self.config, self.state_dir = config, state_dir
        self.env = {**os.environ, **(env or {})}
        self.url = ""
        self.started_in = 0.0
        self._pin = [] if core is None else ["taskset", "-c", str(core)]
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        """The running process; raises RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError("the engine was not started")
        return self._process

    def command(self, *arguments: str) -> list[str]:
        """The command line for `arguments` on this configuration and state directory."""
        return [
            *self._pin,
            *router_command(),
            "--config",
            str(self.config),
            "--state-dir",
            str(self.state_dir),
            *arguments,
        ]

    def start(self, *, seconds: float = 20.0) -> Engine:
        """Start serving on a free port; raises RuntimeError with the log's end when no ready line comes."""
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log = (self.state_dir.parent / f"{self.state_dir.name}.stderr").open("a")
        begun = time.monotonic()
        self._process = subprocess.Popen(
            self.command("serve", "--port", "0"),
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.env,
        )
        watchdog = threading.Timer(seconds, self._process.kill)
        watchdog.start()
        line = next(self.lines(), "")
        watchdog.cancel()
        self.started_in = time.monotonic() - begun
        if not line.startswith(READY):
            self.kill()
            raise RuntimeError(f"no ready line but {line!r}; stderr ends: {Path(self._log.name).read_text()[-2000:]}")
        self.url = line.removeprefix(READY).strip()
        return self

    def lines(self) -> Iterator[str]:
        """The standard output of the running engine, line by line."""
        return iter(self.process.stdout or ())

    def client(self, *, timeout: float = 30.0) -> Client:
        """A client with the client token."""
        return Client(self.url, self.token("client"), timeout=timeout)

    def admin(self, *, timeout: float = 30.0) -> Client:
        """A client with the admin token."""
        return Client(self.url, self.token("admin"), timeout=timeout)

    def token(self, kind: str) -> str:
        """The `client` or `admin` token of the state directory."""
        return (self.state_dir / f"{kind}.token").read_text().strip()

    def run(self, *arguments: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One CLI command on the same configuration and state directory."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=seconds, env=self.env, check=False
        )

    def shell(
        self, command: Sequence[str], *, seconds: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a client the documented way: `eval "$(routerconsole env)"` in a shell, then the command."""
        script = (
            f'set -e; exported="$({shlex.join(self.command("env"))})"; eval "$exported"; exec {shlex.join(command)}'
        )
        clean = {k: v for k, v in {**self.env, **(env or {})}.items() if not k.startswith("OPENAI_")}
        return subprocess.run(
            ["/bin/bash", "-c", script], capture_output=True, text=True, timeout=seconds, env=clean, check=False
        )

    def kill(self) -> None:
        """`kill -9`, and wait for the process to be gone."""
        self.process.kill()
        self._reap(10)

    def stop(self, *, seconds: float = 20.0) -> int:
        """SIGTERM, drain and wait; returns the exit code; raises subprocess.TimeoutExpired when it hangs."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._reap(seconds)

    def _reap(self, seconds: float) -> int:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self._log is not None:
            self._log.close()
        return code

    def resident_mb(self) -> float:
        """Resident memory in MB (VmRSS)."""
        return resident_mb(self.process.pid)


MakeEngine = Callable[[Json], Engine]  # the type of conftest's `make_engine`
