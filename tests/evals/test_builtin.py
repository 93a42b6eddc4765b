"""Each built-in scenario passes one scripted model and fails at least three in the ways it is meant to catch."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.evals.scripted import (
    FIRST,
    SECOND,
    Model,
    ask,
    asked,
    call,
    calling,
    error,
    reply,
    scenario,
    served,
    shipped,
    streamed,
    vectors,
)

from routerconsole.domain.request import Endpoint
from routerconsole.evals.grade import grade
from routerconsole.evals.picture import data_uri
from routerconsole.evals.statistics import Probe, sprt
from routerconsole.evals.types import Call, Reply, ToolCall
from routerconsole.evals.vote_types import Votes

V = Mapping[str, str]


def says(text: str) -> Model:
    return lambda made, v: reply(text.format(**v))


def sees(made: Call, v: V) -> Reply:
    return reply("NONE" if made.label == "control" else v["colour"].capitalize() + ".")


def turns(*texts: str) -> Model:
    return lambda made, v: reply(texts[int(made.label.removeprefix("turn-")) - 1].format(**v))


def compacting(notes: str, recall: str) -> Model:
    return lambda made, v: reply((recall if made.label == "recall" else notes).format(**v))


ALL_SIX = "gate {gate}, ship {ship}, key {key}, room {room}, bird {bird}, train {train}"


def copying(made: Call, v: V) -> Reply:
    return reply(ALL_SIX.format(**v) if made.label == "recall" else asked(made))


def reads(made: Call, v: V) -> Reply:
    if made.label == "overflow":
        return error("context", code="context_length_exceeded", status=400)
    return reply(v["nonce"] if v["nonce"] in asked(made) else "I do not know")


def only_early(made: Call, v: V) -> Reply:
    return reads(made, v) if made.label != "needle-90" else reply("I do not know")


def swallows(made: Call, v: V) -> Reply:
    return reply(v["nonce"])


def broken_beyond(made: Call, v: V) -> Reply:
    return error("server", status=500) if made.label == "overflow" else reads(made, v)


def round_trip(first: Reply | None = None, second: str = "{nonce}") -> Model:
    def model(made: Call, v: V) -> Reply:
        if made.label == "turn-1":
            return first or calling(call("get_access_code", city=v["city"]))
        return reply(second.format(**v))

    return model


def called(*names: str, **arguments: str) -> Model:
    return lambda made, v: calling(*(call(n, **{k: a.format(**v) for k, a in arguments.items()}) for n in names))


def both(made: Call, v: V) -> Reply:
    return calling(call("get_weather", city=v["other"]), call("get_weather", city=v["city"], id="c2"))


def latency(ttft: float | None, *, slow: str = "") -> Model:
    return lambda made, v: streamed(ttft=100_000.0 if slow and made.label.startswith(slow) else ttft)


def embedding(*, coded: tuple[list[float], list[float]] | None = None, again: float = 1.0, other: float = 1.0) -> Model:
    def model(made: Call, v: V) -> Reply:
        a, b = [0.5, 0.5, -0.25, again if made.label == "again" else 1.0], [other, -0.5, 0.75, 0.0]
        if made.label == "base64":
            return vectors(*(coded or (a, b)), coded=True)
        return vectors(a, b)

    return model


def drill(**by_label: Reply) -> Model:
    """Answers by label with `_` for `-`; `rest` for all others."""
    return lambda made, v: by_label.get(made.label.replace("-", "_"), by_label["rest"])


FAILOVER = (FIRST, "connect"), (SECOND, "ok")
OVER = served("fine", *FAILOVER)
STRAIGHT = served("fine", (SECOND, "ok"))
HOME = served("fine", (FIRST, "ok"))
TOOL = calling(call("record", value="x"))


def traced(base: Reply, *attempts: tuple[str, str], circuit: str = "closed") -> Reply:
    return served(base.text, *attempts, circuit=circuit, tool_calls=base.tool_calls)


TWICE = "the quick brown fox jumps over the lazy dog " * 2
CUT = served("one two three four", (FIRST, "cut"), error=error("cut", code="stream_incomplete").error)

PASSES: dict[str, Model] = {
    "plain-chat": says("  READY.\n"),
    "json-extraction": says('{{"animal": "fox", "count": 3}}'),
    "tool-invocation": called("record_observation", value="{nonce}"),
    "multi-turn": turns("STORED.", "The code word is {nonce}."),
    "compaction-recovery": compacting(ALL_SIX, ALL_SIX),
    "streaming": lambda made, v: streamed(),
    "vision": sees,
    "json-mode": says('{{"code": "{nonce}"}}'),
    "json-truncated": lambda made, v: reply('{"planets": [{"na', finish_reason="length"),
    "reasoning": lambda made, v: reply(v["extra"], reasoning="Twelve go and come back."),
    "latency": latency(40.0, slow="warmup"),
    "long-context": reads,
    "embeddings": embedding(),
    "tools-named": called("store_label", label="{nonce}"),
    "tools-none": says("{nonce}"),
    "tools-irrelevant": says("{nonce}"),
    "tools-parallel": both,
    "tools-roundtrip": round_trip(),
    "drill-refused": drill(rest=OVER, call_6=STRAIGHT),
    "drill-500": drill(rest=OVER, call_4=HOME),
    "drill-429": drill(call_1=OVER, rest=STRAIGHT),
    "drill-hang": drill(rest=OVER),
    "drill-cut": drill(rest=CUT),
    "drill-no-tool": drill(rest=traced(TOOL, *FAILOVER)),
    "drill-bad-json": drill(rest=served('{"a": 1}', *FAILOVER)),
    "drill-empty-200": drill(rest=OVER),
    "drill-error-in-200": drill(rest=OVER),
    "drill-flapping": drill(rest=HOME, call_1=OVER),
}

FAILS: dict[str, list[tuple[str, Model]]] = {
    "plain-chat": [
        ("fail(not_ready)", says("I'm already here")),
        ("fail(not_ready)", says("READY to help you!")),
        ("fail(not_ready)", says("ready")),
        ("fail(not_ready)", says("ALREADY")),
        ("fail(not_ready)", says("")),
    ],
    "json-extraction": [
        ("fail(wrong_count)", says('{{"animal": "fox", "count": 2}}')),
        ("fail(schema)", says('{{"animal": "fox", "count": "3"}}')),
        ("fail(schema)", says('{{"animal": "fox", "count": 3, "where": "garden"}}')),
        ("fail(schema)", says('```json\n{{"animal": "fox", "count": 3}}\n```')),
        ("fail(wrong_animal)", says('{{"animal": "firefox", "count": 3}}')),
        ("fail(wrong_count)", says('{{"animal": "fox", "count": 3.0}}')),
    ],
    "tool-invocation": [
        ("fail(no_call)", says("I recorded {nonce}.")),
        ("fail(no_call)", called("other_tool", value="{nonce}")),
        ("fail(wrong_value)", called("record_observation", value="an observation")),
        ("fail(wrong_value)", lambda made, v: calling(ToolCall("record_observation", '{"value": "' + v["nonce"]))),
    ],
    "multi-turn": [
        ("fail(wrong_word)", turns("STORED", "aurora-77")),
        ("fail(not_acknowledged)", turns("What is it?", "{nonce}")),
        ("fail(wrong_word)", turns("STORED", "STORED")),
        ("fail(not_acknowledged)", turns("That is NOT STORED.", "{nonce}")),
        ("fail(not_acknowledged)", turns("I haven't STORED it", "{nonce}")),
        ("fail(wrong_word)", lambda made, v: reply(asked(made))),
    ],
    "compaction-recovery": [
        ("fail(facts_lost)", compacting("They talked of the weather.", "I do not know.")),
        ("fail(not_compacted)", copying),
        ("fail(not_compacted)", compacting("", ALL_SIX)),
        ("fail(facts_lost)", compacting(ALL_SIX, "gate {gate}, ship {ship}, key {key}, room {room}")),
    ],
    "streaming": [
        ("fail(stream)", lambda made, v: streamed(deltas=1)),
        ("fail(stream)", lambda made, v: streamed(finishes=0)),
        ("fail(stream)", lambda made, v: streamed(finishes=2)),
        ("fail(stream)", lambda made, v: streamed(done=False)),
        ("fail(stream)", lambda made, v: streamed("h\ufffdher")),
        ("fail(stream)", lambda made, v: streamed(ttft=120.0)),
        ("fail(stream)", says("all at once")),
        ("fail(stream)", lambda made, v: streamed("hÃ¶her âœ“")),
        ("fail(stream)", lambda made, v: streamed(utf8=False)),
    ],
    "vision": [
        ("fail(wrong_colour)", says("I see a lovely picture.")),
        ("fail(wrong_colour)", says("NONE")),
        ("fail(blind_control)", says("{colour}")),
        ("fail(wrong_colour)", says("{colour} or maybe another one")),
    ],
    "json-mode": [
        ("fail(no_json)", says('Here you are: {{"code": "{nonce}"}}')),
        ("fail(no_json)", says('["{nonce}"]')),
        ("fail(wrong_value)", says('{{"code": "aurora-77"}}')),
    ],
    "json-truncated": [
        ("fail(cut_without_saying)", says('{{"planets": [{{"na')),
        ("fail(not_truncated)", says('{{"planets": []}}')),
        ("fail(not_truncated)", lambda made, v: reply('{"planets": []}', finish_reason="length")),
    ],
    "reasoning": [
        ("fail(no_reasoning)", says("{extra}")),
        ("fail(leaked)", lambda made, v: reply(f"<think>hm</think>{v['extra']}", reasoning="hm")),
        ("fail(wrong_answer)", lambda made, v: reply("12", reasoning="Let me see.")),
        ("fail(no_reasoning)", says("<think>hm</think>{extra}")),
        ("fail(wrong_answer)", lambda made, v: reply(f"{v['extra']} - 12 = ?", reasoning="Let me see.")),
        ("fail(wrong_answer)", lambda made, v: reply(asked(made), reasoning="Let me see.")),
    ],
    "latency": [
        ("fail(slow)", latency(70_000.0)),
        ("fail(slow)", latency(40.0, slow="call-1")),
        ("fail(slow)", latency(30_001.0)),
    ],
    "long-context": [
        ("fail(needle_lost)", only_early),
        ("fail(no_typed_error)", swallows),
        ("fail(no_typed_error)", broken_beyond),
    ],
    "embeddings": [
        ("fail(embedding)", embedding(again=-1.0)),
        ("fail(embedding)", embedding(coded=([0.5, 0.5, -0.25], [1.0, 0.0, 0.0]))),
        ("fail(embedding)", embedding(coded=([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]))),
        ("fail(embedding)", lambda made, v: vectors([1.0, 2.0], [1.0, 2.0], coded=made.label == "base64")),
        ("fail(embedding)", lambda made, v: vectors([0.0, 0.0], [0.0, 0.0], coded=made.label == "base64")),
        ("fail(embedding)", says("a vector")),
        ("fail(embedding)", embedding(coded=([1.0, 1.0, -0.5, 2.0], [1.0, -0.5, 0.75, 0.0]))),
        ("fail(embedding)", embedding(coded=([0.5, 0.5, -0.25, 1.0], [0.5, 0.5, -0.25, 1.0]))),
        ("fail(embedding)", lambda made, v: reply("", data=[{"embedding": [1e300, -1e300]}] * 2)),
    ],
    "tools-named": [
        ("fail(no_call)", called("delete_label", label="{nonce}")),
        ("fail(wrong_call)", called("store_label", label="aurora")),
        ("fail(wrong_call)", called("store_label", "delete_label", label="{nonce}")),
        ("fail(no_call)", says("Stored.")),
    ],
    "tools-none": [
        ("fail(called)", called("get_weather", city="Oslo")),
        ("fail(wrong_answer)", says("Nothing to say.")),
        ("fail(called)", lambda made, v: reply(v["nonce"], tool_calls=(call("get_weather", city="Oslo"),))),
    ],
    "tools-irrelevant": [
        ("fail(called)", called("get_weather", city="{nonce}")),
        ("fail(wrong_answer)", says("I have no tool for that.")),
        ("fail(called)", called("say", text="{nonce}")),
    ],
    "tools-parallel": [
        ("fail(not_parallel)", called("get_weather", city="{city}")),
        ("fail(wrong_calls)", called("get_weather", "get_weather", city="{city}")),
        ("fail(not_parallel)", says("It is sunny in {city} and {other}.")),
        ("fail(not_parallel)", called("get_weather", "get_time", city="{city}")),
    ],
    "tools-roundtrip": [
        ("fail(no_call)", round_trip(reply("It is 1234."))),
        ("fail(wrong_call)", round_trip(calling(call("get_access_code", city="Atlantis")))),
        ("fail(result_ignored)", round_trip(second="I could not find it.")),
    ],
    "drill-refused": [
        ("fail(still_asked)", drill(rest=OVER)),
        ("fail(not_served)", drill(rest=error("connect", code="all_routes_failed", status=502))),
        ("fail(attempts)", drill(rest=served("fine", (FIRST, "connect"), (FIRST, "connect"), (SECOND, "ok")))),
        ("fail(wrong_route)", drill(rest=HOME)),
        ("fail(slow)", drill(rest=served("fine", *FAILOVER, total=5000.0), call_6=STRAIGHT)),
    ],
    "drill-500": [
        ("fail(not_recovered)", drill(rest=OVER)),
        ("fail(wrong_route)", drill(rest=HOME)),
        ("fail(not_served)", drill(rest=error("server", status=502))),
        ("fail(circuit)", drill(rest=OVER, call_4=served("fine", (FIRST, "ok"), circuit="open"))),
        ("fail(duplicated)", drill(rest=served(TWICE, *FAILOVER), call_4=HOME)),
    ],
    "drill-429": [
        ("fail(gate_ignored)", drill(rest=OVER)),
        ("fail(circuit)", drill(call_1=OVER, rest=served("fine", (SECOND, "ok"), circuit="open"))),
        ("fail(not_served)", drill(rest=error("rate", status=429))),
    ],
    "drill-hang": [
        ("fail(not_served)", drill(rest=error("timeout", status=504))),
        ("fail(slow)", drill(rest=served("fine", *FAILOVER, total=16_000.0))),
        ("fail(wrong_route)", drill(rest=HOME)),
    ],
    "drill-cut": [
        ("fail(no_typed_error)", drill(rest=served("one two", (FIRST, "cut")))),
        ("fail(attempts)", drill(rest=served("one two", *FAILOVER, error=CUT.error))),
        ("fail(no_typed_error)", drill(rest=served("x", (FIRST, "cut"), error=error("cut", typed=False).error))),
        ("fail(duplicated)", drill(rest=served(TWICE, (FIRST, "cut"), error=CUT.error))),
    ],
    "drill-no-tool": [
        ("fail(no_call)", drill(rest=served("I would rather talk.", (FIRST, "ok")))),
        ("fail(not_served)", drill(rest=error("undelivered", code="capability_not_delivered", status=502))),
        ("fail(circuit)", drill(rest=traced(TOOL, *FAILOVER, circuit="open"))),
        ("fail(wrong_route)", drill(rest=traced(TOOL, (FIRST, "ok")))),
    ],
    "drill-bad-json": [
        ("fail(no_json)", drill(rest=served("Well, JSON …", (FIRST, "ok")))),
        ("fail(wrong_route)", drill(rest=served('{"a": 1}', (FIRST, "ok")))),
        ("fail(attempts)", drill(rest=served('{"a": 1}', (FIRST, "undelivered"), *FAILOVER))),
    ],
    "drill-empty-200": [
        ("fail(wrong_route)", drill(rest=served("", (FIRST, "ok")))),
        ("fail(blank)", drill(rest=served("  ", *FAILOVER))),
        ("fail(not_served)", drill(rest=error("blank", status=502))),
    ],
    "drill-error-in-200": [
        ("fail(error_passed_on)", drill(rest=served('{"error": {"message": "x"}}', *FAILOVER))),
        ("fail(wrong_route)", drill(rest=HOME)),
        ("fail(not_served)", drill(rest=error("bad_200", status=502))),
    ],
    "drill-flapping": [
        ("fail(not_served)", drill(rest=HOME, call_1=OVER, call_7=error("connect", status=502))),
        ("fail(duplicated)", drill(rest=served(TWICE, (FIRST, "ok")), call_1=OVER)),
        ("fail(attempts)", drill(rest=HOME, call_1=OVER, call_3=served("x", (FIRST, "connect"), *FAILOVER))),
        ("fail(wrong_route)", drill(rest=HOME)),
    ],
}


def test_every_built_in_scenario_is_tried_both_ways() -> None:
    """One model that passes and three that fail, for each scenario there is."""
    assert set(PASSES) == set(FAILS) == set(shipped().ids)
    assert [name for name, models in FAILS.items() if len(models) < 3] == []


@pytest.mark.parametrize("name", list(PASSES))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_C4_29_C4_31_a_good_model_passes(name: str, seed: int) -> None:
    """Whatever the variables drawn, a model that does what was asked passes."""
    said = scenario(name)
    assert grade(said, ask(said, PASSES[name], seed=seed)).verdict.label() == "pass"


@pytest.mark.parametrize(
    ("name", "label", "model"), [(name, label, model) for name, cases in FAILS.items() for label, model in cases]
)
def test_C4_31_a_bad_model_fails_for_its_reason(name: str, label: str, model: Model) -> None:
    """Each way of failing has its own code."""
    said = scenario(name)
    assert grade(said, ask(said, model)).verdict.label() == label


@pytest.mark.parametrize("colour", ["red", "blue", "white"])
def test_C4_31_a_blind_model_with_a_favourite_colour_is_refuted(colour: str) -> None:
    """A model that always says one colour passes no repeat: wrong picture, or its control gives it away."""
    said = scenario("vision")
    outcomes = [grade(said, ask(said, says(colour), seed=seed)).capable for seed in range(12)]
    assert outcomes == [False] * 12
    assert sprt([bool(outcome) for outcome in outcomes]) is Probe.REFUTED


def test_the_picture_is_sent_once_and_the_control_has_none() -> None:
    """The blind control is the same prompt without the picture."""
    sample = ask(scenario("vision"), sees)
    first, control = (reply.request["messages"] for reply in sample.replies)
    assert data_uri(sample.variables["colour"]) in str(first)
    assert "image_url" not in str(control)
    assert str(control) != str(first)


def test_a_wrong_value_is_a_failure_and_the_call_still_a_call() -> None:
    """Assertions with a metric are quality: they fail the cell and say nothing against the capability."""
    said = scenario("tool-invocation")
    graded = grade(said, ask(said, called("record_observation", value="noise")))
    assert (graded.verdict.label(), graded.capable) == ("fail(wrong_value)", True)
    assert grade(said, ask(said, says("no"))).capable is False
    assert grade(said, ask(said, lambda made, v: error("server", status=500))).capable is None


@pytest.mark.parametrize("name", list(PASSES))
def test_no_repeat_asks_what_another_asked(name: str) -> None:
    """Nonces differ between repeats, so that no cache and no memory can pass."""
    said = scenario(name)
    one, two = (ask(said, PASSES[name], seed=seed) for seed in (1, 2))
    assert [reply.request for reply in one.replies] != [reply.request for reply in two.replies]


@pytest.mark.parametrize("window", [4096, 32_768])
def test_the_needle_lies_at_its_share_of_the_declared_window(window: int) -> None:
    """At 10, 50 and 90 % of the window, not of a shorter text; with the answer's room it just fits, as estimated."""
    said = scenario("long-context")
    sample = ask(said, reads, window=window)
    for made, share in zip(sample.replies, (0.1, 0.5, 0.9, None), strict=True):
        text = asked(Call(made.label, Endpoint.CHAT, made.request))
        tokens = len(text) / 4
        if share is None:
            assert tokens > 1.9 * window
            continue
        assert text.index("The vault of the museum") / 4 == pytest.approx(share * window, abs=0.012 * window)
        assert 0.9 * window < tokens + said.max_tokens <= window


