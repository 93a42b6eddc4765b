"""Usage that outlives the process: the day's books restored and written down, older days read back, and the budget.

A kill costs at most what was counted since the last writing. A day is written once what was kept of it is known: at a
start, and when the clock leaps to a day that has rows already (machines without a battery begin in the past).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from routerconsole.control.usage_views import BudgetView, UsageDay, UsagePage
from routerconsole.domain.events import EventType, Fact
from routerconsole.routing.spending import Key, Row
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.usage import KEPT_DAYS, UsageRow

if TYPE_CHECKING:
    from routerconsole.routing.spending import Books
    from routerconsole.storage.usage import UsageStore

    from .clock import Clock

WRITTEN_EVERY_S = 0.5
"""Between two writings: a kill may cost this much."""
MANY_ROWS = 100
MANY_EVERY_S = 2.0
"""The same after a writing of more rows than that: under load every one of them changes all the time."""
_DIGITS = 9
"""Of a USD amount: a billionth is less than a token costs."""


class _Told(NamedTuple):
    """Which budget of which day was told of."""

    date: str
    daily_usd: float | None

    @classmethod
    def of(cls, budget: BudgetView) -> _Told:
        """Return the one in force."""
        return cls(budget.date, budget.daily_usd)


class UsageKeeper:
    """The books of one engine on their disk."""

    def __init__(self, books: Books, store: UsageStore, clock: Clock) -> None:
        self._books, self._store, self._clock = books, store, clock
        self._writes = False
        self._due = 0.0
        self._pruned = ""
        self._alerted = self._exceeded = _Told("", None)
        books.turn(clock.wall())

    @property
    def notices(self) -> tuple[str, ...]:
        """What operators should know of the budget now."""
        budget = self.budget()
        if not budget.alert or budget.daily_usd is None:
            return ()
        refusing = "; requests that would cost more are refused" if budget.exceeded and budget.enforce else ""
        return (f"budget: {budget.used_usd:.4g} of {budget.daily_usd:.4g} USD used today (UTC){refusing}",)

    async def start(self) -> None:
        """Take over the rows of today, and write from now on."""
        self._writes = True
        await self._load()

    async def _load(self) -> None:
        """Take over the rows of days not complete yet; tried again with the next writing where they cannot be read."""
        days = self._books.partial()
        if not days:
            return
        try:
            rows = await self._store.since(min(days))
        except StorageUnavailable:
            return
        days -= self._books.whole  # who asked meanwhile has done it
        for row in rows:
            if row.date in days:
                self._books.restore(Key(*row[:4]), Row(*row[4:]))
        self._books.whole |= days
        now = self.budget()
        counted = any(row.date == now.date for row in rows)
        if now.date in days and counted:  # told before this start, or within what a kill may cost
            self._alerted = _Told.of(now) if now.alert else self._alerted
            self._exceeded = _Told.of(now) if now.exceeded else self._exceeded

    def tick(self) -> list[Fact]:
        """Let a new day begin, and tell once a day of each budget that it nears its end, and that it has."""
        self._books.turn(self._clock.wall())
        now, facts = self.budget(), list[Fact]()
        told = {"date": now.date, "used_usd": now.used_usd, "daily_usd": now.daily_usd, "enforce": now.enforce}
        if now.alert and self._alerted != _Told.of(now):
            self._alerted = _Told.of(now)
            facts.append(Fact(EventType.BUDGET_ALERT, {**told, "alert_at": now.alert_at}))
        if now.exceeded and self._exceeded != _Told.of(now):
            self._exceeded = _Told.of(now)
            facts.append(Fact(EventType.BUDGET_EXCEEDED, told))
        return facts

    async def save(self, *, last: bool = False) -> None:
        """Write what changed and is due; what cannot be written stays due."""
        now = self._clock.monotonic()
        if not self._writes or (not last and now < self._due):
            return
        self._due = now + WRITTEN_EVERY_S
        await self._load()
        taken = self._books.touched()
        if len(taken) > MANY_ROWS:
            self._due = now + MANY_EVERY_S
        try:
            if taken:
                await self._store.save([_stored(key, row) for key, row in taken.items()])
            if self._pruned != self._books.day:
                await self._store.forget_before(_ago(self._books.day, KEPT_DAYS))
                self._pruned = self._books.day
        except StorageUnavailable:
            self._books.untaken(taken)

    async def page(self, days: int) -> UsagePage:
        """Return the rows of so many UTC days up to today, newest first; raise StorageUnavailable."""
        await self._load()
        first = _ago(self._books.day, days - 1)
        found = {Key(*row[:4]): row for row in await self._store.since(first)}
        found |= {key: _stored(key, row) for key, row in self._books.rows() if key.date >= first}  # which is newer
        rows = [_shown(row) for row in found.values() if row.requests or row.prompt_tokens or row.completion_tokens]
        rows.sort(key=lambda row: (row.provider, row.model, row.agent or ""))
        rows.sort(key=lambda row: row.date, reverse=True)
        return UsagePage(tuple(rows), self.budget())

    def budget(self) -> BudgetView:
        """Return the budget of today."""
        books, policy = self._books, self._books.policy
        limit = policy.daily_usd
        over = limit is not None and (books.used >= limit or books.refused)
        return BudgetView(
            date=books.day,
            daily_usd=limit,
            alert_at=policy.alert_at,
            enforce=policy.enforce,
            used_usd=round(books.used, _DIGITS),
            guessed_usd=round(books.guessed, _DIGITS),
            in_flight_usd=round(books.held, _DIGITS),
            alert=limit is not None and (over or books.used >= limit * policy.alert_at),
            exceeded=over,
        )


def _stored(key: Key, row: Row) -> UsageRow:
    return UsageRow(*key, *(getattr(row, name) for name in Row.__slots__))


def _shown(row: UsageRow) -> UsageDay:
    nothing_known = row.unknown and not row.priced
    return UsageDay(
        date=row.date,
        provider=row.provider,
        model=row.model,
        agent=row.agent or None,
        requests=row.requests,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_usd=None if nothing_known else round(row.cost_usd, _DIGITS),
        unknown_cost_requests=row.unknown,
        estimated_requests=row.estimated,
    )


def _ago(day: str, days: int) -> str:
    return (date.fromisoformat(day) - timedelta(days=days)).isoformat()
