"""Evaluations as lines: runs, the matrix, one cell's transcript, two targets side by side with what differs."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.visible import visible_block

from . import quantity
from .cells import Column, Line, Role, Run, fit, header, labelled, lay_out, merge, plain, row, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.eval_views import EvalCell, EvalRun, EvalScenario

NAME: Final = 20
CELL: Final = 14
"""Columns of a scenario's name and of a cell."""
SIDE_BY_SIDE: Final = 64
"""Columns from which two transcripts stand beside each other."""
MAX_WORDS: Final = 400
"""Words of an answer that are compared; the rest is shown as it is."""
MAX_TEXT: Final = 4096
"""Characters of one message that are shown."""
_PAD: Final = 10

_GLYPH: Final = {
    "pass": ("✓", Role.OK),
    "fail": ("✗", Role.BAD),
    "truncated": ("~", Role.WARN),
    "refused": ("~", Role.WARN),
    "error": ("~", Role.WARN),
    "rate_limited": ("~", Role.WARN),
    "inconclusive": ("~", Role.WARN),
    "unsupported": ("⊘", Role.DIM),
    "skipped": ("⊘", Role.DIM),
    "running": ("·", Role.INFO),
    "waiting": ("·", Role.DIM),
}
_WORD: Final = {
    "truncated": "cut",
    "refused": "refused",
    "error": "error",
    "rate_limited": "429",
    "inconclusive": "unclear",
    "unsupported": "n/a",
    "skipped": "skipped",
}
"""What stands in the place of k/n where nothing was graded."""


def cell_text(cell: EvalCell | None) -> Run:
    """Return a cell as `✓ 3/3 310ms`; one that passed only in part is `~`, one not begun `·`."""
    if cell is None:
        return "·", Role.DIM
    glyph, role = _GLYPH.get(cell.verdict, ("·", Role.DIM))
    if cell.verdict == "fail" and 0 < cell.k < cell.n:
        glyph, role = "~", Role.WARN
    word = _WORD.get(cell.verdict) or (f"{cell.k}/{cell.n}" if cell.n else "")
    took = quantity.ms(cell.ttft_ms) if cell.ttft_ms is not None else ""
    return " ".join(part for part in (glyph, word, took) if part), role


def verdict_text(cell: EvalCell) -> Run:
    """Return a cell's verdict in words with its interval."""
    glyph, role = cell_text(cell)[0][:1], cell_text(cell)[1]
    code = f"({visible(cell.code, 40)})" if cell.code else ""
    text = f"{glyph} {cell.verdict.replace('_', ' ')}{code}"
    if cell.n:
        text += f"  {cell.k}/{cell.n}"
        if cell.ci is not None:
            text += f" [{cell.ci[0]:.0%} – {cell.ci[1]:.0%}]"
    return text, role


# -- runs and matrix -----------------------------------------------------------------------------------------------


def done(run: EvalRun) -> int:
    """Return how many cells have ended."""
    return sum(cell.verdict not in {"waiting", "running"} for cell in run.cells)


def _passed(run: EvalRun) -> str:
    graded = [cell for cell in run.cells if cell.n]
    return f"{sum(cell.k for cell in graded)}/{sum(cell.n for cell in graded)}"


def _cost(run: EvalRun) -> str:
    known = [cell.cost_usd for cell in run.cells if cell.cost_usd is not None]
    return quantity.cost(sum(known)) if known else quantity.NONE


def _run_columns() -> tuple[Column[EvalRun], ...]:
    states = {"running": Role.INFO, "completed": Role.OK, "cancelled": Role.DIM, "failed": Role.BAD}
    return (
        Column("started", 8, lambda r: (quantity.clock(r.started_at), Role.TEXT)),
        Column("run", 18, lambda r: (visible(r.id, 40), Role.TEXT), drop=2),
        Column("suite", 8, lambda r: (visible(r.suite, 40), Role.TEXT), grow=1),
        Column("state", 9, lambda r: (r.state, states.get(r.state, Role.TEXT))),
        Column("cells", 9, lambda r: (f"{done(r)}/{len(r.scenarios) * len(r.targets)}", Role.TEXT), "right"),
        Column("passed", 8, lambda r: (_passed(r), Role.TEXT), "right"),
        Column("cost", 8, lambda r: (_cost(r), Role.TEXT), "right", drop=1),
    )


def run_lines(runs: Sequence[EvalRun], width: int) -> tuple[Line, list[Line]]:
    """Return the title line and one line per run."""
    laid = lay_out(_run_columns(), width)
    return header(laid), [row(run, laid) for run in runs]


