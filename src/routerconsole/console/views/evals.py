"""Evals: runs above, the matrix of scenarios and targets below, a cell's transcript or two of them beside it.

It reads `state.evals` and changes nothing; None there means that the engine was not asked yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.evals import (
    cell_lines,
    done,
    matrix_lines,
    pair_lines,
    run_lines,
)
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants

from .base import Host, View
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.eval_views import EvalCell, EvalRun, EvalScenario


class EvalsView(View):
    """Who passed what."""

    def __init__(self, host: Host) -> None:
        self.runs: TableModel[EvalRun] = TableModel(lambda run: run.id)
        self.scenarios: TableModel[EvalScenario] = TableModel(lambda scenario: scenario.id)
        self.target = ""
        self.base: str | None = None
        runs = ListPane(
            "Evals",
            (Context.EVALS, Context.MATRIX, Context.LIST),
            table=self.runs,
            draw=run_lines,
            empty=self._nothing,
            note=self._counted,
        )
        matrix = ListPane(
            "Matrix",
            (Context.EVALS, Context.MATRIX, Context.LIST),
            table=self.scenarios,
            draw=self._draw_matrix,
            empty=lambda: (),
            note=self._progress,
        )
        detail = TextPane("Cell", (Context.EVALS, Context.DETAIL), draw=self._detail)
        super().__init__("evals", host, (runs, matrix), detail)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take the runs in; target and compared target stay by name, scenario by id."""
        page = self.host.state.evals
        self.runs.set(page.runs if page is not None else ())
        run = self.runs.current
        self.scenarios.set(run.scenarios if run is not None else ())
        targets = run.targets if run is not None else ()
        if self.target not in targets:
            self.target = targets[0] if targets else ""
        if self.base not in targets:
            self.base = None
        if not targets:
            self.focus = 0
        scenario = self.scenarios.current_key
        self.detail.about(f"{run.id} {scenario} {self.target} {self.base}" if run is not None else None)
        self.detail.name = f"Cell {visible(scenario, 40)}" if scenario else "Cell"

    def stamp(self) -> object:
        """Show of requests none, of runs what they are made of: they are frozen."""
        return self.host.state.evals, self.target, self.base

    def wants(self) -> Wants:
        """Need the runs."""
        return Wants(running=False, unfinished=self.host.state.requests.unfinished(), reads=frozenset({Read.EVALS}))

    def objects(self) -> Iterable[tuple[str, str]]:
        """Runs live here."""
        return [(run.id, f"run {run.id} {run.suite}") for run in self.runs.rows]

    def go(self, key: str) -> bool:
        """Select a run."""
        self.focus = 0
        return self.runs.go(key)

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give the matrix what the runs leave, everything to the explanation where there are none."""
        if not self.runs.rows:
            return (None, 0)
        return (min(len(self.runs.rows) + 3, max(4, height // 3)), None)

    def list_width(self, width: int) -> int:
        """Give the matrix 60 % beside the transcript."""
        return width * 3 // 5

    def shows(self, pane: object) -> bool:
        """Say whether a pane is there: without a run only the explanation is."""
        return bool(self.runs.rows) or pane is self.lists[0]

    def contexts(self) -> tuple[Context, ...]:
        """Return where keys are looked up; without a run those of runs and cells mean nothing."""
        ours = {Context.EVALS, Context.MATRIX, Context.LIST}
        return super().contexts() if self.runs.rows else tuple(each for each in super().contexts() if each not in ours)

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Move among the targets, choose the one to compare with, else what every view does."""
        if not self.runs.rows and action_id in {"open", "into"}:
            return True
        if self.focus == 0 and action_id in {"open", "into"}:
            self.focus = self._last_list = 1
            self.sync()
            return True
        if action_id in {"evals.left", "into"} and self.focus == 1:
            return self._move(1 if action_id == "into" else -1)
        if action_id == "evals.compare":
            self.base = None if self.base == self.target else self.target
            self.sync()
            return True
        return super().act(action_id)

    def _move(self, by: int) -> bool:
        """Go to the next target; beyond the last stands the transcript, before the first the runs."""
        run = self.runs.current
        if run is None:
            return True
        place = run.targets.index(self.target) + by
        if place >= len(run.targets):
            self._into_detail()
        elif place < 0:
            self.focus = self._last_list = 0
        else:
            self.target = run.targets[place]
        self.sync()
        return True

    # -- panes -------------------------------------------------------------------------------------------------------

    def _counted(self) -> str:
        count = len(self.runs.rows)
        return f"{count} run{'' if count == 1 else 's'}" if count else ""

    def _progress(self) -> str:
        run = self.runs.current
        if run is None:
            return ""
        text = f"{len(run.scenarios)} scenarios × {len(run.targets)} targets"
        if run.state == "running":
            text += f" · running, {done(run)} of {len(run.scenarios) * len(run.targets)} cells"
        return f"compared with {visible(self.base, 40)} · {text}" if self.base is not None else text

    def _draw_matrix(self, rows: Sequence[EvalScenario], width: int) -> tuple[Line, list[Line]]:
        run = self.runs.current
        if run is None:
            return (), []
        base = run.targets.index(self.base) if self.base is not None else None
        return matrix_lines(run, rows, width, column=run.targets.index(self.target), base=base)

    def _cell(self, target: str) -> EvalCell | None:
        run, scenario = self.runs.current, self.scenarios.current_key
        if run is None:
            return None
        return next((cell for cell in run.cells if (cell.scenario, cell.target) == (scenario, target)), None)

    def _detail(self, width: int) -> list[Line]:
        run, scenario = self.runs.current, self.scenarios.current
        if run is None or scenario is None:
            return [(("no cell selected", Role.DIM),)]
        if self.base is None or self.base == self.target:
            return cell_lines(self._cell(self.target), scenario, self.target, width)
        one, other = ((name, self._cell(name)) for name in (self.base, self.target))
        return pair_lines(run, scenario, one, other, width)

    def _nothing(self) -> Sequence[Line]:
        paragraphs = (
            "Evaluations ask models, pools and the router itself the same scenarios (tools, JSON, vision, long "
            "context, failover drills) and show here who passed what:",
            "✓ passed   ✗ failed   ~ in part, or no answer to grade   ⊘ not applicable   · to come",
            "with k of n repeats, time to first token and cost, the transcript of every cell, and two targets side "
            "by side with the words that differ.",
            "There is no run yet. `routerconsole eval run --targets auto` starts one in another shell; it appears "
            "here as it goes; `routerconsole eval list` names the scenarios.",
            "Until then: 3 shows what each model can do and who says so, 5 then `w` where a request would go.",
        )
        return [line for text in paragraphs for line in (*wrap(text, 76, indent=2), ())]
