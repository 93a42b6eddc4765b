"""Usage and budget as a page over any view: what is known, what is unknown, what is left of the day."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.console.stage import stage
from tests.console.whole import whole

from routerconsole.console.render.cells import Line, plain
from routerconsole.console.render.usage import MOST, usage_lines
from routerconsole.control.registry_commands import ImportPrices
from routerconsole.control.usage_views import BudgetView, UsageDay, UsagePage

NO_BUDGET = BudgetView("2026-01-02", None, 0.8, False, 0.5, 0.0, 0.0, alert=False, exceeded=False)
DAYS = (
    UsageDay("2026-01-02", "groq", "llama\x1b[31m", "researcher", 12, 1_200, 340, 0.25, 0),
    UsageDay("2026-01-02", "ollama", "qwen", None, 3, 90, 30, None, 3),
    UsageDay("2026-01-01", "groq", "llama\x1b[31m", None, 5, 500, 100, 0.125, 1),
)
PAGE = UsagePage(DAYS, NO_BUDGET)


def told(lines: list[Line]) -> str:
    """The page as text."""
    return "\n".join(plain(line) for line in lines)


async def test_the_page_shows_totals_cost_and_budget_and_closes() -> None:
    """`U` opens it in any view, it fills when the usage came, and Esc closes it."""
    control = whole()
    control.usage_page = PAGE
    async with stage(control, size=(120, 60)) as on:
        await on.press("5", "U")
        await on.sees(
            "Usage and budget", "no budget is set", "by provider", "known cost per day in USD", "$0.3750 + unknown"
        )
        text = on.text()
        assert "\x1b" not in text
        rows = [line for line in on.lines() if "ollama" in line]
        assert rows
        assert all("unknown" in line and "$0" not in line for line in rows), "an unknown price is never 0"
        await on.press("escape")
        await on.loses("by provider")


@pytest.mark.parametrize(
    ("alert", "exceeded", "enforce", "expected"),
    [
        (False, False, True, "within it; more is refused"),
        (True, False, False, "near its end; nothing is refused"),
        (True, True, True, "a request was REFUSED; more is refused"),
    ],
)
def test_the_budget_is_told_in_words(alert: bool, exceeded: bool, enforce: bool, expected: str) -> None:
    """Its state is a word, not only a colour; what is estimated is told apart."""
    budget = BudgetView("2026-01-02", 2.0, 0.8, enforce, 1.0, 0.25, 0.0, alert=alert, exceeded=exceeded)
    text = told(usage_lines(UsagePage(DAYS, budget), 120))
    assert expected in text
    assert "$0.2500 of it estimated" in text
    assert "50" in text.splitlines()[0]
    spent = replace(budget, used_usd=2.5)
    assert ("USED UP" in told(usage_lines(UsagePage(DAYS, spent), 120))) is exceeded


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_every_line_fits_and_many_rows_are_cut_with_where_to_see_them(width: int) -> None:
    """Nothing is wider than the page; beyond MOST rows one line says how many there are and what shows them."""
    many = tuple(UsageDay("2026-01-02", "p", f"model-{n}", None, 1, 1, 1, 0.1, 0) for n in range(MOST + 5))
    lines = usage_lines(UsagePage(many, NO_BUDGET), width)
    assert all(len(plain(line)) <= width for line in lines)
    if width >= 80:
        assert "and 5 more: `routerconsole usage --by model`" in told(lines)


def test_loading_and_nothing_used_say_what_comes_next() -> None:
    """The page is never blank."""
    assert "reading" in told(usage_lines(None, 80))
    assert "first call" in told(usage_lines(UsagePage((), NO_BUDGET), 80))


async def test_prices_are_read_from_a_file_shown_and_asked_about(tmp_path: Path) -> None:
    """`C` in the registry names a file; what it would change is asked about, and only a yes sends it."""
    table = {"gpt-4o": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai"}}
    good, bad = tmp_path / "prices.json", tmp_path / "bad.json"
    good.write_text(json.dumps(table))
    bad.write_text("[1]")
    control = whole()
    async with stage(control, size=(120, 40)) as on:
        await on.press("4", "C")
        await on.press(*_keys("none.json"), "enter")
        await on.sees("prices: No such file")
        await on.press("C", *_keys(str(bad)), "enter")
        await on.sees("a price table is a JSON object;")
        await on.press("C", *_keys(str(good)), "enter")
        await on.sees("from prices.json?")
        assert control.dry_runs
        assert all(each == ImportPrices(table, "prices.json") for each in control.dry_runs)
        assert control.commands == []
        await on.press("y")
        await on.until(lambda: control.commands == [ImportPrices(table, "prices.json")], "the import")


def _keys(text: str) -> list[str]:
    """The keys that type a text."""
    named = {"/": "slash", ".": "full_stop", "-": "minus", "_": "underscore"}
    return [named.get(each, each) for each in text]
