"""What a model name stands for (interface.md §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.routing.cascades import EMBED, Stage, model, pool, provider

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import CapabilityTree
from routerconsole.domain.errors import ErrorCode, RequestRejected, RoutingFailed
from routerconsole.domain.policy import CapabilityPolicy, RoutingPolicy
from routerconsole.domain.pool import Pool, Strategy
from routerconsole.domain.profile import Profile
from routerconsole.domain.registry import Provider, ProviderKind, Registry, Tier
from routerconsole.domain.route import ModelKey
from routerconsole.routing.names import COMPARED, names_of
from routerconsole.routing.resolve import Resolution, ResolvedKind, resolve


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
     "nobody/gpt-4.1", "openai/", "/gpt-4.1", "__", "__m", "openai__", "../etc/passwd", "\u202eevil",
     "😀", "x" * 512, "llama3.2:3B", "router/nonsense", "router/tools/paid", "router__"],
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


# --- profiles, virtual models, capabilities and agents


def world(
    *, profiles: Sequence[Profile] = (), agents: Mapping[str, str] | None = None,
    assignments: Mapping[str, str] | None = None, tree: CapabilityTree | None = None, pools: Sequence[Pool] = (),
) -> Registry:  # fmt: skip
    """Two providers, one of them local and one that takes no money, and models of every sort."""
    return assemble(
        version=1,
        policy=RoutingPolicy(),
        providers=[
            provider("home", model("home", "small", "tools", tier=Tier.EXPLORATORY), model("home", "ocr-only", OCR),
                     priority=1, local=True),
            provider("gift", model("gift", "tooled", "tools json"), model("gift", "vision", "-vision"),
                     priority=2, free=True),
            provider("shop", model("shop", "big", "tools reasoning", tier=Tier.DEEP),
                     model("shop", "hidden", "tools", in_pools=False), model("shop", "off", "tools", enabled=False),
                     priority=3),
        ],
        pools=pools, profiles=profiles, agents=agents, assignments=assignments, tree=tree,
    )  # fmt: skip


OCR = "understanding.vision-understanding.ocr"
CODE = "generation.text-generation.code-generation"


def shown(found: Resolution) -> list[str]:
    """The models a resolution stands for."""
    return [f"{key.provider}/{key.model}" for key in found.keys]


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("router/tools", ["home/small", "gift/tooled", "shop/big", "shop/off"]),
        ("router/tools/free", ["gift/tooled"]),
        ("router/tools/local", ["home/small"]),
        ("router/json", ["gift/tooled"]),
        ("router/reasoning", ["shop/big"]),
        ("router/free", ["gift/tooled", "gift/vision"]),
        ("router/local", ["home/small", "home/ocr-only"]),
        ("router/exploratory", ["home/small"]),
        ("router/deep", ["shop/big"]),
        ("router/standard/free", ["gift/tooled", "gift/vision"]),
        ("router/free/free", ["gift/tooled", "gift/vision"]),
        ("router/vision", ["home/ocr-only"]),
        ("router/code", ["shop/big"]),
    ],
)
def test_C1_51_C1_52_virtual_models_and_their_spellings(name: str, members: list[str]) -> None:
    """Word, tier, price and both suffixes, in four spellings of any case; what is hidden is in none of them."""
    registry = world(tree=CapabilityTree(aliases={"code": "interaction.reasoning"}))
    rest = name.removeprefix("router/")
    for spelling in (name, f"llmproxy/{rest}", f"router__{rest}", f"llmproxy__{rest.replace('/', '__')}", name.upper()):
        found = resolve(spelling, registry)
        assert (found.kind, shown(found)) == (ResolvedKind.VIRTUAL, members), spelling
        assert found.id in (name, name.removesuffix("/free"))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("router/audio", "providers[].models[].capabilities"),
        ("router/parallel_tools/free", "providers[].models[].capabilities"),
        ("router/reasoning/free", "`free: true`"),
        ("router/deep/local", "`local: true`"),
        ("router/free/local", "free never includes local"),
        ("llmproxy__audio", "providers[].models[].capabilities"),
    ],
)
def test_C1_51_R27_an_empty_virtual_model_is_503_naming_the_key_to_fill(name: str, key: str) -> None:
    """The message says what is missing and where it would stand."""
    with pytest.raises(RoutingFailed) as caught:
        resolve(name, world())
    assert (caught.value.status, caught.value.code) == (503, ErrorCode.NO_ROUTABLE_CANDIDATE)
    assert key in caught.value.message
    assert caught.value.retry_after


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (provider("a", model("a"), local=True), "`free: true`"),
        (provider("a", model("a"), free=True), "`local: true`"),
        (provider("a", model("a")), "`tier: deep`"),
    ],
)
def test_C1_51_the_key_of_prices_and_tiers(made: Provider, key: str) -> None:
    """`free`, `local` and `tier` are named where nobody has them."""
    name = {"`free: true`": "router/free", "`local: true`": "router/local"}.get(key, "router/deep")
    with pytest.raises(RoutingFailed) as caught:
        resolve(name, Stage(made).registry)
    assert key in caught.value.message


def test_C1_51_a_hidden_model_is_addressed_directly() -> None:
    """It is in no pool and no virtual model, and has its name."""
    registry = world()
    assert shown(resolve("shop/hidden", registry)) == shown(resolve("hidden", registry)) == ["shop/hidden"]
    assert all("shop/hidden" not in shown(resolve(name, registry)) for name in ("auto", "tools", "router/tools"))


@pytest.mark.parametrize(
    ("name", "node", "members"),
    [
        (OCR, OCR, ["home/ocr-only"]),
        ("ocr", OCR, ["home/ocr-only"]),
        ("vision-understanding", "understanding.vision-understanding", ["home/ocr-only"]),
        ("understanding", "understanding", ["home/ocr-only"]),
        ("interaction", "interaction", ["home/small", "gift/tooled", "shop/big", "shop/off"]),
        ("json-generation", "generation.structured-generation.json-generation", ["gift/tooled"]),
    ],
)
def test_C3_03_a_capability_is_named_by_path_or_unique_leaf(name: str, node: str, members: list[str]) -> None:
    """It stands for all that have it or a descendant."""
    found = resolve(name, world())
    assert (found.kind, found.id, shown(found)) == (ResolvedKind.CAPABILITY, node, members)


def test_C3_03_an_ambiguous_leaf_is_404_listing_the_choices() -> None:
    """Unless something else bears the name."""
    tree = CapabilityTree(extensions=frozenset({"interaction.ocr", "retrieval.tooled"}))
    with pytest.raises(RequestRejected) as caught:
        resolve("ocr", world(tree=tree))
    assert (caught.value.status, caught.value.code) == (404, ErrorCode.MODEL_NOT_FOUND)
    assert all(choice in caught.value.message for choice in (OCR, "interaction.ocr"))
    tree = CapabilityTree(extensions=frozenset({"interaction.big", "retrieval.big"}))
    assert shown(resolve("big", world(tree=tree))) == ["shop/big"]


def test_a_capability_nobody_has_is_503_unless_a_model_is_called_that() -> None:
    """The key to fill is named; an upstream id of the same name still serves."""
    with pytest.raises(RoutingFailed) as caught:
        resolve("reranking", world())
    assert "providers[].models[].capabilities" in caught.value.message
    gifted = Stage(provider("gift", model("gift", "vision", "-vision"))).registry
    assert resolve("vision", gifted).kind is ResolvedKind.MODEL


def test_a_pool_declared_for_a_node_is_what_the_node_means() -> None:
    """With its members, its filter and its strategy; declared first counts."""
    made = pool("coders", node=CODE, strategy=Strategy.ROUND_ROBIN)
    listed = replace(made, listed=(ModelKey("shop", "big"),))
    found = resolve("code-generation", world(pools=[listed, replace(listed, id="others")]))
    assert (found.kind, shown(found)) == (ResolvedKind.CAPABILITY, ["shop/big"])
    assert found.pool is not None
    assert (found.pool.id, found.pool.strategy) == ("coders", Strategy.ROUND_ROBIN)
    assert found.because == (f"the pool 'coders' is declared for {CODE}",)


def test_names_go_by_the_order_of_the_interface() -> None:
    """Profile before pool before capability before model before agent; a user's pool beats an automatic one."""
    one = Profile("ocr", ModelKey("shop", "big"))
    assert resolve("OCR", world(profiles=[one], pools=[pool("ocr", "home/small")])).kind is ResolvedKind.PROFILE
    found = resolve("ocr", world(pools=[pool("ocr", "home/small")]))
    assert (found.kind, shown(found)) == (ResolvedKind.POOL, ["home/small"])
    assert shown(resolve("Tools", world(pools=[pool("tools", "shop/big")]))) == ["shop/big"]
    assert resolve("ocr", world(agents={"ocr": "auto"})).kind is ResolvedKind.CAPABILITY
    assert resolve("big", world(agents={"big": "auto"})).kind is ResolvedKind.MODEL
    assert resolve("bot", world(agents={"bot": "home/small"})).kind is ResolvedKind.AGENT


