"""The control plane over real HTTP: shapes, refusals, and that the document says what is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.server.raw import Reply, Wire, admin, ask, chat, request
from tests.support.node import ADMIN_TOKEN, HELLO, RunningNode, chain, running_node, simulated

from routerconsole.simulator import Behaviour


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """Provider `a` fails, provider `b` serves."""
    async with (
        simulated(m1=Behaviour(statuses=(500,)), m2=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", "m2"), tmp_path) as running,
    ):
        running.simulators.append(simulator)
        yield running


async def act(node: RunningNode, name: str, **body: object) -> Reply:
    """One provider action."""
    return await admin(node.port, "POST", f"router/providers/{name}/control", body)


async def provider(node: RunningNode, name: str) -> dict[str, Any]:
    """One provider's row."""
    reply = await admin(node.port, "GET", f"router/providers/{name}")
    assert reply.status == 200
    return dict(reply.json)


async def test_C0_25_complete_sends_a_temperature_of_0_7_unless_told(node: RunningNode) -> None:
    """The default is added, an explicit value is kept."""
    reply = await ask(node.port, "POST", "/api/v1/router/complete", HELLO)
    assert reply.status == 200
    (simulator,) = node.simulators
    assert orjson.loads(simulator.received[-1].body)["temperature"] == 0.7
    told = reply.json
    assert (told["provider"], told["model"], told["is_fallback_model"]) == ("b", "m2", True)
    assert [item["class"] for item in told["attempts"]] == ["server", "ok"]
    assert told["request_id"] == reply.headers["x-router-request-id"]
    assert told["content"]
    assert told["latency_ms"] > 0
    await ask(node.port, "POST", "/api/v1/router/complete", {**HELLO, "temperature": 0, "seed": 3})
    body = orjson.loads(simulator.received[-1].body)
    assert (body["temperature"], body["seed"]) == (0, 3)


async def test_complete_is_never_a_stream_and_names_what_is_wrong(node: RunningNode) -> None:
    """`stream: true` and missing messages are 400 in the one shape."""
    for body, field in (({**HELLO, "stream": True}, "stream"), ({}, "messages"), ({"messages": "x"}, "messages")):
        reply = await ask(node.port, "POST", "/api/v1/router/complete", body)
        assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, "invalid_request", field)


async def test_C0_27_metrics_rows_have_the_named_keys(node: RunningNode) -> None:
    """Per provider and per route."""
    await chat(node.port, HELLO)
    rows = (await admin(node.port, "GET", "router/metrics")).json["providers"]
    keys = {"total_requests", "successful", "failed", "error_rate", "avg_latency_ms", "p50_ms", "p95_ms", "ttft_p50_ms"}
    for row in rows:
        assert keys | {"name", "tokens_per_s", "failures_by_class", "routes"} <= set(row)
        assert all(keys | {"model"} <= set(route) for route in row["routes"])


async def test_C0_29_disable_enable_and_reset(node: RunningNode) -> None:
    """Disable shows disabled, enable enabled; a reset closes an open circuit and its streak is nothing again."""
    assert (await act(node, "a", action="disable")).json["persisted"] is True
    row = await provider(node, "a")
    assert (row["enabled"], row["status"]) == (False, "disabled")
    await act(node, "a", action="enable")
    assert (await provider(node, "a"))["enabled"] is True
    for _ in range(10):
        await chat(node.port, {"model": "a/m1", **HELLO})
    (route,) = (await provider(node, "a"))["routes"]
    assert route["circuit_state"] == "open"
    reply = await admin(node.port, "POST", "router/routes/a/m1/control", {"action": "reset_circuit"})
    assert reply.json["before"]["circuit_state"] == "open"
    after = reply.json["after"]
    assert (after["circuit_state"], after["consecutive_failures"]) == ("closed", 0)
    (route,) = (await provider(node, "a"))["routes"]
    assert route["circuit_state"] == "closed"


@pytest.mark.parametrize("path", ["router/providers/a/control", "router/routes/a/m1/control"])
async def test_C0_29_enable_ends_a_forced_circuit_early(node: RunningNode, path: str) -> None:
    """It is auto again, shown before → after and audited."""
    await admin(node.port, "POST", path, {"action": "force_close", "ttl_s": 600})
    done = (await admin(node.port, "POST", path, {"action": "enable"})).json
    assert (done["before"]["admin"], done["after"]["admin"]) == ("forced_closed", "auto")
    (newest, _) = (await admin(node.port, "GET", "audit")).json["audit"]
    assert (newest["before"]["admin"], newest["after"]["admin"]) == ("forced_closed", "auto")


