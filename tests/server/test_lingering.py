"""What a client is told when it is refused before it has sent everything, and what becomes of its connection."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.server.conftest import Bench
from tests.server.raw import CHAT, Wire, chat, request
from tests.support.node import CLIENT_TOKEN, HELLO, chain, running_node, simulated

from routerconsole.server.door import MAX_TURNED_AWAY, DoorLimits
from routerconsole.simulator import Behaviour

HEAD = {"authorization": f"Bearer {CLIENT_TOKEN}", "content-type": "application/json"}
HUGE = b"a" * (21 * 1024 * 1024)


def plainly(port: int, ask: Callable[[http.client.HTTPConnection], None]) -> int:
    """The status an ordinary client gets, which reads nothing before it has sent everything."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        ask(client)
        return client.getresponse().status
    finally:
        client.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("chunked", [False, True])
async def test_R07_a_client_that_sends_all_of_it_still_reads_the_413(bench: Bench, chunked: bool) -> None:
    """A reset in the middle of its body would tell it nothing."""

    def ask(client: http.client.HTTPConnection) -> None:
        pieces = iter([HUGE]) if chunked else HUGE
        client.request("POST", CHAT, pieces, HEAD, encode_chunked=chunked)

    assert await asyncio.to_thread(plainly, bench.port, ask) == 413


@pytest.mark.asyncio(loop_scope="module")
async def test_X16_a_client_with_too_many_headers_still_reads_the_431(bench: Bench) -> None:
    """The same for a head of megabytes."""
    fields = {f"x-{n}": "a" * 8000 for n in range(500)}
    assert (
        await asyncio.to_thread(plainly, bench.port, lambda client: client.request("GET", "/healthz", None, fields))
        == 431
    )


async def test_C09_a_client_too_many_that_sends_its_request_in_pieces_reads_the_429(tmp_path: Path) -> None:
    """Those over even that are closed without more words; room inside is counted without any of them."""

    def ask(client: http.client.HTTPConnection) -> None:
        client.connect()
        client.request("POST", CHAT, iter([b"a" * 65536] * 64), HEAD, encode_chunked=True)

    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=DoorLimits(max_connections=1)) as node,
    ):
        door = node.server.door
        async with await Wire.open(node.port) as inside:
            await inside.send(request("GET", "/healthz"))
            await inside.reply()
            assert await asyncio.to_thread(plainly, node.port, ask) == 429
            crowd = [await Wire.open(node.port) for _ in range(MAX_TURNED_AWAY + 5)]
            async with asyncio.timeout(60):
                while len(door.turned_away) < MAX_TURNED_AWAY:
                    await asyncio.sleep(0.005)
            assert len(door.connections) == 1
        async with asyncio.timeout(60):
            while door.connections:
                await asyncio.sleep(0.005)
        assert (await chat(node.port, HELLO)).status == 200
        for wire in crowd:
            wire.writer.transport.abort()
        async with asyncio.timeout(60):
            while door.turned_away:
                await asyncio.sleep(0.005)


async def test_C09_a_refused_client_that_never_stops_is_cut(tmp_path: Path) -> None:
    """It is read for a while, then its connection ends; nothing of what it sends is kept."""
    limits = DoorLimits(max_body=1000, linger=0.1)
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=limits) as node,
        await Wire.open(node.port) as wire,
    ):
        await wire.send(request("POST", CHAT, headers={**HEAD, "content-length": str(10**9)}))
        assert (await wire.reply()).status == 413
        async with asyncio.timeout(60):
            while node.server.door.connections:
                await wire.send(b"a" * 65536)


async def test_C09_a_connection_refused_by_its_head_is_idle_once_its_body_is_there(tmp_path: Path) -> None:
    """It ends like any other that asks for nothing, and until then it is of use."""
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=DoorLimits(keep_alive=0.2)) as node,
        await Wire.open(node.port) as wire,
    ):
        raw = request("POST", CHAT, b"{}" * 50, token="wrong")
        for _ in range(2):
            await wire.send(raw[:-100])
            assert (await wire.reply()).status == 401
            await wire.send(raw[-100:])
        assert await wire.rest() == b""


async def test_C09_a_body_that_nobody_wants_is_not_waited_for_either(tmp_path: Path) -> None:
    """Its idle limit is that of any body: with it the connection ends."""
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path, limits=DoorLimits(body_idle_timeout=0.2)) as node,
        await Wire.open(node.port) as wire,
    ):
        await wire.send(request("POST", CHAT, b"{}" * 50, token="wrong")[:-50])
        assert (await wire.reply()).status == 401
        await wire.rest()
        assert (await chat(node.port, HELLO)).status == 200
