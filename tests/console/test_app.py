"""The running console on a scripted control: what it shows, what keys do, what survives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.console.fake_control import (
    FakeControl,
    detail,
    failed,
    failed_over,
    provider,
    request,
    route,
    running,
    status,
)
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage
from tests.support.effort import calls
from textual import events

from routerconsole.console.driver import PASTE_LIMIT
from routerconsole.console.log_window import FILTER_LIMIT
from routerconsole.console.options import ConsoleExit, ExitReason
from routerconsole.console.render import waterfall
from routerconsole.console.state import MAX_ROWS
from routerconsole.console.widgets.canvas import Canvas
from routerconsole.control.commands import Disable, Drain, Enable, Probe, ResetCircuit, Target
from routerconsole.control.port import ControlError, EngineUnreachable

SIZES = [(80, 24), (120, 40), (200, 60)]


def quiet() -> FakeControl:
    """Return a fleet without requests in flight."""
    return FakeControl(provider("groq", in_flight=0), provider("spare", in_flight=0), rows=[request(1)])


# -- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("form", ["dark", "ascii"])
@pytest.mark.parametrize("view", ["overview", "requests", "waterfall"])
async def test_snapshot(view: str, form: str, size: tuple[int, int], snapshot: Callable[[str, str], None]) -> None:
    """Each view looks as it was approved at each size, with glyphs and in ASCII."""
    keys = {"overview": [], "requests": ["5"], "waterfall": ["5", "E", "enter"]}[view]
    async with stage(fleet(), size=size, ascii=form == "ascii") as on:
        await on.press(*keys)
        if view == "waterfall" or (view == "requests" and size[0] >= 100):
            await on.sees("Why")
        snapshot(f"{view}-{size[0]}x{size[1]}-{form}", on.text())
        if form == "ascii":
            assert on.text().isascii()


async def test_overview_names_failing_provider_cause_and_absorber_at_80x24() -> None:
    """From cold at 80x24 one screen names who fails, why, and who absorbed it."""
    async with stage(fleet()) as on:
        await on.sees("openai")
        await on.sees("OPEN 14s")
        await on.sees("5 consecutive")
        await on.sees("anthropic✗429 › groq✓")


async def test_what_a_check_found_down_is_not_up() -> None:
    """A provider nobody asked yet whose check failed is not among those that are up, and says so in its row."""
    down = provider("lab", status="unknown", counts_as="unhealthy", reason="check failed: connection refused")
    async with stage(FakeControl(provider("groq"), down), size=(120, 40)) as on:
        assert "◐ 1/2 up" in on.lines()[0]
        row = next(line for line in on.lines() if " lab " in line)
        assert "✗ unknown" in row
        assert "check failed" in row


@pytest.mark.parametrize("keys", [("e",), ("tab", "tab", "enter")])
async def test_raw_error_is_at_most_three_keys_from_overview(keys: tuple[str, ...]) -> None:
    """`e`, or Tab Tab Enter, lead from Overview to the guilty attempt's own words."""
    async with stage(fleet()) as on:
        await on.press(*keys)
        await on.sees("retry-after 20s")


async def test_waterfall_says_why_each_candidate_was_tried_skipped_or_dropped() -> None:
    """The detail names for every candidate what happened to it and the reason."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("5", "E")
        await on.sees(
            "first in order",
            "next after anthropic 429",
            "next after ollama CAP",
            "skipped: circuit_open 14 s",
            "dropped: known no: tools",
        )


async def test_U55_waterfall_says_under_which_name_an_attempt_was_answered() -> None:
    """An answer that names another model than was asked for shows both names; the others show none."""
    control = FakeControl(provider("groq"), rows=[request(1)])
    shown = detail(request(1))
    *before, last = shown.attempts_detail
    renamed = (*before, replace(last, served_as="llama-3.3-70b-0601\x1b[31m"))
    control.details[request(1).id] = replace(shown, attempts_detail=renamed)
    async with stage(control, size=(120, 40)) as on:
        await on.press("5")
        await on.sees("answered as llama-3.3-70b-0601\\x1b[31m, asked")
        assert on.text().count("answered as") == 1


async def test_read_only_has_no_mutating_action() -> None:
    """With --read-only the keys of mutating actions do nothing, and neither footer nor help names them."""
    async with stage(fleet(), read_only=True) as on:
        await on.press("d", "D", "r", "t", "y")
        assert on.desk.question is None
        assert on.control.commands == []
        assert "drain" not in on.text()
        await on.press("question_mark")
        await on.sees("Keys")
        assert "breaker and clear" not in on.text()


async def test_help_lists_every_available_action() -> None:
    """`?` shows each action's help text with its keys, by where it works."""
    async with stage(fleet(), size=(140, 300)) as on:
        await on.press("question_mark")
        await on.sees("Everywhere")
        for action in on.desk.bindings.actions:
            assert action.help in on.text()


