"""The simulator over TLS: replies, resets and a listener that never finishes its hello."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.simulator.wire import CHAT, chat, drain, request

from routerconsole.simulator import Behaviour, Greeting, Simulator, Wire

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl")


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server context with a self-signed certificate for 127.0.0.1, and a client context that trusts it."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 -subj /CN=127.0.0.1"
    subprocess.run([*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


async def test_replies_and_resets_over_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext], leakcheck: None) -> None:
    """A healthy reply comes whole; an RST leaves nothing."""
    server, client = contexts
    sim = Simulator()
    await sim.start(tls=server)
    sim.set("m", Behaviour())
    sim.set("r", Behaviour(wire=Wire.RESET))
    assert sim.origin.startswith("https://")
    seen = {}
    for model in ("m", "r"):
        reader, writer = await asyncio.open_connection(sim.host, sim.port, ssl=client)
        writer.write(request(CHAT, chat(model)))
        seen[model] = (await drain(reader)).data
        writer.transport.abort()
    await sim.stop()
    assert seen["m"].startswith(b"HTTP/1.1 200")
    assert seen["r"] == b""


async def test_a_silent_greeting_hangs_a_hello(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], leakcheck: None
) -> None:
    """A plain listener that says nothing leaves a TLS client waiting until its own time limit."""
    async with Simulator() as sim:
        sim.greeting = Greeting.SILENT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.open_connection(sim.host, sim.port, ssl=contexts[1])
