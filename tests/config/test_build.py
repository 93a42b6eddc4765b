"""From settings to the registry."""

from __future__ import annotations

import pytest

from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.load import load_text
from routerconsole.domain.capability import Source, Tri, Word
from routerconsole.domain.profile import Requirements
from routerconsole.domain.registry import Provider, Registry
from routerconsole.domain.route import ModelKey
from routerconsole.domain.secret import Secret


def built(text: str, env: dict[str, str] | None = None) -> Registry:
    return build_registry(load_text("version: 1\n" + text + "\n", "f", env or {}).settings, env or {})


def provider(fields: str, env: dict[str, str] | None = None) -> Provider:
    return built(f"providers: [{{name: a, {fields}}}]", env).providers["a"]


OPEN = "kind: openai_compatible, base_url: 'http://gw.example'"


def test_C0_02_routing_numbers_reach_the_policy() -> None:
    """request_deadline and max_attempts are effective."""
    policy = built("routing: {request_deadline: 60s, max_attempts: 3}").policy
    assert (policy.request_deadline, policy.max_attempts) == (60.0, 3)


def test_C0_04_a_template_key_makes_the_provider_available() -> None:
    """`${TEST_API_KEY}` with the variable set: the key is its value."""
    there = provider("kind: openai, api_key: '${TEST_API_KEY}'", {"TEST_API_KEY": "secret123"})
    assert there.unavailable is None
    assert there.accounts[0].api_key == Secret("secret123")


def test_C0_05_without_the_variable_the_provider_says_its_name() -> None:
    """It stays listed, unavailable, and holds no key."""
    there = provider("kind: openai, api_key: '${TEST_API_KEY}'")
    assert there.unavailable == "missing_secret: TEST_API_KEY"
    assert there.accounts[0].api_key is None


def test_C0_06_the_default_model_is_the_flagged_else_the_first_else_none() -> None:
    """Three cases of one rule."""
    assert provider("kind: ollama, models: [{id: mistral}, {id: llama3, default: true}]").default_model == "llama3"
    assert provider("kind: ollama, models: [{id: llama3}, {id: mistral}]").default_model == "llama3"
    assert provider("kind: ollama, models: []").default_model is None


@pytest.mark.parametrize(
    ("fields", "env", "reason"),
    [
        ("kind: openai, api_key: 'env:K'", {"K": "sk-1234567"}, None),
        ("kind: openai", {}, "OPENAI_API_KEY"),
        ("kind: openai, api_key: ''", {}, "OPENAI_API_KEY"),
        ("kind: openai, api_key: 'env:K'", {"K": ""}, "missing_secret: K"),
        ("kind: anthropic, api_key: 'env:K'", {"K": "sk-ant-api03-x"}, None),
        ("kind: anthropic", {}, "ANTHROPIC_API_KEY"),
        ("kind: anthropic, api_key: 'env:K'", {"K": "sk-ant-oat01-x"}, "subscription"),
        ("kind: ollama, headers: {Authorization: 'Bearer ${K}'}", {"K": "sk-ant-oat01-x"}, "subscription"),
        (OPEN, {}, None),
        ("kind: ollama", {}, None),
        ("kind: airllm", {}, "missing_extra: airllm"),
        (f"{OPEN}, headers: {{X-Key: 'env:H'}}", {}, "missing_secret: H"),
        (f"{OPEN}, headers: {{X-Key: 'env:H'}}", {"H": "a\r\nb"}, "line break"),
        (f"{OPEN}, proxy: 'http://${{P}}@h'", {}, "missing_secret: P"),
        (f"{OPEN}, proxy: '${{P}}'", {"P": "ftp://h"}, "scheme"),
        (f"{OPEN}, ca_file: /nowhere/ca.pem", {}, "ca_file"),
        ("kind: openai_compatible, base_url: '${U}'", {}, "missing_secret: U"),
        ("kind: openai_compatible, base_url: '${U}'", {"U": "http://169.254.169.254"}, "refused"),
        ("kind: openai_compatible, base_url: 'env:U'", {"U": "http://h"}, None),
    ],
)
def test_C0_07_G11_availability_and_its_reason(fields: str, env: dict[str, str], reason: str | None) -> None:
    """A provider that cannot be used stays listed and says why; the others are available."""
    there = provider(fields, env)
    if reason is None:
        assert there.unavailable is None
    else:
        assert reason in str(there.unavailable)


