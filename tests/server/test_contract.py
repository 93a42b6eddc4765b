"""The external interface where it is easily missed: headers on every answer, names, numbers, pages, actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.server.raw import Reply, Wire, admin, ask, chat, request
from tests.support.node import HELLO, RunningNode, chain, running_node, simulated

from routerconsole.domain.events import EventType
from routerconsole.simulator import Behaviour

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FORCED = {**HELLO, "tools": [TOOL], "tool_choice": "required"}
NAMED = ("x-router-request-id", "x-router-provider", "x-router-model", "x-router-attempts")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """Providers `a`, `b`, `c` by priority, all on one simulator; `c` is slow."""
    async with (
        simulated(m1=Behaviour(), m2=Behaviour(), slow=Behaviour(latency=5.0)) as simulator,
        running_node(chain(simulator, "m1", "m2", "slow"), tmp_path) as running,
    ):
        running.simulators.append(simulator)
        yield running


async def in_flight(node: RunningNode, work: asyncio.Task[Reply]) -> str:
    """Return the id of the one request under way, once its upstream has been asked."""
    after = 0
    async with asyncio.timeout(60):
        while not work.done():
            page = await node.control.events(after)
            for event in page.events:
                if event.type is EventType.ATTEMPT_STARTED and event.data["provider"] == "c":
                    return str(event.data["id"])
            after = page.next
            await node.control.wait_events(after)
    raise AssertionError("the request was answered at once")


# --- headers ---
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (orjson.dumps({}), 400), (orjson.dumps({**HELLO, "model": "nowhere"}), 404)],
)
async def test_C1_36_an_error_tells_the_routers_own_time(node: RunningNode, body: bytes, status: int) -> None:
    """Every whole answer has the overhead next to the four names, also one that was never routed."""
    reply = await chat(node.port, body)
    assert reply.status == status
    assert all(name in reply.headers for name in NAMED)
    assert float(reply.headers["x-router-overhead-ms"]) >= 0


async def test_C1_19_C1_36_an_undelivered_capability_is_named_by_the_error_too(node: RunningNode) -> None:
    """502 after several routes carries the mark and the overhead."""
    (simulator,) = node.simulators
    for model in ("m1", "m2", "slow"):
        simulator.set(model, Behaviour(tools="ignore"))
    reply = await chat(node.port, FORCED)
    assert (reply.status, reply.code) == (502, "capability_not_delivered")
    assert reply.headers["x-router-undelivered"] == "tools"
    assert float(reply.headers["x-router-overhead-ms"]) >= 0


async def test_C1_36_what_the_door_refuses_has_the_headers_too(node: RunningNode) -> None:
    """Headers too large never become a request; the answer still has the names."""
    async with await Wire.open(node.port) as wire:
        await wire.send(request("GET", "/healthz", headers={"x-long": "x" * 40_000}))
        reply = await wire.reply()
    assert (reply.status, reply.code) == (431, "headers_too_large")
    assert [reply.headers[name] for name in NAMED] == ["none", "none", "none", "0"]


# --- the trace in an answer ---
@pytest.mark.parametrize("usage", [False, True])
async def test_the_trace_is_in_the_last_chunk_of_a_stream(node: RunningNode, usage: bool) -> None:
    """`x-router-trace` adds to the last chunk before `[DONE]`, and to no other; it is a chunk like the others."""
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": usage}}
    reply = await chat(node.port, body, headers={"x-router-trace": "1", "content-type": "application/json"})
    *payloads, done = [line.removeprefix(b"data: ") for line in reply.body.split(b"\n\n") if line]
    chunks = [orjson.loads(payload) for payload in payloads]
    assert done == b"[DONE]"
    assert ["routerconsole" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["routerconsole"]["request_id"] == reply.headers["x-router-request-id"]
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert ("usage" in chunks[-1]) is usage


# --- names ---
@pytest.mark.parametrize("name", ["a__m1", "a/m1", "A__m1", "A/m1", "a%2Fm1", "auto", "AUTO"])
async def test_one_model_is_found_by_every_name_a_request_may_use(node: RunningNode, name: str) -> None:
    """Provider and pool names are case-insensitive here as well; the answer has the listed id and an id of its own."""
    reply = await ask(node.port, "GET", f"/v1/models/{name}")
    assert reply.status == 200
    assert reply.json["id"] == ("auto" if name.lower() == "auto" else "a__m1")
    assert "capabilities" in reply.json
    again = await ask(node.port, "GET", "/v1/models")
    assert reply.headers["x-router-request-id"] not in ("none", again.headers["x-router-request-id"])


@pytest.mark.parametrize("name", ["", "/", "m9", "a__M1", "b/m1", "a__m1/"])
async def test_R21_a_name_nobody_has_is_not_found(node: RunningNode, name: str) -> None:
    """Also the empty one: a trailing slash is no list."""
    reply = await ask(node.port, "GET", f"/v1/models/{name}")
    assert (reply.status, reply.code) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches"])
async def test_C2_08_every_anthropic_path_is_explained(node: RunningNode, path: str) -> None:
    """Not emulated, and said so."""
    reply = await ask(node.port, "POST", path, {})
    assert (reply.status, reply.code) == (404, "anthropic_ingress_not_supported")


# --- numbers ---
@pytest.mark.parametrize("number", [b"9007199254740993", b"18446744073709551615", b"-9223372036854775808"])
async def test_U35_whole_numbers_reach_the_upstream_exactly(node: RunningNode, number: bytes) -> None:
    """All of 64 bits."""
    (simulator,) = node.simulators
    reply = await chat(node.port, orjson.dumps(HELLO)[:-1] + b',"seed": %b,"x":[%b]}' % (number, number))
    sent = orjson.loads(simulator.received[-1].body)
    assert (reply.status, sent["seed"], sent["x"]) == (200, int(number), [int(number)])


async def test_R04_a_whole_number_that_would_change_is_refused(node: RunningNode) -> None:
    """Beyond 64 bits a number is refused, the same digits in a text are a text."""
    digits = b"12345678901234567890123"
    refused = await chat(node.port, orjson.dumps(HELLO)[:-1] + b',"seed": %b}' % digits)
    assert (refused.status, refused.code) == (400, "invalid_json")
    text = await chat(node.port, {"messages": [{"role": "user", "content": "n: " + digits.decode()}]})
    assert text.status == 200


async def test_a_long_tracestate_reaches_the_upstream(node: RunningNode) -> None:
    """The W3C wants 512 characters of it kept."""
    (simulator,) = node.simulators
    state = "a=" + "b" * 510
    await chat(node.port, HELLO, headers={"tracestate": state})
    sent = {name.lower(): value for name, value in simulator.received[-1].headers}
    assert sent["tracestate"] == state


# --- pages ---
async def walked(node: RunningNode, limit: int) -> list[str]:
    """Read the whole log page by page."""
    found: list[str] = []
    query = f"requests?limit={limit}"
    while True:
        page: dict[str, Any] = (await admin(node.port, "GET", query)).json
        found += [row["id"] for row in page["requests"]]
        if page["next"] is None:
            return found
        query = f"requests?limit={limit}&before={page['next']}"


async def test_pages_of_the_log_lose_nothing_that_has_just_ended(node: RunningNode) -> None:
    """The cursor holds at once, not only when the log is on the disk."""
    ids = [(await chat(node.port, HELLO)).headers["x-router-request-id"] for _ in range(5)]
    assert await walked(node, 2) == ids[::-1]
    assert await walked(node, 5) == ids[::-1]


async def test_pages_go_on_below_requests_in_flight(node: RunningNode) -> None:
    """A page filled by what is under way has a next one."""
    ids = [(await chat(node.port, HELLO)).headers["x-router-request-id"] for _ in range(3)]
    waiting = asyncio.create_task(chat(node.port, {**HELLO, "model": "c/slow"}))
    flying = await in_flight(node, waiting)
    assert await walked(node, 1) == [flying, *ids[::-1]]
    assert (await admin(node.port, "POST", f"requests/{flying}/cancel")).status == 200
    await waiting


# --- actions ---
@pytest.mark.parametrize("action", ["disable", "drain", "isolate"])
@pytest.mark.parametrize("path", ["router/providers/c/control", "router/routes/c/slow/control"])
async def test_what_takes_out_of_service_can_cut_what_runs_there(node: RunningNode, action: str, path: str) -> None:
    """`cancel_in_flight` belongs to every action that ends new requests."""
    waiting = asyncio.create_task(chat(node.port, {**HELLO, "model": "c/slow"}))
    await in_flight(node, waiting)
    reply = await admin(node.port, "POST", path, {"action": action, "cancel_in_flight": True})
    assert (reply.status, reply.json["persisted"]) == (200, True)
    assert (await waiting).code == "cancelled"


async def test_a_route_has_a_priority_of_its_own(tmp_path: Path) -> None:
    """`set_priority` on a route moves that route alone, at once, and is remembered over a restart."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as simulator:
        config = chain(simulator, "m1", "m2")
        body = {"action": "set_priority", "priority": -1}
        async with running_node(config, tmp_path) as node:
            reply = await admin(node.port, "POST", "router/routes/b/m2/control", body)
            assert (reply.json["before"], reply.json["after"]) == ({"priority": 2}, {"priority": -1})
            assert reply.json["persisted"] is True
            assert (await chat(node.port, HELLO)).headers["x-router-model"] == "m2"
            told = (await admin(node.port, "GET", "router/providers/b")).json
            assert (told["priority"], told["routes"][0]["priority"]) == (2, -1)
            unknown = await admin(node.port, "POST", "router/routes/b/m1/control", body)
            assert (unknown.status, unknown.code) == (404, "not_found")
        async with running_node(config, tmp_path) as node:
            assert (await chat(node.port, HELLO)).headers["x-router-model"] == "m2"


