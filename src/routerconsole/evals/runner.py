"""Runs the cells of a run: interleaved in seeded order, a few at a time, within caps; who answers is handed in.

Nothing is remembered here: each finished cell goes to `keep` before the next one starts on the same lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from .cells import cell_of, unasked
from .fill import draw
from .plan import next_call, obstacle
from .report import LOOKUPS
from .scenario import Scenario
from .types import (
    RERUN,
    Call,
    Caps,
    Cell,
    CellKey,
    Reply,
    Run,
    Sample,
    Status,
    Target,
    Verdict,
    errored,
    skipped,
)

log = logging.getLogger(__name__)

LANES: Final = 4
"""Cells asked at the same time by all runs together (evals.md §4)."""
CAP: Final = "cap_"
"""How the reason of a cell begins that was not run because the run had spent what it may."""
LOOKUP, AVAILABILITY = LOOKUPS

Ask = Callable[[Target, Call, float | None], Awaitable[Reply]]
"""Make one call on a target; the last argument is the seconds that are left of the run."""
Keep = Callable[[Cell], Awaitable[None]]
Drill = Callable[[Scenario, CellKey], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Job:
    """One cell to be run."""

    scenario: Scenario
    target: Target
    key: CellKey


class Lanes:
    """How much runs at once: LANES cells over all, and one per provider named as local."""

    def __init__(self, lanes: int = LANES) -> None:
        self._free = lanes
        self._busy: set[str] = set()
        self._changed = asyncio.Condition()

    async def take(self, jobs: list[Job], local: Callable[[Target], str | None]) -> tuple[Job, str | None] | None:
        """Return the first job that may run now and the local provider it holds; None once there is none left."""
        async with self._changed:
            while jobs:
                for index, job in enumerate(jobs):
                    name = local(job.target)
                    if self._free and name not in self._busy:
                        del jobs[index]
                        self._free -= 1
                        if name is not None:
                            self._busy.add(name)
                        return job, name
                await self._changed.wait()
        return None

    async def give_back(self, name: str | None) -> None:
        """Let the next one run."""
        async with self._changed:
            self._free += 1
            self._busy.discard(name or "")
            self._changed.notify_all()


def jobs_of(run: Run, scenarios: Sequence[Scenario], done: Iterable[CellKey] = ()) -> list[Job]:
    """Return what is left to do: per scenario and repeat every column once, in an order the seed decides."""
    finished = set(done)
    rng = Random(f"{run.seed}:order")  # noqa: S311 - an order, not a secret
    jobs: list[Job] = []
    for scenario in scenarios:
        for repeat in range(1 if scenario.is_drill else run.repeats or scenario.repeats):
            columns = list(run.targets)
            rng.shuffle(columns)
            for target in columns:
                key = CellKey(scenario.id, target.id, repeat)
                if key not in finished:
                    jobs.append(Job(scenario, target, key))
    return jobs


def finished_cells(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells a resumed run does not ask again."""
    return tuple(
        cell
        for cell in cells
        if cell.verdict.status not in RERUN
        and cell.key.scenario_id not in LOOKUPS
        and not (cell.verdict.status is Status.SKIPPED and cell.verdict.code.startswith(CAP))
    )


