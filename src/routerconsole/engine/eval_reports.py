"""Evaluations as the faces read them, JSON-ready: runs, a run's report, two runs compared, the scenarios there are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from routerconsole.control.eval_views import (
    CellVerdict,
    EvalCell,
    EvalCellDetail,
    EvalMeasured,
    EvalPage,
    EvalPair,
    EvalRun,
    EvalScenario,
    EvalTurn,
    ReportForm,
)
from routerconsole.control.port import ControlError
from routerconsole.domain.counted import counted
from routerconsole.evals.compare import compare, comparison_json
from routerconsole.evals.files import report_text
from routerconsole.evals.render_json import iso, report_json
from routerconsole.evals.report import report_of, separation_text
from routerconsole.evals.scenario import labels
from routerconsole.evals.types import RunState

from .eval_cells import detail_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.evals.measured import Measured
    from routerconsole.evals.report_types import ScenarioReport
    from routerconsole.evals.types import Cell, Run

    from .evaluating import Evaluations

Json = dict[str, Any]
MOST_RUNS = 200
SHOWN_RUNS = 10
"""Runs the console lists with their matrices."""
_TEXT = 2000
_TURNS = 8
_STATE: Mapping[RunState, Literal["running", "completed", "cancelled"]] = {
    RunState.RUNNING: "running",
    RunState.FINISHED: "completed",
    RunState.CANCELLED: "cancelled",
}


class EvalReports:
    """What there is to read of the runs of one engine."""

    def __init__(self, evals: Evaluations) -> None:
        self._evals = evals
        self._ended: dict[tuple[object, ...], EvalRun] = {}  # what the page shows of runs that are over

    async def runs(self, limit: int = MOST_RUNS) -> Json:
        """Return the newest runs first, without their cells."""
        return {"runs": [_brief(run) for run in await self._evals.runs(limit)]}

    async def run(self, run_id: str) -> Mapping[str, Any] | None:
        """Return a run's report with what it offers as measured, None where there is no such run."""
        found = await self._evals.load(run_id)
        if found is None:
            return None
        run, cells = found
        report = await asyncio.to_thread(lambda: report_json(report_of(run, cells)))
        offered = [
            {
                "provider": each.provider,
                "model": each.model,
                "node": each.node,
                "finding": each.finding.value,
                "k": each.k,
                "n": each.n,
                "ci": list(each.interval),
                "at": iso(each.at),
                "run_id": each.run,
                "fingerprint": each.fingerprint,
                "evidence": each.evidence,
                "accepted": self._evals.accepted(each),
            }
            for each in await self._evals.offered(run_id)
        ]
        return {**report, "repeats": run.repeats, "cells": len(cells), "measured": offered}

    async def page(self) -> EvalPage:
        """Return the newest runs with their matrices; texts are shortened, transcripts are of the last repeats."""
        shown: dict[tuple[object, ...], EvalRun] = {}
        found = []
        for run in await self._evals.runs(SHOWN_RUNS):
            stamp = (run.id, run.state, run.completed_at, self._evals.regraded)
            view = self._ended.get(stamp)
            if view is None:
                loaded = await self._evals.load(run.id)
                if loaded is None:
                    continue
                offered = tuple(_offered(each) for each in await self._evals.offered(run.id))
                view = await asyncio.to_thread(_view, *loaded, offered)
            if run.state is not RunState.RUNNING:
                shown[stamp] = view
            found.append(view)
        self._ended = shown
        return EvalPage(tuple(found))

    async def cell(self, run_id: str, scenario: str, target: str) -> EvalCellDetail | None:
        """Return one cell in full, None where there is no such run; raise ControlError where it has no such cell."""
        found = await self._evals.load(run_id)
        if found is None:
            return None
        run, cells = found
        planned = scenario in {ref.id for ref in run.scenarios} and target in {each.id for each in run.targets}
        if not planned and (scenario, target) not in {(each.key.scenario_id, each.key.target_id) for each in cells}:
            where = f"{scenario[:60]!r} on {target[:60]!r}"
            raise ControlError("not_found", f"Run {run_id} has no cell {where}.", status=404)
        return await asyncio.to_thread(detail_of, run, cells, scenario, target)

    async def report(self, run_id: str, form: ReportForm) -> str | None:
        """Return a run's report as a file of that form has it, None where there is no such run."""
        found = await self._evals.load(run_id)
        if found is None:
            return None
        run, cells = found
        return await asyncio.to_thread(lambda: report_text(report_of(run, cells), form))

    async def compare(self, a: str, b: str) -> Json:
        """Return run `b` against run `a`; raise ControlError for a run there is not, or a run against itself."""
        if a == b:
            raise ControlError("invalid_request", "Name two different runs: a run does not differ from itself.")
        loaded = []
        for run_id in (a, b):
            found = await self._evals.load(run_id)
            if found is None:
                raise ControlError("not_found", f"Run {run_id[:60]!r} not found.", status=404)
            loaded.append(found)
        made = await asyncio.to_thread(compare, loaded[0], loaded[1])
        return dict(comparison_json(made))

    async def scenarios(self) -> Json:
        """Return every built-in scenario in the order of its files."""
        catalogue = await self._evals.catalogue()
        rows = [
            {
                "id": each.id,
                "title": each.title,
                "suite": each.suite,
                "kind": each.kind,
                "capability": each.said.capability,
                "repeats": 1 if each.is_drill else each.repeats,
                "calls": len(labels(each.said)),
                "hash": each.hash,
            }
            for each in catalogue.scenarios
        ]
        return {"scenarios": rows}


