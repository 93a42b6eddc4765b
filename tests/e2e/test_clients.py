"""Clients that leave, stall or storm, over raw sockets: upstreams close at once, leases come back, no one notices."""

from __future__ import annotations

import asyncio
import socket
import struct

import orjson
import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, HELLO, Stand
from tests.support.kernel import kernel_holds

from routerconsole.domain.secret import Secret
from routerconsole.server.app import App
from routerconsole.server.door import DoorLimits
from routerconsole.server.guard import Guard
from routerconsole.server.run import HttpServer, bind
from routerconsole.simulator import Behaviour, Simulator, Wire

AT_ONCE_S = 1.0


class Raw:
    """One client connection; its receive buffer is small, so that not reading is felt."""

    def __init__(self, stand: Stand, port: int | None = None) -> None:
        self._stand, self._port = stand, port or stand.port
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._sock.setblocking(False)

    async def send(self, *, extra: dict[str, str] | None = None, **body: object) -> None:
        """Connect and send a chat request."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._sock, ("127.0.0.1", self._port))
        data = orjson.dumps({"model": "m", "messages": HELLO, **body})
        headers = {
            "host": "localhost", "authorization": f"Bearer {self._stand.client_token}",
            "content-type": "application/json", "content-length": str(len(data)), **(extra or {}),
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await loop.sock_sendall(self._sock, f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + data)

    async def read(self, size: int = 65_536) -> bytes:
        """Read what is there."""
        return await asyncio.get_running_loop().sock_recv(self._sock, size)

    def fin(self) -> None:
        """Send a FIN and go on listening, as a client does that only shuts down its side."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave properly."""
        self._sock.close()

    def reset(self) -> None:
        """Leave with an RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


async def closed_after(sim: Simulator, left: float, closes: int = 1) -> float:
    """Wait until the upstream saw its peer close; return seconds since `left`."""
    await sim.wait_closed(closes)
    assert sim.closes[-1].by == "peer"
    return sim.closes[-1].at - left


@pytest.mark.parametrize("way", ["fin", "close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
async def test_C01_C02_a_client_that_leaves_before_the_answer(make: MakeStand, stream: bool, way: str) -> None:
    """FIN, close or RST while the upstream is silent: closed within 100 ms, nothing counted, no other attempt."""
    stand = await make()
    sim = stand.sims["a"]
    sim.set("m", Behaviour(wire=Wire.HANG))
    took = []
    for n in range(1, 4):
        client = Raw(stand)
        await client.send(stream=stream)
        await sim.wait_received(n, model="m")
        left = asyncio.get_running_loop().time()
        getattr(client, way)()
        took.append(await closed_after(sim, left, n))
        await stand.until(lambda: stand.idle)
        client.close()
    assert min(took) <= AT_ONCE_S
    trace = await stand.newest()
    assert (trace.row.status, trace.row.http_status, trace.terminal) == ("cancelled", 499, "client_cancel")
    assert [(item.provider, item.class_) for item in trace.attempts_detail] == [("a", "ignored")]
    assert stand.sims["b"].count("m") == 0
    assert ((await stand.route("a")).circuit_state, (await stand.provider("a")).circuit_state) == ("closed", "closed")


@pytest.mark.parametrize("way", ["fin", "close", "reset"])
async def test_C03_a_client_that_leaves_in_mid_stream(make: MakeStand, way: str) -> None:
    """The same after some tokens; the log says cancelled and how far it got."""
    stand = await make()
    sim = stand.sims["a"]
    sim.set("m", Behaviour(tokens=40, stall_after=5))
    took = []
    for n in range(1, 4):
        client = Raw(stand)
        await client.send(stream=True)
        seen = b""
        while seen.count(b'"content":"') < 6:  # the role frame's and five tokens
            seen += await client.read()
        left = asyncio.get_running_loop().time()
        getattr(client, way)()
        took.append(await closed_after(sim, left, n))
        await stand.until(lambda: stand.idle)
        client.close()
    assert min(took) <= AT_ONCE_S
    trace = await stand.newest()
    assert (trace.row.status, trace.terminal, trace.row.provider) == ("cancelled", "client_cancel", "a")
    assert trace.row.ttft_ms is not None
    assert [item.class_ for item in trace.attempts_detail] == ["ignored"]
    assert (await stand.route("a")).circuit_state == "closed"


async def test_C04_nothing_starts_for_a_client_that_left_in_back_off(make: MakeStand) -> None:
    """Gone while we wait out a 429: the second attempt never happens."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(statuses=(429, 200), retry_after="0.5"))
    client = Raw(stand)
    await client.send()
    await stand.until(lambda: stand.events("attempt.failed"))
    client.close()
    await stand.until(lambda: stand.idle)
    trace = await stand.newest()
    assert (trace.row.status, len(trace.attempts_detail)) == ("cancelled", 1)
    assert sim.count("m") == 1
    assert (await stand.chat()).status == 200  # waits for the very moment at which it would have been asked again
    assert sim.count("m") == 2


async def test_C04_nothing_starts_for_a_client_that_left_in_hold_back(make: MakeStand) -> None:
    """Gone while a forced tool call is awaited behind prose: A is closed and B never asked."""
    stand = await make()
    sim = stand.sims["a"]
    sim.set("m", Behaviour(tools="ignore", tokens=30, stall_after=10))
    client = Raw(stand)
    await client.send(stream=True, **FORCED)
    await sim.wait_received(1, model="m")
    await stand.until(lambda: stand.node.service.chat.in_flight)
    left = asyncio.get_running_loop().time()
    client.close()
    assert await closed_after(sim, left) < 5 * AT_ONCE_S
    await stand.until(lambda: stand.idle)
    assert stand.sims["b"].count("m") == 0


