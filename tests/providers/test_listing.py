"""What each server's listing says of its models, and how little an odd one can do."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import NODE_OF, Tri, Word
from routerconsole.domain.listing import ListedModel
from routerconsole.domain.registry import Provider, ProviderKind
from routerconsole.providers import listing
from routerconsole.providers.dialect import Dialect, Page, Undecodable
from routerconsole.providers.kinds import dialect_of

COMPATIBLE = dialect_of(ProviderKind.OPENAI_COMPATIBLE)
OPENAI = dialect_of(ProviderKind.OPENAI)
OLLAMA = dialect_of(ProviderKind.OLLAMA)
ANTHROPIC = dialect_of(ProviderKind.ANTHROPIC)
DIALECTS = (COMPATIBLE, OPENAI, OLLAMA, ANTHROPIC)


def page(dialect: Dialect, document: Any) -> Page:
    """The page a document gives."""
    return dialect.decode_listing(orjson.dumps(document))


def only(dialect: Dialect, *entries: dict[str, Any]) -> ListedModel:
    """The first model of a listing in the OpenAI shape."""
    return next(iter(page(dialect, {"object": "list", "data": list(entries)}).models.values()))


def can(model: ListedModel, word: Word) -> Tri | None:
    """What is said of a word."""
    return model.capabilities.get(NODE_OF[word])


def detailed(dialect: Dialect, document: Any, answer: Any) -> dict[str, ListedModel]:
    """The models after the first detail was answered."""
    found = page(dialect, document)
    more = dialect.decode_detail(found.details[0], orjson.dumps(answer), found.models)
    return {**found.models, **{model.id: model for model in more}}


def openrouter(id_: str, *parameters: str, inputs: tuple[str, ...] = ("text",), **more: Any) -> dict[str, Any]:
    """An entry as OpenRouter writes it."""
    return {
        "id": id_,
        "name": f"Maker: {id_}",
        "description": "A model.\nWith lines.",
        "context_length": 131_072,
        "architecture": {"modality": "text->text", "input_modalities": list(inputs), "output_modalities": ["text"]},
        "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "request": "0"},
        "top_provider": {"context_length": 131_072, "max_completion_tokens": 16_384, "is_moderated": False},
        "supported_parameters": list(parameters),
        **more,
    }


# --- OpenRouter ---
def test_openrouter_says_parameters_modalities_and_prices() -> None:
    """Tools, reasoning, json from the parameters; vision from the modalities; USD per million tokens."""
    told = only(COMPATIBLE, openrouter("a/b", "tools", "reasoning", "structured_outputs", inputs=("text", "image")))
    words = (Word.TOOLS, Word.REASONING, Word.JSON, Word.JSON_SCHEMA, Word.VISION, Word.TEXT)
    assert [can(told, word) for word in words] == [Tri.YES] * len(words)
    assert (told.context_window, told.max_output_tokens) == (131_072, 16_384)
    assert (told.usd_per_mtok_in, told.usd_per_mtok_out, told.free) == (0.15, 0.6, None)
    assert (told.display, told.description) == ("Maker: a/b", "A model. With lines.")


def test_response_format_is_json_and_no_schema() -> None:
    """A server that takes a response format makes JSON; that it keeps to a schema is another matter."""
    told = only(COMPATIBLE, openrouter("a/b", "response_format"))
    assert (can(told, Word.JSON), can(told, Word.JSON_SCHEMA)) == (Tri.YES, None)


def test_C1_12_a_variant_owns_its_listing_and_a_terse_other_says_nothing_more() -> None:
    """What a variant leaves out it has not; what another model leaves out is unknown, for the catalogue to say."""
    variant = only(COMPATIBLE, openrouter("a/b:free", "reasoning"))
    assert (can(variant, Word.REASONING), can(variant, Word.TOOLS), can(variant, Word.VISION)) == (
        Tri.YES,
        Tri.NO,
        Tri.NO,
    )
    terse = only(COMPATIBLE, openrouter("a/b", inputs=("text", "image")))
    assert (can(terse, Word.VISION), can(terse, Word.TOOLS)) == (Tri.YES, None)


@pytest.mark.parametrize(
    ("prompt", "completion", "free"),
    [
        ("0", "0", True),
        (0, 0.0, True),
        ("0.0", "0.000", True),
        ("0", "0.1", None),
        ("-1", "-1", None),
        ("x", "0", None),
    ],
)
def test_free_is_when_both_prices_are_zero(prompt: Any, completion: Any, free: bool | None) -> None:
    """A price that is unknown, or not fixed (-1), is not zero."""
    told = only(COMPATIBLE, openrouter("a/b", pricing={"prompt": prompt, "completion": completion}))
    assert told.free is free


@pytest.mark.parametrize(
    ("text", "price"),
    [
        *[("0.00000015", 0.15), (1.5e-7, 0.15), ("0.000003", 3.0), ("-1", None), ("nan", None), ("inf", None)],
        *[(True, None), ("9" * 300, None), ("1e999999999", None), (None, None), ([], None), ("", None)],
    ],
)
def test_prices_are_exact_or_unknown(text: Any, price: float | None) -> None:
    """No rounding dust, no nonsense."""
    assert listing.usd_per_mtok(text) == price


# --- servers of the dialect ---
def test_vllm_says_its_length() -> None:
    """`max_model_len` is the window."""
    assert only(COMPATIBLE, {"id": "m", "owned_by": "vllm", "max_model_len": 4096}).context_window == 4096


LLAMACPP = {"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 8192, "n_ctx_train": 65_536}}


def test_llama_cpp_says_its_window_and_props_what_it_can() -> None:
    """The window in use, not the one it was trained for; tools from the template; modalities both ways."""
    assert only(OPENAI, LLAMACPP).context_window == 8192
    found = page(COMPATIBLE, {"data": [LLAMACPP]})
    assert [(detail.wire.method, detail.wire.path) for detail in found.details] == [("GET", "/props")]
    props = {
        "default_generation_settings": {"n_ctx": 4096},
        "modalities": {"vision": False, "audio": True},
        "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
    }
    told = detailed(COMPATIBLE, {"data": [LLAMACPP]}, props)["m"]
    assert told.context_window == 4096
    assert [can(told, word) for word in (Word.TOOLS, Word.VISION, Word.AUDIO, Word.JSON)] == [
        Tri.YES, Tri.NO, Tri.YES, None,
    ]  # fmt: skip
    props["chat_template_caps"] = {"supports_tool_calls": False}
    assert can(detailed(COMPATIBLE, {"data": [LLAMACPP]}, props)["m"], Word.TOOLS) is Tri.NO


def test_servers_are_told_apart_by_what_they_offer() -> None:
    """llama.cpp's build and a digest of what it loaded; another file is another; saying nothing is nothing."""

    def told(**props: str) -> str | None:
        return detailed(COMPATIBLE, {"data": [LLAMACPP]}, props)["m"].fingerprint

    one = told(build_info="b1;\x1b[31m", model_path="/m/a.gguf")
    assert one is not None
    assert [fact.partition("=")[0] for fact in one.split("; ")] == ["build", "loaded"]
    assert "\x1b" not in one
    assert one != told(build_info="b1;\x1b[31m", model_path="/m/b.gguf")
    assert told() is None


