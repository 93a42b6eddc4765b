"""The ring of events and its cursors."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.parts import FakeClock

from routerconsole.domain.events import EventType, Fact
from routerconsole.engine.bus import Bus


def numbered(bus: Bus, count: int) -> None:
    for number in range(count):
        bus.publish(Fact(EventType.AUDIT, {"n": number}))


def test_C3_22_a_reader_by_cursor_sees_every_event_in_order() -> None:
    """Pages follow each other without gaps or repeats, whatever their size."""
    bus, seen, cursor = Bus(FakeClock(), capacity=100), [], 0
    numbered(bus, 50)
    while page := bus.page(cursor, 7).events:
        seen += [event.seq for event in page]
        cursor = bus.page(cursor, 7).next
    assert seen == list(range(1, 51))


def test_C3_22_a_slow_reader_is_told_how_many_it_missed() -> None:
    """The ring is bounded; what was overwritten is counted exactly, and the rest still comes in order."""
    bus = Bus(FakeClock(), capacity=10)
    numbered(bus, 35)
    page = bus.page(5, 1000)
    assert (page.missed, [event.seq for event in page.events], page.next) == (20, list(range(26, 36)), 35)
    assert bus.page(page.next, 1000) == type(page)((), 35, 0)


@pytest.mark.parametrize("published", [0, 1, 9, 10, 11, 99, 100, 101])
@pytest.mark.parametrize("after", [0, 1, 5, 9, 50])
def test_missed_plus_seen_is_all(published: int, after: int) -> None:
    """For every cursor of the past: missed + seen = published - cursor."""
    bus = Bus(FakeClock(), capacity=10)
    numbered(bus, published)
    page = bus.page(after, 1000)
    if after <= published:
        assert page.missed + len(page.events) == published - after
        assert page.next == published
    else:
        assert page == type(page)((), published, 0)


def test_minus_one_is_from_now_on() -> None:
    """A new reader starts at the newest event, owed nothing."""
    bus = Bus(FakeClock(), capacity=10)
    numbered(bus, 3)
    page = bus.page(-1, 10)
    assert (page.events, page.next, page.missed) == ((), 3, 0)


def test_C3_22_the_ring_is_bounded() -> None:
    """A hundred times its capacity leaves its capacity."""
    bus = Bus(FakeClock(), capacity=16)
    numbered(bus, 1600)
    assert len(bus.page(0, 10_000).events) == 16
    assert bus.page(0, 10_000).missed == 1584


def test_deferred_data_is_made_once_and_only_when_read() -> None:
    """An event nobody reads is never made; one that is read stays as it was first seen."""
    bus, made = Bus(FakeClock(), capacity=4), []

    def make(name: str) -> dict[str, str]:
        made.append(name)
        return {"name": name}

    for name in "abcdef":
        bus.defer(EventType.AUDIT, make, name)
    assert not made
    assert [event.data["name"] for event in bus.page(0, 2).events] == ["c", "d"]
    assert [event.data["name"] for event in bus.page(0, 10).events] == ["c", "d", "e", "f"]
    assert made == ["c", "d", "e", "f"]


async def test_waiters_are_woken_once_there_is_something(leakcheck: None) -> None:
    """Many readers wait without polling; one that is cancelled harms nobody."""
    bus = Bus(FakeClock())
    waits = [asyncio.ensure_future(bus.wait(0)) for _ in range(5)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await asyncio.sleep(0)
    bus.publish(Fact(EventType.AUDIT, {}))
    ended = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert ended[1:] == [None] * 4
    await bus.wait(0)  # already there: no waiting


def test_events_carry_number_time_and_type() -> None:
    """The time is the wall clock's."""
    clock = FakeClock()
    event = Bus(clock).publish(Fact(EventType.AUDIT, {"x": 1}))
    assert (event.seq, event.at, event.type, event.data) == (1, clock.wall(), EventType.AUDIT, {"x": 1})
