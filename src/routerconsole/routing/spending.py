"""What requests cost: the estimate before a call, the day's budget, and the books by day, provider, model and agent.

An unknown price is never zero: what it costs stays unknown, and is counted as such. Days are UTC dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from routerconsole.domain.policy import BudgetPolicy
from routerconsole.domain.pool import PriceTier, price_tier
from routerconsole.domain.request import Endpoint

from .limits import DAY_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from routerconsole.domain.registry import Model, Provider
    from routerconsole.domain.request import Needs

    from .plan import Ranked

MTOK = 1_000_000
DEFAULT_OUTPUT = 1024
"""Tokens an answer is taken to have where neither request nor model names a limit (capabilities.md §7)."""
MOST_AGENTS = 200
"""Agents of one day with rows of their own: the name comes from a client's header."""
MAX_AGENT = 128
"""Characters of such a name that are kept, as of those that may be assigned."""
OTHERS = "(others)"
_EPOCH = date(1970, 1, 1).toordinal()


class Prices(NamedTuple):
    """USD per million tokens in and out."""

    per_mtok_in: float
    per_mtok_out: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return USD."""
        return (prompt_tokens * self.per_mtok_in + completion_tokens * self.per_mtok_out) / MTOK


FREE = Prices(0.0, 0.0)


def prices_of(model: Model, provider: Provider, endpoint: Endpoint = Endpoint.CHAT) -> Prices | None:
    """Return what a model's tokens cost, None where nobody knows; what is said to be free costs nothing.

    That holds on a local machine too, which is a tier of its own and no price. Embeddings have no output to price.
    """
    per_in, per_out = model.usd_per_mtok_in, model.usd_per_mtok_out
    if per_out is None and endpoint is Endpoint.EMBEDDINGS:
        per_out = 0.0
    if per_in is not None and per_out is not None:
        return Prices(per_in, per_out)
    return FREE if (provider.free if model.free is None else model.free) else None


def estimate(model: Model, prices: Prices, needs: Needs) -> float:
    """Return the USD a call may cost at most, as far as that can be said before it."""
    output = 0
    if needs.endpoint is not Endpoint.EMBEDDINGS:
        output = needs.choices * (needs.output_tokens or model.max_output_tokens or DEFAULT_OUTPUT)
    return prices.of(needs.estimate_tokens - needs.output_tokens, output)


def day_of(wall: float) -> str:
    """Return the UTC date of a moment (UTC epoch seconds), e.g. `2026-01-31`."""
    return date.fromordinal(_EPOCH + int(wall // DAY_S)).isoformat()


class Key(NamedTuple):
    """What a row of the books is about; `agent` is empty where none was named."""

    date: str
    provider: str
    model: str
    agent: str


@dataclass(slots=True)
class Row:
    """One row: `requests` were sent upstream, `priced` have a known cost, `unknown` may have cost something.

    `estimated` of them have counts that nobody reported; `guessed_usd` is what a budget takes the unknown ones for.
    Refused ones are in neither of the two.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    priced: int = 0
    unknown: int = 0
    estimated: int = 0
    guessed_usd: float = 0.0

    def add(self, change: _Kept) -> None:
        """Put what one bill changes in the row."""
        prompt, completion, cost, priced, unknown, estimated, guessed = change
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.cost_usd += cost
        if unknown or estimated or guessed:
            self.unknown += unknown
            self.estimated += estimated
            self.guessed_usd += guessed
        self.priced += priced


class _Kept(NamedTuple):
    """What a bill has put into its row, so that it can be put right."""

    prompt: int = 0
    completion: int = 0
    cost: float = 0.0
    priced: int = 0
    unknown: int = 0
    estimated: int = 0
    guessed: float = 0.0

    def since(self, before: _Kept) -> _Kept:
        """Return what differs."""
        return _Kept(
            self.prompt - before.prompt,
            self.completion - before.completion,
            self.cost - before.cost,
            self.priced - before.priced,
            self.unknown - before.unknown,
            self.estimated - before.estimated,
            self.guessed - before.guessed,
        )


