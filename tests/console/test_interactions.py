"""The console's interactions, one row of the specification's table after the other, on a scripted fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.console.fake_control import FakeControl, failed, failed_over, provider, request
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage
from tests.console.whole import whole
from textual.color import Color

from routerconsole.console.actions import ACTIONS, Bindings, Context
from routerconsole.console.keymap import keymap_problems
from routerconsole.console.options import ConsoleExit, ExitReason
from routerconsole.console.palette import MANUAL
from routerconsole.console.sending import Proposal
from routerconsole.console.views.panes import ListPane
from routerconsole.console.widgets.canvas import Canvas
from routerconsole.control.commands import Drain, Target
from routerconsole.control.registry_commands import SetCapability, Undo

MODES = ("overview", "health", "capabilities", "registry", "requests", "evals")


def ten() -> FakeControl:
    """Ten providers a to j with falling rates, and thirty requests."""
    names = "abcdefghij"
    providers = [provider(name, rps=10.0 - n, p95_ms=100.0 * (n + 1)) for n, name in enumerate(names)]
    return FakeControl(*providers, rows=[request(n) for n in range(30)])


def selected(on: Stage) -> str | None:
    """Return the overview's selected provider."""
    return on.desk.overview.providers.current_key


def order(on: Stage) -> str:
    """Return the overview's providers in the order they are shown."""
    return "".join(row.name for row in on.desk.overview.providers.rows)


async def click_on(on: Stage, text: str) -> None:
    """Click the first place below the top bar that shows a text."""
    y, line = next((y, line) for y, line in enumerate(on.lines()) if y and text in line)
    await on.pilot.click(offset=(line.index(text), y))
    await on.pilot.pause()


# -- navigation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_navigation_numbers_open_the_six_views(size: tuple[int, int]) -> None:
    """`1` to `6` open each view; no pane of it fails, and the footer says that there are others and a help."""
    async with stage(fleet(), size=size) as on:
        for number, mode in enumerate(MODES, start=1):
            await on.press(str(number))
            await on.until(lambda mode=mode: on.desk.view.mode == mode, mode)
            assert [canvas.failure for canvas in on.app.screen.query(Canvas) if canvas.failure] == []
            assert "1-6 views" in on.lines()[-1] or size[0] < 200
            assert "? help" in on.lines()[-1]


async def test_navigation_moves_the_cursor() -> None:
    """`j k` and arrows by one, `g G` to the ends, `ctrl+d ctrl+u` and PgDn PgUp by half a page."""
    async with stage(ten(), size=(80, 24)) as on:
        for keys, where in (
            (["j"], "b"),
            (["down"], "c"),
            (["k"], "b"),
            (["up"], "a"),
            (["G"], "j"),
            (["g"], "a"),
            (["end"], "j"),
            (["home"], "a"),
        ):
            await on.press(*keys)
            assert selected(on) == where, keys
        half = on.desk.overview.providers.height // 2
        for down, up in (("ctrl+d", "ctrl+u"), ("pagedown", "pageup")):
            await on.press(down)
            assert selected(on) == "abcdefghij"[half]
            await on.press(up)
            assert selected(on) == "a"


async def test_navigation_between_panes_into_the_detail_and_back() -> None:
    """Tab goes round the panes, `l` and Enter go into the detail, `h` and Esc back to the list it came from."""
    async with stage(ten(), size=(120, 40)) as on:
        view = on.desk.view
        for _ in view.panes:
            await on.press("tab")
        assert view.focus == 0
        await on.press("shift+tab")
        assert view.focused is view.detail
        await on.press("tab")
        for into, back in (("l", "h"), ("right", "left"), ("enter", "escape")):
            await on.press(into)
            assert view.focused is view.detail
            await on.press(back)
            assert view.focus == 0


async def test_navigation_to_the_neighbours_from_the_detail() -> None:
    """`]` and `[` show the next and the previous object without leaving the detail."""
    async with stage(ten(), size=(80, 24)) as on:
        await on.press("enter")
        await on.sees("▶ Provider a")
        await on.press("right_square_bracket", "right_square_bracket")
        await on.sees("▶ Provider c")
        await on.press("left_square_bracket")
        await on.sees("▶ Provider b")
        await on.press("escape")
        assert selected(on) == "b"


