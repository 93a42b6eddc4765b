"""The three ways to hold an engine, each as a factory of a running one with its control port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.node import CLIENT_TOKEN, chain, prepared, running_node, simulated

from routerconsole.control.port import Control
from routerconsole.control.remote import RemoteControl
from routerconsole.control.threaded import ThreadedControl
from routerconsole.simulator import Behaviour, Simulator
from routerconsole.wiring import Node

FAILING, SERVING = "m1", "m2"


@dataclass(frozen=True, slots=True)
class Held:
    """An engine whose provider `a` answers 500 and whose provider `b` serves, and one way to control it."""

    control: Control
    url: str
    simulator: Simulator

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client with the client token; close it."""
        head = {"authorization": f"Bearer {CLIENT_TOKEN}"}
        return httpx.AsyncClient(base_url=self.url, headers=head, trust_env=False, timeout=60)


class _Thread:
    """A node on a thread and loop of its own."""

    def __init__(self, config: str, state: Path) -> None:
        self._config, self._state = config, state
        self._ready: asyncio.Future[tuple[Node, asyncio.AbstractEventLoop]]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="engine of a test")
        self._stop: asyncio.Event

    async def start(self) -> tuple[Node, asyncio.AbstractEventLoop]:
        """Start it; return once it serves."""
        self._caller = asyncio.get_running_loop()
        self._ready = self._caller.create_future()
        self._thread.start()
        return await self._ready

    async def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop it and wait for the thread."""
        loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        node = Node(prepared(self._config, self._state))
        await node.start()
        try:
            self._caller.call_soon_threadsafe(self._ready.set_result, (node, asyncio.get_running_loop()))
            await self._stop.wait()
        finally:
            await node.stop()


@asynccontextmanager
async def _local(config: str, tmp_path: Path) -> AsyncIterator[tuple[Control, str]]:
    async with running_node(config, tmp_path) as node:
        yield node.control, node.url


@asynccontextmanager
async def _threaded(config: str, tmp_path: Path) -> AsyncIterator[tuple[Control, str]]:
    thread = _Thread(config, tmp_path / "state")
    node, loop = await thread.start()
    try:
        yield ThreadedControl(node.control, loop), node.service.endpoint
    finally:
        await thread.stop(loop)


@asynccontextmanager
async def _remote(config: str, tmp_path: Path) -> AsyncIterator[tuple[Control, str]]:
    async with running_node(config, tmp_path) as node:
        control = RemoteControl(node.url, node.secret)
        try:
            yield control, node.url
        finally:
            await control.aclose()


WAYS = {"local": _local, "threaded": _threaded, "remote": _remote}


def _listed(text: str) -> str:
    """The same providers, whose models are listed."""
    return text.replace("discovery: {enabled: false}, ", "")


@pytest.fixture(params=list(WAYS))
async def held(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Held]:
    """An engine, controlled in each of the three ways."""
    behaviours = {FAILING: Behaviour(statuses=(500,)), SERVING: Behaviour()}
    async with (
        simulated(**behaviours) as simulator,
        WAYS[request.param](_listed(chain(simulator, FAILING, SERVING)), tmp_path) as (control, url),
    ):
        yield Held(control, url, simulator)
