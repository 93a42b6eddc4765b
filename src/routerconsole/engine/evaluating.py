"""Evaluation runs of one engine: begun, resumed and stopped by command, kept cell by cell, read back as reports."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routerconsole.config.problems import ConfigError
from routerconsole.control.eval_commands import CancelEval, StartEval
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import AcceptMeasured
from routerconsole.domain.capability import NODE_OF, Source, Tri
from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError, RoutingFailed
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.domain.route import ModelKey
from routerconsole.evals.asking import ask
from routerconsole.evals.files import write_reports
from routerconsole.evals.measured import Finding, Measured, measured
from routerconsole.evals.records import cell_text, read_cell, read_run, run_text
from routerconsole.evals.report import report_of
from routerconsole.evals.runner import AVAILABILITY, LOOKUP, Lanes, Runner, finished_cells, regraded
from routerconsole.evals.scenario_files import Catalogue, UnknownScenarios, load_catalogue
from routerconsole.evals.types import (
    Caps,
    Cell,
    Reply,
    Run,
    RunState,
    ScenarioRef,
    Target,
    TargetKind,
    Verdict,
    failed,
    parse_target,
    unsupported,
)
from routerconsole.routing.state import RefusalKind
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.evaluations import EvalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.evals.scenario import Scenario
    from routerconsole.evals.types import Call
    from routerconsole.routing.plan import Plan

    from .service import Service

log = logging.getLogger(__name__)

MAX_TARGETS = 50
MAX_REPEATS = 1000
_WORDS = {node: str(word) for word, node in NODE_OF.items()}
_GONE = frozenset({ErrorCode.NO_ROUTABLE_CANDIDATE, ErrorCode.OVERLOADED})


@dataclass(slots=True)
class Live:
    """A run of this process; its cells are here as well as on the disk, should that fail."""

    run: Run
    nodes: dict[str, str]
    cells: dict[Any, Cell] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Evaluations:
    """The runs of one engine, on its loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = EvalStore(service.keeper.state.db)
        self._live: dict[str, Live] = {}
        self._lanes: Lanes | None = None
        self._locals: dict[str, str] = {}
        self._catalogues: dict[str | None, Catalogue] = {}

    # --- reading ---

    async def catalogue(self, directory: str | None = None) -> Catalogue:
        """Return every scenario there is; raise ControlError with all that is wrong with a directory's."""
        if directory is None and None in self._catalogues:
            return self._catalogues[None]
        more = () if directory is None else (Path(directory),)
        try:
            found = await asyncio.to_thread(load_catalogue, more, tree=self._service.registry.tree)
        except ConfigError as exc:
            raise ControlError("invalid_request", "\n".join(str(item) for item in exc.problems)) from exc
        if directory is None:
            self._catalogues[None] = found
        return found

    async def load(self, run_id: str) -> tuple[Run, tuple[Cell, ...]] | None:
        """Return a run and its cells, None where there is none; one that nobody works on any more is cancelled."""
        live = self._live.get(run_id)
        if live is not None:
            return live.run, tuple(live.cells.values())
        try:
            text = await self._store.run(run_id)
            run = None if text is None else read_run(text)
            if run is None:
                return None
            texts = await self._store.cells(run_id)
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The runs cannot be read: {exc}.", status=503) from exc
        cells = await asyncio.to_thread(lambda: tuple(cell for each in texts if (cell := read_cell(each)) is not None))
        return _ended(run), cells

    async def runs(self, limit: int) -> list[Run]:
        """Return the newest runs first, those of this process as they are now."""
        try:
            texts = await self._store.runs(limit)
        except StorageUnavailable:
            texts = []
        kept = {run.id: _ended(run) for text in texts if (run := read_run(text)) is not None}
        kept |= {name: live.run for name, live in self._live.items()}
        return sorted(kept.values(), key=lambda run: (run.started_at, run.id), reverse=True)[:limit]

    async def offered(self, run_id: str) -> tuple[Measured, ...]:
        """Return what a run offers as measured."""
        found = await self.load(run_id)
        if found is None:
            return ()
        run, cells = found
        known = {scenario.id: scenario.node for scenario in (await self.catalogue()).scenarios}
        nodes = {ref.id: node for ref in run.scenarios if (node := known.get(ref.id)) is not None}
        if run_id in self._live:
            nodes |= self._live[run_id].nodes
        return measured(run, cells, nodes)

    # --- commands ---

    async def prepare(self, command: StartEval, actor: str) -> tuple[Run, tuple[Scenario, ...], tuple[Cell, ...]]:
        """Return the run a command means, its scenarios and the cells there are already; raise ControlError."""
        catalogue = await self.catalogue(command.scenarios_dir)
        if command.resume is not None:
            return await self._resumed(command, catalogue)
        targets = self._targets(command.targets)
        try:
            scenarios = catalogue.select(command.scenarios or None)
        except UnknownScenarios as exc:
            raise ControlError("invalid_request", f"{exc}.") from exc
        if command.repeats is not None and not 1 <= command.repeats <= MAX_REPEATS:
            raise ControlError("invalid_request", f"`repeats` must be 1 to {MAX_REPEATS}.")
        run = Run(
            id=f"meval_{secrets.token_hex(6)}",
            started_at=self._service.clock.wall(),
            seed=secrets.randbelow(2**31) if command.seed is None else command.seed,
            repeats=command.repeats,
            scenarios=tuple(_ref(each) for each in scenarios),
            targets=targets,
            caps=_caps(command),
            actor=actor,
        )
        return run, scenarios, ()

    async def start(
        self, run: Run, scenarios: Sequence[Scenario], cells: Sequence[Cell], *, apply: bool, actor: str
    ) -> None:
        """Begin the work on a run; raise ControlError where it cannot be written down."""
        scrub = self._service.loaded.scrub
        try:
            await self._store.save_run(run.id, run.started_at, run_text(run))
            for cell in cells:  # graded anew
                await self._store.save_cell(run.id, _place(cell), cell_text(cell, scrub))
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The run cannot be written down: {exc}.", status=503) from exc
        nodes = {each.id: each.node for each in scenarios if each.node is not None}
        live = Live(run, nodes, {cell.key: cell for cell in cells})
        self._live[run.id] = live
        live.task = self._service.tasks.start(
            self._work(live, scenarios, apply=apply, actor=actor), name=f"run {run.id}"
        )

    async def cancel(self, command: CancelEval) -> None:
        """Stop a run and wait until it has."""
        live = self.running(command.run)
        if live.task is not None:
            live.task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({live.task})

    def running(self, run_id: str) -> Live:
        """Return a run that goes on; raise ControlError."""
        live = self._live.get(run_id)
        if live is None or live.run.state is not RunState.RUNNING:
            raise ControlError("not_found", f"Run {run_id[:60]!r} does not go on.", status=404)
        return live

    # --- inside ---

    def _targets(self, texts: Sequence[str]) -> tuple[Target, ...]:
        if not texts:
            raise ControlError("invalid_request", "`targets` names nobody (e.g. provider/model, pool:tools, auto).")
        if len(texts) > MAX_TARGETS:
            raise ControlError("invalid_request", f"`targets` are {MAX_TARGETS} at most.")
        found: list[Target] = []
        for text in dict.fromkeys(texts):
            try:
                target = parse_target(text)
            except ValueError as exc:
                raise ControlError("invalid_request", f"{exc}.") from exc
            if target.kind is TargetKind.URL:
                raise ControlError("invalid_request", f"{text[:80]!r}: name it as a provider; addresses are not asked.")
            found.append(replace(target, window=self._window(target)))
        return tuple(found)

    def _window(self, target: Target) -> int | None:
        if target.kind is not TargetKind.MODEL:
            return None
        model = self._service.registry.models.get(ModelKey((target.provider or "").casefold(), target.model or ""))
        return None if model is None else model.context_window

    async def _resumed(
        self, command: StartEval, catalogue: Catalogue
    ) -> tuple[Run, tuple[Scenario, ...], tuple[Cell, ...]]:
        run_id = command.resume or ""
        found = await self.load(run_id)
        if found is None:
            raise ControlError("not_found", f"Run {run_id[:60]!r} not found.", status=404)
        run, cells = found
        if run.state is RunState.RUNNING:
            raise ControlError("conflict", f"Run {run_id} goes on already.", status=409)
        try:
            scenarios = catalogue.select([ref.id for ref in run.scenarios])
        except UnknownScenarios as exc:
            raise ControlError("conflict", f"Run {run_id} cannot go on: {exc}.", status=409) from exc
        changed = [ref.id for ref, now in zip(run.scenarios, scenarios, strict=True) if ref.hash != now.hash]
        if changed:
            said = ", ".join(changed)
            raise ControlError("conflict", f"These scenarios have changed since: {said}; start a new run.", status=409)
        caps, given = run.caps, _caps(command)
        caps = Caps(given.wall_s or caps.wall_s, given.tokens or caps.tokens, given.cost_usd or caps.cost_usd)
        return (
            replace(run, state=RunState.RUNNING, completed_at=None, caps=caps),
            scenarios,
            regraded(finished_cells(cells), scenarios),
        )

    async def _work(self, live: Live, scenarios: Sequence[Scenario], *, apply: bool, actor: str) -> None:
        service, run = self._service, live.run
        self._lanes = self._lanes or Lanes()
        runner = Runner(
            run,
            ask=self._ask,
            keep=lambda cell: self._keep(live, cell),
            lanes=self._lanes,
            wall=service.clock.wall,
            monotonic=service.clock.monotonic,
            local=self._local,
            known=self._known,
            drill=service.drill,
            stopping=lambda: service.chat.closing,
        )
        service.bus.publish(Fact(EventType.EVAL_STARTED, {"run": run.id, "targets": [each.id for each in run.targets]}))
        state = RunState.CANCELLED
        try:
            refused = {target.id: verdict for target in run.targets if (verdict := self._refused(target)) is not None}
            if await runner.work(scenarios, refused=refused, done=tuple(live.cells.values())):
                state = RunState.FINISHED
        finally:
            with suppress(asyncio.CancelledError):
                await self._finish(live, replace(run, state=state, completed_at=service.clock.wall()))
        if apply and state is RunState.FINISHED:
            await self._apply(run.id, actor)

    async def _finish(self, live: Live, run: Run) -> None:
        """Write down how the run ended and its reports, then tell."""
        passed = False
        try:
            await self._store.save_run(run.id, run.started_at, run_text(run))
            report = report_of(run, live.cells.values())
            await asyncio.to_thread(write_reports, report, self.reports)
            passed = report.all_passed
        except (StorageUnavailable, OSError) as exc:
            log.warning("the end of run %s is not all on the disk: %s", run.id, exc)
        finally:
            live.run = run
        data = {"run": run.id, "state": run.state.value, "cells": len(live.cells), "all_passed": passed}
        self._service.bus.publish(Fact(EventType.EVAL_FINISHED, data))

    @property
    def reports(self) -> Path:
        """Where reports are written."""
        return self._service.keeper.state.db.path.parent / "reports"

    async def _apply(self, run_id: str, actor: str) -> None:
        """Take over what was measured beyond doubt; a refusal of one leaves the others."""
        for each in await self.offered(run_id):
            if each.finding is Finding.FLAKY:
                continue
            value = Tri.YES if each.finding is Finding.VERIFIED else Tri.NO
            command = AcceptMeasured(each.provider, each.model, each.node, value.value, each.evidence)  # type: ignore[arg-type]  # yes or no
            try:
                await self._service.operator.do(command, actor=actor, dry_run=False, if_version=None)
            except ControlError as exc:
                log.warning("%s of %s/%s is not taken over: %s", each.node, each.provider, each.model, exc.message)

    async def _ask(self, target: Target, call: Call, left: float | None) -> Reply:
        return await ask(self._service.chat, target, call, limit_s=left)

    async def _keep(self, live: Live, cell: Cell) -> None:
        """Write a cell down and tell of it; where it cannot be written it is kept in memory."""
        live.cells[cell.key] = cell
        key = cell.key
        try:
            text = cell_text(cell, self._service.loaded.scrub)
            await self._store.save_cell(live.run.id, _place(cell), text)
        except StorageUnavailable as exc:
            log.warning("cell %s of run %s is only in memory: %s", key, live.run.id, exc)
        data = {
            "run": live.run.id,
            "scenario": key.scenario_id,
            "target": key.target_id,
            "repeat": key.repeat,
            "verdict": cell.verdict.status.value,
            "code": cell.verdict.code,
        }
        self._service.bus.publish(Fact(EventType.EVAL_CELL_FINISHED, data))

    def _local(self, target: Target) -> str | None:
        """Return the local server a column may end up at: it gets one of our questions at a time."""
        return self._locals.get(target.id)

    def _shut(self, decision: Plan) -> RoutingFailed | None:
        """Return why no route of a decision may be asked, None where one may or is only busy."""
        board, now = self._service.board, self._service.clock.monotonic()
        refusals = [board.refusal(each.route, now) for each in decision.ranked]
        if any(each is None or each.kind is RefusalKind.BULKHEAD for each in refusals):
            return None
        said = "; ".join(dict.fromkeys(each.text for each in refusals if each is not None))
        return RoutingFailed(ErrorCode.NO_ROUTABLE_CANDIDATE, f"No route can be asked: {said}.")

    def _known(self, target: Target, scenario: Scenario) -> Verdict | None:
        """Say of a capability that is known to be missing; what a run measured may be measured anew."""
        if scenario.node is None or target.kind is not TargetKind.MODEL:
            return None
        model = self._service.registry.models.get(ModelKey((target.provider or "").casefold(), target.model or ""))
        standing = None if model is None else model.standing(scenario.node)
        if standing is None or not standing.hard_no or standing.source is Source.MEASURED:
            return None
        return unsupported(_WORDS.get(scenario.node, scenario.node), f"{standing.source} says no")

    def _refused(self, target: Target) -> Verdict | None:
        """Return the one failed row of a target nobody knows or that cannot be asked now."""
        chat = self._service.chat
        body = {"model": target.name, "messages": [{"role": "user", "content": "READY?"}]}
        request = ChatRequest(
            id="eval", endpoint=Endpoint.CHAT, body=body, size=100, model=target.name, stream=False, origin=Origin.EVAL
        )
        try:
            decision = chat.decide(request, now=self._service.clock.monotonic())
            providers = self._service.registry.providers
            names = (each.route.provider for each in decision.candidates)
            local = next((name for name in names if name in providers and providers[name].local), None)
            if local is not None:
                self._locals[target.id] = local
            error: RouterError | None = decision.error or self._shut(decision)
        except RequestRejected as exc:
            return failed(LOOKUP, expected="a target the registry has", actual=exc.message, detail=exc.message)
        except RouterError as exc:
            error = exc
        if error is not None and error.code in _GONE:
            return failed(
                AVAILABILITY, expected="a target that can be asked", actual=error.message, detail=error.message
            )
        return None


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell.key.scenario_id, cell.key.target_id, cell.key.repeat


def _ended(run: Run) -> Run:
    """A run of another process that was not brought to its end."""
    return replace(run, state=RunState.CANCELLED) if run.state is RunState.RUNNING else run


def _ref(scenario: Scenario) -> ScenarioRef:
    return ScenarioRef(scenario.id, scenario.hash, scenario.title, scenario.said.capability, scenario.kind)


def _caps(command: StartEval) -> Caps:
    given = {"max_cost_usd": command.max_cost_usd, "max_tokens": command.max_tokens, "timeout_s": command.timeout_s}
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise ControlError("invalid_request", f"`{name}` must be above 0.")
    return Caps(command.timeout_s, command.max_tokens, command.max_cost_usd)
