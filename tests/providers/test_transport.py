"""The transport over real sockets: faults by name, reuse, aborts, limits, refused addresses."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from yarl import URL

from routerconsole.providers import transport as transport_module
from routerconsole.providers.brief import MAX_BRIEF
from routerconsole.providers.client import USER_AGENT
from routerconsole.providers.transport import MAX_BODY, Body, Call, Transport, TransportError
from routerconsole.routing.faults import TransportFault

from .conftest import OK_BODY, Peer, Serve, Upstream

JSON = {"content-type": "application/json"}
AT_ONCE_S = 4.0
"""Within which an upstream sees a cut connection end: 100 ms (U03), and what a busy machine adds; nothing here would
end one later than that by itself."""


def call_to(upstream: Upstream | str, **options: object) -> Call:
    url = upstream if isinstance(upstream, str) else upstream.url
    return Call(URL(f"{url}/v1/chat/completions"), **options)  # type: ignore[arg-type]  # the fields of Call


async def send(transport: Transport, call: Call, body: bytes = b"{}") -> httpx.Response:
    # the call's URL is the one that counts; httpx itself would refuse some of the hosts tried here
    request = httpx.Request("POST", "http://upstream", headers=JSON, content=body, extensions={"call": call})
    return await transport.handle_async_request(request)


def body_of(response: httpx.Response) -> Body:
    assert isinstance(response.stream, Body)
    return response.stream


async def fails(transport: Transport, call: Call, body: bytes = b"{}") -> TransportError:
    with pytest.raises(TransportError) as caught:
        await send(transport, call, body)
    return caught.value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest_asyncio.fixture(params=[MAX_BRIEF, -1], ids=["brief", "long"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """A transport whose small requests go the brief way, and one where they go aiohttp's: nobody tells them apart."""
    made = Transport(clock=time.monotonic, user_agent=USER_AGENT, max_brief=request.param)
    yield made
    await made.aclose()


async def answer_for_ever(peer: Peer) -> None:
    while True:
        await peer.request()
        peer.answer()


async def test_an_answer_comes_whole_with_its_times(transport: Transport, serve: Serve) -> None:
    """A 200 is read whole; the marks say when the connection was made and when the answer began."""
    upstream = await serve(answer_for_ever)
    call = call_to(upstream)
    response = await send(transport, call, b'{"model":"m"}')
    assert response.status_code == 200
    assert await body_of(response).read() == OK_BODY
    marks = call.timings
    assert marks.connect_start is not None
    assert marks.connect_end is not None
    assert marks.first_byte is not None
    assert marks.connect_start <= marks.connect_end <= marks.first_byte
    assert not marks.reused
    head = upstream.requests[0].lower()
    assert b"accept-encoding: identity" in head or b"accept-encoding" not in head
    assert head.endswith(b'{"model":"m"}')


async def test_the_next_request_reuses_the_connection(transport: Transport, serve: Serve) -> None:
    """A read answer gives its connection back, and the next exchange says it was reused."""
    upstream = await serve(answer_for_ever)
    for reused in (False, True, True):
        call = call_to(upstream)
        await body_of(await send(transport, call)).read()
        assert call.timings.reused is reused
    assert len(upstream.peers) == 1


