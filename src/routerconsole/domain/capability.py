"""The capability tree, its words, and tri-state values with provenance.

A value applies to its own node: a model *has* node N if N or a descendant is yes; parents never imply children.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Tri(StrEnum):
    """A capability value; unknown is neither yes nor no."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Where a capability value came from, from most to least authoritative (operator and gap: the newer wins)."""

    OPERATOR = "operator"
    GAP = "gap"
    MEASURED = "measured"
    CONFIG = "config"
    DISCOVERY = "discovery"
    CATALOGUE = "catalogue"
    GUESS = "guess"


HARD_SOURCES = frozenset({Source.OPERATOR, Source.GAP, Source.MEASURED, Source.CONFIG})
"""Sources whose *no* drops a route under policy `gate`; a *no* from elsewhere only demotes."""

MEASURED_FOR_S = 30 * 86_400.0
"""How long a measurement counts (evals.md §6), in seconds."""

ANY_OF_ITS_KIND = "servers of its kind usually do"
"""Evidence of a guess that holds for every model of a kind of provider: it counts, and it ranks as unknown."""

_TREE: dict[str, dict[str, tuple[str, ...]]] = {
    "generation": {
        "text-generation": ("chat-completion", "text-completion", "code-generation"),
        "structured-generation": ("json-generation", "schema-constrained-output", "function-call-generation"),
        "image-generation": ("text-to-image", "image-to-image", "inpainting"),
        "audio-generation": ("text-to-speech", "music-generation"),
        "video-generation": ("text-to-video", "image-to-video"),
    },
    "understanding": {
        "text-understanding": ("summarization", "classification", "sentiment-analysis", "entity-extraction"),
        "vision-understanding": ("image-captioning", "object-detection", "ocr"),
        "audio-understanding": ("speech-to-text", "speaker-identification", "audio-classification"),
        "document-understanding": ("document-parsing", "table-extraction", "form-extraction"),
    },
    "transformation": {
        "translation": (),
        "rewriting": (),
        "style-transfer": (),
        "image-editing": ("background-removal", "upscaling", "format-conversion"),
        "audio-processing": ("noise-reduction", "voice-cloning", "audio-separation"),
    },
    "representation": {
        "embeddings": ("text-embeddings", "image-embeddings", "multimodal-embeddings"),
        "tokenization": (),
        "feature-extraction": (),
    },
    "retrieval": {
        "search": ("semantic-search", "web-search", "image-search", "code-search"),
        "knowledge-graph": ("graph-query", "entity-linking", "relation-extraction"),
        "rag": ("retrieval-augmented-generation", "grounded-generation"),
        "reranking": (),
    },
    "interaction": {
        "tool-calling": ("parallel",),
        "reasoning": (),
        "agent-execution": ("single-step-agent", "multi-step-agent"),
        "multi-turn-conversation": (),
    },
    "evaluation": {
        "content-moderation": (),
        "toxicity-detection": (),
        "factuality-checking": (),
        "quality-scoring": (),
    },
}


class Word(StrEnum):
    """The short capability words of the interface; each is an alias of one tree node."""

    TEXT = "text"
    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tools"
    VISION = "vision"
    AUDIO = "audio"
    JSON = "json"
    JSON_SCHEMA = "json_schema"
    REASONING = "reasoning"
    EMBEDDINGS = "embeddings"
    STREAMING = "streaming"
    SYSTEM = "system"
    VIDEO = "video"


NODE_OF: Mapping[str, str] = MappingProxyType(
    {
        Word.TEXT: "generation.text-generation.chat-completion",
        Word.TOOLS: "interaction.tool-calling",
        Word.PARALLEL_TOOLS: "interaction.tool-calling.parallel",
        Word.VISION: "understanding.vision-understanding",
        Word.AUDIO: "understanding.audio-understanding",
        Word.JSON: "generation.structured-generation.json-generation",
        Word.JSON_SCHEMA: "generation.structured-generation.schema-constrained-output",
        Word.REASONING: "interaction.reasoning",
        Word.EMBEDDINGS: "representation.embeddings.text-embeddings",
        # attributes of a model rather than places in the tree
        Word.STREAMING: "streaming",
        Word.SYSTEM: "system",
        Word.VIDEO: "video",
    }
)
ATTRIBUTES = frozenset({Word.STREAMING, Word.SYSTEM, Word.VIDEO})
"""Words that are no node of the tree; they make no pool."""


_PATH = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*", re.ASCII)