def test_llama_cpp_with_many_models_is_not_asked_for_props() -> None:
    """To ask its router for one model's would load it."""
    assert page(COMPATIBLE, {"data": [LLAMACPP, {**LLAMACPP, "id": "n"}]}).details == ()


@pytest.mark.parametrize("base", ["http://h:1", "http://h:1/v1", "http://h:1/v1/"])
def test_props_stand_beside_v1(base: str) -> None:
    """Listings are below `/v1`, what llama.cpp and LM Studio say more is not."""
    provider = Provider("p", ProviderKind.OPENAI_COMPATIBLE, base)
    assert COMPATIBLE.url(provider, "/props") == "http://h:1/props"
    assert COMPATIBLE.url(provider, "/api/v0/models") == "http://h:1/api/v0/models"
    assert COMPATIBLE.url(provider, "/model/info") == "http://h:1/v1/model/info"


def test_lm_studio_says_types_windows_and_tool_use() -> None:
    """Its own list knows what its OpenAI list does not."""
    plain = {"data": [{"id": id_, "owned_by": "organization_owner"} for id_ in ("see", "talk", "embed")]}
    assert [detail.wire.path for detail in page(COMPATIBLE, plain).details] == ["/api/v0/models"]
    rows = [
        {"id": "see", "type": "vlm", "max_context_length": 32_768, "capabilities": ["tool_use"]},
        {"id": "talk", "type": "llm", "max_context_length": 131_072, "loaded_context_length": 4096},
        {"id": "embed", "type": "embeddings", "max_context_length": 2048},
        {"id": "unheard", "type": "llm"},
    ]
    told = detailed(COMPATIBLE, plain, {"data": rows})
    assert list(told) == ["see", "talk", "embed"]
    assert (can(told["see"], Word.VISION), can(told["see"], Word.TOOLS)) == (Tri.YES, Tri.YES)
    assert (can(told["talk"], Word.VISION), told["talk"].context_window) == (Tri.NO, 4096)
    assert (can(told["embed"], Word.EMBEDDINGS), can(told["embed"], Word.TEXT)) == (Tri.YES, Tri.NO)