def test_G11_one_unusable_provider_leaves_the_others_alone() -> None:
    """Others run."""
    registry = built("providers: [{name: a, kind: openai, api_key: 'env:NOPE'}, {name: b, kind: ollama}]")
    assert registry.providers["a"].unavailable == "missing_secret: NOPE"
    assert registry.providers["b"].unavailable is None


def test_one_usable_account_is_enough() -> None:
    """The broken account keeps its own reason, the provider is available."""
    accounts = "kind: openai, accounts: [{name: x, api_key: 'env:X'}, {name: y, api_key: 'env:Y'}]"
    there = provider(accounts, {"Y": "sk-yyyyyyy"})
    assert there.unavailable is None
    assert [account.unavailable for account in there.accounts] == ["missing_secret: X", None]
    assert provider(accounts).unavailable == "missing_secret: X"


def test_G14_two_providers_of_one_origin_keep_their_own_keys() -> None:
    """Same base_url, different keys: allowed, not mixed."""
    text = f"providers: [{{name: a, {OPEN}, api_key: 'env:A'}}, {{name: b, {OPEN}, api_key: 'env:B'}}]"
    providers = built(text, {"A": "key-of-a-1", "B": "key-of-b-2"}).providers
    assert [providers[name].accounts[0].api_key for name in "ab"] == [Secret("key-of-a-1"), Secret("key-of-b-2")]


@pytest.mark.parametrize(
    ("fields", "local"),
    [
        ("kind: ollama", True),
        ("kind: ollama, base_url: 'http://box.local:1'", True),
        ("kind: ollama, base_url: 'http://host.docker.internal:1'", True),
        ("kind: ollama, base_url: 'http://[::1]:1'", True),
        ("kind: ollama, base_url: 'http://0x7f000001'", True),
        ("kind: ollama, base_url: 'http://10.0.0.1'", False),
        ("kind: ollama, base_url: 'http://10.0.0.1', local: true", True),
        ("kind: ollama, local: false", False),
        (OPEN, False),
    ],
)
def test_local_follows_the_address_unless_written(fields: str, local: bool) -> None:
    """Loopback, *.local and host.docker.internal are local; local ones get 2 at a time and 180 s to the first token."""
    there = provider(fields)
    assert there.local is local
    assert there.max_concurrency == (2 if local else 64)
    assert there.timeouts.first_token == (180.0 if local else 60.0)


def test_a_written_first_token_timeout_holds_for_all() -> None:
    """In routing for every provider, in a provider for that one."""
    both = built(
        "routing: {first_token_timeout: 20s}\n"
        "providers: [{name: a, kind: ollama}, {name: b, kind: ollama, timeouts: {first_token_timeout: 5s}}]"
    ).providers
    assert [both[name].timeouts.first_token for name in "ab"] == [20.0, 5.0]


def test_timeouts_and_circuit_are_overridden_per_provider() -> None:
    """What is left out follows routing."""
    there = built(
        "routing: {idle_timeout: 7s, circuit: {failure_threshold: 9, min_samples: 4}}\n"
        "providers: [{name: a, kind: ollama, timeouts: {connect_timeout: 1s, total_timeout: 2s},\n"
        "  circuit: {failure_threshold: 1}}]"
    ).providers["a"]
    assert (there.timeouts.connect, there.timeouts.idle, there.timeouts.total) == (1.0, 7.0, 2.0)
    assert (there.circuit.failure_threshold, there.circuit.min_samples) == (1, 4)


def test_a_default_cap_gives_way_to_a_longer_written_timeout() -> None:
    """recovery_timeout 10m alone means a cap of at least 10m; so do retry delays."""
    policy = built("routing: {circuit: {recovery_timeout: 10m}, retry: {base_delay: 20s}}").policy
    assert (policy.circuit.recovery_cap, policy.retry.max_delay) == (600.0, 20.0)


