"""Bad requests over real sockets: the named error in the one shape, and no upstream is asked (faults.md §5)."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from tests.server.conftest import Bench
from tests.server.raw import CHAT, Wire, ask, chat, request
from tests.support.kernel import kernel_holds
from tests.support.node import HELLO

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = orjson.dumps(HELLO)


def with_text(text: bytes) -> bytes:
    """A chat body whose text is these raw JSON characters."""
    return b'{"messages":[{"role":"user","content":"' + text + b'"}]}'


def hello(**keys: object) -> dict[str, object]:
    """The smallest chat body with more keys."""
    return {**HELLO, **keys}


# --- R01 to R06: what is no JSON object ---
@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"true",
        TEXT[:-1],
        TEXT + b"x",
        TEXT + TEXT,
        b"   ",
        b"{",
        b"{'messages':[]}",
        b'{"messages":[],}',
        b"\x00",
    ],
)
async def test_R01_a_body_that_is_no_object_is_invalid_json(bench: Bench, body: bytes) -> None:
    """Null, lists, strings, truncated JSON and trailing garbage are refused."""
    asked = bench.asked
    reply = await chat(bench.port, body)
    assert (reply.status, reply.code) == (400, "invalid_json")
    assert reply.headers["x-router-request-id"] == reply.json["error"]["routerconsole"]["request_id"]
    assert reply.headers["x-router-attempts"] == "0"
    assert bench.asked == asked


async def test_R01_an_empty_body_is_invalid_json(bench: Bench) -> None:
    """No bytes at all."""
    reply = await chat(bench.port, b"", headers={"content-type": "application/json", "content-length": "0"})
    assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize("body", [with_text(b"\xff\xfe"), with_text(b"\xc3"), TEXT.decode().encode("utf-16")])
async def test_R02_a_body_that_is_not_utf8_is_invalid_json(bench: Bench, body: bytes) -> None:
    """Latin bytes, a cut character and UTF-16 are refused."""
    reply = await chat(bench.port, body)
    assert (reply.status, reply.code) == (400, "invalid_json")


async def test_R02_a_byte_order_mark_is_accepted(bench: Bench) -> None:
    """A BOM in front of UTF-8 is ignored."""
    assert (await chat(bench.port, b"\xef\xbb\xbf" + TEXT)).status == 200


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udfff x", rb"\ud83d"])
async def test_R03_a_lone_surrogate_is_no_500(bench: Bench, text: bytes) -> None:
    """Half a character is refused."""
    reply = await chat(bench.port, with_text(text))
    assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000])
async def test_R04_numbers_that_are_none_are_invalid_json(bench: Bench, number: bytes) -> None:
    """NaN, infinities, and numbers beyond every float are refused."""
    reply = await chat(bench.port, TEXT[:-1] + b',"temperature":' + number + b"}")
    assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_R05_a_body_100_000_levels_deep_is_refused_at_once(bench: Bench, opening: bytes) -> None:
    """Depth is bounded; finding out takes about the processor time of a flat body as long, never ended either."""
    deep, flat = (
        TEXT[:-1] + b',"x":' + rest for rest in (opening * 100_000, b'"' + b"a" * len(opening) * 100_000 + b'"')
    )

    async def cost(body: bytes) -> float:
        began = time.thread_time()
        assert (await chat(bench.port, body)).code == "invalid_json"
        return time.thread_time() - began

    most = min([await cost(flat) for _ in range(5)])
    assert min([await cost(deep) for _ in range(5)]) < 5 * most


@pytest.mark.parametrize("depth", [62, 64, 65, 1000])
async def test_R05_more_than_64_levels_are_refused(bench: Bench, depth: int) -> None:
    """The body itself is the first level."""
    reply = await chat(bench.port, TEXT[:-1] + b',"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}")
    assert reply.status == (200 if depth <= 64 else 400)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a/m1","model":"b/m2",' + TEXT[1:],
        b'{"model":"a/m1",' + TEXT[1:-1] + b',"model":"a/m1"}',
        b'{"model":"a/m1",' + TEXT[1:-1] + b', "model" : null}',
        b'{"model":"a/m1","mod\\u0065l":"b/m2",' + TEXT[1:],
    ],
)
async def test_R06_a_body_that_names_model_twice_is_refused(bench: Bench, body: bytes) -> None:
    """Which of the two is meant cannot be known."""
    asked = bench.asked
    reply = await chat(bench.port, body)
    assert (reply.status, reply.code) == (400, "invalid_json")
    assert bench.asked == asked


async def test_R06_the_word_model_elsewhere_is_no_duplicate(bench: Bench) -> None:
    """A tool may have a parameter called model, and a text may hold the word."""
    schema = {"type": "object", "properties": {"model": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"model": "a/m1", "messages": [{"role": "user", "content": 'say "model"'}], "tools": [tool]}
    assert (await chat(bench.port, body)).status == 200


async def test_R06_embeddings_are_not_streamed(bench: Bench) -> None:
    """A 400, where the upstream's whole answer would look like a broken stream and be held against its route."""
    asked = bench.asked
    reply = await ask(bench.port, "POST", "/v1/embeddings", {"model": "a/m1", "input": "x", "stream": True})
    assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, "invalid_request", "stream")
    reply = await ask(bench.port, "POST", "/v1/embeddings", {"model": "a/m1", "input": "x", "stream": False})
    assert reply.status == 200
    assert bench.asked == asked + 1


