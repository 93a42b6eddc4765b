"""What of broken, split and unknown escape sequences gets through to the keys: nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.console.sequences import GIVE_BACK_POLLS, LATE_POLLS, WAIT_POLLS, SequenceGuard

KNOWN = (
    "\x1b[A", "\x1bOB", "\x1b[5~", "\x1b[1;5C", "\x1b[Z", "\x1bOP", "\x1b[15~", "\x1b[[A", "\x1b[I", "\x1b[O",
    "\x1b[<0;10;5M", "\x1b[<0;10;5m", "\x1b[<35;200;60M", "\x1b[<64;1;1M", "\x1b[M !!", "\x1b[97;5u",
    "\x1b[200~", "\x1b[201~", "\x1b[?2026;2$y", "\x1b[12;40R", "\x1bx",
)  # fmt: skip
UNKNOWN = (
    "\x1b[5;7r", "\x1b[<0;10D", "\x1b[>d", "\x1b[<0;1;1;1r", "\x1b[999;999;999y", "\x1b[?1r",
    "\x1b]11;rgb:1e1e/1e1e/2e2e\x07", "\x1b]52;c;cmRyZA==\x1b\\", "\x1bP>|xterm(390)\x1b\\", "\x1b_Gi=1;OK\x1b\\",
    "\x1b[" + "1;" * 90 + "r",
)  # fmt: skip
TYPED = st.sampled_from("rdDqjkt159yn\r /@é日")


def through(guard: SequenceGuard, pieces: list[str], polls: int = 0) -> str:
    """Feed pieces with idle polls after each; return what comes out."""
    return "".join(guard.feed(piece) + "".join(guard.idle() for _ in range(polls)) for piece in pieces)


def cut(text: str, at: list[int]) -> list[str]:
    """Cut a text at some places."""
    marks = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[a:b] for a, b in pairwise(marks)]


@pytest.mark.parametrize("sequence", KNOWN)
def test_T18_known_sequences_pass_however_they_are_cut(sequence: str) -> None:
    """Whole, or in pieces that come one after the other; a cut behind the ESC must not take a poll."""
    for place in range(len(sequence)):
        assert through(SequenceGuard(), ["j", sequence[:place], sequence[place:], "k"]) == f"j{sequence}k"
        if place >= 2:
            assert through(SequenceGuard(), [sequence[:place], sequence[place:], "k"], polls=1) == f"{sequence}k"


@pytest.mark.parametrize("sequence", UNKNOWN)
def test_T18_unknown_sequences_press_nothing(sequence: str) -> None:
    """Nothing of them is left over as keys, in one piece or in many."""
    assert through(SequenceGuard(), ["j", sequence, "k"]) == "jk"
    assert through(SequenceGuard(), ["j", *sequence, "k"]) == "jk"


@given(
    st.lists(st.one_of(TYPED, st.sampled_from(KNOWN), st.sampled_from(UNKNOWN)), max_size=8),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_T18_keys_between_sequences_are_the_keys_typed(items: list[str], at: list[int]) -> None:
    """However the stream is cut, what comes out are the typed characters and the known sequences, in order."""
    guard = SequenceGuard()
    out = through(guard, cut("".join(items), at))
    assert out == "".join(item for item in items if item not in UNKNOWN)


@given(
    st.sampled_from([item for item in KNOWN + UNKNOWN if len(item) > 3]), st.integers(2, 40), st.sampled_from("jk\r")
)
def test_T18_a_sequence_whose_end_is_lost_presses_nothing(sequence: str, size: int, key: str) -> None:
    """Its beginning is forgotten after a while, or with the next sequence; keys work again."""
    begun = sequence[: min(size, len(sequence) - 1)]
    guard = SequenceGuard()
    assert through(guard, [begun], polls=WAIT_POLLS) == ""
    assert guard.feed(key) == key
    assert through(SequenceGuard(), [begun, "\x1b[A"]) in ("\x1b[A", "")  # a string's end may be eaten with it


def test_T18_the_rest_of_a_sequence_that_comes_too_late_presses_nothing() -> None:
    """A slow link holds back what follows the ESC: Escape is pressed by then, and nothing else."""
    for rest in ("[D", "OD", "[<0;10;5M", "[5~", "P>|dD\x1b\\", "]11;rgb:dd/dd/dd\x07"):
        guard = SequenceGuard()
        assert through(guard, ["\x1b"], polls=3) == "\x1b"
        assert guard.feed(rest) == ""
        assert guard.feed("D") == "D"
        dribbled = SequenceGuard()
        assert through(dribbled, ["\x1b"], polls=3) == "\x1b"
        assert through(dribbled, list(rest), polls=2) == ""
        assert dribbled.feed("D") == "D"


def test_what_is_typed_after_escape_is_typed() -> None:
    """Other keys at once, `[` and `O` as soon as nothing follows them, and at once when Escape is a while ago."""
    guard = SequenceGuard()
    assert through(guard, ["\x1b"], polls=1) == "\x1b"
    assert guard.feed("d") == "d"
    for key in "[O]P_":
        assert through(guard, ["\x1b"], polls=1) == "\x1b"
        assert through(guard, [key], polls=GIVE_BACK_POLLS) == key
        assert through(guard, ["\x1b"], polls=1 + LATE_POLLS) == "\x1b"
        assert guard.feed(key) == key
    assert through(guard, ["\x1b", "\x1b"], polls=1) == "\x1b\x1b"
