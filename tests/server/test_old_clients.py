"""Clients of other versions of HTTP: they are answered in the one spoken here, by its rules."""

from __future__ import annotations

import logging

import orjson
import pytest
from tests.server.conftest import Bench
from tests.server.raw import CHAT, Wire, ask, chat, request
from tests.support.node import HELLO

from routerconsole.server.protocol import MAX_PIPELINED

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = orjson.dumps(HELLO)
H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
"""What Java's own client sends with every request that is not encrypted."""


@pytest.mark.parametrize("piece", [1, 50, 10_000])
async def test_C15_a_wish_for_another_protocol_is_declined_and_its_body_is_read(bench: Bench, piece: int) -> None:
    """However it is cut: the request is answered as if it had not wished, and the connection goes on."""
    raw = request("POST", CHAT, TEXT, headers=H2C)
    async with await Wire.open(bench.port) as wire:
        for start in range(0, len(raw), piece):
            await wire.send(raw[start : start + piece])
        assert (await wire.reply()).status == 200
        await wire.send(raw + raw)
        assert [(await wire.reply()).status for _ in range(2)] == [200, 200]


async def test_C15_a_websocket_is_an_ordinary_request_here(bench: Bench) -> None:
    """There is none: the path answers as it does to everybody."""
    wish = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    assert (await ask(bench.port, "GET", "/healthz", headers=wish)).json == {"status": "ok"}


async def test_X16_a_wish_opens_no_door_for_a_body_of_two_lengths(bench: Bench) -> None:
    """The second reading is as strict as the first."""
    reply = await ask(bench.port, "POST", CHAT, TEXT, headers={**H2C, "transfer-encoding": "chunked"})
    assert reply.status == 400


async def test_C15_HTTP_1_0_gets_a_stream_without_chunks(bench: Bench) -> None:
    """It knows none: the stream is its bytes, and ends with the connection."""
    raw = request("POST", CHAT, orjson.dumps({**HELLO, "stream": True})).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    async with await Wire.open(bench.port) as wire:
        await wire.send(raw)
        reply = await wire.reply()
    assert reply.status == 200
    assert "transfer-encoding" not in reply.headers
    blocks = reply.body.split(b"\n\n")
    assert blocks[-2:] == [b"data: [DONE]", b""]
    assert all(block.startswith(b"data: {") for block in blocks[:-2])


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("GZIP, br", 415), ("identity", 200)])
async def test_C1_36_a_compressed_body_is_told_what_it_is(bench: Bench, coding: str, status: int) -> None:
    """415, not a complaint about its bytes as if they were JSON."""
    reply = await chat(bench.port, TEXT, headers={"content-encoding": coding})
    assert reply.status == status
    assert status == 200 or reply.code == "unsupported_media_type"


async def test_X16_a_connection_that_is_cut_leaves_no_error_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Too many requests in one go end it; nobody answers the first of them into a closed socket."""
    with caplog.at_level(logging.ERROR):
        async with await Wire.open(bench.port) as wire:
            await wire.send(request("POST", CHAT, TEXT) * (MAX_PIPELINED + 5))
            await wire.rest()
        assert (await chat(bench.port, HELLO)).status == 200
    assert not caplog.records