# --- who can serve what ---
@pytest.mark.parametrize(("path", "kinds"), [("completions", ("anthropic", "ollama")), ("embeddings", ("anthropic",))])
async def test_an_endpoint_asks_only_routes_whose_dialect_has_it(
    tmp_path: Path, path: str, kinds: tuple[str, ...]
) -> None:
    """The others are dropped before the first call: no attempt, a reason each, and the next route serves at once."""
    body = {"prompt": "x"} if path == "completions" else {"input": "x"}
    async with simulated(m1=Behaviour()) as simulator:
        rows = [
            {"name": kind, "kind": kind, "base_url": simulator.base_url, "api_key": "sk-for-tests-1", "priority": 1,
             "models": [{"id": "m1"}]}
            for kind in kinds
        ]  # fmt: skip
        last = {"name": "z", "kind": "openai_compatible", "base_url": simulator.base_url, "models": [{"id": "m1"}]}
        for providers, status, attempts in ((rows, 422, "0"), ([*rows, last], 200, "1")):
            text = orjson.dumps({"version": 1, "providers": providers}).decode()
            async with running_node(text, tmp_path / str(status)) as node:
                reply = await ask(node.port, "POST", f"/v1/{path}", {**body, "model": "m1"})
                assert (reply.status, reply.headers["x-router-attempts"]) == (status, attempts)
                if status == 422:
                    skipped = reply.json["error"]["routerconsole"]["skipped"]
                    assert reply.code == "capability_unavailable"
                    assert [item["reason"] for item in skipped] == [f"does not serve {path}"] * len(kinds)


