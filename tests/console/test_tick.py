"""Looking at the engine: cursor, snapshots, lost events, restarts, failures."""

from __future__ import annotations

import pytest
from tests.console.fake_control import FakeControl, failed, failed_over, provider, request, running

from routerconsole.console.state import ConsoleState, Link, RequestStore, row_from
from routerconsole.console.tick import MAX_PAGES, MAX_SETTLED, PAGE, ROWS_PAGE, Puller, Wants
from routerconsole.control.port import ControlError, EngineUnreachable, RequestQuery
from routerconsole.control.views import RequestPage, RequestRow
from routerconsole.domain.events import EventType


async def look(puller: Puller, state: ConsoleState, clock: float = 0.0) -> None:
    """Look once and take it in."""
    state.apply(await puller.pull(Wants(unfinished=state.requests.unfinished())), clock)


class EndsMeanwhile(FakeControl):
    """One request ends between the read of the events and that of the running rows."""

    ends: RequestRow | None = None
    log_reads = 0

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Let it end first."""
        if self.ends is not None:
            self.arrive(self.ends)
            self.ends = None
        self.log_reads += query.status is None
        return await super().requests(query)


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
    for number in range(PAGE * (MAX_PAGES + 1)):
        control.publish(EventType.GATE_STARTED, provider=str(number))
    control.rows[request(9).id] = request(9)
    await look(puller, state)
    assert state.missed == PAGE  # what a look's pages left unread
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


async def test_rows_nobody_knows_do_not_keep_the_others_waiting() -> None:
    """Running rows without any record are asked for last, and not at every look."""
    unknown = [running(n) for n in range(MAX_SETTLED)]
    control = FakeControl(provider("groq"), rows=[*unknown, running(300)])
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    control.rows = {}
    await look(puller, state)
    control.rows = {row.id: row for row in [failed(300), *(request(n) for n in range(1000, 1000 + ROWS_PAGE))]}
    await look(puller, state)
    assert state.requests.unfinished() == {row.id for row in unknown}


async def test_row_that_ends_between_two_reads_is_not_lost() -> None:
    """A row gone from the running ones after the events were read ended just then: the log is not read for it."""
    control = EndsMeanwhile(provider("groq"), rows=[running(1)])
    puller, state = Puller(control), ConsoleState()
    await look(puller, state)
    control.ends = request(1)
    await look(puller, state)
    assert state.requests.unfinished() == frozenset()
    assert control.log_reads == 1  # the first look's


async def test_status_is_read_when_due_or_when_an_event_says_it_changed() -> None:
    """Between two reads of the status requests come and go without one; a circuit that opens brings it at once."""
    control = FakeControl(provider("groq"))
    puller = Puller(control)
    await puller.pull(Wants())
    control.arrive(running(1), request(2))
    pulled = await puller.pull(Wants(status=False))
    assert pulled.status is None
    assert {row.id for row in pulled.rows} == {running(1).id, request(2).id}
    control.publish(EventType.CIRCUIT_OPENED, provider="groq")
    assert (await puller.pull(Wants(status=False))).status is not None


async def test_running_rows_not_wanted_come_once_they_are() -> None:
    """A view without running rows is spared them until one fails over; the next view gets those that began before."""
    control = FakeControl(provider("groq"))
    puller = Puller(control)
    await puller.pull(Wants())
    control.arrive(running(1))
    assert (await puller.pull(Wants(status=False, running=False))).rows == []
    assert [row.id for row in (await puller.pull(Wants(status=False))).rows] == [running(1).id]
    control.publish(EventType.ATTEMPT_FAILED, id=running(1).id)
    assert (await puller.pull(Wants(status=False, running=False))).rows != []


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


def test_store_orders_what_comes_in_any_order() -> None:
    """Rows keep the log's order when they end, come late, or are read from its past; the same row again is no news."""
    store = RequestStore()
    store.merge([request(5), running(3), request(9)])
    store.merge([request(3), request(1), request(7)])
    assert store.rows() == [request(n) for n in (1, 3, 5, 7, 9)]
    version = store.version
    store.merge([request(5)])
    assert store.version == version


def test_store_tells_what_the_failover_list_has_to_know() -> None:
    """Only rows that failed, failed over, or fall out of the list again are noted."""
    store = RequestStore(cap=3)
    store.merge([request(1), request(2)])
    assert store.noted == 0
    store.merge([failed_over(0)])
    assert (noted := store.noted) > 0
    store.merge([request(4)])
    assert store.noted > noted
    assert len(store) == 3
