"""What evaluations cost: 200 one-turn samples over 32 connections, from the command to the end, and what is stored."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from datetime import datetime
from pathlib import Path
from statistics import median

from bench.report import Figure, Report
from bench.upstream import URL
from tests.acceptance.live import router_command

SAMPLES, CONNECTIONS = 200, 32
SCENARIO = {
    "version": 1,
    "suite": "bench",
    "vars": {"nonce": {"kind": "word_digits"}},
    "scenarios": [
        {
            "id": "bench.one",
            "title": "One turn",
            "turns": [{"user": "Say hello, and remember {{nonce}}."}],
            "assert": [{"type": "contains", "value": "Hello"}, {"type": "latency_ms", "gate": False}],
        }
    ],
}


def samples(report: Report, home: Path, *, times: int = 3) -> None:
    """Run them headless from nothing, so many times, and take the middle one."""
    found = [_once(home / f"evals{n}") for n in range(times)]
    walls, starts, wholes, sizes = zip(*found, strict=True)
    note = f"{SAMPLES} one-turn samples, {CONNECTIONS} connections, median of {times}"
    report.add(
        Figure("evals: wall", median(walls), 2.0, 2.0, " s", note=note),
        Figure("evals: start", median(starts), 1.0, 1.0, " s", note="from the command to the run's beginning"),
        Figure("evals: command to end", median(wholes), 5.6, 3.0, " s", note="Inspect on the same work: 5.6 s"),
        Figure("evals: stored per sample", median(sizes), 3.0, 3.0, " kB", note="Inspect: 13.6 kB"),
    )


def _once(home: Path) -> tuple[float, float, float, float]:
    """Return seconds of the run, seconds before it, seconds of the whole command, and kB stored per sample."""
    scenarios = home / "scenarios"
    scenarios.mkdir(parents=True)
    (scenarios / "bench.yaml").write_text(json.dumps(SCENARIO))
    models = [{"id": "bench-model", "context_window": 8192}]
    where_asked = {"kind": "openai_compatible", "base_url": f"{URL}/r/v1", "local": False}
    provider = {"name": "bench", **where_asked, "models": models}
    (home / "providers.yaml").write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": [provider]}))
    where = ["--config", str(home / "providers.yaml"), "--state-dir", str(home / "state"), "--json"]
    asked = ["--targets", "bench/bench-model", "--scenarios", "bench.one", "--scenarios-dir", str(scenarios)]
    many = ["--repeats", str(SAMPLES), "--connections", str(CONNECTIONS)]
    begun, clock = time.time(), time.monotonic()
    done = subprocess.run(
        [*router_command(), "eval", "run", *where, *asked, *many], check=True, capture_output=True, text=True
    )
    whole = time.monotonic() - clock
    told = json.loads(done.stdout)
    (square,) = told["targets"][0]["scenarios"]
    if (square["k"], square["n"]) != (SAMPLES, SAMPLES):
        raise RuntimeError(f"not all passed: {square['summary']}")
    started, ended = (datetime.fromisoformat(told[name]).timestamp() for name in ("started_at", "completed_at"))
    with sqlite3.connect(home / "state" / "state.db") as db:
        (stored,) = db.execute("SELECT sum(length(CAST(data AS BLOB))) FROM eval_cells").fetchone()
    return ended - started, started - begun, whole, stored / SAMPLES / 1000
