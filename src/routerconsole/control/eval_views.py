"""Frozen read models of evaluations: runs, their scenarios × targets matrix, what was said in a cell.

`*_ms` are milliseconds, `*_at` UTC ISO 8601; texts are redacted where they were written down and shown as untrusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CellVerdict = Literal[
    "waiting",
    "running",
    "pass",
    "fail",
    "truncated",
    "refused",
    "error",
    "rate_limited",
    "unsupported",
    "skipped",
    "inconclusive",
]
"""How a cell stands; only `pass` and `fail` are graded and count in k/n."""
RunState = Literal["running", "completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class EvalTurn:
    """One message of a cell's last repeat; `role` as on the wire."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class EvalCell:
    """One scenario on one target: `k` of `n` graded repeats passed, `ci` is Wilson's 95 % interval of that."""

    scenario: str
    target: str
    verdict: CellVerdict
    code: str = ""  # fail code, error class, capability or reason
    k: int = 0
    n: int = 0
    ci: tuple[float, float] | None = None
    ttft_ms: float | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    summary: str = ""
    expected: str = ""
    actual: str = ""
    transcript: tuple[EvalTurn, ...] = ()


@dataclass(frozen=True, slots=True)
class EvalScenario:
    """One row of the matrix; `capability` is the word it measures, if any."""

    id: str
    title: str
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class EvalPair:
    """What statistics say of two targets, e.g. `cannot separate (needs ≥ 6 one-sided)`."""

    first: str
    second: str
    finding: str


@dataclass(frozen=True, slots=True)
class EvalRun:
    """One run; cells that are not listed wait."""

    id: str
    suite: str
    state: RunState
    started_at: str
    completed_at: str | None
    scenarios: tuple[EvalScenario, ...]
    targets: tuple[str, ...]
    cells: tuple[EvalCell, ...]
    pairs: tuple[EvalPair, ...] = ()


@dataclass(frozen=True, slots=True)
class EvalPage:
    """The runs there are, newest first."""

    runs: tuple[EvalRun, ...]
