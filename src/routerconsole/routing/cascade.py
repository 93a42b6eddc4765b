"""Which route to ask next, how long to wait for it, and when to give up (routing.md §6). Decides, never acts.

The engine asks `next`, acts on the answer, and reports the ending; nothing here touches a clock or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from routerconsole.domain.outcome import Failure, FaultScope, NextRoute, OutcomeClass, SameRoute
from routerconsole.domain.policy import LastResort, OnUndelivered
from routerconsole.domain.trace import Decision

from .board import Lease, Refusal, RefusalKind
from .breaker import CircuitState
from .exhausted import Tried, confirmed, exhausted, out_of_time

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from routerconsole.domain.errors import RoutingFailed
    from routerconsole.domain.policy import RoutingPolicy
    from routerconsole.domain.route import Route

    from .board import Board
    from .budget import RetryBudget
    from .plan import AccountTurns, Plan, Ranked
    from .pointers import Pointers
    from .spending import Books

SHARE_WHILE_ALTERNATIVES = 0.6
"""Largest part of the remaining deadline one attempt may use while others are left (routing.md §6)."""
MAX_SAME_ROUTE = 2
"""Same-route retries of a request after errors: the openai SDK's own default, under the breaker's threshold of 5."""
MAX_WARMING = 3
WARMING_DELAY_S = 1.0
PATIENCE_S = 2.0  # longest hint waited out on the only route
GATE_JITTER = 1.1  # gates run up to 10 % past their hint
NO_TIME_S = 0.005
"""With less than this left no further attempt begins; event loops fire timers up to a few milliseconds early."""


class Try(NamedTuple):
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
    """Give up with this error; `return_last` says a kept body of an undelivered answer should be returned instead."""

    error: RoutingFailed
    return_last: bool = False


@dataclass(frozen=True, slots=True)
class _Retry:
    """A tried route whose last failure allows another try there, not before a time and, if gated again, not after."""

    ranked: Ranked
    warming: bool
    not_before: float
    latest: float


@dataclass(slots=True)
class Cascade:
    """The walk over one plan. `deadline` is absolute monotonic seconds; `turns` hears which accounts were asked."""

    plan: Plan
    policy: RoutingPolicy
    board: Board
    budget: RetryBudget
    deadline: float
    rng: random.Random
    stream: bool
    no_fallback: bool = False
    turns: AccountTurns | None = None
    pointers: Pointers | None = None  # the pools' memory; hears which route was asked instead of which
    books: Books | None = None  # what the day's budget still allows
    objection: Callable[[Ranked], str | None] | None = None  # why a route's dialect cannot carry the request
    tried: list[Tried] = field(default_factory=list)
    skipped: dict[Route, Refusal] = field(default_factory=dict)
    _asked: set[Route] = field(default_factory=set)
    _unfit: set[Route] = field(default_factory=set)
    _calls: int = 0  # that count toward the limit: all but the free retry of a stale connection
    _stale: Ranked | None = None
    _stale_used: set[Route] = field(default_factory=set)
    _retries: dict[Route, _Retry] = field(default_factory=dict)  # by route, the most recently tried last
    _same_tries: int = 0
    _warm_tries: int = 0
    _failover_used: bool = False
    _unaffordable: bool = False

    def next(self, now: float) -> Try | Wait | Stop:
        """Decide the next step.

        1 the last verdict ends it; 2 time is used up; 3 a stale connection is retried for free; 4 attempts are used up;
        5 the next untried admissible route; 6 the same route again; 7 the last resort; 8 give up with the roll-call.
        """
        if self._over():  # 1
            return self._stop(now, "No other route was asked: the request is at fault." if self._untried() else "")
        if now >= self.deadline or (self.tried and self.deadline - now < NO_TIME_S):  # 2
            self._leave_out("not asked: out of time")
            return Stop(out_of_time(self.tried, self.skipped, self.plan), return_last=self._returns_last())
        left = self._untried()
        again, self._stale = self._stale, None
        if again is not None and not self.no_fallback and self._fits(again):  # 3
            self._calls -= 1
            step = self._admit(again, left, now)
            if step is not None:
                return step._replace(fresh=True)
            self._calls += 1
        if self.no_fallback and self._calls:  # 4
            return self._stop(now, "x-router-no-fallback allows one attempt." if left else "")
        if self._calls >= self.policy.max_attempts:
            return self._stop(now, f"All {self.policy.max_attempts} attempts were used." if left else "")
        self._unaffordable = False
        return self._failover(left, now) or self._give_up_or_repeat(left, now)

    def report(self, ranked: Ranked, failure: Failure, now: float) -> None:
        """Take note of a failed attempt (successes and abandonments end the cascade elsewhere)."""
        route = ranked.route
        self.tried.append(Tried(route, ranked.model.context_window, failure))
        self._retries.pop(route, None)
        same = failure.effect.same
        if same is SameRoute.FREE_ONCE and route not in self._stale_used:
            self._stale_used.add(route)
            self._stale = ranked
        elif same is SameRoute.LAST:
            retry = self._plan_retry(ranked, failure, now)
            if retry is not None:
                self._retries[route] = retry

    # --- what the last failure says ---

    def _over(self) -> bool:
        if not self.tried:
            return False
        following = self.tried[-1].failure.effect.next
        return following is NextRoute.NO or (following is NextRoute.CONFIRM and confirmed(self.tried))

    def _plan_retry(self, ranked: Ranked, failure: Failure, now: float) -> _Retry | None:
        """Decide when the same route may be asked again, or None where its class or hint forbids it."""
        if failure.cls is OutcomeClass.WARMING:
            return _Retry(ranked, warming=True, not_before=now + WARMING_DELAY_S, latest=self.deadline)
        hint = failure.retry_after
        if (hint is None and failure.cls is OutcomeClass.RATE) or (hint is not None and hint > PATIENCE_S):
            return None
        wait = self.board.gate_remaining(ranked.route, now)
        if failure.cls is OutcomeClass.RATE:
            wait = max(wait, hint or 0.0)
        else:
            retry = self.policy.retry
            wait = max(wait, self.rng.uniform(0.0, min(retry.max_delay, retry.base_delay * 2.0**self._same_tries)))
        return _Retry(ranked, warming=False, not_before=now + wait, latest=now + max(wait, PATIENCE_S * GATE_JITTER))

    # --- the steps ---

    def _untried(self) -> list[Ranked]:
        """Return the untried candidates; after a context refusal larger known windows first, no known smaller one."""
        left = [item for item in self.plan.ranked if item.route not in self._asked and item.route not in self._unfit]
        refused = [item for item in self.tried if item.failure.cls is OutcomeClass.CONTEXT]
        if not refused:
            return left
        needed = max([self.plan.needs.estimate_tokens, *(item.context_window or 0 for item in refused)])
        larger = [item for item in left if (item.model.context_window or 0) > needed]
        return larger + [item for item in left if not item.model.context_window]

    def _failover(self, left: Sequence[Ranked], now: float) -> Try | None:
        """Ask the first untried route that is admissible and paid for; the first failover to a sound one is free."""
        for ranked in left:
            refusal = self.board.refusal(ranked.route, now)
            if refusal is not None:
                self._skip(ranked, refusal)
                continue
            if not self._fits(ranked):
                continue
            free = not self.tried or self._free_failover(ranked, now)
            if not free and not self.budget.available(ranked.provider.name, now):
                self._unaffordable = True
                continue
            step = self._admit(ranked, left, now)
            if step is None:
                continue
            if not free:
                self.budget.take(ranked.provider.name, now)
            elif self.tried:
                self._failover_used = True
            return step
        return None

    def _free_failover(self, ranked: Ranked, now: float) -> bool:
        circuits = (self.board.circuit(target, now)[0] for target in (ranked.route, ranked.route.provider))
        return not self._failover_used and all(state is CircuitState.CLOSED for state in circuits)

    def _give_up_or_repeat(self, left: Sequence[Ranked], now: float) -> Try | Wait | Stop:
        """Nothing untried can be asked: 6 the same route again, 7 the last resort, 8 give up."""
        if not self._unaffordable:
            step = self._same_route(now) or self._last_resort(left, now)
            if step is not None:
                return step
        return self._stop(now, "The retry budget is empty." if self._unaffordable else "")

    def _same_route(self, now: float) -> Try | Wait | None:
        """Ask the most recently tried route again whose class allows it, once its wait is over."""
        for retry in list(reversed(self._retries.values())):
            ranked = retry.ranked
            used_up = (self._warm_tries >= MAX_WARMING) if retry.warming else (self._same_tries >= MAX_SAME_ROUTE)
            if used_up or not self._fits(ranked):
                continue
            not_before = retry.not_before
            refusal = self.board.refusal(ranked.route, now)
            if refusal is not None:
                if refusal.kind is not RefusalKind.GATE or now + (refusal.retry_in or 0.0) > retry.latest:
                    continue
                not_before = max(not_before, now + (refusal.retry_in or 0.0))
            if not_before >= self.deadline - NO_TIME_S:
                continue
            if not self.budget.available(ranked.provider.name, now):
                self._unaffordable = True
                continue
            if not_before > now:
                return Wait(not_before - now)
            step = self._admit(ranked, (), now)
            if step is None:
                continue
            self.budget.take(ranked.provider.name, now)
            if retry.warming:
                self._warm_tries += 1
            else:
                self._same_tries += 1
            return step
        return None

    def _last_resort(self, left: Sequence[Ranked], now: float) -> Try | None:
        """Ask the rate- or overload-gated route that frees soonest, once per gated period, never one gated by us."""
        if self.policy.last_resort is LastResort.NONE:
            return None
        gated = [
            (refusal.retry_in or 0.0, index, item)
            for index, item in enumerate(left)
            if self.board.last_resort_open(item.route, now)
            and (refusal := self.board.refusal(item.route, now)) is not None
            and not self._gated_by_us(item.route)
        ]
        ranked = next((item for _, _, item in sorted(gated, key=lambda item: item[:2]) if self._fits(item)), None)
        if ranked is None:
            return None
        if self.tried and not self.budget.available(ranked.provider.name, now):
            self._unaffordable = True
            return None
        step = self._admit(ranked, (), now, last_resort=True)
        if step is not None and self.tried:
            self.budget.take(ranked.provider.name, now)
        return step

    def _gated_by_us(self, route: Route) -> bool:
        """Whether a failure of this request may have gated a route not asked itself: one of its whole account."""
        return any(
            item.failure.scope is not FaultScope.ROUTE
            and (item.route.provider, item.route.account) == (route.provider, route.account)
            for item in self.tried
        )

    # --- admission ---

    def _admit(self, ranked: Ranked, left: Sequence[Ranked], now: float, *, last_resort: bool = False) -> Try | None:
        """Take a lease with the timers of this attempt; a refusal is kept for the roll-call."""
        timeouts = ranked.provider.timeouts
        configured = timeouts.first_token if self.stream else timeouts.total
        sole, alternatives = self._others(ranked, left, now)
        remaining = self.deadline - now
        allowed = remaining * SHARE_WHILE_ALTERNATIVES if alternatives else remaining
        wait = min(configured, allowed)
        outcome = self.board.admit(
            ranked.route,
            now,
            deadline=now + wait,
            sole=sole,
            size=self.plan.needs.size,
            forced=self.plan.needs.forced,
            last_resort=last_resort,
        )
        if not isinstance(outcome, Lease):
            self._skip(ranked, outcome)
            return None
        if self.turns is not None and not any(route.provider == ranked.route.provider for route in self._asked):
            self.turns.asked(ranked.route)  # only the first: else a failing account would lead again next time
        if self.plan.track is not None and self.pointers is not None:
            self.pointers.asked(
                self.plan.track,
                ranked.route,
                now,
                first=not self._asked,
                tried=lambda: {item.route: item.failure for item in self.tried},
                skipped=self.skipped,
            )
        self._asked.add(ranked.route)
        self.skipped.pop(ranked.route, None)
        self._calls += 1
        return Try(
            ranked,
            outcome,
            connect=min(timeouts.connect, allowed),
            wait=wait,
            wait_full=configured <= allowed,
            idle=timeouts.idle,
        )

    def _others(self, ranked: Ranked, left: Sequence[Ranked], now: float) -> tuple[bool, bool]:
        """Return whether no other route of the plan is admissible, and whether an untried one of `left` is."""
        out = {ranked.route, *self._unfit}
        if not self.no_fallback and self._calls + 1 < self.policy.max_attempts:
            for item in left:
                if item.route not in out and self.board.refusal(item.route, now) is None:
                    return False, True
        others = (item for item in self.plan.ranked if item.route not in out)
        return all(self.board.refusal(item.route, now) is not None for item in others), False

    def _fits(self, ranked: Ranked) -> bool:
        """Say whether dialect and budget allow the request there; where not, nothing is sent and nobody is charged."""
        kind, why = RefusalKind.DIALECT, None if self.objection is None else self.objection(ranked)
        if not why and self.books is not None:
            kind, why = RefusalKind.BUDGET, self.books.objection(ranked.model, ranked.provider, self.plan.needs)
        if why:
            self._unfit.add(ranked.route)
            self._skip(ranked, Refusal(kind, why))
        return not why

    def _skip(self, ranked: Ranked, refusal: Refusal) -> None:
        self.skipped[ranked.route] = refusal
        _mark(ranked, refusal.text)

    # --- the end ---

    def _stop(self, now: float, note: str) -> Stop:
        for item in self.plan.ranked:
            if item.route not in self._asked and item.route not in self.skipped:
                refusal = self.board.refusal(item.route, now)
                if refusal is not None:
                    self._skip(item, refusal)
        self._leave_out(
            f"not asked: {note[:1].lower()}{note[1:].rstrip('.')}" if note else "not asked: no larger context window"
        )
        error = exhausted(self.tried, self.skipped, self.plan, retry_in=self._soonest(now), note=note)
        return Stop(error, return_last=self._returns_last())

    def _leave_out(self, why: str) -> None:
        """Say in the trace of every candidate that was neither asked nor refused why it was not."""
        for item in self.plan.ranked:
            if item.route not in self._asked and item.route not in self.skipped:
                _mark(item, why)

    def _returns_last(self) -> bool:
        """A lone route's undelivered answer goes to the client; of several only where the policy says so."""
        if not any(item.failure.cls is OutcomeClass.UNDELIVERED for item in self.tried):
            return False
        if self.tried[-1].failure.cls is OutcomeClass.POLICY:
            return False
        return self.policy.on_undelivered is OnUndelivered.RETURN_LAST or len({item.route for item in self.tried}) == 1

    def _soonest(self, now: float) -> float | None:
        """Return the seconds until some candidate may be asked again; a hint counts as told, without our jitter."""
        hints = {item.route: item.failure.retry_after for item in self.tried}
        waits = []
        for item in self.plan.ranked:
            refusal = self.board.refusal(item.route, now)
            told = (hints.get(item.route), None if refusal is None else refusal.retry_in)
            known = [wait for wait in told if wait is not None]
            if known:
                waits.append(min(known))
        return min(waits, default=None)


def _mark(ranked: Ranked, why: str) -> None:
    """Keep in the trace why a candidate was passed over, unless the plan already said that it would be."""
    candidate = ranked.candidate
    if candidate.decision is not Decision.SKIPPED:
        candidate.decision = Decision.SKIPPED
        candidate.reasons.append(why)
