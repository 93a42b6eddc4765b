"""One running engine: owns its parts, their background work, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from routerconsole.config.problems import ConfigError
from routerconsole.control.port import ControlError
from routerconsole.domain.errors import RouterError
from routerconsole.domain.events import EventType, Fact
from routerconsole.providers.client import USER_AGENT, Sender
from routerconsole.providers.transport import Transport
from routerconsole.routing.board import Board
from routerconsole.routing.budget import RetryBudget

from .bodies import BodyStore
from .bus import Bus
from .clock import Clock
from .engine import ChatEngine
from .inflight import CancelReason
from .keeping import Keeper, LogPolicy
from .operate import Operator, with_priorities
from .probing import Prober
from .recorder import Recorder
from .tasks import TaskOwner
from .upstreams import Upstreams

if TYPE_CHECKING:
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.request import ChatRequest
    from routerconsole.storage.db import Database

log = logging.getLogger(__name__)

TICK_S = 0.25
DRAIN_S = 10.0
LAG_LOGGED_S = 0.25
"""Loop lag worth a line in the log (safety.md §1)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a configuration amounts to for the engine: a registry, what to show of it, what to say about it."""

    registry: Registry
    shown: Mapping[str, Any]
    notices: tuple[str, ...]
    path: str | None
    scrub: Callable[[str], str]


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
    ) -> None:
        self.clock, self.rng, self.version, self.endpoint = clock, rng, version, ""
        self.loaded, self._reload, self._changed = loaded, reload, changed
        self.bus = Bus(clock)
        self.tasks = TaskOwner(self._task_failed)
        self.board = Board(rng)
        self.bodies = BodyStore(enabled=log_policy.bodies != "off", reply_bytes=log_policy.body_bytes)
        self.keeper = Keeper(
            state_db=state_db,
            log_db=log_db,
            board=self.board,
            bodies=self.bodies,
            bus=self.bus,
            clock=clock,
            policy=log_policy,
        )
        self.keeper.on_priorities = self._lay_priorities
        self.recorder = Recorder(self.bus, clock, self.keeper)
        self.upstreams = Upstreams(Sender(Transport(clock=clock.monotonic, user_agent=USER_AGENT)))
        self.budget = RetryBudget(loaded.registry.policy.retry)
        self.config_notice = ""
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
        )
        self.prober = Prober(
            board=self.board, upstreams=self.upstreams, bus=self.bus, clock=clock, tasks=self.tasks, rng=rng
        )
        self.operator = Operator(self)
        self.started_at = clock.monotonic()
        self._stopped = False

    @property
    def registry(self) -> Registry:
        """The picture new requests see."""
        return self.chat.registry

    async def start(self) -> None:
        """Open storage, restore what was, begin the background work. Raises NewerSchema or UnsafePlace."""
        self.swap(self.loaded.registry)
        await self.keeper.start(self.tasks)
        self.tasks.start(self._ticking(), name="ticks")

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
        await self.tasks.aclose()
        await self.upstreams.sender.aclose()
        await self.keeper.aclose()

    def swap(self, registry: Registry) -> None:
        """Put a new registry in force for the requests that come from now on; running ones keep theirs."""
        registry = replace(registry, version=self.registry.version + 1)
        self.chat.registry = registry
        self.chat.redact = self.loaded.scrub
        self.upstreams.configure(registry)
        self.budget.configure(registry.policy.retry, frozenset(registry.providers))
        self.bus.publish_all(self.board.configure(registry, self.clock.monotonic()))
        self.prober.configure(registry)

    async def reload_config(self) -> None:
        """Read the configuration again; on any error the one in force stays and ControlError tells why."""
        if self._reload is None:
            raise ControlError("conflict", "There is no configuration file to reload.", status=409)
        try:
            loaded = await asyncio.to_thread(self._reload, self.registry.version)
        except ConfigError as exc:
            self.config_notice = f"configuration rejected, the last good one stays: {exc.problems[0]}"
            self.bus.publish(Fact(EventType.CONFIG_REJECTED, {"problems": [str(item) for item in exc.problems]}))
            raise ControlError("invalid_config", "\n".join(str(item) for item in exc.problems), status=422) from exc
        self.loaded, self.config_notice = loaded, ""
        self.swap(with_priorities(loaded.registry, self.keeper.priorities))
        self.bus.publish(Fact(EventType.CONFIG_RELOADED, {"version": self.registry.version, "path": loaded.path}))

    async def run_quietly(self, request: ChatRequest) -> None:
        """Serve a request nobody waits for (a replay); its trace is the result."""
        try:
            exchange = await self.chat.open(request)
            async for _ in exchange.deltas():
                continue
        except RouterError:
            return  # recorded like any other failure

    def _lay_priorities(self) -> None:
        if self.keeper.priorities:
            self.swap(with_priorities(self.registry, self.keeper.priorities))

    async def _drained(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self.chat.in_flight:
                    await asyncio.wait({flight.task for flight in self.chat.in_flight.values()}, timeout=0.05)
        except TimeoutError:
            return

    async def _ticking(self) -> None:
        """Let time take effect four times a second: gates, TTLs, probes due, a changed file, what must be saved."""
        watch_at = 0.0
        while True:
            began = self.clock.monotonic()
            await asyncio.sleep(TICK_S)
            now = self.clock.monotonic()
            if now - began - TICK_S > LAG_LOGGED_S:
                log.warning("the engine's loop was %.0f ms late", (now - began - TICK_S) * 1000)
            self.bus.publish_all(self.board.tick(now))
            self.prober.tick(now)
            await self.keeper.save()
            if self._changed is not None and now >= watch_at:
                watch_at = now + 1.0
                if await asyncio.to_thread(self._changed):
                    await self._reload_quietly()

    async def _reload_quietly(self) -> None:
        try:
            await self.reload_config()
        except ControlError as exc:
            log.warning("%s", exc.message)

    def _task_failed(self, name: str, failure: BaseException) -> None:
        why = f"background task {name} failed: {type(failure).__name__}"
        self.bus.publish(Fact(EventType.STORAGE_DEGRADED, {"where": name, "reason": why}))