@pytest.mark.parametrize("path", ["router/providers/nobody/control", "router/routes/nobody/m/control"])
async def test_C0_30_an_unknown_name_is_404_and_an_unknown_action_400(node: RunningNode, path: str) -> None:
    """Both say what there is."""
    reply = await admin(node.port, "POST", path, {"action": "enable"})
    assert (reply.status, reply.code) == (404, "not_found")
    assert "not found" in reply.message
    reply = await act(node, "a", action="explode")
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "Unknown action" in reply.message
    for action in ("enable", "disable", "reset_circuit", "isolate", "force_close", "drain", "set_priority"):
        assert action in reply.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"acton": "enable"}, "did you mean `action`"),
        ({"action": "isolate", "ttl": 5}, "did you mean `ttl_s`"),
        ({"action": "isolate", "ttl_s": "5"}, "ttl_s"),
        ({"action": "isolate", "ttl_s": -1}, "ttl_s"),
        ({"action": "isolate", "ttl_s": True}, "ttl_s"),
        ({"action": "disable", "cancel_in_flight": 1}, "cancel_in_flight"),
        ({"action": "set_priority"}, "priority"),
        ({"action": "set_priority", "priority": False}, "priority"),
        ({"action": "enable", "ttl_s": 5}, "ttl_s"),
        ({"action": 1}, "Unknown action"),
        ({}, "action"),
    ],
)
async def test_control_bodies_are_strict(node: RunningNode, body: object, told: str) -> None:
    """Unknown keys, other types and options without effect are 400 and change nothing."""
    reply = await admin(node.port, "POST", "router/providers/b/control", body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert told in reply.message
    assert (await admin(node.port, "GET", "audit")).json == {"audit": []}


async def test_C0_32_a_health_check_leaves_a_disabled_provider_disabled(node: RunningNode) -> None:
    """It tells reach and latency, with and without a body."""
    await act(node, "a", action="disable")
    for body in (b"", {"providers": ["a"]}):
        reply = await admin(node.port, "POST", "router/health-check", body)
        assert reply.status == 200
        assert {"name", "kind", "healthy", "status", "latency_ms", "depth", "detail"} <= set(reply.json["providers"][0])
        assert reply.json["checked_at"].endswith("Z")
    assert (await provider(node, "a"))["status"] == "disabled"


async def test_C0_33_the_configuration_has_thresholds_and_no_key(node: RunningNode) -> None:
    """No key named api_key anywhere."""
    reply = await admin(node.port, "GET", "router/config")
    assert reply.json["routing"]["circuit"]["failure_threshold"] == 5
    assert b"api_key" not in reply.body


async def test_C1_35_failures_are_newest_first_aggregated_and_reset_by_the_admin_only(node: RunningNode) -> None:
    """A limit takes the last ones, a bad `since` limits nothing, three failures of one target are 3."""
    ids = [(await chat(node.port, HELLO)).headers["x-router-request-id"] for _ in range(3)]
    reply = await admin(node.port, "GET", "failures?limit=2&since=garbage")
    assert reply.status == 200
    assert [item["request_id"] for item in reply.json["failures"]] == [ids[2], ids[1]]
    assert [(item["provider"], item["failures"]) for item in reply.json["targets"]] == [("a", 3)]
    assert (await admin(node.port, "GET", "failures?since=2999-01-01")).json["failures"] == []
    assert (await ask(node.port, "POST", "/api/v1/failures/reset", token=None)).status == 401
    assert (await ask(node.port, "POST", "/api/v1/failures/reset")).status == 403
    assert (await admin(node.port, "POST", "failures/reset")).status == 200
    assert (await admin(node.port, "GET", "failures")).json == {"failures": [], "targets": []}


async def test_C1_48_there_is_one_record_per_request_under_the_id_of_its_answer(node: RunningNode) -> None:
    """The requested model is what the client wrote."""
    reply = await chat(node.port, {"model": "B/m2", **HELLO})
    request_id = reply.headers["x-router-request-id"]
    rows = (await admin(node.port, "GET", f"requests?filter={request_id}")).json["requests"]
    assert [(row["id"], row["model"]) for row in rows] == [(request_id, "B/m2")]
    detail = (await admin(node.port, "GET", f"requests/{request_id}")).json
    assert detail["candidates"]
    assert {"n", "class", "circuit_before", "circuit_after"} <= set(detail["attempts_detail"][0])


async def test_C1_50_records_hold_no_header_of_the_client(node: RunningNode) -> None:
    """Neither its token nor what else it sent."""
    reply = await chat(node.port, HELLO, headers={"x-canary": "canary-4711"})
    detail = await admin(node.port, "GET", f"requests/{reply.headers['x-router-request-id']}")
    assert detail.status == 200
    assert b"canary-4711" not in detail.body
    assert b"client-token" not in detail.body


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "filter=lat%3Ex",
        "filter=" + "x+" * 3000,
        "limit=-1",
        "limit=x",
        "limit=",
        "before=x",
        "status=bogus",
        "failed_over=maybe",
        "limit=1e3",
    ],
)
async def test_queries_are_checked(node: RunningNode, query: str) -> None:
    """A query that means nothing is 400, never 500."""
    reply = await admin(node.port, "GET", f"requests?{query}")
    assert (reply.status, reply.code) == (400, "invalid_request")