@pytest.mark.parametrize("window", [300, 1024])
def test_in_a_small_window_the_needle_still_fits(window: int) -> None:
    """Nothing longer than the window is asked for where the answer takes most of it."""
    sample = ask(scenario("long-context"), reads, window=window)
    assert all(sample.variables["nonce"] in asked(Call("", Endpoint.CHAT, made.request)) for made in sample.replies)
    assert all(len(asked(Call("", Endpoint.CHAT, made.request))) / 4 <= window for made in sample.replies[:3])


@pytest.mark.parametrize("window", [2048, 16_384, 131_072])
def test_what_is_compacted_is_longer_than_the_window_and_no_piece_is(window: int) -> None:
    """The transcript would not fit; each call's part of it does, and the last call holds nothing but notes."""
    sample = ask(scenario("compaction-recovery"), PASSES["compaction-recovery"], window=window)
    sizes = {made.label: len(asked(Call("", Endpoint.CHAT, made.request))) / 4 for made in sample.replies}
    recall = sizes.pop("recall")
    assert len(sizes) >= 2
    assert sum(sizes.values()) > window
    assert max(sizes.values()) < 0.8 * window
    assert recall < 200


@pytest.mark.parametrize(
    ("wrong", "label"),
    [
        (error("rate", status=429), "rate_limited"),
        (error("server", status=429), "rate_limited"),
        (error("connect"), "error(connect)"),
        (error("timeout", typed=False), "error(timeout)"),
        (error("context", status=400), "pass"),
        (error("server", status=500), "fail(no_typed_error)"),
    ],
)
def test_an_error_that_says_nothing_of_the_size_is_no_answer_about_it(wrong: Reply, label: str) -> None:
    """A limit or a lost connection while asking for too much is neither the typed error nor a wrong one."""
    said = scenario("long-context")
    sample = ask(said, lambda made, v: wrong if made.label == "overflow" else reads(made, v))
    assert grade(said, sample).verdict.label() == label


