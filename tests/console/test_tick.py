"""Looking at the engine: cursor, snapshots, lost events, restarts, failures."""

from __future__ import annotations

import pytest
from tests.console.fake_control import FakeControl, failed, provider, request, running

from routerconsole.console.state import ConsoleState, Link, RequestStore, row_from
from routerconsole.console.tick import MAX_SETTLED, PAGE, ROWS_PAGE, Puller, Wants
from routerconsole.control.port import ControlError, EngineUnreachable
from routerconsole.domain.events import EventType


async def look(puller: Puller, state: ConsoleState, clock: float = 0.0) -> None:
    """Look once and take it in."""
    state.apply(await puller.pull(Wants(unfinished=state.requests.unfinished())), clock)


async def test_first_look_reads_the_newest_and_later_ones_the_past() -> None:
    """The log is there at once, its past follows page by page."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(ROWS_PAGE * 2 + 5)])
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    assert len(state.requests) == ROWS_PAGE
    await look(puller, state)
    await look(puller, state)
    assert len(state.requests) == ROWS_PAGE * 2 + 5


async def test_finished_row_comes_with_its_event_even_as_json() -> None:
    """The last event's row is taken as a view or as the mapping the wire makes of it."""
    control = FakeControl(provider("groq"))
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    row = request(3)
    data = {name: getattr(row, name) for name in row.__slots__} | {"needed": ["tools"], "new_field": 1}
    control.publish(EventType.REQUEST_COMPLETED, id=row.id, row=data)
    await look(puller, state)
    assert state.requests.get(row.id) == row
    assert row_from({"id": "x"}) is None
    assert row_from(7) is None


async def test_event_without_a_readable_row_reads_the_log_instead() -> None:
    """An event the console does not understand costs a look at the log, not the row."""
    control = FakeControl(provider("groq"))
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    control.rows[request(3).id] = request(3)
    control.publish(EventType.REQUEST_COMPLETED, id=request(3).id)
    await look(puller, state)
    assert state.requests.get(request(3).id) is not None


async def test_reader_far_behind_skips_to_now() -> None:
    """After a flood the console does not read every event: it says it missed some and reads the log."""
    control = FakeControl(provider("groq"))
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    for number in range(PAGE * 6):
        control.publish(EventType.GATE_STARTED, provider=str(number))
    control.rows[request(9).id] = request(9)
    await look(puller, state)
    assert state.missed > 0
    assert state.requests.get(request(9).id) is not None


async def test_many_lost_rows_are_settled_a_few_at_a_time() -> None:
    """However many running rows lost their end, one look asks for a bounded number of them."""
    rows = [running(n) for n in range(300, 400)]
    control = FakeControl(provider("groq"), rows=rows)
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    newer = [request(n) for n in range(1000, 1000 + ROWS_PAGE)]
    control.rows = {row.id: row for row in [*(failed(n) for n in range(300, 400)), *newer]}
    await look(puller, state)
    assert len(state.requests.unfinished()) == len(rows) - MAX_SETTLED


async def test_restarted_engine_is_read_afresh() -> None:
    """After a loss of contact the log of whoever answers replaces what was shown."""
    control = FakeControl(provider("groq"), rows=[request(1)])
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    control.fails = EngineUnreachable("gone")
    await look(puller, state)
    assert state.link is Link.DISCONNECTED
    control.fails, control.rows, control.ring = None, {request(2).id: request(2)}, []
    await look(puller, state)
    assert state.link is Link.LIVE
    assert [row.id for row in state.requests.rows()] == [request(2).id]


@pytest.mark.parametrize("error", [ControlError("x", "refused"), ValueError("bug"), TimeoutError()])
async def test_failing_read_is_reported_and_survived(error: Exception) -> None:
    """Whatever a read raises ends up as a sentence, and the next look works."""
    control = FakeControl(provider("groq"))
    puller, state = Puller(control), ConsoleState()
    control.fails = error
    await look(puller, state)
    assert state.problem
    control.fails = None
    await look(puller, state)
    assert state.problem == ""


def test_late_snapshot_does_not_reopen_a_finished_row() -> None:
    """A row that ended stays ended when an older snapshot of it arrives."""
    store = RequestStore()
    store.merge([request(1)])
    store.merge([running(1)])
    assert store.unfinished() == frozenset()


def test_store_keeps_the_newest() -> None:
    """Beyond its cap the oldest rows go, in whatever order they came."""
    store = RequestStore(cap=10)
    store.merge(request(n) for n in reversed(range(25)))
    assert [row.id for row in store.rows()] == [request(n).id for n in range(15, 25)]