# -- filter -----------------------------------------------------------------------------------------------------------


async def test_filter_chips_inverts_and_is_cleared() -> None:
    """`/` types it, its terms are chips, `!` inverts it, Esc in the list clears it."""
    async with stage(fleet()) as on:
        await on.press("5", "slash", *"prov:groq", "enter")
        await on.sees("[prov:groq]")
        shown = len(on.desk.requests.table.rows)
        await on.press("exclamation_mark")
        await on.until(lambda: len(on.desk.requests.table.rows) != shown, "the opposite")
        await on.press("escape")
        await on.until(lambda: len(on.desk.requests.table.rows) == 42, "all of them")


async def test_filter_from_the_command_line() -> None:
    """`:filter fo` filters the view's list, `:filter` alone takes the filter away, a view without one says so."""
    async with stage(fleet()) as on:
        await on.press("5", "colon", *"filter fo", "enter")
        await on.sees("[fo]")
        await on.press("colon", *"filter", "enter")
        await on.loses("[fo]")


# -- palette, command line --------------------------------------------------------------------------------------------


async def test_palette_lists_what_can_be_done_here_and_every_object() -> None:
    """`ctrl+p` offers each action of the focused pane and each object of every view."""
    async with stage(ten()) as on:
        await on.press("ctrl+p")
        await on.sees("Palette")
        texts = {entry.text for entry in on.desk.picker._entries}
        here = on.desk.view.contexts()
        hidden = {"palette", "command", "pop"}
        assert {a.help for a in on.desk.bindings.actions if a.context in here and a.id not in hidden} <= texts
        assert {name for view in on.desk.views.values() for _, name in view.objects()} <= texts
        assert {"a", "j"} <= texts


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("req", "requests"),
        ("theme hi", "theme high-contrast"),
        ("th", "theme "),
        ("fi", "filter "),
        ("q", "quit"),
        ("cursor.b", "cursor.bottom"),
        ("health a", "health a"),
    ],
)
async def test_command_line_completes(typed: str, offered: str) -> None:
    """Tab completes views, words, themes, actions and objects."""
    async with stage(ten()) as on:
        await on.press("colon", *(key_of(char) for char in typed))
        assert on.desk.prompt.text == typed
        assert offered in on.desk.prompt.complete(typed)
        await on.press("tab")
        assert on.desk.prompt.text in on.desk.prompt.complete(typed)


async def test_command_line_remembers_what_was_typed() -> None:
    """Up recalls earlier lines, the newest first."""
    async with stage(ten()) as on:
        await on.press("colon", *"requests", "enter", "colon", *"overview", "enter", "colon", "up")
        assert on.desk.prompt.text == "overview"
        await on.press("up")
        assert on.desk.prompt.text == "requests"
        await on.press("enter")
        await on.until(lambda: on.desk.view.mode == "requests", "the recalled line is obeyed")


@pytest.mark.parametrize("line", ["q", "quit"])
async def test_command_line_quits(line: str) -> None:
    """`:q` asks as `q` does while requests are in flight."""
    async with stage(fleet()) as on:
        await on.press("colon", *line, "enter")
        await on.sees("in flight. Quit?")


async def test_command_line_goes_to_an_object_by_its_name() -> None:
    """A bare name leads to the view that is its home."""
    async with stage(ten()) as on:
        await on.press("colon", *"requests", "enter", "colon", "g", "backspace", "h", "enter")
        await on.until(lambda: on.desk.view.mode in {"overview", "health"}, "the home of providers")


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["question_mark", "f1"])
async def test_help_has_the_focused_panes_keys_first_and_narrows_by_typing(key: str) -> None:
    """`?` and `F1`: headings by context, the pane's own first; words in text, id, key or heading narrow."""
    async with stage(ten(), size=(100, 40)) as on:
        await on.press(key)
        await on.sees(f"▶ {MANUAL}")
        assert "provider" in on.lines()[3].lower()
        await on.press(*"repaint")
        await on.sees("draw the whole screen again", "1 of ", "Everywhere", "^l")
        await on.press("ctrl+u", *"zzzz")
        await on.sees("no key for this")
        await on.press("escape")
        await on.loses(MANUAL)


