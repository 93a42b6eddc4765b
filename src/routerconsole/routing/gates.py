"""Waiting periods an upstream asked for: rate, overload and quota, each with its own end (routing.md §3).

A gate is not a breaker: it counts nothing and needs no probe; it passes when its time is over.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from routerconsole.domain.outcome import Failure, GateReason, OutcomeClass

if TYPE_CHECKING:
    from random import Random

DEFAULT_WAIT = {GateReason.RATE: 60.0, GateReason.QUOTA: 3600.0}
"""Seconds where the upstream named none; overload has no gate without a hint."""

CAP = {GateReason.RATE: 3600.0, GateReason.OVERLOAD: 3600.0, GateReason.QUOTA: 86_400.0}
"""The longest gate in seconds, whatever the hint says."""

JITTER = 0.1
"""A gate lasts up to this share longer than asked, so that callers do not come back as one."""

_REASON_OF = {OutcomeClass.RATE: GateReason.RATE, OutcomeClass.QUOTA: GateReason.QUOTA}


def asked(failure: Failure) -> tuple[GateReason, float] | None:
    """Return the gate a failure asks for and its seconds (before cap and jitter), or None."""
    hint = failure.retry_after
    if hint is not None and not (math.isfinite(hint) and hint >= 0):
        hint = None
    reason = failure.gate or _REASON_OF.get(failure.cls)
    if reason is None and failure.cls is OutcomeClass.SERVER and hint is not None:
        reason = GateReason.OVERLOAD
    if reason is None:
        return None
    wait = hint if hint is not None else DEFAULT_WAIT.get(reason)
    return None if wait is None else (reason, wait)


class Gates:
    """The gates of one route or account, in monotonic seconds; `cooled`: the period's one last resort is used."""

    __slots__ = ("_ends", "cooled", "started")

    def __init__(self) -> None:
        self._ends: dict[GateReason, float] = {}
        self.started = 0.0
        self.cooled = False

    def __bool__(self) -> bool:
        """Whether any gate was set and not yet cleared away; it may have run out."""
        return bool(self._ends)

    def until(self, now: float) -> float | None:
        """Return when the last active gate ends, None when none is active."""
        if not self._ends:
            return None
        end = max(self._ends.values())
        return end if end > now else None

    def reason(self, now: float) -> GateReason | None:
        """Return the reason shown: quota while a quota gate is active, else the one that ends last."""
        if self._ends.get(GateReason.QUOTA, now) > now:
            return GateReason.QUOTA
        active = {reason: end for reason, end in self._ends.items() if end > now}
        return max(active, key=active.__getitem__) if active else None

    def start(self, reason: GateReason, wait: float, now: float, rng: Random) -> bool:
        """Set or extend a gate, never shortening one; return whether this reason was not active before."""
        end = now + min(wait * (1 + rng.uniform(0, JITTER)), CAP[reason])
        return self.restore(reason, end=end, started=now, now=now)

    def restore(self, reason: GateReason, *, end: float, started: float, now: float) -> bool:
        """Set a gate to an exact end; return whether this reason was not active before."""
        if end <= now:
            return False
        if self.until(now) is None:
            self._ends.clear()
            self.started, self.cooled = started, False
        fresh = self._ends.get(reason, now) <= now
        self._ends[reason] = max(end, self._ends.get(reason, end))
        return fresh

    def ends(self, now: float) -> dict[GateReason, float]:
        """Return the active gates and their ends."""
        return {reason: end for reason, end in self._ends.items() if end > now}

    def sweep(self, now: float) -> list[GateReason]:
        """Clear away the gates that ran out and return their reasons."""
        over = [reason for reason, end in self._ends.items() if end <= now]
        for reason in over:
            del self._ends[reason]
        return over

    def clear(self) -> list[GateReason]:
        """Lift every gate and return their reasons."""
        reasons = list(self._ends)
        self._ends.clear()
        return reasons
