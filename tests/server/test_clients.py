"""Clients that leave, stall, trickle or crowd: upstreams are let go, others are served, nothing stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from tests.server.raw import CHAT, Wire, chat, request
from tests.support.node import HELLO, RunningNode, chain, running_node, simulated

from routerconsole.domain.events import EventType
from routerconsole.server.door import MAX_IDLE_PER_PEER, DoorLimits
from routerconsole.simulator import Behaviour, Simulator

TEXT = orjson.dumps(HELLO)
STREAM = orjson.dumps({**HELLO, "stream": True})
AT_ONCE_S = 4.0
"""Within which an upstream is let go once its client has left: 100 ms (C01), and what a busy machine adds; no timer of
ours would be as quick."""


async def until(condition: Callable[[], bool], *, within: float = 60.0) -> None:
    """Wait until something the loop brings about holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def finished(node: RunningNode, cursor: int) -> dict[str, object]:
    """The row of the next request that ends after a cursor."""
    final = {EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED}
    async with asyncio.timeout(60):
        while True:
            await node.control.wait_events(cursor)
            page = await node.control.events(cursor)
            for event in page.events:
                if event.type in final:
                    row: dict[str, object] = orjson.loads(orjson.dumps(event.data["row"]))
                    return row
            cursor = page.next


