"""The decision before anything is sent: candidates, why each is in or out, their order (routing.md §2, steps 4 to 11).

`explain` prints exactly this; the cascade then walks it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from routerconsole.domain.capability import Word
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.pool import Strategy
from routerconsole.domain.registry import NO_LIMITS, AccountStrategy
from routerconsole.domain.trace import Candidate, Decision

from . import gate
from .nobody import nobody, too_expensive, too_long
from .order import Order, Speeds, arrange

if TYPE_CHECKING:
    from collections.abc import Collection

    from routerconsole.domain.registry import Limits, Model, Provider, Registry
    from routerconsole.domain.request import Needs
    from routerconsole.domain.route import ModelKey, Route

    from .limits import Meter
    from .order import Means
    from .pointers import Track
    from .resolution import Resolution
    from .spending import Books
    from .state import RefusalKind

SortKey = tuple[float, ...]


class Refusal(Protocol):
    """Why a route cannot be asked right now, in words with live numbers."""

    @property
    def text(self) -> str:
        """The reason as shown."""

    @property
    def kind(self) -> RefusalKind:
        """Which layer says no."""

    @property
    def gated(self) -> bool:
        """Whether only a waiting period is in the way."""


class RouteFacts(Speeds, Protocol):
    """What the plan reads of the board; all of it is read-only."""

    def refusal(self, route: Route, now: float) -> Refusal | None:
        """Return the first reason a route is not admissible now."""

    def gap_nodes(self, route: Route, now: float) -> Collection[str]:
        """Return the capability nodes this route was learned to lack."""

    def too_big(self, route: Route, size: int) -> bool:
        """Say whether a body of `size` bytes is at or over the route's watermark."""

    def degraded(self, route: Route, now: float) -> bool:
        """Say whether success is under 50 % over at least 5 samples in the window."""


class Ranked(NamedTuple):
    """An eligible candidate in its place."""

    route: Route
    model: Model
    provider: Provider
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Plan:
    """All candidates in shown order, the eligible ones ranked, and the error to give when there are none."""

    resolution: Resolution
    needs: Needs
    candidates: list[Candidate]
    ranked: list[Ranked]
    error: RoutingFailed | None = None
    because: tuple[str, ...] = ()
    """How the name was found, and why it is not the one that was asked for that leads."""
    fell_back: bool = False
    """Whether another model than the profile's own leads."""
    track: Track | None = None
    """What the pool's memory is told of the routes asked; None where its strategy remembers nothing."""


