"""Scripted evaluations: what a runner would tell, without one."""

from __future__ import annotations

from dataclasses import replace

from tests.console.stage import Stage

from routerconsole.control.eval_views import EvalCell, EvalPage, EvalPair, EvalRun, EvalScenario, EvalTurn

TARGETS = ("groq/llama-3.3-70b", "ollama/llama3.1:8b", "pool:tools", "auto")
SCENARIOS = (
    EvalScenario("json-extraction", "Structured JSON extraction", "json_schema"),
    EvalScenario("tool-invocation", "A tool is called with the right value", "tools"),
    EvalScenario("vision", "The colour of an image is named", "vision"),
    EvalScenario("streaming", "A stream arrives whole"),
    EvalScenario("drill-500", "The first choice answers 500"),
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
    return EvalRun(
        "meval_0123456789ab", "core", "running", "2026-03-01T11:58:00Z", None, SCENARIOS, TARGETS, cells, pairs
    )


def page() -> EvalPage:
    """Return two runs, the newest first."""
    earlier = replace(
        run(),
        id="meval_00000000000a",
        state="completed",
        started_at="2026-03-01T10:00:00Z",
        completed_at="2026-03-01T10:04:00Z",
        targets=TARGETS[:2],
        cells=tuple(entry for entry in run().cells if entry.target in TARGETS[:2]),
    )
    return EvalPage((run(), earlier))


def tell(on: Stage, runs: EvalPage | None) -> None:
    """Let engine and console know of runs, None for an engine without any."""
    on.control.eval_views = runs or EvalPage(())
    on.desk.state.evals = runs


async def evaluated(on: Stage, runs: EvalPage | None) -> None:
    """Let a console know of runs and open the view."""
    tell(on, runs)
    await on.press("6")
    await on.sees("Evals")
