"""One cell of an evaluation as lines: what was asked and answered, the way it took; two cells with what differs."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.visible import visible_block

from . import quantity
from .cells import Line, Role, Run, fit, labelled, merge, plain, wrap
from .evals import verdict_text

if TYPE_CHECKING:
    from routerconsole.control.eval_views import (
        EvalCall,
        EvalCell,
        EvalCellDetail,
        EvalCheck,
        EvalRepeat,
        EvalRun,
        EvalScenario,
        EvalVotes,
    )

SIDE_BY_SIDE: Final = 64
"""Columns from which two transcripts stand beside each other."""
MAX_WORDS: Final = 400
"""Words of an answer that are compared; the rest is shown as it is."""
MAX_TEXT: Final = 4096
"""Characters of one message that are shown."""
PAD: Final = 10


def cell_lines(
    cell: EvalCell | None,
    scenario: EvalScenario,
    target: str,
    width: int,
    *,
    detail: EvalCellDetail | None = None,
    frames: bool = False,
    offered: str = "",
) -> list[Line]:
    """Return one cell in full: verdict, figures, what was expected, every repeat as far as it was read.

    `offered` says what the run measured here; `frames` shows what came back as it came.
    """
    lines = _head(cell, target, width)
    lines += labelled("scenario", named(scenario), width, pad=PAD)
    if offered:
        lines += labelled("measured", offered, width, pad=PAD, role=Role.INFO)
    if cell is None:
        return [*lines, (), *wrap("Not run yet.", width, role=Role.DIM)]
    for label, text in (("summary", cell.summary), ("expected", cell.expected), ("actual", cell.actual)):
        if text:
            lines += labelled(label, visible(text, 600), width, pad=PAD)
    if detail is not None and detail.repeats:
        for repeat in detail.repeats:
            lines += [(), *_repeat(repeat, len(detail.repeats), width, frames=frames)]
        return lines
    lines += [(), (("Transcript of the last repeat", Role.TITLE),)]
    if not cell.transcript:
        lines += wrap("none kept: nothing was sent", width, indent=2, role=Role.DIM)
    for turn in cell.transcript:
        lines += _said(turn.role, turn.text, width)
    return lines


def named(scenario: EvalScenario) -> str:
    """Return a scenario's title and what it measures."""
    about = f" · measures {visible(scenario.capability, 40)}" if scenario.capability else ""
    return f"{visible(scenario.title, 120)}{about}"


def _head(cell: EvalCell | None, target: str, width: int) -> list[Line]:
    lines: list[Line] = [((fit(visible(target, 100), width), Role.TITLE),)]
    if cell is not None:
        text, role = verdict_text(cell)
        lines.append(((fit(text, width), role),))
        first = f"first {quantity.ms(cell.ttft_ms)} · " if cell.ttft_ms is not None else ""
        figures = f"{first}total {quantity.ms(cell.latency_ms)}"
        lines.append(((fit(f"{figures} · {quantity.cost(cell.cost_usd)}", width), Role.DIM),))
    return lines


# -- repeats and calls ---------------------------------------------------------------------------------------------


def _repeat(repeat: EvalRepeat, count: int, width: int, *, frames: bool) -> list[Line]:
    glyph = {"pass": "✓", "fail": "✗"}.get(repeat.verdict, "⊘" if repeat.verdict in {"skipped", "unsupported"} else "~")
    code = f"({visible(repeat.code, 40)})" if repeat.code else ""
    role = {"pass": Role.OK, "fail": Role.BAD}.get(repeat.verdict, Role.WARN)
    title = f"Repeat {repeat.number + 1}" if count > 1 or repeat.number else "Transcript"
    verdict = f"  {glyph} {repeat.verdict.replace('_', ' ')}{code}"
    lines: list[Line] = [merge([(title, Role.TITLE), (fit(verdict, max(0, width - len(title))), role)])]
    if repeat.detail:
        lines += wrap(visible(repeat.detail, 600), width, indent=2)
    if repeat.cached:
        lines += wrap(f"answers kept from {visible(repeat.cached, 40)}; nothing was asked anew", width, indent=2)
    for check in repeat.checks:
        lines += wrap(_checked(check), width, indent=2, role=Role.DIM if check.passed else Role.TEXT)
    for votes in repeat.votes:
        lines += wrap(_voted(votes), width, indent=2, role=Role.INFO)
    if not repeat.calls:
        lines += wrap("nothing was sent", width, indent=2, role=Role.DIM)
    for call in repeat.calls:
        lines += _call(call, width, frames=frames)
    return lines


def _checked(check: EvalCheck) -> str:
    glyph = "✓" if check.passed else "~" if check.passed is None else "✗"
    metric = f" {visible(check.metric, 40)}" if check.metric else ""
    gate = "" if check.gate else " (no gate)"
    text = f"{glyph} {visible(check.type, 40)}{metric}{gate}"
    if check.passed:
        return f"{text}: {visible(check.actual, 80)}" if check.metric and check.actual else text
    return f"{text}: expected {visible(check.expected, 200) or '–'}, got {visible(check.actual, 200) or '–'}"


def _voted(votes: EvalVotes) -> str:
    score = "no score, too few valid votes" if votes.score is None else f"{votes.score:+.2f}"
    who = visible(votes.judge, 60) or "judge"
    return (
        f"{visible(votes.kind, 20).replace('_', ' ')} {who}: {score}  "
        f"(good {votes.positive}, bad {votes.negative}, valid {votes.valid} of {votes.total})"
    )


