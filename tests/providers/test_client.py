"""The sender over real sockets: headers are built, keys stay at their origin, little comes back."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from routerconsole.domain.registry import Account, Provider, ProviderKind
from routerconsole.domain.secret import Secret
from routerconsole.providers.anthropic import AnthropicDialect
from routerconsole.providers.client import USER_AGENT, Answer, Sender, Target, WrongOriginError, passed_back, target
from routerconsole.providers.dialect import WireRequest
from routerconsole.providers.openai import OpenAIDialect
from routerconsole.providers.transport import Timings, Transport, TransportError
from routerconsole.routing.faults import TransportFault

from .conftest import OK_BODY, Peer, Serve, Upstream

WIRE = WireRequest("POST", "/chat/completions", b'{"model":"m"}')
KEY = Secret("sk-canary")


def at(url: str, *, key: Secret | None = KEY, **fields: Any) -> Target:
    provider = Provider("p", ProviderKind.OPENAI_COMPATIBLE, url, **fields)
    return target(provider, Account(api_key=key), OpenAIDialect())


async def opened(transport: Transport, where: Target, **options: Any) -> Answer:
    return await Sender(transport).open(where, WIRE, connect_timeout=5.0, timings=Timings(), **options)


def head_of(upstream: Upstream) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in upstream.requests[0].decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


async def once(peer: Peer) -> None:
    await peer.request()
    peer.answer()


async def test_headers_are_built(transport: Transport, serve: Serve) -> None:
    """Each header once, by us: type, agent, key, identity encoding; the body and path as encoded."""
    upstream = await serve(once)
    answer = await opened(transport, at(upstream.url))
    assert (answer.status, answer.media_type, await answer.read()) == (200, "application/json", OK_BODY)
    head = head_of(upstream)
    assert head == {
        "host": [f"127.0.0.1:{upstream.port}"],
        "content-type": ["application/json"],
        "user-agent": [USER_AGENT],
        "authorization": ["Bearer sk-canary"],
        "accept-encoding": ["identity"],
        "accept": ["application/json"],
        "content-length": [str(len(WIRE.body))],
    }
    assert upstream.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert upstream.requests[0].endswith(WIRE.body)


async def test_of_the_clients_headers_only_three_go_up(transport: Transport, serve: Serve) -> None:
    """Trace and request ids pass, cleaned; everything else a client says stays here."""
    upstream = await serve(once)
    forward = [
        ("Traceparent", "00-abc-def-01"),
        ("tracestate", "a=b"),
        ("x-request-id", "id\r\nx-evil: 1\x1b" + "y" * 5000),
        ("authorization", "Bearer client"),
        ("x-router-agent", "a"),
        ("cookie", "c=1"),
    ]
    await (await opened(transport, at(upstream.url), forward=forward, stream=True)).read()
    head = head_of(upstream)
    assert head["traceparent"] == ["00-abc-def-01"]
    assert head["tracestate"] == ["a=b"]
    assert head["x-request-id"][0].startswith("idx-evil: 1y")
    assert len(head["x-request-id"][0]) <= 1024
    assert head["authorization"] == ["Bearer sk-canary"]
    assert head["accept"] == ["text/event-stream"]
    assert not head.keys() & {"x-router-agent", "cookie", "x-evil"}


async def test_configured_headers_are_added_but_cannot_break_framing(transport: Transport, serve: Serve) -> None:
    """Extra headers, secret ones included; those the transport owns are left out."""
    upstream = await serve(once)
    headers = (
        ("X-Team", "a"),
        ("api-key", Secret("azure")),
        ("Host", "evil"),
        ("Content-Length", "1"),
        ("Accept-Encoding", "gzip"),
    )
    await (await opened(transport, at(upstream.url, key=None, headers=headers))).read()
    head = head_of(upstream)
    assert head["x-team"] == ["a"]
    assert head["api-key"] == ["azure"]
    assert head["accept-encoding"] == ["identity"]
    assert head["host"] == [f"127.0.0.1:{upstream.port}"]
    assert "authorization" not in head


async def test_two_keys_at_one_origin_do_not_mix(transport: Transport, serve: Serve) -> None:
    """Providers that share an origin share connections, never keys (G14)."""

    async def many(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.answer()

    upstream = await serve(many)
    targets = [at(upstream.url, key=Secret(f"key-{name}")) for name in "ab"]
    for turn in range(6):
        await (await opened(transport, targets[turn % 2])).read()
    keys = [request.lower().partition(b"authorization: bearer ")[2][:5] for request in upstream.requests]
    assert keys == [b"key-a", b"key-b"] * 3


async def test_a_key_never_leaves_its_origin(transport: Transport) -> None:
    """A dialect that builds a URL elsewhere is stopped before anything is sent."""

    class Elsewhere(OpenAIDialect):
        def url(self, provider: Provider, path: str) -> str:
            return f"http://elsewhere.example{path}"

    where = target(Provider("p", ProviderKind.OPENAI, "http://h"), Account(api_key=KEY), Elsewhere())
    with pytest.raises(WrongOriginError):
        await opened(transport, where)


def test_a_target_does_not_show_its_key() -> None:
    """Neither the target nor its provider prints a secret."""
    where = at("http://h", headers=(("x-k", Secret("hidden-header")),), proxy=Secret("http://u:hidden-proxy@p"))
    for text in (repr(where), str(where)):
        assert "canary" not in text
        assert "hidden" not in text


async def test_X15_of_the_upstreams_headers_few_come_back(transport: Transport, serve: Serve) -> None:
    """Cookies, locations, policies and a 10 KB header are dropped; what comes back is clean and capped."""
    hostile = (
        (
            b"set-cookie: a=b\r\nlocation: http://169.254.169.254/\r\ncontent-security-policy: x\r\nx-big: "
            + b"z" * 10_240
            + b"\r\nserver: x\r\nRetry-After: 7\r\nX-RateLimit-Remaining-Requests: 3\r\nx-request-id: up\x9b1\x1b[2J"
            + b"q" * 600
            + b"\r\nopenai-processing-ms: 12\r\nx-ratelimit-limit-\x01tokens: 9\r\n"
        )
        .replace(b"\x1b", b"\xe2\x80\xae")
        .replace(b"-\x01", b"-")
    )

    async def answering(peer: Peer) -> None:
        await peer.request()
        peer.answer(head=hostile)

    answer = await opened(transport, at((await serve(answering)).url))
    assert await answer.read() == OK_BODY
    back = dict(passed_back(answer.headers))
    assert back.keys() == {
        "retry-after",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-limit-tokens",
        "openai-processing-ms",
        "x-upstream-request-id",
    }
    assert back["retry-after"] == "7"
    assert all(value.isprintable() and len(value) <= 256 for value in back.values())
    assert max(map(len, answer.headers.values())) <= 4096


def test_passed_back_values_hold_no_control_characters() -> None:
    """CR, LF, ESC and C1 are taken out; a value of nothing else is dropped."""
    back = dict(
        passed_back(
            {"retry-after": "1\r\nset-cookie: x", "x-request-id": "a\x1b]52;c\x9b\x00b", "x-ratelimit-x": "\x07"}
        )
    )
    assert back == {"retry-after": "1set-cookie: x", "x-upstream-request-id": "a]52;cb"}


async def test_U25_an_error_page_is_read_like_any_answer(transport: Transport, serve: Serve) -> None:
    """Status, type and body of an error are there to classify."""

    async def denying(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"<html>no</html>", status=403, kind=b"Text/HTML; charset=utf-8")

    answer = await opened(transport, at((await serve(denying)).url))
    assert (answer.status, answer.media_type, await answer.read()) == (403, "text/html", b"<html>no</html>")


async def test_repeated_headers_are_joined(transport: Transport, serve: Serve) -> None:
    """Two Retry-After lines do not look like one number."""

    async def twice(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"", status=429, head=b"retry-after: 1\r\nretry-after: 2\r\n")

    answer = await opened(transport, at((await serve(twice)).url))
    assert answer.headers["retry-after"] == "1, 2"
    answer.abort()


async def test_anthropic_carries_its_own_headers(transport: Transport, serve: Serve) -> None:
    """Key and version the way that API wants them."""
    upstream = await serve(once)
    dialect = AnthropicDialect()
    where = target(Provider("p", ProviderKind.ANTHROPIC, upstream.url), Account(api_key=KEY), dialect)
    sender = Sender(transport)
    await (await sender.open(where, dialect.list_request(), connect_timeout=5.0, timings=Timings())).read()
    head = head_of(upstream)
    assert head["x-api-key"] == ["sk-canary"]
    assert head["anthropic-version"] == ["2023-06-01"]
    assert "authorization" not in head
    assert upstream.requests[0].startswith(b"GET /v1/models?limit=1000 HTTP/1.1")


async def test_ca_file_is_trusted_for_its_provider_only(transport: Transport, serve: Serve, certificates: Path) -> None:
    """The private CA of one provider does not open the door for another (U49)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    upstream = await serve(once, tls=context)
    answer = await opened(transport, at(upstream.url, ca_file=str(certificates / "ca.pem")))
    assert await answer.read() == OK_BODY
    with pytest.raises(TransportError) as caught:
        await opened(transport, at(upstream.url))
    assert caught.value.kind is TransportFault.TLS_CERTIFICATE
    with pytest.raises(OSError):  # noqa: PT011  any error of reading the file will do
        at(upstream.url, ca_file=str(certificates / "none.pem"))


async def test_an_address_that_is_none_is_unreachable(transport: Transport) -> None:
    """What cannot even be parsed is a fault, not a crash."""
    with pytest.raises(TransportError) as caught:
        await opened(transport, at("http://0251.0376.0251.0376"))
    assert caught.value.kind in (TransportFault.UNREACHABLE, TransportFault.FORBIDDEN_ADDRESS)


async def test_the_times_of_an_exchange_are_the_callers(transport: Transport, serve: Serve) -> None:
    """The marks object the caller gave is the one filled in."""
    upstream, marks = await serve(once), Timings()
    before = time.monotonic()
    answer = await Sender(transport).open(at(upstream.url), WIRE, connect_timeout=5.0, timings=marks)
    await answer.read()
    assert marks.first_byte is not None
    assert before <= marks.first_byte <= time.monotonic()
    assert answer.timings is marks
