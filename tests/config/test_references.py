"""References to nothing, to oneself and in circles."""

from __future__ import annotations

import pytest

from routerconsole.config.load import LoadedConfig, load_text
from routerconsole.config.problems import ConfigError

BASE = (
    "version: 1\nproviders:\n"
    "  - {name: a, kind: ollama, discovery: {enabled: false}, models: [{id: m}, {id: 'x/y:1'}]}\n"
    "  - {name: d, kind: ollama, models: [{id: m}]}\n"
)


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(BASE + text, "f", {})
    return [str(problem) for problem in caught.value.problems]


def good(text: str) -> LoadedConfig:
    return load_text(BASE + text, "f", {})


def profiles(*lines: str) -> str:
    return "profiles:\n" + "".join(f"  - {{provider: a, model: m, {line}}}\n" for line in lines)


@pytest.mark.parametrize("member", ["a/zz", "zz/m", "m", "a/", "/m", "a__m"])
def test_a_pool_member_nobody_declares_is_an_error(member: str) -> None:
    """Unknown models and providers, and things that are no provider/model, are named."""
    assert errors(f"pools: [{{id: p, members: ['{member}']}}]\n")


def test_a_pool_member_that_discovery_may_bring_is_a_warning() -> None:
    """With discovery on it may still appear."""
    assert "d/new" in "".join(str(warning) for warning in good("pools: [{id: p, members: [d/new]}]\n").warnings)


def test_members_split_at_the_first_slash_and_providers_ignore_case() -> None:
    """Model ids may hold slashes and colons."""
    assert good("pools: [{id: p, members: ['A/x/y:1', a/m]}]\n").warnings == ()


def test_C3_06_a_member_twice_is_an_error_with_both_lines() -> None:
    """Also on one line, and with the provider's name in another case."""
    assert "twice, on lines 6 and 7" in errors("pools: [{id: p, members: [\na/m,\nA/m]}]\n")[0]
    assert "twice" in errors("pools: [{id: p, members: [a/m, d/m, a/m]}]\n")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (profiles("id: x, fallback_profiles: [x]"), "its own fallback"),
        (profiles("id: x, fallback_profiles: [X]"), "its own fallback"),
        (profiles("id: x, fallback_profiles: [y]", "id: y, fallback_profiles: [x]"), "x → y → x"),
        (profiles("id: xx-local, fallback_profiles: [xx-locl]", "id: yy"), "no profile is named"),
        (profiles("id: x, fallback_models: [a/zz]"), "declares no model"),
        (profiles("id: x, fallback_models: [A/m]"), "own model"),
        (profiles("id: x, fallback_models: [zz]"), "no provider declares"),
        (profiles("id: x, fallback_models: [zz/m]"), "no provider declares"),
        ("profiles: [{id: x, provider: a, model: zz}]\n", "declares no model"),
        ("profiles: [{id: x, provider: zz, model: m}]\n", "no provider is named"),
        ("agents: {x: nobody}\n", "no profile, pool or provider/model"),
        ("agents: {x: a/zz}\n", "declares no model"),
        ("agents: {x: default}\n", "no profile is configured"),
        ("agents: {x: router/toolz}\n", "did you mean 'tools'"),
        ("agents: {x: router/tools/paid}\n", "may only end in /free or /local"),
        ("agents: {x: llmproxy__nothing}\n", "no capability word or tier"),
    ],
)
def test_G09_C4_10_dangling_and_circular_references_are_errors(text: str, words: str) -> None:
    """Each is reported with its path."""
    assert any(words in line for line in errors(text))


def test_G09_a_chain_of_ten_thousand_is_one_error() -> None:
    """It is found without recursion, and said once."""
    base = "version: 1\nproviders: [{name: a, kind: ollama, models: [{id: m}]}]\nprofiles:\n"
    text = base + "".join(
        f"  - {{id: p{n}, provider: a, model: m, fallback_profiles: [p{n + 1}]}}\n" for n in range(9_999)
    )
    with pytest.raises(ConfigError) as caught:
        load_text(text + "  - {id: p9999, provider: a, model: m}\n", "f", {})
    assert len(caught.value.problems) == 1
    assert "more than 32" in str(caught.value)


def test_shared_fallbacks_and_diamonds_are_no_circles() -> None:
    """Two ways to one profile are fine."""
    text = profiles(
        "id: a1, fallback_profiles: [b1, c1]",
        "id: b1, fallback_profiles: [d1]",
        "id: c1, fallback_profiles: [d1]",
        "id: d1",
    )
    assert len(good(text).settings.profiles) == 4


@pytest.mark.parametrize(
    "target",
    ["x", "p", "a/m", "A/x/y:1", "auto", "tools", "router/tools", "Router__deep", "llmproxy/vision/free",
     "router__json__local", "router/local"],
)  # fmt: skip
def test_agents_may_name_profiles_pools_models_and_words(target: str) -> None:
    """Every kind of target of interface.md §2 is taken."""
    assert good(
        profiles("id: x") + f"pools: [{{id: p, members: [a/m]}}]\nagents: {{bot: '{target}'}}\n"
    ).settings.agents


@pytest.mark.parametrize("target", ["m", "x/y:1", "a/x/y:1", "A/x/y:1", "d/m"])
def test_fallback_models_may_be_named_with_or_without_their_provider(target: str) -> None:
    """A bare upstream id is any provider's that declares it, slashes included."""
    assert good(profiles(f"id: x, fallback_models: ['{target}']")).warnings == ()


def test_a_hopeless_file_is_refused_in_bounded_time() -> None:
    """Tens of thousands of wrong names cost no search each: only the first get suggestions."""
    models = ", ".join(f"{{id: model-{n}}}" for n in range(2_000))
    text = f"version: 1\nproviders: [{{name: a, kind: ollama, models: [{models}]}}]\nagents:\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text + "".join(f"  agent{n}: model-x{n}\n" for n in range(20_000)), "f", {})
    assert len(caught.value.problems) == 20_000
    assert str(caught.value).endswith("and 19800 more")
