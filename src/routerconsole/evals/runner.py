"""Runs the cells of a run: interleaved in seeded order, a few at a time, within caps; who answers is handed in.

Nothing is remembered here: each finished cell goes to `keep` before the next one starts on the same lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from random import Random
from typing import Final

from routerconsole.domain.errors import ErrorCode

from .cells import cell_of, unasked
from .fill import draw
from .plan import next_call, obstacle
from .probes import Turn, bound, turn
from .report import LOOKUPS
from .scenario import Scenario
from .spending import CAP, Spent, out_of_time
from .types import (
    RERUN,
    Call,
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

WAIT_S: Final = 5.0
"""The longest waiting period of a route that a cell waits for; behind a longer one it is not asked, and says so."""
_WAITS: Final = 2
_SHUT: Final = frozenset({ErrorCode.NO_ROUTABLE_CANDIDATE, ErrorCode.OVERLOADED})
_SLACK_S: Final = 0.05
"""A call that ends so shortly before the run's time is over was ended by it."""
LANES: Final = 4
"""Cells asked at the same time by all runs together (evals.md §4)."""
CANCELLED: Final = "cancelled"
"""The reason of a cell that was not run because its row, column or square was stopped."""
LOOKUP, AVAILABILITY = LOOKUPS

Ask = Callable[[Target, Call, float | None], Awaitable[Reply]]
"""Make one call on a target; the last argument is the seconds that are left of the run."""
Keep = Callable[[Cell], Awaitable[None]]
Drill = Callable[[Scenario, CellKey], Awaitable[Sample]]
Judge = Callable[[Scenario, Sample], Awaitable[Sample]]
"""Return a sample with the votes its scenario asks for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One cell to be run."""

    scenario: Scenario
    target: Target
    key: CellKey


@dataclass(frozen=True, slots=True)
class Part:
    """Cells of a run: a row, a column, a square or one cell; what is None is any."""

    scenario: str | None = None
    target: str | None = None
    repeat: int | None = None

    def holds(self, key: CellKey) -> bool:
        """Whether a cell is one of them."""
        mine = (self.scenario, self.target, self.repeat)
        return all(said is None or said == its for said, its in zip(mine, _place(key), strict=True))


class Lanes:
    """How much runs at once: LANES cells over all, and one per provider named as local."""

    def __init__(self, lanes: int = LANES) -> None:
        self.count = self._free = lanes
        self._busy: set[str] = set()
        self._changed = asyncio.Condition()

    async def take(
        self,
        jobs: list[Job],
        local: Callable[[Target], str | None],
        turn_of: Callable[[Job], Turn] = lambda _: Turn.NOW,
    ) -> tuple[Job, str | None] | None:
        """Return the first job that may run now and the local provider it holds; None once there is none left.

        Jobs whose turn never comes are taken off the list.
        """
        async with self._changed:
            while jobs:
                found = self._first(jobs, local, turn_of) if self._free else None
                if found is not None:
                    return found
                if jobs:
                    await self._changed.wait()
            self._changed.notify_all()
        return None

    def _first(
        self, jobs: list[Job], local: Callable[[Target], str | None], turn_of: Callable[[Job], Turn]
    ) -> tuple[Job, str | None] | None:
        index = 0
        while index < len(jobs):
            when, name = turn_of(jobs[index]), local(jobs[index].target)
            if when is Turn.NEVER:
                del jobs[index]
            elif when is Turn.LATER or name in self._busy:
                index += 1
            else:
                self._free -= 1
                if name is not None:
                    self._busy.add(name)
                return jobs.pop(index), name
        return None

    async def give_back(self, name: str | None) -> None:
        """Let the next one run."""
        async with self._changed:
            self._free += 1
            self._busy.discard(name or "")
            self._changed.notify_all()


def _place(key: CellKey) -> tuple[str, str, int]:
    return key.scenario_id, key.target_id, key.repeat


