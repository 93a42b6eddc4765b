"""A run's report on a terminal: heads as they are written, letters where they do not fit, nothing cut in a pipe."""

from __future__ import annotations

from typing import Any

import pytest

from routerconsole.cli.eval_matrix import report_lines, square_items
from routerconsole.domain.visible import cells
from routerconsole.evals.render_json import report_json
from routerconsole.evals.report import report_of
from routerconsole.evals.types import (
    PASSED,
    Cell,
    CellKey,
    Run,
    RunState,
    ScenarioRef,
    Status,
    Verdict,
    failed,
    parse_target,
)

TARGETS = ("lab-Ready/lab-Ready", "lab-tools/lab-tools", "lab-think/lab-think", "lab-chatter/x\x1b[31m", "pool:auto")
LONG = "a long wrong answer " * 20


def a_report(*targets: str) -> dict[str, Any]:
    """Each column passes the plain scenario and misses the tool, but the last, which is cut."""
    run = Run(
        id="meval_0123456789ab",
        started_at=1.0,
        seed=7,
        repeats=None,
        scenarios=(ScenarioRef("plain-chat", "1"), ScenarioRef("tool-invocation", "2", capability="tools")),
        targets=tuple(parse_target(text) for text in targets),
        state=RunState.FINISHED,
    )
    found = []
    for target in targets:
        last = target == targets[-1]
        plain = Verdict(Status.TRUNCATED, "", "cut at max_tokens") if last else PASSED
        missed = failed("no_call", expected="a call of record", actual=LONG)
        found += [Cell(CellKey("plain-chat", target, n), plain, "1") for n in range(3)]
        found += [Cell(CellKey("tool-invocation", target, n), missed, "2", capable=False) for n in range(2)]
    return report_json(report_of(run, found))


@pytest.mark.parametrize("width", [72, 80, 120, 200])
def test_every_line_fits_the_terminal_and_every_column_is_told(width: int) -> None:
    """At any width each column's verdict stands in the matrix, and text of a provider moves no cursor."""
    lines = report_lines(a_report(*TARGETS), width)
    matrix = [line for line in lines if not line.startswith("cannot separate")]  # a sentence wraps by itself
    assert max(cells(line) for line in matrix) <= width
    assert not any("\x1b" in line for line in lines)
    row = next(line for line in lines if line.startswith("plain-"))
    assert (row.count("pass 3/3"), row.count("truncated")) == (4, 1)
    able = next(line for line in lines if line.startswith("tools "))
    assert able.count("0/2") == 5
    assert any("lab-Ready/lab-Ready" in line for line in lines), "ids keep their spelling"


def test_nothing_is_cut_where_the_output_is_no_terminal() -> None:
    """Heads are the ids, codes stand beside the counts, and a wrong answer is told next to what was wanted."""
    lines = report_lines(a_report(*TARGETS[:2]), None)
    assert not any("…" in line for line in lines)
    assert lines[2].split() == ["scenario", *TARGETS[:2]]
    assert sum("fail 0/2 no_call" in line for line in lines) == 1
    assert any("wanted a call of record, got a long wrong answer" in line for line in lines)


def test_pairs_that_cannot_be_separated_have_no_winner() -> None:
    """evals.md §5: three against nothing is not enough; pairs without any difference are counted, not listed."""
    lines = report_lines(a_report(*TARGETS), 200)
    told = [line for line in lines if line.startswith("cannot separate (needs >= 6 one-sided)")]
    assert len(told) == 1
    assert "10 pairs passed the same" in told[0]
    assert not any("is better" in line for line in lines)


def test_each_square_is_a_sentence_of_its_own() -> None:
    """For a screen reader: target, scenario and verdict by name."""
    items = list(square_items(a_report(*TARGETS[:2])))
    assert [(item["target"], item["scenario"], item["status"]) for item in items][:2] == [
        (TARGETS[0], "plain-chat", "pass"),
        (TARGETS[0], "tool-invocation", "fail"),
    ]
