"""Disks that fail or crawl under a running router, by strace: what was acknowledged was synced, requests never wait."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.process.conftest import Upstreams
from tests.process.router import Bench, Router, in_background, until
from tests.process.tracer import SYNCS, traced

from routerconsole.engine.service import TICK_S
from routerconsole.simulator import Behaviour


def test_D09_D10_what_is_acknowledged_was_synced_first(bench: Bench, upstreams: Upstreams) -> None:
    """The answer that says `persisted` leaves after the write-ahead log of state.db has been synced, each time."""
    config, _ = upstreams(a=Behaviour())
    router = bench.start(config).ready()
    with traced(router, f"{SYNCS},write,writev,sendto,sendmsg") as out:
        for action in ("disable", "enable", "isolate"):
            before = at_rest(out)
            assert router.control("a", action)[1]["persisted"]
            until(lambda told=f"{action}_provider": told in out.read_text(), "strace has written it down")
            lines = out.read_text().splitlines()[before:]
            answered = next(n for n, line in enumerate(lines) if f"{action}_provider" in line)
            assert any(synced(line) for line in lines[:answered]), lines


def synced(line: str) -> bool:
    """Whether a sync of the state's log ended here (an interrupted line does not repeat the name)."""
    return "sync" in line and "= 0" in line and ("state.db-wal" in line or "resumed" in line)


def at_rest(out: Path) -> int:
    """Wait until the router has nothing of its own to save any more; return how many lines there are."""
    seen, since = -1, time.monotonic()
    deadline = since + 60
    while time.monotonic() - since < 2.5 * TICK_S:
        assert time.monotonic() < deadline, "it saves for ever"
        if (now := out.read_text().count("sync(")) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)
    return len(out.read_text().splitlines())


def times(router: Router, count: int) -> list[float]:
    """Seconds that so many requests took, the quickest first."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        assert router.chat()[0] == 200
        took.append(time.monotonic() - began)
    return sorted(took)


def slow_disk(router: Router, delay_s: float) -> None:
    """D10: while every sync takes so long, requests take what they did; a change is acknowledged once it is safe."""
    times(router, 100)
    with traced(router, SYNCS):
        before = times(router, 200)
    with traced(router, SYNCS, inject=f"{SYNCS}:delay_enter={round(delay_s * 1e6)}") as out:
        acknowledged: list[float] = []

        def change() -> None:
            for action in ("disable", "enable"):
                began = time.monotonic()
                assert router.control("b", action)[1]["persisted"]
                acknowledged.append(time.monotonic() - began)

        during: list[float] = []
        while len(during) < 100:
            with in_background(change) as failed:
                count = len(acknowledged) + 2
                while len(acknowledged) < count and not failed:
                    during += times(router, 10)
            assert failed == []
        assert out.read_text().count("(DELAYED)") >= 2
    during.sort()
    p99 = during[len(during) * 99 // 100]
    print(f"p99 {before[197]:.4f} s, with syncs of {delay_s:g} s {p99:.4f} s")
    assert min(acknowledged) >= delay_s
    assert p99 <= 2 * before[197] + delay_s / 2, "not one in a hundred waits for a sync"


def test_D10_slow_syncs_delay_no_request(bench: Bench, upstreams: Upstreams) -> None:
    """The writer is off the path, with a second a sync (five seconds in tests/acceptance)."""
    config, _ = upstreams(a=Behaviour(), b=Behaviour())
    slow_disk(bench.start(config).ready(), 1.0)


def failing_disk(bench: Bench, router: Router, config: str, numbers: range) -> None:
    """D09: the n-th write or sync after the attachment fails with EIO, for each n, in whatever thread makes it."""
    actions, turn = ("disable", "enable"), 0
    acknowledged = injected = refused = 0
    for n in numbers:
        with traced(router, f"pwrite64,{SYNCS}", inject=f"pwrite64,{SYNCS}:error=EIO:when={n}") as out:
            deadline = time.monotonic() + 60
            while "(INJECTED)" not in out.read_text():
                assert time.monotonic() < deadline, f"number {n} never came"
                status, receipt = router.control("a", actions[turn % 2])
                assert status == 200, receipt
                turn += 1
                acknowledged += receipt["persisted"]
                refused += not receipt["persisted"]
                assert router.chat()[0] == 200
            injected += 1
        until(lambda: router.control("a", "enable")[1]["persisted"], f"changes are kept again after number {n}")
        acknowledged += 1
    print(f"{injected} errors, {acknowledged} acknowledged changes, {refused} not kept and told so")
    assert router.control("a", "disable")[1]["persisted"]
    assert router.chat(model="b/b")[0] == 200
    assert "Traceback" not in router.err
    router.process.kill()
    router.ended()
    with closing(sqlite3.connect(router.state / "state.db")) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    again = bench.start(config).ready()
    assert again.status()["providers"][0]["status"] == "disabled"
    assert len(again.ask("/api/v1/audit?limit=1000")[1]["audit"]) >= min(acknowledged, 1_000)


def test_D09_a_write_or_sync_that_fails_loses_nothing_acknowledged(bench: Bench, upstreams: Upstreams) -> None:
    """EIO at the first twelve places (two hundred in tests/acceptance): no crash, requests served, it recovers."""
    config, _ = upstreams(a=Behaviour(), b=Behaviour())
    failing_disk(bench, bench.start(config).ready(), config, range(1, 13))