def shown_columns(count: int, current: int, width: int) -> range:
    """Return which of `count` target columns fit beside the names, the current one among them."""
    fits = max(1, (width - NAME) // (CELL + 1))
    first = max(0, min(current - fits // 2, count - fits))
    return range(first, min(count, first + fits))


def matrix_lines(
    run: EvalRun, scenarios: Sequence[EvalScenario], width: int, *, column: int, base: int | None
) -> tuple[Line, list[Line]]:
    """Return the targets and one line per scenario; the current column is in brackets, the compared one has `=`."""
    places = shown_columns(len(run.targets), column, width)
    cells = {(cell.scenario, cell.target): cell for cell in run.cells}
    more = ("<" if places.start else " ") + (">" if places.stop < len(run.targets) else " ")
    heads = fit("scenario", NAME - 3) + more + " "
    for place in places:
        mark = "=" if place == base else " "
        name = visible(run.targets[place], 60)
        heads += fit(f"[{mark}{name}" if place == column else f" {mark}{name}", CELL + 1)
    lines: list[Line] = []
    for scenario in scenarios:
        runs: list[Run] = [(fit(visible(scenario.id, 60), NAME), Role.TEXT)]
        for place in places:
            text, role = cell_text(cells.get((scenario.id, run.targets[place])))
            shown = f"[{text}]" if place == column else f" {text}"
            runs.append((fit(shown, CELL) + " ", role if role in {Role.BAD, Role.WARN} else Role.TEXT))
        lines.append(_few_runs(runs))
    return ((heads, Role.DIM),), lines


def _few_runs(runs: list[Run]) -> Line:
    """Return a row of at most three style runs: where cells differ more, the glyphs alone tell them apart."""
    line = merge(runs)
    return line if len(line) <= 3 else ((plain(line), Role.TEXT),)


# -- a cell, and two ------------------------------------------------------------------------------------------------


def cell_lines(cell: EvalCell | None, scenario: EvalScenario, target: str, width: int) -> list[Line]:
    """Return one cell in full: verdict, figures, what was expected, the transcript."""
    lines = _head(cell, target, width)
    lines += labelled("scenario", _named(scenario), width, pad=_PAD)
    if cell is None:
        return [*lines, (), *wrap("Not run yet.", width, role=Role.DIM)]
    for label, text in (("summary", cell.summary), ("expected", cell.expected), ("actual", cell.actual)):
        if text:
            lines += labelled(label, visible(text, 600), width, pad=_PAD)
    lines += [(), (("Transcript of the last repeat", Role.TITLE),)]
    if not cell.transcript:
        lines += wrap("none kept", width, indent=2, role=Role.DIM)
    for turn in cell.transcript:
        lines.append(((f"{visible(turn.role, 20)}:", Role.INFO),))
        lines += _block(turn.text, width, indent=2)
    return lines


def _named(scenario: EvalScenario) -> str:
    about = f" · measures {visible(scenario.capability, 40)}" if scenario.capability else ""
    return f"{visible(scenario.title, 120)}{about}"


def _head(cell: EvalCell | None, target: str, width: int) -> list[Line]:
    lines: list[Line] = [((fit(visible(target, 100), width), Role.TITLE),)]
    if cell is not None:
        text, role = verdict_text(cell)
        lines.append(((fit(text, width), role),))
        figures = f"first token {quantity.ms(cell.ttft_ms)} · total {quantity.ms(cell.latency_ms)}"
        lines.append(((fit(f"{figures} · {quantity.cost(cell.cost_usd)}", width), Role.DIM),))
    return lines


def _block(text: str, width: int, *, indent: int = 0) -> list[Line]:
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    lines: list[Line] = []
    for part in visible_block(cut).split("\n"):
        lines += wrap(part.replace("\t", "    "), width, indent=indent)
    return lines


def pair_lines(
    run: EvalRun, scenario: EvalScenario, first: tuple[str, EvalCell | None], second: tuple[str, EvalCell | None],
    width: int,
) -> list[Line]:  # fmt: skip
    """Return two targets' cells side by side (below each other where it is narrow) with what differs marked."""
    beside = width >= SIDE_BY_SIDE
    room = (width - 3) // 2 if beside else width
    words = _differing(_answer(first[1]), _answer(second[1]))
    blocks = [
        [*_head(cell, target, room), (), *_block(text, room)]
        for (target, cell), text in zip((first, second), words, strict=True)
    ]
    lines = labelled("scenario", _named(scenario), width, pad=_PAD)
    finding = next((pair.finding for pair in run.pairs if {pair.first, pair.second} == {first[0], second[0]}), "")
    if finding:
        lines += labelled("overall", visible(finding, 200), width, pad=_PAD)
    lines += [*wrap("[-only here-] {+only there+}", width, role=Role.DIM), ()]
    if not beside:
        return [*lines, *blocks[0], (), *blocks[1]]
    height = max(map(len, blocks))
    left, right = (block + [()] * (height - len(block)) for block in blocks)
    for one, other in zip(left, right, strict=True):
        role = other[0][1] if other else Role.TEXT
        own = one[0][1] if one else Role.TEXT
        lines.append(merge([(fit(plain(one), room), own), (" │ ", Role.DIM), (plain(other), role)]))
    return lines


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
