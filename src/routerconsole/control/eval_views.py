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
ReportForm = Literal["json", "md", "html", "svg", "xml"]


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
class EvalMeasured:
    """What a run offers of one model at one capability node: `finding` is verified, refuted or flaky."""

    provider: str
    model: str
    node: str
    finding: str
    k: int
    n: int
    evidence: str
    at: float | None = None  # UTC epoch seconds
    fingerprint: str = ""


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
    measured: tuple[EvalMeasured, ...] = ()


@dataclass(frozen=True, slots=True)
class EvalHop:
    """One upstream call the router made for a call of a repeat: `route` is provider/model."""

    route: str
    outcome: str
    status: int | None = None
    took_ms: float | None = None


@dataclass(frozen=True, slots=True)
class EvalCall:
    """One call of a repeat: `asked` is the body sent, `prompt` its last message, `frames` what came back as it came.

    `unkept` frames are not kept. `hops` is the way it took; `request` names it in the request log, a `drill`'s is in
    no log but its own.
    """

    label: str
    asked: str
    prompt: str = ""
    text: str = ""
    reasoning: str = ""
    tools: tuple[str, ...] = ()
    finish: str = ""
    error: str = ""
    ttft_ms: float | None = None
    total_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    request: str = ""
    drill: bool = False
    served_by: str = ""
    hops: tuple[EvalHop, ...] = ()
    frames: tuple[str, ...] = ()
    unkept: int = 0


@dataclass(frozen=True, slots=True)
class EvalCheck:
    """How one assertion came out; `passed` is None where it could not be told. `gate` ones decide."""

    type: str
    passed: bool | None
    gate: bool = True
    metric: str = ""
    expected: str = ""
    actual: str = ""


@dataclass(frozen=True, slots=True)
class EvalVotes:
    """What judges said of a repeat: `score` in [-1, 1], None below a majority of valid votes."""

    kind: str
    judge: str
    score: float | None
    positive: int
    negative: int
    valid: int
    total: int


@dataclass(frozen=True, slots=True)
class EvalRepeat:
    """One repeat of a cell, from 0: its verdict and all that was said."""

    number: int
    verdict: CellVerdict
    code: str = ""
    detail: str = ""
    checks: tuple[EvalCheck, ...] = ()
    votes: tuple[EvalVotes, ...] = ()
    cached: str = ""  # the run whose answers these are
    calls: tuple[EvalCall, ...] = ()


@dataclass(frozen=True, slots=True)
class EvalCellDetail:
    """Every repeat of one scenario on one target that has ended."""

    run: str
    scenario: str
    target: str
    repeats: tuple[EvalRepeat, ...]


@dataclass(frozen=True, slots=True)
class EvalPage:
    """The runs there are, newest first."""

    runs: tuple[EvalRun, ...]
