"""`routerconsole usage`: what was used and spent, added up, as a chart, or row by row as JSON; and the budget."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit
from routerconsole.cli.output import Item, sentence, show_items, show_json
from routerconsole.cli.registry import with_registry
from routerconsole.control.usage_views import total, totals
from routerconsole.control.wire import plain
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.usage_views import BudgetView, By, UsagePage, UsageTotal

EVERY: tuple[By, ...] = ("date", "provider", "model", "agent")
PLOT_WIDTH = 100
MOST_DAYS = 400


def run(args: argparse.Namespace) -> int:
    """Print the usage; it is read from the state directory where no engine runs."""

    async def work(control: Control) -> int:
        page = await control.usage(min(args.days, MOST_DAYS))
        if args.json:
            show_json(plain(page))
            return Exit.OK
        _show(page, by=EVERY if args.by is None else (args.by,), sentences=args.plain)
        if args.plot:
            print(plot(page))
        return Exit.OK

    return with_registry(args, work)


def money(total_: UsageTotal) -> str:
    """Return a cost as people read it: `unknown` where nothing is known, never 0 for that."""
    if total_.cost_usd is None:
        return "unknown"
    return usd(total_.cost_usd) + (" + unknown" if total_.unknown_cost_requests else "")


def usd(amount: float) -> str:
    """Return USD with as many digits as small amounts need."""
    return f"{amount:.2f}" if amount >= 1 or not amount else f"{amount:.4g}"


def budget_line(budget: BudgetView) -> str:
    """Return the budget of today as one line."""
    used = f"{usd(budget.used_usd)} USD used today (UTC {budget.date})"
    if budget.daily_usd is None:
        return f"{used}, no budget (`budget.daily_usd`)"
    share = f"{budget.used_usd / budget.daily_usd:.0%} of {usd(budget.daily_usd)}"
    guessed = f", {usd(budget.guessed_usd)} of it estimated" if budget.guessed_usd else ""
    over = "used up" if budget.used_usd >= budget.daily_usd else "a request was refused"
    state = over if budget.exceeded else "alert" if budget.alert else "within it"
    rule = "more is refused" if budget.enforce else "nothing is refused"
    return f"{used}, {share}{guessed}: {state} ({rule})"


def plot(page: UsagePage) -> str:
    """Return the known cost per day as text bars."""
    from routerconsole.console.render import chart

    days = totals(page.days, "date")
    width = min(shutil.get_terminal_size((PLOT_WIDTH, 24)).columns, PLOT_WIDTH)
    lines = chart.amounts([day.name for day in days], [day.cost_usd for day in days], width=width)
    return "\n".join(("known cost per UTC day in USD", *lines)) if lines else "no known cost yet"


def _show(page: UsagePage, *, by: tuple[By, ...], sentences: bool) -> None:
    whole = total(page.days)
    if sentences:
        print(sentence({"total": "all", **_figures(whole)}))
    else:
        print(
            f"{counted(whole.requests, 'request')} · {whole.prompt_tokens} tokens in · {whole.completion_tokens} out"
            f" · {money(whole)} USD"
        )
    print(visible(budget_line(page.budget)))
    if not page.days:
        print("nothing was used")
        return
    for name in by:
        if not sentences:
            print()
        show_items(
            ({name: each.name or "(unnamed)", **_figures(each)} for each in totals(page.days, name)),
            plain=sentences,
            empty="",
        )


def _figures(each: UsageTotal) -> Item:
    return {
        "requests": each.requests,
        "tokens_in": each.prompt_tokens,
        "tokens_out": each.completion_tokens,
        "cost_usd": money(each),
        "unknown_cost": each.unknown_cost_requests,
    }
