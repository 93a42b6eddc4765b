"""Books on their disk: a clock that leaps loses nothing that was written, and gives no budget back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.engine.parts import FakeClock

from routerconsole.domain.events import EventType
from routerconsole.domain.policy import BudgetPolicy
from routerconsole.domain.registry import Model, Provider, ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Candidate, Decision
from routerconsole.engine.usage import WRITTEN_EVERY_S, UsageKeeper
from routerconsole.routing.limits import DAY_S
from routerconsole.routing.plan import Ranked
from routerconsole.routing.spending import Books
from routerconsole.storage.db import Database
from routerconsole.storage.migrations import STATE
from routerconsole.storage.usage import UsageStore

ROUTE = Route("p", None, "m")
PRICED = Model("p", "m", usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
RANKED = Ranked(
    ROUTE,
    PRICED,
    Provider("p", ProviderKind.OPENAI_COMPATIBLE, "https://p.example/v1"),
    Candidate(ROUTE, Decision.ELIGIBLE),
)
NEEDS = Needs(Endpoint.CHAT, estimate_tokens=10)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[UsageStore]:
    """An empty state database."""
    (tmp_path / "backups").mkdir(mode=0o700)
    db = Database(tmp_path / "state.db", STATE, wall=lambda: 0.0, backups=tmp_path / "backups")
    await db.open()
    yield UsageStore(db)
    await db.aclose()


class Process:
    """What one start of the engine counts."""

    def __init__(self, store: UsageStore, clock: FakeClock) -> None:
        self.clock, self.books = clock, Books(BudgetPolicy(1.0, enforce=True))
        self.keeper = UsageKeeper(self.books, store, clock)

    async def call(self, usd: float) -> None:
        """One call that costs so much, and the next writing."""
        self.books.sent(RANKED, NEEDS, agent=None, wall=self.clock.wall()).used(round(usd * 1e6), 0)
        await self.tick()

    async def tick(self) -> None:
        """Let time take effect."""
        self.keeper.tick()
        self.clock.now += WRITTEN_EVERY_S
        await self.keeper.save()

    async def days(self) -> dict[str, float | None]:
        """Cost by date."""
        return {row.date: row.cost_usd for row in (await self.keeper.page(30)).days}


@pytest.mark.parametrize("days", [1, 3])
async def test_a_clock_that_leaps_to_a_day_with_rows_adds_to_them(store: UsageStore, days: int) -> None:
    """A machine without a battery begins in the past: its true day, once known, keeps what it had and its budget."""
    clock = FakeClock()
    first = Process(store, clock)
    await first.keeper.start()
    await first.call(0.9)
    (today,) = await first.days()
    clock.now -= days * DAY_S
    second = Process(store, clock)
    await second.keeper.start()
    await second.call(0.01)
    clock.now += days * DAY_S
    await second.call(0.05)
    assert (await second.days())[today] == pytest.approx(0.95)
    assert second.books.used == pytest.approx(0.95)
    assert second.books.objection(replace(PRICED, max_output_tokens=100_000), RANKED.provider, NEEDS)


async def test_another_budget_of_the_same_day_alerts_anew(store: UsageStore) -> None:
    """Each budget tells once a day; one that was raised tells again when it nears its own end."""
    process = Process(store, FakeClock())
    await process.keeper.start()
    await process.call(0.9)
    assert not process.keeper.tick()
    process.books.policy = BudgetPolicy(2.0)
    assert not process.keeper.tick()
    await process.call(0.8)
    assert not process.keeper.tick()
    process.books.policy = BudgetPolicy(1.5)
    assert [fact.type for fact in process.keeper.tick()] == [EventType.BUDGET_ALERT, EventType.BUDGET_EXCEEDED]
    assert not process.keeper.tick()


async def test_a_clock_set_back_for_days_finds_their_rows(store: UsageStore) -> None:
    """Rows that had left memory are read again before they are written; today counts once."""
    clock = FakeClock()
    process = Process(store, clock)
    await process.keeper.start()
    await process.call(0.25)
    for _ in range(3):
        clock.now += DAY_S
        await process.call(0.1)
    clock.now -= 3 * DAY_S
    await process.call(0.5)
    await asyncio.gather(process.days(), process.days(), process.keeper.save(last=True))
    assert process.books.used == pytest.approx(0.75)
    clock.now += 3 * DAY_S
    await process.tick()
    assert sorted((await process.days()).values()) == pytest.approx([0.1, 0.1, 0.1, 0.75])
