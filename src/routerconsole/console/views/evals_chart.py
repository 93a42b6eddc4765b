"""A run's targets as a chart, drawn again when its report changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routerconsole.console.render.cells import Line, Role, fit, wrap
from routerconsole.console.render.eval_chart import chart_lines
from routerconsole.console.safe_text import visible

from .chart_page import ChartPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.eval_views import EvalRun

    from .evals_reads import EvalReads


class ComparisonPage(ChartPage):
    """What share of its graded repeats each target passed, in a run or in two."""

    def __init__(self, reads: EvalReads, run: EvalRun, base: EvalRun | None) -> None:
        super().__init__(f"Targets of {visible(run.id, 40)}", draw=self._lines)
        self._reads, self._run, self._base = reads, run, base
        self._drawn: tuple[object, list[Line]] | None = None

    def _lines(self, width: int) -> list[Line]:
        report = self._reads.report(self._run)
        base = self._reads.report(self._base) if self._base is not None else None
        if report is None or (self._base is not None and base is None) or not self.loaded:
            return wrap("reading the report…", width, indent=2, role=Role.DIM)
        stamp = (id(report), id(base), width)
        if self._drawn is None or self._drawn[0] != stamp:
            self._drawn = (stamp, self._fresh(report, base, width))
        return self._drawn[1]

    def _fresh(self, report: Mapping[str, Any], base: Mapping[str, Any] | None, width: int) -> list[Line]:
        if self._base is None:
            legend = "  █ passed, percent of the graded repeats; b on another run adds it"
        else:
            legend = f"  passed, percent of the graded repeats: ▒ {visible(self._base.id, 40)}  █ this run"
        return [((fit(legend, width), Role.TEXT),), *chart_lines(report, base, width)]