async def test_empty_engine_says_what_to_do_next() -> None:
    """Without providers and requests each pane spells out the next action."""
    control = FakeControl()
    control.now = status()
    async with stage(control) as on:
        await on.sees("Add one under `providers:`")
        await on.press("5")
        await on.sees("No requests yet", "routerconsole env")


async def test_before_the_first_answer_panes_say_they_are_loading() -> None:
    """Until the engine has answered nothing is claimed about it."""
    control = quiet()
    control.gate.clear()
    async with stage(control) as on:
        await on.sees("asking the engine", "connecting")
        assert "No providers" not in on.text()
        control.gate.set()
        await on.sees("groq", "LIVE")


async def test_disconnected_is_said_and_ends_when_the_engine_is_back() -> None:
    """A lost engine is named in the bar and a banner; the console retries and recovers by itself."""
    control = quiet()
    async with stage(control) as on:
        control.fails = EngineUnreachable("nothing listens on http://127.0.0.1:8808")
        await on.sees("disconnected", "retrying", "nothing listens", "routerconsole serve")
        await on.sees("groq")
        control.fails = None
        await on.sees("LIVE")
        await on.loses("retrying")


async def test_silent_engine_becomes_stale() -> None:
    """When looks stop coming back what is shown is called stale."""
    control = quiet()
    async with stage(control) as on:
        control.gate.clear()
        await on.sees("STALE", "has not answered")
        control.gate.set()
        await on.loses("STALE")


async def test_notices_of_the_engine_are_banners() -> None:
    """Storage trouble and rejected configuration stand under the top bar."""
    control = quiet()
    control.now = replace(control.now, notices=("storage degraded: disk full; requests go on",))
    async with stage(control) as on:
        await on.sees("storage degraded: disk full")


# -- the log ----------------------------------------------------------------------------------------------------------


async def test_in_flight_requests_are_in_the_log_and_finish_there() -> None:
    """A running request has a row that becomes the finished one."""
    control = quiet()
    async with stage(control) as on:
        await on.press("5")
        control.arrive(running(2))
        await on.sees("000002", "groq…")
        control.arrive(failed(2))
        await on.sees("groq✗503 › ollama✗CON")
        assert on.text().count("000002") == 1


async def test_missed_last_event_is_found_out() -> None:
    """A running row whose last event was lost is settled from the log."""
    control = quiet()
    async with stage(control) as on:
        await on.press("5")
        control.arrive(running(2))
        await on.sees("groq…")
        control.rows[failed(2).id] = failed(2)  # ended, and nobody published it
        await on.sees("groq✗503")


async def test_freeze_and_follow() -> None:
    """`f` holds the log still and says how much arrived; `f` again follows the newest row."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(40)])
    async with stage(control) as on:
        await on.press("5", "f")
        await on.sees("FROZEN")
        before = [line for line in on.lines() if "12:00" in line]
        control.arrive(*(request(n) for n in range(40, 60)))
        await on.sees("20 new")
        assert [line for line in on.lines() if "12:00" in line] == before
        await on.press("f")
        await on.sees("00003b")
        await on.loses("FROZEN")


async def test_cursor_up_freezes_a_following_log() -> None:
    """Moving up from the newest row stops following; G follows again."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(40)])
    async with stage(control) as on:
        await on.press("5", "k")
        await on.sees("FROZEN")
        await on.press("G")
        await on.loses("FROZEN")