def test_litellm_says_flags_limits_and_prices() -> None:
    """True and false count, null says nothing."""
    plain = {"data": [{"id": "gpt", "owned_by": "openai"}, {"id": "emb", "owned_by": "openai"}]}
    assert [detail.wire.path for detail in page(COMPATIBLE, plain).details] == ["/model/info"]
    info = {"mode": "chat", "max_input_tokens": 128_000, "max_output_tokens": 4096, "input_cost_per_token": 1e-6,
            "output_cost_per_token": 2e-6, "supports_vision": False, "supports_function_calling": True,
            "supports_reasoning": None}  # fmt: skip
    rows = [{"model_name": "gpt", "model_info": info}, {"model_name": "emb", "model_info": {"mode": "embedding"}}]
    told = detailed(COMPATIBLE, plain, {"data": rows})
    words = (Word.TEXT, Word.TOOLS, Word.VISION, Word.REASONING)
    assert [can(told["gpt"], word) for word in words] == [Tri.YES, Tri.YES, Tri.NO, None]
    assert (told["gpt"].context_window, told["gpt"].usd_per_mtok_in, told["gpt"].usd_per_mtok_out) == (128_000, 1, 2)
    assert (can(told["emb"], Word.EMBEDDINGS), can(told["emb"], Word.TEXT)) == (Tri.YES, Tri.NO)


@pytest.mark.parametrize("owner", ["vllm", "somebody", "groq"])
def test_a_server_nobody_recognises_is_asked_nothing_more(owner: str) -> None:
    """And OpenAI itself never is."""
    assert page(COMPATIBLE, {"data": [{"id": "m", "owned_by": owner}]}).details == ()
    assert page(OPENAI, {"data": [{"id": "m", "owned_by": "openai"}]}).details == ()


def test_together_answers_with_the_bare_list() -> None:
    """A list without an object around it is a listing; an empty one could be anything."""
    assert list(page(COMPATIBLE, [{"id": "a"}, {"id": "b"}]).models) == ["a", "b"]
    with pytest.raises(Undecodable):
        page(COMPATIBLE, [])


def test_more_pages_make_a_listing_incomplete() -> None:
    """Then absence says nothing."""
    assert not page(ANTHROPIC, {"data": [{"id": "m"}], "has_more": True}).complete
    assert not page(COMPATIBLE, {"data": [{"id": "m"}], "has_more": True}).complete
    assert page(COMPATIBLE, {"data": [{"id": "m"}]}).complete


# --- Anthropic ---
def test_anthropic_says_names_windows_and_capabilities() -> None:
    """What the Models API says, where it says it."""
    entry = {
        "type": "model", "id": "claude-x", "display_name": "Claude X", "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": 200_000, "max_tokens": 64_000,
        "capabilities": {"image_input": {"supported": True}, "thinking": {"supported": False}, "batch": None},
    }  # fmt: skip
    told = only(ANTHROPIC, entry)
    assert (told.display, told.context_window, told.max_output_tokens) == ("Claude X", 200_000, 64_000)
    assert (can(told, Word.VISION), can(told, Word.REASONING)) == (Tri.YES, Tri.NO)


# --- Ollama ---
TAGS = {"models": [{"name": "m:1", "model": "m:1", "details": {"family": "llama", "parameter_size": "3B"}}]}


