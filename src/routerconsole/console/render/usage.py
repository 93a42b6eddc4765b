"""Usage and budget as a page: what is left of the day, then the totals by day, provider, model and agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.control.usage_views import By, total, totals

from . import quantity
from .cells import Line, Role, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.usage_views import BudgetView, UsagePage, UsageTotal

_SECTIONS: Final[tuple[tuple[By, str], ...]] = (
    ("date", "by day (UTC)"),
    ("provider", "by provider"),
    ("model", "by model"),
    ("agent", "by agent"),
)
MOST: Final = 30
"""Rows of a section; the rest is one line."""
_FIGURES: Final = ("requests", "in", "out", "cost")
_WIDTHS: Final = (9, 8, 8, 20)


def usage_lines(page: UsagePage | None, width: int, chart: Sequence[str] = ()) -> list[Line]:
    """Return the page; `chart` are rows of the cost per day, made elsewhere."""
    if page is None:
        return [(("  reading the usage…", Role.DIM),)]
    whole = total(page.days)
    lines: list[Line] = [_budget(page.budget, width), ()]
    if not page.days:
        text = "  Nothing was used in these days: a row comes with the first call sent upstream."
        return [*lines, ((fit(text, width), Role.DIM),)]
    lines.append(_row("all", whole, width, role=Role.TITLE))
    for by, name in _SECTIONS:
        found = totals(page.days, by)
        rows = tuple(reversed(found)) if by == "date" else found
        lines += [(), _heads(name, width), *(_row(each.name, each, width) for each in rows[:MOST])]
        if len(rows) > MOST:
            more = f"  and {len(rows) - MOST} more: `routerconsole usage --by {by}`"
            lines.append(((fit(more, width), Role.DIM),))
        if by == "date" and chart:
            lines += [(), (("  known cost per day in USD", Role.DIM),)]
            lines += [((fit(f"  {text}", width), Role.INFO),) for text in chart]
    return lines


def money(found: UsageTotal) -> str:
    """Return a cost; what is unknown is said, never 0 for it."""
    if found.cost_usd is None:
        return "unknown"
    return quantity.cost(found.cost_usd) + (" + unknown" if found.unknown_cost_requests else "")


def _budget(budget: BudgetView, width: int) -> Line:
    used = f"  {quantity.cost(budget.used_usd)} used today (UTC {visible(budget.date, 10)})"
    if budget.guessed_usd:
        used += f", {quantity.cost(budget.guessed_usd)} of it estimated"
    if budget.daily_usd is None:
        return ((fit(f"{used}; no budget is set (`budget.daily_usd`)", width), Role.TEXT),)
    share = quantity.percent(budget.used_usd / budget.daily_usd)
    rule = "more is refused" if budget.enforce else "nothing is refused"
    state, role = ("within it", Role.OK)
    if budget.alert:
        state, role = "near its end", Role.WARN
    if budget.exceeded:
        state, role = "USED UP" if budget.used_usd >= budget.daily_usd else "a request was REFUSED", Role.BAD
    return ((fit(f"{used}, {share} of {quantity.cost(budget.daily_usd)}: {state}; {rule}", width), role),)


def _heads(name: str, width: int) -> Line:
    room = _room(width)
    figures = "".join(f"{head:>{size}}" for head, size in zip(_FIGURES, _WIDTHS, strict=True))
    return ((fit(f"  {fit(name, room)}{figures}", width), Role.DIM),)


def _row(name: str, found: UsageTotal, width: int, *, role: Role = Role.TEXT) -> Line:
    told = fit(visible(name, 200) if name else "(unnamed)", _room(width))
    values = (
        quantity.count(found.requests),
        quantity.count(found.prompt_tokens),
        quantity.count(found.completion_tokens),
        money(found),
    )
    figures = "".join(f"{value:>{size}}" for value, size in zip(values, _WIDTHS, strict=True))
    return ((fit(f"  {told}{figures}", width), role),)


def _room(width: int) -> int:
    return max(8, width - 2 - sum(_WIDTHS) - 1)
