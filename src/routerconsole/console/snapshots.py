"""What views read beside status and log: which snapshots there are, and when one is old enough to be read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from routerconsole.control.registry_views import ModelQuery
from routerconsole.domain.events import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.control.eval_views import EvalPage
    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import Assignment, ModelPage, NodeView, PoolView, ProfileView
    from routerconsole.control.usage_views import UsagePage
    from routerconsole.control.views import ProviderMetrics

FRESH_S: Final = 2.0
"""Seconds a snapshot is shown before it is read again while a view wants it; an event that changes it is quicker."""
SHARE: Final = 20.0
"""A snapshot is read again after so many times what it took, where that is longer."""
CHANGED_SHARE: Final = 4.0
"""The same for one that was changed."""


class Read(StrEnum):
    """A snapshot of the control port."""

    METRICS = "metrics"
    MODELS = "models"
    NODES = "nodes"
    POOLS = "pools"
    PROFILES = "profiles"
    ASSIGNMENTS = "assignments"
    EVALS = "evals"
    USAGE = "usage"


_REGISTRY: Final = frozenset({Read.MODELS, Read.NODES, Read.POOLS, Read.PROFILES, Read.ASSIGNMENTS})
_CHANGED_BY: Final = {
    EventType.REGISTRY_CHANGED: _REGISTRY,
    EventType.CAPABILITY_CHANGED: _REGISTRY,
    EventType.CAPABILITY_GAP_LEARNED: _REGISTRY,
    EventType.DISCOVERY_UPDATED: _REGISTRY,
    EventType.CONFIG_RELOADED: _REGISTRY,
    EventType.POOL_CHANGED: frozenset({Read.POOLS}),
    EventType.EVAL_STARTED: frozenset({Read.EVALS}),
    EventType.EVAL_CELL_FINISHED: frozenset({Read.EVALS}),
    EventType.EVAL_FINISHED: frozenset({Read.EVALS}),
    **dict.fromkeys(
        (
            EventType.WEIGHTS_LOADING,
            EventType.WEIGHTS_LOADED,
            EventType.WEIGHTS_FAILED,
            EventType.WEIGHTS_DIED,
            EventType.WEIGHTS_RESTARTED,
        ),
        frozenset({Read.MODELS}),
    ),
    **dict.fromkeys(
        (
            EventType.CIRCUIT_OPENED,
            EventType.CIRCUIT_HALF_OPEN,
            EventType.CIRCUIT_CLOSED,
            EventType.CIRCUIT_RESET,
            EventType.GATE_STARTED,
            EventType.GATE_ENDED,
            EventType.PROVIDER_ENABLED,
            EventType.PROVIDER_DISABLED,
        ),
        frozenset({Read.NODES, Read.POOLS}),
    ),
}


@dataclass(slots=True)
class Snapshots:
    """The last of each; None where it was not read yet. `version` grows with every one that came."""

    metrics: tuple[ProviderMetrics, ...] | None = None
    models: ModelPage | None = None
    nodes: tuple[NodeView, ...] | None = None
    pools: tuple[PoolView, ...] | None = None
    profiles: tuple[ProfileView, ...] | None = None
    assignments: tuple[Assignment, ...] | None = None
    evals: EvalPage | None = None
    usage: UsagePage | None = None
    version: int = 0

    def take(self, newer: Snapshots) -> None:
        """Replace what was read anew."""
        for read in Read:
            value = getattr(newer, read.value)
            if value is not None:
                setattr(self, read.value, value)
                self.version += 1


@dataclass(slots=True)
class Freshness:
    """When each snapshot was read last and how long that took, by the caller's monotonic seconds.

    What takes long is read less often, however often it changes: the models of a registry of thousands.
    """

    _read: dict[Read, tuple[float, float]] = field(default_factory=dict)
    _changed: set[Read] = field(default_factory=set)

    def due(self, wanted: Iterable[Read], clock: float) -> list[Read]:
        """Return the wanted ones that were never read, are old, or were changed since."""
        return [read for read in wanted if read not in self._read or clock >= self._until(read)]

    def _until(self, read: Read) -> float:
        at, took = self._read[read]
        return at + (CHANGED_SHARE * took if read in self._changed else max(FRESH_S, SHARE * took))

    def read(self, read: Read, clock: float, took: float = 0.0) -> None:
        """Note that one was read at `clock`, and the seconds that took."""
        self._read[read] = (clock, took)
        self._changed.discard(read)

    def changed(self, kind: EventType) -> None:
        """Note an event: what it changed is due again."""
        self._changed |= _CHANGED_BY.get(kind, frozenset())

    def forget(self) -> None:
        """Another engine answers: everything is due."""
        self._read.clear()


async def read_into(snapshots: Snapshots, read: Read, control: Control) -> None:
    """Read one snapshot; raises what the port raises."""
    match read:
        case Read.METRICS:
            snapshots.metrics = await control.metrics()
        case Read.MODELS:
            snapshots.models = await control.registry(ModelQuery())
        case Read.NODES:
            snapshots.nodes = await control.capabilities()
        case Read.POOLS:
            snapshots.pools = await control.pools()
        case Read.PROFILES:
            snapshots.profiles = await control.profiles()
        case Read.ASSIGNMENTS:
            snapshots.assignments = await control.assignments()
        case Read.EVALS:
            snapshots.evals = await control.eval_page()
        case Read.USAGE:
            snapshots.usage = await control.usage()
