"""What runs measured: offered, accepted, undone, contradicted, stale; an evaluation strikes no gap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engine.test_evaluating import run_of, told
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.control.eval_accept import accepting
from routerconsole.control.eval_commands import StartEval
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import AcceptMeasured, ClearCapability, SetCapability, Undo
from routerconsole.control.registry_views import CapabilityValue
from routerconsole.domain.capability import MEASURED_FOR_S
from routerconsole.domain.events import EventType
from routerconsole.domain.route import ModelKey
from routerconsole.simulator import Behaviour

NODE = "interaction.tool-calling"
PROBES = ("tool-invocation", "tools-named")


async def tools(node: RunningNode) -> CapabilityValue:
    """What is known of the model's tool calls."""
    model = await node.control.registry_model("a", "good")
    assert model is not None
    return model.capabilities[NODE]


async def stale(node: RunningNode) -> list[bool]:
    """Whether each measured layer is stale."""
    return [layer.stale for layer in (await tools(node)).layers if layer.source == "measured"]


async def test_findings_are_offered_then_accepted_contradicted_and_undone(tmp_path: Path) -> None:
    """A run changes nothing by itself, not even by strikes; a person's own word stays above what was measured."""
    async with simulated(good=Behaviour(text="READY", tools="ignore")) as upstream:
        config = chain(upstream, "good")
        async with running_node(config, tmp_path) as node:
            await node.control.do(SetCapability("a", "good", "tools", "yes"))
            run = await run_of(node, StartEval(("a/good",), PROBES))
            await told(node, EventType.EVAL_FINISHED, run)
            said = await tools(node)
            assert (said.value, said.source) == ("yes", "operator")
            assert said.contradiction.startswith("declared yes, measured no, not accepted: refuted 0/4")
            assert "gap" not in {layer.source for layer in said.layers}, "four misses are no strikes"

            report = await node.control.eval_run(run)
            assert report is not None
            [command] = accepting(report)
            async with node.admin() as admin:
                path, node_only = f"/api/v1/evals/{run}/accept", {"target": "a/good", "node": NODE}
                assert (await admin.post("/api/v1/evals/meval_000000000000/accept")).status_code == 404
                assert (await admin.post(path, json={"target": "a/other"})).status_code == 409
                tried = (await admin.post(path, json={**node_only, "dry_run": True})).json()["accepted"]
                assert [(each["dry_run"], each["target"]) for each in tried] == [(True, "a/good")]
                taken = (await admin.post(path, json=node_only)).json()["accepted"]
                assert (await admin.post(path)).status_code == 409
            receipt = (await node.control.audit())[0]
            assert (receipt.command, receipt.id) == (command.name, taken[0]["audit_id"])
            said = await tools(node)
            assert (said.value, said.source, said.contradiction) == ("yes", "operator", "declared yes, measured no")
            assert [(layer.source, layer.value) for layer in said.layers][:2] == [
                ("operator", "yes"),
                ("measured", "no"),
            ]
            assert run in said.layers[1].evidence
            again = await node.control.eval_run(run)
            assert again is not None
            with pytest.raises(ControlError, match="nothing more to accept"):
                accepting(again)

            await node.control.do(ClearCapability("a", "good", "tools"))
            assert ((await tools(node)).value, (await tools(node)).source) == ("no", "measured")
            with pytest.raises(ControlError):
                await node.control.do(Undo(receipt.id))  # the same slot was changed again since
        async with running_node(config, tmp_path) as node:
            measurements = node.service.discovery.measurements
            while ModelKey("a", "good") not in measurements.found:
                await asyncio.sleep(0)
            assert set(measurements.found[ModelKey("a", "good")]) == {NODE}


async def test_apply_accepts_what_is_beyond_doubt_before_the_run_is_told_to_be_over(tmp_path: Path) -> None:
    """Who waits for the end of the run finds the tags; thirty days later, or on another server, they are stale."""
    async with (
        simulated(good=Behaviour(text="READY", tools="ignore")) as upstream,
        running_node(chain(upstream, "good"), tmp_path) as node,
    ):
        run = await run_of(node, StartEval(("a/good",), ("tool-invocation",), apply=True))
        await told(node, EventType.EVAL_FINISHED, run)
        assert ((await tools(node)).value, (await tools(node)).source) == ("no", "measured")
        service = node.service
        now = service.clock.wall()
        old = AcceptMeasured("a", "good", NODE, "no", "long ago", now - MEASURED_FOR_S - 60, "build=1")
        await node.control.do(old)
        service.discovery.measurements.tick(service.clock.monotonic() + 3600)
        [layer] = [layer for layer in (await tools(node)).layers if layer.source == "measured"]
        assert (layer.stale, layer.evidence, (await tools(node)).source) == (True, "long ago", "guess")
        model = service.registry.models[ModelKey("a", "good")]
        assert not model.standing(NODE).hard_no, "a stale measurement closes no gate"

        await node.control.do(AcceptMeasured("a", "good", NODE, "no", "new", now, "system=fp1"))
        assert await stale(node) == [False]
        service.discovery.measurements.see(ModelKey("a", "good"), "system=fp2")
        assert await stale(node) == [True]
        service.discovery.measurements.see(ModelKey("a", "good"), "system=fp1")
        assert await stale(node) == [False]
