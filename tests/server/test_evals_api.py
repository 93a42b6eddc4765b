"""Evaluations over real HTTP: a run begun, followed, read, stopped, resumed, compared, and every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.raw import admin
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.control.port import RequestQuery
from routerconsole.domain.capability import NODE_OF, Source
from routerconsole.domain.events import EventType
from routerconsole.domain.route import ModelKey
from routerconsole.simulator import Behaviour

ALL = RequestQuery(limit=100)
QUICK = ["plain-chat", "json-extraction", "tool-invocation"]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """Three models: one that says READY, one that always fails, one that never ends."""
    models = {
        "good": Behaviour(text="READY", usage="always"),
        "broken": Behaviour(statuses=(500,)),
        "slow": Behaviour(text="READY", latency=3600.0),
    }
    async with simulated(**models) as upstream, running_node(chain(upstream, *models), tmp_path) as running:
        yield running


async def get(node: RunningNode, path: str) -> Any:
    """A 200's document."""
    reply = await admin(node.port, "GET", path)
    assert reply.status == 200, reply.body
    return reply.json


async def begun(node: RunningNode, **body: object) -> str:
    """Begin a run and return its id."""
    reply = await admin(node.port, "POST", "evals", {"scenarios": ["plain-chat"], "repeats": 2, **body})
    assert reply.status == 202, reply.body
    run: str = reply.json["run"]
    return run


async def ended(node: RunningNode, run: str) -> Any:
    """The report of a run once it is over."""
    cursor = 0
    while True:
        page = await node.control.events(cursor)
        if any(each.type is EventType.EVAL_FINISHED and each.data["run"] == run for each in page.events):
            break
        cursor = page.next
        await node.control.wait_events(cursor)
    return await get(node, f"evals/{run}")


def squares(report: Any) -> dict[tuple[str, str], str]:
    """Status by target and scenario."""
    return {
        (column["id"], square["scenario_id"]): square["status"]
        for column in report["targets"]
        for square in column["scenarios"]
    }


async def test_C4_29_a_run_is_reported_by_cell_and_as_files(node: RunningNode, tmp_path: Path) -> None:
    """202 with its id; then k of n per cell, errors apart from failures, and all five reports on the disk."""
    run = await begun(node, targets=["a/good", "b/broken", "auto"], seed=3)
    report = await ended(node, run)
    assert (report["run_id"], report["state"], report["seed"], report["version"]) == (run, "finished", 3, 1)
    assert squares(report) == {
        ("a/good", "plain-chat"): "pass", ("b/broken", "plain-chat"): "error", ("auto", "plain-chat"): "pass",
    }  # fmt: skip
    cell = report["targets"][0]["scenarios"][0]
    assert (cell["k"], cell["n"], cell["ci"][1]) == (2, 2, 1.0)
    assert cell["latency_ms"] > 0
    files = {path.suffix: path for path in (tmp_path / "state" / "reports").glob(f"{run}.*")}
    assert set(files) == {".json", ".md", ".xml", ".html", ".svg"}
    assert "Model Evaluation Report" in files[".md"].read_text()
    assert all(path.stat().st_mode & 0o077 == 0 for path in files.values())
    assert (await get(node, "evals"))["runs"][0]["run_id"] == run
    again = await admin(node.port, "POST", f"evals/{run}/regrade")
    assert (again.status, again.json["after"]) == (200, {"error": 2, "pass": 4, "changed": 0})
    over = await admin(node.port, "POST", f"evals/{run}/cancel", {"target": "a/good"})
    assert (over.status, over.code) == (409, "conflict")


async def test_an_unknown_target_is_one_failed_row_and_the_run_goes_on(node: RunningNode) -> None:
    """`profile_lookup`; one that is switched off is `profile_availability`."""
    assert (await admin(node.port, "POST", "router/commands",
                        {"command": "disable_provider", "args": {"provider": "b"}})).status == 200  # fmt: skip
    report = await ended(node, await begun(node, targets=["a/good", "a/nope", "b/broken"]))
    assert squares(report) == {
        ("a/good", "plain-chat"): "pass", ("a/nope", "profile_lookup"): "fail",
        ("b/broken", "profile_availability"): "fail",
    }  # fmt: skip
    assert report["all_passed"] is False


async def test_C4_32_what_means_nothing_is_refused_with_what_there_is(node: RunningNode) -> None:
    """An unknown scenario names the valid ids; no target, no sense, an unknown key: 400, nothing begun."""
    reply = await admin(node.port, "POST", "evals", {"targets": ["a/good"], "scenarios": ["plain-chat", "nope"]})
    assert reply.status == 400
    assert "nope" in reply.message
    assert "json-extraction" in reply.message
    for body in ({}, {"targets": []}, {"targets": ["nonsense"]}, {"targets": ["a/good"], "repeats": 0},
                 {"targets": ["a/good"], "max_cost_usd": -1}, {"targets": ["a/good"], "surprise": 1},
                 {"targets": ["url:http://127.0.0.1:9"]}, {"targets": ["a/good"], "connections": 65},
                 {"targets": ["a/good"], "key": "sk-x"}):  # fmt: skip
        assert (await admin(node.port, "POST", "evals", body)).status == 400, body
    assert (await get(node, "evals"))["runs"] == []
    for path in ("evals/meval_000000000000", "evals/compare?a=x&b=y"):
        assert (await admin(node.port, "GET", path)).status == 404
    assert (await admin(node.port, "GET", "evals/compare?a=x&b=x")).status == 400
    assert (await admin(node.port, "POST", "evals/meval_000000000000/cancel")).status == 404


