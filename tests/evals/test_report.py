"""Reports: shape, k of n over graded repeats, no invented winner, and text of models that stays text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

import pytest

from routerconsole.evals.compare import compare, comparison_json, verdict_text
from routerconsole.evals.render_json import report_json
from routerconsole.evals.render_page import html, svg
from routerconsole.evals.render_text import junit, markdown
from routerconsole.evals.report import report_of, separation_text
from routerconsole.evals.types import (
    PASSED,
    Cell,
    CellKey,
    Check,
    Run,
    RunState,
    ScenarioRef,
    Status,
    Verdict,
    errored,
    failed,
    parse_target,
    skipped,
)

P, F, E = PASSED, failed("wrong_value", expected="3", actual="2"), errored("timeout", "no answer in 60 s")
R, T, S = Verdict(Status.RATE_LIMITED), Verdict(Status.TRUNCATED), skipped("window_unknown")
WORDS = {"P": P, "F": F, "E": E, "R": R, "T": T, "S": S}
HOSTILE = "a|b`c`\n<script>alert(1)</script>\x1b[31m]]>&\x00\ufffe\"'"


def run_of(*targets: str, scenarios: Sequence[str] = ("s1",), id: str = "meval_0123456789ab", hash: str = "h") -> Run:
    refs = tuple(ScenarioRef(name, hash, f"Title {name}") for name in scenarios)
    columns = tuple(parse_target(name) for name in targets)
    return Run(id, 1_700_000_000.0, 7, 3, refs, columns, state=RunState.FINISHED, completed_at=1_700_000_060.0)


def cells(target: str, hash: str = "h", **letters: str) -> list[Cell]:
    return [
        Cell(CellKey(name, target, n), WORDS[letter], hash, latency_ms=100.0 + n, cost_usd=0.5)
        for name, word in letters.items()
        for n, letter in enumerate(word)
    ]


@pytest.mark.parametrize(
    ("letters", "status", "k", "n", "summary"),
    [
        ("PPP", "pass", 3, 3, "3/3 passed"),
        ("PPF", "fail", 2, 3, "2/3 passed, fail(wrong_value)"),
        ("PPE", "pass", 2, 2, "2/2 passed, error(timeout)"),
        ("EEE", "error", 0, 0, "error(timeout) x3"),
        ("RTE", "error", 0, 0, "error(timeout), rate_limited, truncated"),
        ("RTT", "rate_limited", 0, 0, "rate_limited, truncated x2"),
        ("TTT", "truncated", 0, 0, "truncated x3"),
        ("SSS", "skipped", 0, 0, "skipped(window_unknown) x3"),
        ("", "inconclusive", 0, 0, "not run"),
    ],
)
def test_E05_k_of_n_counts_graded_repeats_only(letters: str, status: str, k: int, n: int, summary: str) -> None:
    """Errors, limits and cut answers are shown beside, never as wrong answers."""
    square = report_of(run_of("p/m"), cells("p/m", s1=letters)).targets[0].scenarios[0]
    assert (str(square.status), square.k, square.n, square.summary) == (status, k, n, summary)


def test_availability_is_its_own_number() -> None:
    """Of what was asked, how much was answered; what was never asked does not count."""
    report = report_of(run_of("p/m", scenarios=("s1", "s2")), cells("p/m", s1="PFER", s2="SSSS"))
    assert report.targets[0].availability == 0.5
    assert report_of(run_of("p/m"), []).targets[0].availability is None


def test_an_unknown_cost_makes_the_sum_unknown() -> None:
    """Part of a cost is no cost."""
    made = cells("p/m", s1="PP")
    assert report_of(run_of("p/m"), made).targets[0].scenarios[0].cost_usd == 1.0
    unknown = [made[0], replace(made[1], cost_usd=None)]
    assert report_of(run_of("p/m"), unknown).targets[0].scenarios[0].cost_usd is None
    unanswered = [made[0], replace(cells("p/m", s1="PE")[1], cost_usd=None)]
    assert report_of(run_of("p/m"), unanswered).targets[0].scenarios[0].cost_usd == 0.5


def test_the_json_has_the_documented_shape() -> None:
    """Every key of evals.md §7, times as ISO, numbers finite."""
    document = json.loads(json.dumps(report_json(report_of(run_of("p/m", "pool:x"), cells("p/m", s1="PPF")))))
    assert document["version"] == 1
    assert document["run_id"] == "meval_0123456789ab"
    assert document["started_at"] == "2023-11-14T22:13:20.000Z"
    assert document["scenario_ids"] == ["s1"]
    target = document["targets"][0]
    assert (target["id"], target["provider"], target["model"]) == ("p/m", "p", "m")
    keys = (
        "scenario_id name status summary latency_ms ttft_ms input_tokens output_tokens cost_usd k n ci malformed_json"
    )
    wanted = {*keys.split(), "tool_calls", "expected", "actual", "error"}
    assert wanted <= target["scenarios"][0].keys()
    assert (target["scenarios"][0]["expected"], target["scenarios"][0]["actual"]) == ("3", "2")


def test_an_unknown_target_is_one_failed_row() -> None:
    """A column nobody knows has one row, and the others are untouched."""
    lost = Cell(CellKey("profile_lookup", "profile:nope", 0), failed("profile_lookup"), "")
    report = report_of(run_of("profile:nope", "p/m"), [lost, *cells("p/m", s1="PPP")])
    assert [(s.scenario_id, str(s.status)) for s in report.targets[0].scenarios] == [("profile_lookup", "fail")]
    assert report.targets[1].scenarios[0].status is Status.PASS
    assert not report.all_passed


@pytest.mark.parametrize(
    ("letters", "passed"), [("PPP", True), ("PPF", False), ("EEE", False), ("PPE", False), ("SSS", False), ("", False)]
)
def test_a_run_passed_where_everything_asked_did(letters: str, passed: bool) -> None:
    """Nothing asked is no success."""
    assert report_of(run_of("p/m"), cells("p/m", s1=letters)).all_passed is passed


# ---- winners


@pytest.mark.parametrize(
    ("a", "b", "winner"),
    [
        (("PPP", "PPP"), ("FFF", "FFF"), "a/m"),
        (("FFF", "FFF"), ("PPP", "PPP"), "b/m"),
        (("PPP", "PP"), ("FFF", "FF"), None),
        (("PPP",), ("FFF",), None),
        (("PPPPPP", "P"), ("PPPPPP", "P"), None),
        (("PPPFFF",), ("FFFPPP",), None),
        (("PPPPPP", "FFFFFF"), ("FFFFFF", "PPPPPP"), None),
        (("",), ("",), None),
        (("PPPPPP",), ("EEEEEE",), None),
    ],
)
def test_E08_no_winner_without_separation(a: Sequence[str], b: Sequence[str], winner: str | None) -> None:
    """Ties, nothing run, unanswered repeats and small differences have no winner."""
    report = report_of(run_of("a/m", "b/m"), [*cells("a/m", **_named(a)), *cells("b/m", **_named(b))])
    assert report.pairs[0].winner == winner
    assert ("cannot separate (needs >= 6 one-sided)" in separation_text(report.pairs[0])) is (winner is None)


def _named(words: Sequence[str]) -> dict[str, str]:
    return {f"s{n}": word for n, word in enumerate(words)}


@pytest.mark.parametrize(
    ("a", "b"), [(("PPPPPP",), ("FFFFFF",)), (("P" * 50,), ("F" * 50,)), (("PPPPPP", "PPP"), ("FFFFFF", "PPP"))]
)
def test_E08_repeats_of_one_scenario_make_no_winner(a: Sequence[str], b: Sequence[str]) -> None:
    """However small McNemar's p: the interval over scenarios holds 0, and the reason says what is missing."""
    (pair,) = report_of(run_of("a/m", "b/m"), [*cells("a/m", **_named(a)), *cells("b/m", **_named(b))]).pairs
    assert pair.p < 0.05
    assert pair.interval is not None
    assert pair.interval[0] <= 0 <= pair.interval[1]
    assert pair.winner is None
    assert separation_text(pair).startswith("cannot separate (needs more scenarios that agree)")