def jobs_of(run: Run, scenarios: Sequence[Scenario], done: Iterable[CellKey] = ()) -> list[Job]:
    """Return what is left to do: per scenario and repeat every column once, in an order the seed decides."""
    finished = set(done)
    rng = Random(f"{run.seed}:order")  # noqa: S311 - an order, not a secret
    jobs: list[Job] = []
    for scenario in scenarios:
        for repeat in range(bound(scenario, run.repeats)):
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
        and not (cell.verdict.status is Status.SKIPPED and cell.verdict.code.startswith((CAP, CANCELLED)))
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
        judge: Judge | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run, self._ask, self._keep, self._lanes = run, ask, keep, lanes
        self._wall, self._monotonic = wall, monotonic
        self._local, self._known, self._drill, self._stopping = local, known, drill, stopping
        self._judge = judge
        self._spent = Spent(run.caps)
        self._began = monotonic()
        self._cancelled: list[Part] = []
        self._going: dict[CellKey, asyncio.Timeout] = {}
        self._ended: dict[tuple[str, str], dict[int, bool | None]] = {}

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
            self._count(cell)
        for target in self._run.targets:
            if target.id in bad:
                verdict = bad[target.id]
                key = CellKey(verdict.code, target.id, 0)
                await self._keep(Cell(key=key, verdict=verdict, scenario_hash="", at=self._wall()))
        jobs = jobs_of(self._run, scenarios, [cell.key for cell in kept])
        jobs = [job for job in jobs if job.target.id not in bad]
        await asyncio.gather(*(self._lane(jobs) for _ in range(self._lanes.count)))
        return not self._stopping()

    async def _lane(self, jobs: list[Job]) -> None:
        while not self._stopping():
            taken = await self._lanes.take(jobs, self._local, self._turn)
            if taken is None:
                return
            job, name = taken
            try:
                cell = await self._stoppable(job)
                if not self._stopping():  # what a closing router answered is no result
                    self._count(cell)
                    await self._keep(cell)
            finally:
                await asyncio.shield(self._lanes.give_back(name))

    def _count(self, cell: Cell) -> None:
        """Take a finished cell into account: what it spent, and what it says to the probes after it."""
        self._spent.add(cell)
        key = cell.key
        self._ended.setdefault((key.scenario_id, key.target_id), {})[key.repeat] = cell.capable

    def _turn(self, job: Job) -> Turn:
        ended = self._ended.get((job.scenario.id, job.target.id), {})
        before = [ended[repeat] for repeat in takewhile(ended.__contains__, range(job.key.repeat))]
        return turn(job.scenario, job.key.repeat, before)

    def cancel(self, part: Part) -> None:
        """Stop these cells: those that are asked now, and those whose turn has not come; what has ended stays."""
        self._cancelled.append(part)
        now = asyncio.get_running_loop().time()
        for key, scope in self._going.items():
            if part.holds(key):
                scope.reschedule(now)

    async def _stoppable(self, job: Job) -> Cell:
        """Run a cell in a scope that `cancel` can end."""
        at, verdict = self._wall(), skipped(CANCELLED, "stopped before it ended")
        if any(part.holds(job.key) for part in self._cancelled):
            return unasked(job.scenario, job.key, verdict, at=at)
        scope = self._going[job.key] = asyncio.timeout(None)
        try:
            async with scope:
                return await self._cell(job)
        except TimeoutError:
            return unasked(job.scenario, job.key, verdict, at=at)
        finally:
            del self._going[job.key]

    async def _cell(self, job: Job) -> Cell:
        at = self._wall()
        verdict = self._spent.over(job.target, self._left()) or self._not_asked(job)
        if verdict is not None:
            return unasked(job.scenario, job.key, verdict, at=at)
        try:
            sample = await (self._drilled(job) if job.scenario.is_drill else self._sample(job))
            if sample is None:
                return unasked(job.scenario, job.key, out_of_time(self._run.caps), at=at)
            if job.scenario.judged and self._judge is not None:
                sample = await self._judge(job.scenario, sample)
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

    async def _sample(self, job: Job) -> Sample | None:
        """Ask until there is nothing left to ask, or None where the run's time ended before that.

        What is drawn is the same on every column of a repeat.
        """
        scenario, key = job.scenario, job.key
        rng = Random(f"{self._run.seed}:{key.scenario_id}:{key.repeat}")  # noqa: S311 - nonces of a test
        variables = draw(scenario.said.vars, rng)
        replies: list[Reply] = []
        while (call := next_call(scenario, variables, replies, window=job.target.window)) is not None:
            left = self._left()
            if left is not None and left <= 0:
                return None
            said = call if self._run.timeout_s is None else replace(call, timeout_s=self._run.timeout_s)
            reply = await self._answer(job.target, said)
            if reply.error is not None and left is not None and left <= said.timeout_s and self._over():
                return None  # cut by the run's end, which says nothing of the model
            replies.append(reply)
        return Sample(scenario.id, variables, tuple(replies), window=job.target.window)

    async def _answer(self, target: Target, call: Call) -> Reply:
        """Ask, and where only a short waiting period stood in the way, ask again after it."""
        reply = await self._ask(target, call, self._left())
        for _ in range(_WAITS):
            pause, left = gated_s(reply), self._left()
            if pause is None or (left is not None and left <= pause):
                break
            await asyncio.sleep(pause)
            reply = await self._ask(target, call, self._left())
        return reply

    def _over(self) -> bool:
        left = self._left()
        return left is not None and left <= _SLACK_S

    def _left(self) -> float | None:
        wall = self._run.caps.wall_s
        return None if wall is None else wall - (self._monotonic() - self._began)


def gated_s(reply: Reply) -> float | None:
    """Return the seconds after which a call nobody was asked for may be made, None where waiting is no use."""
    error = reply.error
    if error is None or reply.trace.attempts or error.code not in _SHUT or error.retry_after_s is None:
        return None
    return error.retry_after_s if error.retry_after_s <= WAIT_S else None


def regraded(cells: Iterable[Cell], scenarios: Iterable[Scenario], *, anew: bool = False) -> tuple[Cell, ...]:
    """Grade stored transcripts again without a call; a cell without one, or of a scenario gone, stays as it is.

    With `anew` the cells are those of the scenarios as they are now, which must still ask the same.
    """
    known = {scenario.id: scenario for scenario in scenarios}
    found: list[Cell] = []
    for cell in cells:
        scenario = known.get(cell.key.scenario_id)
        if scenario is None:
            found.append(cell)
            continue
        hash_ = scenario.hash if anew else cell.scenario_hash
        if cell.sample is None or cell.verdict.status in (Status.SKIPPED, Status.UNSUPPORTED):
            found.append(replace(cell, scenario_hash=hash_))
            continue
        again = cell_of(scenario, cell.key, cell.sample, at=cell.at)
        found.append(replace(again, scenario_hash=hash_, cached=cell.cached))
    return tuple(found)
