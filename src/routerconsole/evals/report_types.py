"""What reports show of a run: squares, columns and pairs of columns, frozen and without any form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .types import RunState, ScenarioRef, Status

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ScenarioReport:
    """One square of the matrix: k of n graded repeats passed; medians over the repeats that were answered."""

    scenario_id: str
    name: str
    status: Status
    summary: str
    k: int
    n: int
    ci: tuple[float, float]
    total: int
    latency_ms: float | None = None
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    malformed_json: int = 0
    tool_calls: int = 0
    expected: str = ""
    actual: str = ""
    error: str = ""
    pass_at_k: float | None = None
    pass_hat_k: float | None = None
    metrics: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the latest answered repeat measured, by the name the scenario gives it."""
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Repeats per status word."""


@dataclass(frozen=True, slots=True)
class CapabilityReport:
    """What a column's answers say of one capability: k of n had it, whatever else was wrong with them.

    `finding` is verified, refuted or flaky, empty while it is open. Behind a pool it is the router that has it.
    """

    capability: str
    finding: str
    k: int
    n: int
    ci: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TargetReport:
    """One column: `availability` is the share of repeats that were answered at all, None where nothing was asked."""

    id: str
    provider: str | None
    model: str | None
    scenarios: tuple[ScenarioReport, ...]
    k: int
    n: int
    ci: tuple[float, float]
    availability: float | None
    capabilities: tuple[CapabilityReport, ...] = ()


@dataclass(frozen=True, slots=True)
class PairReport:
    """Two columns of one run: discordant repeats, exact McNemar (Holm-corrected past two columns), the difference.

    `winner` is a target id, or None: cannot separate.
    """

    a: str
    b: str
    a_only: int
    b_only: int
    p: float
    p_corrected: float
    difference: float | None
    interval: tuple[float, float] | None
    winner: str | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """What `eval show`, the API and the files show of a run; times are UTC epoch seconds."""

    run_id: str
    state: RunState
    started_at: float
    completed_at: float | None
    seed: int
    scenarios: tuple[ScenarioRef, ...]
    targets: tuple[TargetReport, ...]
    pairs: tuple[PairReport, ...] = ()
    version: int = REPORT_VERSION

    @property
    def all_passed(self) -> bool:
        """Whether everything that could be asked passed (exit code 0); a run without a pass has not.

        A repeat that was not answered counts here, though not in k/n: a gate that lets it through has seen nothing.
        """
        squares = [square for column in self.targets for square in column.scenarios]
        seen = {square.status for square in squares} | {Status(word) for square in squares for word in square.counts}
        return Status.PASS in seen and seen <= {Status.PASS, Status.SKIPPED, Status.UNSUPPORTED}
