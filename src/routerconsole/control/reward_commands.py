"""The commands about judges: an output scored by votes, a judge tried on the shipped pairs, two columns compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ScoreOutput:
    """Have judges vote on the output for a task; the receipt's `after` is the tally, `score` None below a majority.

    `model` is the scored one (`provider/model`), `judge` a model, profile or pool instead of the configured one.
    """

    task: str
    output: str
    agent: str | None = None
    model: str | None = None
    judge: str | None = None
    name: ClassVar[str] = "score_output"


@dataclass(frozen=True, slots=True)
class CheckJudge:
    """Try a judge on the shipped pairs, each in both orders; one that fails may not gate until it passes.

    Without `judge` it is the one that grades `judge` assertions.
    """

    judge: str | None = None
    name: ClassVar[str] = "check_judge"


@dataclass(frozen=True, slots=True)
class PreferColumns:
    """Have a judge say, answer by answer and in both orders, which of two columns of a run is better.

    Only order-stable wins count, and only where the graders let both answers stand; `judge` as in `CheckJudge`. It is
    told, not kept: no verdict changes.
    """

    run: str
    a: str
    b: str
    judge: str | None = None
    name: ClassVar[str] = "prefer_columns"


RewardCommand = ScoreOutput | CheckJudge | PreferColumns
"""What ends with who asked for it: nothing is changed before the last judge has answered."""
