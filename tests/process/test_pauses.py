"""A process that is stopped (SIGSTOP) and continued: the time in which it did not run is nobody's failure."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from tests.process.conftest import Upstreams
from tests.process.router import Bench, Router, until

from routerconsole.simulator import Behaviour


def stopped(router: Router, seconds: float) -> None:
    """Stop the process for so long."""
    router.send(signal.SIGSTOP)
    try:
        time.sleep(seconds)  # the pause itself is what is tested
    finally:
        router.send(signal.SIGCONT)


def test_D22_a_stop_trips_nothing_and_fails_nobody(bench: Bench, upstreams: Upstreams) -> None:
    """Whole and streamed requests whose every timer runs out while the process is stopped are served all the same."""
    timers = "routing: {connect_timeout: 4s, first_token_timeout: 4s, idle_timeout: 4s, total_timeout: 4s}\n"
    slow, streaming = Behaviour(latency=0.8), Behaviour(tokens=20, tokens_per_second=15)
    config, sim = upstreams(timers, a=slow, b=Behaviour(ttft=0.8), c=streaming)
    router = bench.start(config).ready()
    statuses: list[int] = []
    texts: list[bytes] = []

    def whole() -> None:
        statuses.append(router.chat(model="a/a")[0])

    def streamed(model: str) -> None:
        link, reply = router.stream(model=model)
        statuses.append(reply.status)
        texts.append(reply.read())
        link.close()

    work: list[Any] = [whole] * 10 + [lambda: streamed("b/b")] * 10 + [lambda: streamed("c/c")] * 10
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    until(lambda: sum(sim.count(name) for name in "abc") >= 30, "all are asked")
    stopped(router, 6.0)
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 30
    assert all(text.rstrip().endswith(b"data: [DONE]") for text in texts)
    metrics = {row["name"]: row for row in router.ask("/api/v1/router/metrics")[1]["providers"]}
    assert [metrics[name]["failed"] for name in "abc"] == [0, 0, 0]
    assert sum(sim.count(name) for name in "abc") == 30
