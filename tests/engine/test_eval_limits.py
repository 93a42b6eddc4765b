"""What ends cells before their time: caps, timeouts, a part stopped by hand, a route behind a gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.control.eval_commands import CancelEval, ScenarioFile, StartEval
from routerconsole.control.port import ControlError
from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour
from routerconsole.simulator.behaviour import Wire

ONE = ScenarioFile(
    "one.yaml",
    "version: 1\nsuite: s\nscenarios:\n- {id: one, turns: [{user: hi}], assert: [{type: equals, value: READY}]}\n"
    "- {id: two, turns: [{user: hi}], assert: [{type: equals, value: READY}]}\n"
    "- {id: paid, turns: [{user: hi}], assert: [{type: cost_usd, max: 1}]}\n",
)
MODELS = {
    "good": Behaviour(text="READY", usage="always"),
    "slow": Behaviour(latency=3600.0),
    "cut": Behaviour(text="READY", wire=Wire.LONG_LENGTH),
    "flood": Behaviour(text="x" * 10_000_000),
    "busy": Behaviour(statuses=(429, 200), retry_after=1.0, text="READY"),
    "full": Behaviour(statuses=(429,), retry_after=60.0),
}
NAMES = dict(zip(MODELS, "abcdef", strict=True))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """Models that answer, hang, break off, flood, and ask for patience."""
    async with simulated(**MODELS) as upstream, running_node(chain(upstream, *MODELS), tmp_path) as running:
        yield running


async def begun(node: RunningNode, *models: str, scenarios: tuple[str, ...] = ("one",), **more: Any) -> str:
    """Begin a run."""
    targets = tuple(f"{NAMES[name]}/{name}" for name in models)
    command = StartEval(targets, scenarios, scenario_files=(ONE,), **{"repeats": 1, "connections": 8, **more})
    return str((await node.control.do(command)).after["run"])


async def ended(node: RunningNode, run: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Every square of a run once it is over, by model and scenario."""
    cursor = 0
    while True:
        page = await node.control.events(cursor)
        if any(each.type is EventType.EVAL_FINISHED and each.data["run"] == run for each in page.events):
            break
        cursor = page.next
        await node.control.wait_events(cursor)
    report = await node.control.eval_run(run)
    assert report is not None
    return {
        (column["model"], square["scenario_id"]): square
        for column in report["targets"]
        for square in column["scenarios"]
    }


async def test_E05_a_target_that_dies_hangs_or_floods_is_an_error_and_the_others_go_on(node: RunningNode) -> None:
    """Neither is a wrong answer, the report is complete, and k/n counts nothing of them."""
    models = ("good", "slow", "cut", "flood")
    found = await ended(node, await begun(node, *models, timeout_s=1.5))
    assert {model: (found[model, "one"]["status"], found[model, "one"]["n"]) for model in models} == {
        "good": ("pass", 1), "slow": ("error", 0), "cut": ("error", 0), "flood": ("error", 0),
    }  # fmt: skip
    assert found["slow", "one"]["summary"] == "error(timeout)"


async def test_E10_a_route_behind_a_gate_is_waited_for_or_skipped_and_says_so(node: RunningNode) -> None:
    """A short waiting period is waited out, a long one makes `rate_limited(gated)`; neither is a failure."""
    found = await ended(node, await begun(node, "busy", "full", repeats=4, connections=1))
    busy, full = found["busy", "one"], found["full", "one"]
    assert (busy["k"], busy["n"], busy["counts"]) == (3, 3, {"rate_limited": 1, "pass": 3})
    assert (full["status"], full["n"], "rate_limited(gated)" in full["summary"]) == ("rate_limited", 0, True)


