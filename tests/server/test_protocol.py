"""What an answer's writes are: a whole one is a single write, nothing else is held back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from routerconsole.server.protocol import JoinedWriter

LENGTH = [(b"content-length", b"2")]


class Written(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def cycle_of(
    transport: Written, *, method: str = "POST", waits: bool = False, keep: bool = True
) -> RequestResponseCycle:
    log = logging.getLogger(__name__)
    cycle = RequestResponseCycle(
        scope={"type": "http", "method": method},  # type: ignore[typeddict-item]  # what the cycle reads of it
        transport=transport,
        flow=FlowControl(transport),
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=waits,
        keep_alive=keep,
        on_response=lambda: None,
    )
    cycle.transport = JoinedWriter(cycle)
    return cycle


def start(headers: list[tuple[bytes, bytes]]) -> Any:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(data: bytes, *, more: bool = False) -> Any:
    return {"type": "http.response.body", "body": data, "more_body": more}


@pytest.mark.parametrize("keep", [True, False])
async def test_a_whole_answer_is_one_write(keep: bool) -> None:
    """Head and body leave together, before the connection closes where it does."""
    transport = Written()
    cycle = cycle_of(transport, keep=keep)
    await cycle.send(start(LENGTH))
    assert not transport.writes
    await cycle.send(body(b"ok"))
    (written,) = transport.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nok")
    assert transport.closed is not keep


async def test_the_head_of_a_stream_leaves_at_once() -> None:
    """Whoever waits for the first event knows already that there will be one."""
    transport = Written()
    cycle = cycle_of(transport)
    await cycle.send(start([]))
    assert transport.writes[0].endswith(b"\r\n\r\n")
    await cycle.send(body(b"one", more=True))
    await cycle.send(body(b""))
    assert transport.writes[1:] == [b"3\r\none\r\n", b"0\r\n\r\n"]


async def test_a_head_without_a_body_leaves_at_once() -> None:
    """The answer to HEAD announces a length and nothing follows."""
    transport = Written()
    cycle = cycle_of(transport, method="HEAD")
    await cycle.send(start(LENGTH))
    await cycle.send(body(b"ok"))
    (written,) = transport.writes
    assert written.endswith(b"content-length: 2\r\n\r\n")


async def test_a_body_in_pieces_is_held_for_its_first_piece_only() -> None:
    """An announced length does not mean that all of it is there."""
    transport = Written()
    cycle = cycle_of(transport)
    await cycle.send(start(LENGTH))
    await cycle.send(body(b"o", more=True))
    await cycle.send(body(b"k"))
    assert [each[-1:] for each in transport.writes] == [b"o", b"k"]


async def test_100_continue_goes_before_the_answer() -> None:
    """A client that asks before it sends its body is not kept waiting."""
    transport = Written()
    cycle = cycle_of(transport, waits=True)
    reading = asyncio.ensure_future(cycle.receive())
    await asyncio.sleep(0)
    assert transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    reading.cancel()
    await cycle.send(start(LENGTH))
    await cycle.send(body(b"ok"))
    assert len(transport.writes) == 2


async def test_an_app_that_dies_after_the_head_lets_it_out() -> None:
    """What was said is said, then the connection closes: nobody takes it for a whole answer."""
    transport = Written()
    cycle = cycle_of(transport)

    async def dies(*_: object) -> None:
        await cycle.send(start(LENGTH))
        raise RuntimeError("in a test")

    await cycle.run_asgi(dies)
    assert transport.writes[0].endswith(b"content-length: 2\r\n\r\n")
    assert transport.closed
