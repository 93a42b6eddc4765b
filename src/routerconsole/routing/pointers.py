"""What pools remember between requests: where a sticky one points, whose turn it is, where each session is.

One per engine. A plan only reads it; the cascade tells it which route was asked, and which were left behind for that.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.domain.pool import Strategy
from routerconsole.domain.route import ModelKey, Route

from .state import RefusalKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from routerconsole.domain.registry import Registry

    from .state import Refusal

IDLE_S = 1800.0
"""Seconds after which a session that asked nothing is forgotten (capabilities.md §4)."""
MAX_SESSIONS = 20_000
"""Sessions remembered; of more the one idle longest is forgotten. About 6 MB."""

POINTING = (Strategy.STICK_UNTIL_FAILURE, Strategy.RATE_LIMIT_AWARE, Strategy.ROUND_ROBIN)
"""Strategies whose place can be moved by hand."""

_BY_MEMBER = Strategy.STICK_UNTIL_FAILURE
"""Points at a model, whose accounts go by their own strategy; `rate_limit_aware` points at one account's route."""

_LEAVES = frozenset(
    {
        OutcomeClass.CONNECT,
        OutcomeClass.STALE_CONN,
        OutcomeClass.TIMEOUT_FIRST,
        OutcomeClass.SERVER,
        OutcomeClass.WARMING,
        OutcomeClass.RATE,
        OutcomeClass.QUOTA,
        OutcomeClass.AUTH,
        OutcomeClass.MISSING,
        OutcomeClass.BAD_200,
        OutcomeClass.BLANK,
        OutcomeClass.CUT,
    }
)
"""Failures that are the route's; others are about one request and move nothing."""
_OUTGROWN = frozenset({OutcomeClass.CONTEXT, OutcomeClass.OVERSIZE})
"""A conversation only grows: a session that no longer fits moves for good."""
_OF_THE_MOMENT = frozenset({RefusalKind.BULKHEAD, RefusalKind.DIALECT})
"""Refusals that are no failure of the route: it is full for now, or this one request is not for it."""


class _Kind(Protocol):
    @property
    def kind(self) -> RefusalKind:
        """Which layer says no."""


class Sticky(NamedTuple):
    """Where a pool points; `left` says that this route has failed since, so the next one is to be asked."""

    route: Route
    left: bool = False


class Track(NamedTuple):
    """What a decision hands on for the pool's memory: the route that leads (None: not among the candidates).

    `away`: already when the decision was taken it could not be asked, or stood behind for a reason of its own;
    `strict`: the session may go nowhere else.
    """

    pool: str
    strategy: Strategy
    lead: Route | None
    session: bytes | None = None
    away: bool = False
    strict: bool = False

    def passed(self, behind: bool, refusal: _Kind | None) -> Track:
        """Return the same with what the decision found of the leading route."""
        refused = refusal is not None and refusal.kind not in _OF_THE_MOMENT
        # a session goes before health and limits: where its route stands behind the request is to blame
        return self._replace(away=refused or (behind and self.session is None))


