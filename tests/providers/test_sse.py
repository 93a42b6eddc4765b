"""The SSE parser: any slicing, any line ends, bounded."""

from __future__ import annotations

import resource
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.providers.frames import MAX_LINE, Event, FrameNotUtf8, FrameTooLarge
from routerconsole.providers.sse import SseParser

FLAGS = "\U0001f1e9\U0001f1ea"
FAMILY = "\U0001f468‍\U0001f469‍\U0001f467"
CHUNK = '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
BODY = (
    "﻿: ping\n\n"
    "data: " + CHUNK % "hello" + "\n\n"
    "data:" + CHUNK % "no space" + "\n\n"
    "event: content_block_delta\ndata: " + CHUNK % ("\U0001f600" + FLAGS + FAMILY) + "\n\n"
    "id: 7\nretry: 10\nunknown: x\nfield\ndata: {\ndata: }\n\n"
    "data: " + CHUNK % "a\u2028b\u0085c" + "\n\n\n\n"
    "data\n\n"
    ":comment in an event\ndata: 1\n:another\n\n"
    "data: [DONE]\n\n"
).encode()
EVENTS = [
    Event((CHUNK % "hello").encode()),
    Event((CHUNK % "no space").encode()),
    Event((CHUNK % ("\U0001f600" + FLAGS + FAMILY)).encode(), b"content_block_delta"),
    Event(b"{\n}"),
    Event((CHUNK % "a\u2028b\u0085c").encode()),
    Event(b"1"),
    Event(b"[DONE]"),
]


def parse(*slices: bytes) -> list[Event]:
    parser = SseParser()
    found = [event for piece in slices for event in parser.feed(piece)]
    return found + parser.finish()