async def test_C04_an_early_headers_client_that_leaves(make: MakeStand) -> None:
    """Comments were sent already; leaving still closes the upstream."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(wire=Wire.HANG))
    client = Raw(stand)
    await client.send(stream=True, extra={"x-router-early-headers": "1"})
    await sim.wait_received(1, model="m")
    assert b"200 OK" in await client.read()
    left = asyncio.get_running_loop().time()
    client.close()
    assert await closed_after(sim, left) < 5 * AT_ONCE_S
    await stand.until(lambda: stand.idle)
    assert (await stand.newest()).row.status == "cancelled"


async def test_C01_a_pipelined_client_that_leaves(make: MakeStand, caplog: pytest.LogCaptureFixture) -> None:
    """Two requests on one connection, gone during the first: no second one upstream."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(wire=Wire.HANG))
    client = Raw(stand)
    await client.send()
    await sim.wait_received(1, model="m")
    body = orjson.dumps({"model": "m", "messages": HELLO})
    await asyncio.get_running_loop().sock_sendall(
        client._sock,
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s" % (stand.client_token.encode(), len(body), body),
    )
    client.close()
    await sim.wait_closed()
    await stand.until(lambda: stand.idle)
    await stand.until(lambda: stand.node.server.connections == 0)
    assert sim.count("m") == 1
    assert not caplog.records


async def test_C06_a_reset_during_the_upload_reaches_nobody(make: MakeStand) -> None:
    """Half a body, then RST: no upstream attempt, no trace of one."""
    stand = await make("a")
    client = Raw(stand)
    await client.send(extra={"content-length": "100000"})
    client.reset()
    assert (await stand.chat()).status == 200
    await stand.until(lambda: stand.idle)
    assert stand.sims["a"].count("m") == 1


async def test_C1_40_twenty_clients_that_left_change_nothing(make: MakeStand) -> None:
    """20 cancelled streams: the circuit, the health word and the error rate are as before."""
    stand = await make("a", providers={"a": {"max_concurrency": 30}})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(tokens=40, stall_after=5))
    clients = [Raw(stand) for _ in range(20)]
    for client in clients:
        await client.send(stream=True)
    await stand.until(lambda: len(stand.events("attempt.first_token")) == 20)
    for client in clients:
        client.reset()
    await stand.until(lambda: stand.idle)
    route = await stand.route("a")
    assert (route.circuit_state, route.status in ("healthy", "unknown"), route.error_rate) == ("closed", True, 0.0)
    assert len(stand.events("request.cancelled")) == 20


async def test_C12_a_storm_of_clients_that_leave(make: MakeStand) -> None:
    """Several hundred connect, ask and leave at once: everything is given back and the next is served."""
    stand = await make("a", providers={"a": {"max_concurrency": 1000}})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(wire=Wire.HANG))

    async def storm(n: int) -> None:
        client = Raw(stand)
        await client.send(stream=bool(n % 2))
        (client.reset if n % 3 else client.close)()

    for _ in range(5):
        await asyncio.gather(*(storm(n) for n in range(100)))
    await stand.until(lambda: stand.idle)
    await stand.until(lambda: stand.node.server.connections == 0)
    await sim.wait_connections(4)  # health checks and what is kept alive
    sim.set("m", Behaviour())
    assert (await stand.chat()).status == 200
    assert (await stand.route("a")).circuit_state == "closed"


async def test_S35_a_slow_reader_slows_its_upstream_and_nobody_else(make: MakeStand) -> None:
    """A client that does not read: the upstream is held back, others are served, and leaving ends it."""
    stand = await make(providers={"a": {"max_concurrency": 10}})
    sim = stand.sims["a"]
    most = 2 * kernel_holds() + 2_000_000  # kernel buffers on four sockets, and our quarter of a megabyte
    sim.set("m", Behaviour(tokens=most // 100))  # 200 bytes each
    client = Raw(stand)
    await client.send(stream=True)
    await stand.until(lambda: sim.throttled, "a throttled upstream")
    for _ in range(20):
        reply = await stand.chat("b/m")
        assert reply.status == 200
    client.close()
    await sim.wait_closed()
    assert sim.closes[-1].after_bytes < most
    await stand.until(lambda: stand.idle)
    assert (await stand.newest()).row.status in ("cancelled", "ok")


async def test_S36_a_client_that_stops_reading_is_dropped(make: MakeStand) -> None:
    """After the stall limit (30 s by default, here half a second) the upstream is cancelled; class ignored."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(tokens=200_000))
    service, guard = stand.node.service, Guard(Secret(stand.client_token), Secret(stand.admin_token))

    async def no_api(scope: object, receive: object, send: object) -> None:
        raise NotImplementedError

    app = App(chat=service.chat, control=stand.node.control, guard=guard, api=no_api, metrics=bytes, max_body=1 << 20)
    sock = bind("127.0.0.1", 0)
    server = HttpServer(app, sock, DoorLimits(write_stall_timeout=0.5))
    await server.start(service.tasks)
    client = Raw(stand, sock.getsockname()[1])
    try:
        await client.send(stream=True)
        await sim.wait_closed(timeout=60)
        await stand.until(lambda: stand.idle)
        trace = await stand.newest()
        assert (trace.row.status, trace.attempts_detail[0].class_) == ("cancelled", "ignored")
        assert (await stand.route("a")).circuit_state == "closed"
    finally:
        client.close()
        server.stop_accepting()
        await server.stop()
