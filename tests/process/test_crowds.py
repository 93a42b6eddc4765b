"""Crowds at the door of a real process, at full size and with its own limits; what it holds is what the kernel says."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.process.conftest import Upstreams
from tests.process.measure import allow_files, descriptors, growth, resident_mb, tasks
from tests.process.router import Bench, Router, until

from routerconsole.server.door import IDLE_GRACE_S, MAX_IDLE_PER_PEER
from routerconsole.simulator import Behaviour


def asked(router: Router, *, stream: bool = False, model: str = "auto") -> bytes:
    """A chat request as bytes."""
    sent = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    body = json.dumps(sent).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {router.token('client')}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@contextmanager
def connections(router: Router, count: int, *, say: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many open connections from this machine, each of which says something as soon as it is open."""
    allow_files(len(os.listdir("/proc/self/fd")) + count + 100)
    with ExitStack() as held:
        made = []
        for _ in range(count):
            made.append(held.enter_context(socket.create_connection(("127.0.0.1", router.port), timeout=60)))
            made[-1].sendall(say)
        yield made


def answer(sock: socket.socket) -> int:
    """Read one whole answer with a length; return its status."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += received(sock)
    head, _, body = raw.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    while len(body) < length:
        body += received(sock)
    return int(head.split()[1])


def received(sock: socket.socket) -> bytes:
    """Some bytes; fails at the end of the connection."""
    data = sock.recv(65_536)
    assert data, "the connection ended"
    return data


def open_of(socks: list[socket.socket]) -> list[socket.socket]:
    """Those whose server has neither closed nor said anything."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poll.register(number, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    silent = by_number.keys() - {number for number, _ in poll.poll(0)}
    return [by_number[number] for number in silent]


def test_C09_of_a_thousand_idle_connections_of_one_peer_64_are_kept(bench: Bench, upstreams: Upstreams) -> None:
    """Half of them asked something first; others are served meanwhile, and one that is kept still serves."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()
    with connections(router, 500) as silent, connections(router, 500, say=HEALTH) as asking:
        assert {answer(sock) for sock in asking} == {200}
        assert router.chat()[0] == 200
        idle = [*silent, *asking]
        until(lambda: len(open_of(idle)) <= MAX_IDLE_PER_PEER, "64 are left")  # who asked could stay for 75 s
        kept = open_of(idle)
        assert len(kept) == MAX_IDLE_PER_PEER
        kept[0].sendall(asked(router))
        assert answer(kept[0]) == 200
        assert router.chat()[0] == 200
    assert "Traceback" not in router.err


@pytest.mark.parametrize(("files", "admitted"), [(256, 96), (4_096, 1_024)])
def test_C10_two_thousand_connections_never_take_the_last_descriptors(
    bench: Bench, upstreams: Upstreams, files: int, admitted: int
) -> None:
    """Few or many descriptors: as many as the limits allow are inside and served, the rest is told; 32 stay free."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config, through=["prlimit", f"--nofile={files}:{files}"]).ready()
    at_rest = descriptors(router)
    with connections(router, 20) as inside:
        for sock in inside:
            sock.sendall(asked(router))
        assert {answer(sock) for sock in inside} == {200}
        began = time.monotonic()
        with connections(router, 2_000) as crowd:
            until(lambda: len(open_of(crowd)) <= admitted - len(inside), "the rest is told")
            still = set(open_of(crowd))
            quick = time.monotonic() - began < IDLE_GRACE_S  # else idle ones may have been sent away meanwhile
            told = Counter(answer(sock) if sock.recv(1, socket.MSG_PEEK) else None for sock in set(crowd) - still)
            assert told[429] > 0
            assert set(told) == {429} if quick else set(told) <= {429, None}
            assert descriptors(router) <= files - 32
            inside[0].sendall(asked(router))
            assert answer(inside[0]) == 200
        until(lambda: descriptors(router) < at_rest + 64, "those who left are forgotten")
        assert router.control("a", "disable")[1]["persisted"]
    assert "Too many open files" not in router.err
    assert "Traceback" not in router.err


