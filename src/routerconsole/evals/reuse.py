"""Which answers of an earlier run may stand in for a call (`--cache`); everything else is asked anew.

Never: what carries a fresh value (a nonce), what measures a capability, a time or the way an answer came, drills,
anything not asked at temperature 0, and columns that do not pin one model. What did not end in pass or fail is asked
again, and so is what is older than a week or was itself taken over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from .assertions import JUDGES, READS_ANSWER
from .runner import regraded
from .scenario import Scenario
from .types import Cell, Run, Target, TargetKind

MAX_AGE_S: Final = 7 * 86_400.0
_READ: Final = (READS_ANSWER - JUDGES) | {"finish_reason"}


def reusable(scenario: Scenario, target: Target) -> bool:
    """Whether an answer to this scenario on this column may be taken from an earlier run at all."""
    return (
        target.kind is TargetKind.MODEL
        and scenario.kind == "chat"
        and scenario.node is None
        and not scenario.said.vars
        and scenario.temperature == 0
        and all(leaf.kind in _READ for leaf in scenario.leaves)
    )


def reused(scenario: Scenario, target: Target, earlier: Iterable[tuple[Run, Cell]], *, now: float) -> tuple[Cell, ...]:
    """Return the cells taken over, one per repeat, from earlier runs (newest first); `now` is UTC epoch seconds."""
    found: dict[int, Cell] = {}
    for run, cell in earlier:
        column = next((each for each in run.targets if each.id == target.id), None)
        same = column is not None and (column.window, column.fingerprint) == (target.window, target.fingerprint)
        fresh = cell.cached is None and now - cell.at <= MAX_AGE_S
        if same and fresh and cell.verdict.graded and cell.sample and cell.scenario_hash == scenario.hash:
            found.setdefault(cell.key.repeat, replace(cell, cached=run.id))
    return regraded(found.values(), [scenario])
