"""What can be done to a provider or to one model there: the command, what it does, whom it touches, what it asks for.

Pure: from how things stand to a command and the words that explain it; nothing is sent here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from routerconsole.control.commands import (
    HAND_TTL_S,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    ResetCircuit,
    SetPriority,
    Target,
)

from .render import quantity
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.views import ProviderStatus, RouteStatus, Status

MAX_TTL_S: Final = 24 * 3600.0
MAX_PRIORITY: Final = 1_000_000
_OUT: Final = frozenset({"draining", "disabled", "isolated"})
_UP: Final = frozenset({"healthy", "degraded", "unknown", "recovering"})
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|)", re.ASCII)
_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_TIMED: Final = frozenset({"provider.isolate", "provider.force_close"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider, or with `model` the routes (all accounts) of one model there, as they stand."""

    provider: ProviderStatus
    routes: tuple[RouteStatus, ...]
    model: str | None = None

    @property
    def target(self) -> Target:
        """What a command names."""
        return Target(self.provider.name, self.model)

    @property
    def name(self) -> str:
        """What people read."""
        return visible(self.target.label(), 60)

    @property
    def out(self) -> bool:
        """Whether it was taken out by an operator."""
        if self.model is None:
            return self.provider.status in _OUT or not self.provider.enabled
        return all(route.status in _OUT or not route.enabled for route in self.routes)

    @property
    def disabled(self) -> bool:
        """Whether it was taken out for good."""
        if self.model is None:
            return self.provider.status == "disabled" or not self.provider.enabled
        return all(route.status == "disabled" or not route.enabled for route in self.routes)

    @property
    def forced(self) -> bool:
        """Whether an operator overruled its own breaker, for the time being."""
        own = (self.provider,) if self.model is None else self.routes
        return any(each.admin == "forced_closed" for each in own)

    @property
    def in_flight(self) -> int:
        """How many requests run there."""
        return self.provider.in_flight if self.model is None else sum(route.in_flight for route in self.routes)

    @property
    def priority(self) -> int:
        """Its place in the order, lower is tried first."""
        own = None if self.model is None else self.routes[0].priority
        return self.provider.priority if own is None else own

    @property
    def broken(self) -> bool:
        """Whether a reset of the breaker would change something."""
        own = self.model is None and (self.provider.circuit_state != "closed" or _fault(self.provider.fault))
        return own or any(route.circuit_state != "closed" or _fault(route.fault) for route in self.routes)

    @property
    def gated(self) -> bool:
        """Whether an upstream asked for a pause there."""
        return bool(self.model is None and self.provider.gate) or any(route.gate for route in self.routes)


def subject_of(status: Status | None, target: Target) -> Subject | None:
    """Return how a target stands, None when it is gone."""
    providers = status.providers if status is not None else ()
    provider = next((each for each in providers if each.name == target.provider), None)
    if provider is None or target.model is None:
        return Subject(provider, provider.routes) if provider is not None else None
    routes = tuple(route for route in provider.routes if route.model == target.model)
    return Subject(provider, routes, target.model) if routes else None


def _fault(word: str | None) -> bool:
    return word not in {None, "ok"}


# -- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A value an action needs: the prompt's label and its default."""

    label: str
    text: str


def asked_first(action_id: str, subject: Subject) -> Asked | None:
    """Return the value an action needs before it can be explained, None where it needs none."""
    if action_id == "provider.force_close" and subject.forced:
        return None
    if action_id in _TIMED:
        verb = "isolate" if action_id == "provider.isolate" else "force closed"
        return Asked(f"{verb} {subject.name} for (30s, 15m, 1h): ", f"{HAND_TTL_S / 60:.0f}m")
    if action_id == "provider.priority":
        return Asked(f"priority of {subject.name} (lower is tried first): ", str(subject.priority))
    return None