def _brief(run: Run) -> Json:
    return {
        "run_id": run.id,
        "state": run.state.value,
        "started_at": iso(run.started_at),
        "completed_at": None if run.completed_at is None else iso(run.completed_at),
        "seed": run.seed,
        "repeats": run.repeats,
        "scenario_ids": [ref.id for ref in run.scenarios],
        "targets": [target.id for target in run.targets],
    }


def _offered(each: Measured) -> EvalMeasured:
    return EvalMeasured(
        each.provider,
        each.model,
        each.node,
        each.finding.value,
        each.k,
        each.n,
        evidence=each.evidence,
        at=each.at,
        fingerprint=each.fingerprint,
    )


def _view(run: Run, cells: Iterable[Cell], offered: tuple[EvalMeasured, ...] = ()) -> EvalRun:
    """Return a run as the console shows it."""
    kept = tuple(cells)
    report = report_of(run, kept)
    last = {(cell.key.scenario_id, cell.key.target_id): cell for cell in sorted(kept, key=lambda each: each.key.repeat)}
    squares = [(column.id, square) for column in report.targets for square in column.scenarios if square.total]
    known = {ref.id for ref in run.scenarios}
    odd = dict.fromkeys(square.scenario_id for _, square in squares if square.scenario_id not in known)
    return EvalRun(
        id=run.id,
        suite=counted(len(run.scenarios), "scenario"),
        state=_STATE[run.state],
        started_at=iso(run.started_at),
        completed_at=None if run.completed_at is None else iso(run.completed_at),
        scenarios=tuple(
            [EvalScenario(ref.id, ref.title or ref.id, ref.capability) for ref in run.scenarios]
            + [EvalScenario(name, name) for name in odd]
        ),
        targets=tuple(target.id for target in run.targets),
        cells=tuple(_cell(target, square, last.get((square.scenario_id, target))) for target, square in squares),
        pairs=tuple(EvalPair(pair.a, pair.b, separation_text(pair)) for pair in report.pairs),
        measured=offered,
    )


def _cell(target: str, square: ScenarioReport, last: Cell | None) -> EvalCell:
    return EvalCell(
        scenario=square.scenario_id,
        target=target,
        verdict=_verdict(square),
        code="" if last is None else last.verdict.code,
        k=square.k,
        n=square.n,
        ci=square.ci if square.n else None,
        ttft_ms=square.ttft_ms,
        latency_ms=square.latency_ms,
        cost_usd=square.cost_usd,
        summary=square.summary,
        expected=square.expected[:_TEXT],
        actual=square.actual[:_TEXT],
        transcript=() if last is None else _turns(last),
    )


def _verdict(square: ScenarioReport) -> CellVerdict:
    return square.status.value


def _turns(cell: Cell) -> tuple[EvalTurn, ...]:
    """Return what was asked and answered, each call's last message and its answer."""
    turns: list[EvalTurn] = []
    for reply in () if cell.sample is None else cell.sample.replies:
        messages = reply.request.get("messages")
        asked = messages[-1] if isinstance(messages, list) and messages else None
        content = asked.get("content") if isinstance(asked, dict) else None
        if isinstance(content, str):
            turns.append(EvalTurn("user", content[:_TEXT]))
        calls = "".join(f"\n{call.name}({call.arguments})" for call in reply.tool_calls)
        failed = "" if reply.error is None else f"\n{reply.error.cls}: {reply.error.message}"
        turns.append(EvalTurn("assistant", f"{reply.text}{calls}{failed}".strip()[:_TEXT]))
    return tuple(turns[-_TURNS:])