def test_E08_three_columns_are_corrected() -> None:
    """What separates two columns does not separate them among three."""
    good, bad = {"s1": "PPP", "s2": "PPP"}, {"s1": "FFF", "s2": "FFF"}
    made = [*cells("a/m", **good), *cells("b/m", **bad), *cells("c/m", **good)]
    report = report_of(run_of("a/m", "b/m", "c/m"), made)
    assert [pair.winner for pair in report.pairs] == [None, None, None]
    assert [round(pair.p_corrected, 5) for pair in report.pairs] == [0.09375, 1.0, 0.09375]
    assert "cannot separate (needs more one-sided among so many columns)" in separation_text(report.pairs[0])
    assert "cannot separate (needs >= 6 one-sided)" in separation_text(report.pairs[1])


# ---- renderings


def hostile() -> tuple[Run, list[Cell]]:
    run = replace(run_of("p/m"), targets=(replace(parse_target("p/m"), id=HOSTILE),))
    made = [replace(cells(HOSTILE, s1="F")[0], verdict=failed(HOSTILE, expected=HOSTILE, actual=HOSTILE))]
    return run, made


def test_C4_29_markdown_has_its_title_and_safe_cells() -> None:
    """A pipe, a newline or a backtick in an answer changes no table."""
    text = markdown(report_of(*hostile()))
    assert text.startswith("# Model Evaluation Report\n")
    widths = {re.sub(r"\\.", "", line).count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {3, 11}
    assert "<script" not in text
    assert "\x1b" not in text
    assert re.search(r"(?<!\\)`", text) is None


def test_junit_tells_failures_from_errors() -> None:
    """A wrong answer is a failure, no answer an error, not asked skipped; hostile text keeps it well-formed."""
    names = {"a": "PPP", "b": "F", "c": "E", "d": "R", "e": "S", "f": "T"}
    root = ET.fromstring(junit(report_of(run_of("p/m", scenarios=tuple(names)), cells("p/m", **names))))
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "3", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"a": [], "b": ["failure"], "c": ["error"], "d": ["error"], "e": ["skipped"], "f": ["error"]}
    assert ET.fromstring(junit(report_of(*hostile()))).get("failures") == "1"


