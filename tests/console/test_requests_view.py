"""The request log on a running console: filter, past, jumps, steps, and what can be done with a request."""

from __future__ import annotations

import json
import shlex
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.console.fake_control import NOW, FakeControl, at, detail, failed, failed_over, provider, request, running
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage

from routerconsole.console.clipboard import MAX_BYTES
from routerconsole.console.state import MAX_ROWS
from routerconsole.console.widgets.canvas import Canvas
from routerconsole.control.commands import CancelRequest, ReplayRequest
from routerconsole.control.port import ControlError, RequestQuery
from routerconsole.control.registry_views import PoolView
from routerconsole.control.views import CandidateView, Explanation, RequestPage, Resolved

SIZES = [(80, 24), (120, 40), (200, 60)]


def old(number: int, **changes: Any) -> Any:
    """Return the n-th request of the day before."""
    return request(number, **{"id": f"old_{number:06x}", "at": at(number).replace("03-01", "02-28"), **changes})


def copied(on: Stage) -> list[str]:
    """Let copies end up in a list instead of the terminal."""
    kept: list[str] = []
    on.app.copy = kept.append  # type: ignore[assignment, method-assign]  # a pilot has no terminal to hand them to
    return kept


class Log(FakeControl):
    """Counts the pages of the log that were asked for below a row."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.below: list[RequestQuery] = []

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Note the query."""
        if query.before is not None:
            self.below.append(query)
        return await super().requests(query)


# -- looks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("form", ["dark", "ascii"])
@pytest.mark.parametrize("scene", ["filter", "step", "why-now", "replay"])
async def test_snapshot(scene: str, form: str, size: tuple[int, int], snapshot: Callable[[str, str], None]) -> None:
    """A filter being typed wrongly, a step through the attempts, a dry run and the page of targets."""
    control = fleet()
    control.explanation = EXPLAINED
    control.pool_views = (POOL,)
    keys, seen = {
        "filter": (["slash", *"fo lat>x"], "e.g. lat>2s"),
        "step": (["E", "enter", "…", *[">"] * 4], "1 anthropic: failed"),
        "why-now": (["E", "w"], "What differs"),
        "replay": (["E", "R", "space"], "pool, 3 of 5"),
    }[scene]
    async with stage(control, size=size, ascii=form == "ascii") as on:
        await on.press("5")
        for key in keys:
            if key == "…":
                await on.sees("1 anthropic")
            else:
                await on.press("greater_than_sign" if key == ">" else key)
        await on.sees(seen)
        if scene == "filter" and size[0] >= 100:
            await on.sees("Request 00001f", "Why")
        snapshot(f"requests-{scene}-{size[0]}x{size[1]}-{form}", on.text())
        if form == "ascii":
            assert on.text().isascii()


EXPLAINED = Explanation(
    Resolved("pool", "auto", ("the default pool",), "priority"),
    ("tools", "streaming"),
    (),
    812,
    (
        CandidateView("groq", "llama-3.3-70b", "eligible", ("priority 30",), (0, 30)),
        CandidateView("openai", "gpt-x", "eligible", ("priority 40",), (0, 40)),
        CandidateView("anthropic", "claude-x", "skipped", ("rate_limited 12 s",), (0, 10)),
    ),
)
POOL = PoolView("tools", "can call tools", "tools", "priority", True, (), None, 3, 5)


async def test_raw_error_of_the_guilty_attempt_is_at_most_three_keys_from_overview() -> None:
    """Beats-all: from the first screen at 80x24 three keys show the upstream's own words."""
    async with stage(fleet()) as on:
        assert on.desk.view.mode == "overview"
        await on.press("tab", "enter", "enter")
        await on.sees("✗", "retry-after 20s")


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["time", "id", "need", "client", "chain", "total"]),
        (260, ["time", "id", "need", "client", "chain", "total", "ttft", "tokens", "cost", "flags"]),
    ],
)
async def test_columns_by_width(width: int, titles: list[str]) -> None:
    """What tells requests apart stays longest; all columns are there where there is room."""
    async with stage(fleet(), size=(width, 30)) as on:
        await on.press("5")
        head = next(line for line in on.lines() if line.strip().startswith("time"))
        assert [word for word in head.split("│")[0].split() if word in titles] == titles