def feed_repeatedly(parser: SseParser, block: bytes, total: int) -> list[Event]:
    return [event for _ in range(total // len(block)) for event in parser.feed(block)]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_S01_S02_every_single_split_gives_the_same_events(ending: bytes) -> None:
    """A body cut at any one byte, with any line end, gives the same events."""
    body = BODY.replace(b"\n", ending)
    assert parse(body) == EVENTS
    for place in range(len(body) + 1):
        assert parse(body[:place], body[place:]) == EVENTS


@given(
    places=st.lists(st.integers(min_value=0), max_size=40),
    endings=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=1),
)
def test_S01_S02_random_splits_and_mixed_line_ends_give_the_same_events(places: list[int], endings: list[str]) -> None:
    """Random slicing of a body with mixed line ends gives the same events, and no phantom one."""
    lines = BODY.split(b"\n")
    # CR before an empty LF-ended line would read as one CRLF, so a mix keeps CR for lines that text follows
    mixed = b""
    for number, line in enumerate(lines[:-1]):
        ending = endings[number % len(endings)].encode()
        mixed += line + (b"\r\n" if ending == b"\r" and not lines[number + 1] else ending)
    assert parse(*cut(mixed, places)) == EVENTS


def test_S02_a_crlf_split_between_reads_is_one_line_end() -> None:
    """CR at the end of a read and LF at the start of the next end one line, not two."""
    parser = SseParser()
    assert parser.feed(b"data: 1\r") == []
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: 2\r") == []
    assert parser.feed(b"\n\r\n") == [Event(b"1\n2")]


@given(text=st.text(), size=st.integers(min_value=1, max_value=5))
def test_S09_text_survives_reads_of_any_size(text: str, size: int) -> None:
    """Characters split over reads come out whole, whatever they are."""
    data = text.replace("\r", "").replace("\n", "").encode("utf-8", "ignore")
    body = b"data: x" + data + b"\n\n"
    assert parse(*(body[at : at + size] for at in range(0, len(body), size))) == [Event(b"x" + data)]


def test_S09_an_emoji_over_four_reads() -> None:
    """A four-byte character that comes byte by byte is intact."""
    body = 'data: "\U0001f600"\n\n'.encode()
    assert parse(*(body[at : at + 1] for at in range(len(body)))) == [Event('"\U0001f600"'.encode())]


@pytest.mark.parametrize(
    ("last", "accepted"),
    [
        (b'{"a":1}', True),
        (b"[DONE]", True),
        (b'{"a":1', False),
        (b"[DON", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_S16_a_last_event_without_blank_line_counts_iff_it_is_whole(last: bytes, accepted: bool, ending: bytes) -> None:
    """What the end of the stream leaves open is an event if it is valid JSON or [DONE], else it is dropped."""
    assert parse(b"data: 1\n\ndata: " + last + ending) == [Event(b"1")] + ([Event(last)] if accepted else [])


def test_S16_a_character_torn_by_the_end_is_dropped_with_its_event() -> None:
    """The end of the stream inside a character is a cut, not a decoding error."""
    assert parse(b"data: 1\n\ndata: " + '"é'.encode()[:-1]) == [Event(b"1")]


def test_S18_a_long_line_within_the_limit_passes() -> None:
    """900 KB in one line are an event."""
    line = b'"' + b"x" * 900_000 + b'"'
    body = b"data: " + line + b"\n\n"
    assert parse(body) == [Event(line)]
    assert parse(*(body[at : at + 4096] for at in range(0, len(body), 4096))) == [Event(line)]


@pytest.mark.parametrize("size", [1 << 14, 1 << 22])
def test_S18_a_line_over_the_limit_is_refused(size: int) -> None:
    """A 2 MB line raises, in one read or in many, ended or not."""
    for body in (b"data: " + b"x" * (2 << 20) + b"\n\n", b": " + b"x" * (2 << 20), b"x" * (MAX_LINE + 1) + b"\n"):
        with pytest.raises(FrameTooLarge):
            parse(*(body[at : at + size] for at in range(0, len(body), size)))


@pytest.mark.parametrize("line", [b"data: " + b"x" * 1000 + b"\n", b"data:\n"])
def test_S18_an_event_of_many_lines_over_the_limit_is_refused(line: bytes) -> None:
    """5 MB of data lines without a blank one raise, however short the lines."""
    parser = SseParser()
    with pytest.raises(FrameTooLarge):
        feed_repeatedly(parser, line * 1000, 5 << 30)


def test_S18_an_event_of_many_empty_lines_takes_no_more_memory_than_its_bytes() -> None:
    """Four million empty data lines cost megabytes, not a list of four million."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert feed_repeatedly(SseParser(), b"data:\n" * 1000, 6 * (4 << 20)) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 16 * 1024


def test_S18_endless_bytes_without_newline_stop_at_the_limit() -> None:
    """A gigabyte without a newline is refused after the first megabyte, and memory stays flat."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parser = SseParser()
    assert feed_repeatedly(parser, b"x" * 65536, MAX_LINE) == []
    with pytest.raises(FrameTooLarge):
        feed_repeatedly(parser, b"x" * 65536, 1 << 30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 8 * 1024


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
def test_invalid_utf8_raises_after_the_good_events(bad: bytes) -> None:
    """Good events before a bad one are delivered; the error is held for the next call."""
    parser = SseParser()
    assert parser.feed(b"data: 1\n\ndata: " + bad + b"\n\ndata: 3\n\n") == [Event(b"1")]
    assert isinstance(parser.error, FrameNotUtf8)
    with pytest.raises(FrameNotUtf8):
        parser.feed(b"data: 4\n\n")
    with pytest.raises(FrameNotUtf8):
        parser.finish()
    with pytest.raises(FrameNotUtf8):
        SseParser().feed(b"data: " + bad + b"\n\n")


def test_heartbeats_are_counted_not_delivered() -> None:
    """Comments and events without data show that the upstream lives."""
    parser = SseParser()
    assert parser.feed(b": ping\n\n:\n\ndata:\n\nevent: ping\n\n") == []
    assert parser.heartbeats >= 4
    assert parser.finish() == []


def test_an_event_name_does_not_outlive_its_event() -> None:
    """The name belongs to one event only."""
    assert parse(b"event: error\ndata: 1\n\ndata: 2\n\n") == [Event(b"1", b"error"), Event(b"2")]
