"""Evaluation runs of one engine: begun, resumed and stopped by command, kept cell by cell, read back as reports."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from routerconsole.control.eval_commands import CancelEval, RegradeEval, StartEval
from routerconsole.control.port import ControlError
from routerconsole.domain.capability import UnknownCapability
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.route import ModelKey
from routerconsole.evals.asking import ask
from routerconsole.evals.files import write_reports
from routerconsole.evals.measured import Measured, answered, measured
from routerconsole.evals.outside import NoOutside
from routerconsole.evals.probes import bound
from routerconsole.evals.records import cell_text, kept, read_cell, read_run, run_text
from routerconsole.evals.report import report_of
from routerconsole.evals.reuse import MAX_AGE_S, reusable, reused
from routerconsole.evals.runner import Lanes, Part, Runner, jobs_of
from routerconsole.evals.types import Cell, CellKey, Run, RunState, Target, TargetKind
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.evaluations import EvalStore

from .accepting import acceptances
from .eval_columns import Columns, unavailable
from .eval_plans import EvalPlans, Planned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.domain.secret import Secret
    from routerconsole.evals.outside import Outside
    from routerconsole.evals.scenario_files import Catalogue
    from routerconsole.evals.types import Call, Reply, Verdict

    from .service import Service

log = logging.getLogger(__name__)

IN_MEMORY: Final = 20
"""Runs whose cells stay in memory after their end."""


@dataclass(slots=True)
class Live:
    """A run of this process; its cells are here as well as on the disk, should that fail."""

    run: Run
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    planned: frozenset[CellKey] = frozenset()
    task: asyncio.Task[None] | None = None
    runner: Runner | None = None
    parts: list[Part] = field(default_factory=list)
    outside: dict[str, Outside] = field(default_factory=dict)

    def stopping(self, part: Part) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return before and after of stopping a part; raise ControlError where there is no such part, or no more."""
        meant = [key for key in self.planned if part.holds(key)]
        if not meant:
            raise ControlError("not_found", f"Run {self.run.id} has no such cells.", status=404)
        open_ = [key for key in meant if key not in self.cells and not any(each.holds(key) for each in self.parts)]
        if not open_:
            raise ControlError("conflict", "Nothing of it is left to stop.", status=409)
        return {"open": len(open_)}, {"open": 0, "skipped": len(open_)}

    def scrub(self, text: str) -> str:
        """Return a text without the keys of this run's addresses."""
        for opened in self.outside.values():
            text = opened.redact(text)
        return text


@dataclass(frozen=True, slots=True)
class Regraded:
    """A run graded again and its cells as they were."""

    planned: Planned
    was: tuple[Cell, ...]

    @property
    def before(self) -> dict[str, Any]:
        """How many cells ended how, before."""
        return _counts(self.was)

    @property
    def after(self) -> dict[str, Any]:
        """How many end how now, and how many changed."""
        verdicts = {cell.key: cell.verdict.status for cell in self.was}
        changed = sum(verdicts.get(cell.key) is not cell.verdict.status for cell in self.planned.cells)
        return {**_counts(self.planned.cells), "changed": changed}


