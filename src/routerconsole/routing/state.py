"""What the board remembers of each provider, account and route, and the one check of whether a route may be asked.

The layers (admin, validity, fault, gate, two breakers, bulkhead) are independent; only the check below combines them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.outcome import GateReason

from .admin import Admin, AdminMode
from .breaker import UNFENCED, Breaker, CircuitState, Token
from .gates import Gates
from .health import HealthWord, OutcomeWindow
from .learned import Learned
from .stats import Paces, Stats

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from routerconsole.domain.capability import Word
    from routerconsole.domain.policy import CircuitPolicy
    from routerconsole.domain.registry import Provider
    from routerconsole.domain.route import Route


class FaultKind(StrEnum):
    """What only a change of configuration, or of the upstream's offer, can cure."""

    CONFIG_ERROR = "config_error"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault; `until` is when it passes by itself (None: never), `status` the upstream's answer behind it."""

    kind: FaultKind
    detail: str
    until: float | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class LastError:
    """The latest failure of a route or provider; `at` is monotonic seconds."""

    cls: str
    detail: str
    status: int | None
    at: float


class RefusalKind(StrEnum):
    """The first layer that says no."""

    UNKNOWN = "unknown_route"
    DISABLED = "admin_disabled"
    DRAINING = "admin_draining"
    ISOLATED = "admin_isolated"
    UNAVAILABLE = "unavailable"
    CONFIG_ERROR = "config_error"
    MISSING = "missing"
    GATE = "gate"
    PROVIDER_CIRCUIT = "provider_circuit_open"
    CIRCUIT = "circuit_open"
    BULKHEAD = "bulkhead_full"
    DIALECT = "dialect"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a route may not be asked now, in words with live numbers; `retry_in` is seconds, None when nobody can say."""

    kind: RefusalKind
    text: str
    retry_in: float | None = None
    gate: GateReason | None = None

    @property
    def gated(self) -> bool:
        """Whether only a waiting period is in the way."""
        return self.kind is RefusalKind.GATE


class AccountNode:
    """One credential of a provider: what its upstream said about the key, not about a model."""

    __slots__ = ("account", "credential", "fault", "gates", "provider", "unavailable")

    def __init__(self, provider: str, account: str | None) -> None:
        self.provider, self.account = provider, account
        self.gates = Gates()
        self.fault: Fault | None = None
        self.unavailable: str | None = None
        self.credential: Hashable = None


class ProviderNode:
    """One provider. `streak` counts consecutive connect or zero-byte failures, `blamed` the routes behind its 5xx."""

    __slots__ = (
        "accounts", "admin", "blamed", "breaker", "changed", "connects", "fault", "followed", "in_flight", "last_error",
        "limit", "name", "origin", "reached", "routes", "stats", "streak", "unavailable", "window", "word",
    )  # fmt: skip

    def __init__(self, provider: Provider) -> None:
        self.name = provider.name
        self.admin = Admin(enabled=provider.enabled)
        self.breaker = Breaker(provider.circuit)
        self.fault: Fault | None = None
        self.unavailable: str | None = None
        self.window = OutcomeWindow(provider.circuit.window)
        self.stats = Stats()
        self.last_error: LastError | None = None
        self.limit = provider.max_concurrency
        self.in_flight = 0
        self.streak = 0
        self.connects = False  # the open period began with connect failures: reachability says something about it
        self.blamed: set[Route] = set()
        self.reached = False
        self.word = HealthWord.UNKNOWN
        self.origin: Hashable = None
        self.changed = False  # during a reload: its origin or a key is another than before
        self.followed: Provider | None = None  # the registry's object these nodes are in line with
        self.routes: dict[Route, RouteNode] = {}
        self.accounts: dict[str | None, AccountNode] = {}


class RouteNode:
    """One route: the unit of breaker, gate and statistics."""

    __slots__ = (
        "account", "admin", "breaker", "fault", "gates", "in_flight", "last_error", "learned", "owner", "paces",
        "route", "stats", "used_at", "window", "word",
    )  # fmt: skip

    def __init__(self, route: Route, owner: ProviderNode, account: AccountNode, *, circuit: CircuitPolicy) -> None:
        self.route, self.owner, self.account = route, owner, account
        self.admin = Admin(enabled=True)
        self.breaker = Breaker(circuit)
        self.gates = Gates()
        self.fault: Fault | None = None
        self.learned = Learned()
        self.window = OutcomeWindow(circuit.window)
        self.stats = Stats()
        self.paces = Paces()
        self.last_error: LastError | None = None
        self.used_at = -math.inf
        self.in_flight = 0
        self.word = HealthWord.UNKNOWN


Node = RouteNode | ProviderNode | AccountNode
Target = RouteNode | ProviderNode


class Lease:
    """One admission, settled exactly once."""

    __slots__ = (
        "admitted", "committed", "deadline", "ended", "forced", "neutral", "node", "of_provider", "of_route", "route",
        "size", "sole",
    )  # fmt: skip

    def __init__(self, node: RouteNode, *, now: float, deadline: float, sole: bool, size: int) -> None:
        self.node, self.route = node, node.route
        self.admitted, self.deadline = now, deadline
        self.sole, self.size = sole, size
        self.of_route: Token = UNFENCED
        self.of_provider: Token = UNFENCED
        self.forced: tuple[Word, ...] = ()
        self.committed = self.ended = False
        self.neutral = False  # an evaluation: it is counted, and moves no circuit

    @property
    def circuit(self) -> CircuitState:
        """The state of this route's circuit now, also where a reload has dropped the route meanwhile."""
        return self.node.breaker.state

    @property
    def probing(self) -> bool:
        """Whether this attempt is a half-open circuit's probe."""
        return bool(self.of_route.ticket or self.of_provider.ticket)


