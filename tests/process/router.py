"""`python -m routerconsole serve` as a process: started, asked, signalled, and always ended."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

READY = "routerconsole listening on "
PATIENCE_S = 60.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE_S) -> None:
    """Return once something outside this process is so; there is nothing to be woken by, so look often."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.005)


@dataclass(slots=True)
class Router:
    """One process; `out` and `err` are what it wrote so far."""

    process: subprocess.Popen[bytes]
    state: Path
    stdout: Path
    stderr: Path
    url: str = ""

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self.stdout.read_text(errors="replace")

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self.stderr.read_text(errors="replace")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def ready(self) -> Router:
        """Wait for the ready line."""
        until(lambda: self.out.startswith(READY) or self.process.poll() is not None, "ready")
        assert self.out.startswith(READY), f"exit {self.process.poll()}: {self.err}"
        self.url = self.out.splitlines()[0].removeprefix(READY)
        return self

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def ended(self, seconds: float = PATIENCE_S) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(seconds)

    def token(self, name: str) -> str:
        """The `admin` or `client` token."""
        return (self.state / f"{name}.token").read_text().strip()

    def link(self) -> http.client.HTTPConnection:
        """A fresh connection; close it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, token: str = "admin") -> tuple[int, Any]:
        """One exchange: status and decoded body."""
        with closing(self.link()) as link:
            head = {"authorization": f"Bearer {self.token(token)}", "content-type": "application/json"}
            link.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), head)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())

    def chat(self, text: str = "hello", **more: Any) -> tuple[int, Any]:
        """One chat completion."""
        body = {"messages": [{"role": "user", "content": text}], **more}
        return self.ask("/v1/chat/completions", body, token="client")

    def stream(self, text: str = "hello", **more: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A chat completion whose events are still to be read; close the connection."""
        link = self.link()
        body = {"messages": [{"role": "user", "content": text}], "stream": True, **more}
        head = {"authorization": f"Bearer {self.token('client')}", "content-type": "application/json"}
        link.request("POST", "/v1/chat/completions", json.dumps(body), head)
        return link, link.getresponse()

    def status(self) -> Any:
        """The status of the control plane."""
        return self.ask("/api/v1/router/status")[1]

    def control(self, name: str, action: str, **more: Any) -> tuple[int, Any]:
        """A provider action."""
        return self.ask(f"/api/v1/router/providers/{name}/control", {"action": action, **more})


class Bench:
    """Starts routers below one directory and ends whatever is left of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._routers: list[Router] = []

    def environment(self, **more: str) -> dict[str, str]:
        """An environment without anything of this machine's user that the program would look at."""
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**keep, "HOME": str(self.place), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def start(
        self,
        config: str | None,
        *arguments: str,
        state: str = "state",
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        through: Sequence[str] = (),
        umask: int = -1,
    ) -> Router:
        """Start a router; without `--port` it takes a free one. `options` come first, `through` is a launcher."""
        number = len(self._routers)
        command = [*through, sys.executable, "-m", "routerconsole", *options, "--state-dir", str(self.place / state)]
        if config is not None:
            path = self.place / f"config{number}.yaml"
            path.write_text(config)
            path.chmod(0o600)
            command += ["--config", str(path)]
        command += ["serve", *arguments]
        if "--port" not in arguments:
            command += ["--port", "0"]
        out, err = self.place / f"out{number}", self.place / f"err{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.place,
                env=self.environment(**(env or {})),
                umask=umask,
            )
        router = Router(process, self.place / state, out, err)
        self._routers.append(router)
        return router

    def cli(self, *arguments: str, state: str = "state") -> subprocess.CompletedProcess[str]:
        """Run another command of the program."""
        return subprocess.run(
            [sys.executable, "-m", "routerconsole", "--state-dir", str(self.place / state), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=self.place,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def end(self) -> None:
        """Kill what still runs."""
        for router in self._routers:
            if router.process.poll() is None:
                router.process.kill()
            router.process.wait(60)


def without_powers() -> list[str]:
    """What makes a process of root's an ordinary one: it may not write what is read-only, nor bind a low port."""
    if os.geteuid() != 0:
        return []
    launcher = shutil.which("setpriv")
    if launcher is None:
        pytest.skip("root without setpriv cannot become less")
    return [launcher, "--bounding-set", "-dac_override,-dac_read_search,-net_bind_service"]


@contextmanager
def in_background(work: Callable[[], None], count: int = 1) -> Iterator[list[BaseException]]:
    """Run work on threads meanwhile; what they raised is in the list at the end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - handed to the test
            failed.append(exc)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield failed
    finally:
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads), "it never ended"
