"""The circuit breaker: one pure state machine for routes and providers (routing.md §5).

Owns when traffic is admitted after counted failures. Refuses to know what a failure is, what time it is, or who asks.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from routerconsole.domain.policy import CircuitPolicy

LEASE_GRACE = 5.0
"""Seconds a probe lease outlives its attempt's deadline."""

JITTER = 0.2
"""An open period is this share longer or shorter, fixed when it starts (never past the cap)."""

FORGET_AFTER = 600.0
"""Seconds closed after which the next opening starts again from the shortest period, and between two nudges."""

_GRANULES = 60
_MAX_EXPONENT = 32


class CircuitState(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitEvent(StrEnum):
    """What can happen to a circuit."""

    TRIP = "trip"
    ELAPSE = "elapse"
    RECOVER = "recover"
    PROBE_FAILED = "probe_failed"
    RESET = "reset"


TRANSITIONS: dict[tuple[CircuitState, CircuitEvent], CircuitState] = {
    (CircuitState.CLOSED, CircuitEvent.TRIP): CircuitState.OPEN,
    (CircuitState.OPEN, CircuitEvent.ELAPSE): CircuitState.HALF_OPEN,
    (CircuitState.HALF_OPEN, CircuitEvent.RECOVER): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, CircuitEvent.PROBE_FAILED): CircuitState.OPEN,
    (CircuitState.CLOSED, CircuitEvent.RESET): CircuitState.CLOSED,
    (CircuitState.OPEN, CircuitEvent.RESET): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, CircuitEvent.RESET): CircuitState.CLOSED,
}


class IllegalTransition(Exception):
    """The event means nothing in this state; nothing was changed."""


