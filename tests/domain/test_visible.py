"""Untrusted text on its way to a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.visible import MAX_MARKS, cells, visible, visible_block

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)


@given(ANYTHING)
def test_nothing_in_it_is_active_or_hidden(text: str) -> None:
    """No control, format, surrogate, private or unassigned character and no line end leaves."""
    shown = visible(text, 2000)
    assert {unicodedata.category(char) for char in shown}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    shown.encode("utf-8")


@given(ANYTHING)
def test_blocks_keep_their_lines_and_nothing_else(text: str) -> None:
    """Line ends and tabs stay, every other control is spelt out."""
    shown = visible_block(text)
    assert all(char.isprintable() for char in shown if char not in "\n\t")
    assert shown.count("\n") == text.count("\n")


@given(ANYTHING, st.integers(min_value=1, max_value=40))
def test_never_longer_than_asked(text: str, limit: int) -> None:
    """The limit holds after spelling out."""
    assert len(visible(text, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 模型 🚀", "naïve 模型 🚀"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("a\u00a0b", "a b"),
        ("\u0301a", "\\u0301a"),
        ("\u3164x", "\\u3164x"),
        (None, "–"),
    ],
)
def test_examples(text: str | None, shown: str) -> None:
    """What is dangerous is spelt as Python source would spell it; real scripts stay."""
    assert visible(text) == shown


def test_stacked_marks_are_counted_not_painted() -> None:
    """A letter keeps two marks; the rest would paint over other lines."""
    assert visible("z" + "\u0336" * 50) == "z" + "\u0336" * MAX_MARKS + f"(+{50 - MAX_MARKS})"


def test_width_counts_cells() -> None:
    """East Asian letters take two cells, marks none."""
    assert (cells("abc"), cells("模型"), cells("e\u0336")) == (3, 4, 1)
