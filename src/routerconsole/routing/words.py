"""The health word of a route or provider, derived from its layers; shown, and never gates routing (routing.md §1)."""

from __future__ import annotations

from routerconsole.domain.outcome import GateReason

from .admin import AdminMode
from .breaker import CircuitState
from .health import SEVERITY, HealthWord
from .state import FaultKind, ProviderNode, RouteNode, Target, fault_of, gate_of


def layer_word(node: Target, now: float) -> HealthWord | None:
    """Return the word of a node's own layers, None when nothing keeps it from being used."""
    mode = node.admin.mode(now)
    if mode is AdminMode.DISABLED:
        return HealthWord.DISABLED
    if mode is AdminMode.DRAINING:
        return HealthWord.DRAINING
    if mode is AdminMode.ISOLATED:
        return HealthWord.ISOLATED
    fault = _shown_fault(node, now)
    if fault is FaultKind.CONFIG_ERROR:
        return HealthWord.CONFIG_ERROR
    if mode is not AdminMode.FORCED_CLOSED and node.breaker.state is not CircuitState.CLOSED:
        return HealthWord.OPEN if node.breaker.state is CircuitState.OPEN else HealthWord.RECOVERING
    gate = _shown_gate(node, now)
    if gate is not None:
        return HealthWord.QUOTA if gate is GateReason.QUOTA else HealthWord.RATE_LIMITED
    return HealthWord.MISSING if fault is FaultKind.MISSING else None


def own_word(node: Target, now: float) -> HealthWord:
    """Return the word of a node without looking at what stands above or below it."""
    word = layer_word(node, now)
    if word is not None:
        return word
    if node.window.degraded(now):
        return HealthWord.DEGRADED
    # Known good: it served, a listing reached it, or its circuit was reset and nothing was heard since.
    known = node.stats.successful > 0 or (isinstance(node, ProviderNode) and node.reached)
    if not known and node.breaker.generation > 0:
        known = node.window.samples(now) == 0
    return HealthWord.HEALTHY if known else HealthWord.UNKNOWN


def shown_word(node: Target, now: float) -> HealthWord:
    """Return the word shown: a route's includes its provider's layers, a provider's what all its routes suffer from."""
    word = own_word(node, now)
    if isinstance(node, RouteNode):
        above = layer_word(node.owner, now)
        return word if above is None else min(word, above, key=SEVERITY.__getitem__)
    if SEVERITY[word] < SEVERITY[HealthWord.DEGRADED]:
        return word
    best = HealthWord.DISABLED
    for route in node.routes.values():
        best = max(best, layer_word(route, now) or HealthWord.UNKNOWN, key=SEVERITY.__getitem__)
        if SEVERITY[best] >= SEVERITY[HealthWord.DEGRADED]:
            return word
    return best if node.routes else word


def spotless(node: RouteNode) -> bool:
    """Whether a route and its provider are plainly healthy: they have served, and no layer of either holds anything.

    One comparison each instead of the whole derivation: it is asked after every success.
    """
    owner, account = node.owner, node.account
    return (
        node.admin.plain
        and owner.admin.plain
        and node.fault is None
        and account.fault is None
        and owner.fault is None
        and account.unavailable is None
        and owner.unavailable is None
        and node.breaker.state is CircuitState.CLOSED
        and owner.breaker.state is CircuitState.CLOSED
        and not node.gates
        and not account.gates
        and node.window.spotless
        and owner.window.spotless
        and node.stats.successful > 0
        and owner.stats.successful > 0
    )


def _shown_fault(node: Target, now: float) -> FaultKind | None:
    if isinstance(node, RouteNode):
        if node.account.unavailable is not None:
            return FaultKind.CONFIG_ERROR
        fault = fault_of(node, now)
        return fault.kind if fault is not None else None
    if node.unavailable is not None or node.fault is not None:
        return FaultKind.CONFIG_ERROR
    stuck = [account.fault is not None or account.unavailable is not None for account in node.accounts.values()]
    return FaultKind.CONFIG_ERROR if stuck and all(stuck) else None


def _shown_gate(node: Target, now: float) -> GateReason | None:
    if isinstance(node, RouteNode):
        gate = gate_of(node, now) if node.gates or node.account.gates else None
        return gate[0] if gate else None
    reasons = [account.gates.reason(now) for account in node.accounts.values()]
    return reasons[0] if reasons and all(reasons) else None
