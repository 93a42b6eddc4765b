"""R23: what the document says is what is served, under generated requests, good and bad, over real HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.support.node import ADMIN_TOKEN, RunningNode, chain, running_node, simulated

from routerconsole.simulator import Behaviour

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/api/v1/events"
"""Its stream never ends; tests/server/test_control.py reads it."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """An engine on a thread of its own, because what generates the requests is synchronous."""
    ready: list[RunningNode] = []
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with (
            simulated(m1=Behaviour()) as simulator,
            running_node(chain(simulator, "m1"), tmp_path_factory.mktemp("node")) as running,
        ):
            ready.append(running)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(20)
    yield ready[0]
    stop.set()
    thread.join()


def test_R23_generated_requests_meet_the_document(node: RunningNode, tmp_path: Path) -> None:
    """No undocumented status, no 5xx, and every answer has the shape its schema names."""
    head = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    with httpx.Client(base_url=node.url, headers=head, trust_env=False) as client:
        document = client.get("/api/v1/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        operations = [item.ok() for item in schema.get_all_operations() if item.ok() and item.ok().path != ENDLESS]
        seen: set[tuple[str, int]] = set()
        for operation in operations:
            strategy = st.one_of(
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
            )

            @settings(
                max_examples=20,
                database=None,
                phases=[Phase.generate],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def run(case: schemathesis.Case) -> None:
                answer = case.call(base_url=node.url, headers=head)
                seen.add((case.path, answer.status_code))
                case.validate_response(answer, checks=CHECKS)

            run()
        assert len({path for path, _ in seen}) == len({operation.path for operation in operations})
        assert client.get("/healthz").json() == {"status": "ok"}
