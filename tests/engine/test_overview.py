"""The picture operators see."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from tests.engine.parts import running_engine, serve
from tests.support.node import chain, simulated

from routerconsole.control.commands import Disable, Drain, ForceClose, Isolate, Probe, Target
from routerconsole.control.local import SLICE
from routerconsole.control.views import LimitUse
from routerconsole.domain.errors import RoutingFailed
from routerconsole.simulator import Behaviour


def quiet(text: str) -> str:
    return text.replace("models:", "health: {enabled: false}, models:")


async def test_C0_08_nothing_asked_is_zero(leakcheck: None, tmp_path: Path) -> None:
    """No requests: averages and rates are 0, percentiles unknown, nobody is unhealthy."""
    async with simulated(m1=Behaviour()) as sim, running_engine(quiet(chain(sim, "m1")), tmp_path) as node:
        row = (await node.control.metrics())[0]
        assert (row.avg_latency_ms, row.error_rate, row.total_requests, row.p50_ms) == (0.0, 0.0, 0, None)
        status = await node.control.status()
        assert (status.total, status.healthy, status.degraded, status.unhealthy) == (1, 1, 0, 0)
        assert (status.rps, status.error_ratio, status.p95_ms, status.in_flight) == (0.0, 0.0, None, 0)


async def test_C0_10_C0_27_metrics_count_both_ends(leakcheck: None, tmp_path: Path) -> None:
    """Ten requests of which three failed: error rate 0.3, failures by class, latency over successes only."""
    async with (
        simulated(m1=Behaviour(statuses=(200, 200, 500, 200, 200, 500, 200, 200, 500, 200))) as sim,
        running_engine(quiet(chain(sim, "m1", extra="routing: {max_attempts: 1}\n")), tmp_path) as node,
    ):
        for _ in range(10):
            try:
                await serve(node, model="a/m1")
            except RoutingFailed:
                continue
        provider = (await node.control.metrics())[0]
        for row in (provider, provider.routes[0]):
            assert (row.total_requests, row.successful, row.failed, row.error_rate) == (10, 7, 3, 0.3)
            assert row.failures_by_class == {"server": 3}
            assert row.avg_latency_ms > 0


async def test_limits_used_are_in_the_metrics(leakcheck: None, tmp_path: Path) -> None:
    """Each configured limit comes with what counts against it now; limits nobody set are not named."""
    async with (
        simulated(m1=Behaviour(), m2=Behaviour()) as sim,
        running_engine(quiet(chain(sim, "m1", "m2", limits="{rpm: 5, tpd: 1000}")), tmp_path) as node,
    ):
        for _ in range(3):
            await serve(node, model="a/m1")
        busy, idle = (provider.routes[0].limits for provider in await node.control.metrics())
        assert (busy["rpm"], idle["rpm"]) == (LimitUse(3, 5), LimitUse(0, 5))
        assert set(busy) == {"rpm", "tpd"}
        assert busy["tpd"].limit == 1000
        assert busy["tpd"].used > 0


async def test_what_operators_set_is_in_the_status_with_its_end(leakcheck: None, tmp_path: Path) -> None:
    """Isolated and forced closed say how long still; what is left to itself says auto."""
    async with simulated(m1=Behaviour()) as sim, running_engine(quiet(chain(sim, "m1")), tmp_path) as node:
        assert (await node.control.status()).providers[0].admin == "auto"
        await node.control.do(ForceClose(Target("a"), ttl_s=60))
        await node.control.do(Isolate(Target("a", "m1"), ttl_s=90))
        owner = (await node.control.status()).providers[0]
        assert (owner.admin, owner.routes[0].admin) == ("forced_closed", "isolated")
        assert owner.admin_ends_in_s is not None
        assert 50 < owner.admin_ends_in_s <= 60
        assert owner.routes[0].admin_ends_in_s is not None
        assert 80 < owner.routes[0].admin_ends_in_s <= 90
        await node.control.do(Drain(Target("a")))
        owner = (await node.control.status()).providers[0]
        assert (owner.admin, owner.admin_ends_in_s) == ("draining", None)


async def test_counts_add_up(leakcheck: None, tmp_path: Path) -> None:
    """Every provider is exactly one of healthy, degraded and unhealthy."""
    async with (
        simulated(**{f"m{n}": Behaviour() for n in range(4)}) as sim,
        running_engine(quiet(chain(sim, "m0", "m1", "m2", "m3")), tmp_path) as node,
    ):
        await node.control.do(Disable(Target("a")))
        await node.control.do(Drain(Target("b")))
        status = await node.control.status()
        assert (status.healthy, status.degraded, status.unhealthy) == (2, 1, 1)
        assert [p.name for p in status.providers] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["routes", "reason", "last_error"])
async def test_a_failure_is_explained(leakcheck: None, tmp_path: Path, name: str) -> None:
    """An open circuit shows on its route with reason, seconds left and the last error; the provider keeps its own."""
    async with (
        simulated(m1=Behaviour(statuses=(503,))) as sim,
        running_engine(quiet(chain(sim, "m1")), tmp_path) as node,
    ):
        for _ in range(6):
            with pytest.raises(RoutingFailed):
                await serve(node, model="a/m1")
        route = (await node.control.status()).providers[0].routes[0]
        if name == "routes":
            assert (route.circuit_state, route.status) == ("open", "open")
            assert route.circuit_open_for_s is not None
            assert 0 < route.circuit_open_for_s <= 33
        elif name == "reason":
            assert route.reason is not None
            assert "open" in route.reason
        else:
            assert route.last_error is not None
            assert (route.last_error["class"], route.last_error["status"]) == ("server", 503)


async def test_a_gate_all_routes_share_is_the_providers(leakcheck: None, tmp_path: Path) -> None:
    """When every route is gated the provider row says by what, and for how long until the first is back."""
    async with (
        simulated(m1=Behaviour(statuses=(429,), retry_after=40), m2=Behaviour(statuses=(429,), retry_after=20)) as sim,
    ):
        text = quiet(chain(sim, "m1")).replace("[{id: m1}]", "[{id: m1}, {id: m2}]")
        async with running_engine(text, tmp_path) as node:
            with pytest.raises(RoutingFailed):
                await serve(node, model="a/m1")
            with pytest.raises(RoutingFailed):
                await serve(node, model="a/m2")
            second = (await node.control.status()).providers[0]
            assert second.gate == "rate"
            assert second.gate_ends_in_s is not None
            assert 15 < second.gate_ends_in_s <= 25


async def test_what_a_check_found_down_does_not_count_as_healthy(leakcheck: None, tmp_path: Path) -> None:
    """Nothing asked yet, a check refused at one of two: one healthy, one unhealthy; its word stays `unknown`."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound and not listening: refused for as long as the test runs
        async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
            first, second = quiet(chain(sim, "m1", "m2")).rsplit(sim.base_url, 1)
            text = f"{first}http://127.0.0.1:{unheard.getsockname()[1]}{second}"
            async with running_engine(text, tmp_path) as node:
                before = await node.control.status()
                assert (before.healthy, before.unhealthy) == (2, 0), "not checked is not down"
                await node.control.do(Probe())
                status = await node.control.status()
        assert (status.healthy, status.degraded, status.unhealthy) == (1, 0, 1)
        down = status.providers[1]
        assert (down.status, down.counts_as) == ("unknown", "unhealthy")
        assert down.reason is not None
        assert down.reason.startswith("check failed: ")


