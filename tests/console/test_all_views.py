"""What every view must survive, whatever it shows: sizes, empty, enormous and broken engines, hostile text."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from tests.console.fake_control import FakeControl, failed_over, provider, request, status
from tests.console.stage import Stage, stage
from tests.console.whole import enormous, whole

from routerconsole.console.widgets.canvas import Canvas
from routerconsole.control.port import EngineUnreachable

VIEWS = {"overview": "1", "health": "2", "capabilities": "3", "registry": "4", "requests": "5", "evals": "6"}
OPEN_S = 0.1
"""Processor seconds a view may take to open (T23)."""

every_view = pytest.mark.parametrize("view", VIEWS)


def failures(on: Stage) -> list[str]:
    """Return what panes of the open view failed with."""
    return [canvas.failure for canvas in on.app.screen.query(Canvas) if canvas.failure]


async def opened(on: Stage, view: str) -> None:
    """Open a view and let it read what it wants."""
    await on.press(VIEWS[view])
    await on.looked()
    await on.looked()


def cursors(on: Stage) -> set[str]:
    """Return what the cursors on the screen stand on, and the title that has the focus."""
    return {line.split("  ")[0] for line in on.lines()[1:-1] if line.startswith("▶")}


@every_view
async def test_T01_every_pane_draws_a_thousand_sizes_within_its_bounds(view: str) -> None:
    """No size raises, no line is wider than asked, none is too many; afterwards 80x24 shows what it did before."""
    dice = random.Random(view)
    async with stage(whole()) as on:
        await opened(on, view)
        before = cursors(on)
        panes = on.desk.view.panes
        sizes = [(1, 1), (2, 200), (500, 500), (500, 1), (1, 500)]
        sizes += [(dice.randint(1, 300), dice.randint(1, 120)) for _ in range(1000)]
        for number, (width, height) in enumerate(sizes):
            on.desk.view.settle(wide=width >= 100)
            lines = panes[number % len(panes)].paint(width, height, focused=bool(number % 2))
            assert len(lines) <= height
        for width, height in [*sizes[:5], *sizes[5:15]]:
            await on.pilot.resize_terminal(width, height)
            assert failures(on) == []
        await on.pilot.resize_terminal(80, 24)
        await on.until(lambda: cursors(on) == before, f"the same rows selected as before: {before}")


@every_view
async def test_T02_every_view_is_usable_at_40x10_and_300x100(view: str) -> None:
    """The smallest and the largest terminal show the view's first pane, whole lines and the key of the help."""
    async with stage(whole(), size=(40, 10)) as on:
        await opened(on, view)
        for size in ((40, 10), (300, 100)):
            await on.pilot.resize_terminal(*size)
            await on.sees(f"▶ {on.desk.view.focused.name}"[:30], "? help")
            assert failures(on) == []
            strips = on.app.screen._compositor.render_strips()
            assert {strip.cell_length for strip in strips} == {size[0]}


@every_view
async def test_T10_a_pane_that_raises_leaves_the_others_and_the_keys_alive(view: str) -> None:
    """Each pane in turn raises: it shows that and where, the bars go on, and other views open."""
    async with stage(whole(), size=(120, 40)) as on:
        await opened(on, view)
        for place, pane in enumerate(on.desk.view.lists):

            def broken(*_args: object, **_more: object) -> list[object]:
                raise ZeroDivisionError("a bug [red]in[/] a pane")

            pane.paint = broken  # type: ignore[method-assign]  # the bug
            on.desk.view.focus_pane(pane)
            on.app.redraw()
            await on.pilot.pause()
            if not on.app.screen._lists[place].display:
                del pane.paint
                continue
            await on.sees("this pane failed", "ZeroDivisionError: a bug [red]in[/] a pane", "LIVE", "? help")
            del pane.paint
        for other in ("5", "1"):
            await on.press(other)
        await on.until(lambda: on.desk.view.mode == "overview" and "Overview  6" in on.text(), "Overview again")


@every_view
async def test_every_view_says_that_it_loads_what_is_missing_and_that_the_engine_is_gone(view: str) -> None:
    """Before the first answer, on an empty engine and on a lost one each view has words, not an empty pane."""
    control = FakeControl()
    control.now = status()
    control.gate.clear()
    async with stage(control, size=(100, 30)) as on:
        await on.press(VIEWS[view])
        assert words(on) >= 3, on.text()
        control.gate.set()
        await on.until(lambda: on.desk.state.loaded, "the first look")
        await opened(on, view)
        assert words(on) >= 3, on.text()
        control.fails = EngineUnreachable("nothing listens on http://127.0.0.1:8808")
        await on.sees("disconnected", "retrying")
        assert words(on) >= 3
        assert failures(on) == []


