"""What the ending of an attempt does to routes, accounts and providers: the table EFFECTS carried out.

Owns consequences only; recognising a class is classify's, choosing the next route the cascade's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import Abandoned, Ending, Failure, FaultScope, OutcomeClass, Success

from . import gates
from .breaker import UNFENCED, CircuitState, End, Move
from .health import WELL, HealthWord, counts_against
from .state import (
    AccountNode,
    Fault,
    FaultKind,
    Journal,
    LastError,
    Lease,
    Node,
    ProviderNode,
    RouteNode,
    Target,
)
from .words import own_word, shown_word, spotless

if TYPE_CHECKING:
    from random import Random

MISSING_S = 600.0
"""Seconds a model stays `missing` unless a listing shows it earlier."""

STREAK = 3
"""Consecutive connect or zero-byte failures that open a provider's circuit."""

USED_WITHIN = 60.0
"""Seconds within which a route counts as used when a provider's open routes are weighed."""

SPARE_FROM = 0.1
"""Success rate from which the last admissible route of a pool is spared a soft trip."""

_HARD = frozenset({OutcomeClass.CONNECT, OutcomeClass.TIMEOUT_FIRST})
_CIRCUIT_FACT = {
    CircuitState.OPEN: EventType.CIRCUIT_OPENED,
    CircuitState.HALF_OPEN: EventType.CIRCUIT_HALF_OPEN,
    CircuitState.CLOSED: EventType.CIRCUIT_CLOSED,
}


def enter(lease: Lease, now: float, rng: Random, journal: Journal) -> bool:
    """Take the bulkhead slot and any probe leases; return False, with nothing taken, where a probe is not to be had."""
    node, owner = lease.node, lease.node.owner
    plain = owner.admin.plain and node.admin.plain
    forced_closed = not plain and (owner.admin.forced(now) or node.admin.forced(now))
    # Both were asked by `refuse`; only a probe swallowed twice can still turn one of them down here.
    for target in (owner, node):
        token, moved = target.breaker.admit(now, lease.deadline, rng)
        told(target, moved, now, journal, reason="probe lost" if token is None else "")
        if token is None and not forced_closed:
            owner.breaker.end(lease.of_provider, End.ABANDONED, now, rng)
            watch(node, now, journal)
            return False
        if target is owner:
            lease.of_provider = token or UNFENCED
        else:
            lease.of_route = token or UNFENCED
    owner.in_flight += 1
    node.in_flight += 1
    if lease.probing:
        watch(node, now, journal)
    return True


def commit(lease: Lease, now: float, journal: Journal) -> None:
    """Credit a stream at its first content: its probe, if it was one, has succeeded."""
    if lease.committed or lease.ended:
        return
    lease.committed = True
    if lease.neutral:
        return
    node, owner = lease.node, lease.node.owner
    lease.of_route, moved = node.breaker.commit(lease.of_route, now)
    told(node, moved, now, journal)
    lease.of_provider, moved = owner.breaker.commit(lease.of_provider, now)
    told(owner, moved, now, journal)
    owner.streak = 0
    watch(node, now, journal)


def settle(lease: Lease, ending: Ending, *, sole: bool, now: float, rng: Random, journal: Journal) -> None:
    """Carry out an ending, once: a second ending of the same lease changes nothing."""
    if lease.ended:
        return
    lease.ended = True
    node, owner = lease.node, lease.node.owner
    node.in_flight -= 1
    owner.in_flight -= 1
    node.used_at = now
    if isinstance(ending, Success):
        _succeeded(lease, ending, now=now, rng=rng, journal=journal)
    elif isinstance(ending, Abandoned):
        _release(lease, now, rng)
        node.stats.ignored += 1
        owner.stats.ignored += 1
    else:
        _failed(lease, ending, sole=sole, now=now, rng=rng, journal=journal)
    watch(node, now, journal)


def sweep(node: Node, now: float, journal: Journal) -> bool:
    """End what ran out on one node; return whether something is still to come."""
    waiting = over = False
    if not isinstance(node, ProviderNode):
        for reason in node.gates.sweep(now):
            over = True
            journal.note(EventType.GATE_ENDED, node, reason=reason)
        waiting = bool(node.gates)
    if not isinstance(node, AccountNode) and node.admin.overlay is not None:
        over = node.admin.sweep(now) is not None or over
        waiting = waiting or node.admin.overlay is not None
    if isinstance(node, RouteNode) and node.fault is not None and node.fault.until is not None:
        if node.fault.until <= now:
            node.fault, over = None, True
        waiting = waiting or node.fault is not None
    if over:
        journal.changed[node] = None
        if not isinstance(node, AccountNode):
            publish(node, word_of(node, now), journal)
    return waiting