async def test_an_answered_request_outweighs_a_failed_check(leakcheck: None, tmp_path: Path) -> None:
    """A provider whose listing fails and whose chat works is healthy: traffic is the better evidence."""
    async with (
        simulated(m1=Behaviour()) as sim,
        running_engine(quiet(chain(sim, "m1")), tmp_path) as node,
    ):
        sim.set("GET /v1/models", Behaviour(statuses=(500,)))
        await node.control.do(Probe())
        assert (await node.control.status()).unhealthy == 1
        await serve(node)
        status = await node.control.status()
        assert (status.healthy, status.unhealthy) == (1, 0)
        assert status.providers[0].status == "healthy"


@pytest.mark.parametrize("read", ["status", "metrics", "models"])
async def test_reading_thousands_of_routes_lets_others_in(leakcheck: None, tmp_path: Path, read: str) -> None:
    """One provider of 1,000 models is read in slices of at most SLICE rows, the loop has its turn after each."""
    rows = ", ".join(f"{{id: m{number}}}" for number in range(1000))
    address = "base_url: 'http://127.0.0.1:9', health: {enabled: false}"
    text = f"version: 1\nproviders:\n  - {{name: p, kind: openai_compatible, {address}, models: [{rows}]}}\n"
    async with running_engine(text, tmp_path) as node:
        turns = 0
        reading = asyncio.ensure_future(getattr(node.control, read)())
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        found = await reading
    made = {"status": lambda: found.providers[0].routes, "metrics": lambda: found[0].routes, "models": lambda: found}
    assert len(made[read]()) >= 1000
    assert turns >= 1000 // SLICE