def words(on: Stage) -> int:
    """Count the words between title and bottom line."""
    return sum(len(line.replace("│", " ").split()) for line in on.lines()[2:-1])


@every_view
@pytest.mark.parametrize("count", [0, 1, 5000])
async def test_T23_every_view_opens_at_once_however_much_there_is(view: str, count: int) -> None:
    """0, 1 and 5,000 models, 2,000 rows, a tree 50 levels deep: opening and drawing takes at most 100 ms."""
    async with stage(enormous(count), size=(120, 40)) as on:
        await opened(on, view)
        took = []
        for _ in range(3):
            await on.press("1" if view != "overview" else "2")
            began = time.process_time()
            on.desk.key(VIEWS[view], VIEWS[view])
            took.append(time.process_time() - began)
            await on.pilot.pause()
        assert failures(on) == []
        assert min(took) <= OPEN_S


@every_view
@pytest.mark.parametrize("form", ["dark", "ascii"])
async def test_no_state_is_told_by_colour_alone(view: str, form: str) -> None:
    """Every row that is drawn in a bad or warning colour also has a glyph or a word that says so."""
    async with stage(whole(), size=(200, 60), ascii=form == "ascii", no_color=True) as on:
        await opened(on, view)
        text = on.text()
        assert any(mark in text for mark in ("✗", "!", "◐", "+", "no ", "–", "-"))
        if form == "ascii":
            assert text.isascii()


async def test_T14_every_view_outlives_the_removal_of_everything_it_shows() -> None:
    """Providers, models, nodes, pools and requests go while their view is open; nothing fails."""
    for view, key in VIEWS.items():
        control = whole()
        async with stage(control, size=(120, 40)) as on:
            await opened(on, view)
            await on.press("G", "enter")
            empty = FakeControl()
            control.now = status()
            control.model_page, control.node_views, control.pool_views = (
                empty.model_page,
                empty.node_views,
                empty.pool_views,
            )
            await on.looked()
            await on.press("j", "k", "G", "escape", key, "enter", "x", "escape", "escape")
            assert failures(on) == []


@every_view
async def test_T22_figures_that_are_no_numbers_are_dashes_in_every_view(view: str) -> None:
    """NaN, infinite and negative figures of an engine draw as a dash and break no list, sorting included."""
    bad = float("nan")
    rows = [request(1, total_ms=float("inf"), ttft_ms=-5.0, cost_usd=bad), failed_over(2, total_ms=bad)]
    control = whole()
    control.rows |= {row.id: row for row in rows}
    broken = replace(control.now.providers[0], rps=bad, p95_ms=float("inf"), error_rate=-1.0, p50_ms=-1.0)
    control.now = replace(control.now, providers=(broken, *control.now.providers[1:]), rps=bad, p95_ms=float("inf"))
    async with stage(control, size=(200, 60)) as on:
        await opened(on, view)
        for _ in range(6):
            await on.press("o")
            shown = on.text().replace("information", "").replace("inference", "").split()
            assert not {"nan", "inf", "-inf", "nan%", "NaN"} & set(shown)
        assert failures(on) == []


TEXT_FIELDS: dict[str, list[str]] = {
    "filter": ["5", "slash"],
    "command line": ["colon"],
    "palette": ["ctrl+p"],
    "help": ["question_mark"],
}


@pytest.mark.parametrize("field", TEXT_FIELDS)
async def test_T03_ten_megabytes_pasted_into_any_field_are_capped(field: str) -> None:
    """The field keeps at most 64 KB of printable text, the console draws within a second, and Esc leaves."""
    async with stage(whole(), size=(100, 30)) as on:
        await on.press(*TEXT_FIELDS[field])
        began = time.process_time()
        on.desk.paste("x\x1b]52;c;aGk=\x07\n\u202e" * 700_000)
        on.app.redraw()
        await on.pilot.pause()
        assert time.process_time() - began < 1
        taker = on.desk.typing
        kept = getattr(taker, "text", None) or getattr(taker, "query", None) or on.desk.requests.filter.text
        assert 0 < len(kept) <= 65_536
        assert kept.isprintable() or "\u202e" in kept
        assert all(text.isprintable() for c in on.app.screen.query(Canvas) for line in c._drawn for text, _ in line)
        await on.press("escape", "escape")
        assert on.desk.typing is None


def test_scenes_have_something_for_every_view() -> None:
    """The fleet these tests stand on is not empty where a view looks."""
    control = whole()
    assert control.now.providers
    assert control.rows
    assert control.model_page.models
    assert control.node_views
    assert control.pool_views
    assert provider("x").name == "x"
