"""Verdicts: what is no answer is never a wrong one, negation, groups, and graders on hostile answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.evals.scripted import ask, call, calling, error, reply, scenario, served

from routerconsole.evals.cells import cell_of
from routerconsole.evals.grade import grade
from routerconsole.evals.scenario import Scenario
from routerconsole.evals.scenario_files import read_scenarios
from routerconsole.evals.types import CellKey, Reply, Sample, Timings, ToolCall, Usage, Verdict
from routerconsole.evals.vote_types import Votes

HEAD = "version: 1\nsuite: t\nscenarios:\n  - id: a\n    title: A\n    turns: [{user: hi}]\n"


def made(assertions: str, more: str = "") -> Scenario:
    return read_scenarios(f"{HEAD}{more}    assert: [{assertions}]\n", "s.yaml")[0][0]


def verdict(assertions: str, answer: Reply, *, more: str = "", votes: tuple[Votes, ...] = ()) -> Verdict:
    said = made(assertions, more)
    return grade(said, replace(ask(said, lambda c, v: answer), votes=votes)).verdict


def holds(assertions: str, answer: Reply) -> bool:
    return verdict(assertions, answer).label() == "pass"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (error("connect"), "error(connect)"),
        (error("timeout"), "error(timeout)"),
        (error("server", status=500), "error(server)"),
        (error("cut"), "error(cut)"),
        (error("bad_200"), "error(bad_200)"),
        (error("auth", status=401), "error(auth)"),
        (error("context", status=400), "error(context)"),
        (error("rate", status=429), "rate_limited"),
        (error("quota", status=429), "rate_limited"),
        (error("server", status=429), "rate_limited"),
        (error("policy", status=400), "refused(policy)"),
        (error("capability", status=400), "unsupported(unknown)"),
        (error("undelivered", status=502), "fail(not_delivered)"),
        (error("server", code="capability_not_delivered", status=502), "fail(not_delivered)"),
        (error("blank", status=502), "fail(blank)"),
        (reply("RE", finish_reason="length"), "truncated"),
        (reply("I'm sorry, but I can't help with that."), "refused"),
        (reply("I cannot assist with that request."), "refused"),
        (reply("", refusal="No."), "refused"),
        (reply("", finish_reason="content_filter"), "refused"),
        (reply("I can't see any image."), "fail(contains)"),
        (reply("I'm sorry, I do not know."), "fail(contains)"),
        (reply("WRONG"), "fail(contains)"),
        (reply("READY", finish_reason="length"), "pass"),
        (reply("READY"), "pass"),
    ],
)
def test_E05_E10_what_is_no_answer_is_never_a_wrong_one(answer: Reply, label: str) -> None:
    """Transport errors, limits, cut and declined answers have their own words; only graded ones count."""
    found = verdict("{type: contains, value: READY}", answer)
    assert found.label() == label
    assert found.graded == label.startswith(("pass", "fail"))


@pytest.mark.parametrize("answer", [reply("x", finish_reason="length"), reply("I cannot help with that.")])
def test_a_negative_does_not_hold_of_an_answer_that_is_none(answer: Reply) -> None:
    """That a cut or declined answer lacks something says nothing."""
    assert verdict("{type: not_contains, value: READY}", answer).status in ("truncated", "refused")
    assert verdict("{type: no_tool_call}", answer).status in ("truncated", "refused")


def test_a_forced_call_that_is_prose_to_the_limit_is_a_failure() -> None:
    """llama.cpp lets a model without tools talk until it is cut; that is no call cut short."""
    more = "    request: {tool_choice: required, tools: []}\n"
    talk = reply("word " * 40, finish_reason="length")
    assert verdict("{type: tool_called}", talk, more=more).label() == "fail(tool_called)"
    assert verdict("{type: tool_called}", reply("Let me", finish_reason="length"), more=more).label() == "truncated"


def test_an_error_in_one_turn_ends_the_conversation() -> None:
    """The verdict is the error's, whatever was said before."""
    said = scenario("multi-turn")
    sample = ask(said, lambda c, v: reply("STORED") if c.label == "turn-1" else error("connect"))
    assert [item.label for item in sample.replies] == ["turn-1", "turn-2"]
    assert grade(said, sample).verdict.label() == "error(connect)"


def test_nothing_asked_is_an_error() -> None:
    """A sample without a call has no verdict on the model."""
    assert grade(scenario("vision"), Sample("vision")).verdict.label() == "error(no_answer)"


