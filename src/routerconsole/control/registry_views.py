"""Frozen read models of registry, capabilities, pools and profiles; their fields are the shapes of interface.md §7.

`at` and `registered_at` are UTC ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .reward_views import RewardMean


@dataclass(frozen=True, slots=True)
class LayerView:
    """One opinion on a node: `source` is operator | gap | measured | config | discovery | catalogue | guess."""

    source: str
    value: str
    at: str | None = None
    evidence: str = ""
    account: str | None = None  # of a learned gap: the exact route it was learned on
    expires_at: str | None = None
    stale: bool = False  # a measurement of another state of the server, or of long ago: it no longer counts
    fingerprint: str = ""  # of a measurement: what the server offered to be known by


@dataclass(frozen=True, slots=True)
class CapabilityValue:
    """The effective value of one node for one model with every layer, strongest first; `source` None when unknown.

    `contradiction` says where what people or listings declare and what was measured differ, accepted or only offered.
    """

    node: str
    value: str
    source: str | None
    at: str | None = None
    layers: tuple[LayerView, ...] = ()
    contradiction: str = ""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One registry model. `served` None: its provider has listed nothing yet; `note` says what to run or what is odd.

    `header` is what a weights file says of itself: architecture, parameter count, context length.
    """

    id: str
    provider: str
    upstream_id: str
    display: str | None
    description: str | None
    enabled: bool
    exposed: bool
    default: bool
    in_pools: bool
    role: str
    format: str
    path: str | None
    context_window: int | None
    max_output_tokens: int | None
    default_temperature: float | None
    delivery: tuple[str, ...]
    features: tuple[str, ...]
    constraints: tuple[str, ...]
    usd_per_mtok_in: float | None
    usd_per_mtok_out: float | None
    free: bool | None
    tags: tuple[str, ...]
    limits: Mapping[str, int | None]
    tier: str
    state: str
    origin: str
    served: bool | None
    version: int
    registered_at: str | None
    pools: tuple[str, ...]
    capabilities: Mapping[str, CapabilityValue]
    agents: tuple[str, ...] = ()
    note: str = ""
    header: Mapping[str, str | int | None] = field(default_factory=dict)
    price_source: str | None = None  # configuration | listing | operator, or the table they were taken from
    reward: RewardMean | None = None  # what judges said of its answers, None without a score
    agent_rewards: tuple[RewardMean, ...] = ()  # of the agents sent to it that have scores


@dataclass(frozen=True, slots=True)
class ModelPage:
    """The registry, or what passed the filters; `weights_dir` is where relative paths start."""

    models: tuple[ModelView, ...]
    total: int
    weights_dir: str | None = None


@dataclass(frozen=True, slots=True)
class PoolMember:
    """One member of a pool in its strategy's order now; `reason` is why it is not admissible."""

    provider: str
    model: str
    admissible: bool
    reason: str
    position: int
    account: str | None = None


@dataclass(frozen=True, slots=True)
class PoolToolView:
    """A pool as an MCP tool: every argument is text, and the prompt is `template` with `{argument}` filled in."""

    name: str
    args: tuple[str, ...]
    template: str


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool; `pointer` is `provider/model` where the strategy has one, `tool` how agents are offered it."""

    id: str
    description: str
    node: str | None
    strategy: str
    automatic: bool
    members: tuple[PoolMember, ...]
    pointer: str | None
    routable: int
    total: int
    tool: PoolToolView | None = None


@dataclass(frozen=True, slots=True)
class NodeModel:
    """A model's value at one node."""

    provider: str
    model: str
    value: str
    source: str | None


@dataclass(frozen=True, slots=True)
class NodeView:
    """One capability node; `models` are those that say yes or no of it, `total` has it, `routable` can be asked now."""

    path: str
    aliases: tuple[str, ...]
    extension: bool
    total: int
    routable: int
    models: tuple[NodeModel, ...]


@dataclass(frozen=True, slots=True)
class ProfileView:
    """One profile; `available` False comes with the reason in `problem`."""

    id: str
    provider: str
    model: str
    default: bool
    implicit: bool
    tags: tuple[str, ...]
    fallback_profiles: tuple[str, ...]
    fallback_models: tuple[str, ...]
    requirements: Mapping[str, bool | int | None]
    available: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """An agent and what its requests go to."""

    agent: str
    model: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a doctor: `level` is ERROR | WARN, `subject` what it is about, `message` says what to do."""

    level: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class PoolShift:
    """Which models a change would bring into a pool and take out of it, as `provider/model`; the first 20 of each."""

    pool: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """How many requests would lead with another model; None is nobody. `example` is the newest such request's id."""

    before: str | None
    after: str | None
    requests: int
    example: str


@dataclass(frozen=True, slots=True)
class Impact:
    """What commands would change, tried on the last requests: nothing is sent to a provider, nothing is changed.

    `replayed` requests were planned anew as things are and as they would be; `elsewhere` of them would lead with
    another model, of which `unserved` with nobody and `served` with somebody where now nobody does. `recorded` are
    there to be replayed; fewer are where it would have taken too long.
    """

    replayed: int
    recorded: int
    elsewhere: int
    unserved: int
    served: int
    moves: tuple[Move, ...] = ()
    pools: tuple[PoolShift, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelQuery:
    """Which models of the registry; None asks for all. `capability` is a word, path or unique leaf name."""

    role: str | None = None
    provider: str | None = None
    capability: str | None = None