async def test_help_does_what_is_chosen() -> None:
    """Enter on a key of this pane does what the key does; on one of elsewhere it says where it works."""
    async with stage(ten(), size=(100, 40)) as on:
        await on.press("question_mark", *"view.requests", "enter")
        await on.until(lambda: on.desk.view.mode == "requests", "the requests view")
        await on.press("1", "question_mark", *"log.freeze", "enter")
        await on.sees("log.freeze works in the request log")


# -- drill, history ---------------------------------------------------------------------------------------------------


async def test_drill_from_a_failover_to_the_raw_error_and_back() -> None:
    """Tab Enter from Overview opens the request; Esc shows the log, `-` leads back to Overview."""
    async with stage(fleet()) as on:
        while not on.desk.view.focused.name.startswith("Latest"):
            await on.press("tab")
        await on.press("enter")
        await on.sees("retry-after 20s")
        await on.press("escape")
        await on.sees("▶ Requests")
        await on.press("minus")
        await on.until(lambda: on.desk.view.mode == "overview", "Overview again")


async def test_history_goes_back_view_by_view() -> None:
    """`-` returns through the views in the order they were left, and stays at the first."""
    async with stage(ten()) as on:
        await on.press("5", "2", "5", "1")
        for mode in ("requests", "health", "requests", "overview", "overview"):
            await on.press("minus")
            assert on.desk.view.mode == mode


# -- freeze, next error -----------------------------------------------------------------------------------------------


async def test_freeze_counts_what_arrives_and_follows_again() -> None:
    """`f` holds the log still with a count of what came; `f` again follows."""
    async with stage(ten()) as on:
        await on.press("5", "f")
        await on.sees("FROZEN")
        on.control.arrive(request(50), request(51))
        await on.sees("2 new")
        await on.press("f")
        await on.loses("FROZEN")
        assert on.desk.requests.table.current_key == request(51).id


async def test_next_error_forth_and_back() -> None:
    """`e` and `E` stop at failed and failed-over requests only."""
    rows = [request(1), failed_over(2), request(3), failed(4), request(5)]
    async with stage(FakeControl(provider("groq"), rows=rows)) as on:
        await on.press("5")
        for key, place in (("E", 3), ("E", 1), ("e", 3)):
            await on.press(key)
            assert on.desk.requests.table.current_key == rows[place].id


# -- marks, copy, export -----------------------------------------------------------------------------------------------


async def test_marks_one_by_one_as_a_range_and_all_gone() -> None:
    """Space marks and goes on, `v` begins and ends a range, the title counts them, Esc takes all away."""
    async with stage(whole(), size=(200, 60)) as on:
        await on.press("3")
        view = on.desk.view
        place = next(n for n, pane in enumerate(view.lists) if isinstance(pane, ListPane) and pane.markable)
        await on.until(lambda: view.lists[place].table.rows, "models")
        view.focus = place
        await on.press("g", "space", "space")
        await on.sees("◆ 2 marked")
        await on.press("v", "j", "j")
        await on.sees("v ends the range")
        await on.press("v")
        assert len(view.lists[place].table.marked) == min(5, len(view.lists[place].table.rows))
        await on.press("escape")
        await on.loses("marked")


async def test_copy_hands_id_text_and_json_to_the_terminal() -> None:
    """`c`, `y` and `Y` on a request copy its id, its text, its JSON; the bottom line says what was copied."""
    kept: list[str] = []
    async with stage(FakeControl(provider("groq"), rows=[request(1)]), size=(140, 30)) as on:
        on.app.copy = kept.append  # type: ignore[assignment, method-assign]  # a pilot has no terminal
        await on.press("5", "enter")
        await on.sees("Why")
        for key, said in (("c", "id copied"), ("y", "as text copied"), ("Y", "as JSON copied")):
            await on.press(key)
            await on.sees(said)
    assert kept[0] == request(1).id
    assert "000001" in kept[1]
    assert json.loads(kept[2])["id"] == request(1).id


