"""`routerconsole status`: the engine at a glance, as a table, as sentences, or with latencies as a chart."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING

from routerconsole.cli.output import Item, sentence, show_items, show_json
from routerconsole.cli.quantity import ending, ms, percent, span
from routerconsole.cli.session import with_control
from routerconsole.control.wire import plain
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.port import Control
    from routerconsole.control.views import ProviderMetrics, ProviderStatus, Status, WeightsStatus

PLOT_WIDTH = 100


def run(args: argparse.Namespace) -> int:
    """Print the status of the running engine."""

    async def work(control: Control) -> int:
        status = await control.status()
        metrics = await control.metrics() if args.plot else ()
        if args.json:
            show_json(plain(status))
            return 0
        _show(status, sentences=args.plain)
        if args.plot:
            print(plot(metrics))
        return 0

    return with_control(args, work)


def provider_item(provider: ProviderStatus) -> Item:
    """Return a provider's line."""
    return {
        "name": provider.name,
        "kind": provider.kind,
        "status": provider.status,
        "circuit": ending(provider.circuit_state, provider.circuit_open_for_s),
        "gate": ending(provider.gate, provider.gate_ends_in_s),
        "priority": provider.priority,
        "requests": provider.total_requests,
        "errors": percent(provider.error_rate),
        "p50": ms(provider.p50_ms),
        "p95": ms(provider.p95_ms),
        "models": len(provider.models) or len(provider.routes),
        "reason": provider.reason,
    }


def _show(status: Status, *, sentences: bool) -> None:
    overall: Item = {
        "endpoint": status.endpoint,
        "version": status.version,
        "config": status.config_path or "detected",
        "uptime": span(status.uptime_s),
        "in_flight": status.in_flight,
        "requests_per_s": status.rps,
        "failovers": percent(status.failover_ratio),
        "errors": percent(status.error_ratio),
        "p95": ms(status.p95_ms),
        "draining": "yes" if status.draining else None,
    }
    counts = f"{status.healthy} healthy, {status.degraded} degraded, {status.unhealthy} unhealthy"
    if sentences:
        print(sentence(overall))
        print(sentence({"providers": status.total, "of_which": counts}))
    else:
        print(f"{visible(status.endpoint)} · up {span(status.uptime_s)} · {status.in_flight} in flight · {counts}")
        rates = f"{status.rps:g} rps · errors {percent(status.error_ratio)}"
        rates += f" · failovers {percent(status.failover_ratio)} · p95 {ms(status.p95_ms) or '–'}"
        print(f"config {visible(str(overall['config']))} · {rates}")
    if status.weights is not None:
        print(f"weights worker: {weights_line(status.weights)}")
    for notice in status.notices:
        print(f"notice: {visible(notice)}")
    show_items(
        (provider_item(provider) for provider in status.providers),
        plain=sentences,
        empty="no providers: set an API key, start a local server, or write a configuration (`config init`)",
    )


def weights_line(worker: WeightsStatus) -> str:
    """Return what the worker that serves checkpoints does now."""
    if worker.loading:
        parts = [f"loading {visible(worker.model or '')}"]
    elif worker.model is not None and worker.load_s is not None and worker.memory_mb is not None:
        held = f"{visible(worker.model)} in memory by {visible(worker.backend or '')}"
        parts = [f"{held}, loaded in {worker.load_s:.1f} s, {worker.memory_mb:,} MB"]
    else:
        parts = ["running, nothing in memory" if worker.running else "not running: the first request starts it"]
    if worker.waiting:
        parts.append(f"{worker.waiting} waiting")
    if worker.restarts:
        parts.append(f"restarted {worker.restarts}×")
    if worker.problem:
        parts.append(visible(worker.problem))
    return " · ".join(parts)


def plot(metrics: Sequence[ProviderMetrics]) -> str:
    """Return p50 and p95 per provider as text bars; providers without a success yet are left out."""
    from routerconsole.console.render import chart

    width = min(shutil.get_terminal_size((PLOT_WIDTH, 24)).columns, PLOT_WIDTH)
    names = [visible(item.name, 24) for item in metrics]
    lines = chart.bars(names, [(item.p50_ms, item.p95_ms) for item in metrics], width=width)
    return "\n".join(("latency in ms: ▒ p50, █ p95", *lines)) if lines else "no latencies yet"
