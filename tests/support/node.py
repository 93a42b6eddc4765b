"""A whole engine on real sockets for tests: simulated upstreams, default configuration, its own state directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from routerconsole.control.local import LocalControl
from routerconsole.domain.secret import Secret
from routerconsole.engine.service import Service
from routerconsole.server.door import DoorLimits
from routerconsole.server.run import HttpServer
from routerconsole.simulator import Behaviour, Simulator
from routerconsole.wiring import EngineOptions, Node, Prepared, prepare

CLIENT_TOKEN, ADMIN_TOKEN = "client-token-for-tests", "admin-token-for-tests"
TOKENS = {"ROUTERCONSOLE_CLIENT_TOKEN": CLIENT_TOKEN, "ROUTERCONSOLE_ADMIN_TOKEN": ADMIN_TOKEN}
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
"""The smallest chat body."""


@dataclass(frozen=True, slots=True)
class RunningNode:
    """What a test holds of a running engine; `port` is on 127.0.0.1."""

    node: Node
    url: str
    port: int
    client_token: str = CLIENT_TOKEN
    admin_token: str = ADMIN_TOKEN
    simulators: list[Simulator] = field(default_factory=list)  # a place for a fixture to put its upstreams

    @property
    def service(self) -> Service:
        """The engine itself."""
        return self.node.service

    @property
    def control(self) -> LocalControl:
        """Its control port, on this loop."""
        return self.node.control

    @property
    def server(self) -> HttpServer:
        """Its HTTP server."""
        return self.node.server

    @property
    def secret(self) -> Secret:
        """The admin token as `RemoteControl` takes it."""
        return Secret(self.admin_token)

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client with the client token; close it."""
        return self._http(self.client_token)

    def admin(self) -> httpx.AsyncClient:
        """Return an HTTP client with the admin token; close it."""
        return self._http(self.admin_token)

    def _http(self, token: str) -> httpx.AsyncClient:
        head = {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.url, headers=head, trust_env=False, timeout=60)


def prepared(
    config: str | Path, state_dir: Path, *, env: Mapping[str, str] | None = None, host: str | None = None
) -> Prepared:
    """Prepare an engine on a free port from configuration text (or a file, which it then watches)."""
    environ = {**TOKENS, **(env or {})}
    if isinstance(config, Path):
        return prepare(EngineOptions(config=config, state_dir=state_dir, host=host, port=0, seed=7), environ)
    return prepare(EngineOptions(state_dir=state_dir, host=host, port=0, seed=7), environ, text=config)


@asynccontextmanager
async def running_node(
    config: str | Path,
    tmp_path: Path,
    *,
    env: Mapping[str, str] | None = None,
    limits: DoorLimits | None = None,
) -> AsyncIterator[RunningNode]:
    """Run an engine with its server; state in `tmp_path/state`, so that a second run continues the first.

    `limits` replaces the door's, for tests that cannot wait for the real ones.
    """
    node = Node(prepared(config, tmp_path / "state", env=env))
    if limits is not None:
        node.server.door.limits = limits
    await node.start()
    url = node.service.endpoint
    try:
        yield RunningNode(node, url, int(url.rpartition(":")[2]))
    finally:
        await node.stop()


@asynccontextmanager
async def simulated(**behaviours: Behaviour) -> AsyncIterator[Simulator]:
    """Run one simulated upstream whose models (`m1=Behaviour(...)`; `_` stands for `-`) behave as told."""
    simulator = Simulator(seed=7)
    for name, behaviour in behaviours.items():
        simulator.set(name.replace("_", "-"), behaviour)
    async with simulator:
        yield simulator


def chain(simulator: Simulator, *models: str, extra: str = "", **options: object) -> str:
    """Return configuration text: one provider per model (`a`, `b`, … by priority), all on one simulator.

    None is discovered: each would list the others' models as its own.
    `options` are keys of every model; `extra` is appended as it is.
    """
    rows = []
    for number, model in enumerate(models):
        keys = "".join(f", {name}: {value}" for name, value in options.items())
        rows.append(
            f'  - {{name: {chr(ord("a") + number)}, kind: openai_compatible, base_url: "{simulator.base_url}", '
            f"priority: {number + 1}, discovery: {{enabled: false}}, models: [{{id: {model}{keys}}}]}}"
        )
    return "version: 1\nproviders:\n" + "\n".join(rows) + "\n" + extra