def is_path(text: str) -> bool:
    """Whether a text is spelled like a node: lower-case words and '-', joined by dots."""
    return _PATH.fullmatch(text) is not None


def _shipped_nodes() -> frozenset[str]:
    nodes: set[str] = set()
    for root, branches in _TREE.items():
        nodes.add(root)
        for branch, leaves in branches.items():
            nodes.add(f"{root}.{branch}")
            nodes.update(f"{root}.{branch}.{leaf}" for leaf in leaves)
    return frozenset(nodes)


SHIPPED_NODES = _shipped_nodes()


class UnknownCapability(ValueError):
    """The name is no node, word or unique leaf; `.choices` holds the nearest or the ambiguous ones."""

    def __init__(self, name: str, choices: tuple[str, ...], *, ambiguous: bool = False) -> None:
        self.name, self.choices, self.ambiguous = name, choices, ambiguous
        what = "is ambiguous: " if ambiguous else "is no known capability" + ("; did you mean " if choices else "")
        super().__init__(f"{name!r} {what}{', '.join(choices)}")


@dataclass(frozen=True, slots=True)
class CapabilityTree:
    """The nodes in force: the shipped ones plus declared extensions and aliases (word -> node)."""

    extensions: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> frozenset[str]:
        """Every dotted path, internal nodes included."""
        extra = {
            ".".join(parts[:n])
            for path in self.extensions
            for parts in [path.split(".")]
            for n in range(1, len(parts) + 1)
        }
        return SHIPPED_NODES | extra

    def resolve(self, name: str) -> str:
        """Return the node that a word, alias, path or unique leaf name stands for; raise UnknownCapability."""
        if name in self.aliases:
            return self.aliases[name]
        if name in NODE_OF:
            return NODE_OF[name]
        nodes = self.nodes
        if name in nodes:
            return name
        leaves = tuple(sorted(node for node in nodes if node.rpartition(".")[2] == name))
        if len(leaves) == 1:
            return leaves[0]
        if leaves:
            raise UnknownCapability(name, leaves, ambiguous=True)
        known = [*NODE_OF, *self.aliases, *nodes, *(node.rpartition(".")[2] for node in nodes)]
        raise UnknownCapability(name, tuple(dict.fromkeys(difflib.get_close_matches(name, known, n=3, cutoff=0.5))))


@dataclass(frozen=True, slots=True)
class Layer:
    """One opinion on (model, node): the value, who said so, when (UTC epoch seconds, None = since start) and why.

    `fingerprint` is of the server that was measured. `stale` is worked out, never kept: the server is another one
    since, or it is long ago; such a measurement comes after everything else and closes no gate.
    """

    source: Source
    value: Tri
    at: float | None = None
    evidence: str = ""
    fingerprint: str = ""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The effective value of a node for a model and its source (None when unknown)."""

    value: Tri = Tri.UNKNOWN
    source: Source | None = None
    evidence: str = ""
    stale: bool = False

    @property
    def telling(self) -> bool:
        """Whether it tells this model apart from others of its provider."""
        return self.source is not Source.GUESS or self.evidence != ANY_OF_ITS_KIND

    @property
    def hard_no(self) -> bool:
        """Whether policy `gate` drops a route for this value."""
        return self.value is Tri.NO and self.source in HARD_SOURCES and not self.stale


UNKNOWN = Standing()


def strongest(layers: Iterable[Layer]) -> Standing:
    """Pick the layer that wins: by source order, except that of operator and gap the newer wins."""
    ranked = sorted(layers, key=authority)
    if not ranked:
        return UNKNOWN
    best = ranked[0]
    return Standing(best.value, best.source, best.evidence, best.stale)


_RANK = {source: rank for rank, source in enumerate(Source)}


def authority(layer: Layer) -> tuple[int, float]:
    """Return a sort key, the strongest layer first."""
    if layer.stale:
        return len(_RANK), 0.0
    rank = _RANK[layer.source]
    return (0, -(layer.at or 0.0)) if rank <= 1 else (rank, 0.0)


def standing(layers: Mapping[str, tuple[Layer, ...]], node: str) -> Standing:
    """Return the value of `node`: yes if it or a descendant is yes, else its own no, else unknown."""
    own = strongest(layers.get(node, ()))
    if own.value is Tri.YES:
        return own
    prefix = node + "."
    for path, there in layers.items():
        if path.startswith(prefix):
            below = strongest(there)
            if below.value is Tri.YES:
                return below
    return own
