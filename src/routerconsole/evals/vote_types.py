"""What judges said of a sample, as cells keep it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Votes:
    """What judges said of a sample: `kind` is `judge` or `reward_vote`; `score` is None below a majority.

    `rubric` and `on` are the assertion's, `said` the votes one by one (`good`, `bad`, `abstain`, `missing`), `problem`
    why one is missing; `trusted` is how the judge did on the shipped pairs, None where it was never tried. `tokens` and
    `cost_usd` are what asking took, as far as that is known.
    """

    kind: str
    judge: str
    score: float | None = None
    positive: int = 0
    negative: int = 0
    valid: int = 0
    total: int = 0
    rubric: str = ""
    on: str | None = None
    said: tuple[str, ...] = ()
    problem: str = ""
    trusted: bool | None = None
    tokens: int = 0
    cost_usd: float = 0.0