# --- R07: size ---
async def test_R07_a_body_announced_too_large_is_refused_unread(bench: Bench) -> None:
    """21 MB are refused by their length, and the connection is closed."""
    async with await Wire.open(bench.port) as wire:
        await wire.send(
            request("POST", CHAT, headers={"content-type": "application/json", "content-length": "22020096"})
        )
        reply = await wire.reply()
        assert (reply.status, reply.code) == (413, "payload_too_large")
        assert await wire.rest() == b""


async def test_R07_a_chunked_body_is_cut_off_at_the_limit(bench: Bench) -> None:
    """Without a length the bytes are counted; what comes after the limit is not kept."""
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    head = {"content-type": "application/json", "transfer-encoding": "chunked"}
    async with await Wire.open(bench.port) as wire:
        await wire.send(request("POST", CHAT, headers=head))
        answer = asyncio.ensure_future(wire.reply(within=60))
        sent = 0
        while not answer.done() and sent < 200 * 1024 * 1024:
            await wire.send(chunk * 16)
            sent += 16 * 65536
            await asyncio.sleep(0)
        reply = await answer
        assert (reply.status, reply.code) == (413, "payload_too_large")
        assert sent < 50 * 1024 * 1024 + kernel_holds()


# --- R09: model names ---
@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("", {400, 404}),
        (1, {400}),
        ([], {400}),
        ({}, {400}),
        (True, {400}),
        ("x" * 10_240, {400, 404}),
        ("a/m1\n", {400, 404}),
        ("../m1", {400, 404}),
        ("\x1b[31mm1", {400, 404}),
        ("🦙", {404}),
        ("\u202emodel", {400, 404}),
        ("a\x00b", {400, 404}),
        ("a/", {400, 404}),
        ("/", {400, 404}),
        ("auto/../a/m1", {400, 404}),
    ],
)
async def test_R09_odd_model_names_are_refused_and_never_echoed_raw(
    bench: Bench, model: object, status: set[int]
) -> None:
    """No control or direction character of a name comes back, in body or headers, and a long one is cut."""
    reply = await chat(bench.port, hello(model=model))
    assert reply.status in status
    assert reply.code in ("invalid_request", "model_not_found")
    assert not any(ord(sign) < 32 or sign == "\u202e" for sign in reply.message)
    assert len(reply.message) < 1000


async def test_R09_a_missing_model_is_the_default(bench: Bench) -> None:
    """Without a model, and with null, every chat route is meant."""
    for body in (HELLO, hello(model=None)):
        reply = await chat(bench.port, body)
        assert (reply.status, reply.headers["x-router-model"]) == (200, "m1")


# --- R11, R12, R17: fields ---
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [None]}, "messages"),
        ({"messages": [[]]}, "messages"),
        (hello(stream="yes"), "stream"),
        (hello(stream=[]), "stream"),
        (hello(tools={}), "tools"),
        (hello(tools="f"), "tools"),
    ],
)
async def test_R11_a_malformed_field_is_named(bench: Bench, body: object, field: str) -> None:
    """The message and `param` say which field is meant."""
    reply = await chat(bench.port, body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert field in reply.message
    assert str(reply.json["error"]["param"]).startswith(field)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "narrator", "content": "x"},
        {"role": "user", "content": [{"type": "telepathy", "thought": 1}]},
        {"role": "user", "content": "x", "unknown": {"deep": [1]}},
    ],
)
async def test_R11_R12_what_is_unknown_but_well_formed_passes_through(bench: Bench, message: object) -> None:
    """Roles, part types and keys we do not know are the upstream's business."""
    reply = await chat(bench.port, {"messages": [{"role": "user", "content": "hi"}, message]})
    assert reply.status == 200
    assert orjson.loads(bench.simulator.received[-1].body)["messages"][1] == message


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "image_url"}],
        [{"type": "image_url", "image_url": {}}],
        [{"type": "image_url", "image_url": {"url": 1}}],
        ["text"],
        [None],
        [{"type": "text", "text": "x"}] * 10_001,
    ],
)
async def test_R12_malformed_parts_are_refused(bench: Bench, parts: list[object]) -> None:
    """An image without an address, parts that are no objects, and more than 10,000 of them."""
    asked = bench.asked
    reply = await chat(bench.port, {"messages": [{"role": "user", "content": parts}]})
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert bench.asked == asked


