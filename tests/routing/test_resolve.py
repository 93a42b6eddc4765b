"""What a model name stands for (interface.md §4)."""

from __future__ import annotations

import pytest
from tests.routing.cascades import EMBED, Stage, model, pool, provider

from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.policy import CapabilityPolicy
from routerconsole.domain.registry import ProviderKind, Registry
from routerconsole.routing.resolve import COMPARED, ResolvedKind, resolve


def registry() -> Registry:
    """Names that look like each other on purpose."""
    return Stage(
        provider("ollama-local", model("ollama-local", "moondream:latest"), model("ollama-local", "llama3.2:3b"),
                 model("ollama-local", "phi"), model("ollama-local", "hf.co/org/x:latest"),
                 model("ollama-local", "both"), model("ollama-local", "both:latest"),
                 priority=20, kind=ProviderKind.OLLAMA),
        provider("openai", model("openai", "gpt-4.1"), model("openai", "moondream"), model("openai", "a%2Fb:c.d"),
                 model("openai", "tagged:latest"),
                 priority=10),
        provider("router.x", model("router.x", "openai/gpt-4.1"), model("router.x", "org/deep/model:free"),
                 model("router.x", "openai/only-here"), priority=30),
        provider("a", model("a", "b__m"), model("a", "plain"), model("a", "x__y__z")),
        provider("a__b", model("a__b", "m")),
        pools=[
            pool("coding", "router.x/openai/gpt-4.1", "ollama-local/phi", "openai/gpt-4.1", "openai/gone",
                 capability_policy=CapabilityPolicy.STRICT),
            pool("gpt-4.1", "ollama-local/phi"),
        ],
    ).registry  # fmt: skip


def keys(name: str | None) -> list[str]:
    """The models a name stands for."""
    return [f"{key.provider}|{key.model}" for key in resolve(name, registry()).keys]


def test_omitted_and_auto_are_the_pool_of_all_by_priority() -> None:
    """No model named is `auto`, which lists every model in pools by provider priority."""
    assert resolve(None, registry()) == resolve("auto", registry()) == resolve("AUTO", registry())
    assert resolve(None, registry()).kind is ResolvedKind.POOL
    assert keys(None)[:3] == ["openai|gpt-4.1", "openai|moondream", "openai|a%2Fb:c.d"]


def test_a_pool_id_in_any_case_comes_before_an_upstream_id() -> None:
    """`gpt-4.1` is a pool and a model: the pool is meant; its policy comes with it."""
    assert keys("gpt-4.1") == ["ollama-local|phi"]
    found = resolve("Coding", registry())
    assert (found.id, found.capability_policy) == ("coding", CapabilityPolicy.STRICT)


