"""Frozen facts the engine publishes; readers follow them by sequence number (routing.md §10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """Every kind of fact."""

    REQUEST_RECEIVED = "request.received"
    ROUTE_CANDIDATES = "route.candidates"
    ATTEMPT_STARTED = "attempt.started"
    ATTEMPT_FIRST_TOKEN = "attempt.first_token"  # noqa: S105 - not a secret
    ATTEMPT_FAILED = "attempt.failed"
    ATTEMPT_SKIPPED = "attempt.skipped"
    ATTEMPT_SUCCEEDED = "attempt.succeeded"
    REQUEST_COMPLETED = "request.completed"
    REQUEST_FAILED = "request.failed"
    REQUEST_CANCELLED = "request.cancelled"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_HALF_OPEN = "circuit.half_open"
    CIRCUIT_CLOSED = "circuit.closed"
    CIRCUIT_RESET = "circuit.reset"
    GATE_STARTED = "gate.started"
    GATE_ENDED = "gate.ended"
    HEALTH_CHANGED = "health.changed"
    PROBE_STARTED = "probe.started"
    PROBE_FINISHED = "probe.finished"
    PROVIDER_ENABLED = "provider.enabled"
    PROVIDER_DISABLED = "provider.disabled"
    CAPABILITY_CHANGED = "capability.changed"
    CAPABILITY_GAP_LEARNED = "capability.gap_learned"
    REGISTRY_CHANGED = "registry.changed"
    POOL_CHANGED = "pool.changed"
    DISCOVERY_UPDATED = "discovery.updated"
    PULL_PROGRESS = "pull.progress"
    WEIGHTS_LOADING = "weights.loading"
    WEIGHTS_LOADED = "weights.loaded"
    WEIGHTS_FAILED = "weights.failed"
    WEIGHTS_DIED = "weights.died"
    WEIGHTS_RESTARTED = "weights.restarted"
    POOL_EXHAUSTED = "pool.exhausted"
    BUDGET_ALERT = "budget.alert"
    BUDGET_EXCEEDED = "budget.exceeded"
    EVAL_STARTED = "eval.started"
    EVAL_CELL_FINISHED = "eval.cell_finished"
    EVAL_FINISHED = "eval.finished"
    REWARD_SCORED = "reward.scored"
    CONFIG_RELOADED = "config.reloaded"
    CONFIG_REJECTED = "config.rejected"
    AUDIT = "audit"
    STORAGE_DEGRADED = "storage.degraded"
    STORAGE_RECOVERED = "storage.recovered"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, before it is numbered; `data` is JSON-ready."""

    type: EventType
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A numbered fact; `at` is UTC epoch seconds. Request events carry `id`; final ones the whole `row`."""

    seq: int
    at: float
    type: EventType
    data: Mapping[str, Any]