async def test_the_log_takes_the_filter_language(node: RunningNode) -> None:
    """Terms narrow over HTTP as in the console; a row's id is a cursor too; a term without sense is named."""
    first = (await chat(node.port, HELLO)).headers["x-router-request-id"]
    second = (await chat(node.port, {"model": "b/m2", **HELLO})).headers["x-router-request-id"]

    async def ids(query: str) -> list[str]:
        return [row["id"] for row in (await admin(node.port, "GET", f"requests?{query}")).json["requests"]]

    assert await ids("filter=fo") == [first]
    assert await ids("filter=-fo") == [second]
    assert await ids("filter=%21+fo") == [second]
    assert await ids("filter=prov%3Aa+code%3A5xx") == [first]
    assert await ids("filter=hops%3D1+status%3Aok+last%3A5m") == [second]
    assert await ids("filter=lat%3E1h") == []
    assert await ids(f"before={second}") == [first]
    assert await ids("before=abcdef-99999") == []
    refused = await admin(node.port, "GET", "requests?filter=lat%3Ex")
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert "'lat>x'" in refused.message


async def test_names_with_a_slash_are_one_encoded_segment(node: RunningNode) -> None:
    """The raw path is split before it is decoded."""
    reply = await admin(node.port, "GET", "router/providers/a%2Fb")
    assert (reply.status, reply.code) == (404, "not_found")
    assert "a/b" in reply.message
    reply = await admin(node.port, "POST", "router/routes/b/no%2Fsuch%3Amodel/control", {"action": "enable"})
    assert reply.status == 404
    assert "no/such:model" in reply.message


async def test_wrong_methods_are_told_the_right_ones(node: RunningNode) -> None:
    """405 with Allow, HEAD with GET."""
    reply = await admin(node.port, "DELETE", "requests")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert (await admin(node.port, "GET", "failures/reset")).headers["allow"] == "POST"


# --- events ---
async def _events(wire: Wire) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream with their fields."""
    pending = b""
    while True:
        size = int(await wire.reader.readline(), 16)
        if size == 0:
            return
        pending += await wire.reader.readexactly(size)
        await wire.reader.readexactly(2)
        *blocks, pending = pending.split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
            if b"event" in fields:
                data = orjson.loads(fields[b"data"])
                yield {**data, "number": int(fields[b"id"]), "event": fields[b"event"].decode()}


async def _opened(wire: Wire, **headers: str) -> None:
    """Ask for the events and wait for the answer's head: from here on none is missed."""
    await wire.send(request("GET", "/api/v1/events", token=ADMIN_TOKEN, headers=headers))
    head = await wire.reader.readuntil(b"\r\n\r\n")
    assert b"200" in head.split(b"\r\n")[0]
    assert b"text/event-stream" in head


