"""Upstreams made of bare sockets: what they answer, when they hang and how they close is up to each test."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from routerconsole.providers.client import USER_AGENT
from routerconsole.providers.transport import Transport

Handler = Callable[["Peer"], Awaitable[None]]
OK_BODY = b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}'


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: the engine runs on uvloop, whose errors and transports differ from asyncio's."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Peer:
    """One accepted connection, from the upstream's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    requests: list[bytes] = field(default_factory=list)

    async def request(self) -> bytes:
        """Read one request and return its head; raises IncompleteReadError when the peer has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        self.requests.append(head + body)
        return head

    def send(self, *pieces: bytes) -> None:
        """Write at once."""
        self.writer.write(b"".join(pieces))

    def answer(
        self, body: bytes = OK_BODY, *, status: int = 200, head: bytes = b"", kind: bytes = b"application/json"
    ) -> None:
        """Send a whole answer."""
        self.send(
            b"HTTP/1.1 %d X\r\ncontent-type: %s\r\ncontent-length: %d\r\n" % (status, kind, len(body)),
            head,
            b"\r\n",
            body,
        )

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER, on, 0 s
        self.writer.transport.abort()


@dataclass
class Upstream:
    """A listening socket with a scripted handler; `closed` holds, per connection, when its peer was gone."""

    port: int = 0
    scheme: str = "http"
    peers: list[Peer] = field(default_factory=list)
    closed: dict[int, float] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The origin."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        """Every request, in order of connections."""
        return [request for peer in self.peers for request in peer.requests]


Serve = Callable[..., Awaitable[Upstream]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start upstreams; each handler runs per connection, after it the upstream waits for its peer to go."""
    async with asyncio.TaskGroup() as group:
        stops: list[asyncio.Event] = []

        async def start(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Upstream:
            upstream, stop, ready = Upstream(scheme="https" if tls else "http"), asyncio.Event(), asyncio.Event()
            stops.append(stop)

            async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = Peer(reader, writer, len(upstream.peers))
                upstream.peers.append(peer)
                try:
                    await handler(peer)
                    while await reader.read(65536):
                        pass
                except (OSError, asyncio.IncompleteReadError):
                    pass
                finally:
                    upstream.closed[peer.number] = time.monotonic()
                    upstream.gone.set()
                    writer.close()

            async def run() -> None:
                server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
                upstream.port = server.sockets[0].getsockname()[1]
                ready.set()
                await stop.wait()
                server.close()
                for peer in upstream.peers:
                    peer.writer.transport.abort()

            group.create_task(run())
            await ready.wait()
            return upstream

        yield start
        for stop in stops:
            stop.set()


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[Transport]:
    """A transport on the real clock."""
    made = Transport(clock=time.monotonic, user_agent=USER_AGENT)
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates made with openssl: a CA, its leaves (good, expired, for another host), and a self-signed one."""
    where = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=where, check=True, capture_output=True)

    subject = ["-subj", "/CN=routerconsole test"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", *subject)
    for name, address, days in (
        ("good", "IP:127.0.0.1", "20"),
        ("hostname", "DNS:elsewhere.example", "20"),
        ("expired", "IP:127.0.0.1", "-1"),
    ):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", *subject)
        (where / f"{name}.ext").write_text(f"subjectAltName={address}\n")
        signed = [
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-out",
            f"{name}.pem",
            "-extfile",
            f"{name}.ext",
        ]
        openssl("x509", "-req", *signed, "-days", days)
    self_signed = [
        "-keyout",
        "self-signed.key",
        "-out",
        "self-signed.pem",
        "-days",
        "20",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    openssl("req", "-x509", *key, *self_signed, *subject)
    return where
