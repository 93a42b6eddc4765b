"""Errors on the wire: one shape for every face (interface.md §4), and the headers every answer carries."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.domain.errors import ErrorCode, RouterError, RoutingFailed, StreamIncomplete
from routerconsole.domain.trace import Decision
from routerconsole.routing.error_body import public_text

if TYPE_CHECKING:
    from routerconsole.domain.trace import Trace

Headers = list[tuple[bytes, bytes]]

MAX_LISTED = 50
"""Skipped candidates named in one error body."""


def error_body(error: RouterError, request_id: str) -> dict[str, Any]:
    """Return the JSON object of an error; what was tried and skipped comes from its trace."""
    trace = error.trace if isinstance(error, RoutingFailed) else None
    told: dict[str, Any] = {"request_id": request_id, "attempts": [], "skipped": []}
    if trace is not None:
        told["attempts"] = attempts_of(trace)
        told["skipped"] = skipped_of(trace)
    if isinstance(error, StreamIncomplete):
        told["class"] = error.cause
    return {
        "error": {
            "message": error.message,
            "type": error.type.value,
            "code": error.code.value,
            "param": error.param,
            "routerconsole": told,
        }
    }


def attempts_of(trace: Trace) -> list[dict[str, Any]]:
    """Return every upstream call as errors and traced answers list them."""
    return [
        {
            "provider": attempt.route.provider,
            "model": attempt.route.model,
            "class": attempt.cls.value if attempt.cls else None,
            "status": attempt.status,
            "ms": None if attempt.ended_ms is None else round(attempt.ended_ms - attempt.started_ms, 1),
        }
        for attempt in trace.attempts
    ]


def skipped_of(trace: Trace) -> list[dict[str, Any]]:
    """Return the candidates that were not asked, with the reason."""
    asked = {attempt.route for attempt in trace.attempts}
    return [
        {
            "provider": item.route.provider,
            "model": item.route.model,
            "reason": public_text(", ".join(item.reasons)) or item.decision.value,
        }
        for item in trace.candidates
        if item.route not in asked and item.decision in (Decision.DROPPED, Decision.SKIPPED)
    ][:MAX_LISTED]


def error_headers(error: RouterError) -> Headers:
    """Return the headers an error adds: Retry-After in whole seconds, x-should-retry."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, ceil(error.retry_after - 1e-6))).encode()))
    if error.code is ErrorCode.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.allow is not None:
        headers.append((b"allow", error.allow.encode()))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    return headers


def trace_headers(request_id: str, trace: Trace | None) -> Headers:
    """Return the x-router-* headers; provider and model name the serving or last asked route, `none` before any."""
    route = None
    count = 0
    if trace is not None:
        count = len(trace.attempts)
        route = trace.selected or (trace.attempts[-1].route if trace.attempts else None)
    return [
        (b"x-router-request-id", request_id.encode()),
        (b"x-router-provider", header_text(route.provider) if route else b"none"),
        (b"x-router-model", header_text(route.model) if route else b"none"),
        (b"x-router-attempts", str(count).encode()),
    ]


def overhead_header(router_ms: float) -> tuple[bytes, bytes]:
    """Return the header with the milliseconds spent inside the router, not waiting for upstreams."""
    return b"x-router-overhead-ms", f"{router_ms:.2f}".encode()


def undelivered_header(trace: Trace) -> tuple[bytes, bytes]:
    """Return the header that names the forced capabilities an answer lacks."""
    return b"x-router-undelivered", ",".join(trace.undelivered).encode()


def header_text(value: str) -> bytes:
    """Return text as a header value: printable ASCII, anything else percent-encoded."""
    if value.isascii() and value.isprintable():
        return value.encode()
    return b"".join(
        bytes([byte]) if 0x20 < byte < 0x7F else b"%%%02X" % byte for byte in value.encode("utf-8", "replace")
    )


def dumps(body: dict[str, Any]) -> bytes:
    """Return JSON bytes."""
    return orjson.dumps(body)
