"""One running engine for all tests of a module that leave it as they found it, and its upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.node import RunningNode, chain, running_node, simulated

from routerconsole.simulator import Behaviour, Simulator


@dataclass(frozen=True, slots=True)
class Bench:
    """A node with one healthy upstream model `m1`."""

    node: RunningNode
    simulator: Simulator

    @property
    def port(self) -> int:
        """Where the node listens on 127.0.0.1."""
        return self.node.port

    @property
    def asked(self) -> int:
        """How many completions the upstream was asked for; reachability probes are not counted."""
        return self.simulator.count("m1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """The module's engine."""
    state: Path = tmp_path_factory.mktemp("node")
    async with simulated(m1=Behaviour()) as simulator, running_node(chain(simulator, "m1"), state) as node:
        yield Bench(node, simulator)