def problem_of(action_id: str, text: str) -> str:
    """Return what is wrong with a value so far, empty when nothing is."""
    if action_id in _TIMED:
        ttl = seconds(text)
        if ttl is None:
            return "write seconds or 30s, 15m, 1h"
        return "" if 0 < ttl <= MAX_TTL_S else "more than 0 and at most 24h"
    if not re.fullmatch(r"[+-]?[0-9]{1,8}", text.strip(), re.ASCII):
        return "write a whole number"
    return "" if abs(int(text)) <= MAX_PRIORITY else f"between -{MAX_PRIORITY} and {MAX_PRIORITY}"


def seconds(text: str) -> float | None:
    """Return a duration such as `30s`, `15m`, `1h` or `90` in seconds, None where it is none."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2]] if match is not None else None


# -- commands ---------------------------------------------------------------------------------------------------------


def command_for(action_id: str, subject: Subject, value: str = "") -> Command:
    """Return the command an action id stands for, given how its subject stands now; ValueError for a bad value."""
    target = subject.target
    match action_id:
        case "provider.probe":
            return Probe((target.provider,))
        case "provider.reset":
            return ResetCircuit(target, gates=True)
        case "provider.reset_breaker":
            return ResetCircuit(target)
        case "provider.drain":
            return Enable(target) if subject.out else Drain(target)
        case "provider.disable":
            return Enable(target) if subject.disabled else Disable(target)
        case "provider.force_close" if subject.forced:
            return Enable(target)
    if problem := problem_of(action_id, value):
        raise ValueError(problem)
    match action_id:
        case "provider.isolate":
            return Isolate(target, seconds(value) or HAND_TTL_S)
        case "provider.force_close":
            return ForceClose(target, seconds(value) or HAND_TTL_S)
        case "provider.priority":
            return SetPriority(target.provider, int(value), target.model)
        case _:
            raise ValueError(f"not a provider action: {action_id}")


def needs_asking(command: Command, subject: Subject) -> bool:
    """Whether a command touches live traffic: all but a probe, and a reset of something that is in order already."""
    if isinstance(command, Probe):
        return False
    if isinstance(command, ResetCircuit):
        return subject.broken or (command.gates and subject.gated)
    return True


# -- words ------------------------------------------------------------------------------------------------------------


def explained(command: Command, subject: Subject, status: Status) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the title and paragraphs that a question shows."""
    paragraphs = (("does", _effect(command, subject)), ("touches", blast_radius(command, subject, status)))
    return _title(command, subject), paragraphs


def _title(command: Command, subject: Subject) -> str:
    name = subject.name
    match command:
        case Enable() if subject.forced:
            return f"Let the breaker of {name} decide again?"
        case Isolate(ttl_s=ttl):
            return f"Isolate {name} for {quantity.span(ttl)}?"
        case ForceClose(ttl_s=ttl):
            return f"Force {name} closed for {quantity.span(ttl)}?"
        case SetPriority(priority=priority):
            return f"Give {name} priority {priority}?"
    verbs: Mapping[type, str] = {
        Drain: "Drain",
        Disable: "Disable",
        Enable: "Enable",
        ResetCircuit: "Reset the breaker of",
    }
    return f"{verbs.get(type(command), type(command).__name__)} {name}?"


