"""stdin and stdout as streams of messages, on threads that nothing waits for.

The SDK's own transport reads and writes on threads that cannot be left: a client that stops reading, or that goes
while its stdin stays open, would keep the process. Whatever else reads stdin or prints meets /dev/null and stderr.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST
from mcp_types.jsonrpc import JSONRPCMessage

from .framing import read_line, refusal

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]

MAX_LINE = 64 * 1024 * 1024
"""Bytes of one message; the prompt in it is bounded by `server.max_body_mb` besides."""
_CHUNK, _AHEAD = 256 * 1024, 4
"""Bytes read at once, and how many such pieces may wait for the loop."""
_LAST_WORDS_S = 1.0
"""How long the end waits for a client to read what is still to be said."""


@asynccontextmanager
async def pipes(stop: asyncio.Event) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Serve this process's stdin and stdout. Raises OSError at the end if stdout took no more.

    `stop`, and a stdout that is gone, look like the end of stdin: the SDK's own end, which cancels every call.
    """
    inbox, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    stdin, out = _claim(0), _Out(_claim(1))
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(stdin, inbox, out))
        writing = group.create_task(_write(outbox, out, reading))
        stopping = group.create_task(_end(reading, stop))
        try:
            yield incoming, outgoing
        finally:
            stopping.cancel()
            reading.cancel()
            await outgoing.aclose()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await asyncio.wait([writing])
            writing.cancel()
    if out.broken is not None:
        raise out.broken


class _Out:
    """Writes lines on a thread of its own; `broken` is why it no longer does."""

    def __init__(self, fd: int) -> None:
        self.broken: OSError | None = None
        self._fd, self._loop = fd, asyncio.get_running_loop()
        self._lines: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        threading.Thread(target=self._work, name="stdout", daemon=True).start()

    async def say(self, message: JSONRPCMessage) -> None:
        """Write one message and return once it is written; raise OSError."""
        if self.broken is not None:
            raise self.broken
        done: asyncio.Future[None] = self._loop.create_future()
        self._lines.put((message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n", done))
        await done

    def _work(self) -> None:
        while True:
            line, done = self._lines.get()
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError as exc:
                self.broken = exc
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, done, self.broken)


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


async def _end(reading: asyncio.Task[None], stop: asyncio.Event) -> None:
    await stop.wait()
    reading.cancel()


async def _write(outbox: MemoryObjectReceiveStream[SessionMessage], out: _Out, reading: asyncio.Task[None]) -> None:
    """Write until the server has nothing more to say; what cannot be written ends the reading, and is swallowed."""
    async with outbox:
        async for item in outbox:
            try:
                await out.say(item.message)
            except OSError:
                reading.cancel()


async def _read(fd: int, inbox: MemoryObjectSendStream[SessionMessage | Exception], out: _Out) -> None:
    """Hand on every message until stdin ends; answer the lines that are none."""
    async with inbox:
        async for line in _lines(_chunks(fd)):
            messages, refusals = (
                read_line(line)
                if line is not None
                else ([], [refusal(INVALID_REQUEST, f"Invalid request: a line is over {MAX_LINE} bytes.")])
            )
            try:
                for refused in refusals:
                    await out.say(refused)
                for message in messages:
                    await inbox.send(SessionMessage(message))
            except (anyio.BrokenResourceError, OSError):  # the server has ended, or nobody reads
                return


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    """Cut into lines; one that is too long is None, and not kept. The last one may lack its end."""
    parts, size = list[bytes](), 0
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield None if size + len(line) > MAX_LINE else b"".join([*parts, line])
            parts, size = [], 0
        size += len(rest)
        if size > MAX_LINE:
            parts = []
        elif rest:
            parts.append(rest)
    if parts:
        yield b"".join(parts)


async def _chunks(fd: int) -> AsyncIterator[bytes]:
    """Read a descriptor to its end, on a thread that is left where it is when nobody wants more."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    room = threading.Semaphore(_AHEAD)

    def work() -> None:
        chunk = b"first"
        while chunk:
            room.acquire()
            try:
                chunk = os.read(fd, _CHUNK)
            except OSError:
                chunk = b""
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(arrived.put_nowait, chunk)

    threading.Thread(target=work, name="stdin", daemon=True).start()
    while chunk := await arrived.get():
        room.release()
        yield chunk


def _claim(fd: int) -> int:
    """Take a standard stream for the protocol alone, to the end of the process, and return where it is now."""
    ours = os.dup(fd)
    os.set_blocking(ours, True)
    other = os.open(os.devnull, os.O_RDONLY) if fd == 0 else os.dup(2)
    os.dup2(other, fd)
    os.close(other)
    return ours