@pytest.mark.parametrize("stream", ["true", 1, 0, "", {}])
async def test_R17_stream_must_be_a_boolean(bench: Bench, stream: object) -> None:
    """`"true"` and `1` are not true."""
    reply = await chat(bench.port, hello(stream=stream))
    assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, "invalid_request", "stream")


# --- R16: passed through ---
@pytest.mark.parametrize(
    "keys", [{"temperature": None}, {"temperature": -1}, {"temperature": "hot"}, {"n": 1000}, {"max_tokens": 0}]
)
async def test_R16_odd_sampling_values_reach_the_upstream_as_they_are(bench: Bench, keys: dict[str, object]) -> None:
    """Values are the upstream's to judge; keys are never dropped or corrected."""
    await chat(bench.port, hello(**keys))
    body = orjson.loads(bench.simulator.received[-1].body)
    assert {name: body[name] for name in keys} == keys


# --- R20: what may not be said in a body ---
@pytest.mark.parametrize("key", ["api_base", "base_url", "api_key", "extra_headers"])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/api/v1/router/complete"])
async def test_R20_a_body_cannot_choose_address_key_or_headers(bench: Bench, key: str, path: str) -> None:
    """Where a request goes and with what key is configuration only."""
    asked = bench.asked
    body = hello(prompt="x", input="x", **{key: "http://169.254.169.254/"})
    reply = await ask(bench.port, "POST", path, body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert key in reply.message
    assert bench.asked == asked


# --- R21, R22: paths and methods ---
@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions",
        "/v1/../api/v1/router/status",
        "/v1/%2e%2e/api/v1/router/status",
        "/v1/chat/completions/",
        "/v1/chat/completions;x",
        "/v1/chat%2fcompletions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/" + "a" * 8192,
        "/api/v1/../../v1/models",
        "/api/v1//router/status",
        "/api/v1/router/status/",
        "/api/v1/router%2Fstatus",
        "/API/v1/router/status",
        "/api/v1/router/complete/../status",
        "/healthz/../api/v1/router/status",
        "/",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_R21_X07_odd_paths_reach_nothing(bench: Bench, path: str, method: str) -> None:
    """Paths are compared raw: no spelling of one reaches a route, or an admin route with less than its token."""
    asked = bench.asked
    reply = await ask(bench.port, method, path, TEXT if method == "POST" else b"")
    assert reply.status in (400, 403, 404)
    assert reply.code in ("not_found", "invalid_request", "forbidden")
    assert bench.asked == asked


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/healthz", "GET"),
        ("PATCH", "/v1/models/auto", "GET"),
        ("GET", "/api/v1/router/complete", "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("TRACE", CHAT, "POST"),
    ],
)
async def test_R22_C15_a_wrong_method_is_told_the_right_one(bench: Bench, method: str, path: str, allow: str) -> None:
    """405 with Allow."""
    reply = await ask(bench.port, method, path)
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert allow in reply.headers["allow"].split(", ")


# --- R24: ids from outside ---
async def test_R24_a_request_id_of_the_client_is_bounded_and_never_ours(bench: Bench) -> None:
    """A long one is not passed on, a good one is; the router's own id is another, and never repeats."""
    long = await chat(bench.port, HELLO, headers={"x-request-id": "x" * 10_240})
    assert dict(bench.simulator.received[-1].headers).get("x-request-id") is None
    good = await chat(bench.port, HELLO, headers={"x-request-id": "mine-1"})
    seen = {name.lower(): value for name, value in bench.simulator.received[-1].headers}
    assert seen.get("x-request-id") == "mine-1"
    again = await chat(bench.port, HELLO, headers={"x-request-id": "mine-1"})
    ids = {reply.headers["x-router-request-id"] for reply in (long, good, again)}
    assert len(ids) == 3
    assert all(reply.status == 200 for reply in (long, good, again))
    assert "mine-1" not in ids


# --- media types ---
@pytest.mark.parametrize("media", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_X04_a_body_that_is_not_json_by_its_type_is_refused(bench: Bench, media: str | None) -> None:
    """What a web form can send is never taken for JSON."""
    for path in (CHAT, "/api/v1/router/complete"):
        reply = await ask(bench.port, "POST", path, TEXT, headers={"content-type": media})
        assert (reply.status, reply.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_json_with_parameters_and_in_capitals(bench: Bench, media: str) -> None:
    """The media type is compared as HTTP compares it."""
    assert (await chat(bench.port, HELLO, headers={"content-type": media})).status == 200


async def test_C2_08_the_anthropic_path_is_explained(bench: Bench) -> None:
    """It is not emulated, and says what to use."""
    reply = await ask(bench.port, "POST", "/v1/messages", HELLO)
    assert (reply.status, reply.code) == (404, "anthropic_ingress_not_supported")
    assert "/v1/chat/completions" in reply.message
