"""Every assertion type of evals.md §1: accepted, validated, graded both ways, and turned round by `not_`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.evals.scripted import FIRST, SECOND, ask, call, calling, error, reply, served, streamed

from routerconsole.config.problems import ConfigError
from routerconsole.evals.assertions import JUDGES, TYPES
from routerconsole.evals.grade import grade
from routerconsole.evals.scenario_files import read_scenarios
from routerconsole.evals.types import Reply, Usage
from routerconsole.evals.vote_types import Votes

HEAD = "version: 1\nsuite: s\nscenarios:\n- id: one\n  turns: [{user: hi}]\n"
OK = served("x", (FIRST, "ok"))
OVER = served("x", (FIRST, "server"), (SECOND, "ok"), circuit="open")
TABLE: dict[str, tuple[str, Reply, Reply]] = {
    "equals": ("value: READY", reply("READY"), reply("ready")),
    "iequals": ("value: READY", reply("ready"), reply("red")),
    "contains": ("value: READY", reply("I am READY."), reply("ALREADY")),
    "contains_all": ("values: [a, b]", reply("a b"), reply("a")),
    "contains_any": ("values: [a, b]", reply("b"), reply("c")),
    "regex": ("pattern: '^[0-9]+$'", reply("42"), reply("x42")),
    "json_valid": ("", reply('{"a": 1}'), reply("{a}")),
    "json_schema": ("schema: {type: object, required: [a]}", reply('{"a": 1}'), reply("{}")),
    "json_path": ("path: $.a, equals: 3", reply('{"a": 3}'), reply('{"a": "3"}')),
    "tool_called": ("name: f", calling(call("f")), calling(call("g"))),
    "tool_args": ("name: f, args: {x: 1}", calling(call("f", x=1)), calling(call("f", x=2))),
    "tool_match": (
        "calls: [{name: f, args: {x: [1, 2]}}, {name: g, args: {y: [a]}, optional: [y]}]",
        calling(call("g", id="1"), call("f", id="2", x=2)),
        calling(call("f", x=2)),
    ),
    "no_tool_call": ("", reply("x"), calling(call("f"))),
    "finish_reason": ("values: [stop]", reply("x"), reply("x", finish_reason="tool_calls")),
    "reasoning_present": ("", reply("x", reasoning="so"), reply("x")),
    "reasoning_not_leaked": ("", reply("x"), reply("<think>so</think> x")),
    "stream_integrity": ("", streamed(), streamed(deltas=1)),
    "ttft_ms": ("p95: 100", streamed(ttft=40.0), streamed(ttft=110.0)),
    "latency_ms": ("max: 1000", reply("x"), replace(reply("x"), timings=replace(reply("x").timings, total_ms=2000.0))),
    "tokens": ("max: 50", reply("x"), reply("x", usage=Usage(10, 90))),
    "cost_usd": ("max: 0.01", reply("x"), reply("x", cost_usd=0.5)),
    "similar": ("value: the quick brown fox", reply("the quick brown fox"), reply("something else")),
    "served_by": (f"value: {FIRST}", OK, OVER),
    "served_by_not_first": ("", OVER, OK),
    "attempts": ("max: 1", OK, OVER),
    "circuit": ("state: closed", OK, OVER),
    "no_duplicate_text": ("marker: once", reply("once"), reply("once once")),
}
SAID_ELSEWHERE = {"judge", "reward_vote", "added_latency_ms", "tokens_per_s", "error", "embedding", "compacted"}
"""Votes are tested below; the others are ours and tested with the kinds of scenario they go with."""


def verdict(assertions: str, answer: Reply, votes: tuple[Votes, ...] = ()) -> str:
    """How one answer is graded."""
    ((said, _),) = read_scenarios(f"{HEAD}  assert: [{assertions}]\n", "s.yaml")
    return grade(said, replace(ask(said, lambda _c, _v: answer), votes=votes)).verdict.label()


def test_the_table_names_every_type() -> None:
    """A new type needs a row."""
    assert TABLE.keys() | SAID_ELSEWHERE == TYPES.keys()


@pytest.mark.parametrize("kind", list(TABLE))
def test_each_type_holds_fails_and_is_negated(kind: str) -> None:
    """The good answer passes, the bad one fails by its name, and `not_` is the other way round."""
    said, good, bad = TABLE[kind]
    plain, negated = (f"{{type: {name}{', ' if said else ''}{said}}}" for name in (kind, f"not_{kind}"))
    assert (verdict(plain, good), verdict(plain, bad)) == ("pass", f"fail({kind})")
    assert (verdict(negated, bad), verdict(negated, good)) == ("pass", f"fail(not_{kind})")
    measured = plain.replace("}", ", gate: false, metric: m, weight: 2, code: mine}", 1) if "{" not in said else None
    if measured is not None:
        assert verdict(measured, bad) == "pass"


@pytest.mark.parametrize("kind", sorted(JUDGES))
def test_votes_pass_fail_or_tell_nothing(kind: str) -> None:
    """A score below `min` fails, no majority is inconclusive, and a judge is not negated."""
    said = f"{{type: {kind}, min: 0.2}}"
    assert verdict(said, reply("x"), (Votes(kind, "j", 1.0, 3, 0, 3, 3),)) == "pass"
    assert verdict(said, reply("x"), (Votes(kind, "j", -1.0, 0, 3, 3, 3),)) == f"fail({kind})"
    assert verdict(said, reply("x")) == "inconclusive(no_votes)"
    with pytest.raises(ConfigError, match="negated"):
        verdict(f"{{type: not_{kind}}}", reply("x"))


@pytest.mark.parametrize(
    ("group", "passing", "failing"),
    [
        ("{all: [{type: contains, value: a}, {type: contains, value: b}]}", "a b", "a"),
        ("{any: [{type: contains, value: a}, {type: contains, value: b}]}", "b", "c"),
        ("{threshold: 2, of: [{type: contains, value: a, weight: 2}, {type: contains, value: b}]}", "a", "b"),
        ("{all: [{any: [{type: equals, value: a}]}, {type: not_contains, value: b}]}", "a", "a b"),
    ],
)
def test_groups_weigh_their_members(group: str, passing: str, failing: str) -> None:
    """`all`, `any`, and `threshold` over weights, one inside another."""
    assert verdict(group, reply(passing)) == "pass"
    assert verdict(group, reply(failing)).startswith("fail(")


def test_unknown_cost_is_an_error_and_no_answer_is_no_failure() -> None:
    """Never 0, and never a wrong answer."""
    assert verdict("{type: cost_usd, max: 1}", reply("x", cost_usd=None)) == "error(cost_unknown)"
    assert verdict("{type: not_cost_usd, max: 1}", reply("x", cost_usd=None)) == "error(cost_unknown)"
    assert verdict("{type: equals, value: x}", error("connect")) == "error(connect)"


def test_every_mistake_of_a_file_is_named_at_once_with_its_line() -> None:
    """Types, fields, values, groups, calls, variables, duplicates: all of them, each where it stands."""
    text = """version: 1
suite: s
scenarios:
- id: one
  turns: [{user: "hi {{nobody}}"}]
  assert:
    - {type: equal, value: x}
    - {type: equals}
    - {type: ttft_ms, p95: -1x}
    - {type: regex, pattern: "("}
    - {threshold: 9, of: [{type: json_valid}]}
    - {type: json_valid, on: turn-7}
    - {any: []}
- {id: one, turns: [{user: a}], assert: [{type: json_schema}]}
- {id: three, kind: drill, faults: [{status: 500, kind: cut}], assert: []}
"""
    with pytest.raises(ConfigError) as refused:
        read_scenarios(text, "s.yaml")
    said = str(refused.value)
    for line in (4, 7, 8, 9, 10, 11, 12, 13, 14, 15):
        assert f"s.yaml:{line}:" in said, (line, said)
    assert "did you mean 'equals'" in said
