"""What commands would have meant for the last requests: each is planned anew as things are and as they would be.

No provider is called, nothing is changed, and the loop is given back every few milliseconds. Both plans see the present
health, limits and pointers, so that only the change makes a difference.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, get_args

from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import RegistryCommand
from routerconsole.control.registry_views import Impact, Move, PoolShift
from routerconsole.domain.assemble import pool_changes
from routerconsole.domain.capability import NODE_OF, Source, Word
from routerconsole.domain.errors import RouterError
from routerconsole.domain.pool import Strategy
from routerconsole.domain.request import Needs
from routerconsole.domain.route import ModelKey
from routerconsole.domain.trace import Decision
from routerconsole.routing.board import UnknownTarget
from routerconsole.routing.plan import SortKey, too_small, unbeatable
from routerconsole.routing.resolve import resolve
from routerconsole.routing.state import Refusal, RefusalKind

from .engine import Asked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from routerconsole.control.commands import Command
    from routerconsole.domain.capability import Layer
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Trace
    from routerconsole.routing.board import Board
    from routerconsole.routing.resolution import Resolution
    from routerconsole.routing.stats import Pace

    from .engine import Facts
    from .service import Service

REPLAYED = 500
"""Requests looked at, the newest."""
BATCH = 25
"""Requests planned in one world before the other has its turn."""
FIRST, PART = 20, 160
"""Models planned in one go: few at first, as the first are mostly the best, then twice as many until so many."""
SLICE_S = 0.005
"""Planning goes on for so long before requests get their turn."""
BUDGET_S = 3.0
"""Planning in all: where pools have thousands of members fewer requests are replayed."""
SHOWN = 20
"""Models of a pool and moves that are named."""
_OFF = Refusal(RefusalKind.DISABLED, "admin_disabled: the model is switched off in the registry")


async def impact(service: Service, commands: Sequence[Command]) -> Impact:
    """Return what commands, one after the other, would change; raise ControlError where one would be refused."""
    wanted: list[RegistryCommand] = []
    for command in commands:
        if not isinstance(command, get_args(RegistryCommand)):
            raise ControlError("invalid_request", f"`{command.name}` has no preview; only registry changes have one.")
        wanted.append(command)
    before = service.registry
    after, forgotten = await service.editor.ahead(wanted)
    traces = list(islice(service.recorder.finished(), REPLAYED))
    ahead = _Ahead(service.board, before, after, forgotten)
    worlds = (_World(service, before, service.board), _World(service, after, ahead))
    changed = _changed(before, after).union(key for key, _ in forgotten)
    found = await _count(service, traces, worlds, changed)
    shifts = pool_changes(before, after)
    moves = sorted(found.moves.items(), key=lambda item: -len(item[1]))
    return Impact(
        replayed=found.replayed,
        recorded=len(traces),
        elsewhere=sum(map(len, found.moves.values())),
        unserved=sum(len(ids) for (_, then), ids in found.moves.items() if then is None),
        served=sum(len(ids) for (now, _), ids in found.moves.items() if now is None),
        moves=tuple(Move(_name(now), _name(then), len(ids), ids[0]) for (now, then), ids in moves[:SHOWN]),
        pools=tuple(PoolShift(pool, _names(gained), _names(lost)) for pool, (gained, lost) in shifts.items()),
    )


class _Question(NamedTuple):
    """All that decides about a request beside registry and board; equal ones are planned once."""

    asked: Asked
    needs: Needs


class _Spent(Exception):
    """The budget is used up."""


class _Pauses:
    """Gives the loop back after each slice; raises where the budget is used up."""

    def __init__(self, service: Service) -> None:
        self._clock = service.clock
        self._since, self._used = self._clock.monotonic(), 0.0

    async def take(self) -> None:
        """Let requests have their turn where a slice is over; raise _Spent once the budget is."""
        spent = self._clock.monotonic() - self._since
        if spent >= SLICE_S:
            self._used += spent
            await asyncio.sleep(0)
            self._since = self._clock.monotonic()
        if self._used >= BUDGET_S:
            raise _Spent


@dataclass(slots=True)
class _Count:
    """Requests by who leads now and who would, None where nobody does."""

    replayed: int = 0
    moves: dict[tuple[ModelKey | None, ModelKey | None], list[str]] = field(default_factory=dict)

    def add(self, request_id: str, now: ModelKey | None, then: ModelKey | None) -> None:
        """Count one request; the newest come first."""
        self.replayed += 1
        if now != then:
            self.moves.setdefault((now, then), []).append(request_id)


async def _count(
    service: Service, traces: Sequence[Trace], worlds: tuple[_World, _World], changed: frozenset[ModelKey]
) -> _Count:
    """Plan requests in both worlds, batch by batch: what plans share is kept for one registry at a time."""
    found, pauses = _Count(), _Pauses(service)
    for start in range(0, len(traces), BATCH):
        batch = traces[start : start + BATCH]
        try:
            now = [await worlds[0].lead(_question(trace), pauses) for trace in batch]
            then = [
                lead
                if worlds[1].means_the_same(_question(trace), worlds[0], changed)
                else await worlds[1].lead(_question(trace), pauses)
                for trace, lead in zip(batch, now, strict=True)
            ]
        except _Spent:
            break  # a batch that was not planned in both does not count
        for trace, first, second in zip(batch, now, then, strict=True):
            found.add(trace.id, first, second)
    return found


def _changed(before: Registry, after: Registry) -> frozenset[ModelKey]:
    """Return the models that are there in one of two registries only, or are not the same in both."""
    return frozenset(
        model.key
        for one, other in ((before, after), (after, before))
        for name, provider in one.providers.items()
        if other.providers.get(name) is not provider
        for model in provider.models
        if other.models.get(model.key) != model
    )


def _question(trace: Trace) -> _Question:
    needs = Needs(
        trace.endpoint,
        needed=tuple(map(Word, trace.needed)),
        forced=tuple(map(Word, trace.forced)),
        estimate_tokens=trace.estimate_tokens,
        size=trace.size,
        required=trace.required,
        tags=trace.tags,
    )
    return _Question(Asked(trace.model, trace.agent, trace.tags, trace.session, trace.stream), needs)


class _World:
    """A registry with the board as it stands to it, and who leads there."""

    def __init__(self, service: Service, registry: Registry, board: Facts) -> None:
        self.registry = registry
        self._chat, self._board = service.chat, board
        self._now = service.clock.monotonic()
        self._known: dict[_Question, ModelKey | None] = {}
        self._meant: dict[Asked, Resolution | None] = {}
        self._windows: dict[int, tuple[Sequence[ModelKey], int]] = {}

    def meaning(self, asked: Asked) -> Resolution | None:
        """Return what a request's name means, None where it means nothing here."""
        if asked not in self._meant:
            try:
                self._meant[asked] = resolve(
                    asked.model, self.registry, agent=asked.agent, tags=asked.tags, enabled=self._board.enabled
                )
            except RouterError:
                self._meant[asked] = None
        return self._meant[asked]

    def means_the_same(self, question: _Question, other: _World, changed: frozenset[ModelKey]) -> bool:
        """Say whether a request finds the same models unchanged in another world: then the same one leads."""
        here, there = self.meaning(question.asked), other.meaning(question.asked)
        if here is None or there is None:
            return here is there
        same = here.keys == there.keys and here.kind is there.kind and here.profile == there.profile
        return same and not here.otherwise and not any(key in changed for key in here.keys)

    async def lead(self, question: _Question, pauses: _Pauses) -> ModelKey | None:
        """Return the model a request would be sent to first, None where nobody could be asked."""
        if question not in self._known:
            meant = self.meaning(question.asked)
            if meant is None:
                self._known[question] = None
            elif meant.profile is None and (meant.pool is None or meant.pool.strategy is Strategy.PRIORITY):
                self._known[question] = await self._by_parts(meant, question, pauses)
            else:
                self._known[question] = self._whole(question)
            await pauses.take()
        return self._known[question]

    async def _by_parts(self, meant: Resolution, question: _Question, pauses: _Pauses) -> ModelKey | None:
        """Plan some models at a time, as nobody's place depends on the others, until nobody left can be better."""
        best: tuple[SortKey, ModelKey] | None = None
        fits = False
        end = 0
        while end < len(meant.keys):
            start, end = end, end + min(PART, max(FIRST, end))
            part = replace(meant, keys=meant.keys[start:end])
            ranked = self._chat.planned(
                part,
                *question,
                self.registry,
                self._board,
                now=self._now,
                means=self._chat.means,
            ).ranked
            fits = fits or any(not too_small(item.candidate) for item in ranked)
            leading = next((item for item in ranked if item.candidate.decision is not Decision.SKIPPED), None)
            if leading is not None:
                found = (
                    leading.candidate.sort_key[:-1],
                    leading.model.key,
                )  # the last says where it stands in its part
                best = found if best is None or found[0] < best[0] else best
            known = end < self._known_windows(meant.keys)
            if best is not None and fits and not question.needs.tags and unbeatable(best[0], windows=known):
                break
            await pauses.take()
        return best[1] if best is not None and fits else None

    def _known_windows(self, keys: Sequence[ModelKey]) -> int:
        """Return after how many of the models nobody's context window is known any more."""
        if id(keys) not in self._windows:
            models = self.registry.models
            places = (place for place in range(len(keys), 0, -1) if models[keys[place - 1]].context_window)
            self._windows[id(keys)] = (keys, next(places, 0))  # the keys too: they must stay what the id means
        return self._windows[id(keys)][1]

    def _whole(self, question: _Question) -> ModelKey | None:
        """Plan at once where places depend on each other."""
        try:
            means = self._chat.means.peeking()  # the same dice fall in both worlds
            decision = self._chat.replanned(*question, self.registry, self._board, now=self._now, means=means)
        except RouterError:
            return None
        if decision.error is not None:
            return None
        admissible = (item for item in decision.ranked if item.candidate.decision is not Decision.SKIPPED)
        leading = next(admissible, None)
        return None if leading is None else leading.model.key


