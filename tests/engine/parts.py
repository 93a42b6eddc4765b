"""What the engine's tests share: a clock that stands still, requests, traces, and waiting on a condition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.node import RunningNode, prepared

from routerconsole.control.port import EventPage
from routerconsole.domain.events import Event, EventType
from routerconsole.domain.request import ChatRequest, Endpoint, Hints, Origin
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Attempt, RequestStatus, Trace
from routerconsole.wiring import Node

PATIENCE_S = 60.0


class FakeClock:
    """Time that moves only when told; the wall clock moves with it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        """Return seconds."""
        return self.now

    def wall(self) -> float:
        """Return UTC epoch seconds."""
        return 1_700_000_000.0 + self.now


@asynccontextmanager
async def running_engine(
    config: str | Path, tmp_path: Path, *, env: Mapping[str, str] | None = None
) -> AsyncIterator[RunningNode]:
    """A node whose HTTP server is not started: its end takes a fifth of a second, and nothing here needs it."""
    node = Node(prepared(config, tmp_path / "state", env=env))
    try:
        await node.service.start()
        yield RunningNode(node, node.service.endpoint, 0)
    finally:
        await node.stop()


def request(node: RunningNode, text: str = "hello", *, model: str | None = None, stream: bool = False) -> ChatRequest:
    """A chat request as the server would hand it in."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if model is not None:
        body["model"] = model
    if stream:
        body["stream"] = True
    return ChatRequest(
        id=node.service.chat.new_id(),
        endpoint=Endpoint.CHAT,
        body=body,
        size=len(text) + 60,
        model=model,
        stream=stream,
        hints=Hints(),
    )


async def serve(node: RunningNode, text: str = "hello", *, model: str | None = None, stream: bool = False) -> str:
    """Serve one request to its end; return its id. Raises what the engine raises."""
    asked = request(node, text, model=model, stream=stream)
    exchange = await node.service.chat.open(asked)
    async for _ in exchange.deltas():
        continue
    exchange.close()
    return asked.id


def trace(request_id: str = "r1", status: RequestStatus = RequestStatus.IN_FLIGHT) -> Trace:
    """A bare trace."""
    return Trace(request_id, 1.0, 0.0, Origin.HTTP, Endpoint.CHAT, "m", False, status=status)


def attempt(provider: str = "a", n: int = 1) -> Attempt:
    """A bare attempt."""
    return Attempt(n, Route(provider, None, "m"), 0.0)


def types(page: EventPage) -> list[EventType]:
    """The types of a page's events."""
    return [event.type for event in page.events]


async def event(node: RunningNode, kind: EventType, *, after: int = 0, **match: object) -> Event:
    """Wait for an event of a kind whose data holds `match`; return it."""
    bus = node.service.bus
    async with asyncio.timeout(PATIENCE_S):
        while True:
            page = bus.page(after, 100_000)
            for found in page.events:
                if found.type is kind and all(found.data.get(key) == value for key, value in match.items()):
                    return found
            after = page.next
            await bus.wait(after)


async def until(condition: Callable[[], object], what: str) -> None:
    """Return once a condition of this loop's objects holds: they are changed by tasks of this loop, so let them run."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what
