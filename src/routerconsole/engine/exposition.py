"""The text of `/metrics` (Prometheus exposition format 0.0.4): GenAI names where they exist, ours for the rest.

Every label value is made visible and escaped; families, series and labels come in a fixed order. A thousand series are
a quarter of a second of writing: it is done in slices, and each family stands as it was when its writing began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from routerconsole.domain.visible import visible
from routerconsole.routing.breaker import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from routerconsole.domain.route import Route

    from .metrics import Histogram, Observed, Series
    from .service import Service

MAX_LABEL: Final = 200
SLICE: Final = 100
"""Histograms or lines written before the loop has its turn: about a millisecond."""
_STATES: Final = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


async def exposition(service: Service) -> bytes:
    """Return everything there is to scrape."""
    text: list[str] = []
    for part in (_engine, _requests, _gen_ai, _routes, _weights):
        for block in part(service):
            text.append(block)
            if len(text) % SLICE == 0:
                await asyncio.sleep(0)
    return "\n".join((*text, "")).encode()


def _engine(service: Service) -> Iterator[str]:
    metrics, books = service.metrics, service.means.books
    yield from _family("routerconsole_build_info", "gauge", "Version.", [({"version": service.version}, 1)])
    uptime = service.clock.monotonic() - service.started_at
    yield from _family("routerconsole_uptime_seconds", "gauge", "Time since the start.", [({}, uptime)])
    flights, lost = len(service.chat.in_flight), service.keeper.lost_rows
    yield from _family("routerconsole_requests_in_flight", "gauge", "Requests under way.", [({}, flights)])
    yield from _family("routerconsole_log_rows_lost_total", "counter", "Requests the log could not keep.", [({}, lost)])
    yield from _family(
        "routerconsole_failovers_total", "counter", "Requests with more than one attempt.", [({}, metrics.failovers)]
    )
    limit = books.policy.daily_usd
    if limit is not None:
        yield from _family("routerconsole_budget_limit_usd", "gauge", "Budget of a UTC day.", [({}, limit)])
    used = [({"kind": "known"}, books.spent), ({"kind": "estimated"}, books.guessed)]
    yield from _family("routerconsole_budget_used_usd", "gauge", "What counts against the budget of today.", used)


def _requests(service: Service) -> Iterator[str]:
    metrics = service.metrics
    counted = [({"origin": origin, "status": status}, float(n)) for (origin, status), n in metrics.requests.items()]
    yield from _family("routerconsole_requests_total", "counter", "Requests that are over.", counted)
    yield from _histograms(
        "routerconsole_request_duration_seconds",
        "Whole requests, all attempts together.",
        [({"status": status}, found) for status, found in metrics.durations.items()],
    )
    yield from _histograms(
        "routerconsole_overhead_seconds", "Time inside the router, not waiting for upstreams.", [({}, metrics.overhead)]
    )


def _gen_ai(service: Service) -> Iterator[str]:
    """The names of OpenTelemetry's GenAI conventions, in Prometheus spelling; one observation an attempt."""
    series = service.metrics.series

    def each(pick: Callable[[Observed], Histogram], *more: tuple[str, str]) -> list[tuple[Labels, Histogram]]:
        return [
            ({**_named(key), **dict(more)}, pick(found)) for key, found in series.items() if any(pick(found).counts)
        ]

    yield from _histograms(
        "gen_ai_client_operation_duration_seconds",
        "Duration of upstream calls; error_type is the outcome class of those that did not serve.",
        [
            ({**_named(key), **({"error_type": error} if error else {})}, durations)
            for key, found in series.items()
            for error, durations in found.durations.items()
        ],
    )
    yield from _histograms(
        "gen_ai_client_token_usage",
        "Tokens of an upstream call.",
        [
            *each(lambda found: found.tokens_in, ("gen_ai_token_type", "input")),
            *each(lambda found: found.tokens_out, ("gen_ai_token_type", "output")),
        ],
    )
    yield from _histograms(
        "gen_ai_server_time_to_first_token_seconds",
        "Time to the first content of a stream, from our side of the connection.",
        each(lambda found: found.first_token),
    )
    yield from _histograms(
        "gen_ai_server_time_per_output_token_seconds",
        "Time per token of a stream after its first content.",
        each(lambda found: found.per_token),
    )
    cost = [(_model(key), found.cost_usd) for key, found in series.items() if found.priced]
    yield from _family("routerconsole_cost_usd_total", "counter", "Known cost of upstream calls.", cost)
    unknown = [(_model(key), float(found.unpriced)) for key, found in series.items()]
    yield from _family(
        "routerconsole_unknown_cost_calls_total", "counter", "Calls that served and whose cost is unknown.", unknown
    )


