"""The JSON-lines parser: any slicing, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.providers.frames import MAX_LINE, Event, FrameNotUtf8, FrameTooLarge
from routerconsole.providers.ndjson import NdjsonParser

LINES = [b'{"message":{"content":"a\xe2\x80\xa8b"}}', '{"message":{"content":"\U0001f600"}}'.encode(), b'{"done":true}']
BODY = LINES[0] + b"\n\r\n" + LINES[1] + b"\r\n" + LINES[2] + b"\n"


def parse(*slices: bytes) -> list[Event]:
    parser = NdjsonParser()
    found = [event for piece in slices for event in parser.feed(piece)]
    return found + parser.finish()


def test_S01_S02_every_single_split_gives_the_same_lines() -> None:
    """A body cut at any one byte gives the same lines, LF and CRLF alike."""
    for place in range(len(BODY) + 1):
        assert parse(BODY[:place], BODY[place:]) == [Event(line) for line in LINES]


@given(sizes=st.lists(st.integers(min_value=1, max_value=9), min_size=1))
def test_S09_characters_survive_reads_of_any_size(sizes: list[int]) -> None:
    """Characters split over reads come out whole."""
    slices, at, turn = [], 0, 0
    while at < len(BODY):
        slices.append(BODY[at : at + sizes[turn % len(sizes)]])
        at, turn = at + len(slices[-1]), turn + 1
    assert parse(*slices) == [Event(line) for line in LINES]


@pytest.mark.parametrize(("last", "accepted"), [(b'{"done":true}', True), (b'{"done":tr', False), (b"  ", False)])
def test_S16_a_last_line_without_newline_counts_iff_it_is_whole(last: bytes, accepted: bool) -> None:
    """The unterminated last line is taken if it is valid JSON, else dropped."""
    assert parse(b"1\n" + last) == [Event(b"1")] + ([Event(last)] if accepted else [])


def test_S18_lines_are_bounded() -> None:
    """900 KB pass; 2 MB and endless bytes are refused at the limit."""
    good = b'"' + b"x" * 900_000 + b'"'
    assert parse(good + b"\n") == [Event(good)]
    with pytest.raises(FrameTooLarge):
        parse(b"x" * (2 << 20) + b"\n")
    parser, block = NdjsonParser(), b"x" * 65536
    assert [event for _ in range(MAX_LINE // len(block)) for event in parser.feed(block)] == []
    with pytest.raises(FrameTooLarge):
        parser.feed(block)


def test_invalid_utf8_raises_after_the_good_lines() -> None:
    """Good lines before a bad one are delivered; the error is held for the next call."""
    parser = NdjsonParser()
    assert parser.feed(b"1\n\xff\n2\n") == [Event(b"1")]
    with pytest.raises(FrameNotUtf8):
        parser.finish()