def _effect(command: Command, subject: Subject) -> str:
    running = f"{subject.in_flight} in flight there {'runs' if subject.in_flight == 1 else 'run'} to the end"
    accounts = f"all {len(subject.routes)} accounts; " if subject.model is not None and len(subject.routes) > 1 else ""
    match command:
        case Drain():
            text = f"no new requests until enabled again or restarted; {running}"
        case Disable():
            text = f"no new requests, remembered over restarts; {running}"
        case Isolate(ttl_s=ttl):
            text = f"no new requests for {quantity.span(ttl)}, then back by itself; {running}"
        case Enable():
            shut = subject.model is not None and subject.provider.status in _OUT
            text = f"its provider is {subject.provider.status}: enable that first" if shut else ""
            again = "ends the forced state now: new requests go there as far as the breaker lets them"
            text = text or (again if subject.forced else "takes new requests again, at once")
        case ForceClose(ttl_s=ttl):
            text = f"requests go there for {quantity.span(ttl)} whatever the breaker says, broken or not"
        case ResetCircuit(gates=True):
            text = "closes its circuits, clears gates and faults: requests go there at once, broken or not"
        case ResetCircuit():
            text = "closes its circuits and clears faults; the pauses upstreams asked for (gates) stay"
        case SetPriority(priority=priority):
            text = f"priority {subject.priority} → {priority}, remembered over restarts; lower is tried first"
        case _:
            text = ""
    return accounts + text


def blast_radius(command: Command, subject: Subject, status: Status) -> str:
    """Return which live traffic a command touches and who would absorb it."""
    provider = subject.provider
    share = f"{quantity.rate(provider.rps)} of {quantity.rate(status.rps)} rps"
    if isinstance(command, SetPriority):
        return _order(command, subject, status)
    shuts = isinstance(command, Enable) and subject.forced and subject.broken
    if isinstance(command, (Enable, ResetCircuit, ForceClose)) and not shuts:
        if subject.model is not None:
            return f"what asks for {visible(subject.model, 40)} may go to it"
        return f"up to {share} may go to it"
    if subject.model is not None:
        return _of_route(subject, status)
    up = [other for other in status.providers if other.name != provider.name and _is_up(other)]
    elsewhere = {model for other in up for model in other.models}
    only_here = [model for model in provider.models if model not in elsewhere]
    parts = [f"{share} now"]
    if up:
        parts.append(f"next: {_names(up)}")
    else:
        parts.append("NO OTHER PROVIDER IS UP: requests will fail")
    if only_here:
        more = f" and {len(only_here) - 4} more" if len(only_here) > 4 else ""
        parts.append("models nobody else serves: " + ", ".join(visible(model, 40) for model in only_here[:4]) + more)
    return "; ".join(parts)


def _of_route(subject: Subject, status: Status) -> str:
    """Say what runs on a model's routes and who else serves the model, or at least answers."""
    provider, model = subject.provider, subject.model
    now = f"{subject.in_flight} in flight, its provider does {quantity.rate(provider.rps)} rps"
    same = [other for other in status.providers if other.name != provider.name and _is_up(other)]
    same = [other for other in same if model in other.models]
    if same:
        return f"{now}; {visible(model, 40)} is also served by {_names(same)}"
    left = [route for route in provider.routes if route.model != model and route.enabled and route.status in _UP]
    others = any(other.name != provider.name and _is_up(other) for other in status.providers)
    if left or others:
        return f"{now}; nobody else serves {visible(model, 40)}: requests that name it fail, pools go on without it"
    return f"{now}; NO OTHER ROUTE IS UP: requests will fail"


def _order(command: SetPriority, subject: Subject, status: Status) -> str:
    """Say between whom a provider, or a model's routes, would stand."""
    others = [other for other in status.providers if other.name != subject.provider.name]
    first = [other for other in others if other.priority < command.priority]
    after = [other for other in others if other.priority > command.priority]
    parts = [f"before it: {_names(first)}" if first else "before it: nobody"]
    if after:
        parts.append(f"after it: {_names(after)}")
    return f"{'; '.join(parts)} (in pools ordered by priority, from the next request on)"


def _is_up(provider: ProviderStatus) -> bool:
    return provider.enabled and provider.status in _UP and provider.counts_as != "unhealthy"


def _names(providers: Sequence[ProviderStatus]) -> str:
    ranked = sorted(providers, key=lambda provider: provider.priority)
    more = f" and {len(ranked) - 4} more" if len(ranked) > 4 else ""
    return ", ".join(visible(provider.name, 30) for provider in ranked[:4]) + more
