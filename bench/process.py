"""What the program costs as a process: start-up, memory, and the console's share of a busy engine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import peers
from bench.report import Figure, Report
from bench.throughput import CONFIG, router, target_of
from bench.wrk import Sample, Target, load
from tests.acceptance.live import resident_mb, router_command, wait_until
from tests.acceptance.live_engine import Engine
from tests.acceptance.live_terminal import Terminal

PAINTED = b"Overview"  # the first view's name
LOGGED = 50_000
PACE = 500.0  # requests per second while the console is compared
PIN = ["taskset", "-c", str(peers.SERVER_CORE)]


@dataclass(frozen=True, slots=True)
class Console:
    """A console with its own engine on a terminal nobody looks at, and how to ask that engine."""

    terminal: Terminal
    target: Target
    painted_s: float


@contextmanager
def console(home: Path, name: str, *flags: str, rows: int = 40, columns: int = 120) -> Iterator[Console]:
    """The console on a pseudo-terminal, pinned to the server's core together with its engine."""
    home = home / name
    home.mkdir()
    settings = CONFIG.read_text().replace("version: 1\n", "version: 1\nserver: {port: 0}\n", 1)
    (home / "providers.yaml").write_text(settings)
    where = ["--config", str(home / "providers.yaml"), "--state-dir", str(home / "state")]
    terminal = Terminal([*PIN, *router_command(), *where, "console", *flags], rows=rows, columns=columns)
    try:
        wait_until(lambda: PAINTED in terminal.seen, "the console's first paint", every=0.002)
        painted = time.monotonic() - terminal.started
        run_file = json.loads((home / "state/engine.json").read_text())
        token = (home / "state/client.token").read_text().strip()
        yield Console(terminal, target_of(run_file["url"], token), painted)
    finally:
        terminal.kill()


def start_up(report: Report, home: Path, *, times: int = 5) -> None:
    """Cold start of `--version`, of the headless engine, and of the console up to its first paint."""

    def version() -> float:
        begun = time.monotonic()
        subprocess.run([*PIN, *router_command(), "--version"], check=True, capture_output=True)
        return time.monotonic() - begun

    def headless(n: int) -> float:
        engine = Engine(CONFIG, home / f"start{n}", core=peers.SERVER_CORE).start()
        engine.stop()
        return engine.started_in

    def paint(n: int) -> float:
        with console(home, f"paint{n}") as shown:
            return shown.painted_s

    note = f"median of {times}, warm disk cache"
    report.add(
        Figure("start: --version", median(version() for _ in range(2 * times)), 0.15, 0.08, " s", note=note),
        Figure("start: headless ready", median(headless(n) for n in range(times)), 1.0, 0.6, " s", note=note),
        Figure("start: first paint", median(paint(n) for n in range(times)), 1.5, 1.0, " s", note=note),
    )


def memory(report: Report, home: Path) -> None:
    """Resident memory: headless after the same traffic, and with the console and 50,000 logged requests."""
    engine, target = router(home, "memory")
    try:
        idle = engine.resident_mb()
        sent = send(target, LOGGED)
        note = f"{idle:.0f} MB idle; after {sent:,} requests"
        report.add(Figure("memory: headless", engine.resident_mb(), 110, 80, " MB", note=note))
    finally:
        engine.stop()
    with console(home, "memory-console") as shown:
        sent = send(shown.target, LOGGED)
        used = resident_mb(shown.terminal.pid)
        report.add(Figure("memory: console", used, 180, 130, " MB", note=f"after {sent:,} logged requests"))


def send(target: Target, count: int) -> int:
    """Send at least so many requests as fast as they go; returns how many succeeded."""
    sent = 0
    while sent < count:
        sample = load(target, connections=32, seconds=5)
        if sample.requests == sample.failed:
            raise RuntimeError(f"no request succeeds: {sample}")
        sent += sample.requests - sample.failed
    return sent


def with_and_without(report: Report, home: Path, *, seconds: float, rounds: int = 3) -> None:
    """The engine headless and under its console at 500 req/s, then flat out, in turns; each figure is of medians.

    One pause of the machine in ten seconds is a 99th percentile, so a single round says little.
    """

    def both(target: Target) -> tuple[Sample, Sample]:
        load(target, connections=4, seconds=2)
        paced = load(target, connections=50, seconds=2 * seconds, pace=PACE)
        return paced, load(target, connections=32, seconds=seconds)

    off: list[tuple[Sample, Sample]] = []
    on: list[tuple[Sample, Sample]] = []
    for n in range(rounds):
        engine, target = router(home, f"without-console{n}")
        try:
            off.append(both(target))
        finally:
            engine.stop()
        with console(home, f"with-console{n}") as shown:
            on.append(both(shown.target))
            painted = len(shown.terminal.seen)
    for name, taken in (("off", off), ("on", on)):
        for paced, flat_out in taken:
            for how, sample in (("paced", paced), ("flat out", flat_out)):
                report.sample(
                    f"console {name} {how}: {sample.rps:,.1f}/s, p50 {sample.p50_ms:.3f} ms, p99 {sample.p99_ms:.3f} ms"
                )
    kept = 100 * median(paced.rps for paced, _ in on) / median(paced.rps for paced, _ in off)
    slower = median(paced.p99_ms for paced, _ in on) / median(paced.p99_ms for paced, _ in off)
    share = 100 * median(flat.rps for _, flat in on) / median(flat.rps for _, flat in off)
    rest = f"medians of {rounds} rounds; flat out {share:.0f} % kept; {painted / 1000:,.0f} KB painted in the last"
    report.add(
        Figure("console on, 500 req/s: throughput kept", kept, 80, 92, " %", at_least=True, note=rest),
        Figure("console on, 500 req/s: p99 against headless", slower, 2.0, 1.3, " ×", note=f"of {rounds} rounds each"),
    )
