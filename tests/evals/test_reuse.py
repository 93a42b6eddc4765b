"""Which answers of an earlier run may stand in for a call: few, fresh, of the same model, and never a test's nonce."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.evals.scripted import ask, error, reply, shipped

from routerconsole.evals.cells import cell_of
from routerconsole.evals.reuse import MAX_AGE_S, reusable, reused
from routerconsole.evals.scenario import Scenario
from routerconsole.evals.scenario_files import read_scenarios
from routerconsole.evals.types import Cell, CellKey, Run, parse_target

MODEL = parse_target("p/m")
NOW = 1_000_000_000.0
PLAIN = "turns: [{user: hi}], assert: [{type: equals, value: READY}]"


def made(body: str) -> Scenario:
    """One scenario."""
    return read_scenarios(f"version: 1\nsuite: s\nscenarios: [{{id: one, {body}}}]\n", "s.yaml")[0][0]


def cell(said: Scenario, *, repeat: int = 0, age: float = 60.0, ok: bool = True) -> Cell:
    """A cell of an earlier run."""
    sample = ask(said, lambda _c, _v: reply("READY") if ok else error("connect"))
    return cell_of(said, CellKey(said.id, MODEL.id, repeat), sample, at=NOW - age)


def run(name: str = "meval_1", **more: object) -> Run:
    """An earlier run of the one model."""
    return Run(name, NOW - 90, 1, 3, (), (replace(MODEL, **more),))  # type: ignore[arg-type] # fields of Target


@pytest.mark.parametrize(
    "body",
    [
        "turns: [{user: 'hi {{n}}'}], vars: {n: {kind: digits}}, assert: [{type: equals, value: READY}]",
        f"capability: tools, {PLAIN}",
        f"temperature: 0.5, {PLAIN}",
        "turns: [{user: hi}], assert: [{type: ttft_ms, p95: 10}], stream: true",
        "turns: [{user: hi}], assert: [{type: served_by, value: p}]",
        "turns: [{user: hi}], assert: [{type: judge}]",
        "kind: latency, turns: [{user: hi}], assert: [{type: contains, value: x}]",
        "kind: drill, assert: [{type: served_by_not_first}]",
    ],
)
def test_what_tests_more_than_an_answer_is_asked_anew(body: str) -> None:
    """Nonces, probes, dice, times, ways, votes, drills."""
    assert not reusable(made(body), MODEL)


@pytest.mark.parametrize("text", ["auto", "pool:x", "profile:x", "router/tools", "url:http://127.0.0.1/v1"])
def test_only_a_pinned_model_is_the_same_twice(text: str) -> None:
    """Behind anything else it is not known who answers."""
    assert reusable(made(PLAIN), MODEL)
    assert not reusable(made(PLAIN), parse_target(text))


def test_no_built_in_probe_and_no_drill_is_reusable() -> None:
    """What routing relies on is measured each time."""
    found = [each for each in shipped().scenarios if reusable(each, MODEL)]
    assert [each.id for each in found if each.node is not None or each.is_drill] == []


def test_the_newest_graded_answer_of_each_repeat_is_taken() -> None:
    """Not what failed to arrive, is old, was itself taken over, or came from another server or question."""
    said = made(PLAIN)
    good, older = cell(said), replace(cell(said, age=120.0), at=NOW - 120)
    (taken,) = reused(said, MODEL, [(run("meval_2"), good), (run(), older)], now=NOW)
    assert (taken.cached, taken.at, taken.verdict.label()) == ("meval_2", good.at, "pass")
    for refused in (
        cell(said, ok=False),
        cell(said, age=MAX_AGE_S + 1),
        replace(good, cached="meval_0"),
        replace(good, scenario_hash="other"),
    ):
        assert reused(said, MODEL, [(run(), refused)], now=NOW) == ()
    assert reused(said, MODEL, [(run(fingerprint="fp_2"), good)], now=NOW) == ()
    assert reused(said, MODEL, [(run(window=9), good)], now=NOW) == ()
    assert len(reused(said, MODEL, [(run(), good), (run(), cell(said, repeat=1))], now=NOW)) == 2
