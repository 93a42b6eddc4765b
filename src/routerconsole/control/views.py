"""Frozen read models of the operator plane; their fields are the JSON shapes of interface.md §7.

`*_ms` are milliseconds, `*_s` seconds, `at` is UTC ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """One route as operators see it; `status` is a health word of routing.md §1 in lower case."""

    provider: str
    model: str
    status: str
    circuit_state: str
    enabled: bool
    total_requests: int
    successful: int
    failed: int
    error_rate: float
    account: str | None = None
    circuit_open_for_s: float | None = None
    gate: str | None = None
    gate_ends_in_s: float | None = None
    fault: str | None = None
    reason: str | None = None
    headroom: int | None = None  # counted failures left before the circuit opens
    in_flight: int = 0
    priority: int | None = None  # lower is tried first: its own where an operator set one, else its provider's
    last_error: Mapping[str, Any] | None = None  # {class, detail, at}
    gaps: tuple[str, ...] = ()  # capability words learned to be missing
    admin: str = "auto"  # auto | draining | disabled | isolated | forced_closed: its own, by operators
    admin_ends_in_s: float | None = None  # of what is isolated or forced closed


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """One provider as operators see it; `counts_as` is what it adds to in `Status`: one rule for every face."""

    name: str
    kind: str
    enabled: bool
    status: str
    counts_as: Literal["healthy", "degraded", "unhealthy"]
    priority: int
    default_model: str | None
    circuit_state: str
    circuit_open_for_s: float | None
    gate: str | None
    gate_ends_in_s: float | None
    fault: str | None
    reason: str | None
    routes: tuple[RouteStatus, ...]
    total_requests: int = 0
    successful: int = 0
    failed: int = 0
    error_rate: float = 0.0
    in_flight: int = 0
    rps: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    history: tuple[tuple[int, int], ...] = ()  # (ok, failed) per 5 s, oldest first, five minutes
    local: bool = False
    models: tuple[str, ...] = ()
    admin: str = "auto"  # as of a route
    admin_ends_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """The worker that serves checkpoints of this machine: `load_s` seconds and `memory_mb` MB are of `model`.

    `problem` is why the model is not served by AirLLM, or what became of the last process.
    """

    running: bool
    model: str | None
    backend: str | None
    loading: bool
    load_s: float | None
    memory_mb: int | None
    waiting: int
    restarts: int
    problem: str


@dataclass(frozen=True, slots=True)
class Status:
    """The whole engine at a glance. Rates are over the last minute."""

    total: int
    healthy: int
    degraded: int
    unhealthy: int
    uptime_s: float
    in_flight: int
    providers: tuple[ProviderStatus, ...]
    version: str = ""
    endpoint: str = ""
    config_path: str | None = None
    notices: tuple[str, ...] = ()  # banners: storage degraded, config rejected, ...
    rps: float = 0.0
    failover_ratio: float = 0.0
    error_ratio: float = 0.0
    p95_ms: float | None = None
    draining: bool = False
    weights: WeightsStatus | None = None  # where a provider of kind `airllm` needs its worker


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit counts against it now; over `limit` where more was sent than allowed."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class RouteMetrics:
    """Counters and latencies of one route; latencies over successes in a bounded window.

    `limits` are those it has of rpm, tpm, rpd and tpd.
    """

    model: str
    total_requests: int
    successful: int
    failed: int
    error_rate: float
    avg_latency_ms: float
    p50_ms: float | None
    p95_ms: float | None
    ttft_p50_ms: float | None
    tokens_per_s: float | None
    failures_by_class: Mapping[str, int]
    account: str | None = None
    limits: Mapping[str, LimitUse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderMetrics:
    """The same for a provider, with its routes."""

    name: str
    total_requests: int
    successful: int
    failed: int
    error_rate: float
    avg_latency_ms: float
    p50_ms: float | None
    p95_ms: float | None
    ttft_p50_ms: float | None
    tokens_per_s: float | None
    failures_by_class: Mapping[str, int]
    routes: tuple[RouteMetrics, ...]


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One line of the request log; `status` is ok | failed | cancelled | truncated | in_flight."""

    id: str
    at: str
    origin: str
    model: str | None
    resolved: str
    needed: tuple[str, ...]
    forced: tuple[str, ...]
    stream: bool
    status: str
    http_status: int | None
    provider: str | None
    served_model: str | None
    attempts: int
    chain: str
    total_ms: float | None
    ttft_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    usage_source: str
    agent: str | None
    error_code: str | None = None
    flags: tuple[str, ...] = ()
    endpoint: str = "chat"


@dataclass(frozen=True, slots=True)
class CandidateView:
    """One considered route and what the plan said of it."""

    provider: str
    model: str
    decision: str
    reasons: tuple[str, ...]
    sort_key: tuple[float, ...]
    account: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One upstream call; times in milliseconds since the request began. `class` is spelt `class_` in Python only.

    `served_as` is the model the answer itself names, where that is another than was asked. Tokens and cost are what
    this call took, None where nobody knows.
    """

    n: int
    provider: str
    model: str
    started_ms: float
    connect_ms: float | None
    first_byte_ms: float | None
    first_token_ms: float | None
    ended_ms: float | None
    status: int | None
    class_: str | None
    detail: str
    circuit_before: str
    circuit_after: str
    account: str | None = None
    cause: str = ""
    served_as: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """Everything known of one request; on the wire its row's fields are inlined."""

    row: RequestRow
    candidates: tuple[CandidateView, ...]
    attempts_detail: tuple[AttemptView, ...]
    finish_reason: str | None
    router_ms: float | None
    terminal: str
    estimate_tokens: int = 0
    replayable: bool = False
    because: tuple[str, ...] = ()  # how the model name was found, and why a profile fell back


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A slice of the log, newest first; `next` is the cursor for `before`, None at the end."""

    requests: tuple[RequestRow, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class FailureView:
    """Failures of one route by class, or one recent failure (`failures` 1)."""

    at: str
    provider: str
    model: str
    class_: str
    status: int | None
    detail: str
    request_id: str
    failures: int = 1


@dataclass(frozen=True, slots=True)
class HealthResult:
    """One checked provider; `depth` is reach | auth | completion."""

    name: str
    kind: str
    healthy: bool
    status: str
    latency_ms: float | None
    depth: str
    detail: str


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A round of reachability checks."""

    checked_at: str
    providers: tuple[HealthResult, ...]
    healthy_count: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One operator change."""

    id: int
    at: str
    actor: str
    command: str
    target: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """How a model name resolved: profile | pool | virtual | capability | provider_model | model | agent | none.

    `because` says it in words: which level won for an agent, why a profile fell back; `strategy` orders a pool.
    """

    kind: str
    id: str
    because: tuple[str, ...] = ()
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision for a body, nothing sent; `error` is what the request would be answered with before any attempt."""

    resolved: Resolved
    needed: tuple[str, ...]
    forced: tuple[str, ...]
    estimate_tokens: int
    candidates: tuple[CandidateView, ...]
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One entry of /v1/models."""

    id: str
    owned_by: str
    created: int = 0
    capabilities: Mapping[str, str] = field(default_factory=dict)