def name_of(node: Node) -> dict[str, Any]:
    """Return the JSON-ready identity of a node, the same three keys for all of them."""
    if isinstance(node, RouteNode):
        return {"provider": node.route.provider, "account": node.route.account, "model": node.route.model}
    if isinstance(node, ProviderNode):
        return {"provider": node.name, "account": None, "model": None}
    return {"provider": node.provider, "account": node.account, "model": None}


class Journal:
    """What an operation changed: facts to publish, nodes to save, nodes with something timed, nodes not well."""

    __slots__ = ("changed", "facts", "timed", "unwell")

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.changed: dict[Node, None] = {}
        self.timed: dict[Node, None] = {}
        self.unwell: dict[Target, None] = {}

    def take(self) -> list[Fact]:
        """Return the facts since last time."""
        facts, self.facts = self.facts, []
        return facts

    def keep_only(self, alive: Collection[Node]) -> None:
        """Forget the nodes that are gone."""
        self.changed = {node: None for node in self.changed if node in alive}
        self.timed = {node: None for node in self.timed if node in alive}
        self.unwell = {node: None for node in self.unwell if node in alive}

    def note(self, kind: EventType, node: Node, **data: object) -> None:
        """Add a fact about a node."""
        self.facts.append(Fact(kind, name_of(node) | data))


def refuse(node: RouteNode, now: float, *, cooling: bool = False) -> Refusal | None:
    """Return the first failing reason, or None.

    1 admin · 2 valid · 3 fault · 4 gate (not asked when `cooling`) · 5 provider breaker · 6 route breaker · 7 bulkhead.
    """
    owner, account = node.owner, node.account
    forced = False
    if not (owner.admin.plain and node.admin.plain):  # 1
        refusal = _by_admin(owner.admin, now) or _by_admin(node.admin, now)
        if refusal is not None:
            return refusal
        forced = owner.admin.forced(now) or node.admin.forced(now)
    reason = owner.unavailable or account.unavailable  # 2
    if reason is not None:
        return Refusal(RefusalKind.UNAVAILABLE, reason)
    if owner.fault is not None or account.fault is not None or node.fault is not None:  # 3
        fault = fault_of(node, now)
        if fault is not None:
            return _by_fault(fault, now)
    if not cooling and (account.gates or node.gates):  # 4
        refusal = _by_gate(node, now)
        if refusal is not None:
            return refusal
    if owner.breaker.state is not CircuitState.CLOSED and not forced:  # 5
        refusal = _by_breaker(owner.breaker, RefusalKind.PROVIDER_CIRCUIT, now)
        if refusal is not None:
            return refusal
    if node.breaker.state is not CircuitState.CLOSED and not forced:  # 6
        refusal = _by_breaker(node.breaker, RefusalKind.CIRCUIT, now)
        if refusal is not None:
            return refusal
    if owner.in_flight >= owner.limit:  # 7
        return Refusal(RefusalKind.BULKHEAD, f"bulkhead_full {owner.in_flight} of {owner.limit} in flight", 1.0)
    return None