@pytest.mark.parametrize(
    ("assertion", "good", "bad"),
    [
        ("{type: equals, value: READY}", reply(" READY\n"), reply("ready")),
        ("{type: equals, value: READY, punctuation: ignore}", reply("**READY!**"), reply("READY now")),
        ("{type: iequals, value: ready}", reply("READY"), reply("ALREADY")),
        ("{type: contains, value: ready}", reply("I am READY."), reply("I'm already here")),
        ("{type: contains, value: '12'}", reply("it is 12."), reply("it is 512")),
        ("{type: contains_all, values: [a1, b2]}", reply("B2 then A1"), reply("a1 only")),
        ("{type: contains_any, values: [a1, b2]}", reply("b2"), reply("c3")),
        ("{type: regex, pattern: '^[0-9]+$'}", reply("42"), reply("about 42")),
        ("{type: json_valid}", reply('{"a": null}'), reply("null")),
        ("{type: json_valid, any: true}", reply("[1]"), reply("[1")),
        ("{type: json_schema, schema: {type: object, required: [a]}}", reply('{"a": 1}'), reply('{"b": 1}')),
        ("{type: json_path, path: '$.a[0].b', equals: 3}", reply('{"a":[{"b":3}]}'), reply('{"a":[{"b":"3"}]}')),
        ("{type: json_path, path: $.a, equals: 1}", reply('{"a": 1}'), reply('{"a": true}')),
        ("{type: json_path, path: $.a, equals: null}", reply('{"a": null}'), reply("{}")),
        ("{type: json_path, path: $.a, exists: false}", reply("{}"), reply('{"a": null}')),
        ("{type: json_path, path: '$[-1]', one_of: [1, 2]}", reply("[9, 2]"), reply("[2, 9]")),
        ("{type: tool_called, name: f}", calling(call("f")), calling(call("g"))),
        ("{type: tool_called, count: 2}", calling(call("f"), call("g")), calling(call("f"))),
        ("{type: tool_args, name: f, args: {a: 1}}", calling(call("f", a=1, b=2)), calling(call("f", a="1"))),
        ("{type: tool_args, name: f, args: {}, exact: true}", calling(call("f")), calling(call("f", a=1))),
        ("{type: tool_args, name: f, args: {}}", calling(ToolCall("f", "")), calling(ToolCall("f", "[]"))),
        ("{type: finish_reason, values: [stop]}", reply("x"), calling(call("f"))),
        ("{type: reasoning_present}", reply("x", reasoning="hm"), reply("x", reasoning="  ")),
        ("{type: reasoning_not_leaked}", reply("x"), reply("hm</think> x")),
        ("{type: similar, value: the cat sat on the mat, min: 0.8}", reply("The cat sat on the mat"), reply("a dog")),
        ("{type: latency_ms, max: 500}", reply("x"), reply("x", timings=Timings(501.0))),
        ("{type: tokens, of: completion, max: 20}", reply("x"), reply("x", usage=Usage(1, 21))),
        ("{type: tokens, of: prompt, min: 5}", reply("x"), reply("x", usage=Usage(1, 1))),
        ("{type: cost_usd, max: 0.01}", reply("x"), reply("x", cost_usd=0.02)),
        ("{type: served_by, value: drill-2}", served("x", ("drill-2/drill", "ok")), served("x", ("drill-22/x", "ok"))),
        ("{type: attempts, min: 1, max: 1}", served("x", ("a/b", "ok")), served("x", ("a/b", "rate"), ("c/d", "ok"))),
        ("{type: no_duplicate_text, marker: m1}", reply("m1 and on"), reply("m1 and m1")),
        ("{type: no_duplicate_text}", reply("one two three " * 2), reply("a b c d e f g h " * 2)),
        ("{type: error}", error("context"), error("context", typed=False)),
    ],
)  # fmt: skip
def test_every_type_holds_and_does_not_and_turns_round(assertion: str, good: Reply, bad: Reply) -> None:
    """Each assertion type tells a good answer from a near miss, and `not_` swaps them."""
    assert holds(assertion, good)
    assert not holds(assertion, bad)
    if bad.error is None and good.error is None:
        turned = assertion.replace("type: ", "type: not_", 1)
        assert holds(turned, bad)
        assert not holds(turned, good)


def test_calls_match_in_any_order_with_alternatives_and_optional_arguments() -> None:
    """Each expected call takes one call of its own: a greedy match would leave one over."""
    said = "{type: tool_match, calls: [{name: f, args: {a: [1, 2]}}, {name: f, args: {a: [1], b: [x]}, optional: [b]}]}"
    assert holds(said, calling(call("f", a=1), call("f", a=2)))
    assert holds(said, calling(call("f", a=2), call("f", a=1, b=" X")))
    assert not holds(said, calling(call("f", a=2), call("f", a=2)))
    assert not holds(said, calling(call("f", a=1)))
    assert not holds(said, calling(call("f", a=1), call("f", a=2), call("f", a=1)))
    assert not holds(said, calling(call("f", a=1, z=9), call("f", a=2)))


