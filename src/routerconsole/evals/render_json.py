"""The report as JSON, in a versioned shape (evals.md §7); numbers are finite, times ISO 8601 in UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from .report_types import PairReport, RunReport, ScenarioReport, TargetReport
from .types import Json


def report_json(report: RunReport) -> dict[str, Json]:
    """Return the report as plain data."""
    return {
        "version": report.version,
        "run_id": report.run_id,
        "state": str(report.state),
        "started_at": iso(report.started_at),
        "completed_at": None if report.completed_at is None else iso(report.completed_at),
        "seed": report.seed,
        "scenario_ids": [ref.id for ref in report.scenarios],
        "scenarios": [
            {"id": ref.id, "title": ref.title, "hash": ref.hash, "capability": ref.capability, "kind": ref.kind}
            for ref in report.scenarios
        ],
        "targets": [_column(column) for column in report.targets],
        "pairs": [_pair(pair) for pair in report.pairs],
        "all_passed": report.all_passed,
    }


def iso(at: float) -> str:
    """Return UTC epoch seconds as ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: float | None) -> float | None:
    """Return a finite number or None: JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _column(column: TargetReport) -> Json:
    return {
        "id": column.id,
        "provider": column.provider,
        "model": column.model,
        "k": column.k,
        "n": column.n,
        "ci": list(column.ci),
        "availability": number(column.availability),
        "capabilities": [
            {"capability": each.capability, "finding": each.finding or None, "k": each.k, "n": each.n, "ci": [*each.ci]}
            for each in column.capabilities
        ],
        "scenarios": [_square(square) for square in column.scenarios],
    }


def _square(square: ScenarioReport) -> Json:
    return {
        "scenario_id": square.scenario_id,
        "name": square.name,
        "status": str(square.status),
        "summary": square.summary,
        "latency_ms": number(square.latency_ms),
        "ttft_ms": number(square.ttft_ms),
        "input_tokens": square.input_tokens,
        "output_tokens": square.output_tokens,
        "cost_usd": number(square.cost_usd),
        "k": square.k,
        "n": square.n,
        "ci": list(square.ci),
        "total": square.total,
        "counts": dict(square.counts),
        "pass_at_k": number(square.pass_at_k),
        "pass_hat_k": number(square.pass_hat_k),
        "metrics": dict(square.metrics),
        "malformed_json": square.malformed_json,
        "tool_calls": square.tool_calls,
        "expected": square.expected,
        "actual": square.actual,
        "error": square.error,
    }


def _pair(pair: PairReport) -> Json:
    return {
        "a": pair.a,
        "b": pair.b,
        "a_only": pair.a_only,
        "b_only": pair.b_only,
        "p": number(pair.p),
        "p_corrected": number(pair.p_corrected),
        "difference": number(pair.difference),
        "interval": None if pair.interval is None else list(pair.interval),
        "winner": pair.winner,
    }