def test_the_page_has_no_script_and_fetches_nothing() -> None:
    """Answers are text in it, whatever they hold."""
    page = html(report_of(*hostile()))
    assert re.search(r"<script|javascript:|\son\w+=|<a |<img|<link|url\(", page, re.IGNORECASE) is None
    assert "default-src 'none'" in page
    assert "\x1b" not in page
    assert "\x00" not in page


def test_the_matrix_is_a_picture() -> None:
    """One well-formed SVG with a tile per square."""
    run = run_of("a/m", "b/m", scenarios=("s1", "s2"))
    root = ET.fromstring(svg(report_of(run, [*cells("a/m", s1="P", s2="F"), *cells("b/m", s1="E")])))
    assert len([e for e in root.iter() if e.tag.endswith("rect")]) == 5
    assert ET.fromstring(svg(report_of(*hostile()))).tag.endswith("svg")
    assert ET.fromstring(svg(report_of(run_of("a/m", scenarios=()), []))).tag.endswith("svg")


# ---- two runs


def two(
    a: str, b: str, *, hash_b: str = "h", target_b: str = "p/m"
) -> tuple[tuple[Run, list[Cell]], tuple[Run, list[Cell]]]:
    left = run_of("p/m", id="meval_aaaaaaaaaaaa"), cells("p/m", s1=a)
    return left, (run_of(target_b, id="meval_bbbbbbbbbbbb", hash=hash_b), cells(target_b, hash_b, s1=b))


def test_a_planted_regression_is_named() -> None:
    """Three repeats that passed and fail now are a regression, each flip named with its verdicts."""
    found = compare(*two("PPP", "FFF"))
    assert found.regression
    assert [(f.scenario_id, f.repeat, f.before, f.after, f.worse) for f in found.flips] == [
        ("s1", n, "pass", "fail(wrong_value)", True) for n in range(3)
    ]
    assert verdict_text(found).startswith("cannot separate")


def test_flips_go_both_ways() -> None:
    """What got better stands beside what got worse."""
    found = compare(*two("PPFF", "PFFP"))
    assert [(flip.repeat, flip.worse) for flip in found.flips] == [(1, True), (3, False)]
    assert not found.regression


