"""From a trace to the frozen rows that faces and the request log show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.control.views import AttemptView, AuditRow, CandidateView, RequestDetail, RequestRow
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.trace import Trace, cause_code, chain_text

from .clock import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.domain.trace import Attempt, Candidate
    from routerconsole.storage.state import AuditRecord


def row_of(trace: Trace) -> RequestRow:
    """Return the log line of a request, finished or in flight."""
    return RequestRow(**row_fields(trace))


def arrival_of(trace: Trace, flags: tuple[str, ...] = ()) -> RequestRow:
    """Return the log line a request had once it was decided, with its `flags` then, whatever became of it since."""
    return row_of(
        Trace(
            id=trace.id,
            at=trace.at,
            began=trace.began,
            origin=trace.origin,
            endpoint=trace.endpoint,
            model=trace.model,
            stream=trace.stream,
            agent=trace.agent,
            resolved=trace.resolved,
            needed=trace.needed,
            forced=trace.forced,
            flags=list(flags),
        )
    )


def detail_of(trace: Trace, *, replayable: bool = False) -> RequestDetail:
    """Return everything known of a request."""
    return RequestDetail(
        row=row_of(trace),
        candidates=candidate_views(trace.candidates),
        attempts_detail=tuple(_attempt(attempt) for attempt in trace.attempts),
        finish_reason=trace.finish_reason,
        router_ms=_ms(trace.router_ms),
        terminal=trace.terminal.value,
        estimate_tokens=trace.estimate_tokens,
        replayable=replayable,
        because=trace.because,
    )


def logged(trace: Trace, row: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return a finished request's `row_fields` and its detail as JSON for the log, as `wire.detail_json` spells it.

    Written without the views in between, which cost five times as much and nobody sees here.
    """
    rest = {
        "candidates": [_candidate_json(item) for item in trace.candidates],
        "attempts_detail": [_attempt_json(attempt) for attempt in trace.attempts],
        "finish_reason": trace.finish_reason,
        "router_ms": _ms(trace.router_ms),
        "terminal": trace.terminal,
        "estimate_tokens": trace.estimate_tokens,
        "replayable": False,
        "because": trace.because,
    }
    own = orjson.dumps(row)
    return own, own[:-1] + b"," + orjson.dumps(rest)[1:]


def audit_row(record: AuditRecord) -> AuditRow:
    """Return a stored operator change as faces show it."""
    entry = record.entry
    return AuditRow(
        id=record.id,
        at=iso(entry.at),
        actor=entry.actor,
        command=entry.command,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        undone=record.undone,
    )


def candidate_views(candidates: Iterable[Candidate]) -> tuple[CandidateView, ...]:
    """Return candidates as shown by traces and `explain` alike."""
    return tuple(
        CandidateView(
            provider=item.route.provider,
            model=item.route.model,
            decision=item.decision.value,
            reasons=tuple(item.reasons),
            sort_key=tuple(float(part) for part in item.sort_key),
            account=item.route.account,
        )
        for item in candidates
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        n=attempt.n,
        provider=attempt.route.provider,
        model=attempt.route.model,
        started_ms=round(attempt.started_ms, 2),
        connect_ms=_ms(attempt.connect_ms),
        first_byte_ms=_ms(attempt.first_byte_ms),
        first_token_ms=_ms(attempt.first_token_ms),
        ended_ms=_ms(attempt.ended_ms),
        status=attempt.status,
        class_=attempt.cls.value if attempt.cls else None,
        detail=attempt.detail,
        circuit_before=attempt.circuit_before,
        circuit_after=attempt.circuit_after,
        account=attempt.route.account,
        cause=_cause(attempt),
        served_as=_served_as(attempt),
        prompt_tokens=attempt.prompt_tokens,
        completion_tokens=attempt.completion_tokens,
        cost_usd=attempt.cost_usd,
    )


def row_fields(trace: Trace) -> dict[str, Any]:
    """Return the fields of a request's RequestRow, in its order; JSON-ready."""
    selected = trace.selected
    return {
        "id": trace.id,
        "at": iso(trace.at),
        "origin": trace.origin.value,
        "model": trace.model,
        "resolved": trace.resolved,
        "needed": trace.needed,
        "forced": trace.forced,
        "stream": trace.stream,
        "status": trace.status.value,
        "http_status": trace.http_status,
        "provider": selected.provider if selected else None,
        "served_model": selected.model if selected else None,
        "attempts": len(trace.attempts),
        "chain": chain_text(trace),
        "total_ms": _ms(trace.total_ms),
        "ttft_ms": _ms(trace.ttft_ms),
        "prompt_tokens": trace.prompt_tokens,
        "completion_tokens": trace.completion_tokens,
        "cost_usd": trace.cost_usd,
        "usage_source": trace.usage_source,
        "agent": trace.agent,
        "error_code": trace.error_code,
        "flags": tuple(trace.flags),
        "endpoint": trace.endpoint.value,
    }


def _candidate_json(item: Candidate) -> dict[str, Any]:
    route = item.route
    return {
        "provider": route.provider,
        "model": route.model,
        "decision": item.decision,
        "reasons": item.reasons,
        "sort_key": item.sort_key,
        "account": route.account,
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    route = attempt.route
    return {
        "n": attempt.n,
        "provider": route.provider,
        "model": route.model,
        "started_ms": round(attempt.started_ms, 2),
        "connect_ms": _ms(attempt.connect_ms),
        "first_byte_ms": _ms(attempt.first_byte_ms),
        "first_token_ms": _ms(attempt.first_token_ms),
        "ended_ms": _ms(attempt.ended_ms),
        "status": attempt.status,
        "class": attempt.cls,
        "detail": attempt.detail,
        "circuit_before": attempt.circuit_before,
        "circuit_after": attempt.circuit_after,
        "account": route.account,
        "cause": _cause(attempt),
        "served_as": _served_as(attempt),
        "prompt_tokens": attempt.prompt_tokens,
        "completion_tokens": attempt.completion_tokens,
        "cost_usd": attempt.cost_usd,
    }


def _cause(attempt: Attempt) -> str:
    return "" if attempt.cls in (None, OutcomeClass.OK) else cause_code(attempt)


def _served_as(attempt: Attempt) -> str | None:
    return attempt.served_model if attempt.served_model != attempt.route.model else None


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
