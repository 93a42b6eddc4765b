"""What survives a restart, as JSON-ready records: admin states, circuits, gates, learned gaps (routing.md §5).

Times are kept as what was left at a wall-clock moment, so a clock that stepped can only make a wait end early, never
lengthen it. Nothing comes back straight to closed. Faults, draining and statistics are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import GateReason

from .admin import AdminMode
from .breaker import CircuitState
from .learned import Gap
from .state import AccountNode, Journal, Node, ProviderNode, RouteNode, name_of

Record = dict[str, Any]
"""One node's state; `Any` because this is the JSON that storage keeps."""

GATE_KEPT_S = 60.0
"""Rate and overload gates older than this are not taken over a restart."""


IDENTITY = ("scope", "provider", "account", "model")
"""The fields that name a node; together the key a store should use."""


def identity(node: Node) -> Record:
    """Return the identifying fields of a node."""
    scope = "route" if isinstance(node, RouteNode) else "provider" if isinstance(node, ProviderNode) else "account"
    return {"scope": scope, **name_of(node)}


def record(node: Node, now: float, wall: float) -> Record:
    """Return a node's state at this moment; `wall` is UTC epoch seconds."""
    found: Record = {**identity(node), "at": wall}
    if not isinstance(node, AccountNode):
        found["admin"] = {
            "base": None if not node.admin.explicit or node.admin.base is AdminMode.DRAINING else str(node.admin.base),
            "overlay": str(node.admin.overlay) if node.admin.overlay and node.admin.until > now else None,
            "left_s": max(0.0, node.admin.until - now),
        }
        breaker = node.breaker
        found["circuit"] = {
            "state": str(breaker.state),
            "left_s": breaker.remaining(now),
            "exponent": breaker.exponent,
        }
    if not isinstance(node, ProviderNode):
        found["gates"] = [
            {"reason": str(reason), "left_s": end - now, "age_s": now - node.gates.started}
            for reason, end in node.gates.ends(now).items()
        ]
    if isinstance(node, RouteNode):
        found["gaps"] = [gap_record(word, gap, now) for word, gap in node.learned.known(now).items()]
    return found


def gap_record(word: Word, gap: Gap, now: float) -> Record:
    """Return one learned gap as it is kept."""
    return {"word": str(word), "evidence": gap.evidence, "age_s": now - gap.at, "left_s": gap.expires - now}


def plain(found: Record) -> bool:
    """Whether a record says nothing a fresh start would not say."""
    admin, circuit = found.get("admin", {}), found.get("circuit", {})
    return (
        admin.get("base") is None
        and admin.get("overlay") is None
        and circuit.get("state", "closed") == "closed"
        and not found.get("gates")
        and not found.get("gaps")
    )


def restore_all(nodes: Iterable[Node], records: Iterable[Record], *, now: float, wall: float, journal: Journal) -> None:
    """Put the nodes that still exist back as they were."""
    known = {tuple(identity(node).values()): node for node in nodes}
    for found in records:
        node = known.get(tuple(found[part] for part in IDENTITY))
        if node is not None:
            restore(node, found, now=now, wall=wall, journal=journal)


def restore(node: Node, found: Record, *, now: float, wall: float, journal: Journal) -> None:
    """Put a node back as it was, less the time that passed since; a clock that went back counts as no time passed."""
    passed = max(0.0, wall - float(found["at"]))
    if not isinstance(node, AccountNode):
        _admin(node, found["admin"], passed, now)
        circuit = found["circuit"]
        if circuit["state"] != CircuitState.CLOSED:
            left = min(max(0.0, float(circuit["left_s"]) - passed), node.breaker.policy.recovery_cap)
            node.breaker.restore(left=left, exponent=int(circuit["exponent"]), now=now)
        journal.timed[node] = None
    if not isinstance(node, ProviderNode):
        for gate in found["gates"]:
            reason, age = GateReason(gate["reason"]), float(gate["age_s"]) + passed
            if reason is GateReason.QUOTA or age <= GATE_KEPT_S:
                node.gates.restore(reason, end=now + float(gate["left_s"]) - passed, started=now - age, now=now)
        journal.timed[node] = None
    if isinstance(node, RouteNode):
        for gap in found["gaps"]:
            left = float(gap["left_s"]) - passed
            if left > 0:
                age = float(gap["age_s"]) + passed
                node.learned.restore(Word(gap["word"]), Gap(now - age, str(gap["evidence"]), now + left))


def _admin(node: RouteNode | ProviderNode, found: Record, passed: float, now: float) -> None:
    if found["base"] is not None:
        node.admin.set_base(AdminMode(found["base"]))
    left = float(found["left_s"]) - passed
    if found["overlay"] is not None and left > 0:
        node.admin.set_overlay(AdminMode(found["overlay"]), now + left)