async def test_zero_configuration_without_anything_says_what_to_configure(tmp_path: Path) -> None:
    """No provider at all is a 503 that names the key and the command."""
    async with running_node("version: 1\n", tmp_path) as node:
        reply = await chat(node.port, HELLO)
        assert (reply.status, reply.code) == (503, "no_routable_candidate")
        assert "`providers`" in reply.message
        assert "config init" in reply.message
        assert int(reply.headers["retry-after"]) > 0


async def test_C0_33_no_word_of_the_shown_configuration_is_api_key(tmp_path: Path) -> None:
    """Also not where a warning speaks of one."""
    row = {"name": "a", "kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "models": [{"id": "m"}]}
    rows = [{**row, "api_key": "sk-plain-text-123"}, {**row, "name": "b", "api_key": "env:NOT_SET_ANYWHERE"}]
    file = tmp_path / "providers.yaml"
    file.write_text(orjson.dumps({"version": 1, "providers": rows}).decode())
    async with running_node(file, tmp_path) as node:
        reply = await admin(node.port, "GET", "router/config")
    assert reply.json["warnings"]
    assert b"api_key" not in reply.body
    assert b"sk-plain-text-123" not in reply.body


async def test_R07_the_limit_is_told_as_it_was_written(tmp_path: Path) -> None:
    """Half a megabyte is not zero."""
    async with running_node("version: 1\nserver: {max_body_mb: 0.5}\n", tmp_path) as node:
        reply = await chat(node.port, b" " * 600_000)
    assert (reply.status, reply.code) == (413, "payload_too_large")
    assert "over 0.5 MB" in reply.message


async def test_U54_a_message_and_what_was_not_asked_are_two_sentences(node: RunningNode) -> None:
    """An upstream's words without a full stop do not run into ours."""
    (simulator,) = node.simulators
    simulator.set("m1", Behaviour(statuses=(500,)))
    assert (await admin(node.port, "POST", "router/providers/b/control", {"action": "disable"})).status == 200
    reply = await chat(node.port, HELLO, headers={"x-router-no-fallback": "1"})
    assert ". Not asked: b/m2: admin_disabled" in reply.message


# --- the door ---
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://127.0.0.1/healthz", 200),
        ("HTTP://127.0.0.1/healthz", 200),
        ("http://evil.example/healthz", 421),
        ("http://evil.example/v1/models", 421),
        ("http://user@127.0.0.1/healthz", 421),
        ("http://127.0.0.1.evil.example/api/v1/router/status", 421),
        ("http://evil.example?http://127.0.0.1/", 421),
    ],
)
async def test_X01_X07_an_absolute_target_names_the_same_server_as_host(
    node: RunningNode, target: str, status: int
) -> None:
    """The authority of an absolute target counts like a Host: one that is not ours is misdirected."""
    reply = await ask(node.port, "GET", target)
    assert reply.status == status
    if status == 421:
        assert reply.code == "misdirected_host"


