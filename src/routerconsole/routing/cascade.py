"""Which route to ask next, how long to wait for it, and when to give up (routing.md §6). Decides, never acts.

The engine asks `next`, acts on the answer, and reports the ending; nothing here touches a clock or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from routerconsole.domain.outcome import Failure, NextRoute, OutcomeClass, SameRoute
from routerconsole.domain.policy import LastResort, OnUndelivered

from .board import Lease, RefusalKind
from .exhausted import Tried, context_exhausted, exhausted, out_of_time

if TYPE_CHECKING:
    import random

    from routerconsole.domain.errors import RoutingFailed
    from routerconsole.domain.policy import RoutingPolicy
    from routerconsole.domain.route import Route

    from .board import Board, Refusal
    from .budget import RetryBudget
    from .plan import Plan, Ranked

SHARE_WHILE_ALTERNATIVES = 0.6
"""Largest part of the remaining deadline one attempt may use while others are left (routing.md §6)."""
MAX_SAME_ROUTE = 2
"""Same-route retries after a server error; the openai SDK's own default, and under the breaker's threshold of 5."""
MAX_WARMING = 3
WARMING_DELAY_S = 1.0
RATE_PATIENCE_S = 2.0
"""Longest `rate` hint waited out on the only route."""
GATE_JITTER = 1.1
"""Gates run up to 10 % past their hint."""


@dataclass(frozen=True, slots=True)
class Try:
    """Ask this route now. Timers are seconds; `wait_full`: the configured timeout itself is waited, so it counts.

    `fresh` asks for a new connection: the kept one that was just tried had died, and others may have with it.
    """

    ranked: Ranked
    lease: Lease
    connect: float
    wait: float
    wait_full: bool
    idle: float
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Give up with this error; `last_body` says a kept body of an undelivered answer should be returned instead."""

    error: RoutingFailed
    return_last: bool = False


@dataclass(slots=True)
class _Retry:
    """What is remembered of the most recently tried route whose class allows another try there."""

    ranked: Ranked
    failure: Failure
    not_before: float


