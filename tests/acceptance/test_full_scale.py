"""Rows of the fault catalogue on their own scale: minutes, gigabytes, tens of thousands (tests/process has short ones).

Each is one process of the router with default thresholds, asked over sockets.
"""

from __future__ import annotations

import faulthandler
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from tests.process.conftest import Upstreams, bench, upstreams  # noqa: F401 - fixtures
from tests.process.measure import descriptors, resident_mb
from tests.process.router import Bench, Router, until
from tests.process.test_crowds import answer, asked, kept_alive, stormed
from tests.process.test_disks import failing_disk, slow_disk
from tests.process.test_memory import trickled

from routerconsole.simulator import Behaviour


@pytest.fixture(autouse=True)
def _patient() -> None:
    """These take longer than a hang would."""
    faulthandler.cancel_dump_traceback_later()


def test_C12_a_minute_of_storm(bench: Bench, upstreams: Upstreams) -> None:  # noqa: F811 - the fixtures
    """500 visits a second for 60 s after as many as fill what is bounded: memory, descriptors, tasks as before."""
    config, _ = upstreams(a=Behaviour(latency=0.02))
    assert stormed(bench.start(config).ready(), rate=500, seconds=60.0, warm_s=20.0) < 3


def test_C16_ten_thousand_routed_requests_on_one_connection(
    bench: Bench,  # noqa: F811
    upstreams: Upstreams,  # noqa: F811
) -> None:
    """After 5,000, which fill what is bounded, 10,000 more take less than half a kilobyte each (a row has three)."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()
    kept_alive(router, asked(router), 4_000)
    assert kept_alive(router, asked(router), 10_000) < 5


def test_S35_a_hundred_slow_readers_for_half_a_minute(bench: Bench) -> None:  # noqa: F811
    """One byte a second each, up to where a reader that does not read counts as gone."""
    trickled(bench, readers=60, seconds=25)


def test_D09_two_hundred_failing_writes_and_syncs(bench: Bench, upstreams: Upstreams) -> None:  # noqa: F811
    """EIO at the n-th for n = 1 … 200."""
    config, _ = upstreams(a=Behaviour(), b=Behaviour())
    failing_disk(bench, bench.start(config).ready(), config, range(1, 201))


def test_D10_syncs_of_five_seconds(bench: Bench, upstreams: Upstreams) -> None:  # noqa: F811
    """Every fsync takes 5 s."""
    config, _ = upstreams(a=Behaviour(), b=Behaviour())
    slow_disk(bench.start(config).ready(), 5.0)


def test_D22_stopped_for_a_minute(bench: Bench, upstreams: Upstreams) -> None:  # noqa: F811
    """SIGSTOP for 60 s, default timers: waiting, streaming and half-asked requests are served, no circuit moves."""
    config, sim = upstreams(
        a=Behaviour(latency=20.0), b=Behaviour(ttft=20.0), c=Behaviour(tokens=60, tokens_per_second=3)
    )
    router = bench.start(config.replace("health: {enabled: false}, ", "")).ready()
    got: list[int] = []

    def whole() -> None:
        got.append(patient(router, "a/a", stream=False))

    def streamed(model: str) -> None:
        got.append(patient(router, model, stream=True))

    work = [whole] * 20 + [lambda: streamed("b/b")] * 20 + [lambda: streamed("c/c")] * 20
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    until(lambda: sum(sim.count(name) for name in "abc") >= 60, "all are asked")
    with closing(socket.create_connection(("127.0.0.1", router.port), timeout=100)) as half:
        request = asked(router, model="c/c")
        half.sendall(request[:50])
        time.sleep(1.0)  # it is known as half a request
        router.send(signal.SIGSTOP)
        time.sleep(30.0)
        half.sendall(request[50:])
        time.sleep(30.0)
        router.send(signal.SIGCONT)
        assert answer(half) == 200, "what came meanwhile is read before it counts as late"
    for thread in threads:
        thread.join(100)
    assert got == [200] * 60
    rows = router.ask("/api/v1/router/metrics")[1]["providers"]
    assert [row["failed"] for row in rows] == [0, 0, 0]
    status = router.status()
    assert [row["circuit_state"] for row in status["providers"]] == ["closed"] * 3
    assert status["unhealthy"] == 0
    assert sum(sim.count(name) for name in "abc") == 61


def patient(router: Router, model: str, *, stream: bool) -> int:
    """One request of a client that waits for minutes; the status, of a stream only if it ends well."""
    with closing(socket.create_connection(("127.0.0.1", router.port), timeout=150)) as sock:
        sock.sendall(asked(router, stream=stream, model=model))
        if not stream:
            return answer(sock)
        raw = b""
        while not raw.endswith(b"0\r\n\r\n"):
            data = sock.recv(65_536)
            if not data:
                return 0
            raw += data
        return int(raw.split()[1]) if b"data: [DONE]" in raw else 0


ROWS = 1_000_000
LIMIT_MB = 200


@pytest.fixture
def million(bench: Bench, upstreams: Upstreams) -> tuple[Router, float]:  # noqa: F811
    """A router whose log holds a million requests, and the size of that log in MB."""
    config, _ = upstreams(a=Behaviour(latency=0.005))
    first = bench.start(config).ready()
    assert first.chat()[0] == 200
    first.send(signal.SIGTERM)
    assert first.ended() == 0
    log = first.state / "log.db"
    with closing(sqlite3.connect(log)) as db, db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO requests"
            " (id, at, status, provider, model, origin, failed_over, error_code, chain, row, detail)"
            " SELECT 'old-' || i, r.at - i % 600000, r.status, r.provider, r.model, r.origin, r.failed_over,"
            " r.error_code, r.chain, CAST(replace(CAST(r.row AS TEXT), r.id, 'old-' || i) AS BLOB), r.detail"
            " FROM n, (SELECT * FROM requests LIMIT 1) AS r",
            (ROWS,),
        )
    size = log.stat().st_size / 1e6
    return bench.start(config).ready(), size


def test_D13_a_million_rows_are_listed_and_pruned_while_requests_go_on(million: tuple[Router, float]) -> None:
    """Pages, filters and a search over a million rows, then retention down to the limit: requests never wait for it."""
    router, size = million
    log = router.state / "log.db"
    print(f"{ROWS} rows, {size:.0f} MB")
    assert size > 2 * LIMIT_MB
    slowest: list[float] = []
    took: list[float] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            began = time.monotonic()
            assert router.chat()[0] == 200
            took.append(time.monotonic() - began)
            time.sleep(0.01)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for query in ("limit=50", "limit=50&provider=a", "limit=50&status=failed", "limit=50&provider=nobody",
                      "limit=50&before=500000"):  # fmt: skip
            began = time.monotonic()
            status, page = router.ask(f"/api/v1/requests?{query}")
            slowest.append(time.monotonic() - began)
            assert status == 200, page
            print(f"{query}: {slowest[-1]:.3f} s, {len(page['requests'])} rows")
        memory, files = resident_mb(router), descriptors(router)
        queried = sorted(took)
        took.clear()
        began = time.monotonic()
        until(lambda: log.stat().st_size <= LIMIT_MB * 1.1e6, "the log is within its limit", seconds=500)
        print(f"within {LIMIT_MB} MB after {time.monotonic() - began:.0f} s, {resident_mb(router) - memory:+.1f} MB")
    finally:
        stop.set()
        thread.join(30)
    pruned = sorted(took)
    for name, each in (("queries", queried), ("retention", pruned)):
        print(
            f"during {name}: p50 {each[len(each) // 2]:.4f}, p99 {each[len(each) * 99 // 100]:.4f}, max {each[-1]:.4f}"
        )
    assert pruned[len(pruned) // 2] <= 0.02, "5 ms of them the upstream's"
    assert pruned[len(pruned) * 99 // 100] <= 0.05
    assert queried[len(queried) * 99 // 100] <= 0.2
    assert max(slowest) < 10
    assert descriptors(router) <= files + 10
    assert "late" not in router.err, "the loop was never held"
    newest = router.ask("/api/v1/requests?limit=50")[1]["requests"]
    assert not any(row["id"].startswith("old-") for row in newest), "the newest are the ones kept"
