"""Events over HTTP: server-sent events pushed as they come, resumable, or one JSON page after a cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol

from routerconsole.control.port import Control
from routerconsole.control.wire import event_json, page_json

from .errors import dumps
from .routes import Answer, Call

if TYPE_CHECKING:
    from .schemas import EventsQuery, Nothing

HEARTBEAT_S = 15.0
"""Between comments on a quiet stream, so that proxies and readers know it is alive."""
BATCH = 500
MAX_PAGE = 5000
COALESCE_S = 0.02
"""After a write: what happens meanwhile goes out together, so that a busy engine does not write once per event."""


class PushingControl(Control, Protocol):
    """A Control that can say when there is something new."""

    async def wait_events(self, after: int) -> None:
        """Return once there is an event after the cursor."""


class EventFeed:
    """Answers `GET events`."""

    def __init__(self, control: PushingControl, *, heartbeat: float = HEARTBEAT_S) -> None:
        self._control, self._heartbeat = control, heartbeat

    async def events(self, call: Call[EventsQuery, Nothing]) -> Answer:
        """Stream, or give one page to a client that asks for JSON only."""
        after = call.query.after
        accepts = call.header(b"accept")
        if "application/json" in accepts and "text/event-stream" not in accepts:
            limit = min(call.query.limit, MAX_PAGE)
            return Answer(page_json(await self._control.events(-1 if after is None else after, limit)))
        resumed = call.header(b"last-event-id").strip()
        if resumed.isascii() and resumed.isdigit() and len(resumed) <= 18:
            after = int(resumed)
        newest = (await self._control.events(-1, 1)).next
        if after is None or after < 0:  # taken before the answer starts: nothing after the 200 is missed
            after = newest
        elif after > newest:  # of an engine that has ended: all of this one is news
            after = 0
        return Answer(stream=self._follow(after))

    async def _follow(self, cursor: int) -> AsyncGenerator[bytes]:
        yield b"retry: 1000\n: after %d\n\n" % cursor
        while True:
            page = await self._control.events(cursor, BATCH)
            lines = []
            if page.missed:
                lines.append(_line(cursor + page.missed, "dropped", {"count": page.missed}))
            lines.extend(_line(event.seq, event.type.value, event_json(event)) for event in page.events)
            cursor = page.next
            if lines:
                yield b"".join(lines)
                await asyncio.sleep(COALESCE_S)
                continue
            try:
                async with asyncio.timeout(self._heartbeat):
                    await self._control.wait_events(cursor)
            except TimeoutError:
                yield b": alive\n\n"


def _line(number: int, name: str, data: dict[str, object]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), dumps(data))
