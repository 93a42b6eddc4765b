"""The Evals view on a scripted source: matrix, transcript, two targets side by side; explained where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.console.eval_scene import SCENARIOS, TARGETS, cell, evaluated, page, run, tell
from tests.console.scenes import fleet
from tests.console.stage import stage

from routerconsole.console.render.cells import Role, line_width, plain
from routerconsole.console.render.eval_cell import cell_lines, pair_lines
from routerconsole.console.render.evals import cell_text, matrix_lines, shown_columns
from routerconsole.control.eval_views import CellVerdict, EvalPage, EvalTurn

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize(
    ("verdict", "k", "shown"),
    [
        ("pass", 3, "✓ 3/3"),
        ("fail", 0, "✗ 0/3"),
        ("fail", 2, "~ 2/3"),
        ("running", 1, "· 1/3"),
    ],
)
def test_graded_cells_say_k_of_n_with_their_glyph(verdict: CellVerdict, k: int, shown: str) -> None:
    """All passed, none, some, still going: each has its own glyph beside k/n."""
    assert cell_text(cell("a", "b", verdict=verdict, k=k, ttft_ms=None))[0] == shown


@pytest.mark.parametrize(
    ("verdict", "glyph"),
    [
        ("truncated", "~"),
        ("refused", "~"),
        ("error", "~"),
        ("rate_limited", "~"),
        ("inconclusive", "~"),
        ("unsupported", "⊘"),
        ("skipped", "⊘"),
        ("waiting", "·"),
    ],
)
def test_what_is_no_answer_is_never_shown_as_a_wrong_one(verdict: CellVerdict, glyph: str) -> None:
    """Transport errors, limits, truncation and refusals are neither passed nor failed."""
    text, role = cell_text(cell("a", "b", verdict=verdict, k=0, n=0, ttft_ms=None))
    assert text.startswith(glyph)
    assert role is not Role.BAD


def test_a_cell_not_begun_is_a_dot() -> None:
    """What the run has not told of is to come."""
    assert cell_text(None) == ("·", Role.DIM)


@pytest.mark.parametrize("width", [40, 63, 80, 200])
@pytest.mark.parametrize("column", range(len(TARGETS)))
def test_the_current_target_is_always_among_the_shown_columns(width: int, column: int) -> None:
    """However narrow, the selected column is visible and lines fit."""
    assert column in shown_columns(len(TARGETS), column, width)
    head, lines = matrix_lines(run(), SCENARIOS, width, column=column, base=None)
    assert "[" in plain(head)
    assert all(len(line) <= 3 for line in lines)
    assert all(line_width(line) <= max(width, 41) for line in lines)


def test_two_targets_are_compared_word_by_word() -> None:
    """What only one answer has is marked in words, not by colour alone; what statistics say stands above."""
    cells = {entry.target: entry for entry in run().cells if entry.scenario == "json-extraction"}
    first, second = TARGETS[:2]
    text = "\n".join(
        plain(line) for line in pair_lines(run(), SCENARIOS[0], (first, cells[first]), (second, cells[second]), 110)
    )
    assert "[-3}-]" in text
    assert '{+"three"}+}' in text
    assert '{"animal": "fox", "count":' in text
    assert "cannot separate (needs ≥ 6 one-sided)" in text


@pytest.mark.parametrize("width", [30, 63, 64, 120])
def test_side_by_side_fits_every_width(width: int) -> None:
    """Below 64 columns the two stand below each other; no line is wider than the pane."""
    long = cell("json-extraction", "a", transcript=(EvalTurn("assistant", "wort " * 300 + "x" * 500),))
    lines = pair_lines(run(), SCENARIOS[0], ("a", long), ("b", None), width)
    assert max(map(line_width, lines)) <= width


def test_T04_what_models_said_is_shown_visible_and_capped() -> None:
    """A transcript's escape sequences, markup and size do nothing."""
    hostile = cell(
        "json-extraction", "a\x1b[2J", verdict="fail", code="\x1b]52;c;x\x07", summary="[/x]\x9b1m", expected="\u202ex",
        transcript=(EvalTurn("assistant\x1b[0m", "\x1b]0;t\x07" + "y" * 1_000_000),),
    )  # fmt: skip
    for lines in (
        cell_lines(hostile, SCENARIOS[0], hostile.target, 80),
        pair_lines(run(), SCENARIOS[0], (hostile.target, hostile), ("b\x07", hostile), 90),
    ):
        text = "".join(map(plain, lines))
        assert text.isprintable()
        assert len(text) < 60_000


