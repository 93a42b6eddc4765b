"""Evaluations as lines: runs and the matrix of scenarios and targets, with a glyph and k/n for every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Column, Line, Role, Run, fit, header, lay_out, merge, plain, row, width_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from routerconsole.control.eval_views import EvalCell, EvalRun, EvalScenario

NAME: Final = 20
CELL: Final = 14
PRICED: Final = 22
"""Columns of a scenario's name, of a cell, and of one that has room for its cost, too."""
ENDED: Final = frozenset({"completed", "cancelled", "failed"})

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


def cell_text(cell: EvalCell | None, *, priced: bool = False) -> Run:
    """Return a cell as `✓ 3/3 310ms`, with its cost where there is room; passed in part is `~`, not begun `·`."""
    if cell is None:
        return "·", Role.DIM
    glyph, role = _GLYPH.get(cell.verdict, ("·", Role.DIM))
    if cell.verdict == "fail" and 0 < cell.k < cell.n:
        glyph, role = "~", Role.WARN
    word = _WORD.get(cell.verdict) or (f"{cell.k}/{cell.n}" if cell.n else "")
    took = quantity.ms(cell.ttft_ms) if cell.ttft_ms is not None else ""
    cost = quantity.cost(cell.cost_usd) if priced and cell.cost_usd is not None else ""
    return " ".join(part for part in (glyph, word, took, cost) if part), role


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


# -- runs ----------------------------------------------------------------------------------------------------------


def done(run: EvalRun) -> int:
    """Return how many cells have an answer or were not to be asked; one of several repeats counts as soon as it has."""
    return sum(cell.verdict not in {"waiting", "running"} for cell in run.cells)


def squares(run: EvalRun) -> int:
    """Return how many cells there are to come to."""
    return len(run.scenarios) * len(run.targets)


def _passed(run: EvalRun) -> str:
    graded = [cell for cell in run.cells if cell.n]
    return f"{sum(cell.k for cell in graded)}/{sum(cell.n for cell in graded)}"


def _cost(run: EvalRun) -> str:
    known = [cell.cost_usd for cell in run.cells if cell.cost_usd is not None]
    return quantity.cost(sum(known)) if known else quantity.NONE


def _targets(run: EvalRun) -> str:
    return ", ".join(visible(target, 40) for target in run.targets)


def _run_columns(baseline: str | None) -> tuple[Column[EvalRun], ...]:
    states = {"running": Role.INFO, "completed": Role.OK, "cancelled": Role.DIM, "failed": Role.BAD}
    return (
        Column(" started", 9, lambda r: (("=" if r.id == baseline else " ") + quantity.clock(r.started_at), Role.TEXT)),
        Column("run", 18, lambda r: (visible(r.id, 40), Role.TEXT), drop=3),
        Column("suite", 12, lambda r: (visible(r.suite, 40), Role.TEXT), drop=2),
        Column("state", 9, lambda r: (r.state, states.get(r.state, Role.TEXT))),
        Column("cells", 7, lambda r: (f"{done(r)}/{squares(r)}", Role.TEXT), "right"),
        Column("passed", 7, lambda r: (_passed(r), Role.TEXT), "right"),
        Column("cost", 8, lambda r: (_cost(r), Role.TEXT), "right", drop=1),
        Column("targets", 16, lambda r: (_targets(r), Role.TEXT), drop=4, grow=1),
    )


def run_lines(runs: Sequence[EvalRun], width: int, *, baseline: str | None = None) -> tuple[Line, list[Line]]:
    """Return the title line and one line per run; the one others are compared with has `=`."""
    laid = lay_out(_run_columns(baseline), width)
    return header(laid), [row(run, laid) for run in runs]


# -- matrix --------------------------------------------------------------------------------------------------------


def cell_width(count: int, width: int) -> int:
    """Return the columns of a cell: with its cost where all `count` targets have room for that."""
    return PRICED if NAME + count * (PRICED + 1) <= width else CELL


def shown_columns(count: int, current: int, width: int) -> range:
    """Return which of `count` target columns fit beside the names, the current one among them."""
    fits = max(1, (width - NAME) // (cell_width(count, width) + 1))
    first = max(0, min(current - fits // 2, count - fits))
    return range(first, min(count, first + fits))


def matrix_lines(
    run: EvalRun,
    scenarios: Sequence[EvalScenario],
    width: int,
    *,
    column: int,
    base: int | None,
    marked: Collection[str] = (),
) -> tuple[Line, list[Line]]:
    """Return the targets and one line per scenario: the current column in brackets, `=` compared with, `◆` marked."""
    places = shown_columns(len(run.targets), column, width)
    room = cell_width(len(run.targets), width)
    cells = {(cell.scenario, cell.target): cell for cell in run.cells}
    more = ("<" if places.start else " ") + (">" if places.stop < len(run.targets) else " ")
    heads = fit("scenario", NAME - 3) + more + " "
    for place in places:
        mark = "=" if place == base else "◆" if run.targets[place] in marked else " "
        name = _short(visible(run.targets[place], 60), room - 3, run.targets).rstrip()
        heads += fit(f"[{mark}{name}]" if place == column else f" {mark}{name}", room) + " "
    lines: list[Line] = []
    for scenario in scenarios:
        runs: list[Run] = [(fit(visible(scenario.id, 60), NAME), Role.TEXT)]
        for place in places:
            text, role = cell_text(cells.get((scenario.id, run.targets[place])), priced=room == PRICED)
            shown = f"[{text}]" if place == column else f" {text}"
            runs.append((fit(shown, room) + " ", role if role in {Role.BAD, Role.WARN} else Role.TEXT))
        lines.append(_few_runs(runs))
    return ((heads, Role.DIM),), lines


def _few_runs(runs: list[Run]) -> Line:
    """Return a row of at most three style runs: where cells differ more, the glyphs alone tell them apart."""
    line = merge(runs)
    return line if len(line) <= 3 else ((plain(line), Role.TEXT),)


def _short(name: str, room: int, targets: Sequence[str]) -> str:
    """Return a target's name in `room` cells: a model without its provider where no other target ends like it."""
    model = name.partition("/")[2]
    if width_of(name) <= room or not model or sum(each.endswith(f"/{model}") for each in targets) > 1:
        return fit(name, room)
    return fit(model, room)
