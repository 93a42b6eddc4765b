"""Evals: runs above, the matrix of scenarios and targets below; beside them a run, a cell, or two of either compared.

It reads `state.evals`; None there means that the engine was not asked yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.eval_cell import cell_lines, pair_lines
from routerconsole.console.render.eval_run import comparison_lines, offer_text, run_detail
from routerconsole.console.render.evals import done, matrix_lines, run_lines, squares
from routerconsole.console.render.form import HEAD
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.state import Link
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants
from routerconsole.domain.counted import counted

from . import evals_actions as doing
from .base import ABREAST, Host, View
from .evals_chart import ComparisonPage
from .evals_reads import EvalReads
from .evals_start import RunForm, Wanted
from .evals_votes import judge
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.eval_views import EvalCell, EvalCellDetail, EvalRun, EvalScenario

RUNS, MATRIX = 0, 1
TEXT: Final = 57
"""Columns of the explanation: it stands beside a detail from 100 columns on."""
RUNS_WIDE: Final = 48
"""Columns the runs take where they stand beside the matrix."""
_FORM_READS: Final = frozenset({Read.MODELS, Read.POOLS, Read.PROFILES})
_NEED_A_RUN: Final = frozenset({Context.RUNS, Context.MATRIX, Context.MARKS, Context.LIST})


class EvalsView(View):
    """Who passed what."""

    def __init__(self, host: Host) -> None:
        self.runs: TableModel[EvalRun] = TableModel(lambda run: run.id)
        self.scenarios: TableModel[EvalScenario] = TableModel(lambda scenario: scenario.id)
        self.target = ""
        self.base: str | None = None
        self.baseline: str | None = None
        self.marked: set[str] = set()
        self.frames = False
        self._begun: str | None = None
        self._shown: str | None = None
        self._reads = EvalReads(host)
        self.start = RunForm(host, opened=self._opened, closed=self._closed, begun=self._wait_for)
        runs = ListPane(
            "Evals",
            (Context.EVALS, Context.RUNS, Context.LIST),
            table=self.runs,
            draw=lambda rows, width: run_lines(rows, width, baseline=self.baseline),
            empty=self._nothing,
            note=self._counted,
        )
        matrix = ListPane(
            "Matrix",
            (Context.EVALS, Context.RUNS, Context.MATRIX, Context.MARKS, Context.LIST),
            table=self.scenarios,
            draw=self._draw_matrix,
            empty=lambda: (),
            note=self._progress,
        )
        detail = TextPane("Cell", (Context.EVALS, Context.RUNS, Context.DETAIL), draw=self._detail)
        super().__init__("evals", host, (runs, matrix), detail)
        self.filled_in = self.start

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take the runs in; target and compared target stay by name, scenario by id, a run just begun is selected."""
        page = self.host.state.evals
        self.runs.set(page.runs if page is not None else ())
        if self._begun is not None and self.runs.go(self._begun):
            self._begun = None
            if self.start.form is None:
                self.focus, self._last_list, self.pushed = MATRIX, MATRIX, False
        run = self.runs.current
        if run is not None and run.id != self._shown:
            self._shown = run.id
            self.scenarios.clear_marks()
            self.marked.clear()
        self.scenarios.set(run.scenarios if run is not None else ())
        targets = run.targets if run is not None else ()
        if self.target not in targets:
            self.target = targets[0] if targets else ""
        if self.base not in targets:
            self.base = None
        if not targets and self.start.form is None:
            self.focus = self._last_list = RUNS
        self._about(run)

    def _about(self, run: EvalRun | None) -> None:
        """Say what the detail is about."""
        form = self.start.form
        self.detail.watch = None
        if form is not None:
            self.detail.name, self.detail.watch = form.title, HEAD + form.cursor
            self.detail.about(form.title)
        elif run is None or self._place == RUNS:
            self.detail.name = "Run" if self._base_run() is None else "Compared with the baseline"
            self.detail.about(f"{run.id} {self.baseline}" if run is not None else None)
        else:
            scenario = self.scenarios.current_key or ""
            self.detail.name = f"Cell {visible(scenario, 40)}"
            self.detail.about(f"{run.id} {scenario} {self.target} {self.base}")

    @property
    def _place(self) -> int:
        """The list that was gone to last."""
        return self.focus if self.focus < len(self.lists) else self._last_list

    @property
    def _chosen(self) -> EvalScenario | None:
        """The scenario an action is meant for, None where it is meant for the whole run."""
        return self.scenarios.current if self._place == MATRIX else None

    def _base_run(self) -> EvalRun | None:
        """Return the baseline, unless it is the selected run or gone."""
        if self.baseline is None or self.baseline == self.runs.current_key:
            return None
        return next((run for run in self.runs.rows if run.id == self.baseline), None)

    def stamp(self) -> object:
        """Show of requests none, of runs what they are made of: they are frozen."""
        return self.host.state.evals, self.target, self.base, self.baseline

    def wants(self) -> Wants:
        """Need the runs, and while a form is filled in what it can name."""
        reads = frozenset({Read.EVALS}) | (_FORM_READS if self.start.form is not None else frozenset())
        return Wants(running=False, unfinished=self.host.state.requests.unfinished(), reads=reads)

    def objects(self) -> Iterable[tuple[str, str]]:
        """Runs live here."""
        return [(run.id, f"run {run.id} {run.suite}") for run in self.runs.rows]

    def go(self, key: str) -> bool:
        """Select a run."""
        self.focus = self._last_list = RUNS
        return self.runs.go(key)

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give the matrix what the runs leave, everything to the explanation where there are none."""
        if not self.runs.rows:
            return (None, 0)
        return (min(len(self.runs.rows) + 3, max(4, height // 3)), None)

    def list_width(self, width: int) -> int:
        """Give the lists 60 % beside the detail, a little more where they stand side by side."""
        return width * 2 // 3 if width >= ABREAST and self.runs.rows else width * 3 // 5

    def abreast(self, width: int) -> tuple[int, ...] | None:
        """Stand side by side in three columns from 160 columns on."""
        if width < ABREAST or not self.runs.rows:
            return None
        return RUNS_WIDE, self.list_width(width) - RUNS_WIDE

    def shows(self, pane: object) -> bool:
        """Say whether a pane is there: without a run only the explanation is."""
        return bool(self.runs.rows) or pane is self.lists[0]

    def contexts(self) -> tuple[Context, ...]:
        """Return where keys are looked up; without a run those of runs and cells mean nothing."""
        found = super().contexts()
        return found if self.runs.rows else tuple(each for each in found if each not in _NEED_A_RUN)

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:  # noqa: PLR0912 - one case per action
        """Begin, stop, compare, accept, write; move among runs, scenarios and targets."""
        if action_id == "evals.new":
            self.begin(())
            return True
        run = self.runs.current
        if run is None:
            return True if action_id in {"open", "into"} else super().act(action_id)
        match action_id:
            case "open" if self.focus == RUNS:
                self.focus = self._last_list = MATRIX
            case "into" if self.focus == MATRIX:
                self._move(run, 1)
            case "evals.left" if self.focus == MATRIX:
                self._move(run, -1)
            case "evals.mark":
                self.marked ^= {self.target}
            case "evals.compare":
                self._compare(run)
            case "evals.cancel":
                doing.cancel(self.host, run, self._chosen, self.target)
            case "evals.again":
                doing.again(self.host, run, self._chosen, self.target, self.start.open)
            case "evals.accept":
                doing.accept(self.host, run, self._chosen, self.target)
            case "evals.export":
                doing.export(self.host, run)
            case "evals.request":
                self._requests(run)
            case "evals.votes":
                pair = (self.base, self.target) if self.base not in (None, self.target) else None
                judge(self.host, run, self._full(run), pair)
            case "evals.frames":
                self.frames = not self.frames
                self.host.tell("raw frames are shown in a cell" if self.frames else "raw frames are hidden", ok=True)
            case "evals.chart":
                self._chart(run)
            case "evals.copy":
                self.host.copy(run.id, "the run's id")
            case _:
                return super().act(action_id)
        self.sync()
        return True

    def pop(self) -> bool:
        """Leave the detail, take marks away, no longer compare, leave the matrix."""
        if super().pop():
            return True
        if self.focus == MATRIX and self.marked:
            self.marked.clear()
        elif self.focus == MATRIX:
            self.base = None
            self.focus = self._last_list = RUNS
        elif self.baseline is not None:
            self.baseline = None
        else:
            return False
        self.sync()
        return True

    def _compare(self, run: EvalRun) -> None:
        if self._place == RUNS:
            self.baseline = None if self.baseline == run.id else run.id
            told = "baseline set: l on another run compares it" if self.baseline else "no longer compared"
            self.host.tell(told, ok=True)
        else:
            self.base = None if self.base == self.target else self.target

    def _chart(self, run: EvalRun) -> None:
        page = ComparisonPage(self._reads, run, self._base_run())
        self.host.open_page(page)
        self.host.spawn(page.load(self.host))

    def _requests(self, run: EvalRun) -> None:
        scenario = self._chosen
        if scenario is None:
            self.host.show_requests("origin:eval")
            return
        doing.show_requests(
            self.host, self._reads.cell(run, scenario.id, self.target, self._cell(run, scenario.id, self.target))
        )

    def _move(self, run: EvalRun, by: int) -> None:
        """Go to the next target; beyond the last stands the transcript, before the first the runs."""
        place = run.targets.index(self.target) + by
        if place >= len(run.targets):
            self._into_detail()
        elif place < 0:
            self.focus = self._last_list = RUNS
        else:
            self.target = run.targets[place]

    # -- a new run ---------------------------------------------------------------------------------------------------

    def begin(self, models: Sequence[str], node: str | None = None) -> None:
        """Open the form of a new run: of models given, else marked in any view, else marked columns, else as before."""
        run = self.runs.current
        targets: Sequence[str] = models or self.host.marked_models()
        scenarios: Sequence[str] = ()
        if run is not None and not models:
            columns = [target for target in run.targets if target in self.marked]
            targets = targets or columns or run.targets
            scenarios = [scenario.id for scenario in self.scenarios.marked]
        self.start.open(Wanted(targets, scenarios, node=node))

    def _opened(self) -> None:
        if self.focus < len(self.lists):
            self._last_list = self.focus
        self._into_detail()

    def _closed(self) -> None:
        if self.focused is self.detail:
            super().pop()
        self.sync()

    def _wait_for(self, run: str) -> None:
        """Select a run once it is there."""
        self._begun = run
        self.host.look_soon()

    # -- panes -------------------------------------------------------------------------------------------------------

    def _counted(self) -> str:
        count = len(self.runs.rows)
        old = "" if self.host.state.link in {Link.LIVE, Link.CONNECTING} else " · old"
        return f"{count} run{'' if count == 1 else 's'}{old}" if count else ""

    def _progress(self) -> str:
        run = self.runs.current
        if run is None:
            return ""
        text = f"{counted(len(run.scenarios), 'scenario')} × {counted(len(run.targets), 'target')}"
        if run.state == "running":
            text += f" · running, {done(run)} of {squares(run)} cells"
        columns = f"◆ {counted(len(self.marked), 'target')} · " if self.marked else ""
        compared = f"compared with {visible(self.base, 40)} · " if self.base is not None else ""
        return f"{columns}{compared}{text}"

    def _draw_matrix(self, rows: Sequence[EvalScenario], width: int) -> tuple[Line, list[Line]]:
        run = self.runs.current
        if run is None:
            return (), []
        base = run.targets.index(self.base) if self.base is not None else None
        column = run.targets.index(self.target)
        return matrix_lines(run, rows, width, column=column, base=base, marked=self.marked)

    @staticmethod
    def _cell(run: EvalRun, scenario: str, target: str) -> EvalCell | None:
        return next((cell for cell in run.cells if (cell.scenario, cell.target) == (scenario, target)), None)

    def _full(self, run: EvalRun) -> EvalCellDetail | None:
        """Return the chosen cell in full, None where none is chosen or it was not read yet."""
        scenario = self._chosen
        if scenario is None:
            return None
        return self._reads.cell(run, scenario.id, self.target, self._cell(run, scenario.id, self.target))

    def _detail(self, width: int) -> list[Line]:
        if self.start.form is not None:
            return self.start.lines(width)
        run = self.runs.current
        if run is None:
            return [(("no run selected", Role.DIM),)]
        if self._place == RUNS:
            base = self._base_run()
            if base is not None:
                return comparison_lines(self._reads.comparison(base, run), base.id, run.id, width)
            return run_detail(run, self._reads.report(run), width)
        scenario = self.scenarios.current
        if scenario is None:
            return [(("no cell selected", Role.DIM),)]
        if self.base is not None and self.base != self.target:
            one, other = ((name, self._cell(run, scenario.id, name)) for name in (self.base, self.target))
            return pair_lines(run, scenario, one, other, width)
        cell = self._cell(run, scenario.id, self.target)
        return cell_lines(
            cell,
            scenario,
            self.target,
            width,
            detail=self._reads.cell(run, scenario.id, self.target, cell),
            frames=self.frames,
            offered=offer_text(doing.offer(run, scenario, self.target)),
        )

    def _nothing(self) -> Sequence[Line]:
        state = self.host.state
        if state.evals is None and state.problem and state.link is not Link.DISCONNECTED:
            return wrap(f"The runs could not be read: {state.problem}. Tried again at the next look.", TEXT, indent=2)
        starts = "" if self.host.options.read_only else "n starts one here; Space marks models in 3 and 4 for it. "
        paragraphs = (
            "Evaluations ask models, pools and the router itself the same scenarios (tools, JSON, vision, long "
            "context, failover drills) and show here who passed what:",
            "✓ passed   ✗ failed   ~ in part, or no answer to grade   ⊘ not applicable   · to come",
            "with k of n repeats, time to first token and cost, the transcript of every cell, and two targets side "
            "by side with the words that differ.",
            f"There is no run yet. {starts}`routerconsole eval run --targets auto` starts one in another shell; it "
            "appears here as it goes; `routerconsole eval list` names the scenarios.",
            "Until then: 3 shows what each model can do and who says so, 5 then `w` where a request would go.",
        )
        return [line for text in paragraphs for line in (*wrap(text, TEXT, indent=2), ())]
