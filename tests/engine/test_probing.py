"""Reachability checks through real sockets: coalesced, bounded, jittered, and they change nothing they must not."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.engine.parts import FakeClock, running_engine, serve, until
from tests.support.node import RunningNode, chain, simulated

from routerconsole.config.build import build_registry
from routerconsole.config.load import load_text
from routerconsole.control.commands import Disable, Isolate, Probe, Target
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.events import EventType
from routerconsole.domain.route import ModelKey
from routerconsole.engine.bus import Bus
from routerconsole.engine.probing import PARALLEL, Prober
from routerconsole.engine.tasks import TaskOwner
from routerconsole.engine.upstreams import Upstreams
from routerconsole.providers.client import USER_AGENT, Sender
from routerconsole.providers.transport import Transport
from routerconsole.routing.board import Board
from routerconsole.routing.breaker import CircuitState
from routerconsole.simulator import Behaviour

QUIET = "health: {enabled: false}"


def quiet(text: str) -> str:
    """The same configuration without periodic checks."""
    return text.replace("models:", f"{QUIET}, models:")


class Counting:
    """A TCP upstream that answers listings slowly and knows how many callers it had at once."""

    def __init__(self) -> None:
        self.now = self.most = self.total = 0
        self.release = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.now, self.total = self.now + 1, self.total + 1
            self.most = max(self.most, self.now)
            await self.release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.now -= 1
            writer.close()


@pytest_asyncio.fixture
async def counting(leakcheck: None) -> AsyncIterator[Counting]:
    found = Counting()
    await found.start()
    yield found
    await found.stop()


class Rig:
    """A prober on its own, with a clock of the test's."""

    def __init__(self, text: str) -> None:
        self.clock, rng = FakeClock(), random.Random(7)
        self.registry = build_registry(load_text(text, "t", {}).settings, {})
        self.board, self.bus, self.tasks = Board(rng), Bus(self.clock), TaskOwner()
        self.board.configure(self.registry, self.clock.now)
        self.upstreams = Upstreams(Sender(Transport(clock=time.monotonic, user_agent=USER_AGENT)))
        self.upstreams.configure(self.registry)
        self.prober = Prober(
            board=self.board, upstreams=self.upstreams, bus=self.bus, clock=self.clock, tasks=self.tasks, rng=rng
        )
        self.prober.configure(self.registry)

    async def aclose(self) -> None:
        await self.tasks.aclose()
        await self.upstreams.sender.aclose()


def providers(count: int, port: int, *, interval: str = "30s") -> str:
    rows = [
        f"  - {{name: p{n}, kind: openai_compatible, base_url: 'http://127.0.0.1:{port}', "
        f"health: {{interval: {interval}}}, models: [{{id: m}}]}}"
        for n in range(count)
    ]
    return "version: 1\nproviders:\n" + "\n".join(rows)


async def test_B28_fifty_checks_at_once_are_one(counting: Counting) -> None:
    """A provider that is being checked is not checked again; every caller gets the one result."""
    rig = Rig(providers(1, counting.port))
    checks = [asyncio.ensure_future(rig.prober.check(("p0",))) for _ in range(50)]
    await until(lambda: counting.now == 1, "the check is out")
    counting.release.set()
    results = [check.providers[0] for check in await asyncio.gather(*checks)]
    assert counting.total == 1
    assert all(result.healthy for result in results)
    await rig.aclose()


async def test_B28_who_stops_waiting_does_not_cancel_the_check(counting: Counting) -> None:
    """A check belongs to the engine, not to the operator who asked first."""
    rig = Rig(providers(1, counting.port))
    first, second = (asyncio.ensure_future(rig.prober.check(("p0",))) for _ in range(2))
    await until(lambda: counting.now == 1, "the check is out")
    first.cancel()
    counting.release.set()
    assert (await second).healthy_count == 1
    await rig.aclose()


