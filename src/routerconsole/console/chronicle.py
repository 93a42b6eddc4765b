"""What events said of providers and routes since the console looks: transitions, probes, changes by operators.

Bounded per provider and in the number of providers; pure, no Textual.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from routerconsole.domain.events import EventType

from .render.quantity import moment as moment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.views import AuditRow
    from routerconsole.domain.events import Event

MAX_MOMENTS: Final = 200
"""Transitions kept of one provider with all its routes."""
MAX_PROBES: Final = 20
"""Finished probes kept of one provider."""
MAX_PROVIDERS: Final = 500

TRANSITIONS: Final = frozenset(
    {
        EventType.CIRCUIT_OPENED,
        EventType.CIRCUIT_HALF_OPEN,
        EventType.CIRCUIT_CLOSED,
        EventType.CIRCUIT_RESET,
        EventType.GATE_STARTED,
        EventType.GATE_ENDED,
        EventType.HEALTH_CHANGED,
        EventType.PROVIDER_ENABLED,
        EventType.PROVIDER_DISABLED,
        EventType.CAPABILITY_GAP_LEARNED,
        EventType.WEIGHTS_LOADING,
        EventType.WEIGHTS_LOADED,
        EventType.WEIGHTS_FAILED,
        EventType.WEIGHTS_DIED,
        EventType.WEIGHTS_RESTARTED,
        EventType.AUDIT,
    }
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One fact of a provider, or of one `model` there; `at` is UTC epoch seconds of the engine's clock."""

    at: float
    type: EventType
    provider: str
    model: str | None
    account: str | None
    data: Mapping[str, Any]


@dataclass(slots=True)
class _Kept:
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MAX_MOMENTS))
    probes: deque[Moment] = field(default_factory=lambda: deque(maxlen=MAX_PROBES))


@dataclass(slots=True)
class Chronicle:
    """The newest facts by provider. `since` is when the record begins without a hole, None before the first look."""

    since: float | None = None
    version: int = 0
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def begin(self, now: float) -> None:
        """Begin the record: what was before is not known, or has a hole."""
        self.since = now

    def forget(self) -> None:
        """Another engine answers."""
        self._kept.clear()
        self.since = None
        self.version += 1

    def take(self, events: Iterable[Event]) -> None:
        """Keep the events that say something of a provider; the longest unheard-of one gives way."""
        for event in events:
            probe = event.type is EventType.PROBE_FINISHED
            if not probe and event.type not in TRANSITIONS:
                continue
            moment = _moment(event)
            if moment is None:
                continue
            kept = self._kept.pop(moment.provider, None) or _Kept()
            self._kept[moment.provider] = kept
            (kept.probes if probe else kept.moments).append(moment)
            self.version += 1
            if len(self._kept) > MAX_PROVIDERS:
                del self._kept[next(iter(self._kept))]

    def providers(self) -> tuple[str, ...]:
        """Return whom it knows something of."""
        return tuple(self._kept)

    def moments(self, provider: str, model: str | None = None) -> list[Moment]:
        """Return what happened to a provider and its routes, or to one model there and its provider; newest first."""
        kept = self._kept.get(provider)
        found = reversed(kept.moments) if kept is not None else ()
        return [moment for moment in found if model is None or moment.model in (None, model)]

    def probes(self, provider: str) -> list[Moment]:
        """Return a provider's finished probes, newest first."""
        kept = self._kept.get(provider)
        return list(reversed(kept.probes)) if kept is not None else []


def audited(rows: Sequence[AuditRow], provider: str, model: str | None, *, seen: Iterable[Moment]) -> list[Moment]:
    """Return the changes of a subject that the action log has beyond those `seen` as events, newest first."""
    known = {moment.data.get("id") for moment in seen if moment.type is EventType.AUDIT}
    found: list[Moment] = []
    for row in rows:
        name, _, rest = row.target.partition("/")
        if name != provider or row.id in known or model not in (None, rest or model):
            continue
        when = moment_of(row.at)
        if when is not None:
            data = {"id": row.id, "actor": row.actor, "command": row.command, "before": row.before, "after": row.after}
            found.append(Moment(when.timestamp(), EventType.AUDIT, name, rest or None, None, data))
    return found


def _moment(event: Event) -> Moment | None:
    """Return an event as a moment, None where it names no provider."""
    data = event.data
    if event.type is EventType.AUDIT:  # an operator's change names its target as people read it
        name, _, rest = str(data.get("target") or "").partition("/")
        return Moment(event.at, event.type, name, rest or None, None, data) if name else None
    provider = _text(data.get("provider"))
    if provider is None:
        return None
    return Moment(event.at, event.type, provider, _text(data.get("model")), _text(data.get("account")), data)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
