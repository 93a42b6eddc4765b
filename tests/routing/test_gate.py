"""What needs do to candidates before any is asked: drop, demote or leave alone (routing.md §2, steps 5 to 7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.routing.cascades import CHAT, EMBED, TOOLS, VISION, model

from routerconsole.domain.capability import NODE_OF, Source, Word
from routerconsole.domain.policy import CapabilityPolicy
from routerconsole.domain.registry import Model
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing.gate import CapabilityClass, GateVerdict, asked, judge, offer, unmet

GATE, PREFER, STRICT = CapabilityPolicy.GATE, CapabilityPolicy.PREFER, CapabilityPolicy.STRICT
YES, UNKNOWN, NO = CapabilityClass.YES, CapabilityClass.UNKNOWN, CapabilityClass.NO
TOOLS_NODE = NODE_OF[Word.TOOLS]


def verdict(
    made: Model, needs: Needs = TOOLS, policy: CapabilityPolicy = GATE, *, gaps: tuple[str, ...] = ()
) -> GateVerdict:
    """Judge one model."""
    return judge(offer(made), asked(needs), policy, gaps=gaps)


@pytest.mark.parametrize(
    ("caps", "policy", "cls", "dropped"),
    [
        ("tools", GATE, YES, False),
        ("", GATE, UNKNOWN, False),
        ("-tools", GATE, NO, True),
        ("tools", PREFER, YES, False),
        ("", PREFER, UNKNOWN, False),
        ("-tools", PREFER, NO, False),
        ("tools", STRICT, YES, False),
        ("", STRICT, UNKNOWN, True),
        ("-tools", STRICT, NO, True),
    ],
)
def test_C1_10_C1_11_policies(caps: str, policy: CapabilityPolicy, cls: CapabilityClass, dropped: bool) -> None:
    """`gate` drops a known no, `prefer` only orders, `strict` keeps known yes only."""
    found = verdict(model("a", "m", caps), policy=policy)
    assert (found.cls, bool(found.dropped_for)) == (cls, dropped)
    assert dropped <= (found.dropped_for == ("tools",))


@pytest.mark.parametrize(
    ("source", "dropped"),
    [
        (Source.OPERATOR, True),
        (Source.GAP, True),
        (Source.MEASURED, True),
        (Source.CONFIG, True),
        (Source.DISCOVERY, False),
        (Source.CATALOGUE, False),
        (Source.GUESS, False),
    ],
)
def test_C1_11_only_a_no_somebody_vouches_for_drops(source: Source, dropped: bool) -> None:
    """A *no* from a catalogue or a guess demotes; its source is in the reason."""
    found = verdict(model("a", "m", "-tools", source=source))
    assert (found.cls, bool(found.dropped_for)) == (NO, dropped)
    assert found.reasons == (f"tools: no ({source})",)


def test_C1_15_a_request_needing_nothing_finds_nothing_missing() -> None:
    """Whatever a model lacks."""
    assert verdict(model("a", "m", "-tools -vision -json"), CHAT) == GateVerdict(YES)


def test_C1_15_vision_gates_on_vision_not_tools() -> None:
    """Only the words needed count."""
    assert verdict(model("a", "m", "vision -tools"), VISION).cls is YES
    assert verdict(model("a", "m", "tools -vision"), VISION).dropped_for == ("vision",)


def test_words_nobody_declares_are_neutral() -> None:
    """Streaming and system rank below nothing when unknown, even under `strict`; a known no counts."""
    needs = replace(CHAT, needed=(Word.STREAMING, Word.SYSTEM))
    assert verdict(model("a"), needs, STRICT) == GateVerdict(YES)
    assert verdict(model("a", "m", "-system"), needs).dropped_for == ("system",)


@pytest.mark.parametrize(
    ("caps", "word"),
    [
        ("understanding.vision-understanding.ocr", Word.VISION),
        ("understanding.vision-understanding.image-captioning", Word.VISION),
        ("understanding.audio-understanding.speech-to-text", Word.AUDIO),
        ("generation.structured-generation", Word.JSON),
    ],
)
def test_a_request_word_means_exactly_its_node(caps: str, word: Word) -> None:
    """An OCR model is not thereby a vision chat model, nor does a branch imply its leaves (routing.md §4)."""
    needs = replace(CHAT, needed=(word,))
    assert verdict(model("a", "m", caps), needs).cls is UNKNOWN
    assert unmet(offer(model("a", "m", caps)), (NODE_OF[word],), gaps=())


def test_a_learned_gap_outranks_a_declared_yes_on_that_route() -> None:
    """The same model at another account keeps its yes: gaps are handed in per route."""
    claimed = model("a", "m", "tools")
    assert verdict(claimed, gaps=(TOOLS_NODE,)).dropped_for == ("tools",)
    assert verdict(claimed, gaps=(TOOLS_NODE,)).reasons == ("tools: no (gap)",)
    assert verdict(claimed).cls is YES


def test_a_route_that_refused_to_chat_is_dropped_from_chats() -> None:
    """That a chat needs text is not listed in `needed`, yet a learned gap of it counts."""
    assert verdict(model("a"), CHAT, gaps=(NODE_OF[Word.TEXT],)).dropped_for == ("text",)
    assert verdict(model("a"), EMBED, gaps=(NODE_OF[Word.TEXT],)).cls is UNKNOWN


def test_required_must_be_yes_and_every_unmet_item_is_named() -> None:
    """A guess counts, unknown does not; a node that is no request word counts what is below it."""
    nodes = (TOOLS_NODE, NODE_OF[Word.VISION], "understanding.document-understanding")
    guessed = model("a", "m", "tools understanding.document-understanding.form-extraction", source=Source.GUESS)
    assert unmet(offer(guessed), nodes, gaps=()) == [("vision", "requires vision: unknown")]
    bare = unmet(offer(model("a", "m", "-tools")), nodes, gaps=())
    assert [word for word, _ in bare] == ["tools", "vision", "understanding.document-understanding"]
    assert bare[0][1] == "requires tools: no (config)"
    assert unmet(offer(guessed), (TOOLS_NODE,), gaps=(TOOLS_NODE,)) == [("tools", "requires tools: no (gap)")]


@pytest.mark.parametrize(
    ("caps", "chat", "completions", "embeddings"),
    [
        ("", True, True, True),
        ("text tools", True, True, False),
        ("vision", True, True, False),
        ("embeddings", False, False, True),
        ("embeddings vision", False, False, True),
        ("embeddings text", True, True, True),
        ("embeddings -text", False, False, True),
        ("-text", False, True, True),
        ("-embeddings", True, True, False),
        ("representation.embeddings.image-embeddings", False, False, True),
        ("retrieval.reranking", False, False, False),
        ("generation.image-generation.text-to-image", False, False, False),
        ("generation.image-generation.text-to-image text", True, True, False),
        ("-generation.text-generation.text-completion", True, False, True),
    ],
)
def test_endpoint_kinds(caps: str, chat: bool, completions: bool, embeddings: bool) -> None:
    """Only a known difference of kind keeps a model from an endpoint; of the unknown any may be tried."""
    serves = offer(model("a", "m", caps)).serves
    found = tuple(kind in serves for kind in (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS))
    assert found == (chat, completions, embeddings)


def test_a_guessed_no_keeps_no_model_from_its_endpoint() -> None:
    """It only demotes there."""
    assert Endpoint.EMBEDDINGS in offer(model("a", "m", "-embeddings", source=Source.GUESS)).serves
