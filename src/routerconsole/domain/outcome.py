"""How an attempt ended, and what each ending means for retries, routes and breakers (routing.md §3).

The table EFFECTS is the single statement of consequences; recognising a class is routing.classify's job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from .capability import Word


class OutcomeClass(StrEnum):
    """The ending of an attempt."""

    OK = "ok"
    CONNECT = "connect"
    STALE_CONN = "stale_conn"
    TIMEOUT_FIRST = "timeout_first"
    SERVER = "server"
    WARMING = "warming"
    RATE = "rate"
    QUOTA = "quota"
    AUTH = "auth"
    MISSING = "missing"
    CAPABILITY = "capability"
    CONTEXT = "context"
    OVERSIZE = "oversize"
    POLICY = "policy"
    CLIENT_ERROR = "client_error"
    BAD_200 = "bad_200"
    BLANK = "blank"
    UNDELIVERED = "undelivered"
    CUT = "cut"
    IGNORED = "ignored"
    LOCAL = "local"


class SameRoute(StrEnum):
    """May the same route be asked again within the request?"""

    NEVER = "never"
    FREE_ONCE = "free_once"
    LAST = "last"  # only if nothing else is admissible


class NextRoute(StrEnum):
    """May another route be asked?"""

    YES = "yes"
    LARGER_CONTEXT = "larger_context"
    CONFIRM = "confirm"  # one confirmation, then stop if unanimous
    NO = "no"


class GateReason(StrEnum):
    """Why a route must wait."""

    RATE = "rate"
    QUOTA = "quota"
    OVERLOAD = "overload"


class FaultScope(StrEnum):
    """What a configuration fault makes unusable."""

    ROUTE = "route"
    ACCOUNT = "account"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Effect:
    """One row of the table; where `provider` is set the class can count there and Failure.provider_counts decides."""

    same: SameRoute
    next: NextRoute
    route: bool = False
    provider: bool = False


_YES = Effect(SameRoute.NEVER, NextRoute.YES)

EFFECTS: Mapping[OutcomeClass, Effect] = MappingProxyType(
    {
        OutcomeClass.CONNECT: Effect(SameRoute.NEVER, NextRoute.YES, provider=True),
        OutcomeClass.STALE_CONN: Effect(SameRoute.FREE_ONCE, NextRoute.YES),
        OutcomeClass.TIMEOUT_FIRST: Effect(SameRoute.NEVER, NextRoute.YES, route=True, provider=True),
        OutcomeClass.SERVER: Effect(SameRoute.LAST, NextRoute.YES, route=True, provider=True),
        OutcomeClass.WARMING: Effect(SameRoute.LAST, NextRoute.YES),
        OutcomeClass.RATE: Effect(SameRoute.LAST, NextRoute.YES),
        OutcomeClass.QUOTA: _YES,
        OutcomeClass.AUTH: _YES,
        OutcomeClass.MISSING: _YES,
        OutcomeClass.CAPABILITY: _YES,
        OutcomeClass.CONTEXT: Effect(SameRoute.NEVER, NextRoute.LARGER_CONTEXT),
        OutcomeClass.OVERSIZE: _YES,
        OutcomeClass.POLICY: Effect(SameRoute.NEVER, NextRoute.NO),
        OutcomeClass.CLIENT_ERROR: Effect(SameRoute.NEVER, NextRoute.CONFIRM),
        OutcomeClass.BAD_200: Effect(SameRoute.NEVER, NextRoute.YES, route=True),
        OutcomeClass.BLANK: _YES,
        OutcomeClass.UNDELIVERED: _YES,
        OutcomeClass.CUT: Effect(SameRoute.NEVER, NextRoute.NO, route=True),
        OutcomeClass.IGNORED: Effect(SameRoute.NEVER, NextRoute.NO),
        OutcomeClass.LOCAL: Effect(SameRoute.NEVER, NextRoute.YES),
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that did not serve. `detail` is scrubbed; `message` is what a client may read of the upstream's words.

    `retry_after` is seconds from now; `refused` are the capabilities a refusal disproved; `counted` is False where the
    breaker must stay neutral although the class counts (a timeout we cut short); `status` is the upstream's.
    """

    cls: OutcomeClass
    detail: str = ""
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: float | None = None
    gate: GateReason | None = None
    refused: tuple[Word, ...] = ()
    scope: FaultScope = FaultScope.ROUTE
    provider_counts: bool = False
    counted: bool = True
    param: str | None = None

    @property
    def effect(self) -> Effect:
        """The table row of this class."""
        return EFFECTS[self.cls]


@dataclass(frozen=True, slots=True)
class Success:
    """An attempt that served; times in milliseconds, tokens None where the upstream did not say."""

    total_ms: float
    ttft_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An attempt nobody waited for: client gone, shutdown, operator cancel, hedge loser. Neutral."""

    reason: str = "client gone"


Ending = Success | Failure | Abandoned
