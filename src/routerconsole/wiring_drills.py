"""Failover drills: one scripted upstream per route behind an engine of their own, for as long as one drill takes."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from routerconsole import __version__
from routerconsole.config.build import build_registry
from routerconsole.config.load import load_text
from routerconsole.domain.request import Origin
from routerconsole.engine.clock import SystemClock
from routerconsole.engine.keeping import LogPolicy
from routerconsole.engine.service import Loaded, Service
from routerconsole.evals.asking import ask
from routerconsole.evals.drill import MODEL, scripts
from routerconsole.evals.fill import draw
from routerconsole.evals.plan import next_call
from routerconsole.evals.types import Sample, Target, TargetKind
from routerconsole.simulator import Simulator
from routerconsole.storage.db import Database
from routerconsole.storage.migrations import LOG, STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.evals.scenario import Scenario
    from routerconsole.evals.types import CellKey, Reply

GIVEN_UP_S = 1.5
"""A hanging route is given up after this; the default would make a drill last half a minute."""


async def drill(scenario: Scenario, key: CellKey) -> Sample:
    """Run one drill and return what a client would have seen, with the circuits after each call."""
    rng = random.Random(f"{key.scenario_id}:{key.repeat}")  # noqa: S311 - nonces of a test
    variables = draw(scenario.said.vars, rng)
    target = Target("drill", TargetKind.AUTO, MODEL)
    replies: list[Reply] = []
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="routerconsole-drill-")))
        urls = []
        for number, script in enumerate(scripts(scenario.said), 1):
            simulator = Simulator(script, seed=number)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            urls.append(simulator.base_url)
        service = _service(urls, root, rng)
        await service.start()
        stack.push_async_callback(service.stop, drain_s=0.0)
        while (call := next_call(scenario, variables, replies)) is not None:
            reply = await ask(service.chat, target, call, origin=Origin.HTTP)
            replies.append(replace(reply, trace=replace(reply.trace, circuits=_circuits(service))))
            await asyncio.sleep(0)
    return Sample(scenario.id, variables, tuple(replies))


def _circuits(service: Service) -> dict[str, str]:
    """Return how every route's circuit stands, its provider's where that one is open."""
    now = service.clock.monotonic()
    found = {}
    registry = service.registry
    for route in (each for key in registry.models for each in registry.routes(key)):
        own, of_provider = service.board.circuit(route, now)[0], service.board.circuit(route.provider, now)[0]
        found[f"{route.provider}/{route.model}"] = str(own if of_provider.value == "closed" else of_provider)
    return found


def _service(urls: Sequence[str], root: Path, rng: random.Random) -> Service:
    providers = [
        {
            "name": f"drill-{number}",
            "kind": "openai_compatible",
            "base_url": url,
            "priority": number,
            "timeouts": {"first_token_timeout": GIVEN_UP_S, "total_timeout": GIVEN_UP_S},
            "discovery": {"enabled": False},
            "health": {"enabled": False},
            "models": [{"id": "drill", "capabilities": ["text", "tools", "json", "json_schema"]}],
        }
        for number, url in enumerate(urls, 1)
    ]
    settings = load_text(json.dumps({"version": 1, "providers": providers}), "drill", {}).settings
    clock = SystemClock()
    return Service(
        Loaded(build_registry(settings, {}), {}, (), None, str),
        state_db=Database(root / "state.db", STATE, wall=clock.wall),
        log_db=Database(root / "log.db", LOG, wall=clock.wall, synchronous="NORMAL"),
        clock=clock,
        rng=rng,
        log_policy=LogPolicy(bodies="off"),
        version=__version__,
    )