async def test_B27_at_most_four_in_parallel(counting: Counting) -> None:
    """Fifty providers asked together are asked four at a time."""
    rig = Rig(providers(50, counting.port))
    check = asyncio.ensure_future(rig.prober.check())
    await until(lambda: counting.now == PARALLEL, "four are out")
    counting.release.set()
    assert (await check).healthy_count == 50
    assert (counting.most, counting.total) == (PARALLEL, 50)
    await rig.aclose()


async def test_B27_periodic_checks_are_spread_and_jittered(counting: Counting) -> None:
    """First checks spread over two seconds; later ones drift apart by up to a tenth of the interval."""
    counting.release.set()
    rig = Rig(providers(50, counting.port, interval="10s"))

    async def round_of(moments: list[float]) -> list[int]:
        found = []
        for moment in moments:
            before = counting.total
            rig.prober.tick(moment)
            await until(lambda: not len(rig.tasks), "the checks are done")
            found.append(counting.total - before)
        return found

    first = await round_of([1000.0 + step * 0.25 for step in range(9)])
    assert sum(first) == 50
    assert max(first) <= 15
    assert sum(await round_of([1008.0])) == 0
    later = await round_of([1009.0 + step * 0.25 for step in range(17)])
    assert sum(later) == 50
    assert sum(count > 0 for count in later) >= 10
    await rig.aclose()


async def test_B27_starting_with_fifty_dead_providers_takes_no_time(leakcheck: None, tmp_path: Path) -> None:
    """Nobody waits for checks: a node is up at once, and answers."""
    began = time.monotonic()
    async with running_engine(providers(50, 9), tmp_path) as node:
        assert time.monotonic() - began < 15.0
        assert (await node.control.status()).total == 50


async def test_C0_32_B25_a_check_never_enables(leakcheck: None, tmp_path: Path) -> None:
    """A healthy answer leaves disabled disabled and isolated isolated."""
    async with (
        simulated(m1=Behaviour(), m2=Behaviour()) as sim,
        running_engine(quiet(chain(sim, "m1", "m2")), tmp_path) as node,
    ):
        await node.control.do(Disable(Target("a")))
        await node.control.do(Isolate(Target("b")))
        receipt = await node.control.do(Probe())
        assert receipt.after["healthy_count"] == 2
        status = await node.control.status()
        assert [(p.name, p.enabled, p.status) for p in status.providers] == [
            ("a", False, "disabled"),
            ("b", True, "isolated"),
        ]


async def opened(node: RunningNode) -> None:
    """Fail until provider a's route is open."""
    (route,) = node.service.registry.routes(ModelKey("a", "m1"))
    while node.service.board.circuit(route, node.service.clock.monotonic())[0] == CircuitState.CLOSED:
        try:
            await serve(node, model="a/m1")
        except RoutingFailed:
            continue


async def test_B25_a_check_never_closes_a_circuit(leakcheck: None, tmp_path: Path) -> None:
    """The listing answers, chat answers 500: the circuit stays open after any number of checks."""
    async with (
        simulated(m1=Behaviour(statuses=(500,))) as sim,
        running_engine(quiet(chain(sim, "m1")), tmp_path) as node,
    ):
        await opened(node)
        for _ in range(3):
            assert (await node.control.do(Probe(("a",)))).after["healthy_count"] == 1
        route = (await node.control.status()).providers[0].routes[0]
        assert route.circuit_state == "open"
        assert not [e for e in node.service.bus.page(0, 10_000).events if e.type is EventType.CIRCUIT_CLOSED]


async def test_a_dead_provider_is_unhealthy_with_a_reason(leakcheck: None, tmp_path: Path) -> None:
    """Refused is `reach`, not healthy, with a detail; checks of the others are not affected."""
    async with simulated(m1=Behaviour()) as sim:
        text = quiet(
            chain(sim, "m1")
            + '  - {name: dead, kind: openai_compatible, base_url: "http://127.0.0.1:9", models: [{id: x}]}\n'
        )
        async with running_engine(text, tmp_path) as node:
            found = (await node.control.do(Probe())).after
            by_name = {row["name"]: row for row in found["providers"]}
            assert (by_name["a"]["healthy"], by_name["dead"]["healthy"]) == (True, False)
            assert by_name["dead"]["depth"] == "reach"
            assert by_name["dead"]["detail"]
            assert by_name["dead"]["latency_ms"] is None