async def test_small_and_large_requests_share_connections_and_look_alike(transport: Transport, serve: Serve) -> None:
    """Which way a request goes is not seen at the upstream: the same headers, one connection."""
    upstream = await serve(answer_for_ever)
    for size in (2, MAX_BRIEF, MAX_BRIEF + 1, 3):
        await body_of(await send(transport, call_to(upstream), b"x" * size)).read()
    assert len(upstream.peers) == 1
    heads = [request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n") for request in upstream.requests]
    fields = [{line for line in head if not line.startswith(b"content-length")} for head in heads]
    assert [len(head) - 1 for head in heads] == [len(each) for each in fields]
    assert all(each == fields[0] for each in fields)


async def test_a_request_without_a_body_says_so(transport: Transport, serve: Serve) -> None:
    """A POST of nothing has a length of 0: without one its upstream would wait for a body."""
    upstream = await serve(answer_for_ever)
    await body_of(await send(transport, call_to(upstream), b"")).read()
    assert b"\r\ncontent-length: 0\r\n" in upstream.requests[0].lower() + b"\r\n"


async def test_a_body_over_a_megabyte_is_sent_whole(transport: Transport, serve: Serve) -> None:
    """Large bodies travel like small ones."""
    upstream = await serve(answer_for_ever)
    await body_of(await send(transport, call_to(upstream), b"x" * (3 << 20))).read()
    assert upstream.requests[0].endswith(b"x" * (3 << 20))


async def test_U01_a_refused_connection_is_refused_at_once(transport: Transport) -> None:
    """Refused is known long before the connect timeout of 5 s and is not mistaken for it."""
    took = []
    for _ in range(3):
        start = time.monotonic()
        error = await fails(transport, call_to(f"http://127.0.0.1:{free_port()}"))
        took.append(time.monotonic() - start)
        assert error.kind is TransportFault.REFUSED
        assert not error.reused
        assert not error.bytes_received
    assert min(took) < 1.0


async def test_U02_a_connection_nobody_accepts_ends_at_the_connect_timeout(transport: Transport) -> None:
    """Dropped SYNs end at our connect timeout."""
    with socket.socket() as listener:  # a full backlog drops further SYNs
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        start = time.monotonic()
        error = await fails(transport, call_to(f"http://127.0.0.1:{port}", connect_timeout=0.2))
        for filler in fillers:
            filler.close()
    assert error.kind is TransportFault.CONNECT_TIMEOUT
    assert 0.15 < time.monotonic() - start < 20  # the kernel's own is 127 s


async def test_U03_a_silent_upstream_is_left_at_once_when_cancelled(transport: Transport, serve: Serve) -> None:
    """Nothing comes: the caller's timer cancels, and the upstream sees the connection end at once."""

    async def silent(peer: Peer) -> None:
        await peer.request()

    upstream = await serve(silent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await send(transport, call_to(upstream))
    cancelled = time.monotonic()
    await upstream.gone.wait()
    assert upstream.closed[0] - cancelled < AT_ONCE_S


async def test_U03_a_cancel_is_seen_though_the_upstream_does_not_read(transport: Transport, serve: Serve) -> None:
    """Bytes still waiting to be sent do not keep a cancelled connection open."""

    left, read = asyncio.Event(), 0

    async def deaf(peer: Peer) -> None:
        nonlocal read
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio offers no public way
        await left.wait()
        peer.reader._transport.resume_reading()  # type: ignore[attr-defined]  # as above
        while data := await peer.reader.read(65536):
            read += len(data)

    upstream = await serve(deaf)
    call = call_to(upstream)
    sending = asyncio.ensure_future(send(transport, call, b"x" * (18 << 20)))
    async with asyncio.timeout(60):
        while call.socket is None or not call.socket.get_write_buffer_size() or not upstream.peers:
            await asyncio.sleep(0.005)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    left.set()
    await asyncio.wait_for(upstream.gone.wait(), 60)
    assert read < 18 << 20


async def test_U07_a_keep_alive_connection_closed_under_us_says_reused(transport: Transport, serve: Serve) -> None:
    """An idle connection the upstream ends as we send is a failure on a reused connection, before any byte."""

    async def one_then_close(peer: Peer) -> None:
        await peer.request()
        peer.answer()
        await peer.request()  # the second request is taken, never answered
        if peer.number % 2:
            peer.reset()
        else:
            peer.writer.close()

    upstream = await serve(one_then_close)
    for expected in (TransportFault.EOF, TransportFault.RESET):
        await body_of(await send(transport, call_to(upstream))).read()
        error = await fails(transport, call_to(upstream))
        assert (error.kind, error.reused, error.bytes_received) == (expected, True, False)


async def test_U07_many_races_never_show_anything_but_a_stale_connection(transport: Transport, serve: Serve) -> None:
    """An upstream that ends each connection right after its answer: failures are on reused ones, unanswered."""

    async def answer_and_close(peer: Peer) -> None:
        await peer.request()
        peer.answer()
        peer.writer.close()

    upstream = await serve(answer_and_close)
    served = 0
    for _ in range(1000):
        try:
            await body_of(await send(transport, call_to(upstream))).read()
            served += 1
        except TransportError as error:
            assert error.reused  # noqa: PT017  the failure is allowed, its kind is what is checked
            assert not error.bytes_received  # noqa: PT017
            assert error.kind in (TransportFault.EOF, TransportFault.RESET)  # noqa: PT017
    assert served > 0


@pytest.mark.parametrize(
    ("raw", "kind", "began"),
    [
        (b"", TransportFault.EOF, False),
        (b"HTTP/1.1 200 OK\r\ncontent-le", TransportFault.EOF, True),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", TransportFault.BAD_RESPONSE, True),
        (b"HTTP/1.1 banana\r\n\r\n", TransportFault.BAD_RESPONSE, True),
        (b"HTTP/1.1 200 OK\r\nx-big: " + b"x" * (64 << 10) + b"\r\n\r\n", TransportFault.BAD_RESPONSE, True),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", TransportFault.BAD_RESPONSE, True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", TransportFault.BAD_RESPONSE, True),
    ],
    ids=["nothing", "half a head", "ssh", "no status", "64 KB header", "1000 headers", "two lengths"],
)
async def test_U40_what_is_no_http_answer_is_named(
    transport: Transport, serve: Serve, raw: bytes, kind: TransportFault, began: bool
) -> None:
    """An answer that stops or is not HTTP is told apart from a connection failure."""

    async def odd(peer: Peer) -> None:
        await peer.request()
        peer.send(raw)
        peer.writer.close()

    error = await fails(transport, call_to(await serve(odd)))
    assert (error.kind, error.bytes_received) == (kind, began)


async def test_a_reset_before_any_byte_is_a_reset(transport: Transport, serve: Serve) -> None:
    """RST instead of an answer on a fresh connection."""

    async def rude(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    error = await fails(transport, call_to(await serve(rude)))
    assert (error.kind, error.reused, error.bytes_received) == (TransportFault.RESET, False, False)


async def test_U39_interim_answers_are_skipped(transport: Transport, serve: Serve) -> None:
    """100 and 103 come before the answer and are not it."""

    async def hinting(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        peer.answer()

    response = await send(transport, call_to(await serve(hinting)))
    assert response.status_code == 200
    assert await body_of(response).read() == OK_BODY


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_U42_a_body_over_the_limit_is_cut_and_memory_stays_flat(
    transport: Transport, serve: Serve, framing: str
) -> None:
    """500 MB are refused at 32 MB (at once where announced), and the upstream is cut off."""
    head = {
        "length": b"content-length: 524288000\r\n\r\n",
        "chunked": b"transfer-encoding: chunked\r\n\r\n",
        "close": b"connection: close\r\n\r\n",
    }[framing]
    block = b"x" * (1 << 20)

    async def flood(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", head)
        for _ in range(500):
            peer.send(b"100000\r\n" + block + b"\r\n" if framing == "chunked" else block)
            await peer.writer.drain()

    upstream = await serve(flood)
    response = await send(transport, call_to(upstream))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TransportError) as caught:
        await body_of(response).read()
    assert caught.value.kind is TransportFault.TOO_LARGE
    await asyncio.wait_for(upstream.gone.wait(), 60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * MAX_BODY // 1024


async def test_a_body_at_the_limit_passes(transport: Transport, serve: Serve) -> None:
    """The limit itself is allowed."""

    async def exact(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"x" * 1000)

    response = await send(transport, call_to(await serve(exact)))
    assert len(await body_of(response).read(limit=1000)) == 1000


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_stops_short_is_told(transport: Transport, serve: Serve, reset: bool) -> None:
    """Fewer bytes than announced are a failure with bytes received, never a short success."""
    told = asyncio.Event()

    async def short(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        await told.wait()
        if reset:
            peer.reset()
        else:
            peer.writer.close()

    response = await send(transport, call_to(await serve(short)))
    told.set()
    with pytest.raises(TransportError) as caught:
        await body_of(response).read()
    assert caught.value.bytes_received
    assert caught.value.kind is TransportFault.EOF


async def test_chunks_come_as_they_arrive(transport: Transport, serve: Serve) -> None:
    """A stream's bytes are handed on before the next ones are sent."""
    more = asyncio.Event()

    async def stream(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    response = await send(transport, call_to(await serve(stream)))
    found = []
    async for chunk in body_of(response):
        found.append(chunk)
        more.set()
    assert found == [b"one", b"two"]


async def test_abort_ends_a_stream_at_the_upstream_within_100_ms(transport: Transport, serve: Serve) -> None:
    """Whoever stops listening cuts the connection; the pool never gets it back."""

    async def stream(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")

    upstream = await serve(stream)
    response = await send(transport, call_to(upstream))
    assert await anext(aiter(body_of(response))) == b"one"
    body_of(response).abort()
    aborted = time.monotonic()
    await upstream.gone.wait()
    assert upstream.closed[0] - aborted < AT_ONCE_S


async def test_abort_after_the_end_leaves_the_connection_in_use_alone(transport: Transport, serve: Serve) -> None:
    """Aborting a finished answer must not cut the exchange that has its connection now."""
    go = asyncio.Event()

    async def twice(peer: Peer) -> None:
        await peer.request()
        peer.answer()
        await peer.request()
        await go.wait()
        peer.answer(b"second")

    upstream = await serve(twice)
    first = await send(transport, call_to(upstream))
    await body_of(first).read()
    async with asyncio.TaskGroup() as group:
        second = group.create_task(send(transport, call_to(upstream)))
        while len(upstream.requests) < 2:
            await asyncio.sleep(0)
        body_of(first).abort()
        go.set()
    assert await body_of(second.result()).read() == b"second"
    assert len(upstream.peers) == 1


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "100.100.100.200",
    ],
)
@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
async def test_X08_link_local_and_metadata_addresses_are_not_connected_to(
    transport: Transport, host: str, proxy: str | None
) -> None:
    """Every spelling is refused before a socket is made, with a proxy too."""
    error = await fails(transport, call_to(f"http://{host}:80", proxy=proxy))
    assert error.kind is TransportFault.FORBIDDEN_ADDRESS


async def test_X08_a_name_that_resolves_to_a_metadata_address_is_refused(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the name server says is checked, not only what was configured."""

    def rebinding(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    error = await fails(transport, call_to("http://innocent.example:80"))
    assert error.kind is TransportFault.FORBIDDEN_ADDRESS


async def test_U48_a_dead_first_address_costs_less_than_half_a_second(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A v6 address that refuses or hangs does not stop the v4 one from answering."""
    upstream = await serve(answer_for_ever)

    def both(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    start = time.monotonic()
    response = await send(transport, call_to(f"http://both.example:{upstream.port}"))
    assert await body_of(response).read() == OK_BODY
    assert time.monotonic() - start < 4.5  # the connect timeout, which a hanging v6 would wait for, is 5 s


@pytest.mark.parametrize("cause", [socket.gaierror(socket.EAI_NONAME, "no"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_is_a_dns_fault(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    """An unknown name is told apart from a refusal."""

    def unknown(*_: object, **__: object) -> object:
        raise cause

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await fails(transport, call_to("http://nowhere.example"))
    assert error.kind is TransportFault.DNS
    assert "nowhere" not in str(error)


async def test_a_name_server_that_hangs_ends_at_the_connect_timeout(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resolving counts toward connecting."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    error = await fails(transport, call_to("http://slow.example", connect_timeout=0.1))
    release.set()
    assert error.kind is TransportFault.CONNECT_TIMEOUT


async def test_X09_a_redirect_is_handed_back_not_followed(transport: Transport, serve: Serve) -> None:
    """A 302 to a metadata address is an answer like any other."""

    async def redirecting(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"", status=302, head=b"location: http://169.254.169.254/latest/meta-data\r\n")

    upstream = await serve(redirecting)
    response = await send(transport, call_to(upstream))
    assert response.status_code == 302
    assert len(upstream.requests) == 1


async def test_cookies_are_not_kept(transport: Transport, serve: Serve) -> None:
    """What an upstream sets is not sent back to it."""

    async def setting(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.answer(head=b"set-cookie: session=1; path=/\r\n")

    upstream = await serve(setting)
    for _ in range(2):
        await body_of(await send(transport, call_to(upstream))).read()
    assert b"cookie" not in upstream.requests[1].lower()


async def test_proxy_environment_is_ignored(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only configuration names a proxy."""
    upstream = await serve(answer_for_ever)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await body_of(await send(transport, call_to(upstream))).read() == OK_BODY


async def test_a_configured_proxy_carries_the_request(transport: Transport, serve: Serve) -> None:
    """With a proxy the absolute URL goes to it."""
    proxy = await serve(answer_for_ever)
    response = await send(transport, call_to("http://upstream.example:81", proxy=proxy.url))
    assert await body_of(response).read() == OK_BODY
    assert proxy.requests[0].startswith(b"POST http://upstream.example:81/v1/chat/completions HTTP/1.1")


@pytest.mark.parametrize(("status", "answered"), [(407, True), (403, False)])
async def test_a_proxy_that_refuses_the_tunnel_is_told(
    transport: Transport, serve: Serve, status: int, answered: bool
) -> None:
    """A proxy's demand for credentials is a 407 like any other; other refusals are no connection."""

    async def refusing(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"", status=status)

    call = call_to("https://upstream.example", proxy=(await serve(refusing)).url)
    if answered:
        assert (await send(transport, call)).status_code == 407
    else:
        assert (await fails(transport, call)).kind is TransportFault.UNREACHABLE


def server_context(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


@pytest.mark.parametrize(
    ("name", "reason"), [("expired", "expired"), ("self-signed", "self-signed"), ("hostname", "hostname mismatch")]
)
async def test_U49_a_bad_certificate_is_named_and_nothing_is_sent(
    transport: Transport, serve: Serve, certificates: Path, name: str, reason: str
) -> None:
    """Expired, self-signed and wrong-host certificates end before the request leaves, saying why."""
    upstream = await serve(answer_for_ever, tls=server_context(certificates, name))
    trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    error = await fails(transport, call_to(upstream, tls=trusted))
    assert error.kind is TransportFault.TLS_CERTIFICATE
    assert reason in error.detail
    assert upstream.requests == []


async def test_U49_an_unknown_authority_is_refused_and_ca_file_accepts_it(
    transport: Transport, serve: Serve, certificates: Path
) -> None:
    """A certificate of an authority nobody trusts is refused; with its CA configured it is good."""
    upstream = await serve(answer_for_ever, tls=server_context(certificates, "good"))
    assert (await fails(transport, call_to(upstream))).kind is TransportFault.TLS_CERTIFICATE
    trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    assert await body_of(await send(transport, call_to(upstream, tls=trusted))).read() == OK_BODY


async def test_U50_plain_http_on_an_https_port_is_a_handshake_fault(transport: Transport, serve: Serve) -> None:
    """A plain-text answer to a TLS hello."""

    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.answer(b"Bad Request", status=400)

    upstream = await serve(plain)
    error = await fails(transport, call_to(f"https://127.0.0.1:{upstream.port}"))
    assert error.kind is TransportFault.TLS_HANDSHAKE


async def test_U50_a_tls_hello_that_hangs_ends_at_the_connect_timeout(transport: Transport, serve: Serve) -> None:
    """An upstream that takes the hello and says nothing is left at the connect timeout, and sees it."""

    async def hanging(peer: Peer) -> None:
        await peer.reader.read(1)

    upstream = await serve(hanging)
    error = await fails(transport, call_to(f"https://127.0.0.1:{upstream.port}", connect_timeout=0.2))
    assert error.kind is TransportFault.CONNECT_TIMEOUT
    await asyncio.wait_for(upstream.gone.wait(), 60)


async def test_a_tls_stream_aborts_at_once(transport: Transport, serve: Serve, certificates: Path) -> None:
    """An abort does not wait for a TLS farewell."""

    async def stream(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")

    upstream = await serve(stream, tls=server_context(certificates, "good"))
    trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    response = await send(transport, call_to(upstream, tls=trusted))
    body_of(response).abort()
    aborted = time.monotonic()
    await upstream.gone.wait()
    assert upstream.closed[0] - aborted < AT_ONCE_S


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), TransportFault.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "x"), TransportFault.UNREACHABLE),
        (OSError(errno.ECONNREFUSED, "x"), TransportFault.REFUSED),
        (OSError(errno.ETIMEDOUT, "x"), TransportFault.CONNECT_TIMEOUT),
        (ConnectionResetError(), TransportFault.RESET),
    ],
)
async def test_system_errors_at_connect_have_their_word(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, cause: OSError, kind: TransportFault
) -> None:
    """Each errno of connecting maps to one word."""

    def failing(*_: object, **__: object) -> socket.socket:
        raise cause

    monkeypatch.setattr(transport_module.socket, "socket", failing)
    error = await fails(transport, call_to("http://127.0.0.1:9"))
    assert error.kind is kind
