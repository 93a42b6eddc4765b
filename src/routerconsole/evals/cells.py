"""From a graded sample to the cell that is kept: medians of times, sums of tokens and money, nothing unknown as 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .grade import grade
from .grade_text import json_of
from .scenario import CONTROL, WARMUP, Scenario
from .statistics import median
from .types import Cell, CellKey, Reply, Sample, Verdict


def cell_of(scenario: Scenario, key: CellKey, sample: Sample, *, at: float) -> Cell:
    """Grade a sample and return its cell; `at` is UTC epoch seconds."""
    graded = grade(scenario, sample)
    counted = [
        reply
        for reply in sample.replies
        if reply.error is None and reply.label != CONTROL and not reply.label.startswith(WARMUP)
    ]
    return Cell(
        key=key,
        verdict=graded.verdict,
        scenario_hash=scenario.hash,
        at=at,
        checks=graded.checks,
        capable=graded.capable,
        sample=sample,
        latency_ms=median([reply.timings.total_ms for reply in counted]),
        ttft_ms=median([reply.timings.ttft_ms for reply in counted if reply.timings.ttft_ms is not None]),
        input_tokens=_sum([reply.usage.prompt for reply in sample.replies if reply.error is None]),
        output_tokens=_sum([reply.usage.completion for reply in sample.replies if reply.error is None]),
        cost_usd=_cost(sample.replies),
        malformed_json=any(malformed(scenario, reply) for reply in counted),
        tool_calls=sum(len(reply.tool_calls) for reply in counted),
    )


def unasked(scenario: Scenario, key: CellKey, verdict: Verdict, *, at: float) -> Cell:
    """Return the cell of a repeat that was not run: skipped, unsupported, or its target cannot be used."""
    return Cell(key=key, verdict=verdict, scenario_hash=scenario.hash, at=at)


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _cost(replies: Sequence[Reply]) -> float | None:
    costs = [reply.cost_usd for reply in replies if reply.error is None]
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if known and len(known) == len(costs) else None


def malformed(scenario: Scenario, reply: Reply) -> bool:
    """Whether an answer that had to be JSON is none, or a call's arguments are none; a cut answer is not malformed."""
    if reply.truncated:
        return False
    if any(call.arguments.strip() and json_of(call.arguments) is None for call in reply.tool_calls):
        return True
    return "response_format" in scenario.said.request and not reply.tool_calls and json_of(reply.text) is None
