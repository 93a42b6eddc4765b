"""Evaluation runs that are killed, and whose provider goes away: they end with exactly the cells they should have."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.live import router_command, wait_until
from tests.support.counting import Counting, counting_upstream

REPEATS = 100
TARGETS = ("u/m", "v/m")
CELLS = REPEATS * len(TARGETS)
SEED = 20
IN_FLIGHT = 4  # cells asked at once


@pytest.fixture
def counter() -> Iterator[Counting]:
    """The one upstream."""
    with counting_upstream() as found:
        yield found


class Runs:
    """`eval run` on one state directory, each an engine of its own."""

    def __init__(self, home: Path, url: str) -> None:
        self.db = home / "state" / "state.db"
        scenarios = home / "scenarios"
        scenarios.mkdir()
        one = {"id": "one", "turns": [{"user": "Say READY."}], "assert": [{"type": "equals", "value": "READY"}]}
        (scenarios / "one.yaml").write_text(json.dumps({"version": 1, "suite": "kill", "scenarios": [one]}))
        providers = [
            {"name": target[0], "kind": "openai_compatible", "base_url": url, "local": False,
             "models": [{"id": "m"}]} for target in TARGETS
        ]  # fmt: skip
        config = home / "providers.yaml"
        config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": providers}))
        self._where = ["--config", str(config), "--state-dir", str(home / "state"), "--json"]
        self._more = ["--scenarios-dir", str(scenarios)]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `eval run`."""
        line = [*router_command(), "eval", "run", *self._where, *self._more, *arguments]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, *arguments: str) -> tuple[int, Any]:
        """Run to the end; the exit code and the report."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1), err
        return process.returncode, json.loads(out)

    def cells(self) -> dict[tuple[str, str, int], str]:
        """What is on the disk."""
        if not self.db.exists():
            return {}
        try:
            with sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=5) as db:
                rows = db.execute("SELECT scenario, target, repeat, data FROM eval_cells").fetchall()
        except sqlite3.OperationalError:
            return {}  # not made yet
        return {(scenario, target, repeat): data for scenario, target, repeat, data in rows}


FIRST = ("--targets", ",".join(TARGETS), "--scenarios", "one", "--repeats", str(REPEATS), "--seed", "1")


def test_E06_a_run_of_200_cells_killed_three_times_ends_with_exactly_its_cells(
    tmp_path: Path, counter: Counting
) -> None:
    """Each kill keeps what was finished; each resumption asks only what is missing."""
    runs, rng = Runs(tmp_path, counter.url), random.Random(SEED)
    points = sorted(rng.sample(range(10, CELLS - 10), 3))
    begin: tuple[str, ...] = FIRST
    seen: list[int] = []
    kept: dict[tuple[str, str, int], str] = {}

    def enough(cells: int) -> bool:
        return len(runs.cells()) >= cells

    for point in points:
        process = runs.start(*begin)
        try:
            wait_until(partial(enough, point), f"{point} cells", every=0.001)
            process.kill()
        finally:
            process.kill()
            process.communicate(timeout=10)
        now = runs.cells()
        assert {key: now[key] for key in kept} == kept, "a finished cell changed"
        assert now.keys() >= kept.keys()
        kept = now
        seen.append(len(kept))
        with sqlite3.connect(runs.db) as db:
            (run,) = db.execute("SELECT id FROM eval_runs").fetchone()
        begin = ("--resume", run)
    code, report = runs.finish(*begin)
    found = runs.cells()
    print(f"killed at {points}, {seen} cells were kept, {counter.asked} calls for {len(found)} cells")
    assert code == 0, report
    assert found.keys() == {("one", target, repeat) for target in TARGETS for repeat in range(REPEATS)}
    assert {key: found[key] for key in kept} == kept
    assert [square["k"] for column in report["targets"] for square in column["scenarios"]] == [REPEATS] * 2
    assert CELLS <= counter.asked <= CELLS + len(points) * IN_FLIGHT
    assert report["state"] == "finished"
    assert json.loads(next(iter(found.values())))["verdict"]["status"] == "pass"


@pytest.mark.parametrize("failure", [503, 429])
def test_a_provider_that_goes_away_in_the_middle_costs_cells_that_resume_completes(
    tmp_path: Path, counter: Counting, failure: int
) -> None:
    """Its cells are `error` or `rate_limited`, none a failure; a resumption asks exactly those."""
    runs = Runs(tmp_path, counter.url)
    counter.out, counter.failure = range(50, 120), failure
    code, report = runs.finish(*FIRST)
    assert code == 1
    counts: dict[str, int] = {}
    for column in report["targets"]:
        for square in column["scenarios"]:
            assert square["k"] == square["n"], "an outage is no wrong answer"
            for word, number in square["counts"].items():
                counts[word] = counts.get(word, 0) + number
    assert sum(counts.values()) == CELLS
    assert counts.keys() <= {"pass", "error", "rate_limited"}
    missing = CELLS - counts["pass"]
    assert missing > 0
    asked, counter.out = counter.asked, range(0)
    ended: list[int] = []

    def resumed() -> bool:  # a route that asked for patience is still given it after a restart
        ended.append(runs.finish("--resume", report["run_id"])[0])
        return ended[-1] == 0

    wait_until(resumed, "the resumed run's end", seconds=60.0, every=1.0)
    print(f"{counts} with {failure} from call 50 on; the resumption made {counter.asked - asked} calls")
    assert counter.asked - asked == missing
    assert len(runs.cells()) == CELLS
