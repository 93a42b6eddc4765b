"""What an operator can do to a provider or route, and the picture shown before and after (interface.md §5).

The caller names exact ids; nothing here matches by prefix. Totals and last errors are never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routerconsole.domain.events import EventType, Fact

from .admin import AdminMode
from .state import AccountNode, Journal, Node, ProviderNode, RouteNode, Target, fault_of, gate_of, provider_fault
from .words import shown_word

if TYPE_CHECKING:
    from routerconsole.domain.outcome import GateReason

Change = Callable[[Target, float, Journal], None]


@dataclass(frozen=True, slots=True)
class Changed:
    """The outcome of a verb: JSON-ready pictures before and after, and what happened.

    `nodes` are the ones it changed; of a dry run they are copies as they would be.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    facts: tuple[Fact, ...]
    nodes: tuple[Node, ...] = ()


def enable(node: Target, now: float, journal: Journal) -> None:
    """Take requests again, as the breaker says: ends disabled, draining, isolated and forced closed."""
    _base(node, AdminMode.AUTO, now, journal)


def disable(node: Target, now: float, journal: Journal) -> None:
    """Take no new requests, remembered over restarts."""
    _base(node, AdminMode.DISABLED, now, journal)


def drain(node: Target, now: float, journal: Journal) -> None:
    """Take no new requests until enabled again or restarted."""
    _base(node, AdminMode.DRAINING, now, journal)


def isolate(ttl: float) -> Change:
    """Take it out for `ttl` seconds."""
    return _overlay(AdminMode.ISOLATED, ttl)


def force_close(ttl: float) -> Change:
    """Admit whatever the breakers say for `ttl` seconds."""
    return _overlay(AdminMode.FORCED_CLOSED, ttl)


def reset(*, gates: bool) -> Change:
    """Close the circuit and clear faults (and gates if asked); on a provider also those of all its routes."""

    def change(node: Target, now: float, journal: Journal) -> None:
        owner = node if isinstance(node, ProviderNode) else node.owner
        routes = list(owner.routes.values()) if node is owner else [node] if isinstance(node, RouteNode) else []
        accounts = list(owner.accounts.values()) if isinstance(node, ProviderNode) else [node.account]
        targets: list[Target] = [owner, *routes] if isinstance(node, ProviderNode) else list(routes)
        for target in targets:
            before = target.breaker.reset(now).before
            target.window.clear()
            target.fault = None
            journal.changed[target] = None
            journal.note(EventType.CIRCUIT_RESET, target, before=before)
        # What blocks a route may be its key or its provider's fault: those go too.
        owner.fault = None
        owner.streak = 0
        owner.blamed.clear()
        for account in accounts:
            account.fault = None
        if gates:
            holders: list[RouteNode | AccountNode] = [*routes, *accounts]
            for holder in holders:
                _lift_gates(holder, journal)

    return change


def carry_out(nodes: Sequence[Target], change: Change, now: float, journal: Journal, *, dry_run: bool) -> Changed:
    """Apply a change to every node (all accounts of one target); a dry run works on copies."""
    before = picture(nodes, now)
    if dry_run:
        scratch = Journal()
        copies = [_scratch(node) for node in nodes]
        for node in copies:
            change(node, now, scratch)
        return Changed(before, picture(copies, now), (), tuple(scratch.changed))
    for node in nodes:
        change(node, now, journal)
    return Changed(before, picture(nodes, now), ())


def _scratch(node: Target) -> Target:
    """Return a copy a verb may change; the bulky samples, which no verb touches, are shared."""
    owner = node if isinstance(node, ProviderNode) else node.owner
    everyone: list[Target] = [owner, *owner.routes.values()]
    shared: dict[int, object] = {id(each.stats): each.stats for each in everyone}
    if isinstance(node, RouteNode):
        shared[id(owner.routes)] = {}  # its siblings are out of reach of the verb
    return copy.deepcopy(node, shared)


def picture(nodes: Sequence[Target], now: float) -> dict[str, Any]:
    """Return the state an operator changes, JSON-ready; several accounts are listed under `routes`."""
    each = [_one(node, now) for node in nodes]
    if len(each) == 1:
        return each[0]
    return each[0] | {"routes": each}


def _one(node: Target, now: float) -> dict[str, Any]:
    mode = node.admin.mode(now)
    timed = mode in (AdminMode.ISOLATED, AdminMode.FORCED_CLOSED)
    found: dict[str, Any] = {
        "enabled": node.admin.enabled,
        "admin": str(mode),
        "admin_ends_in_s": round(node.admin.until - now, 3) if timed else None,
        "status": str(shown_word(node, now)),
        "circuit_state": str(node.breaker.state),
        "consecutive_failures": node.breaker.consecutive,
        "fault": fault_word(node, now),
        "gate": None,
    }
    if isinstance(node, RouteNode):
        gate: tuple[GateReason, float] | None = gate_of(node, now)
        found["gate"] = str(gate[0]) if gate else None
        found["account"] = node.route.account
    return found


def fault_word(node: Target, now: float) -> str | None:
    """Return the fault in force as `kind: detail`, or None."""
    fault = fault_of(node, now) if isinstance(node, RouteNode) else provider_fault(node)
    if fault is None:
        return None
    return f"{fault.kind}: {fault.detail}" if fault.detail else str(fault.kind)


def _base(node: Target, mode: AdminMode, now: float, journal: Journal) -> None:
    was = node.admin.enabled
    node.admin.set_base(mode)
    journal.changed[node] = None
    if isinstance(node, ProviderNode) and was is not node.admin.enabled:
        journal.note(EventType.PROVIDER_ENABLED if node.admin.enabled else EventType.PROVIDER_DISABLED, node)


def _overlay(mode: AdminMode, ttl: float) -> Change:
    def change(node: Target, now: float, journal: Journal) -> None:
        node.admin.set_overlay(mode, now + ttl)
        journal.changed[node] = None
        journal.timed[node] = None

    return change


def _lift_gates(holder: RouteNode | AccountNode, journal: Journal) -> None:
    for reason in holder.gates.clear():
        journal.changed[holder] = None
        journal.note(EventType.GATE_ENDED, holder, reason=reason)
