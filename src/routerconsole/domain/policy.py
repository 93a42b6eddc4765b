"""The numbers that steer routing, as plain frozen values; durations are seconds. Defaults are interface.md §2's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CapabilityPolicy(StrEnum):
    """What a known-no does to a route: drop it, only order by it, or keep known-yes only."""

    GATE = "gate"
    PREFER = "prefer"
    STRICT = "strict"


class LastResort(StrEnum):
    """What happens when every candidate is gated."""

    NONE = "none"
    COOLING = "cooling"


class OnUndelivered(StrEnum):
    """What a client gets when several routes were tried and none delivered a forced capability."""

    ERROR = "error"
    RETURN_LAST = "return_last"


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """Breaker thresholds; shared by routes and providers."""

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    recovery_cap: float = 300.0
    half_open_max_calls: int = 2
    half_open_concurrency: int = 1
    error_rate_threshold: float = 0.5
    min_samples: int = 10
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry budget (tokens) and the same-route back-off."""

    budget_ratio: float = 0.2
    budget_floor_per_s: float = 0.5
    budget_burst: float = 20.0
    base_delay: float = 0.25
    max_delay: float = 8.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timers of one attempt; `connect` and `total` time a whole answer, the others a stream."""

    connect: float = 5.0
    first_token: float = 60.0
    idle: float = 45.0
    total: float = 300.0


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """Everything the cascade needs to know besides the candidates."""

    max_attempts: int = 6
    request_deadline: float = 600.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    capability_policy: CapabilityPolicy = CapabilityPolicy.GATE
    last_resort: LastResort = LastResort.COOLING
    on_undelivered: OnUndelivered = OnUndelivered.ERROR
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class RewardPolicy:
    """Whether and by whom outputs are scored: `votes` is odd, `sample` the share of finished chats (0 to 1)."""

    enabled: bool = False
    model: str | None = None
    votes: int = 3
    sample: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """USD a UTC day may cost (None: no budget), the share of it that is told, and whether more is refused."""

    daily_usd: float | None = None
    alert_at: float = 0.8
    enforce: bool = False
