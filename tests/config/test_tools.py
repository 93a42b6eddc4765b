"""Pools as tools: what is wrong between names, arguments and templates, and what the registry makes of a sound one."""

from __future__ import annotations

import pytest

from routerconsole.config.build import build_registry
from routerconsole.config.load import load_text
from routerconsole.config.problems import ConfigError
from routerconsole.domain.pool import PoolTool


def pools(*tools: str, described: bool = True) -> str:
    """A configuration with one pool for each tool: `p0`, `p1`, …"""
    said = ", description: Use for it" if described else ""
    listed = ", ".join(f"{{id: p{n}, node: tools{said}, mcp: {tool}}}" for n, tool in enumerate(tools))
    return f"version: 1\npools: [{listed}]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (pools("{args: [code], template: '{code} {nope}'}"), "{nope}"),
        (pools("{args: [code, code]}"), "listed twice"),
        (pools("{template: '{question}'}"), "{prompt} is the only one"),
        (pools("{expose: true, tool: t}", "{expose: true, tool: t}"), "tool of the pool 'p0' too"),
        (pools("{expose: true, tool: ask_p1}", "{expose: true}"), "tool of the pool 'p0' too"),
        (pools("{expose: true, tool: list_models}"), "server's own"),
        (f"version: 1\npools: [{{id: {'p' * 62}, node: tools, mcp: {{expose: true}}}}]\n", "66 characters"),
    ],
)
def test_a_contradiction_of_tools_is_one_error_that_names_it(text: str, words: str) -> None:
    """Names clash with each other and with ours; templates use arguments that exist."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f", {})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (pools("{expose: true}", described=False), "without a description"),
        (pools("{expose: true, args: [a, b], template: '{a}'}"), "leaves out {b}"),
        (pools("{expose: true, template: hello}"), "leaves out {prompt}"),
    ],
)
def test_a_useless_tool_is_a_warning(text: str, words: str) -> None:
    """It works, and a person is told what it lacks."""
    assert any(words in str(warning) for warning in load_text(text, "f", {}).warnings)


@pytest.mark.parametrize(
    ("tool", "made"),
    [
        ("{}", None),
        ("{tool: t}", None),
        ("{expose: true}", PoolTool("ask_p0", ("prompt",), "{prompt}")),
        ("{expose: true, template: 'Q: {prompt}'}", PoolTool("ask_p0", ("prompt",), "Q: {prompt}")),
        (
            """{expose: true, template: 'As {"n": {}}, {not me}: {prompt}'}""",
            PoolTool("ask_p0", ("prompt",), 'As {"n": {}}, {not me}: {prompt}'),
        ),
        ("{expose: true, tool: t, args: [a]}", PoolTool("t", ("a",), "{a}")),
        ("{expose: true, args: [a, b]}", PoolTool("ask_p0", ("a", "b"), "a:\n{a}\n\nb:\n{b}")),
    ],
)
def test_the_tool_of_a_pool(tool: str, made: PoolTool | None) -> None:
    """`ask_<pool>` with one `prompt` unless the pool shapes it; nothing where it is not exposed."""
    loaded = load_text(pools(tool), "f", {})
    assert build_registry(loaded.settings, {}).pools["p0"].tool == made


def test_clients_take_no_dots_in_a_tools_name() -> None:
    """A pool's dots are underscores in its tool's name."""
    text = "version: 1\npools: [{id: a.b-c, node: tools, description: d, mcp: {expose: true}}]\n"
    tool = build_registry(load_text(text, "f", {}).settings, {}).pools["a.b-c"].tool
    assert tool is not None
    assert tool.name == "ask_a_b-c"
