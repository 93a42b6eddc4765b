"""Evaluation runs in an engine: what is refused, what is known already, stopping, drills, events and the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.control.eval_commands import CancelEval, StartEval
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import SetCapability
from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """A model that answers and one that hangs."""
    models = {"good": Behaviour(text="READY"), "slow": Behaviour(latency=3600.0)}
    async with simulated(**models) as upstream, running_node(chain(upstream, *models), tmp_path) as running:
        yield running


async def run_of(node: RunningNode, command: StartEval) -> str:
    """Begin a run."""
    return str((await node.control.do(command)).after["run"])


async def told(node: RunningNode, kind: EventType, run: str) -> dict[str, object]:
    """Wait for an event of a run."""
    cursor = 0
    while True:
        page = await node.control.events(cursor)
        for event in page.events:
            if event.type is kind and event.data["run"] == run:
                return dict(event.data)
        cursor = page.next
        await node.control.wait_events(cursor)


async def test_a_dry_run_begins_nothing(node: RunningNode) -> None:
    """It says what would be run."""
    receipt = await node.control.do(StartEval(("a/good",), ("plain-chat",)), dry_run=True)
    assert (receipt.dry_run, receipt.after["scenarios"]) == (True, 1)
    assert (await node.control.evals())["runs"] == []


async def test_a_capability_that_is_known_to_be_missing_is_not_asked(node: RunningNode) -> None:
    """`unsupported(capability)`; an unknown one is run."""
    await node.control.do(SetCapability("a", "good", "json_schema", "no"))
    run = await run_of(node, StartEval(("a/good",), ("json-extraction", "tool-invocation"), repeats=1))
    await told(node, EventType.EVAL_FINISHED, run)
    report = await node.control.eval_run(run)
    assert report is not None
    found = {each["scenario_id"]: each["summary"] for each in report["targets"][0]["scenarios"]}
    assert found["json-extraction"] == "unsupported(json_schema)"
    assert found["tool-invocation"].startswith("0/1")


async def test_events_tell_of_begin_cells_and_end(node: RunningNode) -> None:
    """`eval.started`, one `eval.cell_finished` per repeat, `eval.finished`."""
    run = await run_of(node, StartEval(("a/good",), ("plain-chat",), repeats=3))
    end = await told(node, EventType.EVAL_FINISHED, run)
    assert (end["state"], end["cells"], end["all_passed"]) == ("finished", 3, True)
    kinds = [each.type for each in (await node.control.events(0)).events if each.data.get("run") == run]
    assert kinds == [EventType.EVAL_STARTED, *[EventType.EVAL_CELL_FINISHED] * 3, EventType.EVAL_FINISHED]
    assert (await node.control.audit())[0].command == "start_eval"


async def test_a_stopped_engine_stops_its_runs_without_blaming_anybody(tmp_path: Path) -> None:
    """The run is cancelled; what had not ended is missing, not an error."""
    models = {"good": Behaviour(text="READY"), "slow": Behaviour(latency=3600.0)}
    async with simulated(**models) as upstream:
        config = chain(upstream, *models)
        async with running_node(config, tmp_path) as node:
            run = await run_of(node, StartEval(("a/good", "b/slow"), ("plain-chat",), repeats=1))
            await told(node, EventType.EVAL_CELL_FINISHED, run)
            await node.service.stop(drain_s=0.0)
        async with running_node(config, tmp_path) as node:
            report = await node.control.eval_run(run)
    assert report is not None
    assert (report["state"], report["cells"]) == ("cancelled", 1)


async def test_a_drill_runs_on_simulated_routes_and_leaves_ours_alone(node: RunningNode) -> None:
    """The real engine behind scripted upstreams: the first route fails, the second serves."""
    run = await run_of(node, StartEval(("auto",), ("drill-500", "drill-refused", "drill-no-tool")))
    await told(node, EventType.EVAL_FINISHED, run)
    report = await node.control.eval_run(run)
    assert report is not None
    assert {each["status"] for each in report["targets"][0]["scenarios"]} == {"pass"}
    assert all(row.total_requests == 0 for row in (await node.control.status()).providers)


async def test_cancelling_what_does_not_run_is_refused(node: RunningNode) -> None:
    """404, and a resumed run that there is not is 404 too."""
    for command in (CancelEval("meval_000000000000"), StartEval(resume="meval_000000000000")):
        with pytest.raises(ControlError) as refused:
            await node.control.do(command)
        assert refused.value.status == 404


async def test_the_console_gets_the_matrix_with_what_was_said(node: RunningNode) -> None:
    """One view per run with cells, intervals and transcripts."""
    run = await run_of(node, StartEval(("a/good", "a/nope"), ("plain-chat",), repeats=2))
    await told(node, EventType.EVAL_FINISHED, run)
    (view,) = (await node.control.eval_page()).runs
    assert (view.id, view.state, view.targets) == (run, "completed", ("a/good", "a/nope"))
    cells = {(cell.target, cell.scenario): cell for cell in view.cells}
    assert (cells["a/good", "plain-chat"].k, cells["a/nope", "profile_lookup"].verdict) == (2, "fail")
    assert [turn.text for turn in cells["a/good", "plain-chat"].transcript][-1] == "READY"