async def test_filter_by_text() -> None:
    """`/` narrows the log while typing, Enter keeps the filter as chips, Esc clears it."""
    async with stage(fleet()) as on:
        await on.press("5", "slash", *"anthropic", "enter")
        await on.sees("[anthropic]", "4 of 42")
        assert all("anthropic" in line for line in on.lines() if line[1:3] == "12")
        await on.press("exclamation_mark")
        await on.sees("not [anthropic]", "38 of 42")
        await on.press("escape")
        await on.loses("[anthropic]")


async def test_filter_without_hits_says_how_to_get_out() -> None:
    """An empty result names the key that clears the filter."""
    async with stage(fleet()) as on:
        await on.press("5", "slash", *"zzz", "enter")
        await on.sees("No request passes the filter. Esc clears it")


async def test_filter_finds_rows_older_than_the_list() -> None:
    """Enter on a filter also asks the log, which knows more than the console holds."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(3)])
    async with stage(control) as on:
        await on.press("5")
        await on.sees("000002")
        old = request(999, at="2026-02-01T00:00:00.000Z", model="ancient")
        control.rows[old.id] = old
        await on.press("slash", *"ancient", "enter")
        await on.sees("0003e7")


async def test_typing_ahead_into_the_filter_presses_no_action() -> None:
    """Letters typed right behind `/` are text, even those that are actions elsewhere."""
    async with stage(fleet()) as on:
        await on.pilot.press("5", "slash", "q", "d", "e", "1")
        await on.until(lambda: on.desk.requests.filter.text == "qde1")
        assert on.desk.view.mode == "requests"
        assert on.desk.question is None


async def test_e_and_E_stop_at_failed_and_failed_over_requests() -> None:
    """`E` goes to the previous request that failed or failed over, `e` to the next; at the end they say so."""
    rows = [request(1), failed_over(2), request(3), failed(4), request(5)]
    async with stage(FakeControl(provider("groq"), rows=rows)) as on:
        await on.press("5", "E")
        assert on.desk.requests.table.current_key == rows[3].id
        await on.press("E")
        assert on.desk.requests.table.current_key == rows[1].id
        await on.press("E")
        await on.sees("no earlier request failed")
        await on.press("e")
        assert on.desk.requests.table.current_key == rows[3].id


async def test_detail_is_pushed_below_100_columns_and_beside_from_100() -> None:
    """Narrow terminals show list or detail, wide ones both; Esc pops."""
    async with stage(fleet(), size=(99, 30)) as on:
        await on.press("5", "E")
        assert "Why" not in on.text()
        await on.press("enter")
        await on.sees("Why")
        assert "▶ Requests" not in on.text()
        await on.press("escape")
        await on.sees("▶ Requests")
        await on.pilot.resize_terminal(100, 30)
        await on.sees("Requests", "Why")


async def test_T13_flood_leaves_scroll_and_selection_where_they_are() -> None:
    """While thousands of requests arrive, a frozen log keeps its cursor, its rows, and at most 2,000 of them."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(100)])
    async with stage(control) as on:
        await on.press("5", "k", "k", "k")
        table = on.desk.requests.table
        key = table.current_key
        place = next(index for index, line in enumerate(on.lines()) if line.startswith("▶1"))
        for wave in range(5):
            control.arrive(*(request(n) for n in range(100 + wave * 300, 400 + wave * 300)))
            await on.until(lambda: len(on.desk.state.requests) >= min(MAX_ROWS, 400 + wave * 300))  # noqa: B023
            assert table.current_key == key
            assert on.lines()[place].startswith("▶")
            assert key[-6:] in on.lines()[place]
        control.arrive(*(request(n) for n in range(1600, 2600)))
        await on.until(lambda: request(2599).id in on.desk.state.requests._by_id)
        assert len(table.rows) == MAX_ROWS


