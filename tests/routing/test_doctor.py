"""What the doctors find in models, pools, profiles and agents, and that they find nothing where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.routing.cascades import model, pool, provider
from tests.routing.test_profiles import profile

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import NODE_OF, Source, Word
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.profile import Requirements
from routerconsole.domain.registry import Account, DiscoveryPolicy, Registry
from routerconsole.domain.route import ModelKey
from routerconsole.routing.doctor import Facts, Finding, Level, models_doctor, profiles_doctor

HOME = provider("home", model("home", "small", "tools", context_window=10_000), local=True)
SHOP = provider("shop", model("shop", "big", "tools vision"), model("shop", "mute", "-tools"))


def built(*providers: object, **more: object) -> Registry:
    """A registry of these providers, the two of above where none is named."""
    return assemble(version=1, policy=RoutingPolicy(), providers=providers or (HOME, SHOP), **more)  # type: ignore[arg-type] # by name


def said(found: tuple[Finding, ...]) -> list[str]:
    """The lines as the command line prints them."""
    return [f"{each.level}: {each.subject}: {each.message}" for each in found]


def test_nothing_is_said_of_what_is_in_order() -> None:
    """Pools, profiles, agents and assignments that work have no findings; the implicit profile has none either."""
    sound = built(
        pools=[pool("coding", "shop/big", node=NODE_OF[Word.TOOLS])],
        profiles=[
            profile("mine", "home/small", fallback_profiles=("theirs",), default=True),
            profile("theirs", "shop/big", requirements=Requirements((Word.TOOLS,), 8_192)),
        ],
        agents={"bot": "mine"}, assignments={"bot": "coding"},
    )  # fmt: skip
    assert models_doctor(sound) == profiles_doctor(sound) == ()
    assert models_doctor(built()) == profiles_doctor(built()) == ()


@pytest.mark.parametrize(
    ("providers", "why"),
    [
        ((), "no provider is configured"),
        ((replace(HOME, models=()),), "no provider has a model"),
        ((replace(HOME, enabled=False),), "every model is disabled or its provider cannot be used"),
        ((provider("a", model("a", enabled=False)),), "every model is disabled"),
        ((replace(HOME, unavailable="missing_extra: airllm"),), "every model is disabled or"),
    ],
)
def test_no_route_at_all_is_an_error_of_both(providers: tuple[object, ...], why: str) -> None:
    """It says what to fill."""
    registry = assemble(version=1, policy=RoutingPolicy(), providers=providers)  # type: ignore[arg-type] # providers
    for doctor in (models_doctor, profiles_doctor):
        assert [each for each in doctor(registry) if each.level is Level.ERROR and why in each.message]


def test_the_models_doctor_tells_what_is_wrong_with_profiles_too() -> None:
    """Both commands answer for broken profiles; the profiles' one leaves out pools."""
    broken = built(SHOP, profiles=[profile("p", "shop/gone", default=True)])
    lines = said(profiles_doctor(broken))
    assert lines
    assert set(lines) <= set(said(models_doctor(broken)))


# --- pools


def test_a_pool_without_a_usable_member_has_no_route() -> None:
    """Empty ones name the key to fill; automatic pools are nobody's mistake."""
    off = replace(SHOP, enabled=False)
    found = said(models_doctor(built(HOME, off, pools=[
        pool("readers", node=NODE_OF[Word.AUDIO]), pool("shoppers", "shop/big"),
    ])))  # fmt: skip
    assert any("ERROR: pool readers: no route" in line and "models[].capabilities" in line for line in found)
    assert "ERROR: pool shoppers: no route: none of its members can be used" in found
    assert len(found) == 2


def test_an_unknown_member_is_an_unknown_reference() -> None:
    """Neither declared nor listed; where a listing may still bring it, a warning, said once."""
    quiet = replace(SHOP, discovery=DiscoveryPolicy(enabled=False))
    pools = [pool("p", "shop/big", "shop/gone", "nobody/m")]
    told = "is neither declared nor listed by its provider"
    assert said(models_doctor(built(quiet, pools=pools))) == [
        f"ERROR: pool p: unknown reference: member nobody/m {told}",
        f"ERROR: pool p: unknown reference: member shop/gone {told}",
    ]
    awaited = built(pools=[pool("p", "shop/big", "shop/gone")])
    (line,) = said(models_doctor(awaited))
    assert line == "WARN: pool p: member shop/gone has no route until its provider lists it"
    facts = Facts(exposed=(("pools.0.members.1", "shop/gone is not declared"),))
    assert said(models_doctor(awaited, facts)) == ["WARN: pools.0.members.1: shop/gone is not declared"]


