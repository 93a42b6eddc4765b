"""What pools and limits remember, as stored records: pointers when they move, the day's counts every other second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.route import Route
from routerconsole.storage.state import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from routerconsole.domain.registry import Registry
    from routerconsole.routing.order import Means
    from routerconsole.storage.state import StoredState

    from .clock import Clock

POINTER, USAGE = "pointer", "usage"
WRITTEN_EVERY_S = 2.0
"""Between two writings of the day's counts: under load they change all the time, and a kill may cost this much."""
_NONSENSE = (KeyError, TypeError, ValueError)


class PoolMemory:
    """Moves what strategies and limits remember to and from records."""

    def __init__(self, means: Means, clock: Clock) -> None:
        self._means, self._clock = means, clock
        self._daily: frozenset[Route] = frozenset()
        self._written = 0.0
        self._stale: list[Record] = []

    def follow(self, registry: Registry) -> None:
        """Forget pools, members and routes that are gone."""
        limits = ((key, model.limits) for key, model in registry.models.items())
        daily = [key for key, each in limits if each.rpd is not None or each.tpd is not None]
        self._daily = frozenset(route for key in daily for route in registry.routes(key))
        self._means.meter.follow(registry)
        self._means.pointers.follow(registry, self._clock.monotonic())

    def tick(self) -> list[Fact]:
        """Let time take effect (a new UTC day, idle sessions) and tell which pointers traffic has moved."""
        self._means.meter.turn(self._clock.wall())
        self._means.pointers.sweep(self._clock.monotonic())
        return [pointer_fact(*each) for each in self._means.pointers.moved()]

    def records(self, *, last: bool = False) -> Iterator[Record]:
        """Yield what changed and is due to be written; everything when it is the last time."""
        stale, self._stale = self._stale, []
        yield from stale
        for pool, found in self._means.pointers.dirty().items():
            yield Record((pool,), POINTER, found)
        now = self._clock.monotonic()
        if last or now - self._written >= WRITTEN_EVERY_S:
            self._written = now
            for route, counts in self._means.meter.records(self._daily):
                yield Record(tuple(route), USAGE, counts)

    def restore(self, stored: StoredState) -> int:
        """Take back what was kept; return how many records were none of ours."""
        strange, wall = 0, self._clock.wall()
        for key, found in stored.of(POINTER).items():
            try:
                (pool,) = key
                self._means.pointers.restore(str(pool), found)
            except _NONSENSE:
                strange += 1
        for key, found in stored.of(USAGE).items():
            try:
                provider, account, model = key
                current = self._means.meter.restore(Route(str(provider), account, str(model)), found, wall)
            except _NONSENSE:
                strange += 1
                continue
            if not current:
                self._stale.append(Record(key, USAGE, None))
        return strange


def pointer_fact(pool: str, before: Route | None, after: Route) -> Fact:
    """Return the event of a pointer that is elsewhere now."""
    places = {"before": {"pointer": shown(before)}, "after": {"pointer": shown(after)}}
    return Fact(EventType.POOL_CHANGED, {"pool": pool, **places})


def shown(pointer: Route | None) -> str | None:
    """Return a pointer as operators know members, `provider/model`."""
    return None if pointer is None else f"{pointer.provider}/{pointer.model}"
