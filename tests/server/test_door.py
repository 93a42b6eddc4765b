"""Who is let in: Host, origin, token, and bytes that are not one plain HTTP request (faults.md §9, interface.md §6)."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext

import orjson
import pytest
from tests.server.conftest import Bench
from tests.server.raw import CHAT, Wire, admin, ask, chat, request
from tests.support.node import ADMIN_TOKEN, CLIENT_TOKEN, HELLO

from routerconsole.domain.errors import RequestRejected
from routerconsole.domain.secret import Secret
from routerconsole.server.guard import Access, Guard
from routerconsole.simulator import Behaviour
from routerconsole.simulator.behaviour import Wire as Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUS = "/api/v1/router/status"
TEXT = orjson.dumps(HELLO)
BUSY = 20
"""Requests that show that a normal client is served meanwhile."""


# --- X01, X07: Host ---
@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "127.0.0.1:evil.com",
        "localhost.evil.com",
        "0.0.0.0",
        "127.0.0.1.",
        "localhost.",
        "löcalhost",
        "xn--lcalhost-n4a",
        "127.0.0.2",
        "2130706433",
        "127.1",
        "[::]",
        "[::1",
        "[::1]x",
        "::1",
        "",
        "x/api/v1/router/complete?",
        "localhost/api",
        "localhost@evil.com",
        "user@localhost",
        "localhost:80:80",
        "localhost, evil.com",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", CHAT, STATUS])
async def test_X01_X07_a_host_that_is_not_ours_is_misdirected(bench: Bench, host: str, path: str) -> None:
    """421 on every path, whatever the token; the Host never takes part in routing or authorisation."""
    method = "POST" if path == CHAT else "GET"
    body = TEXT if path == CHAT else b""
    raw = request(method, path, body, host=None, token=ADMIN_TOKEN).split(b"\r\n", 1)
    async with await Wire.open(bench.port) as wire:
        await wire.send(raw[0] + b"\r\nhost: " + host.encode() + b"\r\n" + raw[1])
        reply = await wire.reply()
    assert (reply.status, reply.code) == (421, "misdirected_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]", "[::1]:8808", "LocalHost"])
async def test_X01_loopback_names_are_ours_with_any_port(bench: Bench, host: str) -> None:
    """A forwarded port over SSH works, and names have no case."""
    assert (await ask(bench.port, "GET", "/healthz", host=host)).status == 200


async def test_X01_no_host_and_two_hosts_are_malformed(bench: Bench) -> None:
    """Exactly one Host is required."""
    assert (await ask(bench.port, "GET", "/healthz", host=None)).status == 400
    async with await Wire.open(bench.port) as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nHost: localhost\r\n\r\n")
        assert (await wire.reply()).status == 400


# --- X04: browsers ---
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.com"},
        {"origin": "null"},
        {"origin": "https://localhost.evil.com"},
        {"origin": "file://"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "Cross-Site"},
    ],
)
@pytest.mark.parametrize("path", [CHAT, STATUS, "/v1/models", "/api/v1/router/complete"])
async def test_X04_what_a_foreign_page_causes_is_refused(bench: Bench, headers: dict[str, str], path: str) -> None:
    """403 before anything is read, and no CORS header ever."""
    asked = bench.asked
    reply = await ask(bench.port, "POST", path, TEXT, headers=headers, token=ADMIN_TOKEN)
    assert (reply.status, reply.code) == (403, "forbidden_origin")
    assert not any(name.startswith("access-control-") for name in reply.headers)
    assert bench.asked == asked


async def test_X04_preflights_are_refused(bench: Bench) -> None:
    """Neither CORS nor private-network preflights are answered with permission."""
    head = {
        "origin": "http://evil.com",
        "access-control-request-method": "POST",
        "access-control-request-private-network": "true",
    }
    reply = await ask(bench.port, "OPTIONS", CHAT, headers=head, token=None)
    assert reply.status == 403
    assert not any(name.startswith("access-control-") for name in reply.headers)


async def test_X04_a_form_post_is_refused_and_our_own_origin_is_not(bench: Bench) -> None:
    """text/plain is not JSON; a page of our own is not foreign."""
    assert (await ask(bench.port, "POST", CHAT, TEXT, headers={"content-type": "text/plain"})).status == 415
    own = {"origin": f"http://localhost:{bench.port}", "sec-fetch-site": "same-origin"}
    assert (await chat(bench.port, HELLO, headers=own)).status == 200


# --- X05: tokens ---
@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {ADMIN_TOKEN}x",
        f"Bearer {ADMIN_TOKEN[:-1]}",
        f"Basic {ADMIN_TOKEN}",
        ADMIN_TOKEN,
        f"Bearer {ADMIN_TOKEN},{ADMIN_TOKEN}",
        f"Bearer {ADMIN_TOKEN} {ADMIN_TOKEN}",
        "Bearer " + "x" * 20_000,
        "Bearer tök",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", STATUS), ("POST", CHAT), ("GET", "/v1/models")])
async def test_X05_no_token_or_a_wrong_one_is_unauthorized(
    bench: Bench, given: str | None, method: str, path: str
) -> None:
    """401 in the one shape; the token given is not repeated."""
    body = TEXT if method == "POST" else b""
    reply = await ask(bench.port, method, path, body, token=None, headers={"authorization": given})  # type: ignore[dict-item]  # None leaves it out
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert ADMIN_TOKEN.encode() not in reply.body


async def test_X05_a_token_of_one_megabyte_or_with_nul_is_refused(bench: Bench) -> None:
    """The header limit or the parser ends it."""
    assert (await ask(bench.port, "GET", STATUS, token="x" * 1_000_000)).status == 431
    assert (await ask(bench.port, "GET", STATUS, token="a\x00b")).status in (400, 401)


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "key", "authorization"])
async def test_X05_a_token_in_the_query_opens_nothing(bench: Bench, name: str) -> None:
    """Query strings end up in logs."""
    reply = await ask(bench.port, "GET", f"{STATUS}?{name}={ADMIN_TOKEN}", token=None)
    assert reply.status == 401


async def test_X05_two_authorization_headers_open_nothing(bench: Bench) -> None:
    """Which one counts would be a guess."""
    raw = request("GET", STATUS, token=ADMIN_TOKEN).replace(b"\r\n\r\n", b"\r\nauthorization: Bearer x\r\n\r\n")
    async with await Wire.open(bench.port) as wire:
        await wire.send(raw)
        assert (await wire.reply()).status == 401


async def test_X05_the_client_token_is_forbidden_the_control_plane(bench: Bench) -> None:
    """Every control path but `router/complete` asks for the admin token, known paths and unknown ones."""
    for path in ("router/status", "router/config", "requests", "events", "openapi.json", "nothing", "failures/reset"):
        for method in ("GET", "POST"):
            reply = await ask(bench.port, method, f"/api/v1/{path}")
            assert (reply.status, reply.code) == (403, "forbidden"), path
    assert (await ask(bench.port, "POST", "/api/v1/router/complete", TEXT)).status == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_X05_the_scheme_has_no_case_and_the_admin_token_opens_all(bench: Bench, scheme: str) -> None:
    """As HTTP says."""
    for path in (STATUS, "/v1/models"):
        reply = await ask(bench.port, "GET", path, headers={"authorization": f"{scheme} {ADMIN_TOKEN}"})
        assert reply.status == 200


async def test_X05_tokens_are_not_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Neither right nor wrong ones, at any level."""
    caplog.set_level(logging.DEBUG)
    await ask(bench.port, "GET", STATUS, token="wrong-token-canary")
    await admin(bench.port, "GET", "router/status")
    assert "wrong-token-canary" not in caplog.text
    assert ADMIN_TOKEN not in caplog.text