async def test_without_a_run_the_view_says_what_it_will_show() -> None:
    """The empty state explains itself, has no dead panes, and the keys of runs do nothing."""
    async with stage(fleet()) as on:
        await evaluated(on, None)
        await on.sees("There is no run yet", "✓ passed", "⊘ not applicable")
        await on.press("enter", "tab", "l", "h", "b", "j", "X", "W", "a", "L")
        await on.sees("▶ Evals", "There is no run yet")
        assert "Matrix" not in on.text()


async def test_an_engine_without_runs_says_how_to_start_one_and_read_only_starts_none() -> None:
    """Key and command in so many words; a console that may only look names no key, and has none."""
    async with stage(fleet()) as on:
        await evaluated(on, EvalPage(()))
        await on.sees("There is no run yet. n starts one here", "routerconsole eval")
    async with stage(fleet(), read_only=True) as on:
        await evaluated(on, EvalPage(()))
        await on.sees("There is no run yet. `routerconsole eval run")
        await on.press("n")
        assert not on.desk.evals.editing
        tell(on, page())
        await on.sees("2 runs")
        await on.press("n", "X", "a", "R")
        assert on.desk.question is None
        assert on.desk.picker is None
        assert not on.desk.evals.editing


async def test_matrix_transcript_and_comparison_by_keys() -> None:
    """Enter goes from run to matrix to transcript, h and l among targets, b compares, Esc leads back."""
    async with stage(fleet(), size=(120, 40)) as on:
        await evaluated(on, page())
        await on.press("enter")
        await on.sees("▶ Matrix", "running, 12 of 20 cells", "[ llama-3.3-…]")
        await on.press("b", "l")
        await on.sees("compared with groq/llama-3.3-70b", "[ llama3.1:8b]", "[-3}-]")
        await on.press("b", "b")
        await on.sees("fail(schema)  0/3 [0% – 56%]", "count is text")
        await on.press("j")
        await on.sees("error(timeout_first)")
        await on.press("enter")
        await on.sees("▶ Cell tool-invocation")
        await on.press("escape")
        await on.sees("▶ Matrix")
        await on.press("h", "h")
        await on.sees("▶ Evals  2 runs")


async def test_live_cells_change_in_place_and_the_cursor_stays() -> None:
    """A cell that ends is drawn anew; the selected scenario and target stay selected by name."""
    async with stage(fleet(), size=(120, 40)) as on:
        await evaluated(on, page())
        await on.press("enter", "j", "l", "l", "l")
        await on.sees("· running  1/1")
        now = run()
        ended = tuple(
            replace(entry, verdict="pass", k=3, n=3) if entry.verdict == "running" else entry for entry in now.cells
        )
        newest = replace(now, id="meval_newest", targets=TARGETS[:1], cells=())
        tell(on, EvalPage((newest, replace(now, cells=ended))))
        await on.looked()
        await on.sees("✓ pass  3/3")
        assert on.desk.evals.target == "auto"


async def test_a_run_that_goes_leaves_the_explanation() -> None:
    """Another engine without evaluations answers while a cell is open: nothing fails, the view explains."""
    async with stage(fleet()) as on:
        await evaluated(on, page())
        await on.press("enter", "enter")
        tell(on, None)
        await on.looked()
        await on.press("escape", "j", "b")
        await on.sees("There is no run yet")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("look", ["dark", "ascii"])
async def test_snapshots(snapshot: Callable[[str, str], None], look: str, size: tuple[int, int]) -> None:
    """The screens as looked at: nothing yet, a run, two runs, the matrix with a cell, two targets, the form."""
    async with stage(fleet(), size=size, ascii=look == "ascii") as on:

        async def shot(scene: str, *sees: str) -> None:
            await on.sees(*sees)
            await on.looked()
            text = on.text()
            assert look == "dark" or text.isascii()
            snapshot(f"{scene}-{size[0]}x{size[1]}-{look}", text)

        await evaluated(on, None)
        await shot("evals-empty", "There is no run yet")
        tell(on, page())
        await on.sees("2 runs")
        await on.press("l")
        await shot("evals-run", "Measured")
        await on.press("escape", "j", "b", "k", "l")
        await shot("evals-baseline", "not comparable")
        await on.press("escape", "escape", "enter")
        await shot("evals", "Matrix", *(["Repeat 2"] if size[0] >= 100 else []))
        await on.press("b", "l", "enter")
        await shot("evals-compare", "only here")
        await on.press("escape", "escape", "n")
        await shot("evals-form", "comes to", "4 targets")


async def test_the_runs_come_from_the_engine_while_the_view_is_open() -> None:
    """What the control port tells is read when the view opens; nothing has to be begun here."""
    async with stage(fleet(), size=(120, 40)) as on:
        on.control.eval_views = page()
        await on.press("6")
        await on.sees("▶ Evals  2 runs")
