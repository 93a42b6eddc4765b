"""What is known of models before anybody asked their servers: the shipped catalogue of families, and guesses by name.

Low-confidence hints: everything else outranks them, and a *no* of theirs only demotes. A written or listed capability
ends the guesses about its provider's kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from .capability import ANY_OF_ITS_KIND, NODE_OF, Layer, Source, Tri, Word
from .registry import ProviderKind, Tier

Layers = Mapping[str, tuple[Layer, ...]]

_TEXT, _TOOLS, _VISION, _AUDIO = Word.TEXT, Word.TOOLS, Word.VISION, Word.AUDIO
_JSON, _SCHEMA, _REASONING, _EMBEDDINGS = Word.JSON, Word.JSON_SCHEMA, Word.REASONING, Word.EMBEDDINGS
_STRUCTURED = (_TEXT, _TOOLS, _JSON, _SCHEMA)


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the catalogue: what a family can and cannot do; the rest is unknown.

    No context windows: a server may be started with any, makers raise them, and a wrong one refuses good requests.
    """

    has: tuple[Word, ...]
    lacks: tuple[Word, ...] = ()


def _can(*has: Word, lacks: tuple[Word, ...] = ()) -> Family:
    return Family(has, lacks)


_EMBEDS = _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION))
CATALOGUE: Final[Mapping[str, Family]] = MappingProxyType(
    {
        # hosted, as their makers document them
        "gpt-3.5-turbo": _can(_TEXT, _TOOLS, _JSON, lacks=(_VISION, _SCHEMA, _REASONING)),
        "gpt-4": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "gpt-4-turbo": _can(_TEXT, _TOOLS, _JSON, _VISION, lacks=(_SCHEMA, _REASONING)),
        "gpt-4o": _can(*_STRUCTURED, _VISION, lacks=(_REASONING,)),
        "gpt-4.1": _can(*_STRUCTURED, _VISION, lacks=(_REASONING,)),
        "gpt-5": _can(*_STRUCTURED, _VISION, _REASONING),
        "gpt-oss": _can(*_STRUCTURED, _REASONING, lacks=(_VISION,)),
        "chatgpt-4o": _can(_TEXT, _VISION, lacks=(_TOOLS,)),
        "o1": _can(*_STRUCTURED, _VISION, _REASONING),
        "o1-mini": _can(_TEXT, _REASONING, lacks=(_TOOLS, _VISION, _SCHEMA)),
        "o1-preview": _can(_TEXT, _REASONING, lacks=(_TOOLS, _VISION, _SCHEMA)),
        "o3": _can(*_STRUCTURED, _VISION, _REASONING),
        "o3-mini": _can(*_STRUCTURED, _REASONING, lacks=(_VISION,)),
        "o4-mini": _can(*_STRUCTURED, _VISION, _REASONING),
        "claude-3-haiku": _can(_TEXT, _TOOLS, _VISION, lacks=(_REASONING,)),
        "claude-3-5": _can(_TEXT, _TOOLS, _VISION, lacks=(_REASONING,)),
        "claude-3-7": _can(_TEXT, _TOOLS, _VISION, _REASONING),
        "claude-opus-4": _can(_TEXT, _TOOLS, _VISION, _REASONING),
        "claude-sonnet-4": _can(_TEXT, _TOOLS, _VISION, _REASONING),
        "claude-haiku-4": _can(_TEXT, _TOOLS, _VISION, _REASONING),
        "gemini-1.5": _can(*_STRUCTURED, _VISION, _AUDIO, lacks=(_REASONING,)),
        "gemini-2.0": _can(*_STRUCTURED, _VISION, _AUDIO, lacks=(_REASONING,)),
        "gemini-2.5": _can(*_STRUCTURED, _VISION, _AUDIO, _REASONING),
        "deepseek-chat": _can(_TEXT, _TOOLS, _JSON, lacks=(_VISION,)),
        "deepseek-reasoner": _can(_TEXT, _REASONING, lacks=(_VISION,)),
        "grok-3": _can(*_STRUCTURED, lacks=(_VISION,)),
        "grok-3-mini": _can(*_STRUCTURED, _REASONING, lacks=(_VISION,)),
        "grok-4": _can(*_STRUCTURED, _VISION, _REASONING),
        "mistral-small": _can(*_STRUCTURED),
        "mistral-large": _can(*_STRUCTURED),
        "command-r": _can(_TEXT, _TOOLS, lacks=(_VISION,)),
        # open weights: what the weights and their templates can do
        "llama2": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "llama3": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "llama3.1": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "llama3.2": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "llama3.2:11b": _can(_TEXT, _VISION, lacks=(_REASONING,)),
        "llama3.2:90b": _can(_TEXT, _VISION, lacks=(_REASONING,)),
        "llama3.2-vision": _can(_TEXT, _VISION, lacks=(_TOOLS, _REASONING)),
        "llama3.3": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "llama4": _can(_TEXT, _TOOLS, _VISION, lacks=(_REASONING,)),
        "codellama": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "mistral": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "mistral-nemo": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "mixtral": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "pixtral": _can(_TEXT, _TOOLS, _VISION, lacks=(_REASONING,)),
        "qwen2": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "qwen2-vl": _can(_TEXT, _VISION, lacks=(_REASONING,)),
        "qwen2.5": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "qwen2.5-coder": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "qwen2.5-vl": _can(_TEXT, _VISION, lacks=(_REASONING,)),
        "qwen2.5vl": _can(_TEXT, _VISION, lacks=(_REASONING,)),
        "qwen3": _can(_TEXT, _TOOLS, _REASONING, lacks=(_VISION,)),
        "qwen3-coder": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "qwen3-vl": _can(_TEXT, _TOOLS, _VISION),
        "qwq": _can(_TEXT, _TOOLS, _REASONING, lacks=(_VISION,)),
        "qvq": _can(_TEXT, _VISION, _REASONING),
        "deepseek-r1": _can(_TEXT, _REASONING, lacks=(_VISION,)),
        "deepseek-v3": _can(_TEXT, _TOOLS, lacks=(_VISION,)),
        "gemma": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "gemma2": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "gemma3": _can(_TEXT, _VISION, lacks=(_TOOLS, _REASONING)),
        "gemma3:1b": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "gemma3:270m": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "phi3": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "phi4": _can(_TEXT, lacks=(_TOOLS, _VISION, _REASONING)),
        "phi4-mini": _can(_TEXT, _TOOLS, lacks=(_VISION, _REASONING)),
        "llava": _can(_TEXT, _VISION, lacks=(_TOOLS, _REASONING)),
        "bakllava": _can(_TEXT, _VISION, lacks=(_TOOLS, _REASONING)),
        "moondream": _can(_TEXT, _VISION, lacks=(_TOOLS, _REASONING)),
        "minicpm-v": _can(_TEXT, _VISION, lacks=(_TOOLS,)),
        "granite3.3": _can(_TEXT, _TOOLS, lacks=(_VISION,)),
        # embeddings
        "text-embedding-3": _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION)),
        "text-embedding-ada-002": _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION)),
        "nomic-embed-text": _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION)),
        "mxbai-embed-large": _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION)),
        "all-minilm": _EMBEDS,
        "bge-m3": _can(_EMBEDDINGS, lacks=(_TEXT, _TOOLS, _VISION)),
        "snowflake-arctic-embed": _EMBEDS,
    }
)
"""Longest prefix wins, with its size class (`gemma3:1b`) where one is written."""