async def _take(wire: Wire, last: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        async for event in _events(wire):
            found.append(event)
            if event["event"] == last:
                break
    return found


async def test_events_are_pushed_with_ids_and_resume_after_the_last_one(node: RunningNode) -> None:
    """Every event once, in order, also over a break of the connection."""
    async with await Wire.open(node.port) as wire:
        await _opened(wire)
        request_id = (await chat(node.port, HELLO)).headers["x-router-request-id"]
        first = await _take(wire, "request.completed")
    assert all(event["number"] == event["seq"] and event["event"] == event["type"] for event in first)
    assert first[-1]["row"]["id"] == request_id
    await chat(node.port, HELLO)
    async with await Wire.open(node.port) as wire:
        await _opened(wire, **{"last-event-id": str(first[-1]["number"])})
        second = await _take(wire, "request.completed")
    assert [event["number"] for event in second] == list(range(first[-1]["number"] + 1, second[-1]["number"] + 1))


async def test_a_number_of_an_engine_that_has_ended_resumes_at_this_ones_first_event(node: RunningNode) -> None:
    """Its client has seen none of them: numbers begin anew with every engine."""
    await chat(node.port, HELLO)
    async with await Wire.open(node.port) as wire:
        await _opened(wire, **{"last-event-id": str(10**9)})
        assert (await _take(wire, "request.completed"))[0]["number"] == 1


async def test_a_reader_that_lost_events_is_told_how_many(node: RunningNode) -> None:
    """`dropped` stands in the place of what the ring no longer has."""
    bus = node.service.bus
    kept = (await node.control.events(0, 10**6)).events
    from routerconsole.domain.events import EventType, Fact

    for number in range(20_010):
        bus.publish(Fact(EventType.HEALTH_CHANGED, {"n": number}))
    async with await Wire.open(node.port) as wire:
        await _opened(wire, **{"last-event-id": "1"})
        (dropped, after) = (await _take(wire, "health.changed"))[:2]
    assert dropped["event"] == "dropped"
    assert dropped["count"] == after["number"] - 2
    assert dropped["number"] == after["number"] - 1
    assert len(kept) < 20_000


async def test_a_reader_of_events_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """When the engine stops, the stream ends in good order."""
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1"), tmp_path) as node,
        await Wire.open(node.port) as wire,
    ):
        await wire.send(request("GET", "/api/v1/events", token=ADMIN_TOKEN))
        await wire.reader.readuntil(b"\n\n")
        began = asyncio.get_running_loop().time()
        await node.node.stop()
        assert asyncio.get_running_loop().time() - began < 8.0  # an idle stream says something every 15 s
        assert (await wire.rest()).endswith(b"0\r\n\r\n")


# --- the document ---
async def test_the_document_names_every_route(node: RunningNode) -> None:
    """It is OpenAPI 3.1, and its references resolve."""
    reply = await admin(node.port, "GET", "openapi.json")
    document = reply.json
    assert document["openapi"].startswith("3.1")
    for path in ("router/complete", "router/providers/{name}/control", "requests/{id}/replay", "events", "audit"):
        assert f"/api/v1/{path}" in document["paths"]
    names = {part.split(b'"')[0].decode() for part in reply.body.split(b"#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert b'"class_"' not in reply.body


ACTION = "/api/v1/router/providers/b/control"


@pytest.mark.parametrize(("said", "audited"), [(None, "api"), ("api", "api"), ("cli", "cli"), ("console", "console")])
async def test_who_asks_is_audited(node: RunningNode, said: str | None, audited: str) -> None:
    """Programs are `api`; the faces of our own say who they are, on every route that changes something."""
    async with node.admin() as client:
        head = {} if said is None else {"x-router-actor": said}
        for path, body in (
            (ACTION, {"action": "disable"}),
            ("/api/v1/router/commands", {"command": "enable_provider", "args": {"provider": "b"}}),
            ("/api/v1/failures/reset", {}),
        ):
            assert (await client.post(path, json=body, headers=head)).status_code == 200
        rows = (await client.get("/api/v1/audit")).json()["audit"]
    assert [row["actor"] for row in rows] == [audited] * 3


@pytest.mark.parametrize("said", ["root", "CLI", "cli, console", "", "cl\xef", ("cli", "console")])
async def test_a_made_up_actor_is_refused(node: RunningNode, said: str | tuple[str, ...]) -> None:
    """Only our own names, and one of them: else 400, nothing changed, nothing audited."""
    values = (said,) if isinstance(said, str) else said
    head = [(b"x-router-actor", value.encode("latin-1")) for value in values]
    async with node.admin() as client:
        answer = await client.post(ACTION, json={"action": "disable"}, headers=[*client.headers.raw[-1:], *head])
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-router-actor")
        assert (await client.get("/api/v1/audit")).json() == {"audit": []}


async def test_an_actor_is_no_key(node: RunningNode) -> None:
    """With the client token it opens nothing, and where that token is enough it means nothing."""
    async with node.client() as client:
        head = {"x-router-actor": "console"}
        assert (await client.post(ACTION, json={"action": "disable"}, headers=head)).status_code == 403
        for path in ("/v1/chat/completions", "/api/v1/router/complete"):
            assert (await client.post(path, json=HELLO, headers={"x-router-actor": "nobody"})).status_code == 200