def test_capabilities_become_config_layers() -> None:
    """A word is yes, a word with "-" a known no, both with source config; others stay unknown."""
    (model,) = provider("kind: ollama, models: [{id: m, capabilities: [tools, -vision]}]").models
    tools, vision = model.standing("interaction.tool-calling"), model.standing("understanding.vision-understanding")
    assert (tools.value, tools.source, vision.value, vision.source) == (Tri.YES, Source.CONFIG, Tri.NO, Source.CONFIG)
    assert model.standing("interaction.reasoning").value is Tri.UNKNOWN


def test_C4_18_an_unknown_context_window_is_none_whether_zero_or_absent() -> None:
    """0 and null both mean unknown; so does a price that is left out, unlike a price of 0."""
    first, second = provider("kind: ollama, models: [{id: m, context_window: 0, usd_per_mtok_in: 0}, {id: n}]").models
    assert (first.context_window, second.context_window) == (None, None)
    assert (first.usd_per_mtok_in, second.usd_per_mtok_in) == (0, None)


def test_pools_keep_their_order_and_auto_exists() -> None:
    """A member that only discovery may bring has no route yet; in_pools false stays out of auto."""
    registry = built(
        "providers: [{name: a, kind: ollama, models: [{id: m}, {id: n, in_pools: false}]}]\n"
        "pools: [{id: p, members: [a/n, A/m, a/later], capability_policy: strict}]"
    )
    assert registry.pools["p"].members == (ModelKey("a", "n"), ModelKey("a", "m"))
    assert registry.pools["auto"].members == (ModelKey("a", "m"),)


def test_a_disabled_provider_stays_listed() -> None:
    """It can be enabled later only if it is there."""
    assert provider("kind: ollama, enabled: false").enabled is False


def test_secrets_never_show_and_the_redactor_knows_them_all() -> None:
    """Keys, header values and proxy passwords are masked in repr and removed from text."""
    fields = f"{OPEN}, api_key: 'env:K', headers: {{X-Auth: 'Token ${{H}}', X-Title: Demo}}, proxy: 'http://u:${{P}}@h'"
    env = {"K": "canary-key-1", "H": "canary-head-2", "P": "canary-proxy-3"}
    registry = built(f"providers: [{{name: a, {fields}}}]", env)
    assert "canary" not in repr(registry)
    there = registry.providers["a"]
    assert dict(there.headers)["X-Title"] == "Demo"
    assert isinstance(there.proxy, Secret)
    text = build_redactor(registry, [Secret("canary-token-4")]).redact(
        f"canary-key-1 canary-head-2 {there.proxy.reveal()} canary-proxy-3 canary-token-4 Demo"
    )
    assert "canary" not in text
    assert "Demo" in text


FLEET = (
    "providers:\n"
    "  - {name: far, kind: ollama, priority: 20, models: [{id: m}, {id: Org/Deep}]}\n"
    "  - {name: near, kind: ollama, priority: 10, models: [{id: m}, {id: base}]}\n"
)


def test_a_profile_is_built_with_its_requirements_and_fallbacks() -> None:
    """A bare fallback model is any provider's that declares it, by priority; ids keep their case and slashes."""
    made = built(
        FLEET + "profiles:\n  - {id: Mine, provider: NEAR, model: base, default: true, tags: [private],"
        " fallback_models: [FAR/m, m, Org/Deep], requirements: {tools: true, min_context_tokens: 8192}}\n"
    ).profiles["mine"]
    assert (made.id, made.model, made.default, made.implicit) == ("Mine", ModelKey("near", "base"), True, False)
    assert made.fallback_models == (
        ModelKey("far", "m"), ModelKey("near", "m"), ModelKey("far", "m"), ModelKey("far", "Org/Deep"),
    )  # fmt: skip
    assert made.requirements == Requirements((Word.TOOLS,), 8192, None)


def test_C4_01_without_profiles_there_is_one_implicit_default() -> None:
    """It has the first model there is, and both flags."""
    profiles = built(FLEET).profiles
    assert list(profiles) == ["default"]
    made = profiles["default"]
    assert (made.model, made.default, made.implicit) == (ModelKey("near", "m"), True, True)