async def test_caps_keep_the_rest_from_being_asked_and_resume_with_more_asks_it(node: RunningNode) -> None:
    """Tokens: what is over is `skipped(cap_tokens)` and no failure; a higher cap asks exactly the rest."""
    run = await begun(node, "good", repeats=9, max_tokens=1, connections=1)
    square = (await ended(node, run))["good", "one"]
    assert (square["k"], square["n"], square["counts"]) == (1, 1, {"pass": 1, "skipped": 8})
    assert "skipped(cap_tokens) x8" in square["summary"]
    await node.control.do(StartEval(resume=run, max_tokens=10**6, scenario_files=(ONE,)))
    while (await node.control.eval_run(run) or {})["state"] == "running":
        await node.control.wait_events((await node.control.events(-1)).next)
    report = await node.control.eval_run(run)
    assert report is not None
    assert report["targets"][0]["scenarios"][0]["counts"] == {"pass": 9}


async def test_an_unknown_price_is_an_error_and_holds_no_limit_of_money(node: RunningNode) -> None:
    """`cost_usd` without a price is an error, never 0; under a cap of money such a column is not asked on."""
    found = await ended(node, await begun(node, "good", scenarios=("paid",)))
    assert found["good", "paid"]["summary"] == "error(cost_unknown)"
    assert found["good", "paid"]["cost_usd"] is None
    found = await ended(node, await begun(node, "good", repeats=4, max_cost_usd=1.0, connections=1))
    assert found["good", "one"]["counts"] == {"pass": 1, "skipped": 3}
    assert "cap_cost_unknown" in found["good", "one"]["summary"]


async def test_the_end_of_a_runs_time_is_not_the_models_fault(node: RunningNode) -> None:
    """What it cut and what it kept from being asked is `skipped(cap_time)`; the run itself is finished."""
    run = await begun(node, "good", "slow", repeats=2, max_time_s=0.5)
    found = await ended(node, run)
    assert (found["good", "one"]["k"], found["slow", "one"]["summary"]) == (2, "skipped(cap_time) x2")
    report = await node.control.eval_run(run)
    assert report is not None
    assert (report["state"], report["all_passed"]) == ("finished", True)


async def test_rows_columns_and_cells_are_stopped_and_the_rest_goes_on(node: RunningNode) -> None:
    """What was not finished of them is `skipped(cancelled)`, audited; a resumption asks it again."""
    run = await begun(node, "good", "slow", scenarios=("one", "two"), repeats=2)
    while (await node.control.eval_run(run) or {})["cells"] < 4:
        await node.control.wait_events((await node.control.events(-1)).next)
    for wrong, status in (
        (CancelEval(run, scenario="nope"), 404), (CancelEval(run, target="z/z"), 404),
        (CancelEval(run, "one", "b/slow", 7), 404), (CancelEval(run, target="a/good"), 409),
    ):  # fmt: skip
        with pytest.raises(ControlError) as refused:
            await node.control.do(wrong)
        assert refused.value.status == status, wrong
    cell = await node.control.do(CancelEval(run, "one", "b/slow", 0))
    assert (cell.before, cell.after) == ({"open": 1}, {"open": 0, "skipped": 1})
    row = await node.control.do(CancelEval(run, scenario="one"))
    assert row.before == {"open": 1}
    column = await node.control.do(CancelEval(run, target="b/slow"))
    assert column.after == {"open": 0, "skipped": 2}
    found = await ended(node, run)
    assert {place: square["counts"] for place, square in found.items()} == {
        ("good", "one"): {"pass": 2}, ("good", "two"): {"pass": 2},
        ("slow", "one"): {"skipped": 2}, ("slow", "two"): {"skipped": 2},
    }  # fmt: skip
    assert found["slow", "two"]["summary"] == "skipped(cancelled) x2"
    assert [each.command for each in await node.control.audit()][:3] == ["cancel_eval"] * 3
    await node.control.do(StartEval(resume=run, scenario_files=(ONE,)))
    assert (await node.control.eval_run(run) or {})["cells"] == 4, "the stopped ones are open again"
    await node.control.do(CancelEval(run))


async def test_addresses_are_for_the_command_line_only(node: RunningNode) -> None:
    """Every other face is told so, and who may name one."""
    for actor in ("api", "console", "operator"):
        with pytest.raises(ControlError, match="command line only"):
            await node.control.do(StartEval(("url:http://127.0.0.1:9/v1",), ("plain-chat",)), actor=actor)