def test_E08_identical_runs_cannot_be_separated() -> None:
    """The same results have no flip, no regression and no winner."""
    found = compare(*two("PPFPP", "PPFPP"))
    assert (found.flips, found.regression, found.winner, found.p, found.difference) == ((), False, None, 1.0, 0.0)
    assert "cannot separate" in verdict_text(found)


def test_a_scenario_of_another_hash_is_not_comparable() -> None:
    """A changed scenario takes part in nothing but its own mention."""
    found = compare(*two("PPPPPP", "FFFFFF", hash_b="other"))
    assert found.not_comparable == ("s1",)
    assert (found.squares, found.flips, found.winner, found.regression) == ((), (), None, False)
    assert "not comparable" in verdict_text(found)


def test_an_outage_is_no_regression() -> None:
    """Repeats without an answer flip nothing; with nothing graded twice there is no telling either way."""
    found = compare(*two("PPP", "EEE"))
    assert (found.regression, found.comparable, len(found.ungraded)) == (False, False, 1)
    assert verdict_text(found) == "not comparable: nothing was graded in both runs"
    half = compare(*two("PPP", "PEE"))
    assert (half.regression, half.comparable, half.ungraded) == (False, True, ())


def test_runs_of_one_column_each_compare_across_names() -> None:
    """Two models, each alone in its run; the better one is named where scenarios agree."""
    found = compare(*two("PPPPPP", "FFFFFF", target_b="q/m"))
    assert found.winner is None
    runs = (run_of("p/m", id="meval_a", scenarios=("s1", "s2")), run_of("q/m", id="meval_b", scenarios=("s1", "s2")))
    both = compare((runs[0], cells("p/m", s1="PPP", s2="PPP")), (runs[1], cells("q/m", s1="FFF", s2="FFF")))
    assert (both.winner, both.interval) == ("meval_a", (-1.0, -1.0))
    assert found.regression
    assert found.squares[0].target == "p/m → q/m"
    assert found.difference == -1.0


def test_deltas_are_the_second_minus_the_first_and_unknown_stays_unknown() -> None:
    """Latency, TTFT and cost beside each other."""
    a, (run_b, cells_b) = two("PPP", "PPP")
    slower = [replace(cell, latency_ms=151.0) for cell in cells_b]
    document = json.loads(json.dumps(comparison_json(compare(a, (run_b, slower)))))
    square = document["squares"][0]
    assert (square["latency_ms"], square["ttft_ms"], square["cost_usd"]) == (50.0, None, 0.0)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("p/m", "model", "p/m"),
        ("p/a/b:1", "model", "p/a/b:1"),
        ("profile:x", "profile", "x"),
        ("pool:auto", "pool", "auto"),
        ("router/tools", "router", "router/tools"),
        ("auto", "auto", "auto"),
        ("url:http://127.0.0.1:1/v1", "url", ""),
    ],
)
def test_targets_are_read_by_their_form(text: str, kind: str, name: str) -> None:
    """Every form of evals.md §4."""
    found = parse_target(text)
    assert (found.id, str(found.kind), found.name) == (text, kind, name)


@pytest.mark.parametrize("text", ["", "x", "p/", "/m", "url:ftp://x", "url:", "profile:", "router/"])
def test_what_is_no_target_is_refused(text: str) -> None:
    """Words without a form are a mistake, said with the forms there are."""
    with pytest.raises(ValueError, match="is no target"):
        parse_target(text)


def test_what_was_measured_is_shown_by_its_name() -> None:
    """The latest repeat's numbers stand in the square under their metric."""
    made = cells("p/m", s1="PP")
    checks = [(Check("ttft_ms", True, metric="ttft", actual=f"p50 {n} ms", value=float(n)),) for n in (1, 2)]
    measured = [replace(cell, checks=check) for cell, check in zip(made, checks, strict=True)]
    report = report_of(run_of("p/m"), measured)
    assert report.targets[0].scenarios[0].metrics == {"ttft": "p50 2 ms"}
    assert "ttft: p50 2 ms" in markdown(report)
