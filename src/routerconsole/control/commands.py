"""Every change an operator can make, as frozen commands; `Control.do` is the one door they go through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .eval_commands import CancelEval, RegradeEval, StartEval
from .registry_commands import CancelPull, PullModel, RegistryCommand, RotatePool, SyncModels
from .reward_commands import RewardCommand

HAND_TTL_S = 900.0
"""How long what is isolated or forced closed by hand stays so, unless said (interface.md §5)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a command acts on: a provider, or with `model` every route (all accounts) of that model there."""

    provider: str
    model: str | None = None

    @property
    def kind(self) -> Literal["provider", "route"]:
        """Which of the two it is."""
        return "provider" if self.model is None else "route"

    def label(self) -> str:
        """Return the text shown to people."""
        return self.provider if self.model is None else f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class _OnTarget:
    target: Target
    verb: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The audit name, e.g. `disable_provider`."""
        return f"{self.verb}_{self.target.kind}"


@dataclass(frozen=True, slots=True)
class Enable(_OnTarget):
    """Take requests again, as the breaker says: ends disabled, draining, isolated and forced closed."""

    verb: ClassVar[str] = "enable"


@dataclass(frozen=True, slots=True)
class Disable(_OnTarget):
    """No new requests, remembered over restarts; `cancel_in_flight` also cuts what runs there."""

    cancel_in_flight: bool = False
    verb: ClassVar[str] = "disable"


@dataclass(frozen=True, slots=True)
class Drain(_OnTarget):
    """No new requests until enabled again or restarted; `cancel_in_flight` also cuts what runs there."""

    cancel_in_flight: bool = False
    verb: ClassVar[str] = "drain"


@dataclass(frozen=True, slots=True)
class ResetCircuit(_OnTarget):
    """Close the circuit and clear faults; `gates` clears rate, overload and quota gates too."""

    gates: bool = False
    verb: ClassVar[str] = "reset_circuit"

    @property
    def name(self) -> str:
        """The audit name, the same for provider and route."""
        return self.verb


@dataclass(frozen=True, slots=True)
class Isolate(_OnTarget):
    """Take it out by hand for `ttl_s` seconds (15 minutes by default); `cancel_in_flight` also cuts what runs there."""

    ttl_s: float = HAND_TTL_S
    cancel_in_flight: bool = False
    verb: ClassVar[str] = "isolate"


@dataclass(frozen=True, slots=True)
class ForceClose(_OnTarget):
    """Admit whatever the breaker says for `ttl_s` seconds (15 minutes by default)."""

    ttl_s: float = HAND_TTL_S
    verb: ClassVar[str] = "force_close"


@dataclass(frozen=True, slots=True)
class SetPriority:
    """Change the priority of a provider, or of one `model` there (lower is tried first); remembered over restarts."""

    provider: str
    priority: int
    model: str | None = None
    name: ClassVar[str] = "set_priority"


@dataclass(frozen=True, slots=True)
class Probe:
    """Check reachability now; no providers named means all. Never changes `enabled`, never closes a circuit."""

    providers: tuple[str, ...] = ()
    name: ClassVar[str] = "health_check"


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Read the configuration file again; the last good one stays on any error."""

    name: ClassVar[str] = "reload_config"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Stop one request that is in flight."""

    request_id: str
    name: ClassVar[str] = "cancel_request"


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Send a kept request body again, once per model named (its own model when none)."""

    request_id: str
    models: tuple[str, ...] = ()
    name: ClassVar[str] = "replay_request"


@dataclass(frozen=True, slots=True)
class ClearFailures:
    """Empty the list of recent failures."""

    name: ClassVar[str] = "clear_failures"


Command = (
    Enable
    | Disable
    | Drain
    | ResetCircuit
    | Isolate
    | ForceClose
    | SetPriority
    | Probe
    | ReloadConfig
    | CancelRequest
    | ReplayRequest
    | ClearFailures
    | RegistryCommand
    | RotatePool
    | SyncModels
    | PullModel
    | CancelPull
    | RewardCommand
    | StartEval
    | CancelEval
    | RegradeEval
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a command did: the state before and after (JSON-ready), whether it survives a restart, and its audit row.

    `persisted` False says the change is in force in memory only (storage is degraded). `audit_id` is None on a dry run.
    """

    command: str
    target: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    persisted: bool = True
    audit_id: int | None = None
    dry_run: bool = False
