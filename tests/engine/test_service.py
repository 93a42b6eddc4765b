"""The engine as a whole: requests recorded once, background work that survives bugs, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest
from tests.engine.parts import event, request, running_engine, serve, types, until
from tests.support.node import chain, simulated

from routerconsole.control.port import RequestQuery
from routerconsole.domain.errors import ErrorCode, RouterError, RoutingFailed, StreamIncomplete
from routerconsole.domain.events import EventType
from routerconsole.engine import rhythm
from routerconsole.engine import service as service_module
from routerconsole.simulator import Behaviour

FINAL = {EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED}


async def test_events_of_a_request_that_failed_over(leakcheck: None, tmp_path: Path) -> None:
    """routing.md §10: received, candidates, each attempt's start and end, one final event, in this order."""
    async with (
        simulated(m1=Behaviour(statuses=(500,)), m2=Behaviour()) as sim,
        running_engine(chain(sim, "m1", "m2"), tmp_path) as node,
    ):
        asked = await serve(node)
        page = node.service.bus.page(0, 1000)
        mine = [found for found in page.events if found.data.get("id") == asked]
        assert [found.type.value for found in mine] == [
            "request.received",
            "route.candidates",
            "attempt.started",
            "attempt.failed",
            "attempt.started",
            "attempt.succeeded",
            "request.completed",
        ]
        assert [item["provider"] for item in mine[1].data["candidates"]] == ["a", "b"]
        assert mine[-1].data["row"].chain.startswith("a✗500 › b✓")


