"""Frozen read models of rewards: scores with their votes, means per model and agent, judges that were tried.

`at` is UTC ISO 8601; texts are redacted where they were written down and shown as untrusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VoteWord = Literal["good", "bad", "abstain", "missing"]
"""One vote; `missing` is a call that failed."""


@dataclass(frozen=True, slots=True)
class RewardQuery:
    """Which scores: those of an agent or a model (`provider/model`), the newest `limit` of them."""

    agent: str | None = None
    model: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RewardScore:
    """One score in −1…1 of `valid` votes out of `total`; `task` is empty where no body may reach the disk.

    `source` says whether an operator asked or a finished chat was sampled, whose `request_id` it then has.
    """

    id: int
    at: str
    task: str
    agent: str | None
    model: str | None
    judge: str
    score: float
    positive: int
    negative: int
    valid: int
    total: int
    votes: tuple[VoteWord, ...] = ()
    source: Literal["operator", "sample"] = "operator"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RewardMean:
    """The mean score of a model (`provider/model`) or agent over its newest `n` scores."""

    name: str
    mean: float
    n: int


@dataclass(frozen=True, slots=True)
class JudgeChecked:
    """How a judge did on the shipped pairs, `right` of `answered`; it may gate only where `trusted`."""

    judge: str
    at: str
    right: int
    answered: int
    pairs: int
    ci: tuple[float, float]
    trusted: bool


@dataclass(frozen=True, slots=True)
class Sampling:
    """What became of the finished chats picked for scoring since the start; `dropped` found the queue full."""

    share: float = 0.0
    waiting: int = 0
    scored: int = 0
    unscored: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RewardPage:
    """Scores, newest first, with what they come to; `judge` None comes with the remedy in `problem`."""

    scores: tuple[RewardScore, ...]
    models: tuple[RewardMean, ...] = ()
    agents: tuple[RewardMean, ...] = ()
    checks: tuple[JudgeChecked, ...] = ()
    enabled: bool = False
    judge: str | None = None
    problem: str = ""
    sampling: Sampling = Sampling()
