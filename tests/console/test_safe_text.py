"""The one door for untrusted text, and the filters behind it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.content import Content

from routerconsole.console.safe_text import (
    ASCII_FORMS,
    AsciiFilter,
    ControlFilter,
    safe_text,
    to_ascii,
    visible,
)
from routerconsole.domain.visible import CELL_LIMIT, MAX_MARKS

BLACK = Color(0, 0, 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u200bb\u200dc\ufeff", "a\\u200bb\\u200dc\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("a\u00a0b\u3000c", "a b c"),
        ("e\u0301", "é"),
        ("\u0301x", "\\u0301x"),
        ("☝🏽", "☝\\U0001f3fd"),
        ("漢字", "漢字"),
        ("[/][red]x[@click=app.quit]", "[/][red]x[@click=app.quit]"),
    ],
)
def test_T04_T05_T06_every_hidden_or_active_character_is_spelt_out(text: str, shown: str) -> None:
    """Control, C1, bidi, zero-width, surrogate, separator: all become text; letters and markup stay."""
    assert visible(text) == shown


def test_T06_stacked_marks_are_counted_instead_of_drawn() -> None:
    """Two hundred combining marks take two, and a number says how many were left out."""
    shown = visible("x" + "\u0301" * 200)
    assert sum(unicodedata.combining(char) != 0 for char in shown) == MAX_MARKS
    assert "(+198)" in shown


def test_T06_endless_text_is_cut_with_an_ellipsis() -> None:
    """A megabyte becomes one cell text of the limit's length, at once."""
    shown = visible("x" * 1_000_000)
    assert len(shown) == CELL_LIMIT
    assert shown.endswith("…")


def test_none_is_a_dash() -> None:
    """What is not known is shown as such."""
    assert visible(None) == "–"


@given(st.text(st.characters(), max_size=80), st.integers(1, 100))
def test_T04_T06_nothing_that_passes_can_act_or_hide(text: str, limit: int) -> None:
    """Whatever goes in, what comes out is printable, within the limit, and as wide as its characters say."""
    shown = visible(text, limit)
    assert shown.isprintable()
    assert len(shown) <= max(limit, 1)
    assert "\x1b" not in shown
    assert all(cell_len(char) > 0 or unicodedata.category(char) in {"Mn", "Mc", "Me"} for char in shown)


@given(st.text(max_size=60))
def test_T05_safe_text_is_content_without_style_or_link(text: str) -> None:
    """The Textual form is literal: no span comes from the text, whatever it looks like."""
    content = safe_text(text)
    assert isinstance(content, Content)
    assert content.spans == []
    assert content.plain == visible(text, 4096)


@given(st.text(max_size=60))
def test_T04_backstop_filter_lets_no_control_character_through(text: str) -> None:
    """Even text that bypassed the door leaves every strip printable."""
    filtered = ControlFilter().apply([Segment(text), Segment("x", None, [(1,)])], BLACK)
    assert all(segment.text.isprintable() and segment.control is None for segment in filtered)


def test_T16_ascii_forms_keep_every_column() -> None:
    """Each glyph of our own has a one-cell ASCII form; foreign characters keep their width too."""
    assert all(cell_len(chr(code)) == 1 and len(str(form)) == 1 for code, form in ASCII_FORMS.items())
    text = "groq✗429 › ollama● 漢é │▶▁█"
    assert len(to_ascii(text)) == cell_len(text)
    assert "".join(s.text for s in AsciiFilter().apply([Segment(text)], BLACK)).isascii()
