"""Rules between settings."""

from __future__ import annotations

import pytest

from routerconsole.config.load import load_text
from routerconsole.config.problems import ConfigError

A = "{name: a, kind: openai_compatible, base_url: 'http://h'"


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text("version: 1\n" + text + "\n", "f", {})
    return [str(problem) for problem in caught.value.problems]


def only_error(text: str) -> str:
    (found,) = errors(text)
    return found


@pytest.mark.parametrize(
    "text",
    [
        f"providers:\n  - {A}}}\n  - {A}}}",
        "pools:\n  - {id: a, node: tools}\n  - {id: a, node: tools}",
        f"providers: [{A}}}, {{name: b, kind: ollama, models: [\n{{id: M}},\n{{id: m}}]}}]",
        "providers: [{name: o, kind: openai, accounts: [\n{name: x, api_key: 'env:A'},\n{name: x, api_key: 'env:B'}]}]",
    ],
)
def test_G05_duplicate_ids_name_both_lines(text: str) -> None:
    """Providers, pools, models and accounts are unique; the two lines are in the message."""
    assert "used twice, on lines 3 and 4" in only_error(text)


def test_G05_profiles_differing_by_case_are_duplicates() -> None:
    """Profile names are case-insensitive."""
    entry = "- {id: %s, provider: a, model: m}\n"
    text = f"providers: [{A}, models: [{{id: m}}]}}]\nprofiles:\n" + entry % "Fast" + entry % "fast"
    assert "on lines 4 and 5" in only_error(text)


def test_G05_provider_ids_differing_by_case_are_duplicates() -> None:
    """The upper-case one is refused for its case too, and both lines are named."""
    found = errors(f"providers:\n  - {A}}}\n  - {{name: A, kind: ollama}}")
    assert any("lower case" in line for line in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"providers: [{A}, models: [{{id: m, capabilities: [tols]}}]}}]", "tools"),
        (f"providers: [{A}, models: [{{id: m, capabilities: [-visoin]}}]}}]", "vision"),
        ("pools: [{id: p, node: generation.text-generation.chat-completon}]", "chat-completion"),
        ("capabilities: {aliases: {code: generation.text-generation.code-generaton}}", "code-generation"),
        ("capabilities: {extend: [interacton.computer-use]}", "interaction"),
        ("capabilities: {extend: [understanding.vision-understanding.parallel]}", "two parents"),
        ("capabilities: {extend: [interaction.x-y, retrieval.x-y]}", "two parents"),
        ("capabilities: {extend: [interaction.reasoning]}", "already in the tree"),
        ("capabilities: {extend: [vision]}", "'vision' has a meaning of its own"),
        ("capabilities: {extend: [interaction.tools]}", "'tools' has a meaning of its own"),
        ("capabilities: {extend: [interaction.deep]}", "'deep' has a meaning of its own"),
        ("capabilities: {aliases: {chat-completion: vision}}", "'chat-completion' already means"),
        ("capabilities: {extend: ['Interaction.X']}", "no capability path"),
        ("capabilities: {aliases: {tools: interaction.reasoning}}", "already means"),
        *(
            (f"capabilities: {{aliases: {{{word}: interaction.reasoning}}}}", "meaning of its own")
            for word in ("auto", "Free", "local", "deep", "router", "a/free", "a__b")
        ),
    ],
)
def test_G10_capability_names_are_checked_with_the_nearest(text: str, words: str) -> None:
    """A typo, an unknown node and a node under two parents are errors that name the likely one."""
    assert any(words in line for line in errors(text))


def test_declared_extensions_and_aliases_may_be_used() -> None:
    """What capabilities declares is known everywhere else."""
    load_text(
        "version: 1\ncapabilities: {extend: [interaction.computer-use], aliases: {clicks: computer-use}}\n"
        f"providers: [{A}, models: [{{id: m, capabilities: [clicks, interaction.computer-use, -tools]}}]}}]\n",
        "f",
        {},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"providers: [{A}, models: [{{id: m, capabilities: [tools, -tools]}}]}}]", "contradicts"),
        (f"providers: [{A}, models: [{{id: m, default: true}}, {{id: n, default: true}}]}}]", "second default"),
        (f"providers: [{A}, api_key: 'env:A', accounts: [{{name: x, api_key: 'env:B'}}]}}]", "next to api_key"),
        ("providers: [{name: a, kind: openai_compatible}]", "is missing (write base_url"),
        ("providers: [{name: a, kind: ollama, base_url: 'http://169.254.169.254'}]", "always refused"),
        (f"providers: [{A}, api_key: sk-ant-oat01-xyz}}]", "subscription token"),
        (f"providers: [{A}, headers: {{Authorization: Bearer sk-ant-oat01-xyz}}}}]", "subscription token"),
        (f"providers: [{A}, api_key: '${{NOPE:-sk-ant-oat01-xyz}}'}}]", "subscription token"),
        (f"providers: [{A}, accounts: [{{name: x, api_key: sk-ant-oat01-xyz}}]}}]", "subscription token"),
        (f"providers: [{A}, proxy: 'http://u:sk-ant-oat01-xyz@h'}}]", "subscription token"),
        ("providers: [{name: a, kind: anthropic, base_url: 'https://h/sk-ant-oat01-xyz'}]", "subscription token"),
        (f"providers: [{A}, api_key: 'env:'}}]", "env: needs"),
        (f"providers: [{A}, headers: {{Host: x}}}}]", "set by the router"),
        (f"providers: [{A}, headers: {{'X Y': x}}}}]", "header name"),
        (f'providers: [{A}, headers: {{X-A: "a\\r\\nb: c"}}}}]', "line breaks"),
        (f"providers: [{A}, proxy: 'socks5://h'}}]", "scheme"),
        (f"providers: [{A}, models: [{{id: m, format: gguf}}]}}]", "path"),
        (f"providers: [{A}, models: [{{id: m, format: gguf, path: ../../etc/x}}]}}]", "leaves"),
        (f"providers: [{A}, circuit: {{recovery_timeout: 10m, recovery_cap: 1m}}}}]", "at least recovery_timeout"),
        ("routing: {retry: {base_delay: 5s, max_delay: 1s}}", "at least base_delay"),
        ("server: {host: 0.0.0.0}", "allowed_hosts"),
        ("server: {host: '::'}", "allowed_hosts"),
        ("server: {host: 10.0.0.1, auth: loopback_open}", "loopback"),
        ("server: {host: 'a b'}", "host name"),
        ("pools: [{id: p}]", "neither node nor members"),
        ("pools: [{id: p, node: tools, filter: {providers: [zz]}}]", "no provider is named 'zz'"),
        ("providers: [{name: router, kind: ollama}]", "reserved"),
        ("providers: [{name: a__b, kind: ollama}]", "'__'"),
    ],
)
def test_rules_between_settings(text: str, words: str) -> None:
    """Each contradiction is one error that names it."""
    assert any(words in line for line in errors(text)), errors(text)


def test_G13_credentials_in_urls_are_never_repeated() -> None:
    """Neither a base_url's nor a proxy's password appears in a message."""
    found = errors("providers: [{name: a, kind: ollama, base_url: 'http://u:hunter2@h', proxy: 'ftp://u:hunter2@h'}]")
    assert len(found) == 2
    assert "hunter2" not in "".join(found)
