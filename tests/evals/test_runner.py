"""The runner over answers handed in: order, lanes, caps, resumption, what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from routerconsole.evals.records import cell_text, read_cell, read_run, run_text
from routerconsole.evals.runner import LANES, Job, Lanes, Runner, finished_cells, jobs_of, regraded
from routerconsole.evals.scenario import Scenario
from routerconsole.evals.scenario_files import load_catalogue
from routerconsole.evals.types import (
    Call,
    CallError,
    Caps,
    Cell,
    CellKey,
    Reply,
    Run,
    ScenarioRef,
    Status,
    Target,
    TargetKind,
    Timings,
    Usage,
    failed,
    parse_target,
)

CATALOGUE = load_catalogue()
(PLAIN,) = CATALOGUE.select(["plain-chat"])
(DRILL,) = CATALOGUE.select(["drill-500"])


def a_run(*targets: str, repeats: int = 2, caps: Caps | None = None, seed: int = 7) -> Run:
    """A run of plain chats."""
    return Run(
        id="meval_0123456789ab",
        started_at=1.0,
        seed=seed,
        repeats=repeats,
        scenarios=(ScenarioRef(PLAIN.id, PLAIN.hash),),
        targets=tuple(parse_target(text) for text in targets),
        caps=caps or Caps(),
    )


class Stand:
    """Who answers, and what was kept."""

    def __init__(self, text: str = "READY", error: CallError | None = None, cost: float | None = 0.5) -> None:
        self.text, self.error, self.cost = text, error, cost
        self.asked: list[tuple[str, Call]] = []
        self.cells: list[Cell] = []
        self.at_once = self.most = 0
        self.now = 0.0

    async def ask(self, target: Target, call: Call, _left: float | None) -> Reply:
        """Answer after the others had their turn."""
        self.asked.append((target.id, call))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        self.at_once -= 1
        self.now += 1.0
        if self.error is not None:
            return Reply(call.label, call.body, error=self.error)
        return Reply(
            call.label, call.body, text=self.text, timings=Timings(5.0), usage=Usage(10, 5), cost_usd=self.cost
        )  # fmt: skip

    async def keep(self, cell: Cell) -> None:
        """Take a finished cell."""
        self.cells.append(cell)

    def runner(self, run: Run, **more: object) -> Runner:
        """A runner that asks here."""
        given = {"ask": self.ask, "keep": self.keep, "lanes": Lanes(), "wall": lambda: 9.0} | more
        return Runner(run, monotonic=lambda: self.now, **given)  # type: ignore[arg-type]  # tests name what they replace

    def verdicts(self) -> dict[str, int]:
        """How often each verdict came."""
        labels = [cell.verdict.label() for cell in self.cells]
        return {label: labels.count(label) for label in labels}


def test_columns_are_interleaved_in_an_order_the_seed_decides() -> None:
    """Each repeat asks every column before the next one does, in the same order for the same seed."""
    run = a_run("a/x", "b/x", "c/x", repeats=4)
    order = [(job.key.repeat, job.target.id) for job in jobs_of(run, [PLAIN])]
    assert [repeat for repeat, _ in order] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert order == [(job.key.repeat, job.target.id) for job in jobs_of(run, [PLAIN])]
    other = replace(run, seed=8)
    assert order != [(job.key.repeat, job.target.id) for job in jobs_of(other, [PLAIN])]


async def test_cells_run_a_few_at_once_and_are_kept_one_by_one() -> None:
    """LANES at most at a time, every cell graded and kept."""
    stand = Stand()
    assert await stand.runner(a_run("a/x", "b/x", repeats=10)).work([PLAIN])
    assert stand.most == LANES
    assert stand.verdicts() == {"pass": 20}
    assert {cell.latency_ms for cell in stand.cells} == {5.0}


async def test_a_local_provider_gets_one_at_a_time() -> None:
    """However many columns end there."""
    stand = Stand()
    await stand.runner(a_run("a/x", "a/y", repeats=5), local=lambda _: "a").work([PLAIN])
    assert (stand.most, len(stand.cells)) == (1, 10)


async def test_lanes_are_shared_by_all_runs() -> None:
    """Two runs at once do not double what is under way."""
    stand, lanes = Stand(), Lanes()
    await asyncio.gather(*(stand.runner(a_run("a/x", repeats=8), lanes=lanes).work([PLAIN]) for _ in range(2)))
    assert (stand.most, len(stand.cells)) == (LANES, 16)


async def test_unknown_and_unavailable_targets_are_one_failed_row_and_the_run_goes_on() -> None:
    """evals.md §3: `profile_lookup` or `profile_availability`; the other columns are asked."""
    stand = Stand()
    bad = {"b/x": failed("profile_lookup"), "c/x": failed("profile_availability")}
    await stand.runner(a_run("a/x", "b/x", "c/x")).work([PLAIN], refused=bad)
    rows = {(cell.key.target_id, cell.key.scenario_id) for cell in stand.cells}
    assert rows == {("a/x", "plain-chat"), ("b/x", "profile_lookup"), ("c/x", "profile_availability")}
    assert {target for target, _ in stand.asked} == {"a/x"}


@pytest.mark.parametrize(
    ("caps", "asked", "reason"),
    [
        (Caps(tokens=45), 3, "cap_tokens"),
        (Caps(cost_usd=1.0), 2, "cap_cost"),
        (Caps(wall_s=2.0), 2, "cap_time"),
    ],
)
async def test_a_spent_cap_skips_what_is_left_and_a_resumed_run_asks_it(caps: Caps, asked: int, reason: str) -> None:
    """Tokens, money and time; nothing more is asked and every cell says why."""
    stand = Stand()
    await stand.runner(a_run("a/x", repeats=6, caps=caps), lanes=Lanes(1)).work([PLAIN])
    assert len(stand.asked) == asked
    assert stand.verdicts() == {"pass": asked, f"skipped({reason})": 6 - asked}
    assert len(finished_cells(stand.cells)) == asked


async def test_a_limit_of_money_stops_where_the_price_is_not_known() -> None:
    """An unknown cost is never 0."""
    stand = Stand(cost=None)
    await stand.runner(a_run("a/x", repeats=3, caps=Caps(cost_usd=5.0)), lanes=Lanes(1)).work([PLAIN])
    assert stand.verdicts() == {"pass": 1, "skipped(cap_cost_unknown)": 2}


async def test_a_resumed_run_asks_only_what_is_missing_or_was_an_error() -> None:
    """Finished cells are not asked again."""
    run, stand = a_run("a/x", repeats=3), Stand(error=CallError("server"))
    await stand.runner(run).work([PLAIN])
    broken = replace(stand.cells[0])
    good = [replace(cell, verdict=failed("not_ready")) for cell in stand.cells[1:2]]
    again = Stand()
    await again.runner(run).work([PLAIN], done=finished_cells([broken, *good]))
    assert len(again.asked) == 2
    assert good[0].key not in {cell.key for cell in again.cells}


async def test_the_same_seed_asks_the_same_and_another_repeat_something_else() -> None:
    """Nonces are drawn anew per repeat, and are the same on every column."""
    (scenario,) = CATALOGUE.select(["tool-invocation"])
    run = replace(a_run("a/x", "b/x"), scenarios=(ScenarioRef(scenario.id, scenario.hash),))
    bodies = []
    for _ in range(2):
        stand = Stand()
        await stand.runner(run, lanes=Lanes(1)).work([scenario])
        bodies.append([str(call.body) for _, call in stand.asked])
    assert bodies[0] == bodies[1]
    assert len(set(bodies[0])) == 2


async def test_a_drill_without_a_simulator_is_skipped() -> None:
    """And says so; it does not count as failed."""
    stand = Stand()
    await stand.runner(a_run("a/x")).work([DRILL])
    assert stand.verdicts() == {"skipped(no_simulator)": 1}


async def test_a_bug_costs_its_cell_not_the_run() -> None:
    """`error(internal_error)`, and the others are asked."""
    stand = Stand()

    async def broken(target: Target, call: Call, left: float | None) -> Reply:
        if target.id == "a/x":
            raise RuntimeError("a bug")
        return await stand.ask(target, call, left)

    await stand.runner(a_run("a/x", "b/x", repeats=1), ask=broken).work([PLAIN])
    assert stand.verdicts() == {"error(internal_error)": 1, "pass": 1}


async def test_a_cancelled_run_keeps_what_is_finished() -> None:
    """And gives its lanes back."""
    stand, lanes, hang = Stand(), Lanes(), asyncio.Event()

    async def ask(target: Target, call: Call, left: float | None) -> Reply:
        if len(stand.cells) >= 2:
            await hang.wait()
        return await stand.ask(target, call, left)

    work = asyncio.ensure_future(stand.runner(a_run("a/x", repeats=20), lanes=lanes, ask=ask).work([PLAIN]))
    while len(stand.cells) < 2 or stand.at_once:
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    kept = len(stand.cells)
    assert 2 <= kept < 20
    jobs = [Job(PLAIN, stand_target(), CellKey("plain-chat", "a/x", n)) for n in range(LANES)]
    for _ in range(LANES):
        assert await asyncio.wait_for(lanes.take(jobs, lambda _: None), 60) is not None


def stand_target() -> Target:
    """Any target."""
    return parse_target("a/x")


async def test_a_closing_router_leaves_no_errors_behind() -> None:
    """What it answered while it closed is no result."""
    stand = Stand(error=CallError("shutting_down"))
    assert not await stand.runner(a_run("a/x"), stopping=lambda: bool(stand.asked)).work([PLAIN])
    assert stand.cells == []


async def test_cells_and_runs_come_back_as_they_were_without_secrets() -> None:
    """Every text of a transcript passes the redactor before it is written."""
    stand = Stand(text="READY sk-secret")
    run = a_run("a/x", "pool:tools", repeats=1)
    await stand.runner(run).work([PLAIN])
    for cell in stand.cells:
        assert read_cell(cell_text(cell, str)) == cell
        text = cell_text(cell, lambda value: value.replace("sk-secret", "***"))
        assert "sk-secret" not in text
        assert read_cell(text) is not None
    assert read_run(run_text(run)) == run
    assert read_cell("{}") is None
    assert read_run("[]") is None
    assert run.targets[1].kind is TargetKind.POOL


async def test_stored_transcripts_are_graded_again_without_a_call() -> None:
    """A verdict that was wrong is put right from what was said."""
    stand = Stand()
    await stand.runner(a_run("a/x", repeats=1)).work([PLAIN])
    wrong = replace(stand.cells[0], verdict=failed("mistaken"))
    (right,) = regraded([wrong], [PLAIN])
    assert right.verdict.status is Status.PASS
    assert regraded([wrong], list[Scenario]()) == (wrong,)
    assert len(stand.asked) == 1
