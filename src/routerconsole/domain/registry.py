"""The frozen, versioned picture of providers, models and pools that one request sees from start to end.

A change makes a new Registry and swaps it in; nobody ever mutates one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .capability import CapabilityTree, Layer, Standing, standing
from .policy import CircuitPolicy, RoutingPolicy, Timeouts
from .pool import Pool, PriceTier
from .profile import Profile
from .route import ModelKey, Route
from .secret import Secret


class ProviderKind(StrEnum):
    """The dialects a provider entry may name."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    OPENAI_COMPATIBLE = "openai_compatible"
    ANTHROPIC = "anthropic"
    AIRLLM = "airllm"
    SIMULATED = "simulated"


class Tier(StrEnum):
    """How heavy a model is."""

    EXPLORATORY = "exploratory"
    STANDARD = "standard"
    DEEP = "deep"


class Role(StrEnum):
    """What a model is for."""

    GENERAL = "general"
    REWARD = "reward"
    TEACHER = "teacher"
    JUDGE = "judge"


class ModelFormat(StrEnum):
    """How a model's weights exist."""

    API = "api"
    OLLAMA = "ollama"
    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    HF = "hf"


class ModelState(StrEnum):
    """Whether its provider still lists a model: missing once is stale, twice is withdrawn."""

    LIVE = "live"
    STALE = "stale"
    WITHDRAWN = "withdrawn"


class ModelOrigin(StrEnum):
    """Who brought a model here first."""

    CONFIG = "config"
    DISCOVERY = "discovery"
    OPERATOR = "operator"


class AccountStrategy(StrEnum):
    """How the accounts of one provider share its traffic."""

    ROUND_ROBIN = "round_robin"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class Account:
    """One credential of a provider; name None is the only one. `unavailable` says why it cannot be used."""

    name: str | None = None
    api_key: Secret | None = None
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and tokens per minute and per UTC day; None is no limit."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    tpd: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Model:
    """One upstream model at one provider. Prices are USD per million tokens, None is unknown (not zero).

    `version` is the optimistic lock of edits, `registered_at` UTC epoch seconds (None: it is in the configuration),
    `listed` whether the provider's last listing shows it (None: there is none).
    """

    provider: str
    upstream_id: str
    default: bool = False
    in_pools: bool = True
    enabled: bool = True
    role: Role = Role.GENERAL
    format: ModelFormat = ModelFormat.API
    path: str | None = None
    display: str | None = None
    description: str | None = None
    layers: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)
    context_window: int | None = None
    max_output_tokens: int | None = None
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    price_source: str | None = None  # configuration | listing | operator, or the table they were taken from
    tags: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    tier: Tier = Tier.STANDARD
    priority: int | None = None  # set by an operator; None follows the provider's
    exposed: bool = True
    default_temperature: float | None = None
    delivery: tuple[str, ...] = ("sync", "stream")
    features: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    free: bool | None = None
    origin: ModelOrigin = ModelOrigin.CONFIG
    state: ModelState = ModelState.LIVE
    listed: bool | None = None
    version: int = 1
    registered_at: float | None = None

    @property
    def key(self) -> ModelKey:
        """The registry key."""
        return ModelKey(self.provider, self.upstream_id)

    def standing(self, node: str) -> Standing:
        """Return the effective value of a node; learned gaps are not included (they live on the board, per route)."""
        return standing(self.layers, node)


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """Periodic reachability checks: every `interval` seconds while enabled."""

    interval: float = 30.0
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class DiscoveryPolicy:
    """Listing of a provider's models every `interval` seconds; what a new or a missing model does to the registry."""

    enabled: bool = True
    interval: float = 3600.0
    register_new: bool = True
    stale_missing: bool = True


@dataclass(frozen=True, slots=True)
class Provider:
    """One upstream server. `unavailable` is the reason it cannot be used at all (it stays listed)."""

    name: str
    kind: ProviderKind
    base_url: str
    enabled: bool = True
    priority: int = 100
    accounts: tuple[Account, ...] = (Account(),)
    account_strategy: AccountStrategy = AccountStrategy.ROUND_ROBIN
    headers: tuple[tuple[str, str | Secret], ...] = ()
    proxy: str | Secret | None = None
    ca_file: str | None = None
    max_concurrency: int = 64
    timeouts: Timeouts = field(default_factory=Timeouts)
    local: bool = False
    free: bool = False
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    discovery: DiscoveryPolicy = field(default_factory=DiscoveryPolicy)
    models: tuple[Model, ...] = ()
    quirks: frozenset[str] = frozenset()  # oddities its listing gave away
    unavailable: str | None = None

    @property
    def default_model(self) -> str | None:
        """The model flagged default, else the first, else None (C0-06)."""
        return next(
            (model.upstream_id for model in self.models if model.default),
            self.models[0].upstream_id if self.models else None,
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What is worked out of one model when a registry is made: the nodes it has, what it costs, whether it joins pools.

    `priced` is what its provider said for the price, so that a change of it shows.
    """

    key: ModelKey
    model: Model
    joins: bool
    nodes: frozenset[str]
    price: PriceTier
    priced: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Registry:
    """The whole picture, with a version that grows by one at each swap; `assemble` makes one."""

    version: int
    policy: RoutingPolicy
    tree: CapabilityTree = field(default_factory=CapabilityTree)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: Mapping[ModelKey, Model] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    virtual: Mapping[str, Pool] = field(default_factory=dict)  # `tools/free` -> its pool, those with members only
    profiles: Mapping[str, Profile] = field(default_factory=dict)  # by casefolded id
    agents: Mapping[str, str] = field(default_factory=dict)  # configured: agent -> profile | pool | provider/model
    assignments: Mapping[str, str] = field(default_factory=dict)  # set by operators; beats `agents`
    by_upstream_id: Mapping[str, tuple[ModelKey, ...]] = field(default_factory=dict)
    facts: Mapping[ModelKey, Facts] = field(default_factory=dict, repr=False, compare=False)
    shelves: Mapping[str, tuple[Facts, ...]] = field(default_factory=dict, repr=False, compare=False)  # by provider

    def routes(self, key: ModelKey) -> tuple[Route, ...]:
        """Return the routes of a model, one per account of its provider, in configured order."""
        provider = self.providers[key.provider]
        return tuple(Route(provider.name, account.name, key.model) for account in provider.accounts)

    def priority(self, key: ModelKey) -> int:
        """Return a model's place among others, lower first: its own where an operator set one, else its provider's."""
        own = self.models[key].priority
        return self.providers[key.provider].priority if own is None else own


AUTO_POOL = "auto"
