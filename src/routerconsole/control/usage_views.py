"""Frozen read models of usage: rows by UTC date, provider, model and agent, what they add up to, and the budget.

A cost is None where nothing is known of it, never 0 for that; dates are ISO, sums of USD.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

By = Literal["date", "provider", "model", "agent"]
"""What rows are added up by."""


@dataclass(frozen=True, slots=True)
class UsageDay:
    """What one agent (None: unnamed) used of one model on one UTC day; `requests` are calls sent upstream.

    `unknown_cost_requests` of them have no known cost, `estimated_requests` counts of tokens that nobody reported.
    """

    date: str
    provider: str
    model: str
    agent: str | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    unknown_cost_requests: int
    estimated_requests: int = 0


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Rows added up; `cost_usd` is what is known of it."""

    name: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    unknown_cost_requests: int


@dataclass(frozen=True, slots=True)
class BudgetView:
    """The budget of the UTC day; `daily_usd` None is none, `guessed_usd` the part of `used_usd` nobody reported."""

    date: str
    daily_usd: float | None
    alert_at: float
    enforce: bool
    used_usd: float
    guessed_usd: float
    in_flight_usd: float
    alert: bool
    exceeded: bool


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Rows, newest day first, and the budget of today."""

    days: tuple[UsageDay, ...]
    budget: BudgetView


def totals(rows: Iterable[UsageDay], by: By) -> tuple[UsageTotal, ...]:
    """Return the rows added up: days by date, the rest with the dearest first; models as `provider/model`."""
    found: dict[str, list[UsageDay]] = {}
    for row in rows:
        name = f"{row.provider}/{row.model}" if by == "model" else getattr(row, by) or ""
        found.setdefault(name, []).append(row)
    made = [_total(name, each) for name, each in found.items()]
    if by == "date":
        return tuple(sorted(made, key=lambda total: total.name))
    return tuple(sorted(made, key=lambda total: (-(total.cost_usd or 0.0), -total.requests, total.name)))


def total(rows: Iterable[UsageDay]) -> UsageTotal:
    """Return all rows added up."""
    return _total("", list(rows))


def _total(name: str, rows: list[UsageDay]) -> UsageTotal:
    known = [row.cost_usd for row in rows if row.cost_usd is not None]
    return UsageTotal(
        name=name,
        requests=sum(row.requests for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        cost_usd=round(sum(known), 9) if known or not rows else None,
        unknown_cost_requests=sum(row.unknown_cost_requests for row in rows),
    )