async def test_a_cancelled_run_keeps_what_is_finished_and_goes_on_when_resumed(node: RunningNode) -> None:
    """State `cancelled`; a resumed run asks only what is missing or was an error."""
    run = await begun(node, targets=["a/good", "c/slow"], connections=4)
    while (await get(node, f"evals/{run}"))["cells"] < 2:
        await node.control.wait_events((await node.control.events(-1)).next)
    for part, status in (({"repeat": -1}, 400), ({"target": "z/z"}, 404), ({"target": "a/good"}, 409)):
        assert (await admin(node.port, "POST", f"evals/{run}/cancel", part)).status == status, part
    assert (await admin(node.port, "POST", f"evals/{run}/regrade")).status == 409
    assert (await admin(node.port, "POST", f"evals/{run}/cancel")).status == 200
    report = await get(node, f"evals/{run}")
    assert report["state"] == "cancelled"
    assert squares(report)["a/good", "plain-chat"] == "pass"
    assert report["cells"] == 2
    asked = len((await node.control.requests(ALL)).requests)
    assert (await admin(node.port, "POST", "evals", {"resume": run})).json["run"] == run
    assert (await admin(node.port, "POST", "evals", {"resume": run})).status == 409
    while len((await node.control.requests(ALL)).requests) == asked:
        await asyncio.sleep(0)
    assert (await admin(node.port, "POST", f"evals/{run}/cancel")).status == 200
    rows = (await node.control.requests(ALL)).requests
    assert sum(row.provider == "a" for row in rows) == 2, "what had passed is not asked again"


async def test_B36_evaluations_move_no_circuit_and_are_in_the_log(node: RunningNode) -> None:
    """Origin `eval`: counted, and neutral to breakers however often it fails."""
    await ended(node, await begun(node, targets=["b/broken"], repeats=100))
    rows = (await node.control.requests(ALL)).requests
    assert {row.origin for row in rows} == {"eval"}
    assert len(rows) == 100
    status = next(each for each in (await node.control.status()).providers if each.name == "b")
    assert {route.circuit_state for route in status.routes} == {"closed"}


async def test_runs_are_compared_both_ways(node: RunningNode) -> None:
    """A run against another one; the same runs are not separated."""
    first = await begun(node, targets=["a/good"], seed=1)
    await ended(node, first)
    second = await begun(node, targets=["a/good"], seed=1)
    await ended(node, second)
    told = await get(node, f"evals/compare?a={first}&b={second}")
    assert (told["a"], told["b"], told["regression"], told["flips"]) == (first, second, False, [])
    assert told["verdict"].startswith("cannot separate")


async def test_what_was_measured_becomes_a_layer_and_can_be_undone(node: RunningNode) -> None:
    """`apply`: two straight failures refute; the operator's own word stays above it."""
    schema = NODE_OF["json_schema"]
    run = await begun(node, targets=["a/good"], scenarios=["json-extraction"], apply=True)
    report = await ended(node, run)
    assert [(each["node"], each["finding"]) for each in report["measured"]] == [(schema, "refuted")]
    key = ModelKey("a", "good")
    while node.service.registry.models[key].standing(schema).source is not Source.MEASURED:
        await node.control.wait_events((await node.control.events(-1)).next)
    layer = (await node.control.registry_model("a", "good")).capabilities[schema].layers[0]  # type: ignore[union-attr]  # it is there
    assert (layer.source, layer.value, run in (layer.evidence or "")) == ("measured", "no", True)
    row = next(each for each in await node.control.audit() if each.command == "accept_measured")
    assert (await admin(node.port, "POST", "router/commands",
                        {"command": "undo", "args": {"audit_id": row.id}})).status == 200  # fmt: skip
    assert node.service.registry.models[key].standing(schema).source is not Source.MEASURED


async def test_runs_outlive_the_engine(tmp_path: Path) -> None:
    """The report of a run is the same from the disk."""
    async with simulated(good=Behaviour(text="READY")) as upstream:
        config = chain(upstream, "good")
        async with running_node(config, tmp_path) as node:
            run = await begun(node, targets=["a/good"])
            before = await ended(node, run)
        async with running_node(config, tmp_path) as node:
            assert await get(node, f"evals/{run}") == before
            assert [each["run_id"] for each in (await get(node, "evals"))["runs"]] == [run]


async def test_the_scenarios_are_listed(node: RunningNode) -> None:
    """Every built-in one with what it measures."""
    rows = {row["id"]: row for row in (await get(node, "evals/scenarios"))["scenarios"]}
    assert set(QUICK) <= set(rows)
    assert rows["json-extraction"]["capability"] == "json_schema"
    assert rows["drill-500"]["kind"] == "drill"
