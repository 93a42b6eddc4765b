"""What is done with evaluation runs in the console: begun, stopped, gone on with, accepted, compared, written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.console.eval_scene import EARLIER, MEASURED, RUN, SCENARIOS, TARGETS, detail, evaluated, page, tell
from tests.console.registry_scene import shop
from tests.console.scenes import fleet
from tests.console.stage import Stage, stage

from routerconsole.console.render.cells import plain
from routerconsole.console.render.eval_cell import cell_lines
from routerconsole.control.eval_commands import CancelEval, StartEval
from routerconsole.control.eval_views import EvalPage, EvalRun
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import AcceptMeasured
from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.control.reward_views import RewardPage, RewardScore
from routerconsole.domain.capability import NODE_OF

WIDE = (120, 40)
KEYS = {" ": "space", ",": "comma", "-": "minus", ".": "full_stop", "/": "slash", ":": "colon", "_": "underscore"}


async def typed(on: Stage, text: str) -> None:
    """Type a text key by key."""
    await on.press(*(KEYS.get(each, each) for each in text))


async def answered(on: Stage) -> Any:
    """Say yes to the question that is open and return the command that was sent."""
    sent = len(on.control.commands)
    await on.sees("y yes, do it")
    await on.press("y")
    await on.until(lambda: len(on.control.commands) > sent, "a command")
    return on.control.commands[-1]


def over(run: EvalRun) -> EvalRun:
    """Return a run that is over."""
    return replace(run, state="cancelled", completed_at="2026-03-01T11:59:30Z")


async def test_a_run_is_begun_with_what_was_marked_and_is_shown_as_it_comes() -> None:
    """Marked targets and scenarios fill the form, which says what they come to; once begun the run is open."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter", "m", "l", "m", "space", "space", "n")
        await on.sees("New evaluation run", "2 targets × 2 scenarios = 4 cells", "12 repeats, about 12 calls",
                      "none of money, tokens or time")  # fmt: skip
        await on.press("down", *"x")
        await on.sees("a whole number, 0 or more")
        await on.press("enter")
        assert on.desk.question is None
        await on.press("backspace", *"2", "down", *"1", "down", "down")
        await on.sees("repeats, about 8 calls", "after 1 USD")
        await on.press("enter")
        await on.sees("Start this evaluation run?", "moves no breaker", "8 repeats")
        command = await answered(on)
        ids = tuple(each.id for each in SCENARIOS[:2])
        assert command == StartEval(TARGETS[:2], ids, repeats=2, max_cost_usd=1.0)
        newest = replace(page().runs[0], id="meval_begun0000000", cells=())
        tell(on, EvalPage((newest, *page().runs)))
        await on.sees("▶ Matrix", "running, 0 of 20 cells")
        assert on.desk.evals.runs.current_key == newest.id


async def test_T21_enter_twice_begins_one_run() -> None:
    """The second Enter finds the question answered, and nothing else to begin."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("n", "enter")
        await on.sees("y yes, do it")
        await on.press("enter", "enter")
        await on.until(lambda: on.control.commands, "the run")
        await on.looked()
        assert len(on.control.commands) == 1


async def test_a_suite_is_picked_and_what_there_is_not_is_told_before_it_is_sent() -> None:
    """ctrl+o marks from lists; an unknown scenario is named; what the engine refuses brings the form back."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, EvalPage(()))
        await on.press("n", "ctrl+o")
        await on.sees("Ask whom", "the router: whoever can")
        await on.press("enter", "down", "ctrl+o")
        await on.sees("Ask what", "suite:drills")
        await typed(on, "drills")
        await on.press("enter")
        await on.sees("1 target × 1 scenario = 1 cell, 1", "about 0 calls; 1 drill runs")
        await typed(on, ", nope")
        await on.sees("✗ unknown nope")
        on.control.refuses = ControlError("invalid_request", "Unknown scenario 'nope'; there are: vision.")
        await on.press("enter")
        await on.sees("New evaluation run", "✗ refused: Unknown scenario 'nope'; there are: vision.")
        await on.press("escape", "escape")
        await on.sees("There is no run yet")
        assert on.control.commands == []


async def test_models_marked_in_the_registry_are_asked_there_or_here() -> None:
    """E evaluates them from where they are; n in Evals takes them, too."""
    async with stage(shop(), size=WIDE) as on:
        tell(on, None)
        await on.press("4")
        await on.sees("▶ anthropic/claude-x")
        await on.press("space", "space")
        await on.until(lambda: len(on.desk.registry.table.marked) == 2, "two marked")
        marked = tuple(model.id for model in on.desk.registry.table.marked)
        await on.press("E")
        await on.sees("New evaluation run", "2 targets × 5 scenarios")
        await on.press("escape", "escape")
        await on.press("n")
        await on.sees("New evaluation run", "2 targets × 5 scenarios")
        await on.press("enter")
        assert (await answered(on)).targets == marked