def _call(call: EvalCall, width: int, *, frames: bool) -> list[Line]:
    """Return one call: the way it took, what was said, and with `frames` what went over the wire."""
    tokens = f"{quantity.count(call.prompt_tokens)}+{quantity.count(call.completion_tokens)} tokens"
    took = f"first {quantity.ms(call.ttft_ms)} · " if call.ttft_ms is not None else ""
    figures = f"{visible(call.label, 40)}: {took}total {quantity.ms(call.total_ms)} · {tokens}"
    cost = f" · {quantity.cost(call.cost_usd)}" if call.cost_usd is not None else ""
    finish = f" · {visible(call.finish, 20)}" if call.finish else ""
    lines: list[Line] = [((fit(f"{figures}{cost}{finish}", width), Role.DIM),)]
    lines += labelled("routed", _way(call), width, pad=PAD)
    where = "a drill's own engine" if call.drill else "L opens it"
    lines += labelled("request", f"{visible(call.request, 60) or '–'} ({where})", width, pad=PAD, role=Role.DIM)
    if call.prompt:
        lines += _said("user", call.prompt, width)
    if call.reasoning:
        lines += _said("reasoning", call.reasoning, width)
    for tool in call.tools:
        lines += _said("tool call", tool, width)
    if call.text or not (call.tools or call.error):
        lines += _said("assistant", call.text or "(nothing)", width)
    if call.error:
        lines += _said("error", call.error, width, role=Role.WARN)
    return [*lines, *(_frames(call, width) if frames else ())]


def _way(call: EvalCall) -> str:
    """Return the route in the manner of the log's chain: `groq/x✗429 20ms › ollama/y✓ 200 310ms`."""
    hops = []
    for hop in call.hops:
        good = hop.outcome == "ok"
        status = f" {hop.status}" if hop.status is not None else ""
        outcome = "" if good else f" {visible(hop.outcome, 30)}"
        hops.append(f"{visible(hop.route, 60)}{'✓' if good else '✗'}{status}{outcome} {quantity.ms(hop.took_ms)}")
    return " › ".join(hops) or "no attempt was made"


def _frames(call: EvalCall, width: int) -> list[Line]:
    lines: list[Line] = [(("asked, as sent:", Role.INFO),), *_block(call.asked, width, indent=2)]
    lines.append((("came, as it came:", Role.INFO),))
    if not call.frames:
        return [*lines, *wrap("no frame came", width, indent=2, role=Role.DIM)]
    for place, frame in enumerate(call.frames):
        if call.unkept and place == len(call.frames) - min(2, len(call.frames)):
            lines += wrap(f"… {call.unkept} frames are not kept …", width, indent=2, role=Role.DIM)
        lines += _block(frame, width, indent=2)
    return lines


def _said(who: str, text: str, width: int, *, role: Role = Role.TEXT) -> list[Line]:
    return [((f"{visible(who, 20)}:", Role.INFO),), *_block(text, width, indent=2, role=role)]


def _block(text: str, width: int, *, indent: int = 0, role: Role = Role.TEXT) -> list[Line]:
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    lines: list[Line] = []
    for part in visible_block(cut).split("\n"):
        lines += wrap(part.replace("\t", "    "), width, indent=indent, role=role)
    return lines


# -- two cells -----------------------------------------------------------------------------------------------------


def pair_lines(
    run: EvalRun, scenario: EvalScenario, first: tuple[str, EvalCell | None], second: tuple[str, EvalCell | None],
    width: int,
) -> list[Line]:  # fmt: skip
    """Return two targets' cells side by side (below each other where it is narrow) with what differs marked."""
    beside = width >= SIDE_BY_SIDE
    room = (width - 3) // 2 if beside else width
    words = _differing(_answer(first[1]), _answer(second[1]))
    blocks = [
        [*_head(cell, target, room), (), *_block(text or "(no answer)", room)]
        for (target, cell), text in zip((first, second), words, strict=True)
    ]
    lines = labelled("scenario", named(scenario), width, pad=PAD)
    finding = next((pair.finding for pair in run.pairs if {pair.first, pair.second} == {first[0], second[0]}), "")
    if finding:
        lines += labelled("overall", visible(finding, 200).replace(">=", "≥"), width, pad=PAD)
    lines += [*wrap("last answers: [-only here-] {+only there+}", width, role=Role.DIM), ()]
    if not beside:
        return [*lines, *blocks[0], (), *blocks[1]]
    height = max(map(len, blocks))
    left, right = (block + [()] * (height - len(block)) for block in blocks)
    for one, other in zip(left, right, strict=True):
        lines.append(merge([(fit(plain(one), room), _role(one)), (" │ ", Role.DIM), (plain(other), _role(other))]))
    return lines


def _role(line: Line) -> Role:
    run: Run = line[0] if line else ("", Role.TEXT)
    return run[1]


def _answer(cell: EvalCell | None) -> str:
    if cell is None:
        return ""
    said = [turn.text for turn in cell.transcript if turn.role == "assistant"]
    return said[-1] if said else cell.actual


@lru_cache(maxsize=64)
def _differing(one: str, other: str) -> tuple[str, str]:
    """Return two texts with the words only one has marked, as `git diff --word-diff` does."""
    first, second = one[:MAX_TEXT].split(" "), other[:MAX_TEXT].split(" ")
    out: tuple[list[str], list[str]] = ([], [])
    matcher = SequenceMatcher(None, first[:MAX_WORDS], second[:MAX_WORDS], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        mine, theirs = " ".join(first[a:b]), " ".join(second[c:d])
        if tag == "equal":
            out[0].append(mine)
            out[1].append(theirs)
            continue
        if mine:
            out[0].append(f"[-{mine}-]")
        if theirs:
            out[1].append(f"{{+{theirs}+}}")
    return " ".join([*out[0], *first[MAX_WORDS:]]), " ".join([*out[1], *second[MAX_WORDS:]])
