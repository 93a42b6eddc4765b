"""Runs the app on uvicorn inside the engine's loop: sockets bound beforehand, signals left to others, our own drain."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, Protocol

import uvicorn

from .door import Door, DoorLimits
from .protocol import protocol_class

BACKLOG = 2048
RESERVED_FILES = 64
"""Descriptors kept for upstreams, databases and the rest (faults.md C10)."""
WANTED_FILES = 65_536
DATE_S = 1.0
"""How often the date header is renewed: it counts in seconds."""


def affordable_connections(wanted: int) -> int:
    """Return how many clients to admit: as many as wanted, if each and its upstream can have a descriptor.

    Raises the process's soft limit toward its hard one, because common defaults are 256 and 1024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < goal:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - RESERVED_FILES) // 2))


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise OSError. Bound on the main thread, before anything else starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that name it: without it the second
    # write of an answer on a kept-alive connection waits 40 ms for the client's delayed ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class TaskStarter(Protocol):
    """Whoever owns background tasks here."""

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run a coroutine in the background."""


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers (the process owns signals), saying when it accepts.

    It waits to be told instead of looking ten times a second whether it was: an idle router stays idle, and one
    without clients ends at once.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()
        self._told = asyncio.Event()

    def end(self) -> None:
        """Have `serve` return once the connections are gone."""
        self.should_exit = True
        self._told.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        try:
            await super().startup(sockets)
        finally:
            self.accepting.set()

    async def main_loop(self) -> None:
        """Renew the date header every second until told to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), timeout=DATE_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Do as uvicorn does, without its pause for connections to close where there are none."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for listener in self.servers:
            listener.close()
        for sock in sockets or []:
            sock.close()
        for listener in self.servers:
            await listener.wait_closed()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class HttpServer:
    """One listening server; `start` returns once it accepts, `stop` once the last connection is gone."""

    def __init__(self, app: object, sock: socket.socket, limits: DoorLimits) -> None:
        connections = affordable_connections(limits.max_connections)
        self.door = Door(replace(limits, max_connections=connections))
        self._sock = sock
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI app; uvicorn's own alias is narrower than the spec
            http=protocol_class(self.door),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            backlog=BACKLOG,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.door.connections)

    async def start(self, owner: TaskStarter) -> None:
        """Serve in a task of the owner; return when connections are accepted."""
        loop = asyncio.get_running_loop()
        self.door.open(loop)
        self._serving = owner.start(self._server.serve(sockets=[self._sock]), name="http server")
        await self._server.accepting.wait()

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for listener in getattr(self._server, "servers", []):
            listener.close()
        self._sock.close()

    async def stop(self) -> None:
        """End every connection and the server's task; idempotent."""
        self._server.end()
        if self._serving is not None:
            await asyncio.wait({self._serving})
        self.door.close()