class End(StrEnum):
    """The three endings of an admission: settled ok, settled failed, abandoned (also every neutral outcome)."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Token(NamedTuple):
    """One admission: the generation that fences its result, and its probe lease (0 for none)."""

    generation: int
    ticket: int


UNFENCED = Token(-1, 0)
"""The token of an admission the breaker had no say in; its result changes nothing."""


class Move(NamedTuple):
    """A transition that happened."""

    before: CircuitState
    after: CircuitState


class _Lease(NamedTuple):
    expires: float
    replacement: bool


class RateWindow:
    """Successes and failures of the last `span` seconds, in at most sixty-one steps of `span`/60."""

    __slots__ = ("_step", "_steps", "failed", "ok")

    def __init__(self, span: float) -> None:
        self._step = span / _GRANULES
        self._steps: deque[list[int]] = deque()  # [step, ok, failed]
        self.ok = self.failed = 0

    def add(self, succeeded: bool, now: float) -> None:
        """Record one outcome."""
        self.expire(now)
        step = math.floor(now / self._step)
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append([step, 0, 0])
        last = self._steps[-1]
        if succeeded:
            last[1] += 1
            self.ok += 1
        else:
            last[2] += 1
            self.failed += 1

    def expire(self, now: float) -> None:
        """Forget the steps that lie wholly outside the window."""
        oldest = math.floor(now / self._step) - _GRANULES
        steps = self._steps
        while steps and steps[0][0] < oldest:
            _, ok, failed = steps.popleft()
            self.ok -= ok
            self.failed -= failed

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()
        self.ok = self.failed = 0

    @property
    def total(self) -> int:
        """How many outcomes are in the window."""
        return self.ok + self.failed


class Breaker:
    """One circuit. Times are monotonic seconds; `until` is when an open period ends, `exponent` the k of its length."""

    __slots__ = (
        "_closed_at", "_leases", "_nudged_at", "_owed", "_successes", "_tickets",
        "consecutive", "exponent", "generation", "policy", "state", "until", "window",
    )  # fmt: skip

    def __init__(self, policy: CircuitPolicy) -> None:
        self.policy = policy
        self.state = CircuitState.CLOSED
        self.generation = 0
        self.consecutive = 0
        self.exponent = 0
        self.until = 0.0
        self.window = RateWindow(policy.window)
        self._closed_at = self._nudged_at = -math.inf
        self._successes = 0
        self._owed = 0
        self._tickets = 0
        self._leases: dict[int, _Lease] = {}

    # --- reading ---

    def wait(self, now: float) -> float | None:
        """Return None if an admission would succeed now, else seconds to wait (0.0: a probe is under way)."""
        if self.state is CircuitState.CLOSED:
            return None
        if self.state is CircuitState.OPEN:
            return self.until - now if now < self.until else None
        return None if self.leases(now) < self.policy.half_open_concurrency else 0.0

    def remaining(self, now: float) -> float:
        """Return the seconds until an open circuit may be probed; 0.0 when it is not open or due."""
        return max(0.0, self.until - now) if self.state is CircuitState.OPEN else 0.0

    def leases(self, now: float) -> int:
        """Return how many probe leases are out and alive."""
        return sum(lease.expires > now for lease in self._leases.values())

    def probe_due(self, now: float) -> bool:
        """Whether the circuit is waiting for traffic to prove recovery."""
        return self.state is CircuitState.HALF_OPEN or (self.state is CircuitState.OPEN and now >= self.until)

    def headroom(self, now: float) -> int:
        """Return how many counted failures are left before the circuit opens (0 when it is not closed)."""
        if self.state is not CircuitState.CLOSED:
            return 0
        self.window.expire(now)
        policy, ok, failed = self.policy, self.window.ok, self.window.failed
        streak = max(1, policy.failure_threshold - self.consecutive)
        by_size = policy.min_samples - ok - failed
        rate = policy.error_rate_threshold
        by_rate = math.ceil((rate * ok - (1 - rate) * failed) / (1 - rate) - 1e-9) if rate < 1 else streak
        return min(streak, max(1, by_size, by_rate))

    # --- admission and its three endings ---

    def admit(self, now: float, deadline: float, rng: Random) -> tuple[Token | None, Move | None]:
        """Admit or not (None); an elapsed open period becomes half-open and its lease is taken in this same step."""
        if self.state is CircuitState.CLOSED:
            return Token(self.generation, 0), None
        move = None
        if self.state is CircuitState.OPEN:
            if now < self.until:
                return None, None
            move = self._step(CircuitEvent.ELAPSE)
        for ticket, lease in list(self._leases.items()):
            if lease.expires > now:
                continue
            if lease.replacement:  # two probes in a row were swallowed: that is an answer too
                return None, self._open(CircuitEvent.PROBE_FAILED, now, rng)
            del self._leases[ticket]
            self._owed += 1
        if len(self._leases) >= self.policy.half_open_concurrency:
            return None, move
        replacement = self._owed > 0
        self._owed -= replacement
        self._tickets += 1
        self._leases[self._tickets] = _Lease(deadline + LEASE_GRACE, replacement)
        return Token(self.generation, self._tickets), move

    def end(self, token: Token, how: End, now: float, rng: Random, *, spare: float | None = None) -> Move | None:
        """Take one result; a stale token changes nothing. No trip while the window's success rate is ≥ `spare`."""
        if not self._holds(token):
            return None
        self._leases.pop(token.ticket, None)
        if how is End.ABANDONED:
            return None
        if how is End.SUCCEEDED:
            # A ticketless token in half-open is a stream already credited at its commit.
            credited = self.state is CircuitState.HALF_OPEN and not token.ticket
            return None if credited else self._succeeded(now)
        if self.state is CircuitState.HALF_OPEN:
            return self._open(CircuitEvent.PROBE_FAILED, now, rng)
        self.consecutive += 1
        self.window.add(False, now)
        if not self._over():
            return None
        if spare is not None and self.window.ok >= spare * self.window.total:
            return None
        return self._open(CircuitEvent.TRIP, now, rng)

    def commit(self, token: Token, now: float) -> tuple[Token, Move | None]:
        """Credit a probing stream at its first content; the returned token fences what may still go wrong later."""
        if not token.ticket:
            return token, None
        if not self._holds(token):
            return UNFENCED, None
        del self._leases[token.ticket]
        move = self._succeeded(now)
        return Token(self.generation, 0), move

    # --- moves from outside the traffic ---

    def trip(self, now: float, rng: Random) -> Move | None:
        """Open for a reason found elsewhere; nothing happens to an open circuit."""
        if self.state is CircuitState.OPEN:
            return None
        event = CircuitEvent.TRIP if self.state is CircuitState.CLOSED else CircuitEvent.PROBE_FAILED
        return self._open(event, now, rng)

    def nudge(self, now: float) -> Move | None:
        """Let an open circuit be probed before its time (reachability came back); never closes it.

        Once in ten minutes: for an upstream that flaps, the growing periods are the point (faults.md U46).
        """
        if self.state is not CircuitState.OPEN or now - self._nudged_at < FORGET_AFTER:
            return None
        self._nudged_at = now
        return self._step(CircuitEvent.ELAPSE)

    def reset(self, now: float) -> Move:
        """Close by hand; whatever is in flight belongs to an older generation from here on."""
        move = self._step(CircuitEvent.RESET)
        self._forget(now)
        self.exponent = 0
        self._closed_at = self._nudged_at = -math.inf
        return move

    def restore(self, *, left: float, exponent: int, now: float) -> None:
        """Come back after a restart: open for the seconds `left`, half-open if none are; never closed."""
        self.generation += 1
        self.exponent = min(max(exponent, 0), _MAX_EXPONENT)
        self.until = now + left
        self.state = CircuitState.OPEN if left > 0 else CircuitState.HALF_OPEN

    def adopt(self, policy: CircuitPolicy) -> None:
        """Follow a changed policy; an open period already fixed is kept."""
        if policy != self.policy:
            if policy.window != self.policy.window:
                self.window = RateWindow(policy.window)
            self.policy = policy

    # --- inside ---

    def _holds(self, token: Token) -> bool:
        return token.generation == self.generation and (not token.ticket or token.ticket in self._leases)

    def _over(self) -> bool:
        policy, window = self.policy, self.window
        if self.consecutive >= policy.failure_threshold:
            return True
        return window.total >= policy.min_samples and window.failed >= policy.error_rate_threshold * window.total

    def _succeeded(self, now: float) -> Move | None:
        if self.state is CircuitState.HALF_OPEN:
            self._successes += 1
            if self._successes < self.policy.half_open_max_calls:
                return None
            move = self._step(CircuitEvent.RECOVER)
            self._forget(now)
            return move
        self.consecutive = 0
        self.window.add(True, now)
        return None

    def _open(self, event: CircuitEvent, now: float, rng: Random) -> Move:
        move = self._step(event)
        if event is CircuitEvent.TRIP and now - self._closed_at >= FORGET_AFTER:
            self.exponent = 0
        policy = self.policy
        length = min(policy.recovery_timeout * 2.0**self.exponent, policy.recovery_cap)
        # The cap holds after jitter, so recovery is never later than the cap.
        self.until = now + min(length * rng.uniform(1 - JITTER, 1 + JITTER), policy.recovery_cap)
        self.exponent = min(self.exponent + 1, _MAX_EXPONENT)
        return move

    def _forget(self, now: float) -> None:
        self.consecutive = 0
        self.window.clear()
        self._closed_at = now

    def _step(self, event: CircuitEvent) -> Move:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise IllegalTransition(f"{event} while {self.state}")
        before, self.state = self.state, after
        self.generation += 1
        self._leases.clear()
        self._owed = self._successes = 0
        return Move(before, after)