def test_ollama_shows_each_model() -> None:
    """`/api/show` is asked of each; its capabilities are all there are; the window is the architecture's."""
    found = page(OLLAMA, TAGS)
    (detail,) = found.details
    assert (detail.wire.method, detail.wire.path, detail.model) == ("POST", "/api/show", "m:1")
    assert orjson.loads(detail.wire.body) == {"model": "m:1"}
    shown = {
        "capabilities": ["completion", "tools", "thinking", "insert"],
        "model_info": {"general.architecture": "qwen3", "clip.context_length": 77, "qwen3.context_length": 40_960},
    }
    told = detailed(OLLAMA, TAGS, shown)["m:1"]
    words = (Word.TEXT, Word.TOOLS, Word.REASONING, Word.VISION, Word.EMBEDDINGS)
    assert [can(told, word) for word in words] == [Tri.YES, Tri.YES, Tri.YES, Tri.NO, Tri.NO]
    assert told.capabilities["generation.text-generation.text-completion"] is Tri.YES
    assert told.context_window == 40_960


def test_an_ollama_without_capabilities_says_what_its_families_tell() -> None:
    """An older server names the parts of a model."""
    tags = {"models": [{"name": "v", "details": {"family": "llama", "families": ["llama", "clip"]}}]}
    told = detailed(OLLAMA, tags, {"model_info": {"llama.context_length": 8192}})["v"]
    assert (can(told, Word.VISION), can(told, Word.TOOLS), told.context_window) == (Tri.YES, None, 8192)


# --- untrusted ---
@pytest.mark.parametrize(
    "id_",
    [
        *("evil\x1b[2J", "a\nb", "\u202eabc", "a\x00", " a", "a ", "", "x" * 513, "\ud800", 5, None, ["a"], {}),
        *("../x", "a/../../etc", "..", "a/.."),
    ],
)
def test_X26_an_id_that_cannot_be_shown_stays_out_with_a_note(id_: Any) -> None:
    """Control and direction characters, blanks at the ends, steps upwards, too long or no text: left out and told."""
    document = b'{"data":[{"id":"ok"},{"id":%s}]}' % (b'"\\ud800"' if id_ == "\ud800" else orjson.dumps(id_))
    try:
        found = COMPATIBLE.decode_listing(document)
    except Undecodable:
        assert id_ == "\ud800"  # no JSON at all to orjson
        return
    assert list(found.models) == ["ok"]
    assert found.note == "1 entry has no usable id and stays out"


def test_E03_ten_thousand_models_and_no_more() -> None:
    """A longer list is cut, and then incomplete."""
    found = page(COMPATIBLE, {"data": [{"id": f"m{n}"} for n in range(listing.MAX_MODELS + 5)]})
    assert (len(found.models), found.complete) == (listing.MAX_MODELS, False)
    assert "only the first 10000" in found.note


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"5", b"{}", b'{"data":{}}', b'{"models":"x"}', b"[]"])
def test_E03_garbage_is_no_listing(dialect: Dialect, body: bytes) -> None:
    """It is refused, and no empty list."""
    with pytest.raises(Undecodable):
        dialect.decode_listing(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("name", "description", "context_length", "max_model_len", "architecture", "pricing", "top_provider", "meta",
          "supported_parameters", "owned_by", "type", "capabilities", "details", "max_tokens")  # fmt: skip
ENTRY = st.fixed_dictionaries({"id": st.just("m")}, optional=dict.fromkeys(FIELDS, JSON))


@given(ENTRY, st.sampled_from(DIALECTS), JSON)
def test_odd_types_say_nothing(entry: dict[str, Any], dialect: Dialect, answer: Any) -> None:
    """Whatever stands in the fields, of an entry or of a detail, the model is listed with sane facts or none."""
    key = "models" if dialect is OLLAMA else "data"
    told = {**entry, "model": "m"}
    found = dialect.decode_listing(orjson.dumps({key: [told]}, default=str, option=orjson.OPT_NON_STR_KEYS))
    models = dict(found.models)
    for detail in found.details:
        try:
            more = dialect.decode_detail(detail, orjson.dumps(answer), found.models)
        except Undecodable:
            continue
        models.update((model.id, model) for model in more)
    (model,) = models.values()
    assert model.id == "m"
    for window in (model.context_window, model.max_output_tokens):
        assert window is None or 0 < window <= 1_000_000_000
    for price in (model.usd_per_mtok_in, model.usd_per_mtok_out):
        assert price is None or (math.isfinite(price) and price >= 0)
    assert all(isinstance(value, Tri) for value in model.capabilities.values())
    for text in (model.display, model.description):
        assert text is None or (text.isprintable() and len(text) <= 500)
