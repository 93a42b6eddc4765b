"""What acceptance runs and benchmarks share: a small client of the public contract, load, waiting, the program's name.

It imports nothing of the project, so it can drive any build of it: $ROUTERCONSOLE_COMMAND names another one.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")
Json = dict[str, Any]  # a decoded JSON object of the contract; tests look into it by key

ROOT = Path(__file__).resolve().parents[2]
READY = "routerconsole listening on "


def router_command() -> list[str]:
    """The program under test: $ROUTERCONSOLE_COMMAND, else the entry point beside this interpreter, else the module."""
    if given := os.environ.get("ROUTERCONSOLE_COMMAND"):
        return shlex.split(given)
    beside = Path(sys.executable).with_name("routerconsole")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "routerconsole"]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ask: Callable[[], T], what: str, *, seconds: float = 20.0, every: float = 0.02) -> T:
    """Ask until the answer is truthy and return it; raises TimeoutError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
    return answer


def answers(url: str, *, status: int | None = None) -> bool:
    """Whether anything speaks HTTP at this address, with this status if one is given."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=1)) as link:
        try:
            link.request("GET", parts.path or "/")
            reply = link.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            return False
        return status is None or reply.status == status


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP reply: status, headers (lower case) and the decoded body."""

    status: int
    headers: Mapping[str, str]
    body: Json


class Client:
    """A blocking client for one engine; one connection per call, so it may be shared by threads."""

    def __init__(self, url: str, token: str, *, timeout: float = 30.0) -> None:
        self.url, self.token, self.timeout = url.rstrip("/"), token, timeout

    def _send(
        self, method: str, path: str, body: Json | None, headers: Mapping[str, str]
    ) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        raw = None if body is None else json.dumps(body)
        typed = {} if raw is None else {"content-type": "application/json"}
        link.request(method, path, raw, {"authorization": f"Bearer {self.token}", **typed, **headers})
        return link

    def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> Answer:
        """One exchange; header names are given with underscores; raises OSError when the link breaks."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(self._send(method, path, body, named)) as link:
            reply = link.getresponse()
            raw = reply.read()
            got = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, got, json.loads(raw) if raw.startswith((b"{", b"[")) else {"raw": raw.decode()})

    def get(self, path: str) -> Json:
        """The body of a GET that must answer 200."""
        answer = self.call("GET", path)
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body}")
        return answer.body

    def chat(self, body: Json, **headers: str) -> Answer:
        """One whole chat completion."""
        return self.call("POST", "/v1/chat/completions", body, **headers)

    def stream(self, body: Json) -> Iterator[str]:
        """The `data:` payloads of a streamed chat completion, as they arrive; closing the iterator hangs up."""
        with closing(self._send("POST", "/v1/chat/completions", {**body, "stream": True}, {})) as link:
            reply = link.getresponse()
            if reply.status != http.HTTPStatus.OK:
                raise RuntimeError(f"stream: {reply.status} {reply.read()!r}")
            while line := reply.readline():
                if line.startswith(b"data:"):
                    yield line.removeprefix(b"data:").strip().decode()

    def provider(self, name: str) -> Json:
        """One provider's row of the status; raises KeyError when it is not listed."""
        rows: list[Json] = self.get("/api/v1/router/status")["providers"]
        for row in rows:
            if row["name"] == name:
                return row
        raise KeyError(name)

    def route(self, provider: str, model: str) -> Json:
        """One route's row of the status; raises KeyError when it is not listed."""
        rows: list[Json] = self.provider(provider)["routes"]
        for row in rows:
            if row["model"] == model:
                return row
        raise KeyError(f"{provider}/{model}")

    def control(self, provider: str, action: str, **arguments: object) -> Answer:
        """One provider action of the control plane."""
        return self.call("POST", f"/api/v1/router/providers/{quote(provider)}/control", {"action": action, **arguments})

    def trace(self, request_id: str) -> Json:
        """The finished trace of one request (recording may lag the answer by a batch)."""

        def finished() -> Json | None:
            answer = self.call("GET", f"/api/v1/requests/{quote(request_id)}")
            done = answer.status == http.HTTPStatus.OK and answer.body["status"] != "in_flight"
            return answer.body if done else None

        found = wait_until(finished, f"trace of {request_id}")
        if found is None:
            raise RuntimeError(request_id)
        return found


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB, from the kernel's VmRSS; raises OSError when it is gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(row for row in status.splitlines() if row.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Load:
    """Steady chat traffic from a few threads; counts what succeeded and keeps what failed."""

    def __init__(self, client: Client, body: Json, *, workers: int = 4, pause: float = 0.0) -> None:
        self.client, self.body, self.pause = client, body, pause
        self.succeeded = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.succeeded or self.failures, "the first answer under load")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.client.timeout + 5)

    def _work(self) -> None:
        while not self._stop.wait(self.pause):
            begun = time.monotonic()
            try:
                answer = self.client.chat(self.body)
                failure = "" if answer.status == http.HTTPStatus.OK else f"{answer.status} {answer.body}"
            except (OSError, http.client.HTTPException) as broken:
                failure = repr(broken)
            with self._lock:
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                self.succeeded += not failure
                if failure:
                    self.failures.append(failure)