async def test_long_lists_open_at_once() -> None:
    """A full list draws only what is visible of its 2,000 rows: not even five calls a row."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(MAX_ROWS)])
    async with stage(control) as on:
        await on.press("5")
        await on.until(lambda: len(on.desk.state.requests) == MAX_ROWS)
        on.desk.requests._lines._known.clear()
        assert calls(on.desk.requests.sync) + calls(on.app.redraw) < 5 * MAX_ROWS


# -- provider actions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "command", "result"),
    [
        ("d", Drain(Target("groq")), "healthy → draining"),
        ("D", Disable(Target("groq")), "healthy → disabled"),
    ],
)
async def test_actions_on_live_traffic_ask_with_blast_radius_and_before_after(
    key: str, command: Any, result: str
) -> None:
    """Drain and disable name who is touched and what changes, do nothing until `y`, and report the receipt."""
    control = FakeControl(provider("groq", rps=4.1), provider("spare"))
    async with stage(control, size=(140, 30)) as on:
        await on.press(key)
        await on.sees("groq?", "4.1 of 7.2 rps", "next: spare", "models nobody else serves: groq-large", result)
        assert control.commands == []
        await on.press("n")
        await on.sees("nothing was changed")
        await on.press(key)
        await on.sees(result)
        await on.press("y")
        await on.sees("#1")
        assert control.commands == [command]
        assert result in on.lines()[-1]


async def test_last_provider_up_is_named_as_such() -> None:
    """Draining the only provider that is up says that requests will fail."""
    async with stage(FakeControl(provider("groq"), provider("dead", status="open"))) as on:
        await on.press("d")
        await on.sees("NO OTHER PROVIDER IS UP")


async def test_d_on_a_draining_provider_enables_it_again() -> None:
    """The same key brings back what it took out."""
    control = FakeControl(provider("groq", status="draining"), provider("spare"))
    async with stage(control) as on:
        await on.press("d")
        await on.sees("Enable groq?", "draining → healthy")
        await on.press("enter")
        await on.until(lambda: control.commands == [Enable(Target("groq"))])


async def test_probe_does_not_ask() -> None:
    """A probe changes nothing, so it runs at once and its result is shown."""
    control = quiet()
    async with stage(control) as on:
        await on.press("t")
        await on.sees("probe groq ok (auth 12ms)")
        assert control.commands == [Probe(("groq",))]


async def test_reset_asks_only_when_something_is_held_back() -> None:
    """Resetting a closed breaker touches nothing and is done; an open one asks first."""
    closed, opened = provider("groq"), provider("openai", status="open", circuit_state="open")
    control = FakeControl(closed, opened)
    async with stage(control) as on:
        await on.press("r")
        await on.until(lambda: control.commands == [ResetCircuit(Target("groq"), gates=True)])
        await on.press("j", "r")
        await on.sees("Reset the breaker of openai?", "open → healthy")
        assert len(control.commands) == 1


async def test_T21_double_enter_is_one_action() -> None:
    """Enter twice on a question sends one command."""
    control = FakeControl(provider("openai", status="open", circuit_state="open"))
    async with stage(control) as on:
        await on.press("r")
        await on.sees("open → healthy")
        await on.press("enter", "enter")
        await on.sees("#1")
        await on.looked()
        assert len(control.commands) == 1


async def test_answer_before_the_engine_said_what_changes_is_ignored() -> None:
    """`y` typed ahead of the preview sends nothing: nobody confirms what was not shown."""
    control = quiet()
    control.do_gate.clear()
    async with stage(control) as on:
        await on.press("d", "y")
        assert control.commands == []
        await on.sees("asking the engine")
        control.do_gate.set()
        await on.sees("→ draining")


@pytest.mark.parametrize("key", ["d", "D", "r"])
async def test_T19_an_edit_elsewhere_while_a_question_is_open_is_a_conflict(key: str) -> None:
    """Somebody else disables what we are about to change: nothing is sent, it says so and asks again."""
    control = FakeControl(provider("groq", circuit_state="open", in_flight=1), provider("spare"))
    async with stage(control) as on:
        await on.press(key)
        await on.sees("y yes, do it")
        await control.do(Disable(Target("groq")), actor="api")
        await on.press("y")
        await on.sees("conflict, nothing done: groq changed", "y yes, do it")
        assert [type(command) for command in control.commands] == [Disable], "theirs stands"
        await on.press("n")
        await on.sees("nothing was changed")
        assert [row.actor for row in control.audit_rows] == ["api"]


async def test_T19_what_changed_meanwhile_can_be_confirmed_again() -> None:
    """The second answer is to what is shown now, and is carried out."""
    control = quiet()
    async with stage(control) as on:
        await on.press("d")
        await on.sees("auto → draining")
        await control.do(Disable(Target("groq")), actor="api")
        await on.press("y")
        await on.sees("conflict", "disabled → draining")
        await on.press("y")
        await on.until(lambda: len(control.commands) == 2, "ours is sent")
        assert [row.actor for row in control.audit_rows] == ["api", "console"]


async def test_what_changes_by_itself_is_no_conflict() -> None:
    """A circuit that opens while the question is open keeps nobody from answering it."""
    control = quiet()
    async with stage(control) as on:
        await on.press("d")
        await on.sees("y yes, do it")
        control.now = status(provider("groq", status="open", circuit_state="open"), provider("spare"))
        await on.press("y")
        await on.until(lambda: len(control.commands) == 1, "it is sent")


async def test_T14_provider_deleted_while_its_question_is_open() -> None:
    """The question says the provider is gone, and `y` sends nothing."""
    control = quiet()
    async with stage(control) as on:
        await on.press("d")
        await on.sees("→ draining")
        control.now = status(provider("spare"))
        await on.sees("groq is gone")
        await on.press("y")
        await on.loses("is gone")
        assert control.commands == []


async def test_T14_row_under_the_cursor_removed() -> None:
    """When the selected provider disappears the cursor takes its neighbour, without an error."""
    control = FakeControl(provider("a1"), provider("b2"), provider("c3"))
    async with stage(control) as on:
        await on.press("j", "j")
        control.now = status(provider("a1"))
        await on.loses("c3")
        assert on.desk.overview.providers.current_key == "a1"
        control.now = status()
        await on.sees("No providers")
        await on.press("d", "r", "t", "enter")
        assert control.commands == []


async def test_refused_action_shows_the_reason() -> None:
    """A refusal of the engine is in the bottom line, and what is shown stays the engine's state."""
    control = quiet()
    async with stage(control) as on:
        control.refuses = ControlError("conflict", "someone else changed it", status=409)
        await on.press("d")
        await on.sees("someone else changed it")
        assert on.desk.question is None


