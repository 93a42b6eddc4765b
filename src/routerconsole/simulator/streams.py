"""From a dialect's events to the bytes of a streamed reply, with everything that can go wrong inside a stream."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from random import Random

import orjson

from routerconsole.simulator.behaviour import Behaviour, Cut, sample
from routerconsole.simulator.bodies import named
from routerconsole.simulator.events import COUNTED, Event, Kind
from routerconsole.simulator.http import LAST_CHUNK, End, Step, Wait, chunk

_NEWLINES = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
_HEARTBEAT = b": keep-alive"
_BEFORE_CONTENT = frozenset({Kind.ROLE, Kind.META})
_ENDLESS_PIECE = b"x" * 65_536


def stream_steps(
    events: Iterator[Event], behaviour: Behaviour, rng: Random, *, head: bytes, ndjson: bool, face: str
) -> Iterator[Step]:
    """The steps of a streamed reply; positions are those of `behaviour.py`."""
    newline = b"\n" if ndjson else _NEWLINES[behaviour.newline]
    yield head
    if behaviour.bom:
        yield chunk(b"\xef\xbb\xbf")
    if (yield from _trouble(behaviour, -1, newline, ndjson=ndjson, face=face)):
        return
    counted = 0
    checked = -1
    gap = 1.0 / behaviour.tokens_per_second if behaviour.tokens_per_second else 0.0
    pending: bytes | None = None  # one event is held back, so that the last one can lose its blank line
    for number, event in enumerate(events):
        if pending is not None:
            yield chunk(pending)
            pending = None
        if event.kind not in _BEFORE_CONTENT and checked != counted:
            if counted == 0:
                yield from _preamble(behaviour, newline, ndjson=ndjson)
                yield from _patience(sample(behaviour.ttft, rng), behaviour, newline)
            elif gap and event.kind in COUNTED:
                yield Wait(gap)
            checked = counted
            if (yield from _trouble(behaviour, counted, newline, ndjson=ndjson, face=face)):
                return
        counted += event.kind in COUNTED
        if behaviour.garble == number:
            yield from _garbled(event, behaviour, newline, ndjson=ndjson)
        else:
            pending = frame(event, behaviour, newline, ndjson=ndjson)
    if pending is not None:
        yield chunk(pending if behaviour.last_blank else pending.removesuffix(newline + newline))
    if checked != counted and (yield from _trouble(behaviour, counted, newline, ndjson=ndjson, face=face)):
        return
    yield LAST_CHUNK


def frame(event: Event, behaviour: Behaviour, newline: bytes, *, ndjson: bool) -> bytes:
    """One event in its framing."""
    if ndjson:
        return event.data + newline
    lead = b"data: " if behaviour.space else b"data:"
    if behaviour.multi_line and event.kind is not Kind.DONE:
        indented = orjson.dumps(orjson.loads(event.data), option=orjson.OPT_INDENT_2)
        data = newline.join(lead + line for line in indented.split(b"\n"))
    else:
        data = lead + event.data
    if event.name is not None:
        data = b"event: " + event.name.encode() + newline + data
    return data + newline + newline


def _preamble(behaviour: Behaviour, newline: bytes, *, ndjson: bool) -> Iterator[Step]:
    """Comments and pings before the first content."""
    if ndjson:
        return
    for word in behaviour.preamble:
        if word == "comment":
            yield chunk(_HEARTBEAT + newline + newline)
        elif word == "ping":
            yield chunk(b"event: ping" + newline + b'data: {"type": "ping"}' + newline + newline)


def _patience(seconds: float, behaviour: Behaviour, newline: bytes) -> Iterator[Step]:
    """A wait, with heartbeats in it if the behaviour has any."""
    beat = behaviour.heartbeat_s
    while beat and seconds > beat:
        yield Wait(beat)
        yield chunk(_HEARTBEAT + newline + newline)
        seconds -= beat
    if seconds > 0:
        yield Wait(seconds)


def _trouble(
    behaviour: Behaviour, counted: int, newline: bytes, *, ndjson: bool, face: str
) -> Generator[Step, None, bool]:
    """What happens at this position, if anything; returns whether the stream is over."""
    if behaviour.stall_after == counted:
        if behaviour.stall_s is None and behaviour.heartbeat_s:
            while True:
                yield Wait(behaviour.heartbeat_s)
                yield chunk(_HEARTBEAT + newline + newline)
        yield Wait(behaviour.stall_s)
    if behaviour.error_after == counted:
        name = "error" if face == "anthropic" else None
        error = Event(Kind.META, named(behaviour.error or "openai_server").body, name)
        yield chunk(frame(error, behaviour, newline, ndjson=ndjson))
        yield LAST_CHUNK
        return True
    if behaviour.cut_after == counted:
        if behaviour.cut is Cut.CLEAN:
            yield LAST_CHUNK
        elif behaviour.cut is Cut.RESET:
            yield End.RESET
        else:
            if behaviour.cut is Cut.MID_CHUNK:
                yield b'ff\r\ndata: {"id": "cut'
            yield End.CLOSE
        return True
    return False


def _garbled(event: Event, behaviour: Behaviour, newline: bytes, *, ndjson: bool) -> Iterator[Step]:
    """The event as a broken server would send it."""
    how = behaviour.garble_as
    data = event.data
    if how == "json":
        data = data[: max(1, len(data) // 2)]
    elif how == "utf8":
        data = data[:-2] + b"\xff\xfe\xc3\x28" + data[-2:]
    elif how == "nul":
        data = data[:10] + b"\0\x1b[2J" + data[10:]
    elif how == "long":
        data = orjson.dumps({**orjson.loads(data), "padding": "x" * behaviour.garble_bytes})
    else:
        yield chunk(b"data: ")
        while True:
            yield chunk(_ENDLESS_PIECE)
    yield chunk(frame(Event(event.kind, data, event.name), behaviour, newline, ndjson=ndjson))
