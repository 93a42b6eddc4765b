"""Requests per second, added latency and concurrent streams: the router, its peers and the naked upstream in a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import peers, upstream
from bench.report import Figure, Report
from bench.wrk import Sample, Target, load
from tests.acceptance.live_engine import Engine

CONFIG = Path(__file__).with_name("config.yaml")
STREAMS = (128, 256, 384)
LONGER = 1.15  # safety.md §5: a stream may take 15 % longer than direct
OURS = "RouterConsole"


class Run:
    """One side-by-side run; every sample is kept under the name of who gave it."""

    def __init__(self, report: Report, home: Path, *, seconds: float, rounds: int) -> None:
        self.report, self.home, self.seconds, self.rounds = report, home, seconds, rounds
        self.samples: dict[str, list[Sample]] = {}
        self.headless_mb = 0.0

    def take(self, name: str, target: Target, *, connections: int, stream: bool = False, seconds: float = 0.0) -> None:
        """One sample, remembered as `NAME c32` or `NAME stream128`."""
        sample = load(target, connections=connections, seconds=seconds or self.seconds, stream=stream)
        key = f"{name} {'stream' if stream else 'c'}{connections}"
        self.samples.setdefault(key, []).append(sample)
        self.report.sample(
            f"{key}: {sample.rps:,.1f}/s, p50 {sample.p50_ms:.3f} ms, p99 {sample.p99_ms:.3f} ms, "
            f"{sample.requests} requests, {sample.failed} failed"
        )

    def whole(self, name: str, target: Target) -> None:
        """Warm up, then one connection and 32."""
        load(target, connections=4, seconds=2)
        self.take(name, target, connections=1)
        self.take(name, target, connections=32)

    def rate(self, key: str) -> float:
        """Median over the rounds of the requests (or streams) finished per second."""
        return median(sample.rps for sample in self.samples[key])

    def quantiles(self, key: str) -> tuple[float, float]:
        """Median over the rounds of p50 and of p99, in ms."""
        rows = self.samples[key]
        return median(row.p50_ms for row in rows), median(row.p99_ms for row in rows)

    def failed(self) -> int:
        """How many requests of the router's own samples failed."""
        return sum(row.failed for key, rows in self.samples.items() if key.startswith(OURS) for row in rows)


def direct() -> tuple[Target, Target]:
    """The naked upstream, whole and streaming."""
    return Target(f"{upstream.URL}/r{upstream.CHAT}", {}), Target(f"{upstream.URL}/s{upstream.CHAT}", {})


def router(home: Path, name: str = "router") -> tuple[Engine, Target]:
    """The router on its core, and how to ask it."""
    engine = Engine(CONFIG, home / name, core=peers.SERVER_CORE).start()
    return engine, target_of(engine.url, engine.token("client"))


def target_of(url: str, token: str) -> Target:
    """The chat endpoint of a router."""
    return Target(f"{url}{upstream.CHAT}", {"Authorization": f"Bearer {token}"})


def side_by_side(run: Run, *, with_peers: bool) -> None:
    """Measure everybody, the router and the bare pass-through once per round with the peers in between."""
    naked, _ = direct()
    run.whole("direct", naked)
    run.whole("nginx proxy", Target(f"http://127.0.0.1:{upstream.PROXY_PORT}/r{upstream.CHAT}", {}))
    others = [peers.litellm(run.home), peers.portkey()] if with_peers else []
    for turn in range(run.rounds):
        for peer in [peers.bare(), *(others if turn == 0 else [])]:
            with peers.running(peer, run.home) as (target, _):
                run.whole(peer.name, target)
        engine, target = router(run.home, f"router{turn}")
        try:
            run.whole(OURS, target)
            run.headless_mb = max(run.headless_mb, engine.resident_mb())
        finally:
            engine.stop()


def compare(run: Run, *, with_peers: bool) -> None:
    """The throughput and latency rows."""
    ours = run.rate(f"{OURS} c32")
    rows = [("LiteLLM", 15.0, 25.0), ("Portkey", 2.0, 3.0)] if with_peers else []
    for name, must, aim in [*rows, ("bare pass-through", 0.45, 0.65)]:
        theirs = run.rate(f"{name} c32")
        note = f"{ours:,.0f} against {theirs:,.0f} req/s, 32 connections"
        run.report.add(Figure(f"throughput vs {name}", ours / theirs, must, aim, unit=" ×", at_least=True, note=note))
    naked, mine = run.quantiles("direct c1"), run.quantiles(f"{OURS} c1")
    for label, n, must, aim in (("p50", 0, 0.6, 0.35), ("p99", 1, 3.0, 1.5)):
        note = f"{mine[n]:.3f} ms through the router, {naked[n]:.3f} ms direct"
        run.report.add(Figure(f"added latency, 1 connection, {label}", mine[n] - naked[n], must, aim, " ms", note=note))
    run.report.add(Figure("failed requests in these runs", run.failed(), 0, 0))


def streams(run: Run) -> None:
    """How much longer streams at 100 tokens/s take than direct, by how many run at once."""
    _, naked = direct()
    seconds = max(run.seconds, 6.0)
    for count in STREAMS:
        run.take("direct", naked, connections=count, stream=True, seconds=seconds)
    with peers.running(peers.bare(), run.home) as (passed, _):
        for count in STREAMS:
            run.take("bare pass-through", passed, connections=count, stream=True, seconds=seconds)
    with ExitStack() as ending:
        engine, target = router(run.home, "streams")
        ending.callback(engine.stop)
        for count in STREAMS:
            run.take(OURS, target, connections=count, stream=True, seconds=seconds)
    carried, carrying = 0, True
    for count in STREAMS:
        key, plain = f"{OURS} stream{count}", f"direct stream{count}"
        failed = sum(row.failed for row in run.samples[key])
        # By Little's law the mean duration is count / rate; a median would hide the streams that starve.
        longer = run.rate(plain) / run.rate(key)
        carrying = carrying and longer <= LONGER and not failed  # a miss at 256 is not mended by luck at 384
        carried = count if carrying else carried
        mine, naked_ms = run.quantiles(key), run.quantiles(plain)
        tails = f"p50 {mine[0]:.0f} ms against {naked_ms[0]:.0f}, p99 {mine[1]:.0f} against {naked_ms[1]:.0f}"
        against_bare = run.rate(f"bare pass-through stream{count}") / run.rate(key)
        note = f"mean; {against_bare:.2f} × the bare pass-through's; {tails}; {failed} failed"
        run.report.add(Figure(f"{count} streams: longer than direct", longer, unit=" ×", note=note))
    run.report.add(Figure("concurrent streams at ≤ 15 % longer", carried, 128, 384, at_least=True))
