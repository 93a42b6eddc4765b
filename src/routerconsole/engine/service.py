"""One running engine: owns its parts, their background work, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from routerconsole.config.problems import ConfigError
from routerconsole.control.port import ControlError
from routerconsole.domain.errors import RouterError
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.overlay import Composed, Overlay, compose, no_hints
from routerconsole.domain.policy import BudgetPolicy, RewardPolicy
from routerconsole.providers.client import USER_AGENT, Sender
from routerconsole.providers.transport import Transport
from routerconsole.routing.board import Board
from routerconsole.routing.budget import RetryBudget
from routerconsole.routing.limits import Meter
from routerconsole.routing.order import Means
from routerconsole.routing.pointers import Pointers
from routerconsole.storage.usage import UsageStore

from . import request_lines
from .bodies import BodyStore
from .bus import Bus
from .clock import Clock
from .discovery import Discovery
from .editing import Editor
from .engine import ChatEngine
from .inflight import CancelReason
from .keeping import Keeper, LogPolicy
from .metrics import Metrics
from .operate import Operator
from .pauses import Pauses
from .pool_memory import PoolMemory
from .probing import Prober
from .pulling import Pulls
from .recorder import Recorder
from .registry_facts import registry_facts, spoken
from .rewarding import Rewards
from .rhythm import every
from .scores import Scores
from .tasks import TaskOwner
from .upstreams import Upstreams
from .usage import UsageKeeper
from .weights import LocalWeights

if TYPE_CHECKING:
    from routerconsole.domain.overlay import Hints
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.request import ChatRequest
    from routerconsole.domain.route import ModelKey
    from routerconsole.evals.outside import OpenOutside
    from routerconsole.evals.runner import Drill
    from routerconsole.storage.db import Database

    from .eval_reports import EvalReports
    from .evaluating import Evaluations

log = logging.getLogger(__name__)

TICK_S = 0.25
MOVES = frozenset({EventType.CIRCUIT_OPENED, EventType.CIRCUIT_HALF_OPEN, EventType.CIRCUIT_CLOSED})
"""Written down at once (routing.md §5), not at the next tick."""
DRAIN_S = 9.0
"""Of the 10 s a stop may take; the rest is for telling those who are left, writing down and closing."""
WATCH_S = 0.4
"""Between two looks at the configuration file; a change counts once two looks agree on it, so within a second."""
WATCHDOG_S = 0.05
LAG_LOGGED_S = 0.25
"""Loop lag worth a line in the log (safety.md §1)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a configuration amounts to for the engine: a registry, what to show of it, what to say about it.

    `warnings` are what validation found that does not keep it from being used: a dotted path or the file, and why.
    """

    registry: Registry
    shown: Mapping[str, Any]
    notices: tuple[str, ...]
    path: str | None
    scrub: Callable[[str], str]
    warnings: tuple[tuple[str, str], ...] = ()
    awaiting: Mapping[str, ModelKey] = field(default_factory=dict)  # notices that end once a listing shows a model
    reward: RewardPolicy = field(default_factory=RewardPolicy)
    budget: BudgetPolicy = field(default_factory=BudgetPolicy)


Reload = Callable[[int], Loaded]
"""Read the configuration again as registry version n; raises ConfigError."""


class Service:
    """An engine on the loop it is started on."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        state_db: Database,
        log_db: Database,
        clock: Clock,
        rng: random.Random,
        log_policy: LogPolicy,
        reload: Reload | None = None,
        changed: Callable[[], bool] | None = None,
        version: str = "",
        hints: Hints = no_hints,
    ) -> None:
        self.clock, self.rng, self.version, self.endpoint = clock, rng, version, ""
        self.loaded, self._reload, self._changed = loaded, reload, changed
        self.base, self.overlay, self.hints = loaded.registry, Overlay(), hints
        self._made = self._ahead = Composed(self.base, self.overlay, self.base, no_hints)
        self.bus = Bus(clock)
        self.tasks = TaskOwner(self._task_failed)
        self.board, self.scores = Board(rng), Scores()
        self.means = Means(Pointers(), Meter(), rng, self.scores.quality)
        self.memory = PoolMemory(self.means, clock)
        self.usage = UsageKeeper(self.means.books, UsageStore(state_db), clock)
        self.bodies = BodyStore(enabled=log_policy.bodies != "off", reply_bytes=log_policy.body_bytes)
        self.keeper = Keeper(
            state_db=state_db,
            log_db=log_db,
            board=self.board,
            bodies=self.bodies,
            bus=self.bus,
            clock=clock,
            policy=log_policy,
            memory=self.memory,
        )
        self.keeper.on_overlay = self._restored
        self.recorder, self.metrics = Recorder(self.bus, clock, self.keeper), Metrics()
        self.recorder.watchers += [self.metrics.note, request_lines.line]
        self.pauses = Pauses()
        transport = Transport(clock=clock.monotonic, user_agent=USER_AGENT, bounded=self.pauses.timeout)
        self.weights = LocalWeights(
            clock=clock, start=self.tasks.start, root=lambda: self.weights_dir, publish=self.bus.publish
        )
        self.upstreams = Upstreams(Sender(transport), self.weights.door)
        self.budget = RetryBudget(loaded.registry.policy.retry)
        self.config_notice, self.remarks = "", list[str]()
        self.chat = ChatEngine(
            registry=loaded.registry,
            board=self.board,
            budget=self.budget,
            upstreams=self.upstreams,
            recorder=self.recorder,
            bus=self.bus,
            bodies=self.bodies,
            clock=clock,
            rng=rng,
            pauses=self.pauses,
            means=self.means,
        )
        self.prober = Prober(
            board=self.board,
            upstreams=self.upstreams,
            bus=self.bus,
            clock=clock,
            tasks=self.tasks,
            rng=rng,
            bounded=self.pauses.timeout,
        )
        self.discovery, self.pulls = Discovery(self), Pulls(self)
        self.editor = Editor(self)
        self.operator, self.rewards = Operator(self), Rewards(self)
        self.drill: Drill | None = None  # runs failover drills of evaluations; None: there is no simulator
        self.outside: OpenOutside | None = None  # opens `url:` targets of evaluations; None: nobody here can
        self.started_at = clock.monotonic()
        self._stopped = False

    @property
    def registry(self) -> Registry:
        """The picture new requests see."""
        return self.chat.registry

    @cached_property
    def evals(self) -> Evaluations:
        """Its evaluation runs; made at the first question about one, since their machinery takes long to import."""
        from .evaluating import Evaluations  # noqa: PLC0415 - 0.2 s that no start should wait for

        return Evaluations(self)

    @cached_property
    def eval_reports(self) -> EvalReports:
        """What there is to read of them."""
        from .eval_reports import EvalReports  # noqa: PLC0415 - as above

        return EvalReports(self.evals)

    @property
    def weights_dir(self) -> str | None:
        """Where relative paths of model files start."""
        found: str | None = (self.loaded.shown.get("registry") or {}).get("weights_dir")
        return found

    @property
    def notices(self) -> tuple[str, ...]:
        """What there is to say about the configuration now."""
        awaiting, models = self.loaded.awaiting, self.registry.models
        open_ = (text for text in self.loaded.notices if text not in awaiting or awaiting[text] not in models)
        own = (self.config_notice,) if self.config_notice else ()
        return (*own, *self.remarks, *self.usage.notices, *open_)

    async def start(self) -> None:
        """Open storage, restore what was, begin the background work. Raises NewerSchema or UnsafePlace."""
        self.base = self.loaded.registry
        self.lay_over(self.overlay)
        self.pauses.watch()
        await self.keeper.start(self.tasks)
        await self.rewards.load()
        await self.usage.start()
        self.tasks.start(every(TICK_S, self._tick, name="ticks"), name="ticks")
        moved = asyncio.Event()
        self.bus.watch(MOVES, moved.set)
        self.tasks.start(every(TICK_S, self._save, name="saving", sooner=moved), name="saving")
        self.tasks.start(every(WATCH_S, self._watch, name="configuration"), name="configuration")
        self.tasks.start(self._watchdog(), name="watchdog")

    async def rest(self, *, writable: bool) -> None:
        """Restore what was and begin nothing: for a look at the registry, or an edit, where no engine runs.

        Raises NewerSchema or UnsafePlace; end it with `stop`.
        """
        self.base = self.loaded.registry
        self.lay_over(self.overlay)
        await self.keeper.rest(writable=writable)

    async def stop(
        self, *, drain_s: float = DRAIN_S, before_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Refuse new requests, let running ones finish for `drain_s` seconds, end the rest in-band, flush and close.

        `before_close` runs once no request is left and before anything they need is closed.
        """
        if self._stopped:
            return
        self._stopped = True
        self.chat.closing = True
        await self._drained(drain_s)
        for flight in list(self.chat.in_flight.values()):
            flight.cancel(CancelReason.SHUTDOWN)
        await self._drained(1.0)
        if before_close is not None:
            await before_close()
        await self.keeper.flush()
        await self.usage.save(last=True)
        await self.tasks.aclose()
        self.pauses.close()
        await self.upstreams.sender.aclose()
        await self.keeper.aclose()

    def composed(self, overlay: Overlay) -> Registry:
        """Return the registry an overlay amounts to on the present configuration; nothing is in force by it."""
        known = [made for made in (self._made, self._ahead) if made.base is self.base]
        made = next((item for item in known if item.overlay is overlay and item.hints is self.hints), None)
        if made is None:
            made = self._compose(self.base, overlay, known[-1] if known else None)
        self._made = made
        return made.registry

    async def work_out(self, overlay: Overlay) -> None:
        """Work out on another thread what an overlay amounts to, so that `lay_over` has little left to do."""
        made = await asyncio.to_thread(self._compose, self.base, overlay, self._made)
        self._ahead = made

    def lay_over(self, overlay: Overlay) -> None:
        """Put what operators decided and providers list in force, at once; it is remembered over reloads.

        The work grows with the models of the providers of which the overlay says something new. Whoever changes an
        overlay reads `overlay` and calls this in one go, without waiting in between: nobody's change is lost then.
        """
        registry = self.composed(overlay)
        self.overlay, self._ahead = overlay, self._made
        self.swap(registry)

    def swap(self, registry: Registry) -> None:
        """Put a new registry in force for the requests that come from now on; running ones keep theirs."""
        before = self.registry
        registry = replace(registry, version=before.version + 1)
        now, wall = self.clock.monotonic(), self.clock.wall()
        self.chat.registry, self.means.books.policy = registry, self.loaded.budget
        self.chat.redact = self.loaded.scrub
        self.upstreams.configure(registry)
        self.budget.configure(registry.policy.retry, frozenset(registry.providers))
        self.bus.publish_all(self.board.configure(registry, now))
        self.board.heed(spoken(self.overlay), now, wall)
        self.prober.configure(registry)
        self.discovery.configure(registry)
        self.memory.follow(registry)
        self.bus.publish_all(registry_facts(before, registry))

    async def read_config(self) -> Loaded:
        """Read the configuration again; on any error the one in force stays and ControlError tells why."""
        if self._reload is None:
            raise ControlError("conflict", "There is no configuration file to reload.", status=409)
        try:
            loaded, self._ahead = await asyncio.to_thread(self._read, self._reload, self.overlay)
            return loaded
        except ConfigError as exc:
            problems = [str(item) for item in exc.problems]
        except OSError as exc:
            problems = [f"{self.loaded.path}: {exc.strerror or type(exc).__name__}"]
        more = f" (and {len(problems) - 1} more: `routerconsole config check`)" if len(problems) > 1 else ""
        self.config_notice = f"configuration rejected, the last good one stays: {problems[0]}{more}"
        self.bus.publish(Fact(EventType.CONFIG_REJECTED, {"problems": problems}))
        raise ControlError("invalid_config", "\n".join(problems), status=422)

    def put_in_force(self, loaded: Loaded) -> None:
        """Make a configuration that was read the one for the requests that come from now on."""
        self.loaded, self.config_notice, self.base = loaded, "", loaded.registry
        self.lay_over(self.overlay)
        self.bus.publish(Fact(EventType.CONFIG_RELOADED, {"version": self.registry.version, "path": loaded.path}))

    async def run_quietly(self, request: ChatRequest) -> None:
        """Serve a request nobody waits for (a replay); its trace is the result."""
        try:
            exchange = await self.chat.open(request)
            async for _ in exchange.deltas():
                continue
        except RouterError:
            return  # recorded like any other failure

    def _read(self, reload: Reload, overlay: Overlay) -> tuple[Loaded, Composed]:
        """Read a configuration and lay the overlay over it, on another thread: thousands of models take a while."""
        loaded = reload(self.registry.version)
        return loaded, self._compose(loaded.registry, overlay, None)

    def _compose(self, base: Registry, overlay: Overlay, since: Composed | None) -> Composed:
        return Composed(base, overlay, compose(base, overlay, hints=self.hints, since=since), self.hints)

    def _restored(self, overlay: Overlay) -> None:
        """Take over what was kept; what providers listed meanwhile is newer."""
        self.lay_over(replace(overlay, listings={**overlay.listings, **self.overlay.listings}))

    async def _drained(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self.chat.in_flight:
                    await asyncio.wait({flight.task for flight in self.chat.in_flight.values()}, timeout=0.05)
        except TimeoutError:
            return

    async def _tick(self) -> None:
        """Let time take effect: gates, TTLs, probes due."""
        now = self.clock.monotonic()
        self.bus.publish_all(self.board.tick(now))
        self.bus.publish_all(self.memory.tick())
        self.bus.publish_all(self.usage.tick())
        self.prober.tick(now)
        self.discovery.tick(now)
        self.pulls.tick(now)

    async def _save(self) -> None:
        await self.keeper.save()
        await self.usage.save()

    async def _watch(self) -> None:
        """Follow a changed configuration file."""
        if self._changed is None or not await asyncio.to_thread(self._changed):
            return
        try:
            self.put_in_force(await self.read_config())
        except ControlError as exc:
            log.warning("%s", exc.message)

    async def _watchdog(self) -> None:
        """Say when something held the loop."""
        while True:
            began = self.clock.monotonic()
            await asyncio.sleep(WATCHDOG_S)
            late = self.clock.monotonic() - began - WATCHDOG_S
            if late > LAG_LOGGED_S:
                log.warning("the engine's loop was %.0f ms late", late * 1000)

    def _task_failed(self, name: str, failure: BaseException) -> None:
        why = f"background task {name} failed: {type(failure).__name__}"
        self.bus.publish(Fact(EventType.STORAGE_DEGRADED, {"where": name, "reason": why}))
