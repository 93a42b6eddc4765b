"""`/api/v1/evals`: runs begun, followed, stopped and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from routerconsole.control.commands import Receipt
from routerconsole.control.eval_accept import accepting
from routerconsole.control.eval_commands import CancelEval, RegradeEval, StartEval
from routerconsole.control.eval_views import EvalCellDetail, ReportForm
from routerconsole.control.wire import plain
from routerconsole.domain.errors import ErrorCode, RequestRejected

from .routes import Answer, AnyCall, AnyRoute, ApiRoute, Call, Plain, get, post
from .schemas import Body, JsonObject, NoQuery, Nothing, Query, shown

if TYPE_CHECKING:
    from routerconsole.control.port import Control

Name = Annotated[str, Field(min_length=1, max_length=300)]


class EvalBody(Body):
    """What to run: `scenarios` left empty means all there are; `resume` goes on with a run."""

    targets: Annotated[list[Name], Field(max_length=50)] = Field(default_factory=list)
    scenarios: Annotated[list[Name], Field(max_length=1000)] = Field(default_factory=list)
    repeats: Annotated[int, Field(ge=1, le=1000)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_time_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    connections: Annotated[int, Field(ge=1, le=64)] | None = None
    cache: bool = False
    apply: bool = False
    resume: Name | None = None


class PartBody(Body):
    """What to stop of a run: a row, a column, a square, a cell (`repeat` from 0); nothing named is all of it."""

    scenario: Name | None = None
    target: Name | None = None
    repeat: Annotated[int, Field(ge=0)] | None = None


class RunsQuery(Query):
    """With `matrix` the newest ten only, with every cell and what was said in it."""

    matrix: bool = False


class CompareQuery(Query):
    """Two runs: `b` against the baseline `a`."""

    a: str
    b: str


class CellQuery(Query):
    """A square of the matrix."""

    scenario: str
    target: str


class FormQuery(Query):
    """Which form; `xml` is JUnit's."""

    form: ReportForm = "md"


class AcceptBody(Body):
    """Which findings to accept: of one `provider/model`, of one `node` (a tree path); nothing named is all."""

    target: Name | None = None
    node: Name | None = None
    dry_run: bool = False


class EvalRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table; what is no `{run}` stands first."""
        return (
            ApiRoute("GET", "evals", "Evaluation runs, newest first", self.runs, RunsQuery, Nothing, JsonObject),
            post("evals", "Begin an evaluation run", self.start, EvalBody, JsonObject, status=202),
            get("evals/scenarios", "The scenarios there are", self.scenarios, JsonObject),
            ApiRoute("GET", "evals/compare", "Two runs compared", self.compare, CompareQuery, Nothing, JsonObject),
            get("evals/{run}", "One run's report, as far as it is", self.run, JsonObject),
            ApiRoute("GET", "evals/{run}/cell", "One cell in full", self.cell, CellQuery, Nothing, EvalCellDetail),
            ApiRoute(
                "GET", "evals/{run}/report", "A run's report as a file", self.report, FormQuery, Nothing, JsonObject
            ),
            post("evals/{run}/cancel", "Stop a run or a part of it", self.cancel, PartBody, Receipt, optional=True),
            post("evals/{run}/accept", "Accept what was measured", self.accept, AcceptBody, JsonObject, optional=True),
            post("evals/{run}/regrade", "Grade answers again", self.regrade, Nothing, Receipt, optional=True),
        )

    async def runs(self, call: Call[RunsQuery, Nothing]) -> Answer:
        """The runs there are."""
        if call.query.matrix:
            return Answer(plain(await self._control.eval_page()))
        return Answer(await self._control.evals())

    async def start(self, call: Call[NoQuery, EvalBody]) -> Answer:
        """A run begun; it goes on whether or not anybody asks for it."""
        told = call.body.model_dump()
        command = StartEval(**{**told, "targets": tuple(told["targets"]), "scenarios": tuple(told["scenarios"])})
        receipt = await self._control.do(command, actor=call.actor)
        return Answer({"run": receipt.after["run"]})

    async def scenarios(self, call: Plain) -> Answer:
        """The scenarios there are."""
        return Answer(await self._control.eval_scenarios())

    async def compare(self, call: Call[CompareQuery, Nothing]) -> Answer:
        """One run against another."""
        return Answer(await self._control.eval_compare(call.query.a, call.query.b))

    async def run(self, call: AnyCall) -> Answer:
        """One run."""
        found = await self._control.eval_run(call.path["run"])
        if found is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Run {shown(call.path['run'])} not found.")
        return Answer(found)

    async def cell(self, call: Call[CellQuery, Nothing]) -> Answer:
        """Every repeat of one cell, with what was asked and what came back."""
        run, query = call.path["run"], call.query
        found = await self._control.eval_cell(run, query.scenario, query.target)
        if found is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Run {shown(run)} not found.")
        return Answer(plain(found))

    async def report(self, call: Call[FormQuery, Nothing]) -> Answer:
        """The report as `text`."""
        text = await self._control.eval_report(call.path["run"], call.query.form)
        if text is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Run {shown(call.path['run'])} not found.")
        return Answer({"form": call.query.form, "text": text})

    async def cancel(self, call: Call[NoQuery, PartBody]) -> Answer:
        """A run stopped, or a part of it; what is finished is kept."""
        command = CancelEval(call.path["run"], **call.body.model_dump())
        return Answer(plain(await self._control.do(command, actor=call.actor)))

    async def accept(self, call: Call[NoQuery, AcceptBody]) -> Answer:
        """What a run measured beyond doubt, taken over: of one model or node, or all of it."""
        found = await self._control.eval_run(call.path["run"])
        if found is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Run {shown(call.path['run'])} not found.")
        commands = accepting(found, target=call.body.target, capability=call.body.node)
        receipts = [
            await self._control.do(command, actor=call.actor, dry_run=call.body.dry_run) for command in commands
        ]
        return Answer({"accepted": [plain(receipt) for receipt in receipts]})

    async def regrade(self, call: AnyCall) -> Answer:
        """A run's answers graded again, without a call."""
        return Answer(plain(await self._control.do(RegradeEval(call.path["run"]), actor=call.actor)))
