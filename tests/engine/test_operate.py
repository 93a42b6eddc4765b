"""Operator commands on a whole engine: checked, audited, in force, kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.engine.parts import event, request, running_engine, serve, until
from tests.support.node import RunningNode, chain, simulated

from routerconsole.control.commands import (
    CancelRequest,
    ClearFailures,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    ReloadConfig,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.port import ControlError, RequestQuery
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour, Simulator

A, B = Target("a"), Target("b")
ON_TARGETS: list[Command] = [Disable(A), Drain(A), Isolate(A), ForceClose(A), ResetCircuit(A), Enable(A)]


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[RunningNode, Simulator]]:
    """Providers a and b, both healthy."""
    async with (
        simulated(m1=Behaviour(), m2=Behaviour(), slow=Behaviour(latency=30.0)) as sim,
        running_engine(
            chain(sim, "m1", "m2", "slow").replace("models:", "health: {enabled: false}, models:"), tmp_path
        ) as node,
    ):
        yield node, sim


async def picture(node: RunningNode) -> list[tuple[str, str, bool, int, str]]:
    """What a status shows of the providers' standing."""
    rows = (await node.control.status()).providers
    return [(p.name, p.status, p.enabled, p.priority, p.circuit_state) for p in rows]


def timeless(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A picture without its countdowns: the audit is written a moment before the change."""
    return {name: value for name, value in shown.items() if not name.endswith("_s")}


async def test_C0_29_every_change_is_audited_with_before_and_after(leakcheck: None, tmp_path: Path) -> None:
    """The receipt and the audit row tell the same; it is persisted; an event tells of it."""
    async with pair(tmp_path) as (node, _):
        for command in ON_TARGETS:
            receipt = await node.control.do(command, actor="tester")
            assert receipt.persisted, command
            assert not receipt.dry_run
            row = (await node.control.audit())[0]
            assert (row.id, row.actor, row.command, row.target) == (receipt.audit_id, "tester", command.name, "a")
            assert (timeless(row.before), timeless(row.after)) == (timeless(receipt.before), timeless(receipt.after))
            assert (await event(node, EventType.AUDIT, command=command.name)).data["actor"] == "tester"


async def test_C0_29_disable_and_enable(leakcheck: None, tmp_path: Path) -> None:
    """Disabled takes nothing; enabled serves again."""
    async with pair(tmp_path) as (node, sim):
        await node.control.do(Disable(A))
        assert (await picture(node))[0] == ("a", "disabled", False, 1, "closed")
        await serve(node)
        assert [item.model for item in sim.received if item.method == "POST"] == ["m2"]
        await node.control.do(Enable(A))
        await serve(node)
        assert [item.model for item in sim.received if item.method == "POST"] == ["m2", "m1"]


DRY: list[Command] = [*ON_TARGETS, SetPriority("a", 99), ClearFailures(), ReloadConfig(), Probe()]


async def test_a_dry_run_changes_nothing(leakcheck: None, tmp_path: Path) -> None:
    """Not in memory, not in the audit, not in the file, no event, no upstream call."""
    async with pair(tmp_path) as (node, sim):
        for command in DRY:
            before, calls = await picture(node), sim.total
            stored = await node.service.keeper.state.load()
            receipt = await node.control.do(command, dry_run=True)
            assert receipt.dry_run, command
            assert receipt.audit_id is None
            assert await picture(node) == before, command
            assert await node.control.audit() == ()
            assert (await node.service.keeper.state.load()).records == stored.records
            assert not [e for e in node.service.bus.page(0, 1000).events if e.type is EventType.AUDIT]
            assert sim.total == calls, command


async def test_a_dry_run_tells_what_would_be(leakcheck: None, tmp_path: Path) -> None:
    """Before and after are those of the change that follows."""
    async with pair(tmp_path) as (node, _):
        would = await node.control.do(Disable(A), dry_run=True)
        did = await node.control.do(Disable(A))
        assert (would.before, would.after) == (did.before, did.after)
        assert would.before != would.after


async def test_R26_a_stale_version_is_a_conflict_and_changes_nothing(leakcheck: None, tmp_path: Path) -> None:
    """`if_version` of an older registry is refused with 409; the current one is accepted."""
    async with pair(tmp_path) as (node, _):
        version = node.service.registry.version
        await node.control.do(SetPriority("a", 50), if_version=version)
        before = await picture(node)
        with pytest.raises(ControlError) as refused:
            await node.control.do(SetPriority("a", 60), if_version=version)
        assert refused.value.status == 409
        assert await picture(node) == before
        assert len(await node.control.audit()) == 1


UNKNOWN: list[Command] = [
    Disable(Target("nope")),
    Disable(Target("a", "nope")),
    Disable(Target("a", "m")),
    ResetCircuit(Target("a/m1")),
    ResetCircuit(Target("")),
    Isolate(Target("a", "")),
    SetPriority("nope", 1),
    Probe(("a", "nope")),
    CancelRequest("nope"),
]


async def test_C0_30_unknown_targets_are_not_found(leakcheck: None, tmp_path: Path) -> None:
    """404, and no audit row for what did not happen."""
    async with pair(tmp_path) as (node, _):
        for command in UNKNOWN:
            with pytest.raises(ControlError) as refused:
                await node.control.do(command)
            assert refused.value.status == 404, command
        assert await node.control.audit() == ()


async def test_a_ttl_is_over_zero_and_at_most_a_day(leakcheck: None, tmp_path: Path) -> None:
    """Anything else is a 400 and changes nothing, dry run or not; the bounds themselves are fine."""
    async with pair(tmp_path) as (node, _):
        before = await picture(node)
        for kind, ttl, dry_run in product(
            (Isolate, ForceClose), (0.0, -1.0, 86400.1, float("nan"), float("inf")), (True, False)
        ):
            with pytest.raises(ControlError) as refused:
                await node.control.do(kind(A, ttl_s=ttl), dry_run=dry_run)
            assert refused.value.status == 400, (kind, ttl)
        assert await picture(node) == before
        for ttl in (0.001, 86400.0):
            assert (await node.control.do(Isolate(A, ttl_s=ttl))).persisted


async def test_an_isolation_ends_by_itself(leakcheck: None, tmp_path: Path) -> None:
    """After its time it takes requests again, without anybody doing anything."""
    async with pair(tmp_path) as (node, _):
        await node.control.do(Isolate(A, ttl_s=0.2))
        assert (await picture(node))[0][1] == "isolated"
        await event(node, EventType.HEALTH_CHANGED, provider="a", before="isolated")
        assert (await picture(node))[0][1] != "isolated"


async def test_B35_only_the_exact_id(leakcheck: None, tmp_path: Path) -> None:
    """Resetting or disabling `a` touches neither `ab` nor route `a:b`."""
    async with simulated(**{name: Behaviour() for name in ("m", "m:b", "mb")}) as sim:
        rows = "".join(
            f'  - {{name: {name}, kind: openai_compatible, base_url: "{sim.base_url}", '
            'models: [{id: "m"}, {id: "m:b"}, {id: "mb"}]}\n'
            for name in ("a", "ab", "a.b")
        )
        async with running_engine("version: 1\nproviders:\n" + rows, tmp_path) as node:
            await node.control.do(Disable(Target("a", "m")))
            await node.control.do(Disable(Target("ab")))
            status = await node.control.status()
            off = {f"{r.provider}/{r.model}" for p in status.providers for r in p.routes if not r.enabled}
            assert {p.name for p in status.providers if not p.enabled} == {"ab"}
            assert off == {"a/m"}
            await node.control.do(Enable(Target("a")))
            status = await node.control.status()
            assert {r.model for p in status.providers if p.name == "a" for r in p.routes if not r.enabled} == {"m"}


async def test_provider_names_are_case_insensitive(leakcheck: None, tmp_path: Path) -> None:
    """`A` is `a`; the receipt and the audit name it as configured."""
    async with pair(tmp_path) as (node, _):
        assert (await node.control.do(Disable(Target("A")))).target == "a"
        assert (await node.control.do(SetPriority("A", 3))).target == "a"


async def test_a_priority_no_file_could_hold_is_refused(leakcheck: None, tmp_path: Path) -> None:
    """The bounds are the configuration's, so that an export loads again."""
    async with pair(tmp_path) as (node, _):
        for wrong in (1_000_001, -1_000_001):
            with pytest.raises(ControlError, match="is no priority") as told:
                await node.control.do(SetPriority("a", wrong))
            assert told.value.status == 400
        assert (await node.control.do(SetPriority("a", 1_000_000))).persisted


async def test_cancel_stops_one_request(leakcheck: None, tmp_path: Path) -> None:
    """The caller is told, the upstream connection is cut, the row says cancelled, the others go on."""
    async with pair(tmp_path) as (node, sim):
        serving = asyncio.ensure_future(serve(node, model="c/slow"))
        other = asyncio.ensure_future(serve(node, model="c/slow"))
        started = await event(node, EventType.ATTEMPT_STARTED, provider="c")
        await until(lambda: len(node.service.chat.in_flight) == 2, "both run")
        receipt = await node.control.do(CancelRequest(started.data["id"]))
        assert receipt.after == {"status": "cancelled"}
        with pytest.raises(RoutingFailed) as told:
            await serving
        assert told.value.should_retry is False
        rows = (await node.control.requests(RequestQuery(status="cancelled"))).requests
        assert [row.id for row in rows] == [started.data["id"]]
        await until(lambda: len(sim.closes) == 1, "the upstream saw the end")
        assert not other.done()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other


async def test_cancelling_a_request_that_is_over_is_not_found(leakcheck: None, tmp_path: Path) -> None:
    """404, and nobody's task is touched."""
    async with pair(tmp_path) as (node, _):
        done = await serve(node)
        with pytest.raises(ControlError) as refused:
            await node.control.do(CancelRequest(done))
        assert refused.value.status == 404


async def test_disable_can_cut_what_runs_there(leakcheck: None, tmp_path: Path) -> None:
    """`cancel_in_flight` ends the requests on that provider, and only those."""
    async with pair(tmp_path) as (node, _):
        serving = asyncio.ensure_future(serve(node, model="c/slow"))
        await event(node, EventType.ATTEMPT_STARTED, provider="c")
        await node.control.do(Disable(A, cancel_in_flight=True))
        assert not serving.done()
        await node.control.do(Disable(Target("c"), cancel_in_flight=True))
        with pytest.raises(RoutingFailed):
            await serving


async def test_drain_lets_what_runs_finish(leakcheck: None, tmp_path: Path) -> None:
    """No new requests, `enabled` stays true, the status is draining, the running one is served."""
    async with (
        simulated(m1=Behaviour(latency=0.2), m2=Behaviour()) as sim,
        running_engine(chain(sim, "m1", "m2"), tmp_path) as node,
    ):
        serving = asyncio.ensure_future(serve(node, model="a/m1"))
        await event(node, EventType.ATTEMPT_STARTED, provider="a")
        await node.control.do(Drain(A))
        assert (await picture(node))[0][1:3] == ("draining", True)
        second = node.service.recorder.find(await serve(node))
        assert second is not None
        assert second.selected is not None
        assert second.selected.provider == "b"
        first = node.service.recorder.find(await serving)
        assert first is not None
        assert first.status.value == "ok"


async def test_replay_sends_a_kept_body_again(leakcheck: None, tmp_path: Path) -> None:
    """Once per model named, as requests of their own; its own model when none is named."""
    async with pair(tmp_path) as (node, sim):
        asked = await serve(node, "a canary prompt", model="a/m1")
        receipt = await node.control.do(ReplayRequest(asked, ("b/m2", "a/m1")))
        ids = receipt.after["requests"]
        assert len(set(ids)) == 2
        for found in ids:
            await event(node, EventType.REQUEST_COMPLETED, id=found)
        again = await node.control.do(ReplayRequest(asked))
        await event(node, EventType.REQUEST_COMPLETED, id=again.after["requests"][0])
        posts = [item for item in sim.received if item.method == "POST"]
        assert sorted(item.model or "" for item in posts) == ["m1", "m1", "m1", "m2"]
        assert all(b"a canary prompt" in item.body for item in posts)


async def test_a_dry_run_of_a_replay_gives_no_ids(leakcheck: None, tmp_path: Path) -> None:
    """Ids of requests that never are would lead nowhere: it names the models instead, and sends nothing."""
    async with pair(tmp_path) as (node, sim):
        asked = await serve(node, model="a/m1")
        rehearsed = await node.control.do(ReplayRequest(asked, ("b/m2", "a/m1")), dry_run=True)
        assert (rehearsed.before, rehearsed.after) == ({}, {"models": ["b/m2", "a/m1"]})
        assert (await node.control.do(ReplayRequest(asked), dry_run=True)).after == {"models": ["a/m1"]}
        assert (rehearsed.dry_run, rehearsed.persisted, rehearsed.audit_id) == (True, False, None)
        assert len([item for item in sim.received if item.method == "POST"]) == 1


async def test_replay_without_a_body_is_a_conflict(leakcheck: None, tmp_path: Path) -> None:
    """`log.bodies: off` keeps none: 409 that explains."""
    async with (
        simulated(m1=Behaviour()) as sim,
        running_engine(chain(sim, "m1", extra="log: {bodies: off}\n"), tmp_path) as node,
    ):
        asked = await serve(node)
        with pytest.raises(ControlError) as refused:
            await node.control.do(ReplayRequest(asked))
        assert refused.value.status == 409
        assert "`log.bodies` is off" in refused.value.message
        detail = await node.control.request(asked)
        assert detail is not None
        assert not detail.replayable


async def test_replays_of_a_failing_model_are_recorded(leakcheck: None, tmp_path: Path) -> None:
    """A replay that fails is a failed request, not a failed background task."""
    async with pair(tmp_path) as (node, _):
        asked = await serve(node)
        receipt = await node.control.do(ReplayRequest(asked, ("no/such",)))
        found = await event(node, EventType.REQUEST_FAILED, id=receipt.after["requests"][0])
        assert found.data["row"].error_code == "model_not_found"


async def test_priority_changes_the_order_at_once(leakcheck: None, tmp_path: Path) -> None:
    """Lower is tried first, from the next request on."""
    async with pair(tmp_path) as (node, sim):
        receipt = await node.control.do(SetPriority("b", 0))
        assert (receipt.before, receipt.after) == ({"priority": 2}, {"priority": 0})
        await serve(node)
        assert [item.model for item in sim.received if item.method == "POST"] == ["m2"]


async def test_C1_35_clearing_failures(leakcheck: None, tmp_path: Path) -> None:
    """The list is empty afterwards; the audit tells how many there were."""
    async with (
        simulated(m1=Behaviour(statuses=(500,)), m2=Behaviour()) as sim,
        running_engine(chain(sim, "m1", "m2"), tmp_path) as node,
    ):
        await serve(node)
        assert len(await node.control.failures()) == 1
        await node.control.do(ClearFailures())
        assert await node.control.failures() == ()
        assert (await node.control.audit())[0].before == {"failures": 1}


async def test_D11_a_command_whose_caller_left_is_whole(leakcheck: None, tmp_path: Path) -> None:
    """What was written to the audit also takes effect, although nobody waits for the receipt any more."""
    async with pair(tmp_path) as (node, _):
        for turn in range(8):
            command = Disable(A) if turn % 2 == 0 else Enable(A)
            call = asyncio.ensure_future(node.control.do(command))
            for _ in range(turn):  # cancelled ever later on its way
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            await until(lambda: not [t for t in asyncio.all_tasks() if t.get_name().startswith("command")], "it ended")
            rows = await node.control.audit()
            assert (await picture(node))[0][2] is (not rows or rows[0].command == "enable_provider")


async def test_commands_at_once_are_all_kept(leakcheck: None, tmp_path: Path) -> None:
    """Fifty commands together: fifty audit rows, every receipt true."""
    async with pair(tmp_path) as (node, _):
        commands: list[Command] = [SetPriority("ab"[n % 2], n) for n in range(50)]
        receipts = await asyncio.gather(*(node.control.do(command) for command in commands))
        assert all(receipt.persisted for receipt in receipts)
        assert len({receipt.audit_id for receipt in receipts}) == 50
        assert len(await node.control.audit(100)) == 50


async def test_B33_C3_14_nothing_left_says_who_and_why(leakcheck: None, tmp_path: Path) -> None:
    """All disabled: 503 that names the reason, and one pool.exhausted event."""
    async with pair(tmp_path) as (node, _):
        for name in "abc":
            await node.control.do(Disable(Target(name)))
        after = node.service.bus.last
        with pytest.raises(RoutingFailed) as refused:
            await node.service.chat.open(request(node))
        assert refused.value.status == 503
        assert refused.value.trace is not None
        reasons = [" ".join(item.reasons) for item in refused.value.trace.candidates]
        assert len(reasons) == 3
        assert all("admin_disabled" in reason for reason in reasons)
        events = node.service.bus.page(after, 100).events
        assert sum(found.type is EventType.POOL_EXHAUSTED for found in events) == 1