SORRY = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize("name", ["multi-turn", "tools-roundtrip", "compaction-recovery"])
@pytest.mark.parametrize(
    ("first", "label"), [(reply(SORRY), "refused"), (reply("Well, let me", finish_reason="length"), "truncated")]
)
def test_what_follows_a_cut_or_declined_turn_is_not_a_wrong_answer(name: str, first: Reply, label: str) -> None:
    """The whole conversation rests on it, also where the next turn could not be asked any more."""
    said = scenario(name)
    sample = ask(said, lambda made, v: first if made.label in ("turn-1", "compact-1") else reply("I do not know"))
    assert grade(said, sample).verdict.label() == label
    assert grade(said, sample).capable is None


def test_notes_that_are_a_copy_and_no_longer_fit_are_not_compacted() -> None:
    """Too long by its own fault is a failure; too long with short notes is the window's."""
    said, long = scenario("compaction-recovery"), error("context", status=400)
    for notes, label in ((asked, "fail(not_compacted)"), (lambda made: ALL_SIX, "error(context)")):
        sample = ask(said, lambda made, v, notes=notes: reply(notes(made)) if made.label == "compact-1" else long)
        assert grade(said, sample).verdict.label() == label


def test_a_leak_in_a_cut_answer_is_a_leak() -> None:
    """What stands where it should not is there however the answer ended."""
    said = scenario("reasoning")
    cut = reply("<think>hm, twelve", reasoning="hm", finish_reason="length")
    assert grade(said, ask(said, lambda made, v: cut)).verdict.label() == "fail(leaked)"


def test_a_judge_never_flips_a_deterministic_failure() -> None:
    """Votes on a sample change nothing where a scenario's own assertion failed."""
    from dataclasses import replace

    said = scenario("plain-chat")
    sample = replace(ask(said, says("no")), votes=(Votes("judge", "m", 1.0, 3, 0, 3, 3),))
    assert grade(said, sample).verdict.label() == "fail(not_ready)"
