"""Real llama.cpp servers on loopback, started by the lab's script and then frozen, killed and revived one by one."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.live import answers, wait_until

NAMES = ("lab-ready", "lab-tools", "lab-think", "lab-chatter")


@dataclass(slots=True)
class Server:
    """One server: where it listens, its process, and the command that starts it again."""

    base_url: str
    pid: int
    command: list[str]


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def free_run(count: int) -> int:
    """The first of so many neighbouring free ports, below the range the kernel gives to clients."""
    for base in random.sample(range(20_000, 30_000, count), 200):
        with ExitStack() as held:
            try:
                for port in range(base, base + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


class Lab:
    """The four servers; only processes it started are ever signalled."""

    def __init__(self, script: Path) -> None:
        self.script = script
        self.servers: dict[str, Server] = {}
        self._revived: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all on four free neighbouring ports; the first start on a machine may fetch them (minutes)."""
        command = [sys.executable, str(self.script), "start", "--base-port", str(free_run(len(NAMES)))]
        rows = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout)
        for row in rows:
            started_by = Path(f"/proc/{row['pid']}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
            self.servers[row["name"]] = Server(row["base_url"], row["pid"], started_by)

    def url(self, name: str) -> str:
        """The base URL of a server, with /v1."""
        return self.servers[name].base_url

    def freeze(self, name: str) -> None:
        """SIGSTOP: it accepts connections (the kernel does) and answers nothing."""
        os.kill(self.servers[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self.servers[name].pid, signal.SIGCONT)

    def kill(self, name: str) -> None:
        """`kill -9`, and wait until it is gone."""
        pid = self.servers[name].pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        for process in self._revived:
            if process.pid == pid:
                process.wait(10)
        wait_until(lambda: not alive(pid), f"the end of {name}")

    def revive(self, name: str) -> None:
        """Start a killed server again, on its old port."""
        server = self.servers[name]
        process = subprocess.Popen(
            server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        self._revived.append(process)
        server.pid = process.pid
        wait_until(lambda: answers(f"{server.base_url.removesuffix('/v1')}/health", status=200), name)

    def heal(self) -> None:
        """Every server runs again: thawed, or started again."""
        for name, server in self.servers.items():
            self.thaw(name) if alive(server.pid) else self.revive(name)

    def stop(self) -> None:
        """End all of them, and reap every one that was started here."""
        for name in self.servers:
            self.kill(name)
        for process in self._revived:
            process.wait(10)
