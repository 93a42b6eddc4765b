"""The record of one request: how it resolved, who was considered and why, every attempt, and how it ended.

Built by the engine while the request runs (single-threaded), read by views, storage and error bodies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .outcome import OutcomeClass
from .request import Endpoint, Origin
from .route import Route


class Decision(StrEnum):
    """What the plan said of a candidate."""

    ELIGIBLE = "eligible"
    DROPPED = "dropped"
    SKIPPED = "skipped"
    DEMOTED = "demoted"


class Terminal(StrEnum):
    """How a stream ended for the client."""

    CLEAN = "clean"
    TRUNCATED = "truncated"
    CLIENT_CANCEL = "client_cancel"
    NONE = "none"


class RequestStatus(StrEnum):
    """The one word of the request log."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TRUNCATED = "truncated"
    IN_FLIGHT = "in_flight"


@dataclass(slots=True)
class Candidate:
    """One considered route. `reasons` carry live numbers; `sort_key` is the shown tuple of routing.md §2.11."""

    route: Route
    decision: Decision
    reasons: list[str] = field(default_factory=list)
    sort_key: tuple[float, ...] = ()


@dataclass(slots=True)
class Attempt:
    """One upstream call. Times are milliseconds since the request began; None where it did not get that far."""

    n: int
    route: Route
    started_ms: float
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    first_token_ms: float | None = None
    ended_ms: float | None = None
    status: int | None = None
    cls: OutcomeClass | None = None
    detail: str = ""
    circuit_before: str = "closed"
    circuit_after: str = "closed"
    reused: bool = False
    served_model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(slots=True)
class Trace:
    """All about one request. `at` is UTC epoch seconds, `began` the monotonic clock; `router_ms` is our own time."""

    id: str
    at: float
    began: float
    origin: Origin
    endpoint: Endpoint
    model: str | None
    stream: bool
    agent: str | None = None
    resolved: str = ""
    resolved_kind: str = ""
    because: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    estimate_tokens: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    status: RequestStatus = RequestStatus.IN_FLIGHT
    http_status: int | None = None
    error_code: str | None = None
    selected: Route | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_source: str = "missing"
    cost_usd: float | None = None
    total_ms: float | None = None
    ttft_ms: float | None = None
    router_ms: float | None = None
    terminal: Terminal = Terminal.NONE
    client_retry: int = 0
    undelivered: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    session: str | None = None
    size: int = 0
    forward: tuple[tuple[str, str], ...] = ()  # the client's trace context, as upstreams get it

    @property
    def failed_over(self) -> bool:
        """Whether more than one attempt was made."""
        return len(self.attempts) > 1


CAUSE_CODE: dict[OutcomeClass, str] = {
    OutcomeClass.CONNECT: "CON",
    OutcomeClass.STALE_CONN: "CON",
    OutcomeClass.TIMEOUT_FIRST: "TMO",
    OutcomeClass.SERVER: "5xx",
    OutcomeClass.WARMING: "WRM",
    OutcomeClass.RATE: "429",
    OutcomeClass.QUOTA: "QUO",
    OutcomeClass.AUTH: "AUTH",
    OutcomeClass.MISSING: "404",
    OutcomeClass.CAPABILITY: "CAP",
    OutcomeClass.CONTEXT: "CTX",
    OutcomeClass.OVERSIZE: "413",
    OutcomeClass.POLICY: "POL",
    OutcomeClass.CLIENT_ERROR: "4xx",
    OutcomeClass.BAD_200: "JSON",
    OutcomeClass.BLANK: "BLK",
    OutcomeClass.UNDELIVERED: "CAP",
    OutcomeClass.CUT: "CUT",
    OutcomeClass.IGNORED: "CXL",
    OutcomeClass.LOCAL: "SHED",
}


def cause_code(attempt: Attempt) -> str:
    """Return the fixed short code of a failed attempt; a server error shows its own status."""
    if attempt.cls is OutcomeClass.SERVER and attempt.status:
        return str(attempt.status)
    return CAUSE_CODE.get(attempt.cls, "?") if attempt.cls else ""


def chain_text(trace: Trace) -> str:
    """Return the failover chain of a request, e.g. `groq✗429 › ollama✓ 412ms`; `…` marks an attempt under way."""
    parts: list[str] = []
    for attempt in trace.attempts:
        name = attempt.route.provider
        if attempt.cls is None:
            parts.append(f"{name}…")
        elif attempt.cls is OutcomeClass.OK:
            took = (attempt.ended_ms or attempt.started_ms) - attempt.started_ms
            parts.append(f"{name}✓ {took:.0f}ms")
        else:
            parts.append(f"{name}✗{cause_code(attempt)}")
    if parts:
        return " › ".join(parts)
    return trace.error_code or ("…" if trace.status is RequestStatus.IN_FLIGHT else "-")