def test_a_listed_member_that_lacks_the_pools_capability_is_an_error() -> None:
    """A *no* somebody vouches for; a guessed one is a warning; unknown and members by node are fine."""
    tools = NODE_OF[Word.TOOLS]
    guessed = provider("x", model("x", "guess", "-tools", source=Source.GUESS), model("x", "unknown"))
    found = said(models_doctor(built(SHOP, guessed, pools=[
        pool("p", "shop/mute", "shop/big", "x/guess", "x/unknown", node=tools),
    ])))  # fmt: skip
    assert found == [
        f"ERROR: pool p: member shop/mute lacks {tools}: no (config)",
        f"WARN: pool p: member x/guess lacks {tools}: no (guess)",
    ]


# --- providers, keys, prompts


def test_C4_27_an_unresolved_secret_of_an_enabled_provider_names_the_variable_to_set() -> None:
    """Once for the provider, and for each account of its own; disabled providers are left alone."""
    lost = replace(SHOP, unavailable="missing_secret: SHOP_KEY")
    found = said(models_doctor(built(HOME, lost)))
    assert len(found) == 1
    assert found[0].startswith("WARN: provider shop: missing_secret: SHOP_KEY")
    assert "set SHOP_KEY" in found[0]
    assert said(profiles_doctor(built(HOME, lost))) == found
    assert models_doctor(built(HOME, replace(lost, enabled=False))) == ()
    two = replace(SHOP, accounts=(Account("one"), Account("two", unavailable="missing_secret: TWO")))
    assert said(models_doctor(built(HOME, two)))[0].startswith("WARN: provider shop, account two: missing_secret: TWO")


def test_C4_27_C3_18_whatever_else_keeps_a_provider_from_being_used_is_said() -> None:
    """A missing extra, an address that is none."""
    found = said(models_doctor(built(HOME, replace(SHOP, unavailable="config_error: base_url is no URL"))))
    assert found == ["WARN: provider shop: cannot be used: config_error: base_url is no URL"]


def test_C4_28_a_provider_without_a_key_that_needs_none_is_no_issue() -> None:
    """An account without a key is how local servers are reached."""
    assert models_doctor(built(HOME)) == ()


def test_what_the_configuration_file_gives_away_is_told_as_handed_in() -> None:
    """Plain-text keys and files others can read."""
    facts = Facts(exposed=(
        ("providers.0.api_key", "the key stands here in plain text"), ("f.yaml", "chmod 600 it"),
        ("providers.1.api_key", "missing_secret: K"),
    ))  # fmt: skip
    for doctor in (models_doctor, profiles_doctor):
        assert said(doctor(built(), facts)) == [
            "WARN: f.yaml: chmod 600 it",
            "WARN: providers.0.api_key: the key stands here in plain text",
        ]


@pytest.mark.parametrize(("tokens", "warned"), [(8_499, False), (8_500, True), (20_000, True)])
def test_prompts_that_nearly_fill_a_window_are_warned_of(tokens: float, warned: bool) -> None:
    """p95 from 85 % of the context window; a window nobody knows is never full."""
    facts = Facts(prompts={ModelKey("home", "small"): tokens, ModelKey("shop", "big"): 1e9, ModelKey("x", "y"): 1e9})
    found = said(models_doctor(built(), facts))
    assert bool(found) is warned
    assert all(line.startswith("WARN: model home/small: p95 prompt of ") and "(10000)" in line for line in found)


# --- profiles and agents


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("gone/m", "there is no provider 'gone'"),
        ("shop/gone", "the provider 'shop' has no model 'gone'"),
        ("off/m", "the provider 'off' is disabled"),
        ("lost/m", "missing_secret: LOST"),
    ],
)
def test_C4_12_C4_33_a_broken_profile_is_an_error_with_its_reason(where: str, why: str) -> None:
    """Also where a fallback still serves; the other profiles have no finding."""
    registry = built(
        SHOP, provider("off", enabled=False), provider("lost", unavailable="missing_secret: LOST"),
        profiles=[profile("mine", where, fallback_profiles=("fine",)), profile("fine", "shop/big")],
    )  # fmt: skip
    found = [each for each in profiles_doctor(registry) if each.subject.startswith("profile")]
    assert said(tuple(found)) == [f"ERROR: profile mine: broken: {why}"]
    alone = built(SHOP, profiles=[profile("mine", "gone/m")])
    assert any("no route: neither its model nor a fallback" in line for line in said(profiles_doctor(alone)))