class AccountTurns:
    """Whose turn it is among the accounts of a provider: the one asked longest ago. One per engine."""

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[tuple[str, str | None], int] = {}

    def order(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Return one model's routes by turn; accounts never asked come first, as configured."""
        return tuple(sorted(routes, key=lambda route: self._last.get((route.provider, route.account), 0)))

    def asked(self, route: Route) -> None:
        """Note that a route's account is being asked."""
        if route.account is not None:
            self._count += 1
            self._last[(route.provider, route.account)] = self._count


def plan(
    resolution: Resolution,
    needs: Needs,
    registry: Registry,
    board: RouteFacts,
    *,
    now: float,
    turns: AccountTurns | None = None,
    means: Means | None = None,
    session: str | None = None,
    stream: bool = False,
) -> Plan:
    """Decide who may serve a request and in which order; `turns` and `means` are only read (but for its dice).

    Without `means` nobody's limits are known and pools go by priority, as they do by default.
    """
    explicit = None if resolution.profile is None else resolution.profile.model
    if explicit is not None and needs.tags:
        needs = replace(needs, tags=())  # they chose the profile; what it stands for keeps its order
    meter = None if means is None else means.meter
    books = None if means is None else means.books
    kept, dropped, lacking, over = _sifted(
        resolution, needs, registry, board, now=now, turns=turns, meter=meter, books=books
    )  # 4-8, 10
    pool, track = resolution.pool, None
    if pool is not None and means is not None and pool.strategy is not Strategy.PRIORITY and kept:  # 9
        items = [item for _, item in kept]
        order = arrange(pool, items, means, board, now=now, first=resolution.keys[0], session=session, stream=stream)
        kept, track = _reordered(kept, order, dropped), order.track
        if track is not None and track.lead is not None:
            track = track.passed(_passed(track.lead, kept), board.refusal(track.lead, now))
    kept.sort(key=_by_key)  # 11
    ranked = [item for _, item in kept]
    if explicit is not None:
        ranked = _meeting(ranked, explicit, dropped)
    candidates = [item.candidate for item in ranked] + dropped
    error: RoutingFailed | None = None
    if not ranked and over:
        error = too_expensive(resolution, dropped)
    elif not ranked:
        error = nobody(resolution, needs, dropped, tuple(lacking), configured=bool(registry.providers))
    elif all(too_small(item.candidate) for item in ranked):
        error = too_long(((item.route, item.model) for item in ranked), needs)
        for item in ranked:  # nobody is asked, and the error lists them as every other one does
            item.candidate.decision = Decision.SKIPPED
    return Plan(resolution, needs, candidates, ranked, error, track=track)


def _sifted(
    resolution: Resolution,
    needs: Needs,
    registry: Registry,
    board: RouteFacts,
    *,
    now: float,
    turns: AccountTurns | None,
    meter: Meter | None,
    books: Books | None,
) -> tuple[list[tuple[SortKey, Ranked]], list[Candidate], dict[str, None], bool]:
    """Return the routes that stay with their sort keys, those dropped, what these lack, and if it was for money."""
    policy = resolution.capability_policy or registry.policy.capability_policy
    words = gate.asked(needs)
    wanted = "stream" if Word.STREAMING in needs.needed else "sync"
    explicit = None if resolution.profile is None else resolution.profile.model
    shelf = _SHELF.of(registry)
    dropped: list[Candidate] = []
    kept: list[tuple[SortKey, Ranked]] = []
    lacking: dict[str, None] = {}
    index, over = 0, False
    for key in resolution.keys:  # 4
        item = shelf.get(key) or _stock(shelf, key, registry)
        for route in item.routes if turns is None or not item.rotates else turns.order(item.routes):
            index += 1
            if needs.endpoint not in item.offer.serves:  # 5
                dropped.append(Candidate(route, Decision.DROPPED, [f"does not serve {needs.endpoint}"]))
                continue
            if wanted not in item.model.delivery:
                told = f"delivery: {', '.join(item.model.delivery)}, not {wanted}"
                dropped.append(Candidate(route, Decision.DROPPED, [told]))
                continue
            gaps = board.gap_nodes(route, now)
            asked = resolution.requirements.get(key)
            if needs.required or asked is not None:  # 6
                unmet = gate.unmet(item.offer, needs.required, gaps=gaps)
                if asked is not None:
                    unmet += gate.short_of(item.offer, asked, gaps=gaps)
                if unmet:
                    reasons = list(dict.fromkeys(reason for _, reason in unmet))
                    dropped.append(Candidate(route, Decision.DROPPED, reasons))
                    lacking.update((word, None) for word, _ in unmet)
                    continue
            verdict = gate.judge(item.offer, words, policy, gaps=gaps)  # 7
            if verdict.dropped_for:
                dropped.append(Candidate(route, Decision.DROPPED, list(verdict.reasons)))
                lacking.update(dict.fromkeys(verdict.dropped_for))
                continue
            dear = "" if books is None else books.objection(item.model, item.provider, needs)  # 8
            if dear:
                dropped.append(Candidate(route, Decision.DROPPED, [dear]))
                over = True
                continue
            chosen = key == explicit
            placed = _place(
                item, route, needs, verdict=verdict, board=board, meter=meter, now=now, index=index, chosen=chosen
            )  # 8, 10
            kept.append(placed)
    return kept, dropped, lacking, over


class _Item(NamedTuple):
    """What is the same for a model in every plan made on one registry."""

    model: Model
    provider: Provider
    routes: tuple[Route, ...]
    offer: gate.Offer
    rotates: bool
    limits: Limits | None


class _Shelf:
    """The items of the registry last planned on; a registry never changes, so they hold as long as it does."""

    __slots__ = ("_items", "_registry")

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._items: dict[ModelKey, _Item] = {}

    def of(self, registry: Registry) -> dict[ModelKey, _Item]:
        """Return the items of a registry, to be filled as they are asked for."""
        if self._registry is not registry:
            self._registry, self._items = registry, {}
        return self._items


_SHELF = _Shelf()


def _stock(shelf: dict[ModelKey, _Item], key: ModelKey, registry: Registry) -> _Item:
    model, provider, routes = registry.models[key], registry.providers[key.provider], registry.routes(key)
    rotates = len(routes) > 1 and provider.account_strategy is AccountStrategy.ROUND_ROBIN
    limits = None if model.limits == NO_LIMITS else model.limits
    item = shelf[key] = _Item(model, provider, routes, gate.offer(model, provider.kind), rotates, limits)
    return item


_FITS, _CONTEXT_UNKNOWN, _TOO_SMALL = 0, 1, 2
_CONTEXT = -6
"""The place of the context in the sort key, from its end: a waterfall's tiers stand in front."""
_CLASS, _AFFINITY = 0, 2
_OWN = slice(-4, -1)
"""What puts a route behind whatever the request: health, limits, gate."""


def too_small(candidate: Candidate) -> bool:
    """Say whether a candidate's context is known to be too small for the request."""
    return candidate.sort_key[_CONTEXT] == _TOO_SMALL


def unbeatable(key: SortKey, *, windows: bool) -> bool:
    """Say whether no candidate that comes later can stand before one, preferred tags aside.

    `key` is without its place; `windows` says whether the context window of any later one is known.
    """
    unknown = not windows and key[_CONTEXT + 1] == _CONTEXT_UNKNOWN
    return not any(value for place, value in enumerate(key, start=-len(key)) if not (unknown and place == _CONTEXT + 1))


def _by_key(item: tuple[SortKey, Ranked]) -> SortKey:
    return item[0]


def _place(
    item: _Item,
    route: Route,
    needs: Needs,
    *,
    verdict: gate.GateVerdict,
    board: RouteFacts,
    meter: Meter | None,
    now: float,
    index: int,
    chosen: bool = False,
) -> tuple[SortKey, Ranked]:
    """Build the sort key of routing.md §2.11 and the words that explain it.

    What was `chosen` by name is not put behind for a context window nobody knows.
    """
    model = item.model
    reasons = list(verdict.reasons)
    decision = Decision.DEMOTED if verdict.cls is gate.CapabilityClass.NO else Decision.ELIGIBLE
    window = model.context_window
    unknown = _FITS if chosen else _CONTEXT_UNKNOWN
    context = unknown if not window else _FITS if needs.estimate_tokens <= window else _TOO_SMALL
    if context == _TOO_SMALL:
        reasons.append(f"context {window} < {needs.estimate_tokens} tokens")
        decision = Decision.DEMOTED
    too_big = board.too_big(route, needs.size)
    if too_big:
        reasons.append(f"refused bodies of this size ({needs.size} bytes)")
        decision = Decision.DEMOTED
    degraded = board.degraded(route, now)
    if degraded:
        reasons.append("degraded: under 50 % success")
        decision = Decision.DEMOTED
    short = ""
    if meter is not None and item.limits is not None:
        short = meter.short(route, item.limits, needs.estimate_tokens, now)
        if short:
            reasons.append(f"limits used up: {short}")
            decision = Decision.DEMOTED
    refusal = board.refusal(route, now)
    gated = False
    if refusal is not None:
        reasons.append(refusal.text)
        decision = Decision.SKIPPED
        gated = refusal.gated
    matched = sum(tag in model.tags for tag in needs.tags) if needs.tags else 0
    # the session's affinity and the index are those of `priority`; other strategies put theirs in
    key = (int(verdict.cls), -matched, 0, context, int(too_big), int(degraded), int(bool(short)), int(gated), index)
    return key, Ranked(route, model, item.provider, Candidate(route, decision, reasons, key))


def _meeting(ranked: list[Ranked], explicit: ModelKey, dropped: list[Candidate]) -> list[Ranked]:
    """Drop what does not meet the need from a profile's chain while something in it that can be asked does.

    That is what is too small, and the profile's own model where a fallback is known to have what it is not known to.
    """
    asked = [item for item in ranked if item.candidate.decision is not Decision.SKIPPED]
    best = min((item.candidate.sort_key[_CLASS] for item in asked), default=gate.CapabilityClass.NO)
    fits = any(item.candidate.sort_key[_CONTEXT] != _TOO_SMALL for item in ranked)
    met: list[Ranked] = []
    for item in ranked:
        candidate = item.candidate
        lacking = item.model.key == explicit and candidate.sort_key[_CLASS] > best
        if lacking or (fits and candidate.sort_key[_CONTEXT] == _TOO_SMALL):
            candidate.decision, candidate.sort_key = Decision.DROPPED, ()
            dropped.append(candidate)
        else:
            met.append(item)
    return met


def _reordered(
    kept: list[tuple[SortKey, Ranked]], order: Order, dropped: list[Candidate]
) -> list[tuple[SortKey, Ranked]]:
    """Put a strategy's indexes, session and tiers into the keys; a strict session's others are dropped."""
    found: list[tuple[SortKey, Ranked]] = []
    for at, (before, item) in enumerate(kept):
        candidate = item.candidate
        if order.alone and at != order.held:
            candidate.decision = Decision.DROPPED
            candidate.reasons.append("this session is bound to another route (session_mode: strict)")
            candidate.sort_key = ()
            dropped.append(candidate)
            continue
        if order.words[at]:
            candidate.reasons.append(order.words[at])
        affinity = before[_AFFINITY] if order.held is None else int(at != order.held)
        key = (*before[:_AFFINITY], affinity, *before[_AFFINITY + 1 : -1], order.places[at])
        candidate.sort_key = key if order.tiers is None else (order.tiers[at], *key)
        found.append((candidate.sort_key, item))
    return found


def _passed(lead: Route, kept: list[tuple[SortKey, Ranked]]) -> bool:
    """Whether the leading route stands behind for a reason of its own: degraded, limits used up or gated."""
    return any(any(key[_OWN]) for key, item in kept if item.route == lead)