async def test_action_log_shows_every_change_before_and_after() -> None:
    """`@` lists what was done, newest first, with what it changed."""
    control = quiet()
    async with stage(control) as on:
        await on.press("at")
        await on.sees("No operator has changed anything yet")
        await on.press("escape", "d")
        await on.sees("→ draining")
        await on.press("y")
        await on.sees("#1")
        await on.press("at")
        await on.sees("#1 console drain_provider groq", "status healthy → draining")


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "ending"),
    [
        (["q", "q"], ConsoleExit(ExitReason.QUIT)),
        (["q", "h"], ConsoleExit(ExitReason.HANDOFF)),
        (["ctrl+c", "q"], ConsoleExit(ExitReason.INTERRUPTED, 130)),
        (["ctrl+c", "ctrl+c"], ConsoleExit(ExitReason.INTERRUPTED, 130)),
    ],
)
async def test_quit_with_requests_in_flight_asks(keys: list[str], ending: ConsoleExit) -> None:
    """`q` and ctrl+c ask while requests run; the answer decides how the console ends."""
    async with stage(fleet()) as on:
        await on.press(keys[0])
        await on.sees("in flight. Quit?", "drain and quit", "hand off")
        await on.pilot.press(keys[1])
        await on.until(lambda: on.app.return_value == ending)


async def test_quit_question_can_be_left() -> None:
    """Esc stays."""
    async with stage(fleet()) as on:
        await on.press("q")
        await on.sees("Quit?")
        await on.press("escape")
        await on.loses("Quit?")
        assert on.app.return_value is None


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+c", 130)])
async def test_idle_console_quits_at_once(key: str, code: int) -> None:
    """Without requests in flight nothing is asked."""
    async with stage(quiet()) as on:
        await on.pilot.press(key)
        await on.until(lambda: on.app.return_value is not None)
        assert on.app.return_value.code == code