async def test_three_columns_from_160_and_zoom_gives_the_whole_screen() -> None:
    """Log, waterfall and reasons stand beside each other; + gives the focused pane everything, _ takes it back."""
    async with stage(fleet(), size=(160, 40)) as on:
        await on.press("5", "E")
        await on.sees("Why", "plan")
        title = next(line for line in on.lines() if "Requests" in line and "Request " in line)
        assert title.count("│") == 1
        assert any(line.count("│") == 2 and "Why" in line for line in on.lines())
        await on.press("enter", "plus")
        await on.loses("▶ Requests")
        assert "flags" not in on.text()
        await on.press("underscore")
        await on.sees("Requests", "Why")
        await on.press("escape", "plus")
        await on.sees("tokens", "cost", "flags")
        assert "Why" not in on.text()


# -- filter -----------------------------------------------------------------------------------------------------------


async def test_the_filter_narrows_while_typing_and_says_what_is_wrong() -> None:
    """Rows go with every letter; a term without sense is told and Enter refuses it; Esc puts back what was before."""
    async with stage(fleet(), size=(120, 30)) as on:
        await on.press("5", "slash", *"fo")
        await on.sees("6 of 42", "[fo]")
        await on.press("space", *"lat>")
        await on.sees("has no value, e.g. lat>2s", "6 of 42")
        await on.press("enter")
        assert on.desk.prompt is not None
        await on.press(*"99s")
        await on.sees("0 of 42")
        await on.press("escape")
        await on.sees("42")
        await on.loses("[fo]")


async def test_terms_of_the_language_work_in_the_console_and_invert() -> None:
    """`prov:` and `code:` find who failed, `-` negates, `!` means the opposite of the whole, Esc clears."""
    rows = [request(1), failed_over(2), failed(3), request(4, provider="ollama", chain="ollama✓ 9ms")]
    async with stage(FakeControl(provider("groq"), rows=rows), size=(120, 30)) as on:
        await on.press("5", "slash", *"code:429 prov:groq", "enter")
        await on.sees("1 of 4", "[code:429] [prov:groq]")
        await on.press("exclamation_mark")
        await on.sees("3 of 4", "not [code:429] [prov:groq]")
        await on.press("exclamation_mark")
        await on.sees("1 of 4")
        await on.press("escape")
        await on.loses("[code:429]")


async def test_last_lets_rows_go_as_time_passes() -> None:
    """`last:30s` shows what came in within thirty seconds of now."""
    rows = [request(n) for n in range(43)]
    async with stage(FakeControl(provider("groq"), rows=rows), size=(120, 30)) as on:
        assert NOW.second == 42
        await on.press("5", "slash", *"last:30s", "enter")
        await on.sees("31 of 43")


async def test_the_filter_finds_rows_older_than_the_list_in_a_full_list_too() -> None:
    """With 2,000 rows in memory what the log knows below them comes in and stays."""
    rows = [request(n) for n in range(MAX_ROWS)]
    control = Log(provider("groq"), rows=[*rows, old(7, model="ancient")])
    async with stage(control, size=(120, 30)) as on:
        await on.until(lambda: len(on.desk.state.requests) == MAX_ROWS)
        await on.press("5", "slash", *"ancient", "enter")
        await on.sees("1 of", "000007")
        assert control.below[-1].filter == "ancient"
        control.arrive(request(2500, model="ancient", at=at(2500)))
        await on.sees("2 of")


async def test_a_refused_search_is_told_and_the_list_goes_on() -> None:
    """When the log cannot be read the reason is in the bottom line."""
    control = Log(provider("groq"), rows=[request(1)])

    async def refuse(query: RequestQuery) -> RequestPage:
        raise ControlError("storage_unavailable", "the log is not readable", status=503)

    async with stage(control) as on:
        await on.press("5")
        control.requests = refuse  # type: ignore[method-assign]  # the log breaks while it is looked at
        await on.press("slash", *"zzz", "enter")
        await on.sees("log not read: the log is not readable", "Esc clears it")