def reached(owner: ProviderNode, now: float, journal: Journal) -> None:
    """Take an answered check: auth faults are cured, a circuit that opened for lack of connection is nudged."""
    owner.reached = True
    if owner.connects:
        told(owner, owner.breaker.nudge(now), now, journal, reason="reachable")
    owner.fault = None
    for account in owner.accounts.values():
        account.fault = None
    for node in owner.routes.values():
        if node.fault is not None and node.fault.kind is FaultKind.CONFIG_ERROR:
            node.fault = None


def word_of(node: Target, now: float) -> HealthWord:
    """Return the word whose changes are told: a route's own, a provider's with what all its routes suffer from."""
    return own_word(node, now) if isinstance(node, RouteNode) else shown_word(node, now)


def told(node: Target, move: Move | None, now: float, journal: Journal, *, reason: str = "") -> None:
    """Publish and remember a transition; a closing ends the episode, its outcomes no longer count."""
    if move is None:
        return
    journal.changed[node] = None
    if move.after is CircuitState.CLOSED:
        node.window.clear()
        for route in node.routes.values() if isinstance(node, ProviderNode) else ():
            route.window.clear()
    opened = {"open_for_s": round(node.breaker.remaining(now), 3)} if move.after is CircuitState.OPEN else {}
    journal.note(_CIRCUIT_FACT[move.after], node, before=move.before, reason=reason, **opened)


def watch(node: RouteNode, now: float, journal: Journal) -> None:
    """Publish a route's and its provider's change of health, if there was one."""
    if spotless(node):
        publish(node, HealthWord.HEALTHY, journal)
        publish(node.owner, HealthWord.HEALTHY, journal)
        return
    publish(node, word_of(node, now), journal)
    publish(node.owner, word_of(node.owner, now), journal)


def publish(node: Target, word: HealthWord, journal: Journal) -> None:
    """Publish a changed health word and keep the unwell under watch."""
    if word is node.word:
        return
    before, node.word = node.word, word
    journal.note(EventType.HEALTH_CHANGED, node, before=before, after=word)
    if word in WELL:
        journal.unwell.pop(node, None)
    else:
        journal.unwell[node] = None


def _succeeded(lease: Lease, ending: Success, *, now: float, rng: Random, journal: Journal) -> None:
    node, owner = lease.node, lease.node.owner
    if lease.neutral:
        _release(lease, now, rng)
        for target in (node, owner):
            target.stats.success(ending, now)
        return
    told(node, node.breaker.end(lease.of_route, End.SUCCEEDED, now, rng), now, journal)
    told(owner, owner.breaker.end(lease.of_provider, End.SUCCEEDED, now, rng), now, journal)
    owner.streak = 0
    owner.blamed.clear()
    for target in (node, owner):
        target.window.success(ending.total_ms / 1000, slow=ending.slow, now=now)
        target.stats.success(ending, now)
    node.paces.success(ending, now)
    node.learned.accepted_size(lease.size)
    node.learned.delivered(lease.forced)


def _release(lease: Lease, now: float, rng: Random) -> None:
    lease.node.breaker.end(lease.of_route, End.ABANDONED, now, rng)
    lease.node.owner.breaker.end(lease.of_provider, End.ABANDONED, now, rng)


def _failed(lease: Lease, failure: Failure, *, sole: bool, now: float, rng: Random, journal: Journal) -> None:
    node, owner = lease.node, lease.node.owner
    took_ms = (now - lease.admitted) * 1000
    if lease.neutral:
        failure = replace(failure, counted=False)
    for target in (node, owner):
        target.stats.failure(failure.cls, took_ms, now)
        if failure.cls not in (OutcomeClass.IGNORED, OutcomeClass.LOCAL):
            target.last_error = LastError(failure.cls, failure.detail, failure.status, now)
        if counts_against(failure):
            target.window.failure(now)
    if counts_against(failure):
        node.paces.failure(now)
    if lease.neutral:
        _release(lease, now, rng)
    else:
        opened = _on_route(lease, failure, sole=sole, now=now, rng=rng, journal=journal)
        _on_provider(lease, failure, opened=opened, sole=sole, now=now, rng=rng, journal=journal)
    asked = gates.asked(failure)
    if asked is not None:
        reason, wait = asked
        holder: RouteNode | AccountNode = node if failure.scope is FaultScope.ROUTE else node.account
        journal.changed[holder] = None
        journal.timed[holder] = None
        if holder.gates.start(reason, wait, now, rng):
            ends = holder.gates.ends(now).get(reason, now)
            journal.note(EventType.GATE_STARTED, holder, reason=reason, ends_in_s=round(ends - now, 3))
    _fault(node, failure, now, journal)
    _learn(lease, failure, now, journal)