_EMBEDDING_NAME: Final = re.compile(r"(?:^|[-_/.])(?:embed|embedding|embeddings|bge|gte|e5|minilm)(?:$|[-_/.:\d])")
_RERANK_NAME: Final = re.compile(r"rerank")
_VISION_NAME: Final = re.compile(r"(?:^|[-_/.:\d])(?:vl|vlm|vision|llava|multimodal)(?:$|[-_/.:\d])|llava")
_REASONING_NAME: Final = re.compile(
    r"(?:^|[-_/.:])(?:r1|qwq|qvq|o1|o3|o4|thinking|think|reasoner|reasoning|magistral)(?:$|[-_/.:])"
)
_OTHER_NAME: Final = re.compile(
    r"(?:^|[-_/.])(?:whisper|tts|dall-e|dalle|stable-diffusion|sdxl|flux|imagen|sora|moderation)(?:$|[-_/.:\d])"
)
_SIZE: Final = re.compile(r"(?:^|[-_/.:])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?:$|[-_/.:])")
_DEEP_B, _STANDARD_B = 200.0, 20.0
"""Billions of parameters from which a model counts as deep, and as standard; below it is exploratory (C1-57)."""
_DEEP_NAME: Final = re.compile(r"(?:^|[-_/.])opus(?:$|[-_/.])")
_STANDARD_NAME: Final = re.compile(
    r"^(?:gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-4|gpt-5|claude-(?:\d[-.\d]*-)?sonnet|claude-sonnet|gemini-[\d.]+-pro"
    r"|mistral-large|deepseek-(?:chat|v3)|grok-[34]|command-r-plus)(?!.*(?:mini|nano|lite|flash|small))"
)