async def test_n_and_N_go_from_match_to_match_in_list_and_detail() -> None:
    """N goes up, n down; at the end they say so."""
    rows = [request(n, model="x" if n % 3 == 0 else "y") for n in range(10)]
    async with stage(FakeControl(provider("groq"), rows=rows)) as on:
        await on.press("5", "slash", *"model:x", "enter", "N")
        assert on.desk.requests.table.current_key == rows[6].id
        await on.press("enter", "n")
        await on.sees("Request 000009")
        await on.press("n")
        await on.sees("no later request passes the filter")


async def test_saved_filters_are_kept_taken_and_forgotten(tmp_path: Path) -> None:
    """F saves the filter in force under a name in the user's own file; another console takes it; it can be dropped."""
    file = tmp_path / "sub" / "filters.yaml"
    async with stage(fleet(), size=(120, 30), filters_file=file) as on:
        await on.press("5", "slash", *"fo -err", "enter", "F")
        await on.sees("Saved filters", "save the filter in force")
        await on.press("enter", *"turned", "enter")
        await on.sees("filter saved as 'turned'")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with stage(fleet(), size=(120, 30), filters_file=file) as on:
        await on.press("5", "F", "enter")
        await on.sees("[fo] [-err]")
        await on.press("F", *"forget", "enter")
        await on.sees("forgotten")
    assert "turned" not in file.read_text()


async def test_bad_saved_filters_are_told_and_the_good_ones_work(tmp_path: Path) -> None:
    """A filter that means nothing is named, does not stop the console, and is not written over."""
    file = tmp_path / "filters.yaml"
    file.write_text("good: fo\nbad: lat>x\n3: err\n")
    async with stage(fleet(), size=(160, 30), filters_file=file) as on:
        await on.press("5", "F")
        await on.sees("good", "saved filter bad")
        await on.press("enter")
        await on.sees("[fo]")
        await on.press("F", "down", "enter", *"mine", "enter")
        await on.sees("not saved")
    assert "bad: lat>x" in file.read_text()


# -- the past, order, slow ones ---------------------------------------------------------------------------------------


async def test_scrolling_above_the_oldest_row_reads_the_next_page_and_keeps_2000() -> None:
    """At the top of the list the log's past comes in page by page, the newest give way, f returns to now."""
    rows = [request(n) for n in range(MAX_ROWS)]
    control = Log(provider("groq"), rows=[*rows, *(old(n) for n in range(450))])
    async with stage(control, size=(120, 30)) as on:
        await on.until(lambda: len(on.desk.state.requests) == MAX_ROWS)
        table = on.desk.requests.table
        await on.press("5")
        for pages in (1, 2, 3):
            before = len(control.below)
            await on.press("g", "k")
            await on.until(lambda: len(control.below) > before)  # noqa: B023
            expected = old(max(0, 450 - pages * 200)).id
            await on.until(lambda: table.rows[0].id == expected, f"page {pages}")  # noqa: B023
            assert len(table.rows) == MAX_ROWS
        await on.press("g", "k")
        await on.sees("log begins here", "OLDER (f follows)")
        await on.press("f")
        await on.loses("OLDER")
        assert table.rows[-1].id == rows[-1].id
        assert table.following


async def test_o_sorts_by_figures_and_f_returns_to_the_live_order() -> None:
    """`o` puts the longest first and names the order, `O` turns it, `f` follows again."""
    rows = [request(n, total_ms=float(1000 - abs(5 - n))) for n in range(10)]
    async with stage(FakeControl(provider("groq"), rows=rows)) as on:
        await on.press("5", "o")
        await on.sees("by total ▼")
        table = on.desk.requests.table
        assert table.rows[0].id == rows[5].id
        await on.press("O")
        await on.sees("by total ▲")
        assert table.rows[-1].id == rows[5].id
        await on.press("f")
        await on.loses("by total")
        assert table.following
        assert table.current_key == rows[-1].id