async def left(simulator: Simulator, since: float) -> None:
    """Fail unless the upstream saw its peer close at once after a moment."""
    await simulator.wait_closed(1, timeout=60)
    (close,) = simulator.closes
    assert close.by == "peer"
    assert close.at - since < AT_ONCE_S


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    ("body", "behaviour"),
    [
        pytest.param(TEXT, Behaviour(latency=60.0), id="C01 before the first byte"),
        pytest.param(STREAM, Behaviour(latency=60.0), id="C02 before the first byte of a stream"),
        pytest.param(STREAM, Behaviour(ttft=60.0), id="C02 before the first token"),
    ],
)
async def test_C01_C02_a_client_that_leaves_early_takes_its_upstream_along(
    tmp_path: Path, body: bytes, behaviour: Behaviour, how: str
) -> None:
    """The upstream connection is closed at once, no other route is tried, the provider is not blamed."""
    async with (
        simulated(m1=behaviour, m2=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", "m2"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        await wire.send(request("POST", CHAT, body))
        await simulator.wait_received(1, model="m1")
        since = asyncio.get_running_loop().time()
        wire.reset() if how == "rst" else wire.writer.close()
        await left(simulator, since)
        row = await finished(node, cursor)
        assert (row["status"], row["attempts"]) == ("cancelled", 1)
        assert simulator.count("m2") == 0
        (provider, _) = await node.control.metrics()
        assert provider.failed == 0
        assert not node.service.chat.in_flight


async def test_C03_a_client_that_leaves_mid_stream_is_logged_with_what_it_got(tmp_path: Path) -> None:
    """The upstream is closed at once, and one record is kept (C1-49)."""
    async with (
        simulated(m1=Behaviour(stall_after=5, tokens=50)) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        await wire.send(request("POST", CHAT, STREAM))
        await wire.reader.readuntil(b"data: ")
        since = asyncio.get_running_loop().time()
        wire.writer.close()
        await left(simulator, since)
        row = await finished(node, cursor)
        assert row["status"] == "cancelled"
        detail = await node.control.request(str(row["id"]))
        assert detail is not None
        assert detail.terminal == "client_cancel"


async def test_C04_a_client_that_leaves_during_backoff_starts_no_further_attempt(tmp_path: Path) -> None:
    """While the router waits before a retry nothing is sent any more."""
    waits = "routing: {retry: {base_delay: 8s}}\n"
    async with (
        simulated(m1=Behaviour(statuses=(500,))) as simulator,
        running_node(chain(simulator, "m1", extra=waits), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        await wire.send(request("POST", CHAT, TEXT))
        await simulator.wait_received(1, model="m1")
        await until(lambda: any(flight.waited for flight in node.service.chat.in_flight.values()))
        wire.writer.close()
        row = await finished(node, cursor)
        assert (row["status"], row["attempts"]) == ("cancelled", 1)
        assert simulator.count("m1") == 1


async def test_C06_a_reset_during_the_upload_asks_no_upstream(tmp_path: Path) -> None:
    """Half a body is no request."""
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        head = {"content-type": "application/json", "content-length": "1000000"}
        await wire.send(request("POST", CHAT, headers=head) + TEXT)
        await until(lambda: node.server.connections == 1)
        wire.reset()
        await until(lambda: node.server.connections == 0)
        assert (await chat(node.port, HELLO)).status == 200
        assert simulator.count("m1") == 1


async def test_C07_headers_that_never_end_are_closed_and_others_are_served(tmp_path: Path) -> None:
    """300 connections trickle headers: each is ended at the limit although bytes keep coming."""
    limits = DoorLimits(header_timeout=1.0)
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
    ):
        slow = [await Wire.open(node.port) for _ in range(300)]
        for wire in slow:
            await wire.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: ")
        ends = asyncio.gather(*(wire.rest() for wire in slow))
        while not ends.done():
            for wire in slow:
                await wire.send(b"a")
            assert (await chat(node.port, HELLO)).status == 200
            await asyncio.wait({ends}, timeout=0.1)
        await until(lambda: node.server.connections == 0)
        for wire in slow:
            wire.writer.close()


@pytest.mark.parametrize("trickle", [False, True])
async def test_C08_a_body_that_stops_or_trickles_is_closed(tmp_path: Path, trickle: bool) -> None:
    """Ten megabytes announced and 100 bytes sent, or a byte now and then: 408 at the idle limit."""
    limits = DoorLimits(body_idle_timeout=1.0)
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
        await Wire.open(node.port) as wire,
    ):
        head = {"content-type": "application/json", "content-length": "10000000"}
        await wire.send(request("POST", CHAT, headers=head) + b"{" + b" " * 99)
        answer = asyncio.ensure_future(wire.reply())
        while trickle and not answer.done():
            await wire.send(b" ")
            await asyncio.wait({answer}, timeout=0.1)
        reply = await answer
        assert (reply.status, reply.code) == (408, "request_timeout")
        assert await wire.rest() == b""
        assert simulator.count("m1") == 0


async def test_C08_a_slow_body_that_makes_progress_is_read(tmp_path: Path) -> None:
    """The limit is for idling: a body that takes longer in steady pieces is served."""
    limits = DoorLimits(body_idle_timeout=3.0)
    body = orjson.dumps({"messages": [{"role": "user", "content": "x" * 30_000}]})
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
        await Wire.open(node.port) as wire,
    ):
        head = {"content-type": "application/json", "content-length": str(len(body))}
        await wire.send(request("POST", CHAT, headers=head))
        answer = asyncio.ensure_future(wire.reply())
        for start in range(0, len(body), 1_000):
            assert not answer.done(), "answered before the body was whole"
            await wire.send(body[start : start + 1_000])
            await asyncio.wait({answer}, timeout=0.15)
        assert (await answer).status == 200


async def test_C09_idle_connections_of_one_peer_are_thinned_out(tmp_path: Path) -> None:
    """Of 300 idle connections 64 stay; a request meanwhile is served."""
    async with simulated(m1=Behaviour()) as simulator, running_node(chain(simulator, "m1"), tmp_path) as node:
        idle = [await Wire.open(node.port) for _ in range(300)]
        await until(lambda: node.server.connections <= MAX_IDLE_PER_PEER)
        assert (await chat(node.port, HELLO)).status == 200
        for wire in idle:
            wire.writer.transport.abort()
        await until(lambda: node.server.connections == 0)


async def test_C10_connections_over_the_limit_are_told_so(tmp_path: Path) -> None:
    """429 with Retry-After and the end; those inside are served, and room is room again."""
    config_extra = "server: {max_connections: 40}\n"
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", extra=config_extra), tmp_path) as node,
    ):
        inside = [await Wire.open(node.port) for _ in range(40)]
        await until(lambda: node.server.connections == 40)
        for _ in range(20):
            async with await Wire.open(node.port) as wire:
                await wire.send(request("GET", "/healthz"))
                reply = await wire.reply()
                assert (reply.status, reply.code) == (429, "overloaded")
                assert int(reply.headers["retry-after"]) >= 1
                assert await wire.rest() == b""
        await inside[0].send(request("POST", CHAT, TEXT))
        assert (await inside[0].reply()).status == 200
        for wire in inside:
            wire.writer.transport.abort()
        await until(lambda: node.server.connections == 0)
        assert (await chat(node.port, HELLO)).status == 200


async def test_C12_a_storm_of_short_visits_leaves_nothing(tmp_path: Path) -> None:
    """600 clients that connect, ask and leave in every phase: tasks, connections and requests return to zero."""
    async with (
        simulated(m1=Behaviour(latency=0.02)) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
    ):
        assert (await chat(node.port, HELLO)).status == 200
        tasks = len(asyncio.all_tasks())
        whole = request("POST", CHAT, STREAM)
        for number in range(600):
            async with await Wire.open(node.port) as wire:
                await wire.send(whole[: (0, 20, len(whole) - 5, len(whole))[number % 4]])
        await until(lambda: node.server.connections == 0 and not node.service.chat.in_flight)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert (await chat(node.port, HELLO)).status == 200
        assert (await node.control.status()).in_flight == 0


async def test_C16_one_connection_serves_thousands_of_requests(tmp_path: Path) -> None:
    """1,500 requests on one keep-alive connection, a third of them routed, without growth."""
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        tasks = len(asyncio.all_tasks())
        for number in range(1_500):
            await wire.send(request("POST", CHAT, TEXT) if number % 3 == 0 else request("GET", "/healthz"))
            assert (await wire.reply()).status == 200
        assert node.server.connections == 1
        assert len(asyncio.all_tasks()) <= tasks + 4


# --- clients that read too slowly ---
async def test_S36_a_client_that_stops_reading_is_cut_and_its_upstream_let_go(tmp_path: Path) -> None:
    """At the write-stall limit the request ends as cancelled; the provider is not blamed."""
    limits = DoorLimits(write_stall_timeout=1.0)
    behaviour = Behaviour(text="wordwordword " * 300_000)
    async with (
        simulated(m1=behaviour) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
        await Wire.open(node.port, receive_buffer=4096) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
        await wire.send(request("POST", CHAT, STREAM))
        row = await finished(node, cursor)
        assert row["status"] == "cancelled"
        (provider,) = await node.control.metrics()
        assert provider.failed == 0
        await simulator.wait_closed(1)
        assert simulator.closes[-1].by == "peer"
        assert not node.service.chat.in_flight


async def test_S36_a_whole_answer_that_nobody_reads_does_not_hold_its_connection(tmp_path: Path) -> None:
    """The answer is out and the request over, but its last bytes wait: the stall limit ends the connection."""
    limits = DoorLimits(write_stall_timeout=0.5)
    async with (
        simulated(m1=Behaviour(text="x" * 10_000_000)) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
        await Wire.open(node.port, receive_buffer=4096) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
        await wire.send(request("POST", CHAT, TEXT))
        assert (await finished(node, cursor))["status"] == "ok"
        await until(lambda: node.server.connections == 0)


async def test_S35_a_slow_reader_holds_the_upstream_back_and_nobody_else(tmp_path: Path) -> None:
    """What waits for it is bounded at 256 KB; meanwhile another client is served."""
    behaviour = Behaviour(text="wordwordword " * 300_000)
    async with (
        simulated(m1=behaviour, m2=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", "m2"), tmp_path) as node,
        await Wire.open(node.port, receive_buffer=4096) as wire,
    ):
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
        await wire.send(request("POST", CHAT, STREAM))
        await until(lambda: any(one.stalled_since is not None for one in node.server.door.connections))
        for _ in range(20):
            assert (await chat(node.port, {"model": "b/m2", **HELLO})).status == 200
        waiting = [one.transport.get_write_buffer_size() for one in node.server.door.connections]  # type: ignore[attr-defined]  # a protocol's own
        assert max(waiting) <= 256 * 1024
        assert node.service.chat.in_flight


@pytest.mark.parametrize(("status", "ending"), [(200, b"data: [DONE]"), (400, b'data: {"error":')])
async def test_early_headers_come_before_the_commit_and_the_rest_in_band(
    tmp_path: Path, status: int, ending: bytes
) -> None:
    """The 200 comes while the upstream is silent; then the stream, or one error event and no [DONE]."""
    async with (
        simulated(m1=Behaviour(latency=0.3, statuses=(status,))) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        await wire.send(request("POST", CHAT, STREAM, headers={"x-router-early-headers": "1", "connection": "close"}))
        head = await wire.reader.readuntil(b": waiting\n\n")
        assert b"200 OK" in head
        assert b"data: " not in head
        rest = await wire.rest()
        assert ending in rest
        assert (b"[DONE]" in rest) is (status == 200)


async def test_C04_an_early_headers_client_that_leaves_takes_its_upstream_along(tmp_path: Path) -> None:
    """Waiting with comments changes nothing about leaving."""
    async with (
        simulated(m1=Behaviour(latency=60.0)) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        cursor = (await node.control.events(-1)).next
        await wire.send(request("POST", CHAT, STREAM, headers={"x-router-early-headers": "1"}))
        await simulator.wait_received(1, model="m1")
        since = asyncio.get_running_loop().time()
        wire.writer.close()
        await left(simulator, since)
        assert (await finished(node, cursor))["status"] == "cancelled"
