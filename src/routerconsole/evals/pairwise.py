"""Two columns of one run judged pairwise: which repeats are asked about, and what order-stable preferences come to.

Pure. A judge is asked only where the graders left both answers standing: it turns no failure over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from .judge_pairs import JudgePair
from .render_json import number
from .report import unseparated, winner
from .statistics import separate
from .types import Status
from .votes import Preference, output_text, task_text

if TYPE_CHECKING:
    from .types import Cell, Json, Run

MOST_PAIRS: Final = 100
"""Pairs that one command asks about, each in both orders: a slow judge takes ten minutes for them."""
_STANDING: Final = frozenset({Status.PASS, Status.INCONCLUSIVE})


@dataclass(frozen=True, slots=True)
class Contest:
    """One repeat that both columns answered; the first column's answer is `chosen`."""

    scenario_id: str
    repeat: int
    pair: JudgePair


def contests(cells: Iterable[Cell], a: str, b: str) -> tuple[tuple[Contest, ...], int]:
    """Return what a judge can be asked about two columns, and how many repeats are left out: failed, or without words.

    First repeats come first, so that what is cut off at the end leaves no scenario out before it must.
    Columns of one run are asked the same at the same repeat; what was asked otherwise is left out too.
    """
    kept = tuple(cells)
    right = {(cell.key.scenario_id, cell.key.repeat): cell for cell in kept if cell.key.target_id == b}
    found, left_out = [], 0
    left = [cell for cell in kept if cell.key.target_id == a]
    for cell in sorted(left, key=lambda each: (each.key.repeat, each.key.scenario_id)):
        other = right.get((cell.key.scenario_id, cell.key.repeat))
        if other is None:
            continue
        pair = _pair(cell, other)
        if pair is None:
            left_out += 1
        else:
            found.append(Contest(cell.key.scenario_id, cell.key.repeat, pair))
    return tuple(found), left_out


def _pair(a: Cell, b: Cell) -> JudgePair | None:
    replies = [cell.sample.last() if cell.sample is not None else None for cell in (a, b)]
    if any(cell.verdict.status not in _STANDING for cell in (a, b)):
        return None
    told = [(task_text(each.request.get("messages")), output_text(each)) for each in replies if each is not None]
    if len(told) != 2 or told[0][0] != told[1][0] or not all(task and output for task, output in told):
        return None
    return JudgePair(told[0][0], told[0][1], told[1][1])


def preferred(
    run: Run, a: str, b: str, asked: Sequence[Contest], said: Sequence[Preference], *, left_out: int,
    judge: str, trusted: bool | None,
) -> dict[str, Json]:  # fmt: skip
    """Return what the preferences come to as plain data; `winner` None where nothing can be told.

    A call that failed is a missing preference; one that the order decided is no win. Without a majority of answers, or
    from a judge that is no better than chance on the shipped pairs, there is no winner.
    """
    clusters: dict[str, list[tuple[bool, bool]]] = {}
    rows: dict[str, dict[str, int]] = {}
    for contest, each in zip(asked, said, strict=True):
        row = rows.setdefault(contest.scenario_id, {"a": 0, "b": 0, "unstable": 0, "missing": 0})
        row["missing" if each.problem else each.winner or "unstable"] += 1
        if not each.problem:
            clusters.setdefault(contest.scenario_id, []).append((each.winner == "a", each.winner == "b"))
    found = separate(list(clusters.values()), Random(run.seed))  # noqa: S311 - resampling, not secrets
    able = found.pairs * 2 > len(asked) and trusted is not False
    best = winner(a, b, found, found.p) if able else None
    return {
        "run": run.id,
        "a": a,
        "b": b,
        "judge": judge,
        "trusted": trusted,
        "asked": len(asked),
        "answered": found.pairs,
        "left_out": left_out,
        "a_wins": found.a_only,
        "b_wins": found.b_only,
        "unstable": found.pairs - found.a_only - found.b_only,
        "p": number(found.p),
        "difference": number(found.difference),
        "interval": None if found.interval is None else list(found.interval),
        "winner": best,
        "verdict": _verdict(best, found.p, trusted=trusted, enough=found.pairs * 2 > len(asked)),
        "problem": next((each.problem for each in said if each.problem), ""),
        "scenarios": [{"scenario_id": name, **row} for name, row in rows.items()],
    }


def _verdict(best: str | None, p: float, *, trusted: bool | None, enough: bool) -> str:
    if not enough:
        return "cannot tell: fewer than a majority of the pairs were answered"
    if trusted is False:
        return "cannot tell: on the shipped pairs the judge is no better than chance"
    return f"{best} is preferred" if best is not None else unseparated(p, p)