async def test_a_replay_of_a_request_that_never_was_is_not_found(node: RunningNode) -> None:
    """By its own route and as a command; 409 is for one whose body is not kept."""
    args = {"request_id": "nope", "models": []}
    for path, body in (
        ("requests/nope/replay", {}),
        ("router/commands", {"command": "replay_request", "args": args}),
    ):
        reply = await admin(node.port, "POST", path, body)
        assert (reply.status, reply.code) == (404, "not_found")


@pytest.mark.parametrize(("value", "status"), [("1e12", 200), ("2500.5", 200), ("0", 400), ("-1", 400), ("inf", 400)])
async def test_a_timeout_of_the_client_only_lowers_the_deadline(node: RunningNode, value: str, status: int) -> None:
    """A longer one than ours changes nothing and is no mistake; what is no time above 0 is one."""
    reply = await chat(node.port, HELLO, headers={"x-router-timeout-ms": value})
    assert reply.status == status
    if status == 400:
        assert (reply.code, reply.json["error"]["param"]) == ("invalid_request", "x-router-timeout-ms")


async def test_a_providers_requests_are_those_it_served_and_those_it_failed_on_every_page(node: RunningNode) -> None:
    """The filter means the same in memory and in the log; names are whole names, and have no case."""
    (simulator,) = node.simulators
    simulator.set("m1", Behaviour(statuses=(500,)))
    ids = [(await chat(node.port, HELLO)).headers["x-router-request-id"] for _ in range(4)]
    found: list[str] = []
    query = "requests?provider=A&limit=1"
    while True:
        page = (await admin(node.port, "GET", query)).json
        found += [row["id"] for row in page["requests"]]
        if page["next"] is None:
            break
        query = f"requests?provider=a&limit=1&before={page['next']}"
    assert found == ids[::-1]
    assert (await admin(node.port, "GET", "requests?provider=c")).json["requests"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nowhere"}, 404, "model_not_found"),
        ({"messages": []}, 400, "invalid_request"),
        ({"messages": [{"role": "user", "content": "x" * 400_000}], "model": "a/m1"}, 200, None),
    ],
)
async def test_S42_early_headers_do_not_hide_what_is_refused_at_once(
    node: RunningNode, body: dict[str, object], status: int, code: str | None
) -> None:
    """Before any upstream is asked a refusal is still a real status; with one asked, the 200 is early as ever."""
    headers = {"x-router-early-headers": "1"}
    reply = await chat(node.port, {**HELLO, "stream": True, **body}, headers=headers)
    assert reply.status == status
    if code is not None:
        assert reply.code == code
    else:
        assert reply.body.startswith(b": waiting")
        assert reply.body.endswith(b"data: [DONE]\n\n")