_NOTHING = _Kept()


class Bill:
    """One call in the books: its cost is held as estimated until it is known; settling it again puts it right."""

    __slots__ = ("_books", "_counted", "_estimate", "_held", "_kept", "_key", "_over", "prices", "prompt")

    def __init__(self, books: Books, key: Key, prices: Prices | None, *, prompt: int, held: float) -> None:
        self._books, self._key, self.prices, self.prompt = books, key, prices, prompt
        self._estimate = self._held = held
        self._kept, self._counted, self._over = _NOTHING, True, False

    @property
    def open(self) -> bool:
        """Whether nobody has said yet how the call ended."""
        return not self._over

    def used(self, prompt: int | None, completion: int | None, *, estimated: bool = False) -> float | None:
        """Enter what a call took and return its USD, None where that is unknown."""
        if prompt is None or completion is None:
            self._unknown(prompt or 0, completion or 0)
            return None
        cost = None if self.prices is None else self.prices.of(prompt, completion)
        kept = _Kept(prompt, completion, cost or 0.0, int(cost is not None), int(cost is None), int(estimated))
        self._enter(kept)
        return cost

    def lost(self) -> None:
        """Nobody will ever say what the call took; where it is not free, its estimate counts as spent."""
        self._unknown(0, 0)

    def refused(self) -> None:
        """The upstream took nothing: it answered with an error."""
        self._enter(_NOTHING)

    def unsent(self) -> None:
        """Nobody was reached: it was no call."""
        self._enter(_NOTHING)
        if self._counted:
            self._counted = False
            self._books.row(self._key).requests -= 1

    def _unknown(self, prompt: int, completion: int) -> None:
        """Enter what is only partly known; for the budget the estimate stands."""
        free = self.prices == FREE
        self._enter(_Kept(prompt, completion, 0.0, int(free), int(not free), 0, self._estimate))

    def _enter(self, kept: _Kept) -> None:
        """Put `kept` in the row in place of what this bill had there; it is no longer under way."""
        books, before = self._books, self._kept
        change = kept if before is _NOTHING else kept.since(before)
        books.row(self._key).add(change)
        self._kept = kept
        books.moved(self._key.date, spent=change.cost, guessed=change.guessed, ended=self._held)
        self._held, self._over = 0.0, True


