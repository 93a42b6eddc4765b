"""The record of requests: live, recent, failures, and exactly one final event each."""

from __future__ import annotations

import pytest
from tests.engine.parts import FakeClock, attempt, trace, types

from routerconsole.control.port import RequestQuery
from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Candidate, Decision, RequestStatus, Trace
from routerconsole.engine.bus import Bus
from routerconsole.engine.recorder import KEEP, KEEP_FAILURES, Recorder

FINAL = {EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED}


class Sink:
    def __init__(self) -> None:
        self.taken: list[str] = []

    def offer(self, item: Trace) -> None:
        self.taken.append(item.id)


def recorder() -> tuple[Recorder, Bus, Sink]:
    bus, sink = Bus(FakeClock()), Sink()
    return Recorder(bus, FakeClock(), sink), bus, sink


@pytest.mark.parametrize("status", [s for s in RequestStatus if s is not RequestStatus.IN_FLIGHT])
def test_C1_48_exactly_one_final_event_and_one_row(status: RequestStatus) -> None:
    """However often it is finished, a request ends once: one event, one row for the log."""
    found, bus, sink = recorder()
    item = trace("r1")
    found.begin(item)
    found.received(item)
    item.status = status
    for _ in range(3):
        found.finish(item)
    assert [kind for kind in types(bus.page(0, 100)) if kind in FINAL] == [
        {
            RequestStatus.OK: EventType.REQUEST_COMPLETED,
            RequestStatus.CANCELLED: EventType.REQUEST_CANCELLED,
        }.get(status, EventType.REQUEST_FAILED)
    ]
    assert sink.taken == ["r1"]


def test_the_recent_past_is_bounded() -> None:
    """Old requests leave memory; the newest come first."""
    found, _, _ = recorder()
    for n in range(KEEP + 50):
        item = trace(f"r{n}")
        found.begin(item)
        item.status = RequestStatus.OK
        found.finish(item)
    assert found.find("r49") is None
    assert found.find("r50") is not None
    assert [row.id for row in found.rows(RequestQuery(limit=2))] == [f"r{KEEP + 49}", f"r{KEEP + 48}"]
    assert not found.live


def test_events_tell_what_was_when_they_happened() -> None:
    """An event read late shows the request as it was then, not what became of it; a final one the finished row."""
    found, bus, _ = recorder()
    item = trace("r1")
    item.candidates, item.flags = [Candidate(Route("a", None, "m"), Decision.ELIGIBLE)], ["fallback"]
    found.begin(item)
    found.received(item)
    at_arrival = found.rows(RequestQuery())[0]
    item.candidates[0].decision = Decision.SKIPPED
    first = attempt()
    item.attempts = [first]
    found.attempt_started(item, first)
    first.cls, first.ended_ms, item.selected = OutcomeClass.OK, 5.0, first.route
    item.flags.append("late")
    item.status, item.http_status, item.total_ms = RequestStatus.OK, 200, 7.0
    found.finish(item)
    received, planned, started, final = bus.page(0, 100).events
    assert received.data == {"id": "r1", "row": at_arrival}
    assert planned.data["candidates"] == [{"provider": "a", "model": "m", "decision": "eligible"}]
    assert started.data == {"id": "r1", "n": 1, "provider": "a", "model": "m", "account": None}
    assert final.data == {"id": "r1", "row": found.rows(RequestQuery())[0]}
    assert final.data["row"].status == "ok"


def test_C1_35_failures_are_capped_newest_first() -> None:
    """The ring forgets the oldest; limit 2 gives the last two; clearing empties it."""
    found, _, _ = recorder()
    for n in range(KEEP_FAILURES + 20):
        item = attempt()
        item.cls, item.detail = OutcomeClass.SERVER, f"failure {n}"
        found.attempt_failed(trace(f"r{n}"), item)
    assert len(found.failures(10_000)) == KEEP_FAILURES
    assert [row.request_id for row in found.failures(2)] == [f"r{KEEP_FAILURES + 19}", f"r{KEEP_FAILURES + 18}"]
    assert found.clear_failures() == KEEP_FAILURES
    assert found.failures(10) == ()


def test_a_client_that_left_is_no_failure() -> None:
    """C1-40: the list of failures is about upstreams."""
    found, _, _ = recorder()
    item = attempt()
    item.cls = OutcomeClass.IGNORED
    found.attempt_failed(trace(), item)
    assert found.failures(10) == ()


def test_filters() -> None:
    """Provider matches who served or failed, text matches id, model and chain, failed_over needs two attempts."""
    found, _, _ = recorder()
    plain, over = trace("plain"), trace("over")
    plain.selected = Route("b", None, "m")
    first, second = attempt("a"), attempt("b", 2)
    first.cls, second.cls = OutcomeClass.SERVER, OutcomeClass.OK
    over.attempts, over.selected = [first, second], Route("b", None, "m")
    for item in (plain, over):
        found.begin(item)
        item.status = RequestStatus.OK
        found.finish(item)

    def ids(**query: object) -> list[str]:
        return [row.id for row in found.rows(RequestQuery(**query))]  # type: ignore[arg-type]  # a test's shorthand

    assert ids(provider="a") == ["over"]
    assert ids(provider="b") == ["over", "plain"]
    assert ids(failed_over=True) == ["over"]
    assert ids(filter="PLAIN") == ["plain"]
    assert ids(status="failed") == []


def test_live_requests_are_listed_first() -> None:
    """What runs is on top, the newest first."""
    found, _, _ = recorder()
    for name in ("one", "two"):
        found.begin(trace(name))
    assert [row.id for row in found.rows(RequestQuery())] == ["two", "one"]
    assert found.rows(RequestQuery())[0].status == "in_flight"
