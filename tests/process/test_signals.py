"""What signals do to a serving process."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing

import pytest
from tests.process.conftest import Upstreams
from tests.process.router import Bench, in_background, until

from routerconsole.simulator import Behaviour


def test_D19_sigterm_lets_streams_finish(bench: Bench, upstreams: Upstreams) -> None:
    """Streams that end in time end whole, with [DONE]; exit 0; the write-ahead logs are folded in; engine.json goes."""
    config, sim = upstreams(a=Behaviour(tokens=10, tokens_per_second=20))
    router = bench.start(config).ready()
    streams = [router.stream() for _ in range(10)]
    assert all(answer.readline().startswith(b"data:") for _, answer in streams)
    router.send(signal.SIGTERM)
    for link, answer in streams:
        with closing(link):
            assert answer.read().rstrip().endswith(b"data: [DONE]")
    assert router.ended() == 0
    assert not (router.state / "engine.json").exists()
    for name in ("state.db", "log.db"):
        assert not (router.state / f"{name}-wal").exists()
        with closing(sqlite3.connect(router.state / name)) as db:
            assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    with closing(sqlite3.connect(router.state / "log.db")) as db:
        assert db.execute("SELECT count(*) FROM requests WHERE status = 'ok'").fetchone() == (10,)
    assert sim.count("a") == 10


def test_D19_S43_sigterm_ends_endless_streams_in_band(bench: Bench, upstreams: Upstreams) -> None:
    """Fifty streams that never end: each is told `shutting_down` in-band after the drain, no [DONE]; then exit 0."""
    config, _ = upstreams(a=Behaviour(tokens=5, stall_after=2))
    router = bench.start(config).ready()
    streams = [router.stream() for _ in range(50)]
    assert all(answer.readline().startswith(b"data:") for _, answer in streams)
    began = time.monotonic()
    router.send(signal.SIGTERM)
    until(lambda: not answers(router), "no new connections")
    assert time.monotonic() - began < 9.0, "a drain takes ten seconds, and it is turned away from its beginning on"
    for link, answer in streams:
        with closing(link):
            rest = answer.read()
            assert b"shutting_down" in rest
            assert b"[DONE]" not in rest
    assert router.ended() == 0
    assert 9.0 < time.monotonic() - began < 50.0


def answers(router: object) -> bool:
    """Whether a new connection is accepted."""
    try:
        return bool(router.ask("/healthz"))  # type: ignore[attr-defined]  # a Router
    except OSError:
        return False


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_D20_a_second_signal_ends_at_once(bench: Bench, upstreams: Upstreams, first: signal.Signals) -> None:
    """Whoever asks twice does not want to wait for streams; what was acknowledged is kept all the same."""
    config, _ = upstreams(a=Behaviour(tokens=5, stall_after=2), b=Behaviour())
    router = bench.start(config).ready()
    link, answer = router.stream(model="a/a")
    assert answer.readline().startswith(b"data:")
    assert router.control("b", "disable")[1]["persisted"]
    began = time.monotonic()
    router.send(first)
    until(lambda: not answers(router), "it drains")
    router.send(first)
    assert router.ended() == 128 + first
    assert time.monotonic() - began < 9.0  # a drain takes ten seconds
    link.close()
    again = bench.start(config).ready()
    assert next(p for p in again.status()["providers"] if p["name"] == "b")["status"] == "disabled"


def test_sigint_ends_with_130(bench: Bench, upstreams: Upstreams) -> None:
    """Ctrl-C of a headless engine: orderly, code 130, no traceback."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()
    router.send(signal.SIGINT)
    assert router.ended() == 130
    assert "Traceback" not in router.err


def test_D21_D23_hangups_and_user_signals_cost_nothing(bench: Bench, upstreams: Upstreams) -> None:
    """SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE under load: 0 failed requests; USR1 dumps threads and tasks."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()

    def load() -> None:
        for _ in range(25):
            assert router.chat()[0] == 200

    with in_background(load, 4) as failed:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP):
            router.send(number)
    assert failed == []
    until(lambda: "task http server" in router.err, "the dump")
    assert "(most recent call first)" in router.err  # a current thread is named only where one was running
    assert router.token("admin") not in router.err
    router.send(signal.SIGTERM)
    assert router.ended() == 0


def test_D23_sigquit_ends_at_once_without_a_core(bench: Bench, upstreams: Upstreams) -> None:
    """A core file would hold keys: the process ends by itself with 131."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()
    router.send(signal.SIGQUIT)
    assert router.ended() == 131


def test_B15_disabled_then_killed_at_once(bench: Bench, upstreams: Upstreams) -> None:
    """kill -9 right behind the acknowledgement of the last of several changes: all of them are there."""
    config, _ = upstreams(a=Behaviour(), b=Behaviour(), c=Behaviour())
    router = bench.start(config).ready()
    for name, action in (("a", "isolate"), ("b", "disable"), ("b", "enable"), ("c", "disable")):
        status, receipt = router.control(name, action)
        assert (status, receipt["persisted"]) == (200, True)
    router.process.kill()
    router.ended()
    again = bench.start(config).ready()
    assert [row["status"] for row in again.status()["providers"]] == ["isolated", "unknown", "disabled"]
    assert len(again.ask("/api/v1/audit")[1]["audit"]) == 4


def test_B13_killed_with_an_open_circuit(bench: Bench, upstreams: Upstreams) -> None:
    """A circuit that tripped and was saved comes back open, with no more time left than before, and is not asked."""
    config, sim = upstreams(a=Behaviour(statuses=(500,)))
    router = bench.start(config).ready()
    while (route := router.status()["providers"][0]["routes"][0])["circuit_state"] != "open":
        assert router.chat()[0] == 500
    until(lambda: b'"state":"open"' in saved(router), "it was saved")
    router.process.kill()
    router.ended()
    calls = sim.count("a")
    again = bench.start(config).ready()
    after = again.status()["providers"][0]["routes"][0]
    assert after["circuit_state"] == "open"
    assert 0 < after["circuit_open_for_s"] <= route["circuit_open_for_s"]
    assert again.chat()[0] == 503
    assert sim.count("a") == calls


def saved(router: object) -> bytes:
    """What is in the state's files."""
    state = router.state  # type: ignore[attr-defined]  # a Router
    return b"".join(path.read_bytes() for path in state.glob("state.db*") if not path.name.endswith("-shm"))
