"""Tables, sentences, changes, JSON and CSV cells."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.cli.output import MOST_CHANGES, changes, fitted, sentence, table
from routerconsole.cli.status import weights_line
from routerconsole.control.row_text import cell
from routerconsole.control.views import WeightsStatus
from routerconsole.domain.visible import cells, json_text

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@given(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=1, max_size=5), st.integers(min_value=30, max_value=120))
def test_a_table_keeps_its_width_and_shows_nothing_active(rows: list[tuple[str, str]], width: int) -> None:
    """No line is wider than the terminal, whatever names come in, and columns stand under each other."""
    lines = table([{"name": name, "reason": reason, "n": 1} for name, reason in rows], width=width)
    assert len(lines) == len(rows) + 1
    assert all(cells(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)
    assert len({cells(line) for line in lines}) == 1  # the last column is a number, set to the right


def test_columns_without_a_value_are_left_out() -> None:
    """A column nobody has is noise; one that somebody has stays, with a dash for the others."""
    lines = table([{"a": "x", "b": None, "c": None}, {"a": "y", "b": None, "c": "z"}], width=None)
    assert lines == ["A  C", "x  –", "y  z"]


@given(ANYTHING, st.integers(min_value=1, max_value=20))
def test_a_cell_has_exactly_its_size(text: str, size: int) -> None:
    """Cut or padded, wide letters counted as two."""
    shown = "".join(char for char in text if char.isprintable())
    assert cells(fitted(shown, size)) == size or any(cells(char) == 2 for char in shown)


def test_a_sentence_has_what_is_known() -> None:
    """`key: value; key: value.`, unknown things left out, controls spelt out."""
    assert sentence({"name": "a\x1b", "gate": None, "enabled": True, "open_for": 1.5}) == (
        "name: a\\x1b; enabled: yes; open for: 1.5."
    )


def test_changes_name_only_what_differs() -> None:
    """Before → after, nested values by their path."""
    before = {"status": "healthy", "n": 1, "deep": {"a": 1, "b": 2}}
    after = {"status": "disabled", "n": 1, "deep": {"a": 1, "b": 3}, "new": True}
    assert changes(before, after) == "status: healthy → disabled; deep.b: 2 → 3; new: – → yes"
    assert changes(before, before) == ""


def test_of_thousands_of_changes_the_first_are_told() -> None:
    """An imported price table is no megabyte on one line."""
    told = changes({}, {f"m{number}": number for number in range(5_000)}).split("; ")
    assert len(told) == MOST_CHANGES + 1
    assert told[-1] == f"… and {5_000 - MOST_CHANGES} more (`--json` has them)"


@given(ANYTHING)
def test_json_is_ascii_without_controls_and_loses_nothing(text: str) -> None:
    """Whatever is in a string, the document is harmless in a terminal and reads back the same."""
    made = json_text({"text": text})
    assert made.isascii()
    assert made.isprintable()
    assert json.loads(made) == {"text": text}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＠"])
def test_a_formula_becomes_text(start: str) -> None:
    """A spreadsheet shows the cell instead of running it."""
    assert cell(f"{start}1+1") == f"'{start}1+1"


@given(ANYTHING)
def test_a_cell_can_be_written_and_is_never_a_formula(text: str) -> None:
    """Every text has a UTF-8 form, NUL and unpaired surrogates by their escape."""
    made = cell(text)
    made.encode("utf-8")
    assert "\x00" not in made
    assert not made.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_cells_of_other_types() -> None:
    """Numbers stay numbers, even negative ones; lists are joined; None is empty."""
    assert [cell(value) for value in (None, True, 3, -1.5, ["tools", "=x"], ["=x"])] == [
        "", "true", "3", "-1.5", "tools =x", "'=x",
    ]  # fmt: skip


def test_the_weights_worker_is_told_in_a_line() -> None:
    """What it holds since when, what it waits for, and what went wrong, in every state it can be in."""
    idle = WeightsStatus(
        running=False, model=None, backend=None, loading=False, load_s=None, memory_mb=None,
        waiting=0, restarts=0, problem="",
    )  # fmt: skip
    assert weights_line(idle) == "not running: the first request starts it"
    assert weights_line(replace(idle, running=True)) == "running, nothing in memory"
    assert weights_line(replace(idle, running=True, model="q\x1b", loading=True, waiting=2)) == (
        "loading q\\x1b · 2 waiting"
    )
    held = replace(idle, running=True, model="q", backend="airllm", load_s=4.06, memory_mb=1806, restarts=3)
    assert weights_line(held) == "q in memory by airllm, loaded in 4.1 s, 1,806 MB · restarted 3×"
    assert weights_line(replace(idle, problem="died of signal 9")).endswith(" · died of signal 9")
