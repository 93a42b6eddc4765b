"""`rotate`: moves a pool's pointer to the next member that can be asked, and refuses where that would strand it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routerconsole.control.port import ControlError
from routerconsole.domain.pool import Pool, Strategy
from routerconsole.domain.route import ModelKey, Route
from routerconsole.routing.nobody import listed
from routerconsole.routing.pointers import POINTING, record
from routerconsole.storage.state import Record

from .pool_memory import POINTER, shown
from .pool_views import looked_at, pointed

if TYPE_CHECKING:
    from .service import Service


@dataclass(frozen=True, slots=True)
class Rotation:
    """A move that was found possible: from where (None: nowhere yet) to where, and what is kept of it."""

    pool: Pool
    before: Route | None
    after: Route
    records: tuple[Record, ...]

    @property
    def told(self) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """The pointer before and after, as shown."""
        return {"pointer": shown(self.before)}, {"pointer": shown(self.after)}


def rotation(name: str, service: Service) -> Rotation:
    """Work out where a pool's pointer goes next, changing nothing; raise ControlError 404 or 409."""
    registry = service.registry
    pool = next((each for each in registry.pools.values() if each.id.casefold() == name.casefold()), None)
    if pool is None:
        known = ", ".join(sorted(registry.pools)) or "none"
        raise ControlError("not_found", f"Pool {name!r} not found; there are: {known}.", status=404)
    if pool.strategy not in POINTING:
        movable = ", ".join(POINTING)
        raise _refused(f"Pool {pool.id!r} goes by {pool.strategy}, which has no pointer to move; {movable} have one.")
    if len(pool.members) < 2:
        raise _refused(f"Pool {pool.id!r} has {len(pool.members) or 'no'} member; there is none to move on to.")
    decision = looked_at(pool, service, registry, service.means.peeking())
    now = service.clock.monotonic()
    before = pointed(pool, decision, service)
    others = [item.route for item in decision.ranked if before is None or item.model.key != _member(before)]
    ready = [route for route in others if service.board.refusal(route, now) is None]
    if not ready:
        away = ((route, refusal.text) for route in others if (refusal := service.board.refusal(route, now)))
        raise _refused(f"No other member of pool {pool.id!r} can be asked now. {listed(away)}")
    after = ready[0]
    kept = () if pool.strategy is Strategy.ROUND_ROBIN else (Record((pool.id,), POINTER, record(after)),)
    return Rotation(pool, before, after, kept)


def rotate(found: Rotation, service: Service) -> None:
    """Carry it out."""
    pointers = service.means.pointers
    if found.pool.strategy is not Strategy.ROUND_ROBIN:
        pointers.rotate(found.pool.id, found.after)
    elif found.before is not None:
        pointers.skip(found.pool.id, found.before)


def _member(route: Route) -> ModelKey:
    return ModelKey(route.provider, route.model)


def _refused(why: str) -> ControlError:
    return ControlError("conflict", why, status=409)