def _routes(service: Service) -> Iterator[str]:
    """Gauges of every provider, and of the routes that were asked or that are not closed; looked at in one go."""
    board, now = service.board, service.clock.monotonic()
    names = sorted(service.registry.providers)
    by_name: list[Labels] = [{"provider": name} for name in names]
    enabled = [float(board.enabled(name)) for name in names]
    in_flight = [float(board.in_flight(name)) for name in names]
    states: list[Sample] = [
        ({"provider": name, "model": "", "account": ""}, _STATES[board.circuit(name, now)[0]]) for name in names
    ]
    for key in service.registry.models:
        for route in service.registry.routes(key):
            state = board.circuit(route, now)[0]
            if state is not CircuitState.CLOSED or board.stats(route).total:
                states.append((_route(route), _STATES[state]))
    yield from _family(
        "routerconsole_provider_enabled",
        "gauge",
        "Whether a provider takes requests as far as operators decide.",
        zip(by_name, enabled, strict=True),
    )
    yield from _family(
        "routerconsole_provider_in_flight", "gauge", "Upstream calls under way.", zip(by_name, in_flight, strict=True)
    )
    yield from _family(
        "routerconsole_circuit_state", "gauge", "0 closed, 1 half-open, 2 open; without a model the provider's.", states
    )


def _weights(service: Service) -> Iterator[str]:
    """The worker that serves checkpoints of this machine, where a provider needs one."""
    found = service.weights.status(service.registry)
    if found is None:
        return
    yield from _family(
        "routerconsole_weights_worker_up", "gauge", "Whether its process runs.", [({}, float(found.running))]
    )
    yield from _family(
        "routerconsole_weights_worker_restarts_total", "counter", "Processes that died.", [({}, found.restarts)]
    )
    yield from _family(
        "routerconsole_weights_waiting", "gauge", "Answers that wait for the one being made.", [({}, found.waiting)]
    )
    if found.load_s is None or found.memory_mb is None:
        return
    model = {"model": found.model or "", "backend": found.backend or ""}
    yield from _family(
        "routerconsole_weights_load_seconds", "gauge", "Loading the model in memory took.", [(model, found.load_s)]
    )
    yield from _family(
        "routerconsole_weights_memory_bytes", "gauge", "Its process holds.", [(model, found.memory_mb * 1e6)]
    )


def _named(key: Series) -> Labels:
    return {
        "gen_ai_operation_name": key.operation,
        "gen_ai_provider_name": key.provider,
        "gen_ai_request_model": key.model,
    }


def _model(key: Series) -> Labels:
    return {"provider": key.provider, "model": key.model}


def _route(route: Route) -> Labels:
    return {"provider": route.provider, "model": route.model, "account": route.account or ""}


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Write a line each; what two models share a label for (ids can be that long) is added up, of a gauge the highest.

    A scraper takes no two samples of the same labels.
    """
    found: dict[str, float] = {}
    for labels, value in samples:
        text = _labels(labels)
        before = found.get(text, 0.0)
        found[text] = before + value if kind == "counter" else max(before, value)
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}"
    for text in sorted(found):
        yield f"{name}{{{text}}} {_number(found[text])}" if text else f"{name} {_number(found[text])}"


def _histograms(name: str, about: str, histograms: Iterable[tuple[Labels, Histogram]]) -> Iterator[str]:
    """Write cumulative buckets, what is above all of them in the last one, then sum and count; one block each."""
    found: dict[str, tuple[Labels, list[Histogram]]] = {}
    for labels, histogram in histograms:
        found.setdefault(_labels(labels), (labels, []))[1].append(histogram)
    yield f"# HELP {name} {about}\n# TYPE {name} histogram"
    for text in sorted(found):
        labels, same = found[text]
        left = _labels({key: value for key, value in labels.items() if key < "le"})
        right = _labels({key: value for key, value in labels.items() if key > "le"})
        head = f'{name}_bucket{{{left}{"," if left else ""}le="'
        tail = f'"{"," if right else ""}{right}}}'
        counts = [*accumulate(map(sum, zip(*(each.counts for each in same), strict=True)))]
        bounds = (*map(_number, same[0].bounds), "+Inf")
        lines = [f"{head}{bound}{tail} {count}" for bound, count in zip(bounds, counts, strict=True)]
        whole = f"{{{text}}}" if text else ""
        lines.append(f"{name}_sum{whole} {_number(sum(each.sum for each in same))}")
        lines.append(f"{name}_count{whole} {counts[-1]}")
        yield "\n".join(lines)


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{label_value(value)}"' for name, value in sorted(labels.items()))


def label_value(value: str) -> str:
    """Return a label's value: nothing hidden or active in it, of bounded length, escaped as the format wants."""
    shown = visible(value, MAX_LABEL) if value else ""
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