class Runner:
    """One run from start or resumption to its end; `wall` is UTC epoch seconds, `monotonic` seconds."""

    def __init__(
        self,
        run: Run,
        *,
        ask: Ask,
        keep: Keep,
        lanes: Lanes,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        local: Callable[[Target], str | None] = lambda _: None,
        known: Callable[[Target, Scenario], Verdict | None] = lambda _t, _s: None,
        drill: Drill | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run, self._ask, self._keep, self._lanes = run, ask, keep, lanes
        self._wall, self._monotonic = wall, monotonic
        self._local, self._known, self._drill, self._stopping = local, known, drill, stopping
        self._spent = _Spent(run.caps)
        self._began = monotonic()

    async def work(
        self,
        scenarios: Sequence[Scenario],
        *,
        refused: Mapping[str, Verdict] | None = None,
        done: Iterable[Cell] = (),
    ) -> bool:
        """Run what is left; return whether it came to its end. `refused` are targets nobody knows or can use."""
        kept, bad = tuple(done), refused or {}
        for cell in kept:
            self._spent.add(cell)
        for target in self._run.targets:
            if target.id in bad:
                verdict = bad[target.id]
                key = CellKey(verdict.code, target.id, 0)
                await self._keep(Cell(key=key, verdict=verdict, scenario_hash="", at=self._wall()))
        jobs = jobs_of(self._run, scenarios, [cell.key for cell in kept])
        jobs = [job for job in jobs if job.target.id not in bad]
        await asyncio.gather(*(self._lane(jobs) for _ in range(LANES)))
        return not self._stopping()

    async def _lane(self, jobs: list[Job]) -> None:
        while not self._stopping():
            taken = await self._lanes.take(jobs, self._local)
            if taken is None:
                return
            job, name = taken
            try:
                cell = await self._cell(job)
                if not self._stopping():  # what a closing router answered is no result
                    self._spent.add(cell)
                    await self._keep(cell)
            finally:
                await asyncio.shield(self._lanes.give_back(name))

    async def _cell(self, job: Job) -> Cell:
        at = self._wall()
        verdict = self._spent.over(job.target, self._left()) or self._not_asked(job)
        if verdict is not None:
            return unasked(job.scenario, job.key, verdict, at=at)
        try:
            sample = await (self._drilled(job) if job.scenario.is_drill else self._sample(job))
            cell = cell_of(job.scenario, job.key, sample, at=at)
        except Exception as exc:  # a bug costs its cell, not the run
            log.exception("cell %s failed", job.key)
            return unasked(job.scenario, job.key, errored("internal_error", type(exc).__name__), at=at)
        return cell

    def _not_asked(self, job: Job) -> Verdict | None:
        if job.scenario.is_drill:
            return None if self._drill is not None else skipped("no_simulator", "drills need the simulator")
        return obstacle(job.scenario, window=job.target.window) or self._known(job.target, job.scenario)

    async def _drilled(self, job: Job) -> Sample:
        if self._drill is None:
            raise RuntimeError("a drill without a simulator was not skipped")
        return await self._drill(job.scenario, job.key)

    async def _sample(self, job: Job) -> Sample:
        """Ask until there is nothing left to ask; what is drawn is the same on every column of a repeat."""
        scenario, key = job.scenario, job.key
        rng = Random(f"{self._run.seed}:{key.scenario_id}:{key.repeat}")  # noqa: S311 - nonces of a test
        variables = draw(scenario.said.vars, rng)
        replies: list[Reply] = []
        while (call := next_call(scenario, variables, replies, window=job.target.window)) is not None:
            left = self._left()
            if left is not None and left <= 0:
                break
            replies.append(await self._ask(job.target, call, left))
        return Sample(scenario.id, variables, tuple(replies), window=job.target.window)

    def _left(self) -> float | None:
        wall = self._run.caps.wall_s
        return None if wall is None else wall - (self._monotonic() - self._began)


class _Spent:
    """What a run has used of its caps."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._tokens, self._cost = 0, 0.0
        self._priceless: set[str] = set()

    def add(self, cell: Cell) -> None:
        """Count a cell; a column whose cost is not known cannot be kept below a limit of money."""
        self._tokens += (cell.input_tokens or 0) + (cell.output_tokens or 0)
        self._cost += cell.cost_usd or 0.0
        if cell.sample is not None and cell.cost_usd is None and any(r.error is None for r in cell.sample.replies):
            self._priceless.add(cell.key.target_id)

    def over(self, target: Target, left: float | None) -> Verdict | None:
        """Return why nothing more is asked, or None."""
        caps = self._caps
        if left is not None and left <= 0:
            return skipped(f"{CAP}time", f"the run's {caps.wall_s:g} s are over")
        if caps.tokens is not None and self._tokens >= caps.tokens:
            return skipped(f"{CAP}tokens", f"{self._tokens} of {caps.tokens} tokens are spent")
        if caps.cost_usd is not None and self._cost >= caps.cost_usd:
            return skipped(f"{CAP}cost", f"{self._cost:g} of {caps.cost_usd:g} USD are spent")
        if caps.cost_usd is not None and target.id in self._priceless:
            return skipped(f"{CAP}cost_unknown", "the price of this target is not known, so no limit of money holds")
        return None


def regraded(cells: Iterable[Cell], scenarios: Iterable[Scenario]) -> tuple[Cell, ...]:
    """Grade stored transcripts again without a call; a cell without one, or of a scenario gone, stays as it is."""
    known = {scenario.id: scenario for scenario in scenarios}
    found: list[Cell] = []
    for cell in cells:
        scenario = known.get(cell.key.scenario_id)
        if scenario is None or cell.sample is None:
            found.append(cell)
            continue
        anew = cell_of(scenario, cell.key, cell.sample, at=cell.at)
        found.append(replace(anew, scenario_hash=cell.scenario_hash))
    return tuple(found)