def test_a_word_in_capitals_is_an_automatic_pool_in_any_case() -> None:
    """Aliases may be written in any way; pool names are case-insensitive."""
    registry = world(tree=CapabilityTree(aliases={"Thinking": "interaction.reasoning"}))
    for name in ("Thinking", "thinking", "router/THINKING"):
        assert shown(resolve(name, registry)) == ["shop/big"]


# --- agents

DEFAULT = Profile("house", ModelKey("shop", "big"), default=True)


def agent(name: str | None, **more: Mapping[str, str]) -> Resolution:
    """Where the researcher's requests go."""
    return resolve(name, world(profiles=[DEFAULT], **more), agent="researcher")  # type: ignore[arg-type] # by name


def test_C0_39_an_assignment_beats_the_agents_own_default_beats_the_global_one() -> None:
    """The answer says which level won."""
    own, assigned = {"researcher": "gift/tooled"}, {"researcher": "home/small"}
    found = agent(None, agents=own, assignments=assigned)
    assert (found.kind, found.id, found.because) == (
        ResolvedKind.AGENT, "home/small", ("assignment of 'researcher' → home/small",),
    )  # fmt: skip
    found = agent(None, agents=own)
    assert (found.id, found.because[-1]) == ("gift/tooled", "own default of 'researcher' → gift/tooled")
    found = agent(None)
    assert (found.kind, found.id) == (ResolvedKind.PROFILE, "house")
    assert "global default → house" in found.because


