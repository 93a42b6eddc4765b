"""Every wire fault and every odd 200 is seen on a raw socket."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.simulator.wire import CHAT, Raw, ask, chat, drain, request
from tests.support.kernel import kernel_holds

from routerconsole.simulator import Answering, Behaviour, Simulator, Wire


@pytest.mark.parametrize(
    ("wire", "end", "data"),
    [
        (Wire.RESET, "reset", b""),
        (Wire.CLOSE, "fin", b""),
        (Wire.NOT_HTTP, "fin", b"220 mail.example.test ESMTP ready\r\n"),
        (Wire.MID_HEADERS, "fin", b"HTTP/1.1 200 OK\r\ncontent-type: applica"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_before_the_reply_leaves_exactly_this(
    sim: Simulator, wire: Wire, end: str, data: bytes, stream: bool
) -> None:
    """A refused reply is what the fault's name says, whole or streamed, and is booked as ended by us."""
    sim.set("m", Behaviour(wire=wire))
    reply = await ask(sim, chat(stream=stream))
    assert reply == Raw(data, end)
    await sim.wait_closed(1)
    assert sim.closes[0].by == "us"
    assert sim.closes[0].after_bytes == len(data)


@pytest.mark.parametrize(
    ("wire", "seen"), [(Wire.HANG, b""), (Wire.HEADERS_HANG, b"HTTP/1.1 200 OK\r\ncontent-type: applica")]
)
async def test_a_hang_lasts_until_the_peer_leaves(sim: Simulator, wire: Wire, seen: bytes) -> None:
    """A hanging model sends its bit and nothing more; that the peer gave up is booked."""
    sim.set("m", Behaviour(wire=wire))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    await sim.wait_received(1)
    assert await reader.readexactly(len(seen)) == seen
    assert not sim.closes
    writer.close()
    await sim.wait_closed(1)
    assert (sim.closes[0].by, sim.closes[0].after_bytes, sim.closes[0].model) == ("peer", len(seen), "m")


async def test_body_hang_sends_the_head_alone(sim: Simulator) -> None:
    """The head announces a body that never comes."""
    sim.set("m", Behaviour(wire=Wire.BODY_HANG))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-length: " in head
    writer.close()
    await sim.wait_closed(1)
    assert sim.closes[0].after_bytes == len(head)


@pytest.mark.parametrize("wire", [Wire.STALE, Wire.STALE_RESET])
async def test_stale_serves_a_new_connection_and_ends_a_reused_one(sim: Simulator, wire: Wire) -> None:
    """The second request on a connection finds it closed without a byte; a new connection is served."""
    sim.set("m", Behaviour(wire=wire))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat(), close=False))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.write(request(CHAT, chat(), close=False))
    assert await drain(reader) == Raw(b"", "fin" if wire is Wire.STALE else "reset")
    writer.close()
    assert (await ask(sim, chat())).status == 200
    assert sim.count("m") == 3


async def test_lengths_that_lie(sim: Simulator) -> None:
    """Content-length is too long, too short, doubled and in conflict with itself."""
    seen = {}
    for wire in (Wire.LONG_LENGTH, Wire.SHORT_LENGTH, Wire.DOUBLE_LENGTH, Wire.CONFLICTING_LENGTH):
        sim.set("m", Behaviour(wire=wire))
        reply = await ask(sim, chat())
        size = len(reply.body)
        assert json.loads(reply.body)["object"] == "chat.completion"
        seen[wire] = [int(value) - size for value in reply.header("content-length")]
    assert seen[Wire.LONG_LENGTH] == [100]
    assert seen[Wire.SHORT_LENGTH][0] < 0
    assert seen[Wire.DOUBLE_LENGTH] == [0, 0]
    assert seen[Wire.CONFLICTING_LENGTH] == [0, 7]


async def test_broken_chunking(sim: Simulator) -> None:
    """A chunked body without its last chunk, and a chunk size that is no number."""
    sim.set("m", Behaviour(wire=Wire.TRUNCATED_CHUNKS))
    reply = await ask(sim, chat())
    assert reply.header("transfer-encoding") == ["chunked"]
    assert reply.body.startswith(b'{"id"')
    assert not reply.complete
    sim.set("m", Behaviour(wire=Wire.BAD_CHUNK))
    assert b"\r\n\r\nzz\r\n{" in (await ask(sim, chat())).data


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_beyond_measure(sim: Simulator, stream: bool) -> None:
    """A header of 64 KiB, one of 10 KB and a thousand headers reach the peer."""
    sim.set("m", Behaviour(wire=Wire.HUGE_HEADER))
    assert len((await ask(sim, chat(stream=stream))).header("x-huge")[0]) == 65_536
    sim.set("m", Behaviour(wire=Wire.LONG_HEADER))
    assert len((await ask(sim, chat(stream=stream))).header("x-long")[0]) == 10_240
    sim.set("m", Behaviour(wire=Wire.MANY_HEADERS))
    assert (await ask(sim, chat(stream=stream))).head.count("x-many-") == 1_000


async def test_hostile_headers(sim: Simulator) -> None:
    """Cookies, a Location, bare CR and LF and escapes go out as they are."""
    sim.set("m", Behaviour(wire=Wire.COOKIES))
    reply = await ask(sim, chat())
    assert reply.header("set-cookie")
    assert reply.header("location") == ["http://169.254.169.254/latest/meta-data/"]
    sim.set("m", Behaviour(wire=Wire.INJECTION))
    data = (await ask(sim, chat())).data
    assert b"a\rset-cookie: b=c" in data
    assert b"1\nx-evil: yes" in data
    assert b"\x1b[2J" in data