async def test_a_wrong_key_is_seen_by_a_check(leakcheck: None, tmp_path: Path) -> None:
    """401 on the listing: unhealthy, depth auth."""
    async with simulated(m1=Behaviour()) as sim:
        sim.api_key = "the-right-key-for-this"
        text = quiet(chain(sim, "m1")).replace("priority: 1", "api_key: env:KEY, priority: 1")
        async with running_engine(text, tmp_path, env={"KEY": "a-wrong-key-1234567"}) as node:
            row = (await node.control.do(Probe())).after["providers"][0]
            assert (row["healthy"], row["depth"]) == (False, "auth")
            assert "a-wrong-key-1234567" not in str(row)


async def test_C0_05_a_provider_without_its_secret_is_never_contacted(leakcheck: None, tmp_path: Path) -> None:
    """Unset key: listed with `missing_secret: NAME`, no request and no check reaches it."""
    async with simulated(m1=Behaviour()) as sim:
        text = chain(sim, "m1").replace("priority: 1", "api_key: '${TEST_API_KEY}', priority: 1")
        async with running_engine(text, tmp_path) as node:
            provider = (await node.control.status()).providers[0]
            assert provider.reason is not None
            assert "missing_secret: TEST_API_KEY" in provider.reason
            row = (await node.control.do(Probe())).after["providers"][0]
            assert not row["healthy"]
            assert "TEST_API_KEY" in row["detail"]
            with pytest.raises(RoutingFailed) as refused:
                await serve(node)
            assert refused.value.status == 503
            node.service.prober.tick(node.service.clock.monotonic() + 100)
            assert sim.total == 0


async def test_C0_04_the_key_that_is_set_is_sent(leakcheck: None, tmp_path: Path) -> None:
    """`${TEST_API_KEY}` resolves to the environment's value, and the upstream gets it."""
    async with simulated(m1=Behaviour()) as sim:
        text = quiet(chain(sim, "m1")).replace("priority: 1", "api_key: '${TEST_API_KEY}', priority: 1")
        async with running_engine(text, tmp_path, env={"TEST_API_KEY": "secret123"}) as node:
            await serve(node)
            assert dict(sim.received[-1].headers)["authorization"] == "Bearer secret123"


async def test_a_provider_removed_while_it_is_checked(counting: Counting) -> None:
    """The result of a check of what no longer exists changes nothing and raises nothing (G16's kind)."""
    rig = Rig(providers(2, counting.port))
    check = asyncio.ensure_future(rig.prober.check(("p1",)))
    await until(lambda: counting.now == 1, "the check is out")
    smaller = build_registry(load_text(providers(1, counting.port), "t", {}).settings, {}, version=2)
    rig.board.configure(smaller, rig.clock.now)
    rig.prober.configure(smaller)
    counting.release.set()
    result = (await check).providers[0]
    assert (result.name, result.healthy, result.status) == ("p1", True, "unknown")
    await rig.aclose()


async def test_a_result_is_forgotten_with_the_address_it_is_of(leakcheck: None) -> None:
    """Another address: what a check found at the old one says nothing; another priority: it still does."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        rig = Rig(providers(1, port))
        await rig.prober.check()
        assert not rig.prober.last["p0"].healthy
        for text, known in (
            (providers(1, port).replace("models:", "priority: 3, models:"), True),
            (providers(1, 9), False),
        ):
            rig.prober.configure(build_registry(load_text(text, "t", {}).settings, {}, version=2))
            assert ("p0" in rig.prober.last) is known
        await rig.aclose()
