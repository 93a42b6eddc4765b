"""Every change to the registry, pools and capabilities, as frozen commands; part of the one door of `Control.do`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class RegisterModel:
    """Add a model nobody listed or configured; `fields` are the model fields of interface.md §2, JSON-ready."""

    provider: str
    model: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    name: ClassVar[str] = "register_model"


@dataclass(frozen=True, slots=True)
class UpdateModel:
    """Change fields of a model; `version` is the one the caller saw (None: whatever it is now). Null unsets a field."""

    provider: str
    model: str
    fields: Mapping[str, Any]
    version: int | None = None
    name: ClassVar[str] = "update_model"


@dataclass(frozen=True, slots=True)
class ApplyEdits:
    """Change fields of several models, each named once, in one swap and as one change: all of it or nothing."""

    edits: tuple[UpdateModel, ...]
    name: ClassVar[str] = "apply_edits"


@dataclass(frozen=True, slots=True)
class ImportPrices:
    """Take prices from a public table (LiteLLM's or OpenRouter's JSON) as one change; `origin` says where it is from.

    Prices somebody wrote down stay unless `overwrite`; `provider` limits it to one, whose ids the table's then are.
    """

    table: Mapping[str, Any]
    origin: str = ""
    provider: str | None = None
    overwrite: bool = False
    name: ClassVar[str] = "import_prices"


@dataclass(frozen=True, slots=True)
class RemoveModel:
    """Take a model out of registry, pools and assignments; a configured or listed one leaves a tombstone."""

    provider: str
    model: str
    name: ClassVar[str] = "remove_model"


@dataclass(frozen=True, slots=True)
class SetModelActive:
    """Enable or disable a model; it stays listed, and the decision survives a restart."""

    provider: str
    model: str
    active: bool
    name: ClassVar[str] = "set_model_active"


@dataclass(frozen=True, slots=True)
class AcceptModel:
    """Let a discovered model of a hosted provider join pools."""

    provider: str
    model: str
    name: ClassVar[str] = "accept_model"


@dataclass(frozen=True, slots=True)
class LabelModel:
    """Add and take away tags of a model."""

    provider: str
    model: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    name: ClassVar[str] = "label_model"


@dataclass(frozen=True, slots=True)
class AssignAgent:
    """Send an agent's requests to a model (`provider/model`), pool or profile."""

    agent: str
    model: str
    name: ClassVar[str] = "assign_agent"


@dataclass(frozen=True, slots=True)
class UnassignAgent:
    """Let an agent fall back to its own default."""

    agent: str
    name: ClassVar[str] = "unassign_agent"


@dataclass(frozen=True, slots=True)
class SetCapability:
    """Say yes or no of one node (a word, path or unique leaf name) of one model: the operator's layer."""

    provider: str
    model: str
    node: str
    value: Literal["yes", "no"]
    name: ClassVar[str] = "set_capability"


@dataclass(frozen=True, slots=True)
class ClearCapability:
    """Take the operator's value away; the next layer counts again."""

    provider: str
    model: str
    node: str
    name: ClassVar[str] = "clear_capability"


@dataclass(frozen=True, slots=True)
class ClearGap:
    """Forget what the routes of a model were learned to lack at one node."""

    provider: str
    model: str
    node: str
    name: ClassVar[str] = "clear_gap"


@dataclass(frozen=True, slots=True)
class AcceptMeasured:
    """Put what a run measured of a capability into the measured layer of a model.

    `measured_at` (UTC epoch seconds) is when, now where it is not said; `fingerprint` is of the server it was seen on.
    """

    provider: str
    model: str
    node: str
    value: Literal["yes", "no"]
    evidence: str = ""
    measured_at: float | None = None
    fingerprint: str = ""
    name: ClassVar[str] = "accept_measured"


@dataclass(frozen=True, slots=True)
class ExtendCapabilities:
    """Add a node to the capability tree."""

    node: str
    name: ClassVar[str] = "extend_capabilities"


@dataclass(frozen=True, slots=True)
class RotatePool:
    """Move the pointer of a pool to its next member; refused where that would strand it."""

    pool: str
    name: ClassVar[str] = "rotate_pool"


@dataclass(frozen=True, slots=True)
class SyncModels:
    """List the models of these providers now (all that allow it when none are named)."""

    providers: tuple[str, ...] = ()
    name: ClassVar[str] = "sync_models"


@dataclass(frozen=True, slots=True)
class PullModel:
    """Have an Ollama server download a model; the receipt comes at once, progress as events."""

    provider: str
    model: str
    name: ClassVar[str] = "pull_model"


@dataclass(frozen=True, slots=True)
class CancelPull:
    """Stop a download."""

    provider: str
    model: str
    name: ClassVar[str] = "cancel_pull"


@dataclass(frozen=True, slots=True)
class Undo:
    """Reverse one registry or capability change by its audit number; refused where it was changed again since."""

    audit_id: int
    name: ClassVar[str] = "undo"


RegistryCommand = (
    RegisterModel
    | UpdateModel
    | ApplyEdits
    | ImportPrices
    | RemoveModel
    | SetModelActive
    | AcceptModel
    | LabelModel
    | AssignAgent
    | UnassignAgent
    | SetCapability
    | ClearCapability
    | ClearGap
    | AcceptMeasured
    | ExtendCapabilities
    | Undo
)
"""What the editor carries out on the overlay."""
