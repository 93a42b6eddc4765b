"""Scripted evaluations: what a runner would tell, without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.console.fake_control import EvalsTold
from tests.console.stage import Stage

from routerconsole.control.eval_views import (
    EvalCall,
    EvalCell,
    EvalCellDetail,
    EvalCheck,
    EvalHop,
    EvalMeasured,
    EvalPage,
    EvalPair,
    EvalRepeat,
    EvalRun,
    EvalScenario,
    EvalTurn,
    EvalVotes,
)
from routerconsole.domain.capability import NODE_OF

TARGETS = ("groq/llama-3.3-70b", "ollama/llama3.1:8b", "pool:tools", "auto")
SCENARIOS = (
    EvalScenario("json-extraction", "Structured JSON extraction", "json_schema"),
    EvalScenario("tool-invocation", "A tool is called with the right value", "tools"),
    EvalScenario("vision", "The colour of an image is named", "vision"),
    EvalScenario("streaming", "A stream arrives whole"),
    EvalScenario("drill-500", "The first choice answers 500"),
)


RUN, EARLIER = "meval_0123456789ab", "meval_00000000000a"
MEASURED = (
    EvalMeasured("groq", "llama-3.3-70b", NODE_OF["json_schema"], "verified", 3, 3, f"verified 3/3 by {RUN}"),
    EvalMeasured("ollama", "llama3.1:8b", NODE_OF["json_schema"], "refuted", 0, 2, f"refuted 0/2 by {RUN}"),
    EvalMeasured("groq", "llama-3.3-70b", NODE_OF["tools"], "flaky", 5, 8, f"flaky 5/8 by {RUN}"),
)


def cell(scenario: str, target: str, **changes: object) -> EvalCell:
    """Return a cell that passed three of three, with changes."""
    base = EvalCell(
        scenario, target, "pass", k=3, n=3, ci=(0.44, 1.0), ttft_ms=310.0, latency_ms=820.0, cost_usd=0.0004
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields of EvalCell, by name


def said(text: str) -> tuple[EvalTurn, ...]:
    """Return a transcript with one answer."""
    return (EvalTurn("user", "Extract: I saw 3 foxes in the garden."), EvalTurn("assistant", text))


def run() -> EvalRun:
    """Return a run half way: every verdict there is, and cells to come."""
    groq, ollama, pool, auto = TARGETS
    fox = said('{"animal": "fox", "count": 3}')
    wrong = said('{"animal": "fox", "count": "three"}')
    ungraded = {"k": 0, "n": 0, "ci": None, "ttft_ms": None}
    cells = (
        cell("json-extraction", groq, transcript=fox),
        cell("json-extraction", ollama, verdict="fail", code="schema", k=0, ci=(0.0, 0.56), transcript=wrong,
             summary="count is text", expected="3", actual="'three'"),
        cell("json-extraction", pool, verdict="fail", code="schema", k=2, ci=(0.21, 0.94), transcript=fox),
        cell("json-extraction", auto, transcript=fox),
        cell("tool-invocation", groq),
        cell("tool-invocation", ollama, verdict="error", code="timeout_first", **ungraded),
        cell("tool-invocation", pool, verdict="rate_limited", **ungraded),
        cell("tool-invocation", auto, verdict="running", k=1, n=1, ci=None),
        cell("vision", groq, verdict="unsupported", code="vision", **ungraded),
        cell("vision", ollama, verdict="skipped", code="no image", **ungraded),
        cell("vision", pool, verdict="inconclusive", **ungraded),
        cell("streaming", groq, verdict="truncated", **ungraded),
        cell("streaming", ollama, verdict="refused", **ungraded),
    )  # fmt: skip
    pairs = (EvalPair(groq, ollama, "cannot separate (needs ≥ 6 one-sided)"),)
    return EvalRun(RUN, "core", "running", "2026-03-01T11:58:00Z", None, SCENARIOS, TARGETS, cells, pairs, MEASURED)


def page() -> EvalPage:
    """Return two runs, the newest first."""
    earlier = replace(
        run(),
        id=EARLIER,
        state="completed",
        started_at="2026-03-01T10:00:00Z",
        completed_at="2026-03-01T10:04:00Z",
        targets=TARGETS[:2],
        cells=tuple(entry for entry in run().cells if entry.target in TARGETS[:2]),
    )
    return EvalPage((run(), earlier))


def detail(run: str, scenario: str, target: str) -> EvalCellDetail:
    """Return a cell of two repeats: a wrong one that failed over, and one that passed."""
    frames = ('{"id": "x", "choices": [{"delta": {"content": "{"}}]}', '{"choices": []}', "[DONE]")
    hops = (EvalHop("groq/llama-3.3-70b", "rate", 429, took_ms=20.0), EvalHop(target, "ok", 200, took_ms=790.0))
    call = EvalCall(
        "turn-1", '{"messages": [{"role": "user", "content": "Extract: I saw 3 foxes in the garden."}]}',
        prompt="Extract: I saw 3 foxes in the garden.", text='{"animal": "fox", "count": "three"}', finish="stop",
        ttft_ms=310.0, total_ms=820.0, prompt_tokens=812, completion_tokens=64, cost_usd=0.0004,
        request="000001-aaaaa", served_by=target, hops=hops, frames=frames, unkept=7,
    )  # fmt: skip
    wrong = (
        EvalCheck("json_schema", False, expected="an integer at $.count", actual="'three'"),
        EvalCheck("ttft_ms", True, gate=False, metric="ttft", actual="310 ms"),
    )
    right = replace(call, text='{"animal": "fox", "count": 3}', request="000002-aaaaa", hops=hops[1:])
    votes = (EvalVotes("judge", "groq/judge", 0.33, 2, negative=1, valid=3, total=3),)
    return EvalCellDetail(
        run,
        scenario,
        target,
        (
            EvalRepeat(0, "fail", "schema", "count is text", checks=wrong, calls=(call,)),
            EvalRepeat(1, "pass", checks=(EvalCheck("json_schema", True),), votes=votes, calls=(right,)),
        ),
    )


def report() -> Mapping[str, Any]:
    """Return a run's report as far as the console shows it."""
    column = {"provider": None, "model": None, "scenarios": []}
    figures = ((3, 5, (0.23, 0.88), 1.0), (0, 3, (0.0, 0.56), 0.6), (2, 3, (0.21, 0.94), 0.5), (0, 0, (0.0, 1.0), None))
    return {
        "seed": 7,
        "targets": [
            {**column, "id": name, "k": k, "n": n, "ci": ci, "availability": answered}
            for name, (k, n, ci, answered) in zip(TARGETS, figures, strict=True)
        ],
    }