class _Ahead:
    """The board as it would stand to another registry: models switched on and off, gaps an operator overrules."""

    def __init__(
        self, board: Board, before: Registry, after: Registry, forgotten: frozenset[tuple[ModelKey, str]]
    ) -> None:
        self._board, self._before, self._after, self._forgotten = board, before, after, forgotten

    def refusal(self, route: Route, now: float) -> Refusal | None:
        """Return why a route would not be admissible."""
        key = ModelKey(route.provider, route.model)
        was, will = self._before.models.get(key), self._after.models.get(key)
        if will is not None and not will.enabled:
            return _OFF
        if will is not None and (was is None or not was.enabled):
            return None if self._board.enabled(route.provider) else _OFF
        return self._board.refusal(route, now)

    def gap_nodes(self, route: Route, now: float) -> Collection[str]:
        """Return the nodes a route is learned to lack, but for those forgotten or spoken of anew."""
        key = ModelKey(route.provider, route.model)
        was, will = self._before.models.get(key), self._after.models.get(key)
        said = {} if was is None or will is None or was is will else _said_anew(was.layers, will.layers)
        gaps = self._board.gap_nodes(route, now)
        if not said and not self._forgotten:
            return gaps
        learned = {NODE_OF[word] for word, _, _ in self._board.lessons(route, now)}
        back = {node for node, speaks in said.items() if not speaks and node in learned}
        return [
            node for node in dict.fromkeys((*gaps, *back)) if not said.get(node) and (key, node) not in self._forgotten
        ]

    def too_big(self, route: Route, size: int) -> bool:
        """See RouteFacts."""
        return self._board.too_big(route, size)

    def degraded(self, route: Route, now: float) -> bool:
        """See RouteFacts."""
        return self._board.degraded(route, now)

    def pace(self, route: Route, *, stream: bool) -> Pace:
        """See Speeds."""
        return self._board.pace(route, stream=stream)

    def in_flight(self, target: Route | str) -> int:
        """Return how many attempts are under way, none at what is not there yet."""
        try:
            return self._board.in_flight(target)
        except UnknownTarget:
            return 0

    def enabled(self, target: Route | str) -> bool:
        """Say whether a provider or route would not be disabled."""
        if isinstance(target, str):
            return self._board.enabled(target)
        model = self._after.models.get(ModelKey(target.provider, target.model))
        if model is None or not model.enabled:
            return False
        was = self._before.models.get(model.key)
        return self._board.enabled(target.provider if was is None or not was.enabled else target)


def _said_anew(before: Mapping[str, tuple[Layer, ...]], after: Mapping[str, tuple[Layer, ...]]) -> dict[str, bool]:
    """Return the nodes of which the operator says something else than before, and whether they say anything."""
    was, will = _said(before), _said(after)
    return {node: node in will for node in (*was, *will) if was.get(node) != will.get(node)}


def _said(layers: Mapping[str, tuple[Layer, ...]]) -> dict[str, Layer]:
    return {node: layer for node, each in layers.items() for layer in each if layer.source is Source.OPERATOR}


def _names(keys: Sequence[ModelKey]) -> tuple[str, ...]:
    return tuple(f"{key.provider}/{key.model}" for key in keys[:SHOWN])


def _name(key: ModelKey | None) -> str | None:
    return None if key is None else f"{key.provider}/{key.model}"
