"""Pools: ordered groups of models with a strategy, and who belongs to one. A pool has no state but its pointer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .policy import CapabilityPolicy
    from .registry import Model, Provider
    from .route import ModelKey


class Strategy(StrEnum):
    """How a pool orders its routes (capabilities.md §4)."""

    PRIORITY = "priority"
    STICK_UNTIL_FAILURE = "stick_until_failure"
    ROUND_ROBIN = "round_robin"
    COST_FIRST = "cost_first"
    LATENCY_FIRST = "latency_first"
    SESSION_STICKY = "session_sticky"
    RATE_LIMIT_AWARE = "rate_limit_aware"
    LOAD_BALANCED = "load_balanced"
    CAPACITY_WEIGHTED = "capacity_weighted"
    WATERFALL = "waterfall"
    QUALITY_FIRST = "quality_first"


class SessionMode(StrEnum):
    """What a sticky session does when its route cannot be asked: move to another one for good, or fail."""

    FALLBACK = "fallback"
    STRICT = "strict"


class PriceTier(IntEnum):
    """What a model costs, in the order a waterfall tries them. Free never includes local."""

    FREE = 0
    LOCAL = 1
    PAID = 2


@dataclass(frozen=True, slots=True)
class PoolFilter:
    """Which models a pool keeps; empty and None ask for nothing."""

    providers: frozenset[str] = frozenset()
    exclude_providers: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    free: bool | None = None
    local: bool | None = None

    def keeps(self, model: Model, provider: Provider) -> bool:
        """Say whether a model passes; it needs every tag named, and `*` excludes every provider."""
        if self.providers and provider.name not in self.providers:
            return False
        if provider.name in self.exclude_providers or "*" in self.exclude_providers:
            return False
        if not self.tags.issubset(model.tags):
            return False
        tier = price_tier(model, provider)
        return self.free in (None, tier is PriceTier.FREE) and self.local in (None, tier is PriceTier.LOCAL)


@dataclass(frozen=True, slots=True)
class PoolTool:
    """A pool as a tool of agents: its name, its arguments (all text), and the prompt with `{argument}` places."""

    name: str
    args: tuple[str, ...]
    template: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of models. `listed` and `node` say who belongs, `members` who does now, in listed order."""

    id: str
    members: tuple[ModelKey, ...] = ()
    listed: tuple[ModelKey, ...] = ()
    node: str | None = None
    description: str = ""
    strategy: Strategy = Strategy.PRIORITY
    filter: PoolFilter = field(default_factory=PoolFilter)
    session_mode: SessionMode = SessionMode.FALLBACK
    automatic: bool = False
    capability_policy: CapabilityPolicy | None = None
    tool: PoolTool | None = None


def price_tier(model: Model, provider: Provider) -> PriceTier:
    """Return what a model costs: local where its provider is, free where somebody says so or both prices are 0."""
    if provider.local:
        return PriceTier.LOCAL
    if model.free is not None:
        return PriceTier.FREE if model.free else PriceTier.PAID
    known_zero = model.usd_per_mtok_in == 0 and model.usd_per_mtok_out == 0
    return PriceTier.FREE if provider.free or known_zero else PriceTier.PAID