async def test_attached_console_quits_without_asking() -> None:
    """A console that does not own the engine leaves it alone, requests or not."""
    async with stage(fleet(), owns_engine=False) as on:
        await on.pilot.press("q")
        await on.until(lambda: on.app.return_value == ConsoleExit(ExitReason.QUIT))


# -- what it must survive ---------------------------------------------------------------------------------------------


async def test_T01_any_size_and_back() -> None:
    """No size breaks a pane, and at 80x24 everything is there again."""
    dice = random.Random(1)
    sizes = [(1, 1), (2, 200), (500, 500), (500, 2), (39, 10), (40, 9)]
    sizes += [(dice.randint(1, 240), dice.randint(1, 80)) for _ in range(25)]
    async with stage(fleet()) as on:
        await on.press("5", "E", "enter")
        for width, height in sizes:
            await on.pilot.resize_terminal(width, height)
            assert on.app.screen.size == (width, height)
        for key in ("1", "d", "escape", "question_mark"):
            await on.pilot.resize_terminal(*dice.choice(sizes))
            await on.press(key)
        await on.press("escape")
        await on.pilot.resize_terminal(80, 24)
        await on.sees("▶ Overview", "anthropic", "Latest failovers")
        assert [canvas.failure for canvas in on.app.screen.query(Canvas)] == [None] * len(on.app.screen.query(Canvas))


@pytest.mark.parametrize("size", [(39, 24), (80, 9), (10, 3)])
async def test_T02_too_small_says_so(size: tuple[int, int]) -> None:
    """Below 40x10 there is a note instead of a broken screen."""
    async with stage(fleet(), size=size) as on:
        await on.sees("too small")
        await on.pilot.resize_terminal(40, 10)
        await on.sees("Overview")


@pytest.mark.parametrize("size", [(40, 10), (300, 100)])
async def test_T02_smallest_and_largest_are_usable(size: tuple[int, int]) -> None:
    """At 40x10 and 300x100 the worst provider and its question fit."""
    async with stage(fleet(), size=size) as on:
        await on.sees("anthropic")
        await on.press("5", "E", "enter")
        await on.sees("plan")
        for _ in range(8):  # at 40x10 a page has room for eight lines
            if "retry-after 20s" in on.text():
                break
            await on.press("space")
        await on.sees("retry-after 20s")


async def test_T03_huge_paste_is_capped() -> None:
    """A pasted megabyte leaves a short filter and a live console; elsewhere a paste presses nothing."""
    async with stage(fleet()) as on:
        on.app.post_message(events.Paste("dq" * 500_000))
        await on.press("5", "slash")
        on.app.post_message(events.Paste("x\x1b]52;c;aGk=\x07\n" * 50_000))
        await on.until(lambda: len(on.desk.requests.filter.text) == FILTER_LIMIT)
        assert FILTER_LIMIT <= PASTE_LIMIT
        assert on.desk.requests.filter.text.isprintable()
        await on.press("escape")
        assert on.desk.question is None