def test_a_pools_members_are_tried_by_provider_priority_then_as_listed() -> None:
    """capabilities.md §4, strategy `priority`; a member that is gone is left out."""
    assert keys("coding") == ["openai|gpt-4.1", "ollama-local|phi", "router.x|openai/gpt-4.1"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("openai/gpt-4.1", "openai|gpt-4.1"),
        ("OpenAI/gpt-4.1", "openai|gpt-4.1"),
        ("openai__gpt-4.1", "openai|gpt-4.1"),
        ("OPENAI__gpt-4.1", "openai|gpt-4.1"),
        ("router.x/openai/gpt-4.1", "router.x|openai/gpt-4.1"),
        ("router.x__openai/gpt-4.1", "router.x|openai/gpt-4.1"),
        ("router.x/org/deep/model:free", "router.x|org/deep/model:free"),
        ("openai/a%2Fb:c.d", "openai|a%2Fb:c.d"),
        ("openai__a%2Fb:c.d", "openai|a%2Fb:c.d"),
        ("ollama-local/llama3.2:3b", "ollama-local|llama3.2:3b"),
        ("ollama-local/moondream", "ollama-local|moondream:latest"),
        ("ollama-local__moondream", "ollama-local|moondream:latest"),
        ("ollama-local/phi:latest", "ollama-local|phi"),
        ("ollama-local/hf.co/org/x", "ollama-local|hf.co/org/x:latest"),
        ("a/b__m", "a|b__m"),
        ("a__b__m", "a__b|m"),
        ("a__b/m", "a__b|m"),
        ("a__plain", "a|plain"),
        ("a__x__y__z", "a|x__y__z"),
        ("ollama-local/both", "ollama-local|both"),
        ("ollama-local/both:latest", "ollama-local|both:latest"),
    ],
)
def test_a_qualified_name_is_one_model(name: str, found: str) -> None:
    """Provider in any case, both separators, ids with `/ : % .` and `__`, Ollama's missing tag; never split further."""
    assert keys(name) == [found]
    assert resolve(name, registry()).kind is ResolvedKind.PROVIDER_MODEL


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("org/deep/model:free", ["router.x|org/deep/model:free"]),
        ("openai/only-here", ["router.x|openai/only-here"]),
        ("a%2Fb:c.d", ["openai|a%2Fb:c.d"]),
        ("moondream", ["openai|moondream", "ollama-local|moondream:latest"]),
        ("phi:latest", ["ollama-local|phi"]),
        ("b__m", ["a|b__m"]),
        ("both", ["ollama-local|both"]),
        ("both:latest", ["ollama-local|both:latest"]),
        ("tagged:latest", ["openai|tagged:latest"]),
    ],
)
def test_an_upstream_id_alone_is_all_that_serve_it_by_priority(name: str, found: list[str]) -> None:
    """Even where it begins like a provider's name."""
    assert keys(name) == found
    assert resolve(name, registry()).kind is ResolvedKind.MODEL


@pytest.mark.parametrize(
    "name",
    ["gpt-4", "tagged", "GPT-4.1x", "gpt", "1", "llama3.2", "openai/llama3.2:3b", "openai/moondream:latest",
     "nobody/gpt-4.1", "openai/", "/gpt-4.1", "__", "__m", "openai__", "router/nonsense", "router/tools/paid", "router__", "../etc/passwd", "\u202eevil",
     "😀", "x" * 512, "llama3.2:3B"],
)  # fmt: skip
def test_R09_what_is_not_known_is_404_with_suggestions_and_never_echoed_raw(name: str) -> None:
    """Upstream ids match in full and by case; a missing tag means `:latest` at Ollama only."""
    with pytest.raises(RequestRejected) as caught:
        resolve(name, registry())
    error = caught.value
    assert (error.status, error.code, error.param) == (404, ErrorCode.MODEL_NOT_FOUND, "model")
    assert "\u202e" not in error.message
    assert len(error.message) < 500


def test_up_to_three_suggestions_by_likeness_whatever_the_case() -> None:
    """A typo gets names that exist, spelled as they exist."""
    with pytest.raises(RequestRejected) as caught:
        resolve("MOONDREEM", registry())
    said = caught.value.message.partition("Did you mean ")[2]
    assert "moondream" in said
    assert 1 <= said.count(",") + 1 <= 3


def test_suggestions_stay_cheap_among_thousands() -> None:
    """Only a bounded share of the names is compared closely, and the right one is among them."""
    many = provider("big", *(model("big", f"model-{n}") for n in range(20 * COMPARED)), model("big", "sonnet-large"))
    with pytest.raises(RequestRejected) as caught:
        resolve("sonnet-largee", Stage(many).registry)
    assert "sonnet-large" in caught.value.message


def test_auto_serves_embeddings_by_the_models_that_embed() -> None:
    """The endpoint chooses among the members of `auto`; chat models are shown as dropped."""
    stage = Stage(provider("a", model("a", "chat", "text tools"), model("a", "embed", "embeddings")))
    told = stage.send(needs=EMBED, name="auto")
    assert told.labels == ["a/embed"]
    assert stage.send(name="auto").labels == ["a/chat"]
