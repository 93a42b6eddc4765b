"""The catalogue and guesses by name: longest prefix, sizes, variants, tiers; low confidence throughout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import HARD_SOURCES, NODE_OF, Source, Tri, Word, strongest
from routerconsole.domain.guess import CATALOGUE, hints, spellings, tier_of
from routerconsole.domain.registry import ProviderKind, Tier

COMPATIBLE, OLLAMA = ProviderKind.OPENAI_COMPATIBLE, ProviderKind.OLLAMA


def value(upstream_id: str, word: Word, kind: ProviderKind = OLLAMA, *, spoken: bool = False) -> Tri:
    """What the hints amount to."""
    return strongest(hints(kind, upstream_id, spoken).get(NODE_OF[word], ())).value


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("deepseek-r1-distill-qwen-7b", Tier.DEEP),
        ("qwq-32b", Tier.DEEP),
        ("o1-mini", Tier.DEEP),
        ("llama-3.1-405b", Tier.DEEP),
        ("meta-llama/llama-3.1-405b-instruct:free", Tier.DEEP),
        ("llama-3.1-70b", Tier.STANDARD),
        ("llama3.3:70b-instruct-q4_K_M", Tier.STANDARD),
        ("mixtral:8x7b", Tier.STANDARD),
        ("llama-3.1-8b", Tier.EXPLORATORY),
        ("gemma2:9b", Tier.EXPLORATORY),
        ("qwen2.5:0.5b", Tier.EXPLORATORY),
        ("gemma3:270m", Tier.EXPLORATORY),
        ("something-nobody-knows", Tier.EXPLORATORY),
        ("gpt-4o-mini", Tier.EXPLORATORY),
        ("gpt-4o", Tier.STANDARD),
    ],
)
def test_C1_57_the_tier_follows_from_the_name(name: str, tier: Tier) -> None:
    """What reasons or is huge is deep, what is large is standard, the rest and the unknown is exploratory."""
    assert tier_of(name) is tier


def test_C4_11_a_compatible_server_is_guessed_to_do_tools_and_structured_output() -> None:
    """Only where nothing is declared, and only as a guess; not of a model that only embeds."""
    for word in (Word.TOOLS, Word.JSON, Word.JSON_SCHEMA):
        standing = strongest(hints(COMPATIBLE, "m", False)[NODE_OF[word]])
        assert (standing.value, standing.source) == (Tri.YES, Source.GUESS)
        assert value("m", word, COMPATIBLE, spoken=True) is Tri.UNKNOWN
        assert value("my-embedding-1", word, COMPATIBLE) is not Tri.YES
    assert value("m", Word.VISION, COMPATIBLE) is Tri.UNKNOWN


@pytest.mark.parametrize(
    ("name", "vision", "tools"),
    [
        ("llama3.2:3b", Tri.NO, Tri.YES),
        ("llama3.2:1b-instruct-q4", Tri.NO, Tri.YES),
        ("llama3.2-vision:11b", Tri.YES, Tri.NO),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", Tri.YES, Tri.UNKNOWN),
        ("qwen2.5vl:3b", Tri.YES, Tri.UNKNOWN),
        ("qwen2.5:7b", Tri.NO, Tri.YES),
        ("gemma3:4b", Tri.YES, Tri.NO),
        ("gemma3:1b", Tri.NO, Tri.NO),
        ("llava:7b", Tri.YES, Tri.NO),
        ("moondream:1.8b", Tri.YES, Tri.NO),
        ("acme-vl-7b", Tri.YES, Tri.UNKNOWN),
        ("acme-7b", Tri.UNKNOWN, Tri.UNKNOWN),
    ],
)
def test_the_longest_prefix_with_its_size_class_wins(name: str, vision: Tri, tools: Tri) -> None:
    """A base name does not speak for its variants of other sizes; other names say what their words suggest."""
    assert (value(name, Word.VISION), value(name, Word.TOOLS)) == (vision, tools)


def test_a_missing_tag_is_latest() -> None:
    """The tag changes nothing of what is known, and a family is no prefix of another word."""
    assert hints(OLLAMA, "llama3.1", False) == hints(OLLAMA, "llama3.1:latest", False)
    assert value("gemmatron", Word.TEXT) is Tri.UNKNOWN


def test_C1_12_bare_qualified_and_normalised_forms_are_one() -> None:
    """An id is known under all its spellings; a variant without a listing of its own inherits."""
    same = ("llama3.1:8b", "meta-llama/llama-3.1-8b-instruct", "Llama-3.1-8B", "x/llama-3.1-8b:free")
    assert {value(name, Word.TOOLS, spoken=True) for name in same} == {Tri.YES}
    assert spellings("Meta-Llama/Llama-3.1-8B:free")[-1] == "llama3.1-8b"


@pytest.mark.parametrize(
    "name", ["nomic-embed-text", "text-embedding-3-small", "acme-embed-2", "BAAI/bge-m3", "e5-large"]
)
def test_names_of_embedding_models(name: str) -> None:
    """They embed and do not chat."""
    assert (value(name, Word.EMBEDDINGS), value(name, Word.TEXT)) == (Tri.YES, Tri.NO)


@given(st.text(max_size=40), st.sampled_from(list(ProviderKind)), st.booleans())
def test_a_hint_is_never_hard(name: str, kind: ProviderKind, spoken: bool) -> None:
    """Whatever the name, hints come from catalogue or guess, so that their *no* only demotes."""
    sources = {layer.source for layers in hints(kind, name, spoken).values() for layer in layers}
    assert sources <= {Source.CATALOGUE, Source.GUESS}
    assert not sources & HARD_SOURCES
    assert isinstance(tier_of(name), Tier)


def test_every_row_of_the_catalogue_finds_itself() -> None:
    """No row is hidden by another, or contradicts itself."""
    for name, row in CATALOGUE.items():
        assert not set(row.has) & set(row.lacks)
        for word in row.has:
            layers = hints(COMPATIBLE, name, True)[NODE_OF[word]]
            assert any(layer.evidence == f"family {name}" and layer.value is Tri.YES for layer in layers), name