async def test_an_open_circuit_met_on_the_way_is_told_as_skipped(leakcheck: None, tmp_path: Path) -> None:
    """A candidate whose turn came while it could not be asked is an event with the reason."""
    async with (
        simulated(m1=Behaviour(statuses=(500,)), m2=Behaviour(latency=0.05, statuses=(500,)), m3=Behaviour()) as sim,
        running_engine(chain(sim, "m1", "m2", "m3"), tmp_path) as node,
    ):
        service = node.service
        serving = asyncio.ensure_future(serve(node))
        await event(node, EventType.ATTEMPT_STARTED, provider="b")
        service.board.disable("c", None, service.clock.monotonic())
        with pytest.raises(RoutingFailed):
            await serving
        skipped = await event(node, EventType.ATTEMPT_SKIPPED, provider="c")
        assert "disabled" in skipped.data["reason"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_C1_49_one_final_event_however_a_request_ends(leakcheck: None, tmp_path: Path, streamed: bool) -> None:
    """Served, failed, cut, left by its client, cancelled: one final event and one row each."""
    behaviours = {
        "ok": Behaviour(),
        "bad": Behaviour(statuses=(400,)),
        "cut": Behaviour(cut_after=2, tokens=20),
        "slow": Behaviour(latency=30.0),
    }
    async with simulated(**behaviours) as sim, running_engine(chain(sim, *behaviours), tmp_path) as node:
        asked = [await serve(node, model="a/ok", stream=streamed)]
        for model in ("b/bad", "c/cut", "no/such"):
            with contextlib.suppress(RouterError):  # StreamIncomplete is one
                asked.append(await serve(node, model=model, stream=streamed))
        left = asyncio.ensure_future(serve(node, model="d/slow", stream=streamed))
        await event(node, EventType.ATTEMPT_STARTED, provider="d")
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        final = [found.data["id"] for found in node.service.bus.page(0, 1000).events if found.type in FINAL]
        assert len(final) == len(set(final)) == 5
        assert not node.service.recorder.live
        assert not node.service.chat.in_flight


async def test_C1_49_a_stream_is_recorded_after_its_last_chunk(leakcheck: None, tmp_path: Path) -> None:
    """No row before the end; its duration covers the chunks."""
    async with (
        simulated(m1=Behaviour(tokens=4, ttft=0.02)) as sim,
        running_engine(chain(sim, "m1"), tmp_path) as node,
    ):
        exchange = await node.service.chat.open(request(node, stream=True))
        assert not FINAL & set(types(node.service.bus.page(0, 100)))
        attempts = exchange.trace.attempts
        assert [each.ended_ms for each in attempts] == [None], "an attempt lasts as long as its stream"
        async for _ in exchange.deltas():
            continue
        assert None not in [each.ended_ms for each in attempts]
        row = node.service.recorder.rows(RequestQuery())[0]
        assert row.status == "ok"
        assert row.total_ms is not None
        assert row.ttft_ms is not None
        assert row.total_ms >= row.ttft_ms >= 20.0


async def test_D28_a_bug_in_a_background_step_stops_nothing(
    leakcheck: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tick that raises is logged and tried again; saving, probing and requests go on meanwhile."""
    monkeypatch.setattr(service_module, "TICK_S", 0.01)
    monkeypatch.setattr(rhythm, "FAILED_STEP_S", 0.01)
    async with simulated(m1=Behaviour()) as sim, running_engine(chain(sim, "m1"), tmp_path) as node:
        calls: list[float] = []
        real = node.service.prober.tick

        def tick(now: float) -> None:
            calls.append(now)
            if len(calls) < 3:
                raise RuntimeError("injected bug")
            real(now)

        monkeypatch.setattr(node.service.prober, "tick", tick)
        with caplog.at_level(logging.ERROR):
            await until(lambda: len(calls) > 5, "the tick went on")
        assert "background step 'ticks' failed" in caplog.text
        await serve(node)


async def test_a_bug_in_the_engine_costs_one_request(
    leakcheck: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safety.md §1: 500 with the request's id, recorded, and the next request is served."""
    async with simulated(m1=Behaviour()) as sim, running_engine(chain(sim, "m1"), tmp_path) as node:
        asked = request(node)
        with monkeypatch.context() as patch:
            patch.setattr(node.service.bodies, "keep", lambda _: 1 / 0)
            with pytest.raises(RoutingFailed) as failed:
                await node.service.chat.open(asked)
        assert failed.value.code is ErrorCode.INTERNAL_ERROR
        assert asked.id in failed.value.message
        found = node.service.recorder.find(asked.id)
        assert found is not None
        assert found.status.value == "failed"
        await serve(node)


async def test_the_watchdog_tells_of_a_blocked_loop(
    leakcheck: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A work item that holds the loop for over 250 ms leaves a line in the log."""
    import time

    async with simulated(m1=Behaviour()) as sim, running_engine(chain(sim, "m1"), tmp_path) as node:
        await serve(node)  # the loop has turned: the watchdog waits
        with caplog.at_level(logging.WARNING):
            time.sleep(0.4)  # the blocked loop itself is what is tested
            await until(lambda: "loop was" in caplog.text, "a line in the log")


async def test_S43_stopping_ends_streams_in_band_and_refuses_new_requests(leakcheck: None, tmp_path: Path) -> None:
    """What is left after the drain is told `shutting_down`; what comes then is refused with a Retry-After."""
    async with (
        simulated(m1=Behaviour(tokens=5, stall_after=2)) as sim,
        running_engine(chain(sim, "m1"), tmp_path) as node,
    ):
        exchange = await node.service.chat.open(request(node, stream=True))

        async def read() -> None:
            async for _ in exchange.deltas():
                continue

        flight = next(iter(node.service.chat.in_flight.values()))
        reading = asyncio.ensure_future(read())
        flight.task = reading  # type: ignore[assignment]  # in production one task opens and reads
        await until(lambda: node.service.bus.last > 3, "the stream runs")
        await node.service.stop(drain_s=0.05)
        with pytest.raises(StreamIncomplete) as told:
            await reading
        assert told.value.code is ErrorCode.SHUTTING_DOWN
        with pytest.raises(RoutingFailed) as refused:
            await node.service.chat.open(request(node))
        assert refused.value.code is ErrorCode.SHUTTING_DOWN
        await node.service.stop()


async def test_requests_that_finish_in_time_are_drained_not_cut(leakcheck: None, tmp_path: Path) -> None:
    """A stop waits for what runs."""
    async with simulated(m1=Behaviour(latency=0.1)) as sim, running_engine(chain(sim, "m1"), tmp_path) as node:
        serving = asyncio.ensure_future(serve(node))
        await event(node, EventType.ATTEMPT_STARTED)
        await node.service.stop()
        found = node.service.recorder.find(await serving)
        assert found is not None
        assert found.status.value == "ok"
