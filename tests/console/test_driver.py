"""The frame writer on a real pseudo-terminal, and what the input side lets through."""

from __future__ import annotations

import os
import re
import threading
import time
import tty
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.console.driver import DEEP_FRAMES, PASTE_LIMIT, PASTE_POLLS, FrameWriter, PasteLimiter

FRAME = re.compile(rb"<(\d+)\|x*\|\1>")


class Line:
    """A pseudo-terminal whose reader decides when it reads, and a writer on its other end."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.drained, self.lost = threading.Event(), threading.Event()
        self.writer = FrameWriter(self.slave, on_drained=self.drained.set, on_lost=self.lost.set)
        self.writer.start()

    def frame(self, number: int, size: int = 3000) -> bytes:
        """Return a frame that shows when a part of it is missing."""
        return f"<{number}|{'x' * size}|{number}>".encode()

    def read_until(self, mark: bytes) -> bytes:
        """Read as a terminal would, until a mark has come."""
        got = b""
        while mark not in got:
            got += os.read(self.master, 65536)
        return got

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def line() -> Iterator[Line]:
    """A fresh pseudo-terminal."""
    made = Line()
    yield made
    if made.writer.is_alive():
        made.writer.close(b"")
    made.close()


def test_T07_stalled_terminal_blocks_nobody_and_drops_whole_frames(line: Line) -> None:
    """Into a terminal that reads nothing any number of frames can be put; what later comes out are whole frames."""
    for number in range(200):
        line.writer.put(line.frame(number), droppable=True)
    assert line.writer.dropped >= 200 - DEEP_FRAMES - 5
    line.writer.put(b"END", droppable=False)
    out = line.read_until(b"END")
    assert FRAME.sub(b"", out) == b"END"
    assert line.drained.wait(60)


def test_mode_sequences_are_never_dropped(line: Line) -> None:
    """What sets a terminal mode goes out however deep the queue is."""
    for number in range(50):
        line.writer.put(line.frame(number), droppable=True)
        line.writer.put(b"M", droppable=False)
    line.writer.put(b"END", droppable=False)
    assert FRAME.sub(b"", line.read_until(b"END")).count(b"M") == 50


def test_quick_terminal_gets_every_frame_and_no_repaint(line: Line) -> None:
    """A terminal that keeps up loses nothing and is not repainted."""
    for number in range(20):
        line.writer.put(line.frame(number, 100), droppable=True)
        assert f"|{number}>".encode() in line.read_until(f"|{number}>".encode())
    assert line.writer.dropped == 0
    assert not line.drained.is_set()


def test_T08_lost_terminal_is_reported_once(line: Line) -> None:
    """When the other end is gone the writer says so and swallows what still comes."""
    os.close(line.master)
    line.master = -1
    line.writer.put(b"x" * 10, droppable=True)
    assert line.lost.wait(60)
    line.writer.put(b"y", droppable=False)
    line.writer.join(60)
    assert not line.writer.is_alive()


def test_T11_closing_cuts_the_frame_under_way_and_still_restores(line: Line) -> None:
    """With a half-written frame in a slow terminal, the restoring bytes come right after it, behind a CAN."""
    for number in range(10):
        line.writer.put(line.frame(number, 60_000), droppable=False)
    os.read(line.master, 10)  # now a frame is under way
    closer = threading.Thread(target=line.writer.close, args=(b"RESTORED",))
    closer.start()
    while not line.writer._closing:  # else what is read makes room for all of them before it is heard
        time.sleep(0.001)
    out = line.read_until(b"RESTORED")
    closer.join(60)
    assert out.endswith(b"\x18RESTORED")


def test_closing_on_a_dead_slow_terminal_does_not_hang(line: Line) -> None:
    """A terminal that never reads delays the end by the grace only."""
    for number in range(10):
        line.writer.put(line.frame(number, 60_000), droppable=False)
    line.writer.close(b"RESTORED")
    line.writer.join(60)
    assert not line.writer.is_alive()


def through(limiter: PasteLimiter, text: str, cuts: list[int]) -> str:
    """Feed a text in pieces."""
    edges = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    return "".join(limiter.feed(text[start:end]) for start, end in pairwise(edges))


@given(st.text("ab\x1b[201~", max_size=60), st.text("xy", max_size=20), st.lists(st.integers(0, 200), max_size=8))
def test_T03_short_pastes_and_keys_pass_unchanged(pasted: str, typed: str, cuts: list[int]) -> None:
    """Whatever the pieces, small pastes and the keys around them arrive exactly, save ESC, which would press keys."""
    pasted = pasted.replace(PasteLimiter.END, "").rstrip("\x1b[201")
    text = f"{typed}\x1b[200~{pasted}\x1b[201~{typed}"
    assert through(PasteLimiter(), text, cuts) == text.replace(pasted, pasted.replace("\x1b", "␛"), 1 if pasted else 0)


@given(st.lists(st.integers(0, PASTE_LIMIT * 3), max_size=6))
def test_T03_huge_paste_is_cut_while_it_streams_in(cuts: list[int]) -> None:
    """Three times the limit leaves the limit, and the keys behind the paste are keys."""
    text = f"\x1b[200~{'z' * (PASTE_LIMIT * 3)}\x1b[201~q"
    out = through(PasteLimiter(), text, cuts)
    assert out.count("z") == PASTE_LIMIT
    assert out.endswith("\x1b[201~q")


def test_T03_unterminated_paste_ends_by_itself() -> None:
    """A paste that never ends is ended after a short silence, so that keys work again."""
    limiter = PasteLimiter()
    limiter.feed("\x1b[200~abc")
    assert [limiter.idle() for _ in range(PASTE_POLLS)] == [""] * (PASTE_POLLS - 1) + [PasteLimiter.END]
    assert limiter.feed("q") == "q"