async def test_s_and_S_stop_at_what_is_slower_than_the_p95_of_those_shown() -> None:
    """The one slow request of twenty is found from below and from above; equal ones are not slow."""
    rows = [request(n, total_ms=9000.0 if n == 3 else 100.0) for n in range(20)]
    async with stage(FakeControl(provider("groq"), rows=rows)) as on:
        await on.press("5", "S")
        assert on.desk.requests.table.current_key == rows[3].id
        await on.press("S")
        await on.sees("no earlier request over the p95")
        await on.press("g", "s")
        assert on.desk.requests.table.current_key == rows[3].id


async def test_T13_a_flood_with_a_filter_leaves_cursor_and_view_where_they_are() -> None:
    """A frozen, filtered list keeps its row while a thousand others arrive."""
    control = FakeControl(provider("groq"), rows=[failed_over(n) for n in range(60)])
    async with stage(control) as on:
        await on.press("5", "slash", *"fo", "enter", "k", "k")
        key = on.desk.requests.table.current_key
        shown = [line for line in on.lines() if "anthropic✗429" in line]
        control.arrive(*((failed_over if n % 2 else request)(n) for n in range(60, 1060)))
        await on.sees("500 new")
        assert on.desk.requests.table.current_key == key
        assert [line for line in on.lines() if "anthropic✗429" in line] == shown


async def test_T14_the_selected_row_leaves_the_log_and_every_key_still_answers() -> None:
    """The engine starts anew with an empty log under an open detail: keys say so, nothing fails."""
    control = FakeControl(provider("groq"), rows=[request(n) for n in range(5)])
    async with stage(control) as on:
        await on.press("5", "k", "enter")
        await on.sees("Why")
        control.rows.clear()
        on.desk.state.requests.clear()
        await on.sees("no request selected")
        for key in ("R", "X", "c", "y", "Y", "w", "greater_than_sign"):
            await on.press(key)
            await on.sees("no request is selected")
        assert control.commands == []
        await on.press("n", "e", "s", "W")
        await on.sees("nothing to write")


# -- one request ------------------------------------------------------------------------------------------------------


async def test_stepping_shows_each_moment_and_the_raw_error() -> None:
    """`>` and `<` walk through the attempts in time; a failure is shown in the upstream's words."""
    async with stage(fleet()) as on:
        await on.press("5", "E", "enter")
        await on.sees("1 anthropic")
        await on.press("greater_than_sign")
        await on.sees("1 anthropic: asked for claude-x")
        await on.press(*["greater_than_sign"] * 3)
        await on.sees("1 anthropic: failed, 550ms 429: retry-after 20s")
        await on.press("less_than_sign")
        await on.sees("1 anthropic: first byte")


async def test_w_compares_then_and_now_without_sending_anything() -> None:
    """The dry run asks with model, needs and size of then and says what stands differently."""
    control = fleet()
    control.explanation = EXPLAINED
    async with stage(control, size=(120, 40)) as on:
        await on.press("5", "E", "w")
        await on.sees(
            "What differs",
            "anthropic/claude-x: eligible (priority 10) then, skipped (rate_limited 12 s) now",
            "openai/gpt-x: skipped (circuit_open 14 s) then, eligible",
            "ollama/llama3.1:8b: eligible (priority 20) then, no candidate now",
            "first in order: anthropic/claude-x then, groq/llama-3.3-70b now",
        )
        body, headers = control.asked[0]
        assert (body["model"], body["stream"], bool(body["tools"])) == ("auto", True, True)
        assert headers == {"x-router-agent": "cli-2"}
        assert control.commands == []
        await on.press("escape")
        await on.loses("What differs")


async def test_w_says_why_it_cannot() -> None:
    """A refusal of the engine is in the bottom line."""
    async with stage(fleet()) as on:
        await on.press("5", "E", "w")
        await on.sees("no dry run: not scripted")


async def test_cancel_asks_and_stops_a_running_request_only() -> None:
    """X names the request it stops; on one that is over it says so."""
    control = FakeControl(provider("groq"), rows=[request(1), running(2)])
    async with stage(control, size=(120, 30)) as on:
        await on.press("5", "X")
        await on.sees("Cancel request 000002?", "this one request of cli-2", "in_flight → cancelled")
        assert control.commands == []
        await on.press("y")
        await on.sees("#1 cancel request")
        assert control.commands == [CancelRequest(running(2).id)]
        await on.press("k", "X")
        await on.sees("over already")