KEPT = 8
"""How many more upstream connections may be kept after a crowd than before: they are, for 30 s."""
PHASES = 6
"""Ways to visit: say nothing, half a head, half a body, ask and leave, ask and reset, ask and wait."""


async def visit(port: int, whole: bytes, number: int) -> None:
    """Connect, come as far as the number says, and leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    phase = number % PHASES
    try:
        writer.write(whole[: (0, 40, len(whole) - 5, len(whole), len(whole), len(whole))[phase]])
        await writer.drain()
        if phase == PHASES - 1:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        if phase == PHASES - 2:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        writer.transport.abort() if phase == PHASES - 2 else writer.close()


async def storm(router: Router, rate: int, visits: int) -> None:
    """So many visits, at most so many a second; raises what went wrong in one."""
    loop, whole = asyncio.get_running_loop(), asked(router, stream=True)
    began, number = loop.time(), 0
    async with asyncio.TaskGroup() as group:
        while number < visits:
            while number < min(visits, (loop.time() - began) * rate):
                group.create_task(visit(router.port, whole, number))
                number += 1
            await asyncio.sleep(0.005)


def stormed(router: Router, *, rate: int, seconds: float, warm_s: float) -> float:
    """Storm for so long after a first storm; descriptors and tasks must be what they were between; MB that memory grew.

    The first storm is there to fill what is bounded: kept rows, kept bodies, the ring of events.
    """
    allow_files(4_000)
    asyncio.run(storm(router, rate, round(rate * warm_s)))
    until(lambda: router.status()["in_flight"] == 0, "the first storm is over")
    assert router.chat()[0] == 200
    names, files, memory = tasks(router), descriptors(router), resident_mb(router)
    visits = round(rate * seconds)
    asyncio.run(storm(router, rate, visits))
    until(lambda: router.status()["in_flight"] == 0, "the storm is over")
    until(lambda: descriptors(router) <= files + KEPT, "descriptors are back")
    until(lambda: not tasks(router) - names, "tasks are back")
    assert router.chat()[0] == 200
    assert "Traceback" not in router.err
    grown = resident_mb(router) - memory
    print(f"{visits} visits, {grown:+.1f} MB, {files} descriptors, {names.total()} tasks")
    return grown


def test_C12_a_storm_leaves_memory_descriptors_and_tasks_as_they_were(bench: Bench, upstreams: Upstreams) -> None:
    """1,000 visits, 500 a second, left in every phase (a minute of it is in tests/acceptance)."""
    config, _ = upstreams(a=Behaviour(latency=0.02))
    grown = stormed(bench.start(config).ready(), rate=500, seconds=2.0, warm_s=0.5)
    assert grown < 6, "half of 1,000 visits are requests, whose rows and events are kept up to a bound"


def kept_alive(router: Router, asking: bytes, count: int) -> float:
    """Ask so often on one connection, after a thousand routed requests; return how many MB memory grew."""
    with connections(router, 1) as (sock,):
        for _ in range(1_000):
            sock.sendall(asked(router))
            assert answer(sock) == 200
        names, files = tasks(router), descriptors(router)
        with growth(router) as grown:
            for _ in range(count):
                sock.sendall(asking)
                assert answer(sock) == 200
        assert descriptors(router) <= files + KEPT
        until(lambda: not tasks(router) - names, "no task stays")
    print(f"{count} requests, {grown.mb:+.1f} MB")
    return grown.mb


def test_C16_ten_thousand_requests_on_one_connection_take_no_memory(bench: Bench, upstreams: Upstreams) -> None:
    """A thousand routed ones, then 9,000 that leave no row behind (10,000 routed ones are in tests/acceptance)."""
    config, _ = upstreams(a=Behaviour())
    assert kept_alive(bench.start(config).ready(), HEALTH, 9_000) < 2
