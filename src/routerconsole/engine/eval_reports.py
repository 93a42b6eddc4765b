"""Evaluations as the faces read them, JSON-ready: runs, a run's report, two runs compared, the scenarios there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from routerconsole.control.port import ControlError
from routerconsole.evals.compare import compare, comparison_json
from routerconsole.evals.render_json import iso, report_json
from routerconsole.evals.report import report_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.evals.types import Run

    from .evaluating import Evaluations

Json = dict[str, Any]
MOST_RUNS = 200


class EvalReports:
    """What there is to read of the runs of one engine."""

    def __init__(self, evals: Evaluations) -> None:
        self._evals = evals

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
                "evidence": each.evidence,
            }
            for each in await self._evals.offered(run_id)
        ]
        return {**report, "repeats": run.repeats, "cells": len(cells), "measured": offered}

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