async def test_X05_both_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is given, both comparisons are made, with the comparison that takes the same time for all."""
    import hmac

    seen: list[bytes] = []
    real = hmac.compare_digest

    def counted(given: bytes, held: bytes) -> bool:
        seen.append(held)
        return real(given, held)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    guard = Guard(Secret(CLIENT_TOKEN), Secret(ADMIN_TOKEN))
    for token in (ADMIN_TOKEN, CLIENT_TOKEN, "wrong"):
        seen.clear()
        with nullcontext() if token == ADMIN_TOKEN else pytest.raises(RequestRejected):
            guard.check_token([(b"authorization", b"Bearer " + token.encode())], Access.ADMIN, peer="127.0.0.1")
        assert sorted(seen) == sorted([ADMIN_TOKEN.encode(), CLIENT_TOKEN.encode()])


async def test_X33_without_a_token_only_health_is_told(bench: Bench) -> None:
    """`/healthz` says ok and nothing else; metrics and models need a token."""
    reply = await ask(bench.port, "GET", "/healthz", token=None)
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert not any(name.startswith("x-router") or name == "server" for name in reply.headers)
    for path in ("/metrics", "/v1/models", "/", "/api/v1/router/metrics", "/docs", "/openapi.json"):
        told = await ask(bench.port, "GET", path, token=None)
        assert told.status in (401, 404), path
        assert b"m1" not in told.body


# --- the boundary: subscriptions, and clients of an API that is not emulated (product.md) ---
SUBSCRIBED = "sk-ant-oat01-canary"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", STATUS])
@pytest.mark.parametrize(
    ("token", "more"),
    [
        (SUBSCRIBED, {}),
        (None, {"x-api-key": SUBSCRIBED}),
        *((ADMIN_TOKEN, {name: SUBSCRIBED}) for name in ("x-api-key", "api-key", "proxy-authorization")),
    ],
)
async def test_a_subscription_token_is_refused_at_the_door(
    bench: Bench, path: str, token: str | None, more: dict[str, str]
) -> None:
    """Whatever else comes with it; the answer says what to use instead and does not repeat it."""
    reply = await ask(bench.port, "POST", path, HELLO, token=token, headers=more)
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert "sk-ant-oat…" in reply.message
    assert "API key" in reply.message
    assert b"canary" not in reply.body


async def test_an_open_loopback_refuses_subscription_tokens_too() -> None:
    """Where local programs are asked for nothing, this is still not let in."""
    guard = Guard(Secret(CLIENT_TOKEN), Secret(ADMIN_TOKEN), loopback_open=True)
    guard.check_token([], Access.CLIENT, peer="127.0.0.1")
    with pytest.raises(RequestRejected):
        guard.check_token([(b"authorization", f"Bearer {SUBSCRIBED}".encode())], Access.CLIENT, peer="127.0.0.1")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages?beta=true", "/v1/messages/", "/v1/messages/count_tokens", "/v1/messages/batches",
        "/v1/v1/messages", "//v1/messages", "/anthropic/v1/messages", "/V1/Messages",
    ],
)  # fmt: skip
async def test_C2_08_a_client_of_anthropics_api_is_told_why_it_does_not_work(bench: Bench, path: str) -> None:
    """It shows its key another way than ours, and learns what is wrong instead of that a bearer token is missing.

    Wherever its base address points: with our `/v1`, or where other routers have theirs.
    """
    headers = {"x-api-key": "sk-ant-api03-x", "anthropic-version": "2023-06-01"}
    reply = await ask(bench.port, "POST", path, HELLO, token=None, headers=headers)
    assert (reply.status, reply.code) == (404, "anthropic_ingress_not_supported")
    assert all(words in reply.message for words in ("/v1/chat/completions", "API key", "routerconsole mcp"))
    assert (await ask(bench.port, "POST", CHAT, HELLO, token=None, headers=headers)).status == 401


# --- X15: what an upstream says ---
@pytest.mark.parametrize("fault", [Fault.COOKIES, Fault.INJECTION, Fault.LONG_HEADER])
@pytest.mark.parametrize("stream", [False, True])
async def test_X15_an_upstreams_headers_do_not_pass(bench: Bench, fault: Fault, stream: bool) -> None:
    """Cookies, redirects, policies, long values and injected lines end here; what passes is on a short list."""
    bench.simulator.set("m1", Behaviour(wire=fault))
    try:
        reply = await chat(bench.port, {**HELLO, "stream": stream})
    finally:
        bench.simulator.set("m1", Behaviour())
        await admin(bench.port, "POST", "router/providers/a/control", {"action": "reset_circuit"})
    assert reply.status in (200, 502)
    ours = {"content-type", "content-length", "transfer-encoding", "date", "cache-control", "retry-after", "connection"}
    ours |= {"x-should-retry"}
    theirs = {"openai-processing-ms", "x-upstream-request-id"}
    for name, value in reply.headers.items():
        assert name in ours | theirs or name.startswith(("x-router-", "x-ratelimit-")), name
        assert len(value) < 1000
        assert value.isprintable()


# --- X16: request smuggling ---
_GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
_SECOND = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + CLIENT_TOKEN.encode() + b"\r\n\r\n"
_POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer "
    + CLIENT_TOKEN.encode()
    + b"\r\n"
)


@pytest.mark.parametrize(
    "raw",
    [
        _POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + _SECOND,
        _POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + _SECOND,
        _POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + _SECOND,
        _POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + _SECOND,
        _POST + b"content-length: 0\r\ncontent-length: 60\r\n\r\n" + _SECOND,
        _POST + b"content-length: +5\r\n\r\nhello" + _SECOND,
        _POST + b"content-length: 5, 5\r\n\r\nhello" + _SECOND,
        _POST + b"content-length: -1\r\n\r\n" + _SECOND,
        _POST + b"content-length: 99999999999999999999\r\n\r\n" + _SECOND,
        _GET + b"x-a: b\r\n folded\r\n\r\n" + _SECOND,
        _GET + b"x-a : b\r\n\r\n" + _SECOND,
        _GET + b": empty\r\n\r\n" + _SECOND,
        _GET + b"x-a\r\n\r\n" + _SECOND,
        _GET + b"x-a: b\x00c\r\n\r\n" + _SECOND,
        b"GET /healthz HTTP/1.1\nhost: localhost\n\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"GE T /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"\x00" * 64,
        b"\xff\xfe\x00",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
async def test_X16_what_is_not_one_plain_request_is_refused_and_closed(bench: Bench, raw: bytes) -> None:
    """At most one answer, an error, then the connection ends: nothing behind it is taken for a request."""
    asked = bench.asked
    async with await Wire.open(bench.port) as wire:
        await wire.send(raw)
        told = await wire.rest()
    assert told.count(b"HTTP/1.1 ") <= 1
    assert not told or told.split(b" ")[1][:1] == b"4"
    assert b'"object":"list"' not in told
    assert bench.asked == asked


async def test_X16_a_chunk_extension_of_20_KB_is_not_kept(bench: Bench) -> None:
    """Refused or ignored, and never part of the body."""
    raw = _POST + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 20_480 + b"\r\n{}\r\n0\r\n\r\n"
    async with await Wire.open(bench.port) as wire:
        await wire.send(raw)
        assert (await wire.reply()).status == 400


async def test_X16_two_pipelined_requests_get_two_answers_in_order(bench: Bench) -> None:
    """A good second request is a request, not smuggled."""
    async with await Wire.open(bench.port) as wire:
        await wire.send(_GET + b"\r\n" + _SECOND)
        assert (await wire.reply()).json == {"status": "ok"}
        assert (await wire.reply()).json["object"] == "list"


# --- X27: limits ---
async def test_X27_headers_over_the_limits_are_refused(bench: Bench) -> None:
    """64 KB in one field, 2,000 fields, and a long request line are 431, and the connection ends."""
    for headers in ({"x-a": "x" * 65_536}, {f"x-{n}": "1" for n in range(2_000)}, {f"x-{n}": "1" for n in range(101)}):
        async with await Wire.open(bench.port) as wire:
            await wire.send(request("GET", "/healthz", headers=headers))
            reply = await wire.reply()
            assert (reply.status, reply.code) == (431, "headers_too_large")
            assert await wire.rest() == b""
    assert (await ask(bench.port, "GET", "/" + "x" * 40_000)).status == 431


async def test_X27_headers_within_the_limits_pass(bench: Bench) -> None:
    """Ninety fields and 30 KB are fine."""
    assert (await ask(bench.port, "GET", "/healthz", headers={f"x-{n}": "1" for n in range(90)})).status == 200
    assert (await ask(bench.port, "GET", "/healthz", headers={"x-a": "x" * 30_000})).status == 200


async def test_X27_slow_connections_do_not_slow_others(bench: Bench) -> None:
    """With 300 half-sent requests open, a normal one takes the loop at most twice as long; the least of some counts."""
    before = await _quickest(bench)
    slow = [await Wire.open(bench.port) for _ in range(300)]
    try:
        for wire in slow:
            await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-a: ")
        assert await _quickest(bench) <= 2 * before + 0.002
    finally:
        for wire in slow:
            wire.writer.transport.abort()


async def _quickest(bench: Bench) -> float:
    took = []
    for _ in range(BUSY):
        began = time.thread_time()
        assert (await chat(bench.port, HELLO)).status == 200
        took.append(time.thread_time() - began)
    return min(took)


# --- C15 ---
async def test_C15_HTTP_1_0_and_connection_close_end_the_connection(bench: Bench) -> None:
    """One answer, then the end."""
    for raw in (
        b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ):
        async with await Wire.open(bench.port) as wire:
            await wire.send(raw)
            assert (await wire.reply()).status == 200
            assert await wire.rest() == b""


async def test_C15_HEAD_is_GET_without_a_body(bench: Bench) -> None:
    """The head has the length the body would have, and the connection goes on."""
    for path in ("/healthz", "/v1/models", STATUS):
        async with await Wire.open(bench.port) as wire:
            await wire.send(request("HEAD", path, token=ADMIN_TOKEN))
            reply = await wire.reply(head=True)
            assert reply.status == 200
            await wire.send(request("GET", "/healthz"))
            assert (await wire.reply()).json == {"status": "ok"}


@pytest.mark.parametrize("target", ["example.com:443", "127.0.0.1:80", "/healthz"])
async def test_C15_CONNECT_is_refused(bench: Bench, target: str) -> None:
    """This is not a proxy."""
    async with await Wire.open(bench.port) as wire:
        await wire.send(f"CONNECT {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert (await wire.reply()).status in (400, 405)
        assert await wire.rest() == b""


async def test_C15_an_absolute_target_is_not_forwarded(bench: Bench) -> None:
    """Its path is served here, or refused; nothing is fetched."""
    asked = bench.asked
    async with await Wire.open(bench.port) as wire:
        await wire.send(b"GET http://example.com/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await wire.reply()).status in (200, 400, 421)
    assert bench.asked == asked
