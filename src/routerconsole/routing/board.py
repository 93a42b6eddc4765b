"""The board: live state of every route and provider, the one door through which attempts are admitted and settled.

Routes come only from the registry, so nothing here grows with traffic. Times are monotonic seconds.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from routerconsole.domain.route import ModelKey, Route

from . import effects, lessons, roster, saved, verbs
from .admin import AdminMode
from .breaker import CircuitState
from .health import WELL
from .state import (
    FaultKind,
    Journal,
    LastError,
    Lease,
    Node,
    ProviderNode,
    Refusal,
    RefusalKind,
    RouteNode,
    Target,
    cools,
    refuse,
    shown_gate,
)
from .stats import Paces
from .words import shown_word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from random import Random

    from routerconsole.domain.capability import Word
    from routerconsole.domain.events import Fact
    from routerconsole.domain.outcome import Ending, GateReason
    from routerconsole.domain.registry import Registry

    from .health import HealthWord
    from .learned import Gap
    from .stats import Pace, Stats

__all__ = ["Board", "Lease", "Refusal", "RefusalKind", "UnknownTarget"]


UNWELL_PER_TICK = 200
"""How many unwell nodes one tick looks at again, so that it never holds the loop for long."""


class UnknownTarget(KeyError):
    """No provider or route of exactly this name."""


class Board:
    """State of all routes. `rng` only jitters open periods and gates."""

    __slots__ = ("_heeded", "_journal", "_providers", "_rng", "_routes")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._providers: dict[str, ProviderNode] = {}
        self._routes: dict[Route, RouteNode] = {}
        self._journal = Journal()
        self._heeded: lessons.Said = {}

    # --- the registry ---

    def configure(self, registry: Registry, now: float) -> list[Fact]:
        """Follow a registry: what still exists keeps its state; a changed key or origin cures configuration faults."""
        self._providers, self._routes, changed = roster.follow(registry, self._providers, self._routes)
        self._journal.keep_only(set(self._nodes()))
        for owner in changed:
            self._observe(owner, now)
        return self._journal.take()

    # --- the data path ---

    def refusal(self, route: Route, now: float) -> Refusal | None:
        """Return the first reason why a route may not be asked now, or None; changes nothing."""
        node = self._routes.get(route)
        return _UNKNOWN if node is None else refuse(node, now)

    def admit(
        self,
        route: Route,
        now: float,
        *,
        deadline: float,
        sole: bool = False,
        size: int = 0,
        forced: tuple[Word, ...] = (),
        last_resort: bool = False,
    ) -> Lease | Refusal:
        """Take the bulkhead slot and any probe leases in one step, or say why not.

        `deadline` is the attempt's absolute end, `size` the body's bytes, `forced` the capabilities the request forces;
        `sole` says nothing else in the pool is admissible; `last_resort` passes the gates, once per gated period.
        What happened on the way in (a circuit went half-open) is told by the next settle, commit or tick.
        """
        node = self._routes.get(route)
        if node is None:
            return _UNKNOWN
        cooling = last_resort and cools(node, now)
        refusal = refuse(node, now, cooling=cooling)
        if refusal is not None:
            return refusal
        lease = Lease(node, now=now, deadline=deadline, sole=sole, size=size)
        lease.forced = forced
        if not effects.enter(lease, now, self._rng, self._journal):
            return refuse(node, now, cooling=cooling) or _UNKNOWN
        if cooling:
            node.gates.cooled = node.account.gates.cooled = True
        return lease

    def commit(self, lease: Lease, now: float) -> list[Fact]:
        """Credit a stream at its first content; its settlement is still owed."""
        effects.commit(lease, now, self._journal)
        return self._journal.take()

    def settle(self, lease: Lease, ending: Ending, now: float, *, sole: bool | None = None) -> list[Fact]:
        """Give a lease back with its ending and carry out the consequences; a second settlement changes nothing."""
        alone = lease.sole if sole is None else sole
        effects.settle(lease, ending, sole=alone, now=now, rng=self._rng, journal=self._journal)
        return self._journal.take()

    def tick(self, now: float) -> list[Fact]:
        """End what has run out (gates, isolation, `missing`) and notice health that healed with time."""
        journal = self._journal
        for node in list(journal.timed):
            if not effects.sweep(node, now, journal):
                del journal.timed[node]
        for target in list(islice(journal.unwell, UNWELL_PER_TICK)):
            del journal.unwell[target]  # to the back of the queue, unless it is well by now
            word = effects.word_of(target, now)
            if word not in WELL:
                journal.unwell[target] = None
            effects.publish(target, word, journal)
        return journal.take()

    # --- operator verbs; `model` None is the provider itself, else every account's route to exactly that model ---

    def enable(self, provider: str, model: str | None, now: float, *, dry_run: bool = False) -> verbs.Changed:
        """Take requests again; raise UnknownTarget."""
        return self._do(provider, model, verbs.enable, now=now, dry_run=dry_run)

    def disable(self, provider: str, model: str | None, now: float, *, dry_run: bool = False) -> verbs.Changed:
        """Take no new requests, remembered over restarts; raise UnknownTarget."""
        return self._do(provider, model, verbs.disable, now=now, dry_run=dry_run)

    def drain(self, provider: str, model: str | None, now: float, *, dry_run: bool = False) -> verbs.Changed:
        """Take no new requests until enabled or restarted; raise UnknownTarget."""
        return self._do(provider, model, verbs.drain, now=now, dry_run=dry_run)

    def isolate(
        self, provider: str, model: str | None, now: float, *, ttl: float, dry_run: bool = False
    ) -> verbs.Changed:
        """Take it out for `ttl` seconds; raise UnknownTarget."""
        return self._do(provider, model, verbs.isolate(ttl), now=now, dry_run=dry_run)

    def force_close(
        self, provider: str, model: str | None, now: float, *, ttl: float, dry_run: bool = False
    ) -> verbs.Changed:
        """Admit whatever the breakers say for `ttl` seconds; raise UnknownTarget."""
        return self._do(provider, model, verbs.force_close(ttl), now=now, dry_run=dry_run)

    def reset(
        self, provider: str, model: str | None, now: float, *, gates: bool = False, dry_run: bool = False
    ) -> verbs.Changed:
        """Close circuits and clear faults, and gates if asked; raise UnknownTarget."""
        return self._do(provider, model, verbs.reset(gates=gates), now=now, dry_run=dry_run)

    # --- what checks and listings say ---

    def probe_result(self, provider: str, ok: bool, now: float) -> list[Fact]:
        """Take a reachability probe's result; a good one cures auth faults and lets a circuit be probed early.

        Only a circuit that opened for lack of connection: that `/models` answers says nothing about a chat's 500.
        """
        owner = self._providers.get(provider)
        if owner is None or not ok:
            return []
        effects.reached(owner, now, self._journal)
        self._observe(owner, now)
        return self._journal.take()

    def discovered(self, provider: str, models: Collection[str], now: float) -> list[Fact]:
        """Take a listing: models it shows are not missing."""
        owner = self._providers.get(provider)
        if owner is None:
            return []
        for node in owner.routes.values():
            if node.route.model in models and node.fault is not None and node.fault.kind is FaultKind.MISSING:
                node.fault = None
                effects.watch(node, now, self._journal)
        return self._journal.take()

    # --- what routes were learned to lack, and what operators say of it ---

    def heed(self, said: lessons.Said, now: float, wall: float) -> None:
        """Follow operators' words on capabilities: a newer word overrules a gap, one taken back upholds it."""
        for key in {**self._heeded, **said}:
            for node in self._of_model(key):
                node.learned.heed(said.get(key, {}), now, wall)
        self._heeded = said

    def clear_gap(self, provider: str, model: str, word: Word | None = None) -> bool:
        """Forget a learned gap (or all of them) on every account's route; return whether there was one."""
        cleared = [node for node in self._of_model(ModelKey(provider, model)) if node.learned.clear(word)]
        self._journal.changed.update(dict.fromkeys(cleared))
        return bool(cleared)

    def relearn(self, route: Route, word: Word, gap: Gap) -> None:
        """Bring back a gap that was cleared by mistake."""
        self._routes[route].learned.restore(word, gap)
        self._journal.changed[self._routes[route]] = None

    def gap_records(self, key: ModelKey, word: Word, gaps: lessons.Gaps, now: float, wall: float) -> list[saved.Record]:
        """Return the records of a model's routes as they will be with these gaps (by account) of one capability."""
        return [lessons.with_gap(node, word, gaps, now=now, wall=wall) for node in self._of_model(key)]

    def lessons(self, route: Route, now: float) -> list[tuple[Word, Gap, bool]]:
        """Return every gap a route learned, and whether it counts: no operator overruled it."""
        node = self._routes.get(route)
        return [] if node is None else lessons.told(node, now)

    # --- reading ---

    def gaps(self, route: Route, now: float) -> Mapping[Word, Gap]:
        """Return the learned gaps in force by capability word."""
        return self._routes[route].learned.gaps(now)

    def gap_nodes(self, route: Route, now: float) -> Collection[str]:
        """Return the capability nodes this route was learned to lack."""
        node = self._routes.get(route)
        return () if node is None else node.learned.gap_nodes(now)

    def watermark(self, route: Route) -> int | None:
        """Return the smallest body size the route refused, None when it refused none since."""
        return self._routes[route].learned.watermark

    def too_big(self, route: Route, size: int) -> bool:
        """Whether a body of `size` bytes is at or over the watermark; it is then ordered behind, not dropped."""
        node = self._routes.get(route)
        return node is not None and node.learned.too_big(size)

    def degraded(self, route: Route, now: float) -> bool:
        """Whether under half of at least five outcomes succeeded; a circuit waiting for its probe keeps its place."""
        node = self._routes.get(route)
        if node is None or node.breaker.probe_due(now) or node.owner.breaker.probe_due(now):
            return False
        return node.window.demoted(now)

    def success_rate(self, route: Route, now: float) -> tuple[float, int]:
        """Return the success rate of the outcome window (1.0 of nothing) and its number of samples."""
        return (window := self._routes[route].window).success_rate(now), window.samples(now)

    def pace(self, route: Route, *, stream: bool) -> Pace:
        """Return how fast a route was of late, for streams (first token) or whole answers."""
        node = self._routes.get(route)
        paces = _UNTRIED if node is None else node.paces
        return paces.stream if stream else paces.whole

    def weight(self, route: Route, now: float) -> float:
        """Return 0.05 to 1.0, the route's fitness for strategies that spread load."""
        return self._routes[route].window.weight(now)

    def gate(self, target: Route | str, now: float) -> tuple[GateReason, float] | None:
        """Return the reason and the seconds left of a gate; a provider is gated when all its accounts are."""
        found = shown_gate(self._node(target), now)
        return None if found is None else (found[0], found[1] - now)

    def gate_remaining(self, route: Route, now: float) -> float:
        """Return the seconds a route is still gated, 0.0 when it is not."""
        found = self.gate(route, now) if route in self._routes else None
        return 0.0 if found is None else found[1]

    def last_resort_open(self, route: Route, now: float) -> bool:
        """Whether only a rate or overload gate is in the way and this gated period's one attempt is unused."""
        node = self._routes.get(route)
        return node is not None and cools(node, now) and refuse(node, now, cooling=True) is None

    def circuit(self, target: Route | str, now: float) -> tuple[CircuitState, float]:
        """Return the state of a circuit and the seconds it stays open."""
        breaker = self._node(target).breaker
        return breaker.state, breaker.remaining(now)

    def headroom(self, target: Route | str, now: float) -> int:
        """Return the counted failures left before the circuit opens."""
        return self._node(target).breaker.headroom(now)

    def in_flight(self, target: Route | str) -> int:
        """Return how many leases are out."""
        return self._node(target).in_flight

    def enabled(self, target: Route | str) -> bool:
        """Whether a provider or route is not disabled."""
        return self._node(target).admin.enabled

    def admin(self, target: Route | str, now: float) -> tuple[AdminMode, float | None]:
        """Return what an operator set on it, and the seconds left where that ends by itself."""
        admin = self._node(target).admin
        mode = admin.mode(now)
        timed = mode in (AdminMode.ISOLATED, AdminMode.FORCED_CLOSED)
        return mode, round(admin.until - now, 1) if timed else None

    def fault(self, target: Route | str, now: float) -> str | None:
        """Return the fault in force in words, or None."""
        return verbs.fault_word(self._node(target), now)

    def last_error(self, target: Route | str) -> LastError | None:
        """Return the latest failure; a reset keeps it."""
        return self._node(target).last_error

    def stats(self, target: Route | str) -> Stats:
        """Return the live statistics; read them at once."""
        return self._node(target).stats

    def health(self, target: Route | str, now: float) -> HealthWord:
        """Return the derived word; it never gates routing."""
        return shown_word(self._node(target), now)

    # --- persistence ---

    def snapshot(self, now: float, wall: float) -> list[saved.Record]:
        """Return a record for every node that differs from a fresh start; `wall` is UTC epoch seconds."""
        records = (saved.record(node, now, wall) for node in self._nodes())
        return [found for found in records if not saved.plain(found)]

    def dirty(self, now: float, wall: float) -> list[saved.Record]:
        """Return the records that changed since last asked, plain ones included: they replace what was stored."""
        changed, self._journal.changed = self._journal.changed, {}
        alive = set(self._nodes()) if changed else set()
        return [saved.record(node, now, wall) for node in changed if node in alive]

    def records(self, changed: verbs.Changed, now: float, wall: float) -> list[saved.Record]:
        """Return the records of what a verb changed, or of a dry run what it would change."""
        return [saved.record(node, now, wall) for node in changed.nodes]

    def restore(self, records: Iterable[saved.Record], now: float, wall: float) -> None:
        """Put the nodes that still exist back as they were; call it once, after the first `configure`."""
        saved.restore_all(self._nodes(), records, now=now, wall=wall, journal=self._journal)
        for owner in self._providers.values():
            self._observe(owner, now)
        self._journal.take()  # nobody was there to be told of a change

    # --- inside ---

    def _nodes(self) -> Iterable[Node]:
        for owner in self._providers.values():
            yield owner
            yield from owner.accounts.values()
            yield from owner.routes.values()

    def _node(self, target: Route | str) -> Target:
        found = self._providers.get(target) if isinstance(target, str) else self._routes.get(target)
        if found is None:
            raise UnknownTarget(target)
        return found

    def _of_model(self, key: ModelKey) -> list[RouteNode]:
        owner = self._providers.get(key.provider)
        accounts = () if owner is None else owner.accounts
        found = (self._routes.get(Route(key.provider, account, key.model)) for account in accounts)
        return [node for node in found if node is not None]

    def _find(self, provider: str, model: str | None) -> list[Target]:
        owner = self._providers.get(provider)
        if owner is None:
            raise UnknownTarget(provider)
        if model is None:
            return [owner]
        found: list[Target] = [node for node in owner.routes.values() if node.route.model == model]
        if not found:
            raise UnknownTarget(f"{provider}/{model}")
        return found

    def _do(
        self, provider: str, model: str | None, change: verbs.Change, *, now: float, dry_run: bool
    ) -> verbs.Changed:
        nodes = self._find(provider, model)
        done = verbs.carry_out(nodes, change, now, self._journal, dry_run=dry_run)
        if dry_run:
            return done
        self._observe(self._providers[provider], now)
        return verbs.Changed(done.before, done.after, tuple(self._journal.take()))

    def _observe(self, owner: ProviderNode, now: float) -> None:
        for node in owner.routes.values():
            effects.publish(node, effects.word_of(node, now), self._journal)
        effects.publish(owner, effects.word_of(owner, now), self._journal)


_UNKNOWN = Refusal(RefusalKind.UNKNOWN, "unknown_route")
_UNTRIED = Paces()
