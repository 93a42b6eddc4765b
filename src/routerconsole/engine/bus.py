"""A bounded ring of numbered events, read by cursor: a slow reader costs nothing and is told what it missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVarTuple, Unpack

from routerconsole.control.port import EventPage
from routerconsole.domain.events import Event, EventType, Fact

from .clock import Clock

CAPACITY = 20_000
"""Events kept; at 500 requests a second and four events each, ten seconds."""


Parts = TypeVarTuple("Parts")


class _Unread(NamedTuple):
    """An event nobody has asked for yet; most never are, so its data is made from its parts when somebody does."""

    at: float
    type: EventType
    make: Callable[..., Mapping[str, Any]]
    parts: tuple[Any, ...]


class Bus:
    """Publishes synchronously on the engine's loop."""

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._ring: list[Event | _Unread | None] = [None] * capacity
        self._capacity = capacity
        self._next = 1
        self._waiters: set[asyncio.Future[None]] = set()
        self._watched: frozenset[EventType] = frozenset()
        self._seen: Callable[[], object] = lambda: None

    def watch(self, kinds: frozenset[EventType], seen: Callable[[], object]) -> None:
        """Call `seen` as soon as a fact of these types is published (not for deferred ones)."""
        self._watched, self._seen = kinds, seen

    @property
    def last(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._next - 1

    def publish(self, fact: Fact) -> Event:
        """Number a fact and wake whoever waits."""
        event = Event(self._next, self._clock.wall(), fact.type, fact.data)
        self._add(event)
        if fact.type in self._watched:
            self._seen()
        return event

    def defer(self, kind: EventType, make: Callable[[Unpack[Parts]], Mapping[str, Any]], *parts: *Parts) -> None:
        """Publish a fact whose data is `make(*parts)`, asked when it is first read: what it reads must not change."""
        self._add(_Unread(self._clock.wall(), kind, make, parts))

    def _add(self, event: Event | _Unread) -> None:
        self._ring[self._next % self._capacity] = event
        self._next += 1
        if self._waiters:
            waiters, self._waiters = self._waiters, set()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def publish_all(self, facts: Iterable[Fact]) -> None:
        """Publish several facts in order."""
        for fact in facts:
            self.publish(fact)

    def page(self, after: int, limit: int) -> EventPage:
        """Return up to `limit` events after a cursor; -1 means from now on. A cursor of the future starts over."""
        if after < 0 or after > self.last:
            return EventPage((), self.last, 0)
        oldest = max(1, self._next - self._capacity)
        start = max(after + 1, oldest)
        numbers = range(start, min(self._next, start + limit))
        events = tuple(event for number in numbers if (event := self._read(number)) is not None)
        return EventPage(events, events[-1].seq if events else after, start - after - 1)

    def _read(self, number: int) -> Event | None:
        """Return an event, made on its first reading and kept for the next."""
        place = number % self._capacity
        found = self._ring[place]
        if isinstance(found, _Unread):
            found = self._ring[place] = Event(number, found.at, found.type, found.make(*found.parts))
        return found

    async def wait(self, after: int) -> None:
        """Return once there is an event after the cursor."""
        while self.last <= after:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
