"""What the registry's routes take and give: strict bodies with the model fields of interface.md §2, and envelopes.

A field that is left out stays as it is, `null` takes it back to what configuration and listings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from routerconsole.control.registry_views import Assignment, Finding, NodeView, PoolView, ProfileView

from .schemas import Body, JsonObject, Query

Named = Annotated[str, Field(min_length=1, max_length=512)]
Tokens = Annotated[int, Field(ge=0, le=10**12)]
Price = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Texts = list[Annotated[str, Field(min_length=1, max_length=256)]]


class LimitsBody(Body):
    """Requests and tokens per minute and per UTC day; null is no limit."""

    rpm: Count | None = None
    rpd: Count | None = None
    tpm: Count | None = None
    tpd: Count | None = None


class ModelFields(Body):
    """The fields of a model an operator may set."""

    display: str | None = None
    description: str | None = None
    enabled: bool | None = None
    exposed: bool | None = None
    default: bool | None = None
    in_pools: bool | None = None
    role: Literal["general", "reward", "teacher", "judge"] | None = None
    format: Literal["api", "ollama", "gguf", "safetensors", "hf"] | None = None
    path: str | None = None
    capabilities: Texts | None = None
    context_window: Tokens | None = None
    max_output_tokens: Tokens | None = None
    default_temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    delivery: list[Literal["sync", "stream", "batch"]] | None = None
    features: Texts | None = None
    constraints: Texts | None = None
    usd_per_mtok_in: Price | None = None
    usd_per_mtok_out: Price | None = None
    free: bool | None = None
    price_source: Annotated[str, Field(max_length=300)] | None = None
    tags: Texts | None = None
    limits: LimitsBody | None = None
    tier: Literal["exploratory", "standard", "deep"] | None = None

    def told(self) -> JsonObject:
        """Return the fields that were sent, as sent."""
        data: JsonObject = self.model_dump(exclude_unset=True, exclude={"provider", "id", "version"})
        return data


class NewModel(ModelFields):
    """A model nobody listed or configured; `id` is the upstream's own."""

    provider: Named
    id: Named


class ModelChange(ModelFields):
    """Fields to change; with the `version` that was seen, a change by somebody else meanwhile is a conflict."""

    provider: Named | None = None
    id: Named | None = None
    version: Annotated[int, Field(ge=1, lt=2**63)] | None = None


class ActiveBody(Body):
    """Whether a model takes requests."""

    active: bool


class AssignmentBody(Body):
    """An agent, and the `provider/model`, pool or profile its requests go to."""

    agent: Named
    model: Named


class ValueBody(Body):
    """What an operator says of a node."""

    value: Literal["yes", "no"]


class NodeBody(Body):
    """A new node of the capability tree, as a dotted path."""

    node: Named


class SyncBody(Body):
    """Whose models to list; none named means all that allow it."""

    providers: list[Named] = Field(default=[])


class ModelsQuery(Query):
    """Which models: by role, provider, or what they can do (word, path or unique leaf name)."""

    role: str | None = None
    provider: str | None = None
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class AssignmentList:
    """Who operators assigned, by agent."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class NodeList:
    """The capability tree."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class PoolList:
    """Every pool."""

    pools: tuple[PoolView, ...]


@dataclass(frozen=True, slots=True)
class ProfileList:
    """Every profile."""

    profiles: tuple[ProfileView, ...]


@dataclass(frozen=True, slots=True)
class FindingList:
    """What a doctor found, errors first."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class SyncedProvider:
    """What asking one provider came to; `status` is ok | failed."""

    status: str
    models: int
    stale: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What listings changed, as `provider/model`."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    providers: Mapping[str, SyncedProvider]