@pytest.mark.parametrize(
    ("text", "passes"), [("a", False), ("a b", True), ("a b c", True), ("c", False), ("none", False)]
)
def test_a_threshold_counts_weights(text: str, passes: bool) -> None:
    """Members add up to the threshold, each with its weight."""
    parts = "{type: contains, value: a}, {type: contains, value: b}, {type: contains, value: c, weight: 0.5}"
    assert holds(f"{{threshold: 2, of: [{parts}]}}", reply(text)) is passes


def test_groups_nest() -> None:
    """All of any, any of all."""
    said = "{all: [{any: [{type: equals, value: a}, {type: equals, value: b}]}, {type: not_contains, value: c}]}"
    assert holds(said, reply("b"))
    assert not holds(said, reply("c"))


def test_a_measurement_gates_nothing() -> None:
    """`gate: false` is shown and never fails; its number is kept."""
    said = made("{type: latency_ms, max: 1, gate: false, metric: speed}, {type: contains, value: x}")
    graded = grade(said, ask(said, lambda c, v: reply("x")))
    assert graded.verdict.label() == "pass"
    assert (graded.checks[0].passed, graded.checks[0].value, graded.checks[0].metric) == (False, 120.0, "speed")


@pytest.mark.parametrize("cost", [None, float("nan"), float("inf")])
def test_an_unknown_cost_is_an_error_never_nothing(cost: float | None) -> None:
    """Without a price no limit on money can hold."""
    assert verdict("{type: cost_usd, max: 1}", reply("x", cost_usd=cost)).label() == "error(cost_unknown)"


def test_unknown_usage_is_an_error() -> None:
    """An upstream that counts nothing cannot be held to a count."""
    assert verdict("{type: tokens, max: 9}", reply("x", usage=Usage())).label() == "error(usage_unknown)"


GOOD, NONE = Votes("judge", "m", 1.0, 3, 0, 3, 3), Votes("judge", "m", None, 1, 0, 1, 3)


@pytest.mark.parametrize(
    ("votes", "text", "label"),
    [
        ((GOOD,), "x", "pass"),
        ((GOOD,), "y", "fail(contains)"),
        ((NONE,), "x", "inconclusive(no_votes)"),
        ((), "x", "inconclusive(no_votes)"),
        ((Votes("judge", "m", -1.0, 0, 3, 3, 3),), "x", "fail(judge)"),
        ((), "y", "fail(contains)"),
    ],
)
def test_a_judge_is_heard_after_the_facts(votes: tuple[Votes, ...], text: str, label: str) -> None:
    """A deterministic failure stands whatever the votes say; without a majority nothing is told."""
    assert verdict("{type: judge}, {type: contains, value: x}", reply(text), votes=votes).label() == label


def test_E05_a_flood_is_graded_in_bounded_time() -> None:
    """Ten megabytes of answer pass through every grader without hanging or passing."""
    flood = reply("ab " * 3_500_000)
    said = (
        "{type: regex, pattern: '(a|b)*c$'}, {type: similar, value: x}, {type: json_valid}, {type: no_duplicate_text}"
    )
    assert verdict(said, flood).label() == "fail(regex)"
    assert verdict("{type: json_valid}", flood).label() == "inconclusive(too_long)"


def test_a_cell_adds_up_its_calls_and_nothing_unknown_is_0() -> None:
    """Tokens and money of all calls, medians of times; one unknown part makes the sum unknown."""
    said, key = scenario("multi-turn"), CellKey("multi-turn", "p/m", 0)
    sample = ask(said, lambda c, v: reply("STORED " + v["nonce"]))
    cell = cell_of(said, key, sample, at=5.0)
    assert (cell.input_tokens, cell.output_tokens, cell.cost_usd, cell.latency_ms) == (20, 24, 0.002, 120.0)
    part = replace(sample, replies=(sample.replies[0], replace(sample.replies[1], usage=Usage(), cost_usd=None)))
    cell = cell_of(said, key, part, at=5.0)
    assert (cell.input_tokens, cell.output_tokens, cell.cost_usd) == (None, None, None)


def test_malformed_json_is_counted_and_a_cut_answer_is_not_malformed() -> None:
    """Prose where JSON was asked for, or arguments that are none."""
    key = CellKey("json-mode", "p/m", 0)

    def count(name: str, answer: Reply) -> bool:
        said = scenario(name)
        return cell_of(said, key, ask(said, lambda c, v: answer), at=0.0).malformed_json

    assert count("json-mode", reply("Well"))
    assert not count("json-mode", reply("{}"))
    assert not count("json-mode", reply("{", finish_reason="length"))
    assert count("tool-invocation", calling(ToolCall("record_observation", "{")))