async def test_informational_and_bodiless_statuses(sim: Simulator) -> None:
    """103 and 100 come before the 200; 204 has no body; 206 has half of one."""
    for wire, first in ((Wire.EARLY_HINTS, b"HTTP/1.1 103 "), (Wire.CONTINUE, b"HTTP/1.1 100 ")):
        sim.set("m", Behaviour(wire=wire))
        data = (await ask(sim, chat())).data
        assert data.startswith(first)
        assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in data
    sim.set("m", Behaviour(wire=Wire.NO_CONTENT))
    reply = await ask(sim, chat())
    assert (reply.status, reply.body) == (204, b"")
    sim.set("m", Behaviour(wire=Wire.PARTIAL))
    reply = await ask(sim, chat())
    assert reply.status == 206
    assert reply.header("content-length") == [str(len(reply.body))]
    assert not reply.body.endswith(b"}")


async def test_other_lies(sim: Simulator) -> None:
    """A broken status line, a false gzip and a second response nobody asked for."""
    sim.set("m", Behaviour(wire=Wire.BAD_STATUS))
    assert (await ask(sim, chat())).data.startswith(b"HTTP/1.1 two hundred OK\r\n")
    sim.set("m", Behaviour(wire=Wire.GZIP_LIE))
    reply = await ask(sim, chat())
    assert reply.header("content-encoding") == ["gzip"]
    assert reply.body.startswith(b"{")
    sim.set("m", Behaviour(wire=Wire.EXTRA_BYTES))
    assert (await ask(sim, chat())).data.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("answering", "body"),
    [
        (Answering.EMPTY, b""),
        (Answering.OBJECT, b"{}"),
        (Answering.NULL, b"null"),
        (Answering.LIST, b"[]"),
        (Answering.NO_CHOICES, b'{"id":"x","object":"chat.completion","choices":[]}'),
        (Answering.NULL_CHOICES, b'{"id":"x","object":"chat.completion","choices":null}'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_200_that_is_no_answer(sim: Simulator, answering: Answering, body: bytes, stream: bool) -> None:
    """The body is exactly what the name says, a stream asked for or not."""
    sim.set("m", Behaviour(answer=answering))
    reply = await ask(sim, chat(stream=stream))
    assert (reply.status, reply.body) == (200, body)


async def test_other_bodies_that_only_look_like_success(sim: Simulator) -> None:
    """HTML, prose, errors, truncation, invalid UTF-8, NaN, giant numbers and great depth come with a 200."""
    replies: dict[Answering, Raw] = {}
    for answering in Answering:
        if answering is not Answering.HUGE:
            sim.set("m", Behaviour(answer=answering, error="openai_quota"))
            replies[answering] = await ask(sim, chat())
            assert replies[answering].status == 200
            assert replies[answering].header("content-length") == [str(len(replies[answering].body))]
    assert replies[Answering.HTML].header("content-type")[0].startswith("text/html")
    assert replies[Answering.PROSE].header("content-type") == ["text/plain"]
    assert replies[Answering.ERROR].json["error"]["code"] == "insufficient_quota"  # type: ignore[index] - JSON
    with pytest.raises(json.JSONDecodeError):
        json.loads(replies[Answering.TRUNCATED].body)
    with pytest.raises(UnicodeDecodeError):
        replies[Answering.BAD_UTF8].body.decode()
    assert b":NaN" in replies[Answering.NAN].body
    assert replies[Answering.BIG_NUMBER].body.count(b"9") >= 1_000_000
    assert replies[Answering.DEEP].body.count(b"{") == 100_000


@pytest.mark.parametrize(
    ("answering", "content"),
    [
        (Answering.BLANK, ""),
        (Answering.SPACES, "  \n"),
        (Answering.NUMBER, 42),
    ],
)
async def test_contents_of_the_wrong_kind(sim: Simulator, answering: Answering, content: object) -> None:
    """The message's content is blank, spaces or a number."""
    sim.set("m", Behaviour(answer=answering))
    assert (await ask(sim, chat())).json["choices"][0]["message"]["content"] == content  # type: ignore[index] - JSON


async def test_missing_content_has_no_key(sim: Simulator) -> None:
    """The message has no content at all."""
    sim.set("m", Behaviour(answer=Answering.MISSING))
    assert (await ask(sim, chat())).json["choices"][0]["message"] == {"role": "assistant"}  # type: ignore[index] - JSON


async def test_a_huge_body_is_made_while_it_is_sent(sim: Simulator) -> None:
    """A body of half a gigabyte stops leaving when nobody reads it."""
    sim.set("m", Behaviour(answer=Answering.HUGE))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    head = await reader.readuntil(b"\r\n\r\n")
    assert int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) > 500_000_000
    writer.transport.abort()
    await sim.wait_closed(1)
    assert sim.closes[0].after_bytes < 40_000_000 + kernel_holds()


async def test_slices_arrive_one_by_one(sim: Simulator) -> None:
    """The whole reply leaves in small pieces and adds up to the same bytes."""
    whole = (await ask(sim, chat())).json
    sim.set("m", Behaviour(slice_bytes=40))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat()))
    first = await reader.read(65_536)
    assert len(first) <= 80  # one slice, or two that met in the kernel
    rest = await drain(reader)
    assert Raw(first + rest.data, "fin").json["choices"] == whole["choices"]
    writer.close()