async def test_replay_goes_to_several_models_and_is_followed() -> None:
    """Space marks routes and pools, Enter asks, the new request is selected when it comes."""
    control = FakeControl(provider("groq", models=("a", "b")), rows=[request(1)])
    control.pool_views = (POOL,)
    async with stage(control, size=(120, 30)) as on:
        await on.press("5", "R")
        await on.sees("Replay 000001 to", "groq/b", "pool, 3 of 5 routable")
        await on.press(*"groq/", "space", "space")
        await on.sees("take 2 marked")
        await on.press("enter")
        await on.sees("again, 2 times?", "groq/a, groq/b", "2 more requests")
        await on.press("y")
        await on.until(lambda: control.commands == [ReplayRequest(request(1).id, ("groq/a", "groq/b"))])
        await on.until(lambda: str(on.desk.requests.table.current_key).startswith("req_ff"), "the new one")


async def test_replay_without_a_kept_body_is_explained() -> None:
    """The engine's refusal says which setting keeps bodies."""
    control = FakeControl(provider("groq"), rows=[request(1)])
    said = "The body of this request is not kept: `log.bodies: memory` holds the last 200 until a restart."
    control.refuses = ControlError("conflict", said, status=409)
    async with stage(control, size=(160, 30)) as on:
        await on.press("5", "R", "enter")
        await on.sees("The body of this request is not kept: `log.bodies: memory`")
        assert on.desk.question is None


async def test_read_only_can_look_copy_and_write_but_not_change() -> None:
    """Replay and cancel are gone, also from the menu."""
    async with stage(fleet(), read_only=True, size=(120, 40)) as on:
        await on.press("5", "R", "X")
        assert on.desk.picker is None
        assert on.desk.question is None
        await on.press("x")
        await on.sees("copy it as JSON")
        assert "send it again" not in on.text()


async def test_an_id_that_is_not_loaded_is_looked_for_in_the_log() -> None:
    """`:requests <id>` opens a request older than the list; one nobody knows is told."""
    control = FakeControl(provider("groq"), rows=[request(1)])
    async with stage(control) as on:
        await on.press("5")
        control.rows[old(5).id] = old(5)
        await on.press("colon", *f"requests {old(5).id}", "enter")
        await on.sees("Request 000005", "Why")
        await on.press("colon", *"requests nobody", "enter")
        await on.sees("there is no nobody in the log")


# -- out of the console -----------------------------------------------------------------------------------------------


async def test_copies_of_id_text_json_and_curl() -> None:
    """Each copy is what it says and is told; the curl line is one shell command without a key in it."""
    async with stage(fleet(), size=(120, 40)) as on:
        kept = copied(on)
        await on.press("5", "E")
        row = on.desk.requests.table.current
        await on.press("c")
        await on.sees("id copied")
        await on.press("y")
        await on.sees("as text copied")
        await on.press("Y")
        await on.sees("as JSON copied")
        await on.press("x", *"curl", "enter")
        await on.sees("as curl")
        assert kept[0] == row.id
        assert "retry-after 20s" in kept[1]
        assert json.loads(kept[2])["attempts_detail"][0]["class"] == "rate"
        words = shlex.split(kept[3])
        assert words[:2] == ["curl", "-sS"]
        assert words[2].endswith("/v1/chat/completions")
        assert json.loads(words[-1])["model"] == row.model
        assert "$OPENAI_API_KEY" in kept[3]


HOSTILE = "\x1b]52;c;aGk=\x07\x9b31m\u202eabc';touch /tmp/x;'\r\nx\x00\u200b"