def test_C0_39_a_level_that_cannot_be_used_is_skipped_and_said() -> None:
    """Disabled, unknown, hidden behind a name nobody has: the reason is in the answer."""
    for target, why in (
        ("shop/off", "the model is disabled"),
        ("shop/gone", "'shop/gone' is not known here"),
        ("router/audio", "has no members"),
    ):
        found = agent(None, assignments={"researcher": target}, agents={"researcher": "gift/tooled"})
        assert found.id == "gift/tooled"
        assert found.because[0].startswith(f"assignment of 'researcher' → {target} skipped: ")
        assert why in found.because[0]
    found = agent(None, assignments={"researcher": "shop/off"})
    assert found.id == "house"


def test_an_agent_decides_only_where_no_model_is_named() -> None:
    """Omitted, or `auto` in any case; whoever names a model gets it; `auto` stays auto without assignment."""
    assigned = {"researcher": "home/small"}
    assert {agent(name, assignments=assigned).id for name in (None, "auto", "AUTO")} == {"home/small"}
    assert agent("gift/tooled", assignments=assigned).id == "gift/tooled"
    found = agent("auto")
    assert (found.kind, found.id) == (ResolvedKind.POOL, "auto")


def test_an_agents_name_is_a_model_name_where_nothing_else_is_called_so() -> None:
    """It resolves by the same levels; targets may be profiles, pools, virtual models and models."""
    for target, members in (
        ("house", ["shop/big"]),
        ("router/json", ["gift/tooled"]),
        ("auto", shown(resolve("auto", world()))),
        ("Gift__tooled", ["gift/tooled"]),
    ):
        assert shown(resolve("bot", world(profiles=[DEFAULT], agents={"bot": target}))) == members


def test_what_operators_decided_live_counts_for_agents_too() -> None:
    """A provider disabled by hand is skipped though the registry knows nothing of it."""
    registry = world(assignments={"bot": "home/small"}, agents={"bot": "gift/tooled"})
    found = resolve(None, registry, agent="bot", enabled=lambda target: target != "home")
    assert (found.id, found.because[0]) == (
        "gift/tooled", "assignment of 'bot' → home/small skipped: the provider 'home' is disabled",
    )  # fmt: skip


def test_suggestions_come_from_profiles_pools_virtual_models_and_agents_too() -> None:
    """Whatever may be named may be meant."""
    registry = world(
        profiles=[Profile("gemma-local", ModelKey("home", "small"))], agents={"researcher": "auto"},
        pools=[pool("summaries", "home/small")],
    )  # fmt: skip
    for typo, meant in (("gemma-locl", "gemma-local"), ("summarys", "summaries"), ("researchers", "researcher"),
                        ("router/toolz", "router/tools")):  # fmt: skip
        with pytest.raises(RequestRejected) as caught:
            resolve(typo, registry)
        assert meant in caught.value.message


def test_what_a_name_means_is_remembered_per_registry() -> None:
    """A change of the registry is seen at once; strangers' names are not kept."""
    first, second = world(), world(pools=[pool("big", "home/small")])
    assert resolve("big", first) is resolve("big", first)
    assert shown(resolve("big", second)) == ["home/small"]
    assert shown(resolve("big", first)) == ["shop/big"]
    for number in range(50):
        with pytest.raises(RequestRejected):
            resolve(f"stranger-{number}", first)
    assert not any(str(name).startswith("stranger") for name in names_of(first).known)