_ADMIN_KIND = {
    AdminMode.DISABLED: RefusalKind.DISABLED,
    AdminMode.DRAINING: RefusalKind.DRAINING,
    AdminMode.ISOLATED: RefusalKind.ISOLATED,
}


def _by_admin(admin: Admin, now: float) -> Refusal | None:
    mode = admin.mode(now)
    kind = _ADMIN_KIND.get(mode)
    if kind is None:
        return None
    if mode is AdminMode.ISOLATED:
        return _timed(kind, kind, admin.until - now)
    return Refusal(kind, kind)


def fault_of(node: RouteNode, now: float) -> Fault | None:
    """Return the fault in force on a route, its account or its provider; the widest first."""
    for fault in (node.owner.fault, node.account.fault, node.fault):
        if fault is not None and (fault.until is None or fault.until > now):
            return fault
    return None


def provider_fault(node: ProviderNode) -> Fault | None:
    """Return the fault that makes a whole provider unusable: its own, or one on each of its accounts."""
    if node.fault is not None:
        return node.fault
    faults = [account.fault for account in node.accounts.values()]
    return faults[0] if faults and all(faults) else None


def _by_fault(fault: Fault, now: float) -> Refusal:
    kind = RefusalKind(fault.kind)
    text = f"{kind}: {fault.detail}" if fault.detail else kind
    return Refusal(kind, text) if fault.until is None else _timed(kind, text, fault.until - now)


_GATE_TEXT = {GateReason.RATE: "rate_limited", GateReason.QUOTA: "quota", GateReason.OVERLOAD: "overloaded"}


def gate_of(node: RouteNode, now: float) -> tuple[GateReason, float] | None:
    """Return the shown reason and the end of a route's gates, its account's included; None when none is active."""
    ends = [gates.until(now) for gates in (node.gates, node.account.gates)]
    active = [end for end in ends if end is not None]
    if not active:
        return None
    reasons = [gates.reason(now) for gates in (node.gates, node.account.gates)]
    if GateReason.QUOTA in reasons:
        return GateReason.QUOTA, max(active)
    end = max(active)
    reason = reasons[ends.index(end)]
    return (reason or GateReason.RATE), end


def shown_gate(node: Target, now: float) -> tuple[GateReason, float] | None:
    """Return the reason and the end of a gate; a provider is gated when all its accounts are."""
    if isinstance(node, RouteNode):
        return gate_of(node, now)
    ends = [(account.gates.until(now), account.gates.reason(now)) for account in node.accounts.values()]
    known = [(end, reason) for end, reason in ends if end is not None and reason is not None]
    if not known or len(known) < len(ends):
        return None
    end, reason = min(known)
    return reason, end


def cools(node: RouteNode, now: float) -> bool:
    """Whether a route is rate- or overload-gated and this gated period's one last resort is unused."""
    found = gate_of(node, now)
    if found is None or found[0] is GateReason.QUOTA:
        return False
    held = [gates for gates in (node.gates, node.account.gates) if gates.until(now) is not None]
    return not any(gates.cooled for gates in held)


def _by_gate(node: RouteNode, now: float) -> Refusal | None:
    gate = gate_of(node, now)
    if gate is None:
        return None
    reason, end = gate
    return Refusal(RefusalKind.GATE, f"{_GATE_TEXT[reason]} {math.ceil(end - now)} s", end - now, reason)


def _by_breaker(breaker: Breaker, kind: RefusalKind, now: float) -> Refusal | None:
    wait = breaker.wait(now)
    if wait is None:
        return None
    if wait > 0:
        return _timed(kind, kind, wait)
    return Refusal(kind, f"{kind.removesuffix('_open')}_half_open, its probe is under way", 1.0)


def _timed(kind: RefusalKind, text: str, left: float) -> Refusal:
    return Refusal(kind, f"{text} {math.ceil(left)} s", left)
