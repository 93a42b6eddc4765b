"""The protocol side: connections are kept, ended, refused and counted as a real server would."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing, suppress

import pytest
import uvloop
from tests.simulator.wire import CHAT, Raw, ask, chat, drain, request
from tests.support.kernel import kernel_holds

from routerconsole.simulator import Behaviour, Cut, Greeting, Phase, Script, Simulator, Window, Wire


async def test_requests_behind_each_other_are_answered_in_order(sim: Simulator) -> None:
    """Pipelined requests on one connection get their replies in order, slow ones first too."""
    sim.set("slow", Behaviour(text="first", latency=0.05))
    sim.set("m", Behaviour(text="second"))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat("slow"), close=False) + request(CHAT, chat("m")))
    data = (await drain(reader)).data
    assert 0 < data.index(b'"first"') < data.index(b'"second"')
    writer.close()


async def test_what_is_no_http_gets_a_400_and_a_close(sim: Simulator) -> None:
    """Garbage (a TLS hello, say) is answered and ended; the server lives."""
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    reply = await drain(reader)
    assert (reply.status, reply.end) == (400, "fin")
    writer.close()
    assert (await ask(sim, chat())).status == 200


async def test_expect_continue_is_invited(sim: Simulator) -> None:
    """A client that asks first is told to go on before it sends its body."""
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    head, _, body = request(CHAT, chat(), "expect: 100-continue").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await drain(reader)).status == 200
    writer.close()


@pytest.mark.parametrize(("greeting", "end"), [(Greeting.CLOSE, "fin"), (Greeting.RESET, "reset")])
async def test_a_new_connection_is_ended_at_once(sim: Simulator, greeting: Greeting, end: str) -> None:
    """A greeting ends each new connection before it says anything."""
    sim.greeting = greeting
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    assert await drain(reader) == Raw(b"", end)
    writer.close()
    assert sim.total == 0


async def test_a_silent_greeting_reads_and_answers_nothing(sim: Simulator) -> None:
    """Accepted and ignored: the request is never counted, the connection ends with the peer."""
    sim.greeting = Greeting.SILENT
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    writer.write_eof()
    assert await drain(reader) == Raw(b"", "fin")
    writer.close()
    assert sim.total == 0


async def test_pause_refuses_and_resume_serves_on_the_same_port(sim: Simulator) -> None:
    """While paused a connect is refused, idle connections are gone and the port stays ours."""
    port = sim.port
    reader, writer = await asyncio.open_connection(sim.host, port)
    writer.write(request(CHAT, chat(), close=False))
    await reader.readuntil(b"\r\n\r\n")
    await sim.pause_listening()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(sim.host, port)
    await drain(reader)  # ends
    writer.close()
    await sim.resume_listening()
    assert sim.port == port
    assert (await ask(sim, chat())).status == 200


async def test_pause_lets_a_running_reply_finish_unless_told_to_drop(sim: Simulator) -> None:
    """A stream in progress is finished and its connection ended; with `drop` it is cut."""
    sim.set("m", Behaviour(tokens=6, tokens_per_second=100))
    for drop in (False, True):
        reader, writer = await asyncio.open_connection(sim.host, sim.port)
        writer.write(request(CHAT, chat(stream=True), close=False))
        await reader.readuntil(b"\r\n\r\n")
        await sim.pause_listening(drop=drop)
        reply = await drain(reader)
        assert (b"[DONE]" in reply.data) is not drop
        writer.close()
        await sim.resume_listening()


async def test_stop_and_start_keep_the_port(sim: Simulator) -> None:
    """A stopped simulator starts again where it was, with its models."""
    port = sim.port
    await sim.stop()
    await sim.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(sim.host, port)
    await sim.start(port=port)
    assert sim.port == port
    assert (await ask(sim, chat())).status == 200


async def test_stop_ends_what_a_pause_left_running(sim: Simulator) -> None:
    """A hanging reply survives a pause and ends with the stop."""
    sim.set("m", Behaviour(wire=Wire.HANG))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    await sim.wait_received(1)
    await sim.pause_listening()
    assert sim.open_connections == 1
    await sim.stop()
    await drain(reader)
    writer.close()
    assert (sim.open_connections, sim.closes[0].by) == (0, "us")


async def test_a_taken_port_is_an_os_error(sim: Simulator) -> None:
    """Two simulators cannot listen on one port."""
    with pytest.raises(OSError, match="in use"):
        await Simulator().start(port=sim.port)


async def test_a_script_refuses_in_its_windows() -> None:
    """Nothing listens in a refusing window."""
    async with Simulator(Script(default=Behaviour(), refusing=(Window(start=0, end=1e6),))) as sim:
        with pytest.raises(ConnectionRefusedError):
            await ask(sim, chat())


async def test_idle_connections_are_ended_after_keep_alive() -> None:
    """A script may end idle connections early, as real servers do."""
    async with Simulator(Script(default=Behaviour(), keep_alive_s=0.02)) as sim:
        reader, writer = await asyncio.open_connection(sim.host, sim.port)
        writer.write(request(CHAT, chat(), close=False))
        reply = await asyncio.wait_for(drain(reader), 60)
        assert (reply.status, reply.end) == (200, "fin")
        assert not sim.closes
        writer.close()


async def test_a_peer_that_leaves_in_a_stream_is_booked_with_its_bytes(sim: Simulator) -> None:
    """Cancellation reaches the upstream: the close has model, number and bytes."""
    sim.set("m", Behaviour(tokens=1_000, tokens_per_second=50))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat(stream=True)))
    data = await reader.readuntil(b'"role"')
    writer.close()
    await sim.wait_closed(1)
    close = sim.closes[0]
    assert (close.by, close.model, close.n) == ("peer", "m", 1)
    assert close.after_bytes >= len(data)


async def test_a_reader_that_stops_holds_the_stream(sim: Simulator) -> None:
    """An endless stream fills the sockets and then waits: memory is not the buffer."""
    most = kernel_holds() + 2_000_000
    sim.set("m", Behaviour(tokens=most // 100))  # 200 bytes each
    reader, writer = await asyncio.open_connection(sim.host, sim.port, limit=1024)
    writer.write(request(CHAT, chat(stream=True)))
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(60):
        while not sim.throttled:
            await asyncio.sleep(0.005)
    for _ in range(50):
        await asyncio.sleep(0)  # turns of the loop, not time: the playback would use them if it could
    writer.transport.abort()
    await sim.wait_closed(1)
    assert sim.closes[0].after_bytes < most


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_comes_with_the_stop_is_ended_too(leakcheck: None, turns: int) -> None:
    """Accepted already and not yet made, or made just now: nobody keeps an open connection to what has stopped."""
    async with Simulator() as sim:
        peer = socket.create_connection((sim.host, sim.port))
        peer.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
    with closing(peer), suppress(ConnectionResetError):
        assert peer.recv(1) == b""


async def test_books_name_every_request(sim: Simulator) -> None:
    """Received rows carry number, model, path, headers as pairs and the body."""
    await ask(sim, chat(), CHAT, "x-twice: a", "x-twice: b")
    await ask(sim, None, "/v1/models", method="GET")
    first, second = sim.received
    assert (first.n, first.model, first.method, first.path) == (1, "m", "POST", CHAT)
    assert [value for name, value in first.headers if name == "x-twice"] == ["a", "b"]
    assert json.loads(first.body)["model"] == "m"
    assert (second.model, second.path, sim.count("GET /v1/models")) == (None, "/v1/models", 1)
    assert (sim.total, sim.count("m"), sim.count("other")) == (2, 1, 0)


async def test_waiting_for_more_than_comes_times_out(sim: Simulator) -> None:
    """A wait that cannot be fulfilled ends with TimeoutError."""
    with pytest.raises(TimeoutError):
        await sim.wait_received(1, timeout=0.01)


async def test_statuses_follow_their_sequence_and_start_anew_when_set(sim: Simulator) -> None:
    """429, 429, 200 and on; with repeat=cycle over and over; `set` begins at the first."""
    sim.set("m", Behaviour(statuses=(429, 429, 200)))
    assert [(await ask(sim, chat())).status for _ in range(5)] == [429, 429, 200, 200, 200]
    sim.set("m", Behaviour(statuses=(503, 200), repeat="cycle"))
    assert [(await ask(sim, chat())).status for _ in range(4)] == [503, 200, 503, 200]


async def test_a_phase_replaces_the_behaviour(sim: Simulator) -> None:
    """In its phase a model does something else."""
    sim.set("m", Behaviour().but(Phase(start=0, end=1e6, behaviour=Behaviour(statuses=(500,)))))
    assert (await ask(sim, chat())).status == 500


def test_everything_works_under_uvloop() -> None:
    """Resets, refusals and pauses are the same on the loop the engine uses."""

    async def rounds() -> tuple[Raw, Raw, int]:
        async with Simulator(Script(default=Behaviour(), models={"r": Behaviour(wire=Wire.RESET)})) as sim:
            reset = await ask(sim, chat("r"))
            sim.set("cut", Behaviour(cut_after=3, cut=Cut.RESET))
            cut = await ask(sim, chat("cut", stream=True))
            await sim.pause_listening()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(sim.host, sim.port)
            await sim.resume_listening()
            return reset, cut, (await ask(sim, chat())).status

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reset, cut, status = runner.run(rounds())
    assert reset == Raw(b"", "reset")
    assert (cut.end, len(cut.said())) == ("reset", 3)
    assert status == 200
