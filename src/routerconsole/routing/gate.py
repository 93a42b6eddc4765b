"""The capability gate: which candidates a request's needs drop, demote or leave alone (routing.md §2, steps 5 to 7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from routerconsole.domain.capability import NODE_OF, Source, Standing, Tri, Word
from routerconsole.domain.policy import CapabilityPolicy
from routerconsole.domain.request import Endpoint

if TYPE_CHECKING:
    from collections.abc import Collection

    from routerconsole.domain.registry import Model
    from routerconsole.domain.request import Needs

NEUTRAL_WORDS = frozenset({Word.TEXT, Word.STREAMING, Word.SYSTEM})
"""Attributes nobody declares: only a known *no* says anything, so unknown does not rank below yes."""

_CHAT_WORDS = (Word.TEXT, Word.TOOLS, Word.VISION, Word.JSON, Word.JSON_SCHEMA, Word.REASONING)


class CapabilityClass(IntEnum):
    """The first place of the sort key."""

    YES = 0
    UNKNOWN = 1
    NO = 2


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What the needs say of one model: its class, why, and the words that drop it (empty when it stays)."""

    cls: CapabilityClass
    reasons: tuple[str, ...] = ()
    dropped_for: tuple[str, ...] = ()


def judge(model: Model, needs: Needs, policy: CapabilityPolicy, *, gaps: Collection[str]) -> GateVerdict:
    """Judge one model; `gaps` are the nodes its exact route was learned to lack."""
    worst = CapabilityClass.YES
    reasons: list[str] = []
    dropped: list[str] = []
    for word in needs.needed:
        node = NODE_OF[word]
        standing = _with_gap(model.standing(node), node, gaps)
        if standing.value is Tri.YES or (word in NEUTRAL_WORDS and standing.value is not Tri.NO):
            continue
        source = f" ({standing.source})" if standing.source else ""
        reasons.append(f"{word}: {standing.value}{source}")
        if standing.value is Tri.NO:
            worst = CapabilityClass.NO
            if policy is CapabilityPolicy.STRICT or (policy is CapabilityPolicy.GATE and standing.hard_no):
                dropped.append(word.value)
        else:
            worst = max(worst, CapabilityClass.UNKNOWN)
            if policy is CapabilityPolicy.STRICT:
                dropped.append(word.value)
    return GateVerdict(worst, tuple(reasons), tuple(dropped))


def unmet(model: Model, needs: Needs, *, gaps: Collection[str]) -> tuple[str, ...]:
    """Return the strictly required nodes this model is not known to have, each as words (step 6)."""
    found = []
    for node in needs.required:
        standing = _with_gap(model.standing(node), node, gaps)
        if standing.value is not Tri.YES:
            found.append(f"{_short(node)}: {standing.value}")
    return tuple(found)


def serves(model: Model, endpoint: Endpoint) -> bool:
    """Say whether a model may serve this kind of endpoint; a model of which nothing is known may serve any."""
    embeds = model.standing(NODE_OF[Word.EMBEDDINGS]).value
    chats = any(model.standing(NODE_OF[word]).value is Tri.YES for word in _CHAT_WORDS)
    if endpoint is Endpoint.EMBEDDINGS:
        return embeds is Tri.YES or (embeds is Tri.UNKNOWN and not chats)
    return chats or embeds is not Tri.YES


def _with_gap(standing: Standing, node: str, gaps: Collection[str]) -> Standing:
    """Lay a learned gap over a standing; an operator's newer word has removed the gap from the board itself."""
    return Standing(Tri.NO, Source.GAP) if node in gaps else standing


def _short(node: str) -> str:
    return next((word for word, path in NODE_OF.items() if path == node), node)
