"""The capability gate: which candidates a request's needs drop, demote or leave alone (routing.md §2, steps 5 to 7).

A request word means exactly the node it aliases: a model that reads text in images is not thereby a vision model.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from routerconsole.domain.capability import NODE_OF, UNKNOWN, Source, Standing, Tri, Word, strongest
from routerconsole.domain.policy import CapabilityPolicy
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.request import Endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from routerconsole.domain.profile import Requirements
    from routerconsole.domain.registry import Model
    from routerconsole.domain.request import Needs

NEUTRAL_WORDS = frozenset({Word.TEXT, Word.STREAMING, Word.SYSTEM})
"""Attributes nobody declares: only a known *no* says anything, so unknown does not rank below yes."""

_WORD_OF = {node: str(word) for word, node in NODE_OF.items()}
_NODE_OF_ENDPOINT = {
    Endpoint.CHAT: NODE_OF[Word.TEXT],
    Endpoint.COMPLETIONS: "generation.text-generation.text-completion",
    Endpoint.EMBEDDINGS: NODE_OF[Word.EMBEDDINGS],
}
_ENDPOINTS_OF = {
    ProviderKind.OLLAMA: frozenset({Endpoint.CHAT, Endpoint.EMBEDDINGS}),
    ProviderKind.ANTHROPIC: frozenset({Endpoint.CHAT}),
}
"""Dialects that cannot carry every endpoint (routing.md §8)."""
_TALKS = ("generation.text-generation", "generation.structured-generation", "interaction")
"""Branches whose yes shows that a model answers in text."""
_EMBEDS = ("representation",)
_OTHER_OUTPUT = (
    *_EMBEDS,
    "retrieval.reranking",
    "generation.image-generation",
    "generation.audio-generation",
    "generation.video-generation",
)
"""Branches whose yes shows, where nothing shows that it talks, that a model answers in something else."""

_GAP = Standing(Tri.NO, Source.GAP)


class CapabilityClass(IntEnum):
    """The first place of the sort key."""

    YES = 0
    UNKNOWN = 1
    NO = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model is known to do, worked out once per registry: standings of its own nodes, endpoints it serves."""

    model: Model
    standings: Mapping[str, Standing]
    serves: frozenset[Endpoint]

    def exact(self, node: str, gaps: Collection[str]) -> Standing:
        """Return the value of exactly this node; what the route was learned to lack it does not have."""
        if gaps and node in gaps:
            return _GAP
        return self.standings.get(node, UNKNOWN)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What the needs say of one model: its class, why, and the words that drop it (empty when it stays)."""

    cls: CapabilityClass
    reasons: tuple[str, ...] = ()
    dropped_for: tuple[str, ...] = ()


_FITS = GateVerdict(CapabilityClass.YES)


def offer(model: Model, kind: ProviderKind | None = None) -> Offer:
    """Work out what a model is known to do; whatever it can, it serves only the endpoints its provider's kind has."""
    standings = {node: strongest(layers) for node, layers in model.layers.items()}
    spoken = _ENDPOINTS_OF.get(kind, frozenset(Endpoint)) if kind is not None else frozenset(Endpoint)
    return Offer(model, standings, frozenset(each for each in spoken if _serves(standings, each)))


def asked(needs: Needs) -> tuple[tuple[Word, str], ...]:
    """Return the needed words with their nodes; that a chat needs text goes without saying in `needed`."""
    return _with_nodes(needs.needed if needs.endpoint is not Endpoint.CHAT else (*needs.needed, Word.TEXT))


@lru_cache(256)
def _with_nodes(words: tuple[Word, ...]) -> tuple[tuple[Word, str], ...]:
    return tuple((word, NODE_OF[word]) for word in words)


def judge(
    offered: Offer, words: Sequence[tuple[Word, str]], policy: CapabilityPolicy, *, gaps: Collection[str]
) -> GateVerdict:
    """Judge one model by the words of `asked`; `gaps` are the nodes its exact route was learned to lack.

    `gate` drops for a *no* that somebody vouches for, `strict` for all but *yes*, `prefer` for nothing.
    """
    worst = CapabilityClass.YES
    reasons: list[str] = []
    dropped: list[str] = []
    for word, node in words:
        standing = offered.exact(node, gaps)
        value = standing.value
        if value is Tri.YES and standing.telling:
            continue
        if value is not Tri.NO and word in NEUTRAL_WORDS:
            continue
        reasons.append(_said(str(word), standing))
        worst = max(worst, CapabilityClass.NO if value is Tri.NO else CapabilityClass.UNKNOWN)
        if value is Tri.YES:
            continue  # it is in, and ranks no better than one of which nothing is known
        if policy is CapabilityPolicy.STRICT or (policy is CapabilityPolicy.GATE and standing.hard_no):
            dropped.append(str(word))
    return GateVerdict(worst, tuple(reasons), tuple(dropped)) if reasons else _FITS


def unmet(offered: Offer, required: Sequence[str], *, gaps: Collection[str]) -> list[tuple[str, str]]:
    """Return the strictly required nodes this model is not known to have, each as its word and the reason (step 6).

    A word's node must itself be yes; of any other node a yes below it counts too.
    """
    found = []
    for node in required:
        standing = offered.exact(node, gaps)
        if standing.value is not Tri.YES and node not in _WORD_OF and node not in gaps:
            standing = offered.model.standing(node)
        if standing.value is not Tri.YES:
            word = _WORD_OF.get(node, node)
            found.append((word, f"requires {_said(word, standing)}"))
    return found


def short_of(offered: Offer, asked: Requirements, *, gaps: Collection[str]) -> list[tuple[str, str]]:
    """Return what a profile requires and this model is not known to offer, each as the item and the reason (step 6).

    A capability must be yes, a guess counts; a number nobody knows is neutral.
    """
    found = unmet(offered, [NODE_OF[word] for word in asked.words], gaps=gaps)
    model = offered.model
    numbers = (
        ("min_context_tokens", asked.min_context_tokens, "context_window", model.context_window),
        ("min_output_tokens", asked.min_output_tokens, "max_output_tokens", model.max_output_tokens),
    )
    for item, least, field, offers in numbers:
        if least is not None and offers and offers < least:
            found.append((f"{item} {least}", f"requires {item} {least}: {field} is {offers}"))
    return found


def _serves(standings: Mapping[str, Standing], endpoint: Endpoint) -> bool:
    """Say whether a model may serve this kind of endpoint; a model of which nothing is known may serve any."""
    has = [
        node
        for node, standing in standings.items()
        if standing.value is Tri.YES and standing.source is not Source.GUESS  # a guess closes no endpoint
    ]
    own = standings.get(_NODE_OF_ENDPOINT[endpoint], UNKNOWN)
    if own.value is Tri.YES or own.hard_no:
        return own.value is Tri.YES
    if endpoint is Endpoint.EMBEDDINGS:
        return all(_within(node, _EMBEDS) for node in has)
    return any(_within(node, _TALKS) for node in has) or not any(_within(node, _OTHER_OUTPUT) for node in has)


def _within(node: str, branches: tuple[str, ...]) -> bool:
    return any(node == branch or node.startswith(branch + ".") for branch in branches)


def _said(word: str, standing: Standing) -> str:
    return f"{word}: {standing.value} ({standing.source})" if standing.source else f"{word}: {standing.value}"