@pytest.mark.parametrize("key", ["c", "y", "Y", "curl"])
async def test_T25_what_is_copied_is_harmless(key: str) -> None:
    """Hostile ids, names and errors reach the clipboard spelt out: printable lines and nothing else."""
    row = failed(1, id=HOSTILE, model=HOSTILE, agent=HOSTILE, chain=HOSTILE, needed=(HOSTILE,), resolved=HOSTILE)
    control = FakeControl(provider("groq"), rows=[row])
    attempts = tuple(replace(each, detail=HOSTILE, provider=HOSTILE) for each in detail(row).attempts_detail)
    control.details[row.id] = replace(detail(row), attempts_detail=attempts, because=(HOSTILE,))
    async with stage(control, size=(120, 40)) as on:
        kept = copied(on)
        await on.press("5", *(["x", *"curl", "enter"] if key == "curl" else [key]))
        await on.until(lambda: kept, "a copy")
        assert all(line.isprintable() for line in kept[0].split("\n"))
        if key == "curl":
            assert "touch" not in shlex.split(kept[0])


@pytest.mark.parametrize(("key", "what"), [("y", "text"), ("Y", "JSON")])
async def test_T25_what_is_too_large_is_not_copied(key: str, what: str) -> None:
    """Over 64 KB nothing goes to the terminal; the bottom line says so and what to do."""
    control = FakeControl(provider("groq"), rows=[request(1)])
    many = detail(request(1)).attempts_detail * 1000
    control.details[request(1).id] = replace(detail(request(1)), attempts_detail=many)
    async with stage(control, size=(160, 40)) as on:
        kept = copied(on)
        await on.press("5", key)
        await on.sees(f"as {what} not copied", f"{MAX_BYTES // 1024} KB", "W writes a file")
        assert kept == []


@pytest.mark.parametrize("form", ["jsonl", "csv"])
async def test_export_writes_the_filtered_rows_to_a_new_file(form: str, tmp_path: Path) -> None:
    """W asks for a path; the file is 0600, holds what is shown, formulas as text, and is never written over."""
    rows = [request(1), failed_over(2, model="=1+1"), failed(3)]
    path = tmp_path / f"rows.{form}"
    async with stage(FakeControl(provider("groq"), rows=rows), size=(160, 30)) as on:
        await on.press("5", "slash", *"fo", "enter", "W", "ctrl+u")
        on.desk.paste(str(path))
        await on.press("enter")
        await on.sees("2 rows written")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert request(1).id not in text
        if form == "csv":
            assert "'=1+1" in text
            assert len(text.splitlines()) == 3
        else:
            assert [json.loads(line)["id"] for line in text.splitlines()] == [rows[2].id, rows[1].id]
        await on.press("W", "ctrl+u")
        on.desk.paste(str(path))
        await on.sees("exists already")
        await on.press("enter")
        assert on.desk.prompt is not None
        assert path.read_text() == text


async def test_T04_T05_T06_hostile_text_in_the_pages_of_a_request() -> None:
    """Waterfall steps, dry run, targets, saved filters and messages hold nothing a terminal could act on."""
    evil = HOSTILE + "[/] [@click=app.quit]"
    row = failed(1, model=evil, chain=evil, resolved=evil, agent=evil)
    control = FakeControl(provider(evil, models=(evil,)), rows=[row])
    attempts = tuple(replace(each, detail=evil, provider=evil, model=evil) for each in detail(row).attempts_detail)
    control.details[row.id] = replace(detail(row), attempts_detail=attempts)
    candidate = CandidateView(evil, evil, "eligible", (evil,), (0,), evil)
    error = {"code": evil, "message": evil}
    control.explanation = Explanation(Resolved(evil, evil, (evil,), evil), (), (), 0, (candidate,), error)
    control.pool_views = (replace(POOL, id="".join(evil.split())),)
    async with stage(control, size=(120, 40)) as on:
        on.desk.requests.saved.filters = {evil: f'"{evil}"'}
        await on.press("5", "enter", *["greater_than_sign"] * 3)
        for keys, leave in ((["w"], "escape"), (["R"], "escape"), (["F"], "escape"), (["slash", "x"], "escape")):
            await on.press(*keys)
            await on.looked()
            assert all(line.isprintable() for line in on.lines())
            for canvas in on.app.screen.query(Canvas):
                assert canvas.failure is None
                assert all(text.isprintable() for line in canvas._drawn for text, _ in line)
            await on.press(leave)
