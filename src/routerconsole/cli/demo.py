"""`routerconsole demo`: the router on an embedded fleet of real loopback upstreams with faults and traffic.

Needs no key, no model and no network; state goes to a temporary directory that is removed afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import threading
from concurrent.futures import Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson

from routerconsole.cli.console import NO_TERMINAL, run_beside, terminal_is_fine
from routerconsole.cli.demo_report import DemoReport
from routerconsole.cli.output import show_json
from routerconsole.cli.process import run_headless
from routerconsole.simulator.fleet import Fleet, demo_fleet
from routerconsole.simulator.traffic import TrafficItem, traffic
from routerconsole.wiring import EngineOptions, Node, Prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADLESS_SECONDS = 60.0
MAX_IN_FLIGHT = 64
"""Requests the generator has out at once; beyond it the fleet is slower than the traffic and requests are left out."""


def run(args: argparse.Namespace) -> int:
    """Run the demo on a console, or headless with one line per request and a summary."""
    if not args.headless and not terminal_is_fine():
        return NO_TERMINAL
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1_000_000)
    place = Path(tempfile.mkdtemp(prefix="routerconsole-demo-"))
    fleet = FleetThread(seed)
    try:
        prepared = _prepare(fleet.start(), place, seed)
        if not args.headless:
            return run_beside(prepared, args, title="demo", beside=partial(_drive, prepared, seed=seed))
        seconds = HEADLESS_SECONDS if args.seconds is None else args.seconds
        beside = partial(_headless, prepared, seed=seed, seconds=seconds, as_json=args.json)
        return run_headless(prepared, ready=_ready if not args.json else _no_line, beside=beside)
    finally:
        fleet.stop()
        shutil.rmtree(place, ignore_errors=True)


def _prepare(fleet: Fleet, place: Path, seed: int) -> Prepared:
    config = {
        "version": 1,
        "server": {"host": "127.0.0.1", "port": 0},
        "routing": fleet.routing_config,
        "providers": fleet.provider_configs,
    }
    options = EngineOptions(state_dir=place / "state", seed=seed)
    return prepare(options, os.environ, text=orjson.dumps(config).decode())  # JSON is YAML


def _ready(node: Node) -> None:
    print(f"routerconsole demo on {node.service.endpoint}", flush=True)


def _no_line(node: Node) -> None:
    """Say nothing: with --json the summary is the one document."""


async def _headless(prepared: Prepared, node: Node, *, seed: int, seconds: float, as_json: bool) -> None:
    """Drive traffic for so many seconds, printing each finished request; then the summary."""
    report = DemoReport(node.service.recorder.find, quiet=as_json)
    after = node.service.bus.last
    driving = node.service.tasks.start(_drive(prepared, node, seed=seed, seconds=seconds), name="demo traffic")
    while not driving.done():
        await asyncio.wait({driving}, timeout=0.2)
        after = report.follow(node.service.bus.page(after, 100_000))
    driving.result()
    report.follow(node.service.bus.page(after, 100_000))
    if as_json:
        show_json({"seed": seed, "seconds": seconds, **report.document()})
    else:
        report.summary()


async def _drive(prepared: Prepared, node: Node, *, seed: int, seconds: float | None = None) -> None:
    """Send the generator's requests through the public port until the time is over (None: for ever)."""
    loop = asyncio.get_running_loop()
    ends = None if seconds is None else loop.time() + seconds
    headers = {"authorization": f"Bearer {prepared.tokens.client.reveal()}"}
    connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
    slots = asyncio.Semaphore(MAX_IN_FLIGHT)
    async with (
        aiohttp.ClientSession(prepared.url, headers=headers, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for item in _until(traffic(seed), ends):
            await asyncio.sleep(item.delay_s)
            if ends is not None and loop.time() >= ends:
                break
            if not slots.locked():
                group.create_task(_send(session, item, slots))


def _until(items: Iterator[TrafficItem], ends: float | None) -> Iterator[TrafficItem]:
    """Bound the endless generator: no run sends more than a million requests."""
    for number in count():
        if ends is not None and number > 1_000_000:
            return
        yield next(items)


async def _send(session: aiohttp.ClientSession, item: TrafficItem, slots: asyncio.Semaphore) -> None:
    async with slots:
        try:
            async with session.post(item.path, json=item.body, headers=item.headers) as answer:
                await answer.read()
        except aiohttp.ClientError:
            return  # the router's own trace tells what happened


class FleetThread:
    """The simulated upstreams on a thread and loop of their own, as real ones would be elsewhere."""

    def __init__(self, seed: int) -> None:
        self._fleet = demo_fleet(seed)
        self._ready: Future[Fleet] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fleet", daemon=True)

    def start(self) -> Fleet:
        """Start and return the fleet once it listens."""
        self._thread.start()
        return self._ready.result(10.0)

    def stop(self) -> None:
        """Stop it and wait; idempotent."""
        if self._loop is not None and self._over is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5.0)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._fleet:
                self._ready.set_result(self._fleet)
                await self._over.wait()
        except OSError as exc:
            self._ready.set_exception(exc)
