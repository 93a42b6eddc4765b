"""How quickly the router gets away from what fails: failover, cancellation, and how a total outage is multiplied."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from bench import peers, upstream
from bench.report import Figure, Report, quantile
from tests.acceptance.live import Client, Json, free_port, wait_until
from tests.acceptance.live_engine import Engine
from tests.acceptance.live_simulator import simulator

SAMPLES = 200
OUTAGE_S, OUTAGE_RPS = 20.0, 100.0
QUIET: Json = {"kind": "openai_compatible", "discovery": {"enabled": False}, "health": {"enabled": False}}
ASKED: Json = {"messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def engine_with(home: Path, name: str, settings: Json) -> Iterator[Engine]:
    """A router with these settings on the server's core."""
    config = home / f"{name}.yaml"
    config.write_text(json.dumps({"version": 1, **settings}))
    engine = Engine(config, home / name, core=peers.SERVER_CORE).start()
    try:
        yield engine
    finally:
        engine.stop()


def failover(report: Report, home: Path) -> None:
    """From the request to the answer of the second provider, when the first refuses, resets or answers 503.

    Each failing model is asked four times only: from five samples on the router would put it last by itself.
    """
    broken = {
        "refused": f"http://127.0.0.1:{free_port()}/v1",
        "reset": f"{upstream.URL}/reset/v1",
        "503": f"{upstream.URL}/503/v1",
    }
    names = [f"m{n}" for n in range(SAMPLES // 4)]
    rows = [
        {"name": f"bad-{how}", "base_url": url, "models": [{"id": m} for m in names]} for how, url in broken.items()
    ]
    rows.append({"name": "good", "base_url": f"{upstream.URL}/r/v1", "models": [{"id": "m"}]})
    pools = [{"id": f"{how}-{m}", "members": [f"bad-{how}/{m}", "good/m"]} for how in broken for m in names]
    settings: Json = {"providers": [{**QUIET, "max_concurrency": 64, **row} for row in rows], "pools": pools}
    with engine_with(home, "failover", settings) as engine:
        admin = engine.admin()
        for how in broken:
            times = [_failed_over(admin, how, m) for m in names * 4]
            note = f"whole request as the client sees it; p50 {quantile(times, 0.5):.1f} ms, {SAMPLES} samples"
            report.add(Figure(f"failover after {how}, p99", quantile(times, 0.99), 100, 30, " ms", note=note))


def _failed_over(admin: Client, how: str, model: str) -> float:
    """Milliseconds of one request that fails over; circuits and gates are reset first so that the bad one is tried."""
    admin.control(f"bad-{how}", "reset_circuit", gates=True)
    begun = time.monotonic()
    answer = admin.chat({**ASKED, "model": f"{how}-{model}"})
    took = 1000 * (time.monotonic() - begun)
    if answer.status != HTTPStatus.OK or int(answer.headers["x-router-attempts"]) < 2:  # 3: a reused connection reset
        raise RuntimeError(f"no failover: {answer}")
    return took


def cancellation(report: Report, home: Path) -> None:
    """From the client's hang-up to the upstream's seeing it, in a stream and before any byte (one clock for both)."""
    models: Json = {"slow": {"tokens": 4000, "tokens_per_second": 50}, "mute": {"wire": "hang"}}
    with simulator(home, models) as url:
        provider = {**QUIET, "name": "sim", "base_url": url, "models": [{"id": name} for name in models]}
        with engine_with(home, "cancel", {"providers": [{**provider, "max_concurrency": 64}]}) as engine:
            for name, phase in (("slow", "in a stream"), ("mute", "before the first byte")):
                times = [_left(engine.client(), Client(url, ""), name) for _ in range(SAMPLES // 2)]
                note = f"p50 {quantile(times, 0.5):.1f} ms, {len(times)} samples"
                late = quantile(times, 0.99)
                report.add(Figure(f"cancel {phase} → upstream closed, p99", late, 100, 20, " ms", note=note))


def _left(client: Client, sim: Client, model: str) -> float:
    """Milliseconds from a hang-up to the simulator's record of it."""
    known, place = sim.get("/__sim/stats"), urlsplit(client.url)
    body = json.dumps({**ASKED, "model": model, "stream": True})
    head = f"POST {upstream.CHAT} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer {client.token}\r\n"
    size = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=30) as link:
        link.sendall((head + size + body).encode())
        if model == "slow":
            link.recv(65536)
        else:
            wait_until(lambda: sim.get("/__sim/stats")["total"] > known["total"], "the request upstream", every=0.002)
        left = time.monotonic()
    wait_until(lambda: sim.get("/__sim/stats")["closes"] > known["closes"], "the upstream's close", every=0.005)
    return 1000 * (float(sim.get("/__sim/closes")["closes"][-1]["at"]) - left)


def outage(report: Report, home: Path) -> None:
    """Attempts per request while every upstream fails, at a steady rate over a while."""
    failing = [f"http://127.0.0.1:{free_port()}/v1", f"{upstream.URL}/reset/v1", f"{upstream.URL}/503/v1"]
    rows = [{**QUIET, "name": f"bad{n}", "base_url": url, "models": [{"id": "m"}]} for n, url in enumerate(failing)]
    attempts, requests = 0, int(OUTAGE_S * OUTAGE_RPS)
    with engine_with(home, "outage", {"providers": [{**row, "max_concurrency": 64} for row in rows]}) as engine:
        client, begun = engine.client(), time.monotonic()
        for n in range(requests):
            time.sleep(max(0.0, begun + n / OUTAGE_RPS - time.monotonic()))
            attempts += int(client.chat({**ASKED, "model": "auto"}).headers["x-router-attempts"])
    note = f"{attempts} attempts for {requests} requests at {OUTAGE_RPS:g}/s over three failing providers"
    report.add(Figure("total outage: attempts per request", attempts / requests, 0.5, 0.1, note=note))