async def test_export_asks_where_and_writes_what_is_shown(tmp_path: Path) -> None:
    """`W` asks for a path and writes the rows that pass the filter."""
    rows = [request(1), failed(2), request(3)]
    async with stage(FakeControl(provider("groq"), rows=rows), size=(140, 30)) as on:
        await on.press("5", "slash", *"err", "enter", "W", "ctrl+u")
        on.desk.paste(str(tmp_path / "rows.jsonl"))
        await on.press("enter")
        await on.sees("1 row")
    assert [json.loads(line)["id"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [rows[1].id]


# -- sort -------------------------------------------------------------------------------------------------------------


async def test_sort_by_column_is_marked_turned_and_taken_back() -> None:
    """`o` sorts by one column after the other with an arrow at its title, `O` turns it, the cursor stays on its row."""
    async with stage(ten(), size=(80, 24)) as on:
        await on.press("j", "o")
        assert order(on) == "abcdefghij"
        assert "provider▲" in on.lines()[2]
        await on.press("O")
        assert order(on) == "jihgfedcba"
        assert "provider▼" in on.lines()[2]
        assert selected(on) == "b"
        for _ in on.desk.overview.providers.orders:
            await on.press("o")
        assert on.desk.overview.providers.sorted_by is None
        assert order(on) == "abcdefghij"


async def test_sort_keeps_its_order_while_figures_change() -> None:
    """Rows are sorted again by what the engine says now; one without a figure comes last either way."""
    async with stage(ten(), size=(120, 40)) as on:
        on.desk.overview.providers.sort_by("rps")
        status = on.control.now
        on.control.now = replace(
            status,
            providers=tuple(replace(p, rps={"j": 99.0}.get(p.name, p.rps)) for p in status.providers),
        )
        await on.until(lambda: order(on).startswith("ja"), "j is the busiest now")
        on.desk.overview.providers.sort_by("p95")
        on.control.now = replace(status, providers=tuple(replace(p, p95_ms=None) for p in status.providers[:1]))
        await on.until(lambda: order(on) == "a", "one is left")


async def test_sort_in_every_list_changes_the_order_or_says_that_there_is_one() -> None:
    """`o` and `O` answer in every list of every view; where a list is sorted by a shown column, its title says so."""
    async with stage(whole(), size=(200, 60)) as on:
        for number in range(1, 7):
            await on.press(str(number))
            view = on.desk.view
            for place, pane in enumerate(view.lists):
                view.focus = place
                if Context.LIST not in on.desk.contexts():  # nothing is listed there, and `o` is not offered
                    continue
                on.desk.state.last = None
                await on.press("o", "O")
                by = pane.table.sorted_by
                assert by is not None or on.desk.state.last is not None, (view.mode, pane.name)
                if by is not None and pane.table.rows and f" {by[0]}" in on.text():
                    assert (
                        f"{by[0]}▲" in on.text()
                        or f"{by[0]}▼" in on.text()
                        or f"▲{by[0]}" in on.text()
                        or f"▼{by[0]}" in on.text()
                    )


# -- undo, read-only, action log --------------------------------------------------------------------------------------


async def test_undo_takes_the_last_change_back() -> None:
    """`z` sends the number of the last change made here; without one it says so and sends nothing."""
    async with stage(ten()) as on:
        await on.press("z")
        await on.sees("nothing made here can be undone")
        assert on.control.commands == []
        on.desk.propose(Proposal(SetCapability("a", "a-large", "tools", "no"), "a/a-large", asks=False))
        await on.until(lambda: on.control.audit_rows, "the change")
        await on.press("z")
        await on.until(lambda: on.control.commands[-1] == Undo(1), "the undo")


async def test_read_only_has_none_of_the_mutating_actions_anywhere() -> None:
    """Over the whole registry: no key, no footer word, no entry of help, palette or menu, and no way by `:`."""
    mutating = [action for action in ACTIONS if action.mutating]
    assert mutating
    bindings = Bindings(read_only=True)
    for action in mutating:
        assert bindings.keys(action.id) == ()
        for key in action.keys:
            found = bindings.find(key, (action.context,))
            assert found is None or not found.mutating
    async with stage(fleet(), size=(120, 40), read_only=True) as on:
        for number in range(1, 7):
            await on.press(str(number))
            keys = {key for action in mutating for key in action.keys}
            for pane in range(len(on.desk.view.panes)):
                on.desk.view.focus = pane
                for action in mutating:
                    on.desk.perform(action.id)
                    on.desk.view.sync()
                for opener in ("question_mark", "ctrl+p", "x"):
                    await on.press(opener)
                    offered = {entry.note.partition(" ")[0] for entry in on.desk.picker._entries}
                    assert offered.isdisjoint({action.id for action in mutating})
                    await on.press("escape")
                await on.press(*sorted(keys))
                await on.press("escape", "escape", "escape")
        await on.looked()
        assert on.control.commands == []
        assert on.control.dry_runs == []


async def test_action_log_shows_before_and_after() -> None:
    """`@` lists every change with who made it and what it changed."""
    async with stage(ten()) as on:
        await on.press("d")
        await on.sees("y yes, do it")
        await on.press("y")
        await on.until(lambda: on.control.commands == [Drain(Target("a"))], "the drain")
        await on.press("at")
        await on.sees("#1 console drain_provider a", "status healthy → draining")
        await on.press("escape")
        await on.loses("Action log")


# -- zoom -------------------------------------------------------------------------------------------------------------


async def test_zoom_gives_the_focused_pane_the_screen_and_takes_it_back() -> None:
    """`+` shows the focused pane alone, `_` everything again."""
    async with stage(ten(), size=(120, 40)) as on:
        await on.sees("Latest failovers", "Provider a")
        await on.press("plus")
        await on.loses("Latest failovers")
        assert "Provider a" not in on.text()
        await on.press("underscore")
        await on.sees("Latest failovers", "Provider a")


# -- themes, keymaps, colours -----------------------------------------------------------------------------------------


def background(on: Stage) -> Color | None:
    """Return the colour behind the first pane's title."""
    style = next(iter(on.app.screen._compositor.render_strips()[1])).style
    return Color.from_rich_color(style.bgcolor) if style is not None and style.bgcolor is not None else None


@pytest.mark.parametrize("name", ["routerconsole-light", "high-contrast", "ansi-dark", "ansi-light"])
async def test_themes_change_while_it_runs(name: str) -> None:
    """`:theme NAME` draws everything in that theme at once, in every view, and back again."""
    async with stage(ten(), size=(100, 30)) as on:
        await on.press("5", "1")
        before, text = background(on), on.lines()[1:-1]
        await theme(on, name)
        await on.sees(f"✓ theme {name}")
        assert on.app.palette() is not None
        assert on.lines()[1:-1] == text
        assert background(on) != before or name == "high-contrast"
        await theme(on, "routerconsole-dark")
        await on.sees("✓ theme routerconsole-dark")
        assert background(on) == before


async def theme(on: Stage, name: str) -> None:
    """Type `:theme NAME`."""
    await on.press("colon", *"theme", "space", *(key_of(char) for char in name), "enter")


def key_of(char: str) -> str:
    """Return the name of a character's key."""
    return {"-": "minus", " ": "space", ".": "full_stop", ":": "colon", "_": "underscore"}.get(char, char)


async def test_themes_that_do_not_exist_are_named_and_nothing_changes() -> None:
    """A wrong name is answered with those there are; `:theme` alone lets one choose."""
    async with stage(ten(), size=(140, 30)) as on:
        before = on.app.theme
        await theme(on, "nosuch")
        await on.sees("no theme nosuch; there are ansi-dark")
        assert on.app.theme == before
        await on.press("colon", *"theme", "enter")
        await on.sees("▶ Theme", "ansi-dark", "high-contrast")
        await on.press(*"high", "enter")
        await on.until(lambda: on.app.theme == "high-contrast", "the chosen one")


async def test_keymaps_remap_footer_help_and_palette() -> None:
    """A remapped action answers its new key, everything generated shows it, and the old key means nothing."""
    keys = {"provider.drain": "f9", "help": ["f2"]}
    assert keymap_problems(keys) == []
    async with stage(ten(), size=(140, 40), keys=keys) as on:
        assert "f9 drain/on" in on.lines()[-1]
        assert "f2 help" in on.lines()[-1]
        await on.press("d")
        assert on.desk.question is None
        await on.press("f9")
        await on.sees("Drain a?")
        await on.press("n", "f2", *"drain:")
        await on.sees("f9")


async def test_keymaps_that_are_wrong_are_told_and_left_out() -> None:
    """The console starts, says the first problem in the bottom line, and keeps the default key."""
    async with stage(ten(), size=(140, 40), keys={"provider.drain": "j"}) as on:
        await on.sees("console.keys.provider.drain: 'j' is already cursor.down")
        await on.press("d")
        await on.sees("Drain a?")


@pytest.mark.parametrize("options", [{"no_color": True}, {"ascii": True}, {"theme": "ansi-dark"}], ids=str)
async def test_colour_fallbacks_keep_every_state_readable(options: dict[str, object]) -> None:
    """Without colour, in ASCII and in 16 colours each state has its word or glyph, and the cursor its mark."""
    async with stage(fleet(), size=(120, 40), **options) as on:
        text = on.text()
        for word in ("OPEN", "rate gate", "config error", "half-open", "healthy"):
            assert word in text
        assert any(line.startswith((">", "▶")) for line in on.lines()[3:])
        styles = {segment.style for strip in on.app.screen._compositor.render_strips() for segment in strip}
        colours = {style.color for style in styles if style is not None and style.color is not None}
        if "no_color" in options:
            assert {colour.name for colour in colours} <= {"default"}
        if options.get("theme") == "ansi-dark":
            assert all(colour.is_default or colour.number is not None for colour in colours)


# -- mouse ------------------------------------------------------------------------------------------------------------


async def test_mouse_click_selects_and_a_second_click_opens() -> None:
    """A click puts the cursor on a row and the focus into its pane; on the selected row it opens the detail."""
    async with stage(ten(), size=(80, 24)) as on:
        await click_on(on, " d ")
        assert selected(on) == "d"
        await click_on(on, "▶d")
        await on.sees("▶ Provider d")


async def test_mouse_click_on_a_title_sorts_and_again_turns() -> None:
    """The column titles are buttons."""
    async with stage(ten(), size=(120, 40)) as on:
        await click_on(on, "rps")
        assert (order(on), on.desk.overview.providers.sorted_by) == ("abcdefghij", ("rps", True))
        await click_on(on, "rps")
        assert (order(on), on.desk.overview.providers.sorted_by) == ("jihgfedcba", ("rps", False))


async def test_mouse_wheel_moves_and_does_nothing_behind_a_question() -> None:
    """The wheel moves the list it is over; under a question nothing moves and a click presses nothing."""
    async with stage(ten(), size=(80, 24)) as on:
        canvas = on.app.screen.query(".list").first(Canvas)
        canvas._on_wheel(3)
        assert selected(on) == "d"
        await on.press("d")
        await on.sees("Drain d?")
        canvas._on_wheel(3)
        assert selected(on) == "d"
        await click_on(on, " b ")
        assert selected(on) == "d"
        assert on.control.commands == []


async def test_mouse_chooses_from_a_page() -> None:
    """A click on an entry of palette or help is Enter there; the wheel moves its cursor."""
    async with stage(ten(), size=(100, 40)) as on:
        await on.press("ctrl+p", *"live log")
        await on.sees("Requests: the live log")
        await click_on(on, "Requests: the live log")
        await on.until(lambda: on.desk.view.mode == "requests", "the requests view")


# -- typed ahead, leaving ---------------------------------------------------------------------------------------------


async def test_typed_ahead_keys_answer_the_state_the_ones_before_made() -> None:
    """A burst of keys is taken in order: what follows `q` answers its question and is no action of the view."""
    async with stage(fleet()) as on:
        await on.pilot.press("q", "n", "5", "slash", "q", "d", "escape", "1")
        await on.until(lambda: on.desk.view.mode == "overview", "back")
        assert on.desk.question is None
        assert on.app.return_value is None
        assert on.control.dry_runs == []


async def test_quit_hands_off() -> None:
    """`q` `h` with requests in flight ends the screen and leaves the engine serving."""
    async with stage(fleet()) as on:
        await on.pilot.press("q", "h")
        await on.until(lambda: on.app.return_value == ConsoleExit(ExitReason.HANDOFF), "the hand-off")


async def test_T19_two_consoles_on_one_engine_see_the_same() -> None:
    """What one viewer drains the other shows; an answer of the second to an older picture is a conflict."""
    control = ten()
    async with stage(control) as one, stage(control) as two:
        await two.press("d")
        await two.sees("Drain a?", "y yes, do it")
        await one.press("d")
        await one.sees("y yes, do it")
        await one.press("y")
        await one.sees("#1 drain provider a")
        await two.press("y")
        await two.sees("conflict, nothing done")
        await two.press("n")
        await two.sees("draining")
        await two.press("at")
        await two.sees("#1 console drain_provider a")
        assert len(control.commands) == 1