class Books:
    """The rows of the present UTC day and the sums a budget looks at; one per engine."""

    def __init__(self, policy: BudgetPolicy | None = None) -> None:
        self._policy = policy or BudgetPolicy()
        self.day = ""
        self._turned = -1.0
        self.spent = 0.0
        """USD of today whose amount is known."""
        self.guessed = 0.0
        """USD of today estimated: of the calls of which nobody said what they took."""
        self.held = 0.0
        """USD estimated of the calls under way."""
        self.refused = False
        """Whether a request of today was refused by the budget in force."""
        self.whole: set[str] = set()
        """Days whose rows are complete: what was kept of them elsewhere is in."""
        self._rows: dict[Key, Row] = {}
        self._touched: set[Key] = set()
        self._agents: set[str] = set()

    def sent(self, ranked: Ranked, needs: Needs, *, agent: str | None, wall: float) -> Bill:
        """Enter a call that goes out now and hold its estimate."""
        self.turn(wall)
        key = Key(self.day, ranked.route.provider, ranked.route.model, self._agent(agent))
        prices = prices_of(ranked.model, ranked.provider, needs.endpoint)
        held = 0.0 if prices is None else estimate(ranked.model, prices, needs)
        self.held += held
        self.row(key).requests += 1
        return Bill(self, key, prices, prompt=needs.estimate_tokens - needs.output_tokens, held=held)

    def objection(self, model: Model, provider: Provider, needs: Needs) -> str:
        """Say with numbers why the budget refuses a call, empty where it may go out.

        A call of unknown price goes out while anything is left; what is local or free always does.
        """
        limit = self.policy.daily_usd
        if limit is None or not self.policy.enforce:
            return ""
        prices, used = prices_of(model, provider, needs.endpoint), self.used + self.held
        if prices is None:
            open_ = used < limit or price_tier(model, provider) is not PriceTier.PAID
            return "" if open_ else f"{self._so_far(limit)}, its price is unknown"
        wanted = estimate(model, prices, needs)
        if not wanted or used + wanted <= limit:
            return ""
        return f"{self._so_far(limit)}, this call may cost {_usd(wanted)}"

    def _so_far(self, limit: float) -> str:
        held = f" and {_usd(self.held)} held for calls under way" if self.held else ""
        return f"budget: {_usd(self.used)} of {_usd(limit)} USD used today{held}"

    @property
    def policy(self) -> BudgetPolicy:
        """The budget in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: BudgetPolicy) -> None:
        """Put another in force: what the one before refused says nothing of it."""
        self.refused = self.refused and policy == self._policy
        self._policy = policy

    def turn(self, wall: float) -> bool:
        """Let a new UTC day begin; return whether one did."""
        if wall // DAY_S == self._turned:  # asked for every call
            return False
        self._turned, today = wall // DAY_S, day_of(wall)
        before, self.day = self.day, today
        kept = min(before or today, today)  # a call that began before midnight may still put its row right
        unwritten = {key.date for key in self._touched}
        self._rows = {key: row for key, row in self._rows.items() if key.date >= kept or key.date in unwritten}
        self.whole = {day for day in self.whole if day >= kept or day in unwritten}
        own = [(key, row) for key, row in self._rows.items() if key.date == today]
        self.spent, self.guessed = (sum((each(row) for _, row in own), 0.0) for each in (_cost, _guess))
        self.held, self.refused = 0.0, False
        self._agents = {key.agent for key, _ in own} - {"", OTHERS}
        return True

    def row(self, key: Key) -> Row:
        """Return the row of a key, which is about to change."""
        self._touched.add(key)
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = Row()
        return found

    @property
    def used(self) -> float:
        """USD that count against the budget of today, calls under way aside."""
        return self.spent + self.guessed

    def moved(self, day: str, *, spent: float, guessed: float, ended: float) -> None:
        """Note what a bill changed of a day's sums, and what was held for it; the sums of days gone by are closed."""
        if day == self.day:
            self.spent += spent
            self.guessed += guessed
            self.held = max(0.0, self.held - ended)

    def partial(self) -> set[str]:
        """Return the days whose rows are not complete yet: today after a start or a leap of the clock, mostly none."""
        return {self.day, *(key.date for key in self._touched)} - self.whole

    def restore(self, key: Key, row: Row) -> None:
        """Add a row that was kept before this start, or before the clock went back to its day."""
        now = self._rows.setdefault(key, Row())
        for name in Row.__slots__:
            setattr(now, name, getattr(now, name) + getattr(row, name))
        if key.date != self.day:
            return
        if key.agent not in ("", OTHERS):
            self._agents.add(key.agent)
        self.spent += row.cost_usd
        self.guessed += row.guessed_usd

    def rows(self) -> Iterator[tuple[Key, Row]]:
        """Yield what is in memory: today's rows, and older ones that were not written yet."""
        yield from self._rows.items()

    def touched(self) -> dict[Key, Row]:
        """Return the rows of complete days that changed since they were last taken."""
        taken = {key for key in self._touched if key.date in self.whole}
        self._touched -= taken
        return {key: self._rows[key] for key in taken}

    def untaken(self, rows: Mapping[Key, Row]) -> None:
        """Take rows back that could not be written."""
        self._touched.update(rows)
        self._rows = {**rows, **self._rows}

    def _agent(self, name: str | None) -> str:
        if not name:
            return ""
        name = name[:MAX_AGENT]
        if name not in self._agents:
            if len(self._agents) >= MOST_AGENTS:
                return OTHERS
            self._agents.add(name)
        return name


def _cost(row: Row) -> float:
    return row.cost_usd


def _guess(row: Row) -> float:
    return row.guessed_usd


def _usd(amount: float) -> str:
    return f"{amount:.4g}"