def compared() -> Mapping[str, Any]:
    """Return the later run against the earlier one: one flip, one square worse, one scenario changed."""
    square = {
        "scenario_id": "json-extraction",
        "target": TARGETS[0],
        "latency_ms": 120.0,
        "ttft_ms": 4.0,
        "cost_usd": -0.0001,
    }
    return {
        "verdict": "cannot separate (needs >= 6 one-sided): 1 got worse, 0 got better, p 1.000",
        "winner": None, "regression": True, "p": 1.0, "difference": -0.2, "interval": [-0.6, 0.0],
        "not_comparable": ["vision"], "only_in_a": [], "only_in_b": ["drill-500"],
        "flips": [{"scenario_id": "json-extraction", "target": TARGETS[0], "repeat": 1, "before": "pass",
                   "after": "fail(schema)", "worse": True}],
        "squares": [{**square, "regressed": True, "before": {"status": "pass", "k": 3, "n": 3},
                     "after": {"status": "fail", "k": 1, "n": 3}},
                    {**square, "scenario_id": "streaming", "regressed": False,
                     "before": {"status": "pass", "k": 3, "n": 3}, "after": {"status": "pass", "k": 3, "n": 3}}],
    }  # fmt: skip


def catalogue() -> tuple[Mapping[str, Any], ...]:
    """Return the scenarios there are: two suites, one drill."""
    rows = ((each, "drills" if each.id.startswith("drill") else "core") for each in SCENARIOS)
    return tuple(
        {
            "id": each.id, "title": each.title, "suite": suite, "kind": "drill" if suite == "drills" else "chat",
            "capability": each.capability, "repeats": 1 if suite == "drills" else 3, "calls": 1, "hash": "x",
        }
        for each, suite in rows
    )  # fmt: skip


def tell(on: Stage, runs: EvalPage | None) -> None:
    """Let engine and console know of runs, None for an engine without any."""
    on.control.evals_told = EvalsTold(
        cells={
            (RUN, each.id, target): detail(RUN, each.id, target) for each in SCENARIOS[:1] for target in TARGETS[:3]
        },
        reports={RUN: report(), EARLIER: report()},
        compared={(EARLIER, RUN): compared()},
        scenarios=catalogue(),
    )
    on.control.eval_views = runs or EvalPage(())
    on.desk.state.evals = runs


async def evaluated(on: Stage, runs: EvalPage | None) -> None:
    """Let a console know of runs and open the view."""
    tell(on, runs)
    await on.press("6")
    await on.sees("Evals")