def test_C4_10_unknown_references_selves_and_circles_are_errors() -> None:
    """The doctor looks again at what the configuration was checked for: models come and go."""
    registry = built(profiles=[
        profile("a", "shop/big", fallback_profiles=("nobody",), fallback_models=(ModelKey("shop", "gone"),)),
        profile("b", "shop/big", fallback_profiles=("B",)),
        profile("c", "shop/big", fallback_profiles=("d",), default=True),
        profile("d", "shop/big", fallback_profiles=("c",), default=True),
    ])  # fmt: skip
    assert said(profiles_doctor(registry)) == [
        "ERROR: profile a: unknown reference: fallback model shop/gone",
        "ERROR: profile a: unknown reference: fallback profile 'nobody'",
        "ERROR: profile b: its fallback 'B' leads back to it (remove one)",
        "ERROR: profile c: its fallback 'd' leads back to it (remove one)",
        "ERROR: profile d: a second default beside 'c' (keep one)",
        "ERROR: profile d: its fallback 'c' leads back to it (remove one)",
    ]


def test_a_local_tool_profile_without_a_fallback_is_warned_of() -> None:
    """Whether it requires tools or its model has them; hosted ones and those with a fallback are fine."""
    registry = built(profiles=[
        profile("alone", "home/small"),
        profile("backed", "home/small", fallback_models=(ModelKey("shop", "big"),)),
        profile("hosted", "shop/big"),
    ])  # fmt: skip
    (line,) = said(profiles_doctor(registry))
    assert line.startswith("WARN: profile alone: calls tools on a local model and has no fallback")


def test_a_requirement_no_candidate_meets_is_warned_of_with_its_numbers() -> None:
    """One that any of the chain meets is not."""
    asked = Requirements((Word.TOOLS, Word.REASONING), min_context_tokens=64_000)
    registry = built(profiles=[
        profile("p", "home/small", requirements=asked, fallback_models=(ModelKey("shop", "mute"),)),
        profile("q", "home/small", requirements=Requirements(min_context_tokens=64_000)),
    ])  # fmt: skip
    found = [line for line in said(profiles_doctor(registry)) if "requirement" in line]
    assert found == [
        "WARN: profile p: no candidate meets its requirement reasoning: requires reasoning: unknown",
        "WARN: profile q: no candidate meets its requirement min_context_tokens 64000: "
        "requires min_context_tokens 64000: context_window is 10000",
    ]


def test_agents_and_assignments_that_lead_nowhere() -> None:
    """Unknown is an error, out of use a warning; both doctors tell."""
    registry = built(
        SHOP, provider("off", enabled=False), agents={"a": "nobody", "b": "off/m", "c": "shop/big"},
        assignments={"d": "shop/gone"},
    )  # fmt: skip
    for doctor in (models_doctor, profiles_doctor):
        assert said(doctor(registry)) == [
            "ERROR: agent a: agents → nobody: 'nobody' is not known here; the next level answers instead",
            "ERROR: agent d: assignment → shop/gone: 'shop/gone' is not known here; the next level answers instead",
            "WARN: agent b: agents → off/m: the provider 'off' is disabled; the next level answers instead",
        ]


def test_what_operators_disabled_live_is_disabled() -> None:
    """The board's word counts before the registry's."""
    registry = built(HOME, SHOP, pools=[pool("p", "shop/big")])
    found = said(models_doctor(registry, Facts(enabled=lambda target: target != "shop")))
    assert found == ["ERROR: pool p: no route: none of its members can be used"]


def test_C4_27_a_refused_key_says_where_it_comes_from_and_no_more() -> None:
    """As handed in: the class of the fault and the variable, never the vendor's raw answer."""
    facts = Facts(faults={"shop": "config_error: 401; its key is env:SHOP_KEY (resolved)", "gone": "x"})
    assert said(profiles_doctor(built(), facts)) == [
        "WARN: provider shop: is refused: config_error: 401; its key is env:SHOP_KEY (resolved)"
    ]


def test_weights_that_nobody_serves_are_told_with_what_to_run() -> None:
    """A model whose file lies on the disk and that no listing shows: the command that serves it."""
    facts = Facts(unserved={ModelKey("home", "small"): "not served; run: llama-server -m /w/q.gguf"})
    told = "WARN: model home/small: not served; run: llama-server -m /w/q.gguf"
    assert said(models_doctor(built(), facts)) == said(profiles_doctor(built(), facts)) == [told]