def _on_route(lease: Lease, failure: Failure, *, sole: bool, now: float, rng: Random, journal: Journal) -> bool:
    """Count on the route's breaker, or hand the lease back; return whether its circuit opened."""
    node = lease.node
    if not (failure.effect.route and failure.counted):
        node.breaker.end(lease.of_route, End.ABANDONED, now, rng)
        return False
    spare = SPARE_FROM if sole and failure.cls not in _HARD else None
    moved = node.breaker.end(lease.of_route, End.FAILED, now, rng, spare=spare)
    told(node, moved, now, journal, reason=failure.cls)
    return moved is not None


def _on_provider(
    lease: Lease, failure: Failure, *, opened: bool, sole: bool, now: float, rng: Random, journal: Journal
) -> None:
    """Count on the provider's breaker.

    1 connect and zero-byte failures: three in a row open it, whatever route they were on · 2 its 5xx answers count like
    a route's, but one route's trouble is that route's: at least two must have contributed · 3 two open routes that are
    at least half of those in use open it · 4 an answer of any other kind shows the server is there.
    """
    node, owner, breaker = lease.node, lease.node.owner, lease.node.owner.breaker
    before = breaker.generation
    counts = (
        failure.effect.provider and failure.counted and (failure.provider_counts or failure.cls is OutcomeClass.CONNECT)
    )
    current = lease.of_provider.generation == before
    moved = None
    if counts and failure.cls in _HARD:  # 1
        moved = breaker.end(lease.of_provider, End.FAILED, now, rng, spare=0.0)
        if current and moved is None and breaker.state is CircuitState.CLOSED:
            owner.streak += 1
            if owner.streak >= min(STREAK, breaker.policy.failure_threshold):
                moved = breaker.trip(now, rng)
        owner.connects = True if moved is not None else owner.connects
    elif counts:  # 2
        owner.streak = 0
        if current:
            owner.blamed.add(node.route)
        spare = 0.0 if len(owner.blamed) < 2 else SPARE_FROM if sole else None
        moved = breaker.end(lease.of_provider, End.FAILED, now, rng, spare=spare)
        owner.connects = False if moved is not None else owner.connects
    else:  # 4
        breaker.end(lease.of_provider, End.ABANDONED, now, rng)
        if failure.status is not None:
            owner.streak = 0
    if moved is None and opened and breaker.state is CircuitState.CLOSED and _half_are_open(owner, now):  # 3
        moved = breaker.trip(now, rng)
        owner.connects = False
    if moved is not None:
        owner.streak = 0
        owner.blamed.clear()
    told(owner, moved, now, journal, reason=failure.cls)


def _half_are_open(owner: ProviderNode, now: float) -> bool:
    used = [route for route in owner.routes.values() if route.used_at >= now - USED_WITHIN]
    down = sum(route.breaker.state is CircuitState.OPEN for route in used)
    return down >= 2 and 2 * down >= len(used)


def _fault(node: RouteNode, failure: Failure, now: float, journal: Journal) -> None:
    owner = node.owner
    if failure.cls is OutcomeClass.MISSING:
        if node.fault is None or node.fault.kind is FaultKind.MISSING:
            node.fault = Fault(FaultKind.MISSING, failure.detail, now + MISSING_S, failure.status)
            journal.timed[node] = None
        return
    if failure.cls is not OutcomeClass.AUTH:
        return
    fault = Fault(FaultKind.CONFIG_ERROR, failure.detail, None, failure.status)
    holder: Node = node
    if failure.scope is not FaultScope.ROUTE:
        holder = node.account if failure.scope is FaultScope.ACCOUNT else owner
    holder.fault = fault
    forbidden = [route for route in owner.routes.values() if _forbidden(route)]
    if len(forbidden) >= 2 and owner.fault is None:
        owner.fault = fault


def _forbidden(node: RouteNode) -> bool:
    return node.fault is not None and node.fault.kind is FaultKind.CONFIG_ERROR


def _learn(lease: Lease, failure: Failure, now: float, journal: Journal) -> None:
    node = lease.node
    if failure.cls is OutcomeClass.OVERSIZE:
        node.learned.refused_size(lease.size)
    elif failure.cls in (OutcomeClass.CAPABILITY, OutcomeClass.UNDELIVERED):
        proven = failure.cls is OutcomeClass.CAPABILITY
        if lease.neutral and not proven:
            return  # what an evaluation sees of a model is its own to tell: it counts once somebody accepts it
        for word in failure.refused:
            learn = node.learned.learn if proven else node.learned.strike
            if learn(word, failure.detail, now):
                journal.changed[node] = None
                journal.note(EventType.CAPABILITY_GAP_LEARNED, node, capability=word, evidence=failure.detail)
