"""From traces to rows."""

from __future__ import annotations

import orjson
from tests.engine.parts import attempt, trace

from routerconsole.control.wire import detail_json
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Candidate, Decision, RequestStatus
from routerconsole.engine.rows import detail_of, logged, row_fields, row_of


def test_a_request_in_flight_has_a_row() -> None:
    """What is not known yet is None, never a made-up number."""
    row = row_of(trace())
    assert (row.status, row.provider, row.total_ms, row.cost_usd, row.attempts) == ("in_flight", None, None, None, 0)


def test_C1_48_the_requested_model_is_what_the_client_wrote() -> None:
    """`model` stays the client's word, `served_model` is the upstream's id."""
    item = trace(status=RequestStatus.OK)
    item.selected = Route("a", None, "llama3:8b")
    row = row_of(item)
    assert (row.model, row.provider, row.served_model) == ("m", "a", "llama3:8b")


def test_detail_shows_attempts_with_cause_and_circuit() -> None:
    """Failed attempts carry class and short cause, good ones none."""
    item = trace(status=RequestStatus.OK)
    bad, good = attempt("a"), attempt("b", 2)
    bad.cls, bad.status, bad.circuit_after = OutcomeClass.SERVER, 503, "open"
    good.cls, good.started_ms, good.ended_ms = OutcomeClass.OK, 1.23456, 5.0
    item.attempts = [bad, good]
    item.candidates = [Candidate(Route("a", "k1", "m"), Decision.ELIGIBLE, ["why"], (0, 1.5))]
    detail = detail_of(item, replayable=True)
    first, second = detail.attempts_detail
    assert (first.class_, first.cause, first.circuit_before, first.circuit_after) == ("server", "503", "closed", "open")
    assert (second.class_, second.cause, second.started_ms) == ("ok", "", 1.23)
    assert (detail.candidates[0].account, detail.candidates[0].sort_key) == ("k1", (0.0, 1.5))
    assert detail.replayable
    assert detail.row.chain == "a✗503 › b✓ 4ms"


def test_the_log_keeps_what_the_views_say() -> None:
    """The short way to the log's JSON and the long way through the views give the same."""
    item = trace(status=RequestStatus.OK)
    bad, good = attempt("a"), attempt("b", 2)
    bad.cls, bad.status, bad.detail = OutcomeClass.SERVER, 503, "no"
    good.cls, good.first_byte_ms, good.ended_ms, good.served_model = OutcomeClass.OK, 4.5678, 5.0, "other"
    item.attempts, item.router_ms, item.finish_reason = [bad, good], 0.123, "stop"
    item.candidates = [Candidate(Route("a", "k1", "m"), Decision.SKIPPED, ["why"], (0, 1.5))]
    row = row_of(item)
    kept_row, kept_detail = logged(item, row_fields(item))
    assert orjson.loads(kept_row) == orjson.loads(orjson.dumps(row))
    assert orjson.loads(kept_detail) == detail_json(detail_of(item))