async def test_what_measures_a_node_is_asked_for_from_its_capability() -> None:
    """From a capability only the scenarios that measure it; where there is none, it is said."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, None)
        on.desk.evaluate(["a/b"], NODE_OF["vision"])
        await on.sees("1 target × 1 scenario = 1 cell")
        assert on.desk.evals.start.form.texts["scenarios"] == "vision"
        await on.press("escape", "escape")
        on.desk.evaluate(["a/b"], NODE_OF["audio"])
        await on.sees("no scenario measures")


@pytest.mark.parametrize(
    ("down", "part"),
    [
        (0, {"scenario": "json-extraction", "target": TARGETS[0]}),
        (1, {"scenario": "json-extraction"}),
        (2, {"target": TARGETS[0]}),
        (3, {}),
    ],
)
async def test_a_cell_a_row_a_column_or_the_run_is_stopped(down: int, part: dict[str, str]) -> None:
    """X in the matrix asks which; the question says what is kept."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter", "X")
        await on.sees("Stop what")
        await on.press(*["down"] * down, "enter")
        await on.sees("every finished cell")
        assert await answered(on) == CancelEval(RUN, **part)  # type: ignore[arg-type]  # names of its fields


async def test_a_run_is_stopped_from_the_list_and_one_that_is_over_is_not() -> None:
    """The whole run without a choice; of one that is over it is said; R goes on with that, or begins it anew."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("X")
        await on.sees("Stop the whole run?", "12 of 20 cells have ended")
        assert await answered(on) == CancelEval(RUN)
        tell(on, EvalPage((over(page().runs[0]),)))
        await on.sees("cancelled after 90s")
        await on.press("X")
        await on.sees("nothing to stop")
        await on.press("R")
        await on.sees("go on with this run", "8 cells missing, 2 without an answer")
        await on.press("enter")
        await on.sees(f"Go on with {RUN}?")
        assert await answered(on) == StartEval(resume=RUN)
        await on.press("enter", "l", "R", *["down"] * 5, "enter")
        await on.sees("New evaluation run")
        assert on.desk.evals.start.form.texts["targets"] == TARGETS[1]


async def test_what_was_measured_is_accepted_after_its_evidence_was_shown() -> None:
    """Yes for verified, no for refuted; flaky and unmeasured cells say why not; the list of runs takes several."""
    yes, no, _ = MEASURED
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter")
        await on.sees("output verified")
        await on.press("a")
        await on.sees("Accept schema-constrained-output = yes for groq/llama-3.3-70b?", "old → new", "evidence")
        assert await answered(on) == AcceptMeasured(yes.provider, yes.model, yes.node, "yes", evidence=yes.evidence)
        await on.press("l", "a")
        assert (await answered(on)).value == "no"
        await on.press("h", "j", "a")
        await on.sees("flaky, 5 of 8")
        await on.press("l", "l", "a")
        await on.sees("pool:tools is no single model")
        await on.press("G", "a")
        await on.sees("drill-500 measures no capability")
        await on.press("escape", "a")
        await on.sees("Accept what was measured")
        await on.press("space", "space", "enter")
        await on.sees("Accept 2 findings?")
        await answered(on)
        await on.until(lambda: len(on.control.commands) == 4, "both")
        assert [command.value for command in on.control.commands[-2:]] == ["yes", "no"]
        assert on.control.commands[-1].node == no.node


async def test_the_report_is_written_where_it_is_asked_for_and_over_nothing(tmp_path: Path) -> None:
    """The ending names the form; another ending, a taken name and no directory are told while one types."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("W")
        await on.sees("write the report to", f"{RUN}.md")
        await on.press("ctrl+u")
        on.desk.paste(str(tmp_path / "report.doc"))
        await on.sees("end it in .json or .md or .html or .svg or .xml")
        await on.press(*["backspace"] * 3, *"svg", "enter")
        await on.sees("report of")
        assert (tmp_path / "report.svg").read_text() == f"{RUN} as svg\n"
        await on.press("W", "ctrl+u")
        on.desk.paste(str(tmp_path / "report.svg"))
        await on.sees("exists already")