class Pointers:
    """The memory of all pools; bounded by pools, their routes and MAX_SESSIONS."""

    __slots__ = ("_count", "_dirty", "_moved", "_sessions", "_sticky", "_turns")

    def __init__(self) -> None:
        self._sticky: dict[str, Sticky] = {}
        self._turns: dict[str, dict[ModelKey, int]] = {}
        self._count = 0
        self._sessions: OrderedDict[tuple[str, bytes], tuple[Route, float]] = OrderedDict()  # route, last asked
        self._dirty: set[str] = set()
        self._moved: dict[str, Route] = {}  # from where, since last told

    # --- reading ---

    def sticky(self, pool: str) -> Sticky | None:
        """Return where a pool points, None before its first request."""
        return self._sticky.get(pool)

    def turns(self, pool: str) -> Mapping[ModelKey, int]:
        """Return when each member was last asked first, as rising numbers; who is not in it never was."""
        return self._turns.get(pool, {})

    def session(self, pool: str, key: bytes, now: float) -> Route | None:
        """Return where a session is, None after 30 idle minutes."""
        found = self._sessions.get((pool, key))
        return found[0] if found is not None and now - found[1] < IDLE_S else None

    @property
    def sessions(self) -> int:
        """How many sessions are remembered."""
        return len(self._sessions)

    # --- what happened ---

    def asked(
        self,
        track: Track,
        route: Route,
        now: float,
        *,
        first: bool,
        tried: Callable[[], Mapping[Route, Failure]],
        skipped: Mapping[Route, Refusal],
    ) -> None:
        """Note a route that is being asked; what points moves there only if its own route failed or was refused."""
        if track.strategy is Strategy.ROUND_ROBIN:
            if first:  # only the first: else who fails would lead again next time
                self.skip(track.pool, route)
            return
        if track.lead is None:
            return
        leads = route == track.lead or (track.strategy is _BY_MEMBER and _member(route) == _member(track.lead))
        stays = leads or not _left(track, tried, skipped)
        if track.session is not None:
            key = (track.pool, track.session)
            # where nothing is bound yet a request that went elsewhere for reasons of its own binds nothing
            if stays and not leads and key not in self._sessions:
                return
            self._sessions[key] = (track.lead if stays else route, now)
            self._sessions.move_to_end(key)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        elif leads or not stays:
            before = self._sticky.get(track.pool)
            kept = before is not None and not before.left and track.strategy is _BY_MEMBER
            if before is None or not kept or _member(before.route) != _member(route):
                if before is not None and _member(before.route) != _member(route):
                    self._moved.setdefault(track.pool, before.route)
                self._point(track.pool, route)

    def cut(self, pool: str, route: Route) -> None:
        """Note that an answer of a route broke off: a pool that points there goes on to the next."""
        sticky = self._sticky.get(pool)
        if sticky is not None and _member(sticky.route) == _member(route):
            self._sticky[pool] = Sticky(sticky.route, left=True)

    def rotate(self, pool: str, route: Route) -> None:
        """Point a pool at a route: the next request goes there first."""
        self._point(pool, route)

    def skip(self, pool: str, route: Route) -> None:
        """Count a member's turn as had (round_robin)."""
        self._count += 1
        self._turns.setdefault(pool, {})[_member(route)] = self._count

    # --- the registry, and what is kept ---

    def follow(self, registry: Registry, now: float) -> None:
        """Forget pools and members that are gone, pools that changed their strategy, and idle sessions."""
        pools, there = registry.pools, _Known(registry)
        for name, sticky in [*self._sticky.items()]:
            if name not in pools or pools[name].strategy not in POINTING or not there[sticky.route]:
                del self._sticky[name]
                self._dirty.add(name)
        for name in [name for name in self._turns if name not in pools]:
            del self._turns[name]
        for name, turns in self._turns.items():
            for member in turns.keys() - set(pools[name].members):
                del turns[member]
        for session in [session for session, (route, _) in self._sessions.items() if not there[route]]:
            del self._sessions[session]
        self.sweep(now)

    def sweep(self, now: float) -> None:
        """Forget idle sessions; they stand in the order they last asked."""
        while self._sessions:
            key, (_, at) = next(iter(self._sessions.items()))
            if now - at < IDLE_S:
                break
            del self._sessions[key]

    def dirty(self) -> dict[str, dict[str, Any] | None]:
        """Return the pools whose pointer moved since last asked, as JSON-ready records (None: there is none now)."""
        moved, self._dirty = self._dirty, set()
        return {pool: None if pool not in self._sticky else record(self._sticky[pool].route) for pool in moved}

    def moved(self) -> list[tuple[str, Route, Route]]:
        """Return the pools whose traffic took the pointer to another member since last asked: from where, to where."""
        moved, self._moved = self._moved, {}
        now = ((pool, before, self._sticky.get(pool)) for pool, before in moved.items())
        return [
            (pool, before, after.route)
            for pool, before, after in now
            if after is not None and _member(after.route) != _member(before)
        ]

    def restore(self, pool: str, found: Mapping[str, Any]) -> None:
        """Point a pool where it pointed before a restart; raise KeyError or ValueError for no record of ours."""
        provider, account, model = found["provider"], found["account"], found["model"]
        if not (isinstance(provider, str) and isinstance(model, str) and isinstance(account, str | None)):
            raise ValueError("not a route")
        self._sticky.setdefault(pool, Sticky(Route(provider, account, model)))

    def _point(self, pool: str, route: Route) -> None:
        before = self._sticky.get(pool)
        if before is None or before.left or before.route != route:
            self._sticky[pool] = Sticky(route)
            self._dirty.add(pool)


class _Known(dict[Route, bool]):
    """Whether a registry has a route, looked up once each: thousands of sessions share a few routes."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, route: Route) -> bool:
        key = _member(route)
        self[route] = found = key in self._registry.models and route in self._registry.routes(key)
        return found


def _member(route: Route) -> ModelKey:
    return ModelKey(route.provider, route.model)


def record(route: Route) -> dict[str, Any]:
    """Return a route as JSON keeps it."""
    return {"provider": route.provider, "account": route.account, "model": route.model}


def _left(track: Track, tried: Callable[[], Mapping[Route, Failure]], skipped: Mapping[Route, Refusal]) -> bool:
    """Whether the leading route failed in this request by its own fault, or could not be asked."""
    if track.lead is None:
        return False
    if track.away:
        return True
    refusal = skipped.get(track.lead)
    if refusal is not None:
        return refusal.kind not in _OF_THE_MOMENT
    failure = tried().get(track.lead)
    if failure is None or not failure.counted:
        return False
    return failure.cls in _LEAVES or (track.session is not None and failure.cls in _OUTGROWN)
