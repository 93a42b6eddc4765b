"""Upstreams that cannot be reached, hang, hang up or have the wrong certificate; A is tried first, B is healthy."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Reply

from routerconsole.simulator import Behaviour, Greeting, Simulator, Wire
from routerconsole.simulator.behaviour import flapping


async def test_U01_C1_27_a_refused_connection_fails_over_at_once(make: MakeStand) -> None:
    """Refused: B answers, the client sees nothing of it, and the third refusal opens A's provider circuit."""
    stand = await make()
    await stand.sims["a"].pause_listening()
    lost = []
    for n in range(3):
        reply = await stand.chat()
        assert (reply.status, reply.served_by, reply.attempts) == (200, "b/m", 2)
        assert await stand.tried(reply) == [("a", "connect"), ("b", "ok")]
        lost.append((await stand.detail(reply)).attempts_detail[1].started_ms)
        assert (await stand.provider("a")).circuit_state == ("open" if n == 2 else "closed")
    assert sorted(lost)[1] <= 50
    assert (await stand.route("a")).circuit_state == "closed"
    assert (await stand.chat()).attempts == 1
    assert [event.data["provider"] for event in stand.events("circuit.opened")] == ["a"]


@pytest.mark.parametrize("wire", [Wire.RESET, Wire.CLOSE])
async def test_C1_27_a_connection_that_ends_before_a_byte_fails_over(make: MakeStand, wire: Wire) -> None:
    """RST or FIN on a new connection before any byte is a connect failure."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(wire=wire))
    for reply in (await stand.chat(), await stand.stream()):
        assert (reply.status, reply.served_by) == (200, "b/m")
        assert (await stand.tried(reply))[0] == ("a", "connect")


@pytest.mark.parametrize("stream", [False, True])
async def test_U03_C1_27_an_upstream_without_a_byte_is_left_at_the_timer(make: MakeStand, stream: bool) -> None:
    """Accepted and silent: class timeout_first when the configured timer ends, then B; a provider of such falls out."""
    stand = await make(routing={"first_token_timeout": "400ms", "total_timeout": "400ms"})
    stand.sims["a"].set("m", Behaviour(wire=Wire.HANG))
    for _ in range(3):
        reply = await stand.chat(stream=stream)
        assert (reply.status, reply.served_by) == (200, "b/m")
        detail = await stand.detail(reply)
        assert [attempt.class_ for attempt in detail.attempts_detail] == ["timeout_first", "ok"]
        assert 395 <= detail.attempts_detail[1].started_ms < 5000  # a timer may fire a moment early
    assert (await stand.provider("a")).circuit_state == "open"
    await stand.sims["a"].wait_closed(3)


async def test_U03_a_listener_that_never_answers(make: MakeStand) -> None:
    """The kernel accepts and nobody reads: the same, and the connection is given up."""
    stand = await make(routing={"total_timeout": "400ms"})
    stand.sims["a"].greeting = Greeting.SILENT
    reply = await stand.chat()
    assert await stand.tried(reply) == [("a", "timeout_first"), ("b", "ok")]
    await stand.sims["a"].wait_connections(0)


@pytest.mark.parametrize("wire", [Wire.STALE, Wire.STALE_RESET])
async def test_U07_a_stale_connection_is_retried_unseen(make: MakeStand, wire: Wire) -> None:
    """Idle connections that die as we send on them: 1,000 tries on several lanes, no client error, nothing counted."""
    stand = await make("a", providers={"a": {"max_concurrency": 64}})
    stand.sims["a"].set("m", Behaviour(wire=wire))

    async def lane() -> list[int]:
        return [(await stand.chat()).status for _ in range(200)]

    statuses = [status for lane_ in await asyncio.gather(*(lane() for _ in range(5))) for status in lane_]
    assert statuses.count(200) == 1_000
    route = await stand.route("a")
    assert (route.circuit_state, (await stand.provider("a")).circuit_state) == ("closed", "closed")
    metrics = {item.name: item for item in await stand.node.control.metrics()}["a"]
    assert metrics.failures_by_class["stale_conn"] >= 500
    assert set(metrics.failures_by_class) == {"stale_conn"}


async def test_U07_every_kept_connection_went_stale_at_once(make: MakeStand) -> None:
    """A server that dropped all its idle connections costs nobody anything, however many were kept."""
    stand = await make("a", providers={"a": {"max_concurrency": 64}})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(latency=0.3))
    assert {reply.status for reply in await stand.many(30)} == {200}
    assert sim.open_connections >= 10
    sim.set("m", Behaviour(wire=Wire.STALE))
    replies = await stand.many(30)
    assert {reply.status for reply in replies} == {200}
    assert {(await stand.tried(reply))[-1] for reply in replies} == {("a", "ok")}


async def test_U46_a_flapping_upstream_costs_no_client_anything(
    make: MakeStand, caplog: pytest.LogCaptureFixture
) -> None:
    """Up and down every 40 ms for 4 s: no client error, at most 12 transitions, a quiet log.

    On the row's own scale it is in tests/routing/test_flapping.py and tests/acceptance/test_flapping.py.
    """
    circuit = {"recovery_timeout": "600ms", "recovery_cap": "6s", "window": "1200ms"}
    stand = await make(routing={"circuit": circuit})
    down = Behaviour(statuses=(503,))
    stand.sims["a"].set("m", flapping(Behaviour(), down, up=0.04, down=0.04))
    loop = asyncio.get_running_loop()
    end = loop.time() + 4.0
    replies: list[Reply] = []
    with caplog.at_level(logging.INFO):
        while loop.time() < end:
            replies.append(await stand.chat())
            await asyncio.sleep(0.01)
    assert {reply.status for reply in replies} == {200}
    assert sum(reply.attempts > 1 for reply in replies) >= 5, "A was asked while it was down"
    moves = [event for event in stand.events() if event.type.startswith("circuit.")]
    assert len(moves) <= 12, [(event.type, event.data) for event in moves]
    of_requests = "routerconsole.requests"  # a line a request, for who asks for `info`
    assert len([record for record in caplog.records if record.name != of_requests]) <= 20


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Self-signed certificates with their keys: one for another host, one that has expired, one good for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    made = {}
    (tmp_path / "index").write_text("")
    for name, host in (("good", "IP:127.0.0.1"), ("foreign", "DNS:elsewhere.test"), ("expired", "IP:127.0.0.1")):
        key, cert, request, extra = (tmp_path / f"{name}.{kind}" for kind in ("key", "pem", "csr", "ext"))
        extra.write_text(f"subjectAltName={host}\nbasicConstraints=CA:TRUE\n")
        _run(f"openssl req -new -newkey rsa:2048 -nodes -keyout {key} -out {request} -subj /CN={name}")
        if name == "expired":
            (tmp_path / "ca.cnf").write_text(
                f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index\nnew_certs_dir={tmp_path}\nrand_serial=yes\n"
                "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
            )
            _run(
                f"openssl ca -batch -selfsign -config {tmp_path}/ca.cnf -keyfile {key} -in {request} -out {cert} "
                f"-startdate 20200101000000Z -enddate 20200102000000Z -notext -extfile {extra}"
            )
        else:
            _run(f"openssl x509 -req -in {request} -signkey {key} -out {cert} -days 2 -extfile {extra}")
        made[name] = (cert, key)
    return made


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


async def test_U49_a_bad_certificate_is_a_configuration_error(
    make: MakeStand, certificates: dict[str, tuple[Path, Path]]
) -> None:
    """Unknown issuer, other host, expired: config_error that names the reason, nothing sent, and B answers."""
    secure: dict[str, Simulator] = {}
    providers = {}
    for name, (cert, key) in certificates.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        secure[name] = Simulator()
        await secure[name].start(tls=context)
        secure[name].set("m", Behaviour())
        trusted = {} if name == "good" else {"ca_file": str(cert)}
        providers[name] = {"base_url": secure[name].base_url, **trusted}
    stand = await make("good", "foreign", "expired", "b", providers=providers)
    try:
        reply = await stand.chat()
        assert (reply.status, reply.served_by) == (200, "b/m")
        detail = await stand.detail(reply)
        assert [attempt.class_ for attempt in detail.attempts_detail] == ["auth", "auth", "auth", "ok"]
        for attempt, word in zip(detail.attempts_detail, ("self", "match", "expired"), strict=False):
            assert word in attempt.detail.lower(), attempt.detail
        for name in certificates:
            shown = await stand.provider(name)
            assert (shown.status, shown.circuit_state) == ("config_error", "closed")
            assert secure[name].total == 0
        assert (await stand.chat()).attempts == 1
    finally:
        await stand.stop()
        for sim in secure.values():
            await sim.stop()


async def test_U49_a_trusted_certificate_is_accepted(
    make: MakeStand, certificates: dict[str, tuple[Path, Path]]
) -> None:
    """With `ca_file` naming the issuer and the right host, the same server is used."""
    cert, key = certificates["good"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with Simulator() as plain:
        await plain.stop()
        secure = Simulator()
        await secure.start(tls=context)
        secure.set("m", Behaviour())
        stand = await make("a", providers={"a": {"base_url": secure.base_url, "ca_file": str(cert)}})
        assert (await stand.chat()).served_by == "a/m"
        await stand.stop()
        await secure.stop()
