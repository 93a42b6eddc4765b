"""Frozen views of the board for operators: status, metrics. Reads everything, changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from routerconsole.control.views import (
    HealthResult,
    LimitUse,
    ProviderMetrics,
    ProviderStatus,
    RouteMetrics,
    RouteStatus,
    Status,
)
from routerconsole.domain.registry import NO_LIMITS
from routerconsole.domain.route import ModelKey
from routerconsole.routing.health import HealthWord

from .clock import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from routerconsole.domain.registry import Limits, Provider, Registry
    from routerconsole.domain.route import Route
    from routerconsole.routing.board import Board
    from routerconsole.routing.limits import Meter
    from routerconsole.routing.stats import Stats

    from .clock import Clock

_GOOD = frozenset({HealthWord.HEALTHY, HealthWord.UNKNOWN, HealthWord.RECOVERING})
_SHAKY = frozenset({HealthWord.DEGRADED, HealthWord.RATE_LIMITED, HealthWord.DRAINING})
_UNPROVEN = frozenset({HealthWord.UNKNOWN, HealthWord.RECOVERING})
"""Words no request of late vouches for: there a failed check is all that is known."""


class Overview:
    """Builds views of one board under one registry."""

    def __init__(
        self, board: Board, registry: Registry, clock: Clock, *, probes: Mapping[str, HealthResult], meter: Meter
    ) -> None:
        self._board, self._registry, self._probes, self._meter = board, registry, probes, meter
        self._now, self._wall = clock.monotonic(), clock.wall()

    def providers(self) -> Iterator[ProviderStatus | None]:
        """Make every provider by priority; None stands for a route made on the way: thousands of them take a while."""
        for provider in sorted(self._registry.providers.values(), key=lambda provider: provider.priority):
            routes = []
            for route in self._routes(provider):
                routes.append(self._route(route))
                yield None
            yield self._provider(provider, tuple(routes))

    @staticmethod
    def status(providers: Sequence[ProviderStatus], **engine: Any) -> Status:  # spelt as Status spells them
        """Return the whole picture; `engine` fills the fields that are not the board's."""
        counted = Counter(provider.counts_as for provider in providers)
        return Status(
            total=len(providers),
            healthy=counted["healthy"],
            degraded=counted["degraded"],
            unhealthy=counted["unhealthy"],
            providers=tuple(providers),
            **engine,
        )

    def metrics(self) -> Iterator[ProviderMetrics | None]:
        """Make counters and latencies per provider; None stands for a route made on the way, as in `providers`."""
        for provider in self._registry.providers.values():
            routes = []
            for model in provider.models:
                for route in self._registry.routes(model.key):
                    routes.append(
                        RouteMetrics(
                            model=route.model,
                            account=route.account,
                            limits=self._limits(route, model.limits),
                            **_figures(self._board.stats(route)),
                        )
                    )
                    yield None
            figures = _figures(self._board.stats(provider.name))
            yield ProviderMetrics(name=provider.name, routes=tuple(routes), **figures)

    def _limits(self, route: Route, limits: Limits) -> dict[str, LimitUse]:
        if limits == NO_LIMITS:
            return {}
        used = self._meter.used(route, self._now)
        known = {
            "rpm": (used.rpm, limits.rpm),
            "tpm": (used.tpm, limits.tpm),
            "rpd": (used.rpd, limits.rpd),
            "tpd": (used.tpd, limits.tpd),
        }
        return {name: LimitUse(count, limit) for name, (count, limit) in known.items() if limit is not None}

    def _routes(self, provider: Provider) -> list[Route]:
        return [route for model in provider.models for route in self._registry.routes(model.key)]

    def _provider(self, provider: Provider, routes: tuple[RouteStatus, ...]) -> ProviderStatus:
        board, now, name = self._board, self._now, provider.name
        stats = board.stats(name)
        spread = stats.spread()
        circuit, left = board.circuit(name, now)
        own = board.gate(name, now)
        gate, gate_ends = (own[0].value, round(own[1], 1)) if own else _shared_gate(routes)
        fault = board.fault(name, now)
        word = board.health(name, now)
        admin, admin_ends = board.admin(name, now)
        return ProviderStatus(
            name=name,
            kind=provider.kind.value,
            enabled=board.enabled(name),
            status=word.value,
            counts_as=self._counts_as(name, word),
            priority=provider.priority,
            default_model=provider.default_model,
            circuit_state=circuit.value,
            circuit_open_for_s=round(left, 1) if left > 0 else None,
            gate=gate,
            gate_ends_in_s=gate_ends,
            fault=fault,
            reason=provider.unavailable or self._account_reason(provider) or fault or self._probe_reason(name),
            routes=routes,
            total_requests=stats.total,
            successful=stats.successful,
            failed=stats.failed,
            error_rate=round(stats.error_rate, 4),
            in_flight=board.in_flight(name),
            rps=round(stats.rps(now), 2),
            p50_ms=spread.p50_ms,
            p95_ms=spread.p95_ms,
            history=stats.history(now),
            local=provider.local,
            models=tuple(model.upstream_id for model in provider.models),
            admin=admin.value,
            admin_ends_in_s=admin_ends,
        )

    @staticmethod
    def _account_reason(provider: Provider) -> str | None:
        reasons = [account.unavailable for account in provider.accounts]
        return reasons[0] if reasons and all(reasons) else None

    def _counts_as(self, name: str, word: HealthWord) -> Literal["healthy", "degraded", "unhealthy"]:
        last = self._probes.get(name)
        if word in _UNPROVEN and last is not None and not last.healthy:
            return "unhealthy"
        return "healthy" if word in _GOOD else "degraded" if word in _SHAKY else "unhealthy"

    def _probe_reason(self, name: str) -> str | None:
        """Return what the last check found wrong; it says something to people and nothing to routing."""
        last = self._probes.get(name)
        return None if last is None or last.healthy else f"check failed: {last.detail}"

    def _route(self, route: Route) -> RouteStatus:
        board, now = self._board, self._now
        stats = board.stats(route)
        circuit, left = board.circuit(route, now)
        gate = board.gate(route, now)
        refusal = board.refusal(route, now)
        error = board.last_error(route)
        admin, admin_ends = board.admin(route, now)
        return RouteStatus(
            provider=route.provider,
            model=route.model,
            account=route.account,
            status=board.health(route, now).value,
            circuit_state=circuit.value,
            enabled=board.enabled(route),
            total_requests=stats.total,
            successful=stats.successful,
            failed=stats.failed,
            error_rate=round(stats.error_rate, 4),
            circuit_open_for_s=round(left, 1) if left > 0 else None,
            gate=gate[0].value if gate else None,
            gate_ends_in_s=round(gate[1], 1) if gate else None,
            fault=board.fault(route, now),
            reason=refusal.text if refusal else None,
            headroom=board.headroom(route, now),
            in_flight=board.in_flight(route),
            priority=self._registry.priority(ModelKey(route.provider, route.model)),
            last_error=None
            if error is None
            else {
                "class": error.cls,
                "detail": error.detail,
                "status": error.status,
                "at": iso(self._wall - (now - error.at)),
            },
            gaps=tuple(word.value for word in board.gaps(route, now)),
            admin=admin.value,
            admin_ends_in_s=admin_ends,
        )


def _shared_gate(routes: Sequence[RouteStatus]) -> tuple[str | None, float | None]:
    """Return the gate that ends first where every route has one of its own: that is when the provider is back."""
    if not routes or any(route.gate is None for route in routes):
        return None, None
    first = min(routes, key=lambda route: route.gate_ends_in_s or 0.0)
    return first.gate, first.gate_ends_in_s


def _figures(stats: Stats) -> dict[str, Any]:
    spread = stats.spread()
    return {
        "total_requests": stats.total,
        "successful": stats.successful,
        "failed": stats.failed,
        "error_rate": round(stats.error_rate, 4),
        "avg_latency_ms": round(spread.mean_ms, 3),
        "p50_ms": spread.p50_ms,
        "p95_ms": spread.p95_ms,
        "ttft_p50_ms": spread.ttft_p50_ms,
        "tokens_per_s": spread.tokens_per_s,
        "failures_by_class": {cls.value: count for cls, count in stats.by_class.items()},
    }
