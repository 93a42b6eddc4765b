"""Reachability checks: now for an operator, and every so often per provider. Never enables, never closes a circuit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from routerconsole.control.views import HealthCheck, HealthResult
from routerconsole.domain.events import EventType, Fact
from routerconsole.providers.transport import Bounded, Timings, TransportError

from .clock import iso

if TYPE_CHECKING:
    import random

    from routerconsole.domain.registry import Provider, Registry
    from routerconsole.routing.board import Board

    from .bus import Bus
    from .clock import Clock
    from .tasks import TaskOwner
    from .upstreams import Upstreams

PARALLEL = 4
"""Checks running at once (faults.md B27)."""
TIMEOUT_S = 5.0
JITTER = 0.1
"""Part of the interval a periodic check is early or late, so that providers do not answer in step."""


class Prober:
    """Checks providers; a provider being checked is not checked twice at once (B28)."""

    def __init__(
        self,
        *,
        board: Board,
        upstreams: Upstreams,
        bus: Bus,
        clock: Clock,
        tasks: TaskOwner,
        rng: random.Random,
        bounded: Bounded = asyncio.timeout,
    ) -> None:
        self._board, self._upstreams, self._bus, self._clock = board, upstreams, bus, clock
        self._tasks, self._rng, self._bounded = tasks, rng, bounded
        self._registry: Registry | None = None
        self._slots = asyncio.Semaphore(PARALLEL)
        self._running: dict[str, asyncio.Task[HealthResult]] = {}
        self._due: dict[str, float] = {}
        self.last: dict[str, HealthResult] = {}

    def configure(self, registry: Registry) -> None:
        """Follow a new registry; first checks are spread over the first part of the interval.

        What was found of a provider that is gone, or has another address or key now, is forgotten.
        """
        now = self._clock.monotonic()
        known = {} if self._registry is None else self._registry.providers
        for name in list(self.last):
            if _way_to(registry.providers.get(name)) != _way_to(known.get(name)):
                del self.last[name]
        self._registry = registry
        self._due = {
            name: self._due.get(name, now + self._rng.uniform(0.0, min(2.0, provider.health.interval)))
            for name, provider in registry.providers.items()
            if provider.health.enabled and provider.unavailable is None
        }

    async def check(self, names: tuple[str, ...] = ()) -> HealthCheck:
        """Check these providers (all when none are named) and wait for the results."""
        registry = self._registry
        wanted = names or tuple(registry.providers if registry else ())
        results = await asyncio.gather(*(asyncio.shield(self._start(name)) for name in wanted))
        return HealthCheck(iso(self._clock.wall()), tuple(results), sum(result.healthy for result in results))

    def tick(self, now: float) -> None:
        """Start the checks that are due."""
        for name, due in list(self._due.items()):
            if now >= due and self._registry is not None:
                interval = self._registry.providers[name].health.interval
                self._due[name] = now + interval * (1 + self._rng.uniform(-JITTER, JITTER))
                self._start(name)

    def _start(self, name: str) -> asyncio.Task[HealthResult]:
        running = self._running.get(name)
        if running is None:
            running = self._tasks.start(self._check(name), name=f"probe {name}")
            self._running[name] = running
            running.add_done_callback(lambda _: self._running.pop(name, None))
        return running

    async def _check(self, name: str) -> HealthResult:
        registry = self._registry
        if registry is None or name not in registry.providers:
            return HealthResult(name, "", False, "unknown", None, "reach", "no such provider")
        provider = registry.providers[name]
        self._bus.publish(Fact(EventType.PROBE_STARTED, {"provider": name}))
        async with self._slots:
            healthy, latency_ms, depth, detail = await self._ask(provider)
        now = self._clock.monotonic()
        status = "unknown"
        current = self._registry.providers.get(name) if self._registry is not None else None
        if current is not None:  # a reload may have removed it meanwhile, or given it another address or key
            if current == provider and provider.unavailable is None:
                self._bus.publish_all(self._board.probe_result(name, healthy, now))
            status = self._board.health(name, now).value
        result = HealthResult(name, provider.kind.value, healthy, status, latency_ms, depth, detail)
        if _way_to(current) == _way_to(provider):
            self.last[name] = result
        self._bus.publish(
            Fact(
                EventType.PROBE_FINISHED,
                {"provider": name, "healthy": healthy, "latency_ms": latency_ms, "depth": depth, "detail": detail},
            )
        )
        return result

    async def _ask(self, provider: Provider) -> tuple[bool, float | None, str, str]:
        """Return healthy, milliseconds, depth (reach or auth) and a detail; asks the model listing, spends no token."""
        target = self._upstreams.target_of(provider)
        if provider.unavailable is not None or target is None:
            return False, None, "reach", provider.unavailable or self._upstreams.broken.get(provider.name, "unusable")
        began = self._clock.monotonic()
        try:
            async with self._bounded(TIMEOUT_S):
                answer = await self._upstreams.sender.open(
                    target, target.dialect.list_request(), connect_timeout=TIMEOUT_S, timings=Timings()
                )
                try:
                    await answer.read()
                finally:
                    answer.abort()
        except TimeoutError:
            return False, None, "reach", f"no answer within {TIMEOUT_S:g} s"
        except TransportError as exc:
            return False, None, "reach", exc.detail
        took = round((self._clock.monotonic() - began) * 1000, 1)
        if answer.status in (401, 403):
            return False, took, "auth", f"the upstream answered {answer.status}: check the key"
        if answer.status >= 500:
            return False, took, "reach", f"the upstream answered {answer.status}"
        depth = "auth" if answer.status < 300 and any(account.api_key for account in provider.accounts) else "reach"
        return True, took, depth, f"the model listing answered {answer.status}"


def _way_to(provider: Provider | None) -> tuple[object, ...]:
    """Return what a check goes through: a change of anything else leaves the last result true."""
    if provider is None:
        return ()
    parts = (provider.kind, provider.base_url, provider.accounts, provider.headers, provider.proxy, provider.ca_file)
    return (*parts, provider.unavailable)