async def test_T10_exception_in_a_pane_stays_in_that_pane(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pane that raises shows its error; list, bars and keys go on, and it recovers with the next good draw."""
    async with stage(fleet(), size=(120, 40)) as on:
        await on.press("5", "E")
        await on.sees("Why")

        def broken(*_args: object) -> list[object]:
            raise ZeroDivisionError("a bug [red]in[/] a pane")

        draw = on.desk.requests.detail._draw
        on.desk.requests.detail._draw = broken
        await on.sees("this pane failed", "ZeroDivisionError: a bug [red]in[/] a pane", "Requests", "LIVE")
        await on.press("e", "1")
        await on.sees("▶ Overview")
        on.desk.requests.detail._draw = draw
        await on.press("5")
        await on.sees("Why")


HOSTILE = [
    "\x1b]52;c;aGk=\x07",
    "\x1b]8;;http://evil\x1b\\x",
    "\x1bP+q\x1b\\",
    "\x1b_G\x1b\\",
    "\x1b^x\x1b\\",
    "\x1b[2J\x1b[6n\x1bc\x1b[?1049l",
    "\x9b31m\x9d0;t\x9c",
    "\u202eabc\u2066\u200b\u200d\ufeff",
    "[/] [red] [@click=app.quit] [$x] [link=http://e] \\[ x[/]y",
    "é" + "\u0301" * 200,
    "漢字カナ👨‍👩‍👧‍👦🏳️‍🌈\t\ttab",
    "\ud800\udfff surrogate",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_T04_T05_T06_hostile_text_in_every_sink(text: str) -> None:
    """Control sequences, markup, bidi, marks, wide and endless text: literal, aligned, harmless everywhere."""
    bad_route = route(
        text,
        text,
        reason=text,
        fault=text,
        gate=text,
        account=text,
        gaps=(text,),
        last_error={"class": text, "detail": text, "at": text},
    )
    bad = provider(
        text,
        kind=text,
        reason=text,
        fault=text,
        gate=text,
        default_model=text,
        models=(text,),
        routes=(bad_route,),
        status=text,
        circuit_state=text,
    )
    row = failed(
        7,
        model=text,
        resolved=text,
        agent=text,
        origin=text,
        served_model=text,
        needed=(text,),
        forced=(text,),
        flags=(text,),
        endpoint=text,
    )
    row = replace(row, chain=text, error_code=text, status="failed", provider=text, usage_source=text)
    control = FakeControl(bad, provider("honest"), rows=[row, request(8)])
    control.now = replace(control.now, notices=(text,), endpoint=text, config_path=text)
    attempt = waterfall_attempt(text)
    control.details[row.id] = replace(
        await base_detail(control, row.id), attempts_detail=(attempt,), finish_reason=text, terminal=text
    )
    async with stage(control, size=(120, 40)) as on:
        for keys in (["d"], ["y", "at"], ["escape", "5", "k"], ["slash", "x", "enter"]):
            await on.press(*keys)
            await on.looked()
            assert_harmless(on)
            assert [canvas.failure for canvas in on.app.screen.query(Canvas) if canvas.failure] == []


def waterfall_attempt(text: str) -> Any:
    """Return an attempt whose every text is hostile."""
    from routerconsole.control.views import AttemptView

    return AttemptView(1, text, text, 0.0, 1.0, 2.0, 3.0, 4.0, 500, text, text, text, text, text, text)


async def base_detail(control: FakeControl, request_id: str) -> Any:
    """Return the control's own detail of a request."""
    found = await control.request(request_id)
    assert found is not None
    return found


def assert_harmless(on: Stage) -> None:
    """Assert that every strip is printable, exactly as wide as the screen, and without links or click actions."""
    for canvas in on.app.screen.query(Canvas):  # before the backstop filter had a chance to repair anything
        assert all(text.isprintable() for line in canvas._drawn for text, _ in line)
    for strip in on.app.screen._compositor.render_strips():
        assert strip.text.isprintable()
        assert strip.cell_length == on.app.size.width
        for segment in strip:
            assert segment.control is None
            if segment.style is not None:
                assert segment.style.link is None
                assert not any(key.startswith("@") for key in segment.style.meta)


async def test_figures_that_are_no_numbers_are_dashes() -> None:
    """NaN, infinite and negative figures draw as a dash (T22)."""
    bad = float("nan")
    row = request(1, total_ms=float("inf"), ttft_ms=-5.0, cost_usd=bad)
    control = FakeControl(provider("groq", rps=bad, p95_ms=float("inf"), error_rate=-1.0), rows=[row])
    async with stage(control, size=(200, 40)) as on:
        assert "nan" not in on.text()
        assert "inf" not in on.text()
        await on.press("5", "E", "k", "enter")
        await on.sees("Why")
        assert "nan" not in on.text()


def test_waterfall_module_has_the_documented_glyphs() -> None:
    """The waterfall's bars use exactly the glyphs of its legend."""
    from tests.console.fake_control import detail

    text = "".join(run for line in waterfall.bars(detail(request(1)), None, 100) for run, _ in line)
    assert {"╌", "─", "━", "┄", "●", "✗"} <= set(text)