@lru_cache(8192)
def hints(kind: ProviderKind, upstream_id: str, spoken: bool = False) -> Layers:
    """Return the layers known of a model by its name and its provider's kind.

    `spoken` says that configuration or listing declares capabilities: then its kind is no reason to guess any.
    """
    layers: dict[str, list[Layer]] = {}

    def say_all(source: Source, nodes: Iterable[Word | str], value: Tri, why: str) -> None:
        for node in nodes:
            layers.setdefault(NODE_OF.get(node, str(node)), []).append(Layer(source, value, evidence=why))

    family, name = _family(upstream_id), spellings(upstream_id)[-1]
    if family is not None:
        say_all(Source.CATALOGUE, family[1].has, Tri.YES, f"family {family[0]}")
        say_all(Source.CATALOGUE, family[1].lacks, Tri.NO, f"family {family[0]}")
    for nodes, value in _by_name(name):
        say_all(Source.GUESS, nodes, value, "its name")
    if not spoken and not _talks_not(name):
        say_all(Source.GUESS, _BY_KIND.get(kind, ()), Tri.YES, ANY_OF_ITS_KIND)
    return MappingProxyType({node: tuple(found) for node, found in layers.items()})


_BY_KIND: Final[Mapping[ProviderKind, tuple[Word, ...]]] = MappingProxyType(
    {
        ProviderKind.OPENAI: (_TOOLS, _JSON, _SCHEMA),
        ProviderKind.OPENAI_COMPATIBLE: (_TOOLS, _JSON, _SCHEMA),
        ProviderKind.ANTHROPIC: (_TOOLS, _JSON, _SCHEMA, _VISION),
        ProviderKind.OLLAMA: (_JSON, _SCHEMA),  # by grammar, whatever the model
    }
)


def tier_of(upstream_id: str) -> Tier:
    """Infer how heavy a model is: one that reasons, or over 200 billion parameters, is deep; unknown is exploratory."""
    name = spellings(upstream_id)[-1]
    if _REASONING_NAME.search(name) or _DEEP_NAME.search(name):
        return Tier.DEEP
    sizes = [
        float(times or 1) * float(number) * (1.0 if unit == "b" else 0.001)
        for times, number, unit in _SIZE.findall(name)
    ]
    if sizes:
        size = max(sizes)
        return Tier.DEEP if size >= _DEEP_B else Tier.STANDARD if size >= _STANDARD_B else Tier.EXPLORATORY
    return Tier.STANDARD if _STANDARD_NAME.search(name) else Tier.EXPLORATORY


def spellings(upstream_id: str) -> tuple[str, ...]:
    """Return the forms an id is known under, the most specific first: as written, without its vendor, normalised.

    A variant (`:free`) is spelt like its base here; what is listed of it is its own all the same.
    """
    lower = upstream_id.lower()
    bare = lower.rpartition("/")[2]
    plain = bare.removesuffix(":latest")
    head, colon, tag = plain.rpartition(":")
    if colon and not any(char.isdigit() for char in tag):
        plain = head
    # llama-3.1-8b-instruct and Llama-3.2 are Ollama's llama3.1:8b and llama3.2
    normal = re.sub(r"^(?:meta-)?(llama|qwen|gemma|phi|granite)-(?=\d)", r"\1", plain)
    return tuple(dict.fromkeys((lower, bare, plain, normal)))


def _family(upstream_id: str) -> tuple[str, Family] | None:
    """Return the longest row that a spelling starts with, its size class counted with it."""
    found: tuple[str, Family] | None = None
    for form in spellings(upstream_id):
        for name, prefix, size in _ROWS.get(form[:_START], ()):
            starts = form.startswith(prefix) and not form[len(prefix) : len(prefix) + 1].isalnum()
            sized = size is None or size.search(form, len(prefix))
            if starts and sized and (found is None or len(name) > len(found[0])):
                found = (name, CATALOGUE[name])
    return found


_START: Final = 2


def _rows() -> Mapping[str, list[tuple[str, str, re.Pattern[str] | None]]]:
    """The catalogue by how names start: thousands of models are looked up at once."""
    rows: dict[str, list[tuple[str, str, re.Pattern[str] | None]]] = {}
    for name in CATALOGUE:
        prefix, _, size = name.partition(":")
        sized = re.compile(rf"(?:^|[-:]){re.escape(size)}(?:$|[-:])") if size else None
        rows.setdefault(prefix[:_START], []).append((name, prefix, sized))
    return rows


_ROWS: Final = _rows()


def _by_name(name: str) -> list[tuple[tuple[Word | str, ...], Tri]]:
    """What the words of a name suggest."""
    if _RERANK_NAME.search(name):
        return [(("retrieval.reranking",), Tri.YES), ((_TEXT,), Tri.NO)]
    if _EMBEDDING_NAME.search(name):
        return [((_EMBEDDINGS,), Tri.YES), ((_TEXT, _TOOLS), Tri.NO)]
    if _OTHER_NAME.search(name):
        return [((_TEXT,), Tri.NO)]
    suggested = ((_VISION_NAME, _VISION), (_REASONING_NAME, _REASONING))
    return [((word,), Tri.YES) for pattern, word in suggested if pattern.search(name)]


def _talks_not(name: str) -> bool:
    return any(pattern.search(name) for pattern in (_RERANK_NAME, _EMBEDDING_NAME, _OTHER_NAME))