async def test_a_cell_shows_checks_votes_the_way_it_took_and_its_frames() -> None:
    """Every repeat with what decided, who voted, which routes were tried; frames on f; L goes to the request."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter")
        await on.sees("Repeat 1  ✗ fail(schema)", "expected an integer at", "groq/llama-3.3-70b✗ 429 rate 20ms",
                      "judge groq/judge: +0.33", "Repeat 2  ✓ pass")  # fmt: skip
        await on.press("f")
        await on.sees("asked, as sent:", "came, as it came:", "… 7 frames are not kept …", "[DONE]")
        await on.press("L")
        await on.sees("Which call", "repeat 2 turn-1")
        await on.press("enter")
        await on.sees("Requests")
        assert on.desk.view is on.desk.requests
        await on.press("minus", "G", "L")
        await on.sees("no request is known of this cell")


def test_T04_what_a_cell_says_is_shown_visible_at_every_width() -> None:
    """Escape sequences in frames, prompts and votes do nothing, and no line is wider than the pane."""
    told = detail(RUN, "json-extraction", TARGETS[0])
    nasty = "\x1b]52;c;x\x07\x9b2J\u202e[/x]" + "y" * 500
    call = replace(told.repeats[0].calls[0], frames=(nasty,), prompt=nasty, text=nasty, asked=nasty, request=nasty)
    hostile = replace(told, repeats=(replace(told.repeats[1], detail=nasty, calls=(call,)),))
    for width in (24, 46, 120):
        cell = page().runs[0].cells[0]
        lines = cell_lines(cell, SCENARIOS[0], TARGETS[0], width, detail=hostile, frames=True)
        text = "".join(map(plain, lines))
        assert text.isprintable()
        assert max(len(plain(line)) for line in lines) <= width


async def test_targets_are_drawn_as_a_chart_alone_and_beside_a_baseline() -> None:
    """p draws what share each target passed; with a baseline two bars a target, what is in one run only is told."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("p")
        await on.sees(f"Targets of {RUN}", "percent of the graded repeats", "┤███", "█60█", "3/5    23%–88%")
        await on.press("escape")
        await on.loses("percent of the graded")
        await on.press("j", "b", "k", "p")
        await on.sees(f"▒ {EARLIER}", "█ this run", "┤▒▒▒", "█60█", "23%–88%        3/5")


async def test_a_run_is_compared_with_a_baseline() -> None:
    """b takes a run as the baseline: the verdict, flips and what is not comparable; Esc ends it; a refusal is told."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("j", "b", "k")
        await on.sees("cannot separate (needs ≥ 6 one-sided): 1 got", "exact McNemar", "pass → fail(schema)",
                      "not comparable, the scenario changed: vision", "-60% to +0%")  # fmt: skip
        await on.press("escape")
        await on.sees("Told apart", "23%–88%")
        await on.press("b", "j")
        await on.sees(f"{EARLIER} against {RUN}", "not compared: not scripted")


async def test_a_judge_votes_on_a_cell_or_is_tried() -> None:
    """J offers both; what was answered is what is judged, and the bottom line tells what came of it."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter")
        await on.until(lambda: on.desk.evals._full(page().runs[0]) is not None, "the cell in full")
        await on.press("J")
        await on.sees("vote on this answer", "try the judge on the shipped pairs")
        await on.press("enter")
        await on.sees("Have the judge vote on what")
        command = await answered(on)
        assert isinstance(command, ScoreOutput)
        assert (command.model, bool(command.task), bool(command.output)) == (TARGETS[0], True, True)
        await on.sees("judge/j: +1.00 for")
        await on.press("J", "down", "enter")
        await on.sees("Try the judge on the shipped pairs?")
        assert await answered(on) == CheckJudge()
        await on.sees("judge/j: 20 of 20 pairs (95 % 0.84 to 1.00), may gate")


async def test_two_compared_targets_are_judged_and_the_scores_there_are_are_listed() -> None:
    """With a target to compare with J asks which is better; the scores say whose, by whom and for what."""
    async with stage(fleet(), size=WIDE) as on:
        await evaluated(on, page())
        await on.press("enter", "b", "l", "J")
        await on.sees(f"which is better, {TARGETS[0]} or {TARGETS[1]}?")
        await on.press(*"better", "enter")
        await on.sees("only stable wins count")
        assert await answered(on) == PreferColumns(RUN, TARGETS[0], TARGETS[1])
        await on.sees(f"{TARGETS[0]} is preferred (6 to")
        await on.press("J", *"scores", "enter")
        await on.sees("no scores yet")
        await on.press("escape")
        score = RewardScore(
            1, "2026-03-01T11:59:30.000Z", "Say \x1b[31mit.", "writer", "a/b", "judge/j", -1.0, 0, 3, 3, 3
        )
        on.control.reward_page = RewardPage((score,))
        await on.press("J", *"scores", "enter")
        await on.sees("2026-03-01 11:59:30  -1.00  a/b · writer", "0 good, 3 bad, 3 of 3 valid, by judge/j")
        await on.press("enter")
        await on.sees("-1.00 for a/b · writer")
