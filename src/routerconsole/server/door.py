"""The connections of one server: how many, how slow, how big; one sweep a half second ends those over a limit.

One timer for all connections instead of several per request keeps the hot path free of timers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

SWEEP_S = 0.5
MAX_IDLE_PER_PEER = 64
"""Connections one address may keep without a request (faults.md C09)."""
MAX_TURNED_AWAY = 64
"""Connections over the limit that are let finish their request to read that they are too many; more are just closed."""
IDLE_GRACE_S = 2.0
"""A connection between two requests is not idle yet."""
PAUSE_S = 1.0
"""A sweep later than this found the process stopped (SIGSTOP): what clients sent meanwhile is still to be read."""


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Limits at the door (interface.md §6); seconds and bytes."""

    max_connections: int = 1024
    max_body: int = 20 * 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_header_fields: int = 100
    header_timeout: float = 10.0
    body_idle_timeout: float = 20.0
    write_stall_timeout: float = 30.0
    linger: float = 10.0  # for a refused client to send what it was sending, and to read why it was refused
    keep_alive: float = 75.0


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()  # nothing of a next request has arrived
    HEADERS = auto()
    BODY = auto()
    ANSWERING = auto()
    LINGERING = auto()  # answered for good; what still comes is read into nothing


class Doorstep(Protocol):
    """What the sweep needs of a connection."""

    phase: Phase
    since: float
    stalled_since: float | None
    fresh: bool
    peer: str

    def expel(self, reason: str) -> None:
        """End the connection, with an answer where one can still be given."""

    def cut(self) -> None:
        """Drop the connection at once and tell its request that the client is gone."""

    def leave(self) -> None:
        """Close a connection that asks for nothing."""


class Door:
    """Counts connections and sweeps them; `now` comes from the server's loop."""

    def __init__(self, limits: DoorLimits) -> None:
        self.limits = limits
        self.connections: set[Doorstep] = set()
        self.turned_away: set[Doorstep] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.now: Callable[[], float] = lambda: 0.0

    def admit(self, connection: Doorstep) -> bool:
        """Take a new connection, or say that there are too many; a few of those are kept sight of while they end."""
        if len(self.connections) >= self.limits.max_connections:
            if len(self.turned_away) < MAX_TURNED_AWAY:
                self.turned_away.add(connection)
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Doorstep) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.turned_away.discard(connection)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start sweeping."""
        self.now = loop.time
        self._due = loop.time() + SWEEP_S
        self._timer = loop.call_at(self._due, self._sweep, loop)

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, limits = loop.time(), self.limits
        if (paused := now - self._due) > PAUSE_S:
            for connection in self.connections:
                connection.since += paused
                if connection.stalled_since is not None:
                    connection.stalled_since += paused
        idle: dict[str, list[Doorstep]] = {}
        for connection in [*self.connections, *self.turned_away]:
            waited, stalled = now - connection.since, connection.stalled_since
            if stalled is not None and now - stalled > limits.write_stall_timeout:
                connection.cut()  # in any phase: the last bytes of an answer that is out may be what is not read
                continue
            match connection.phase:
                case Phase.HEADERS if waited > limits.header_timeout:
                    connection.expel("The request's headers took too long.")
                case Phase.BODY if waited > limits.body_idle_timeout:
                    connection.expel("The request's body stopped arriving.")
                case Phase.LINGERING if waited > limits.linger:
                    connection.cut()
                case Phase.IDLE if waited > (limits.header_timeout if connection.fresh else limits.keep_alive):
                    connection.leave()
                case Phase.IDLE if waited > IDLE_GRACE_S:
                    idle.setdefault(connection.peer, []).append(connection)
        for connections in idle.values():
            connections.sort(key=lambda item: item.since)
            for connection in connections[:-MAX_IDLE_PER_PEER]:
                connection.leave()
        self._due = now + SWEEP_S
        self._timer = loop.call_at(self._due, self._sweep, loop)