class Evaluations:
    """The runs of one engine, on its loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = EvalStore(service.keeper.state.db)
        self._live: dict[str, Live] = {}
        self._columns = Columns(service)
        self._plans = EvalPlans(service, self._columns)
        self._lanes: Lanes | None = None
        self.regraded = 0
        """How many runs were graded again: what was made of their cells before is old."""

    # --- reading ---

    async def catalogue(self) -> Catalogue:
        """Return the built-in scenarios."""
        return await self._plans.catalogue()

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
        return measured(run, cells, self._nodes(run))

    def accepted(self, each: Measured) -> bool:
        """Whether a finding is in force already."""
        return self._service.discovery.measurements.accepted(each)

    def _nodes(self, run: Run) -> dict[str, str]:
        """Return the capability node of each scenario that has one, as the tree now stands."""
        found = {}
        for ref in run.scenarios:
            if ref.capability is not None:
                with suppress(UnknownCapability):  # an extension that was taken away
                    found[ref.id] = self._service.registry.tree.resolve(ref.capability)
        return found

    # --- commands ---

    async def prepare(self, command: StartEval, actor: str) -> Planned:
        """Return the run a command means, its scenarios and the cells there are already; raise ControlError."""
        if command.resume is None:
            return await self._plans.begun(command, actor)
        return await self._plans.resumed(command, await self.load(command.resume), actor)

    async def start(self, planned: Planned, command: StartEval, actor: str) -> None:
        """Begin the work on a run; raise ControlError where it cannot be written down."""
        run = planned.run
        cells = (*planned.cells, *(await self._reused(planned) if run.cache else ()))
        scrub = self._service.loaded.scrub
        try:
            await self._store.save_run(run.id, run.started_at, run_text(run))
            await self._store.save_cells(run.id, [(_place(cell), cell_text(cell, scrub)) for cell in cells])
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The run cannot be written down: {exc}.", status=503) from exc
        planned_keys = frozenset(job.key for job in jobs_of(run, planned.scenarios))
        live = self._live[run.id] = Live(run, {cell.key: cell for cell in cells}, planned_keys)
        live.task = self._service.tasks.start(self._work(live, planned, command, actor), name=f"run {run.id}")

    async def regrade(self, command: RegradeEval) -> Regraded:
        """Return what grading a run's answers again comes to, without keeping it; raise ControlError."""
        found = await self.load(command.run)
        planned = await self._plans.graded_again(command, found)
        return Regraded(planned, found[1] if found is not None else ())

    async def keep_grades(self, anew: Regraded) -> None:
        """Write down grades and reports; raise ControlError where that cannot be."""
        run, cells = anew.planned.run, anew.planned.cells
        try:
            texts = [(_place(cell), cell_text(cell, self._service.loaded.scrub)) for cell in cells]
            await self._store.save_cells(run.id, texts)
            self.regraded += 1
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The grades cannot be kept: {exc}.", status=503) from exc
        live = Live(run, {cell.key: cell for cell in cells})
        if run.id in self._live:
            self._live[run.id] = live
        await self._finish(live, run)

    async def stopped(self, command: CancelEval) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return before and after of stopping a run or a part of it; raise ControlError."""
        if command.run not in self._live and await self.load(command.run) is None:
            raise ControlError("not_found", f"Run {command.run[:60]!r} not found.", status=404)
        live = self.running(command.run)
        if _part(command) == Part():
            return {"state": live.run.state.value}, {"state": "cancelled"}
        return live.stopping(_part(command))

    async def cancel(self, command: CancelEval) -> None:
        """Stop a run and wait until it has, or a part of it, which ends by itself."""
        live, part = self.running(command.run), _part(command)
        if part != Part():
            live.parts.append(part)
            if live.runner is not None:
                live.runner.cancel(part)
        elif live.task is not None:
            live.task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({live.task})

    def running(self, run_id: str) -> Live:
        """Return a run that goes on; raise ControlError."""
        live = self._live.get(run_id)
        if live is None or live.run.state is not RunState.RUNNING:
            raise ControlError("conflict", f"Run {run_id[:60]!r} does not go on: it is over.", status=409)
        return live

    # --- inside ---

    async def _reused(self, planned: Planned) -> tuple[Cell, ...]:
        """Return the answers of earlier runs that may stand in for a call."""
        found: list[Cell] = []
        now, run = self._service.clock.wall(), planned.run
        there = {cell.key for cell in planned.cells}
        for scenario in planned.scenarios:
            wanted = range(bound(scenario, run.repeats))
            for target in run.targets:
                if not reusable(scenario, target):
                    continue
                with suppress(StorageUnavailable):  # then it is asked
                    texts = await self._store.earlier(scenario.id, target.id, now - 2 * MAX_AGE_S)
                    known = [(read_run(a), read_cell(b)) for a, b in texts]
                    pairs = [(a, b) for a, b in known if a is not None and b is not None and a.id != run.id]
                    cells = reused(scenario, target, pairs, now=now)
                    found += [cell for cell in cells if cell.key.repeat in wanted and cell.key not in there]
        return tuple(found)

    async def _work(self, live: Live, planned: Planned, command: StartEval, actor: str) -> None:
        service = self._service
        state = RunState.CANCELLED
        ids = [each.id for each in live.run.targets]
        service.bus.publish(Fact(EventType.EVAL_STARTED, {"run": live.run.id, "targets": ids}))
        try:
            refused = {each.id: said for each in live.run.targets if (said := self._refused(each)) is not None}
            refused |= await self._open(live, command.key)
            self._lanes = self._lanes or Lanes()
            own = live.run.connections
            live.runner = Runner(
                live.run,
                ask=lambda target, call, left: self._ask(live, target, call, left),
                keep=lambda cell: self._keep(live, cell),
                lanes=self._lanes if own is None else Lanes(own),
                wall=service.clock.wall,
                monotonic=service.clock.monotonic,
                local=self._columns.local if own is None else lambda _: None,
                known=self._columns.known,
                drill=service.drill,
                judge=service.rewards.judging.judged,
                stopping=lambda: service.chat.closing,
            )
            for part in live.parts:
                live.runner.cancel(part)
            if await live.runner.work(planned.scenarios, refused=refused, done=tuple(live.cells.values())):
                await self._measured(live, command, actor)
                state = RunState.FINISHED
        finally:
            with suppress(asyncio.CancelledError):
                await self._close(live)
                await self._finish(live, replace(live.run, state=state, completed_at=service.clock.wall()))

    def _refused(self, target: Target) -> Verdict | None:
        return None if target.kind is TargetKind.URL else self._columns.refused(target)

    async def _open(self, live: Live, key: Secret | None) -> dict[str, Verdict]:
        """Open the addresses among the columns; return what stands against those that cannot be asked."""
        refused: dict[str, Verdict] = {}
        columns = []
        for target in live.run.targets:
            found = target
            if target.url is not None and self._service.outside is None:
                refused[target.id] = unavailable("addresses cannot be asked here")
            elif target.url is not None and self._service.outside is not None:
                try:
                    opened = await self._service.outside(target.url, key if target.keyed else None)
                except NoOutside as exc:
                    refused[target.id] = unavailable(self._service.loaded.scrub(str(exc)))
                else:
                    live.outside[target.id] = opened
                    self._columns.stands_for(target, target.url if opened.local else None)
                    found = replace(target, name=opened.name, model=opened.model, window=opened.window)
            columns.append(found)
        live.run = replace(live.run, targets=tuple(columns))
        return refused

    async def _close(self, live: Live) -> None:
        """Close the addresses, and forget the oldest runs' cells."""
        for opened in live.outside.values():
            await opened.close()
        over = [name for name, each in self._live.items() if each.run.state is not RunState.RUNNING]
        for name in over[:-IN_MEMORY]:
            del self._live[name]

    async def _finish(self, live: Live, run: Run) -> None:
        """Write down how the run ended and its reports, then tell."""
        passed = False
        try:
            await self._store.save_run(run.id, run.started_at, run_text(run))
            report = report_of(run, live.cells.values())
            await asyncio.to_thread(write_reports, report, self.reports)
            await self._service.rewards.keep_passes(report)
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

    async def _measured(self, live: Live, command: StartEval, actor: str) -> None:
        """Tell what was measured, and take it over if so asked: what is beyond doubt; a refusal leaves the others."""
        measurements, found = self._service.discovery.measurements, await self.offered(live.run.id)
        for target in live.run.targets:
            if target.kind is TargetKind.MODEL:
                cells = [cell for cell in live.cells.values() if cell.key.target_id == target.id]
                key = ModelKey((target.provider or "").casefold(), target.model or "")
                measurements.see(key, answered(sorted(cells, key=lambda cell: cell.at)[-1:]))
        measurements.take(found)
        new = [each for each in found if command.apply and not measurements.accepted(each)]
        for accepting in acceptances(new):
            try:
                await self._service.operator.do(accepting, actor=actor, dry_run=False, if_version=None)
            except ControlError as exc:
                log.warning("%s of %s is not taken over: %s", accepting.node, accepting.model, exc.message)

    async def _ask(self, live: Live, target: Target, call: Call, left: float | None) -> Reply:
        opened = live.outside.get(target.id)
        return await ask(self._service.chat if opened is None else opened.chat, target, call, limit_s=left)

    async def _keep(self, live: Live, cell: Cell) -> None:
        """Write a cell down and tell of it; where it cannot be written it is kept in memory."""
        key, scrub = cell.key, self._service.loaded.scrub
        text, live.cells[key] = kept(cell, scrub if not live.outside else lambda said: scrub(live.scrub(said)))
        try:
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


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell.key.scenario_id, cell.key.target_id, cell.key.repeat


def _ended(run: Run) -> Run:
    """A run of another process that was not brought to its end."""
    return replace(run, state=RunState.CANCELLED) if run.state is RunState.RUNNING else run


def _counts(cells: Sequence[Cell]) -> dict[str, Any]:
    words = [cell.verdict.status.value for cell in cells]
    return {word: words.count(word) for word in sorted(set(words))}


def _part(command: CancelEval) -> Part:
    return Part(command.scenario, command.target, command.repeat)