@dataclass(slots=True)
class Cascade:
    """The walk over one plan. `deadline` is absolute monotonic seconds."""

    plan: Plan
    policy: RoutingPolicy
    board: Board
    budget: RetryBudget
    deadline: float
    rng: random.Random
    stream: bool
    no_fallback: bool = False
    tried: list[Tried] = field(default_factory=list)
    skipped: dict[Route, Refusal] = field(default_factory=dict)
    _asked: set[Route] = field(default_factory=set)
    _same_tries: int = 0
    _counted: int = 0
    _stale: Ranked | None = None
    _stale_used: set[Route] = field(default_factory=set)
    _retry: _Retry | None = None
    _free_failover_used: bool = False

    def next(self, now: float) -> Try | Wait | Stop:
        """Decide the next step.

        1 the last verdict ends it; 2 attempts or time are used up; 3 a stale connection is retried for free; 4 the next
        untried admissible route; 5 the same route again; 6 the last resort; 7 give up with the roll-call.
        """
        verdict = self._verdict()  # 1
        if verdict is not None:
            return verdict
        limit = 1 if self.no_fallback else self.policy.max_attempts  # 2
        if now >= self.deadline:
            return Stop(out_of_time(self.tried, self.plan))
        if self._stale is not None:  # 3
            ranked, self._stale = self._stale, None
            admitted = self._admit(ranked, now)
            if isinstance(admitted, Try):
                return replace(admitted, fresh=True)
        if self._counted >= limit:
            return self._give_up(now)
        for ranked in self._order(now):  # 4
            if not self._may_spend(ranked, now):
                return self._give_up(now)
            admitted = self._admit(ranked, now)
            if isinstance(admitted, Try):
                self._spend(ranked, now)
                return admitted
        again = self._same_route(now)  # 5
        if again is not None:
            return again
        last = self._last_resort(now)  # 6
        return last if last is not None else self._give_up(now)  # 7

    def report(self, ranked: Ranked, failure: Failure, now: float) -> None:
        """Take note of a failed attempt (successes and abandonments end the cascade elsewhere)."""
        self.tried.append(Tried(ranked.route, ranked.model.context_window, failure))
        if failure.cls is not OutcomeClass.STALE_CONN or ranked.route in self._stale_used:
            self._counted += 1
        same = failure.effect.same
        if same is SameRoute.FREE_ONCE and ranked.route not in self._stale_used:
            self._stale_used.add(ranked.route)
            self._stale = ranked
        elif same is SameRoute.LAST:
            self._retry = self._plan_retry(ranked, failure, now)

    def _verdict(self) -> Stop | None:
        if not self.tried:
            return None
        last = self.tried[-1].failure
        if last.effect.next is NextRoute.NO:
            return Stop(exhausted(self.tried, self.skipped, self.plan, retry_in=None))
        if last.effect.next is NextRoute.CONFIRM:
            blamed = [item for item in self.tried if item.failure.cls is OutcomeClass.CLIENT_ERROR]
            if len(blamed) >= 2 and len(blamed) == len(self.tried):
                return Stop(exhausted(self.tried, self.skipped, self.plan, retry_in=None))
        return None

    def _order(self, now: float) -> list[Ranked]:
        """Return the untried candidates; after a context refusal larger known windows first, no known smaller one."""
        left = [item for item in self.plan.ranked if item.route not in self._asked]
        refused = [item for item in self.tried if item.failure.cls is OutcomeClass.CONTEXT]
        if not refused:
            return left
        needed = max([self.plan.needs.estimate_tokens, *(item.context_window or 0 for item in refused)])
        larger = [item for item in left if (item.model.context_window or 0) > needed]
        unknown = [item for item in left if not item.model.context_window]
        return larger + unknown

    def _admit(self, ranked: Ranked, now: float, *, last_resort: bool = False) -> Try | Refusal:
        """Take a lease with the timers of this attempt; a refusal is kept for the roll-call."""
        timeouts = ranked.provider.timeouts
        configured = timeouts.first_token if self.stream else timeouts.total
        allowed = (self.deadline - now) * (SHARE_WHILE_ALTERNATIVES if self._alternatives(ranked, now) else 1.0)
        wait = min(configured, allowed)
        outcome = self.board.admit(
            ranked.route,
            now,
            deadline=now + wait,
            sole=last_resort or self._others_refused(ranked, now),
            size=self.plan.needs.size,
            forced=self.plan.needs.forced,
            last_resort=last_resort,
        )
        if not isinstance(outcome, Lease):
            self.skipped[ranked.route] = outcome
            return outcome
        self._asked.add(ranked.route)
        return Try(
            ranked,
            outcome,
            connect=min(timeouts.connect, allowed),
            wait=wait,
            wait_full=configured <= allowed,
            idle=timeouts.idle,
        )

    def _others_refused(self, ranked: Ranked, now: float) -> bool:
        return all(item is ranked or self.board.refusal(item.route, now) is not None for item in self.plan.ranked)

    def _may_spend(self, ranked: Ranked, now: float) -> bool:
        """Say whether the retry budget allows this attempt; the first and the first failover are free."""
        if not self._counted or not self._free_failover_used:
            return True
        return self.budget.available(ranked.provider.name, now)

    def _spend(self, ranked: Ranked, now: float) -> None:
        if not self._counted:
            return
        if not self._free_failover_used:
            self._free_failover_used = True
            return
        self.budget.take(ranked.provider.name, now)

    def _alternatives(self, ranked: Ranked, now: float) -> bool:
        if self.no_fallback or self._counted + 1 >= self.policy.max_attempts:
            return False
        return any(
            item is not ranked and item.route not in self._asked and self.board.refusal(item.route, now) is None
            for item in self.plan.ranked
        )

    def _plan_retry(self, ranked: Ranked, failure: Failure, now: float) -> _Retry | None:
        """Decide when the same route may be asked again, or None where its class or hint forbids it."""
        if failure.cls is OutcomeClass.WARMING:
            return _Retry(ranked, failure, now + WARMING_DELAY_S)
        hint = failure.retry_after
        if failure.cls is OutcomeClass.RATE:
            if hint is None or hint > RATE_PATIENCE_S:
                return None
            return _Retry(ranked, failure, now + max(hint * GATE_JITTER, self.board.gate_remaining(ranked.route, now)))
        if hint is not None and hint > RATE_PATIENCE_S:
            return None
        ceiling = min(self.policy.retry.max_delay, self.policy.retry.base_delay * 2**self._same_tries)
        gate = self.board.gate_remaining(ranked.route, now)
        return _Retry(ranked, failure, now + max(gate, self.rng.uniform(0.0, ceiling)))

    def _same_route(self, now: float) -> Try | Wait | Stop | None:
        retry = self._retry
        if retry is None or self.no_fallback:
            return None
        limit = MAX_WARMING if retry.failure.cls is OutcomeClass.WARMING else MAX_SAME_ROUTE
        if self._same_tries >= limit or retry.not_before >= self.deadline:
            return None
        if retry.not_before > now:
            refusal = self.board.refusal(retry.ranked.route, now)
            if refusal is not None and refusal.kind is not RefusalKind.GATE:
                return None
            return Wait(retry.not_before - now)
        if not self.budget.available(retry.ranked.provider.name, now):
            return self._give_up(now)
        admitted = self._admit(retry.ranked, now)
        if not isinstance(admitted, Try):
            return None
        self.budget.take(retry.ranked.provider.name, now)
        self._same_tries += 1
        self._retry = None
        return admitted

    def _last_resort(self, now: float) -> Try | None:
        """Ask the rate- or overload-gated route that frees soonest, once per gated period, never one gated by us."""
        if self.policy.last_resort is LastResort.NONE or self.no_fallback:
            return None
        gated = [
            (refusal.retry_in or 0.0, index, item)
            for index, item in enumerate(self.plan.ranked)
            if item.route not in self._asked
            and (refusal := self.board.refusal(item.route, now)) is not None
            and self.board.last_resort_open(item.route, now)
        ]
        if not gated or not self._may_spend(min(gated)[2], now):
            return None
        ranked = min(gated, key=lambda item: item[:2])[2]
        admitted = self._admit(ranked, now, last_resort=True)
        if not isinstance(admitted, Try):
            return None
        self._spend(ranked, now)
        return admitted

    def _give_up(self, now: float) -> Stop:
        if self.tried and all(item.failure.cls is OutcomeClass.CONTEXT for item in self.tried):
            return Stop(context_exhausted(self.tried, self.plan))
        for item in self.plan.ranked:
            if item.route not in self._asked and item.route not in self.skipped:
                refusal = self.board.refusal(item.route, now)
                if refusal is not None:
                    self.skipped[item.route] = refusal
        error = exhausted(self.tried, self.skipped, self.plan, retry_in=self._soonest(now))
        return Stop(error, return_last=self._returns_last())

    def _returns_last(self) -> bool:
        """A lone route's undelivered answer goes to the client; of several only where the policy says so."""
        if not any(item.failure.cls is OutcomeClass.UNDELIVERED for item in self.tried):
            return False
        return self.policy.on_undelivered is OnUndelivered.RETURN_LAST or len({item.route for item in self.tried}) == 1

    def _soonest(self, now: float) -> float | None:
        """Seconds until the first candidate may be asked again."""
        waits = [
            refusal.retry_in
            for item in self.plan.ranked
            if (refusal := self.board.refusal(item.route, now)) is not None and refusal.retry_in is not None
        ]
        return min(waits, default=None)
