"""Every pool as operators see it: who can be asked now and why not, in which order, and where it points.

Reads what a plain request would see and changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from routerconsole.control.registry_views import PoolMember, PoolToolView, PoolView
from routerconsole.domain.pool import Pool, Strategy
from routerconsole.domain.registry import NO_LIMITS
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.domain.route import ModelKey, Route
from routerconsole.routing.plan import Plan, plan
from routerconsole.routing.resolution import Resolution, ResolvedKind

from .pool_memory import shown

if TYPE_CHECKING:
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.trace import Candidate
    from routerconsole.routing.order import Means
    from routerconsole.routing.plan import Ranked

    from .service import Service

_POINTS = frozenset({Strategy.STICK_UNTIL_FAILURE, Strategy.RATE_LIMIT_AWARE})
"""Strategies with a place of their own that stays."""
_ALOOF = frozenset({Strategy.LOAD_BALANCED, Strategy.CAPACITY_WEIGHTED, Strategy.SESSION_STICKY})
"""Strategies of which nobody can say whom the next request goes to."""
_PLAIN = tuple(Needs(endpoint) for endpoint in (Endpoint.CHAT, Endpoint.EMBEDDINGS, Endpoint.COMPLETIONS))
SLICE_S = 0.002
"""Longest stretch on the loop."""
BIG = 100
"""Members looked at in one go, of a pool whose order can be put together from parts; measured: 20 µs each."""


class _Pace:
    """Lets others have their turn after each SLICE_S."""

    def __init__(self, service: Service) -> None:
        self._clock = service.clock
        self._began = self._clock.monotonic()

    async def __call__(self) -> None:
        if self._clock.monotonic() - self._began > SLICE_S:
            await asyncio.sleep(0)
            self._began = self._clock.monotonic()


async def pool_views(service: Service) -> tuple[PoolView, ...]:
    """Return every pool, the automatic ones too; other work gets its turn in between."""
    registry, means, pace = service.registry, service.means.peeking(), _Pace(service)
    found: list[PoolView] = []
    for pool in registry.pools.values():
        big = len(pool.members) > BIG and pool.strategy is Strategy.PRIORITY
        decision = (
            await _looked_at_slowly(pool, service, registry, means, pace=pace)
            if big
            else looked_at(pool, service, registry, means)
        )
        found.append(await _view(pool, decision, service, registry, means, pace=pace))
        await pace()
    return tuple(found)


async def _view(
    pool: Pool, decision: Plan, service: Service, registry: Registry, means: Means, *, pace: _Pace
) -> PoolView:
    """Return one pool; its members stand in the order a plain request would ask them."""
    now, board = service.clock.monotonic(), service.board
    members: list[PoolMember] = []
    for position, candidate in enumerate(decision.candidates, 1):
        route = candidate.route
        refusal = board.refusal(route, now)
        reasons = [] if refusal is None else [refusal.text]
        if pool.node is not None and pool.node in board.gap_nodes(route, now):
            reasons.append(f"learned gap: {pool.node}")
        limits = registry.models[ModelKey(route.provider, route.model)].limits
        short = "" if limits == NO_LIMITS else means.meter.short(route, limits, 0, now)
        if short:
            reasons.append(f"limits used up: {short}")
        if board.degraded(route, now):
            reasons.append("degraded: under 50 % success")
        members.append(
            PoolMember(
                provider=route.provider,
                model=route.model,
                admissible=refusal is None,
                reason="; ".join(reasons),
                position=position,
                account=route.account,
            )
        )
        if position % BIG == 0:
            await pace()
    pointer = pointed(pool, decision, service)
    return PoolView(
        id=pool.id,
        description=pool.description,
        node=pool.node,
        strategy=pool.strategy.value,
        automatic=pool.automatic,
        members=tuple(members),
        pointer=shown(pointer),
        routable=sum(member.admissible for member in members),
        total=len(members),
        tool=None if pool.tool is None else PoolToolView(pool.tool.name, pool.tool.args, pool.tool.template),
    )


def looked_at(pool: Pool, service: Service, registry: Registry, means: Means) -> Plan:
    """Return the decision for a request that needs nothing; embeddings are asked of a pool that cannot chat."""
    resolution = _resolution(pool, registry)
    now = service.clock.monotonic()
    decisions = (plan(resolution, needs, registry, service.board, now=now, means=means) for needs in _PLAIN)
    first = next(decisions)
    return first if first.ranked else next((each for each in decisions if each.ranked), first)


async def _looked_at_slowly(pool: Pool, service: Service, registry: Registry, means: Means, *, pace: _Pace) -> Plan:
    """Return the same for a big pool that goes by priority: the places in its order are the same in parts."""
    resolution = _resolution(pool, registry)
    first: Plan | None = None
    for needs in _PLAIN:
        ranked: list[tuple[tuple[float, ...], Ranked]] = []
        dropped: list[Candidate] = []
        before = 0  # routes in the parts so far: what the last place of a sort key counts
        for start in range(0, len(resolution.keys), BIG):
            part = replace(resolution, keys=resolution.keys[start : start + BIG])
            decision = plan(part, needs, registry, service.board, now=service.clock.monotonic(), means=means)
            for item in decision.ranked:
                *places, index = item.candidate.sort_key
                ranked.append(((*places, before + index), item))
            dropped += decision.candidates[len(decision.ranked) :]
            before += len(decision.candidates)
            await pace()
        ranked.sort(key=lambda pair: pair[0])
        found = [item for _, item in ranked]
        whole = Plan(resolution, needs, [*(item.candidate for item in found), *dropped], found, None)
        if found:
            return whole
        first = first or whole
    if first is None:
        raise RuntimeError("there is always a plain request")
    return first


def _resolution(pool: Pool, registry: Registry) -> Resolution:
    members = pool.members if pool.automatic else tuple(sorted(pool.members, key=registry.priority))
    return Resolution(ResolvedKind.POOL, pool.id, members, pool.capability_policy, pool)


def pointed(pool: Pool, decision: Plan, service: Service) -> Route | None:
    """Return where a pool points: its own pointer, or who would be asked first; None where only the dice know."""
    if pool.strategy in _ALOOF:
        return None
    sticky = service.means.pointers.sticky(pool.id) if pool.strategy in _POINTS else None
    routes = [item.route for item in decision.ranked]
    if sticky is not None and not sticky.left and ModelKey(sticky.route.provider, sticky.route.model) in pool.members:
        return sticky.route
    now = service.clock.monotonic()
    return next((route for route in routes if service.board.refusal(route, now) is None), None)
