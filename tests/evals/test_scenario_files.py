"""Scenario files: every problem at once with its line, ids that are known, hashes that change with what is asked."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.evals.scripted import ask, reply, scenario, shipped

from routerconsole.config.problems import ConfigError
from routerconsole.evals.assertions import JUDGES, TYPES
from routerconsole.evals.fill import draw, fill, filled
from routerconsole.evals.grade import grade
from routerconsole.evals.scenario_files import (
    UnknownScenarios,
    load_catalogue,
    read_scenarios,
    shipped_directory,
)

HEAD = "version: 1\nsuite: t\nvars: {nonce: {kind: word_digits}}\nscenarios:\n"
PLAIN = "  - {id: a, title: A, turns: [{user: hi}], assert: [{type: contains, value: x}]}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_scenarios(text, "s.yaml")
    return [str(problem) for problem in caught.value.problems]


def one(assertion: str, more: str = "") -> str:
    return f"{HEAD}  - id: a\n    title: A\n    turns: [{{user: hi}}]\n{more}    assert:\n      - {assertion}\n"


def test_the_shipped_suite_has_every_id_of_the_table() -> None:
    """The built-in scenarios are found through the package, under the names the specification gives."""
    drills = ["refused", "500", "429", "hang", "cut", "no-tool", "bad-json", "empty-200", "error-in-200", "flapping"]
    tools = ["named", "none", "irrelevant", "parallel", "roundtrip"]
    named = ["plain-chat", "json-extraction", "tool-invocation", "multi-turn", "compaction-recovery"]
    rest = ["streaming", "vision", "json-mode", "json-truncated", "reasoning", "latency", "long-context", "embeddings"]
    wanted = {*named, *rest, *(f"tools-{t}" for t in tools), *(f"drill-{d}" for d in drills)}
    assert set(shipped().ids) == wanted
    assert shipped_directory().is_dir()


def test_C4_32_an_unknown_id_lists_the_valid_ones() -> None:
    """Asking for a scenario nobody has names it and every one there is."""
    with pytest.raises(UnknownScenarios) as caught:
        shipped().select(["plain-chat", "plain-chatt", "nope"])
    assert caught.value.unknown == ("plain-chatt", "nope")
    assert caught.value.valid == shipped().ids
    assert "'plain-chatt'" in str(caught.value)
    assert "tools-roundtrip" in str(caught.value)


def test_scenarios_come_in_the_order_asked_for_and_once() -> None:
    """A repeated id is one scenario; no ids are all of them."""
    assert [s.id for s in shipped().select(["vision", "plain-chat", "vision"])] == ["vision", "plain-chat"]
    assert shipped().select(None) == shipped().scenarios


def test_all_problems_of_a_file_come_at_once_with_their_lines() -> None:
    """One reading names every mistake and where it stands."""
    text = (
        "version: 1\nsuite: t\nscenarios:\n"
        "  - id: a\n    title: A\n    turns: [{user: 'Say {{nonc}}'}]\n    assert:\n"
        "      - {type: contanis, value: x}\n"
        "      - {type: contains, valeu: x}\n"
        "      - {type: json_path, path: count, equals: 3}\n"
        "  - id: a\n    titel: B\n    title: B\n    capability: tols\n    turns: [{user: hi}]\n    assert: []\n"
    )
    found = problems(text)
    assert any(line.startswith("s.yaml:8: ") and "did you mean 'contains'" in line for line in found)
    assert any(line.startswith("s.yaml:9: ") and "did you mean 'value'" in line for line in found)
    assert any(line.startswith("s.yaml:10: ") and "is no path" in line for line in found)
    assert any(line.startswith("s.yaml:12: ") and "did you mean 'title'" in line for line in found)
    assert any(line.startswith("s.yaml:11: ") and "used before, on line 4" in line for line in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one("{type: contains, value: '{{nonec}}'}"), "did you mean 'nonce'"),
        (one("{type: contains, value: x, on: turn-2}"), "no call is called 'turn-2' (there are: all, turn-1)"),
        (one("{type: regex, pattern: '(a)\\1'}"), "linear time"),
        (one("{type: json_schema}"), "has no schema"),
        (one("{type: not_judge}"), "cannot be negated"),
        (one("{type: embedding}"), "kind embeddings"),
        (one("{type: json_path, path: $.a}"), "exactly one of"),
        (one("{value: x}"), "needs a type"),
        (one("nonsense"), "must be a mapping"),
        (one("{any: []}"), "must be a list"),
        (one("{of: [{type: json_valid}]}"), "goes with threshold"),
        (one("{threshold: 3, of: [{type: json_valid}]}"), "at most the sum of the weights, 1"),
        (one("{any: [{type: judge}, {type: json_valid}]}"), "cannot outvote"),
        (one("{type: json_valid}", "    request: {model: x}\n"), "may not be set here"),
        (one("{type: json_valid}", "    request: {api_base: x}\n"), "may not be set here"),
        (one("{type: json_valid}", "    faults: [{status: 500}]\n"), "faults go with kind drill"),
        (one("{type: json_valid}", "    kind: drill\n    faults: [{route: 3, status: 500}]\n"), "names a route"),
        (one("{type: json_valid}", "    kind: drill\n    faults: [{kind: hang, times: 2}]\n"), "go with status"),
        (one("{type: json_valid}", "    kind: drill\n    faults: [{at: 1}]\n"), "exactly one of status, kind"),
        (one("{type: json_valid}", "    kind: compaction\n"), "go together"),
        (one("{type: json_valid}", "    repeats: 0\n"), "repeats"),
        (one("{type: json_valid}", "    capability: visoin\n"), "did you mean vision"),
        (HEAD.replace("version: 1", "version: 2") + PLAIN, "reads version 1"),
        ("version: 1\nsuite: t\nscenarios: []\n", "scenarios"),
        (HEAD + PLAIN + "defaults: {repets: 2}\n", "did you mean 'repeats'"),
        (HEAD + PLAIN.replace("user: hi", "user: hi, tool: x"), "exactly one of user, tool"),
        (HEAD + PLAIN.replace("user: hi", "tool: x"), "the first turn is a user's"),
        (HEAD.replace("word_digits", "word_digit") + PLAIN, "did you mean 'word_digits'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text: str, said: str) -> None:
    """What a file gets wrong is said in words to act on, at a line of the file."""
    found = problems(text)
    assert any(said in line and line.startswith("s.yaml:") for line in found), found


@pytest.mark.parametrize("kind", list(TYPES))
def test_every_assertion_type_may_be_negated_but_a_judge(kind: str) -> None:
    """`not_` stands before any type; what the type needs is still asked for."""
    said = problems(one(f"{{type: not_{kind}, nonsense: 1}}"))
    assert not any("unknown assertion type" in line for line in said)
    assert any("cannot be negated" in line for line in said) is (kind in JUDGES)


def test_an_id_taken_in_another_file_names_both_places(tmp_path: Path) -> None:
    """Two directories may not define the same scenario."""
    (tmp_path / "mine.yaml").write_text(HEAD + PLAIN.replace("id: a", "id: vision"))
    (tmp_path / "other.yml").write_text(HEAD + PLAIN.replace("type: contains", "type: contanis"))
    with pytest.raises(ConfigError) as caught:
        load_catalogue([tmp_path])
    said = str(caught.value)
    assert "mine.yaml:5" in said
    assert "core.yaml" in said
    assert "other.yml:5" in said


def test_a_directory_that_is_none_is_said(tmp_path: Path) -> None:
    """A mistyped directory is an error, not an empty one."""
    with pytest.raises(ConfigError, match="is no directory"):
        load_catalogue([tmp_path / "nope"])


def test_more_scenarios_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    """`--scenarios DIR` adds."""
    (tmp_path / "mine.yaml").write_text(HEAD + PLAIN)
    assert load_catalogue([tmp_path]).ids == (*shipped().ids, "a")


def test_defaults_are_filled_in_and_may_be_overruled() -> None:
    """A scenario says for itself what its file says for all."""
    text = "version: 1\nsuite: t\ndefaults: {repeats: 5, temperature: 0.5, max_tokens: 9, timeout: 2s}\nscenarios:\n"
    other = PLAIN.replace("id: a", "id: b, repeats: 1, temperature: null")
    (a, _), (b, _) = read_scenarios(text + PLAIN + other, "s.yaml")
    assert (a.repeats, a.temperature, a.max_tokens, a.timeout_s) == (5, 0.5, 9, 2.0)
    assert (b.repeats, b.temperature) == (1, None)


def test_the_hash_follows_what_is_asked_and_asserted_and_nothing_else() -> None:
    """Results compare across a new title or timeout, and not across a new prompt, limit or assertion."""

    def hashed(text: str) -> str:
        return read_scenarios(text, "s.yaml")[0][0].hash

    base = hashed(HEAD + PLAIN)
    assert hashed(HEAD + PLAIN.replace("title: A", "title: B, timeout: 5s, repeats: 9")) == base
    changed = ["user: hi", "user: ho"], ["value: x", "value: y"], ["id: a", "id: a, max_tokens: 7"]
    changed += (["id: a", "id: a, temperature: 1"],)
    assert len({base, *(hashed(HEAD + PLAIN.replace(*pair)) for pair in changed)}) == 5


def test_variables_are_fresh_and_seeded() -> None:
    """The same dice give the same values, others give others, and two variables of a kind differ."""
    said = scenario("compaction-recovery").said.vars
    assert draw(said, Random(1)) == draw(said, Random(1)) != draw(said, Random(2))
    assert all(len(set(draw(said, Random(seed)).values())) == len(said) for seed in range(50))


def test_a_place_is_filled_wherever_it_stands() -> None:
    """Texts, keys and whole numbers; what is not a variable stays."""
    values = {"n": "7", "w": "amber"}
    assert fill({"{{w}}": ["{{ n | int }}", "x{{n}}", 3, None]}, values) == {"amber": [7, "x7", 3, None]}
    assert filled("{{other}} {{w}}", values) == "{{other}} amber"


def test_a_transcript_is_longer_than_the_window_and_each_call_fits_it() -> None:
    """Compaction is real: no single call could hold what was said, and the recall holds only the notes."""
    sample = ask(scenario("compaction-recovery"), lambda made, v: reply("notes"), window=2048)
    sizes = [len(str(item.request["messages"])) for item in sample.replies]
    assert sum(sizes) > 2048 * 4
    assert all(size < 2048 * 4 for size in sizes)
    recall = str(sample.replies[-1].request)
    assert sample.replies[-1].label == "recall"
    assert not any(value in recall for value in sample.variables.values())


@pytest.mark.parametrize("window", [2048, 8192])
def test_a_needle_lies_where_it_should_in_a_text_that_fits(window: int) -> None:
    """Each depth is met within six percent of the window, and only the overflow is larger than that."""
    sample = ask(scenario("long-context"), lambda made, v: reply("x"), window=window)
    for item in sample.replies:
        text = str(item.request["messages"])
        if item.label == "overflow":
            assert len(text) > window * 4
            continue
        assert len(text) < window * 4
        share = text.index(sample.variables["nonce"]) / (window * 4) * 100
        assert share == pytest.approx(float(item.label.removeprefix("needle-")), abs=6)


SPECIFIED = """
version: 1
suite: core
defaults: {repeats: 3, temperature: 0, max_tokens: 256, timeout: 60s}
vars: {nonce: {kind: word_digits}}
scenarios:
  - id: json.fox
    title: Structured JSON extraction
    capability: json_schema
    turns: [{user: "Extract: I saw 3 foxes in the garden."}]
    request: {response_format: {type: json_schema, json_schema: {name: fox, strict: true, schema: {type: object}}}}
    assert:
      - {type: json_schema}
      - {type: json_path, path: $.count, equals: 3, metric: value}
      - {type: ttft_ms, p95: 1500, gate: false}
  - id: drill.primary-500
    kind: drill
    faults: [{at: 1, status: 500, times: 3}]
    assert: [{type: served_by_not_first}, {type: attempts, max: 2}, {type: no_duplicate_text}]
"""


def test_the_example_of_the_specification_loads_and_asks() -> None:
    """A drill may leave out title and turns; the other one is graded as it says."""
    (fox, _), (drilled, _) = read_scenarios(SPECIFIED, "s.yaml")
    assert (fox.node, drilled.title) == (
        "generation.structured-generation.schema-constrained-output",
        "drill.primary-500",
    )
    assert grade(fox, ask(fox, lambda made, v: reply('{"count": 3}'))).verdict.label() == "pass"
    assert grade(fox, ask(fox, lambda made, v: reply('{"count": 4}'))).verdict.label() == "fail(json_path)"
    assert ask(drilled, lambda made, v: reply("x")).replies[0].request["messages"]
    assert problems(SPECIFIED.replace("kind: drill\n    faults: [{at: 1, status: 500, times: 3}]", "kind: chat"))
