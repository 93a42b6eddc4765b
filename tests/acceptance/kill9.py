"""`kill -9` of the engine under load with admin actions, round after round on one state directory (fault D01).

    .venv/bin/python -m tests.acceptance.kill9 --rounds 50 [--seed 7] [--keep DIR]

After every restart: each acknowledged admin action and registry edit is in force and in the audit, both databases are
sound (as they were left, and after recovery), a circuit that was seen open is not closed, and the engine was ready
again within 5 s. Prints one JSON object with the rounds and what was lost; exits 1 when anything was.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path

from tests.acceptance import kill9_edits
from tests.acceptance.live import Client, Json, Load, free_port, wait_until
from tests.acceptance.live_engine import Engine
from tests.acceptance.live_simulator import simulator

TARGETS = ("alpha", "beta", "gamma")  # the providers whose admin state keeps changing
RESTART_S = 5.0  # faults.md D01
FOREVER = "600s"  # longer than a run: an open circuit must still be open after the restart


@dataclass(frozen=True, slots=True)
class Admin:
    """What an operator last set on one provider."""

    mode: str = "auto"  # auto | disabled | isolated
    priority: int = 50


@dataclass(slots=True)
class Target:
    """One provider's acknowledged state, and what is on its way and may or may not have arrived."""

    name: str
    acknowledged: Admin = Admin()
    pending: Admin | None = None
    this_round: int = 0  # acknowledgements since the last restart


@dataclass(slots=True)
class Report:
    """What the rounds came to; the lists are losses."""

    rounds: int = 0
    acknowledged: int = 0
    edits: int = 0
    requests: int = 0
    slowest_restart_s: float = 0.0
    lost_actions: list[str] = field(default_factory=list)
    lost_audit: list[str] = field(default_factory=list)
    lost_edits: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    closed_circuits: list[str] = field(default_factory=list)
    slow_restarts: list[str] = field(default_factory=list)
    failed_requests: list[str] = field(default_factory=list)
    refused_actions: list[str] = field(default_factory=list)

    def losses(self) -> int:
        """How many things went wrong."""
        return sum(len(getattr(self, name)) for name in self.__slots__ if isinstance(getattr(self, name), list))

    def shown(self) -> Json:
        """Everything, the long lists by their first five."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value[:5] if isinstance(value, list) else value for name, value in values.items()}


def settings(upstream: str) -> Json:
    """A steady provider, three to administer, one that refuses connections and one that answers 500."""
    quiet: Json = {"discovery": {"enabled": False}, "health": {"enabled": False}, "kind": "openai_compatible"}
    quiet["max_concurrency"] = 64  # a loopback provider would get 2
    slow = {"recovery_timeout": FOREVER, "recovery_cap": FOREVER, "failure_threshold": 3}
    dead = {"name": "dead", "base_url": f"http://127.0.0.1:{free_port()}", "priority": 1, "circuit": slow}
    sick = {"name": "sick", "base_url": upstream, "priority": 2, "circuit": slow, "models": [{"id": "sick"}]}
    steady = {"name": "steady", "base_url": upstream, "priority": 90, "models": [{"id": "steady"}]}
    targets = [{"name": n, "base_url": upstream, "priority": 50, "models": [{"id": n}]} for n in TARGETS]
    rows = [{**dead, "models": [{"id": "dead"}]}, sick, *targets, steady]
    return {"version": 1, "providers": [{**quiet, **row} for row in rows]}


def next_state(state: Admin, rng: random.Random) -> tuple[Json, Admin]:
    """A random action and the state it leads to."""
    actions = ["disable", "enable", "set_priority"]
    action = rng.choice(actions if state.mode == "disabled" else [*actions, "isolate"])  # a disabled one stays disabled
    if action == "set_priority":
        priority = rng.randint(10, 80)
        return {"action": action, "priority": priority}, replace(state, priority=priority)
    mode = {"disable": "disabled", "enable": "auto", "isolate": "isolated"}[action]
    return {"action": action, **({"ttl_s": 3600} if action == "isolate" else {})}, replace(state, mode=mode)


def administer(admin: Client, target: Target, report: Report, *, rng: random.Random, stop: threading.Event) -> None:
    """Act on one provider until the engine dies under it; only what was acknowledged as persisted counts."""
    while not stop.is_set():
        action, after = next_state(target.acknowledged, rng)
        target.pending = after
        try:
            answer = admin.control(target.name, **action)
        except (OSError, HTTPException, ValueError):
            return  # the kill: the action stays pending
        if answer.status != 200 or not answer.body.get("persisted"):
            report.refused_actions.append(f"{target.name} {action}: {answer.status} {answer.body}")
            return
        target.acknowledged, target.pending = after, None
        target.this_round += 1


def observed(row: Json) -> Admin:
    """The admin state that a provider's status row shows."""
    mode = "disabled" if not row["enabled"] else "isolated" if row["status"] == "isolated" else "auto"
    return Admin(mode, row["priority"])


def unsound(state_dir: Path) -> list[str]:
    """What `PRAGMA quick_check` says of copies of both databases, write-ahead logs included; empty when all is well."""
    said: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("state.db", "log.db"):
            for part in state_dir.glob(f"{name}*"):
                if part.is_file():
                    shutil.copy(part, scratch)
            with closing(sqlite3.connect(Path(scratch) / name)) as copy:
                rows = [str(row[0]) for row in copy.execute("PRAGMA quick_check")]
            said += [f"{name}: {row}" for row in rows if row != "ok"]
        said += [f"{aside.name} was moved aside" for aside in state_dir.glob("*.corrupt-*")]
    return said


def circuits(admin: Client) -> dict[str, str]:
    """The provider circuit of `dead` and the route circuit of `sick`."""
    return {
        "dead": str(admin.provider("dead")["circuit_state"]),
        "sick/sick": str(admin.route("sick", "sick")["circuit_state"]),
    }


def check(
    engine: Engine,
    targets: list[Target],
    edits: kill9_edits.Edits,
    *,
    report: Report,
    seen_open: set[str],
    audited: set[str],
) -> None:
    """Compare the restarted engine with what was acknowledged before the kill."""
    admin = engine.admin()
    rows = admin.get("/api/v1/audit?limit=1000")["audit"]
    fresh = [row for row in rows if str(row["id"]) not in audited]
    for target in targets:
        now = observed(admin.provider(target.name))
        if now not in {target.acknowledged, target.pending}:
            report.lost_actions.append(f"round {report.rounds}: {target} but {now}")
        written = sum(str(row["target"]) == target.name for row in fresh)
        if written < min(target.this_round, 300):  # the listing may be capped
            report.lost_audit.append(f"round {report.rounds}: {target.name} {target.this_round} > {written}")
        target.acknowledged, target.pending, target.this_round = now, None, 0
    kill9_edits.check(admin, edits, fresh, f"round {report.rounds}")
    report.lost_edits, report.refused_actions = edits.lost, [*report.refused_actions, *edits.refused]
    report.edits, edits.refused = edits.total, []
    states = circuits(admin)
    report.closed_circuits += [f"round {report.rounds}: {name}" for name in seen_open if states[name] == "closed"]
    audited.update(str(row["id"]) for row in rows)


def storm(
    engine: Engine, targets: list[Target], edits: kill9_edits.Edits, *, report: Report, rng: random.Random
) -> set[str]:
    """One round of load and admin actions, ended by `kill -9`; returns the circuits that were seen open."""
    admin, stop = engine.admin(), threading.Event()
    if report.rounds % 5 == 0:  # now and then the circuits open anew, so that the kill meets a fresh transition
        admin.control("dead", "reset_circuit")
        admin.call("POST", "/api/v1/router/routes/sick/sick/control", {"action": "reset_circuit"})
    body: Json = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    seeds = [random.Random(rng.random()) for _ in targets]
    workers = [
        threading.Thread(
            target=administer, args=(admin, target, report), kwargs={"rng": seed, "stop": stop}, daemon=True
        )
        for target, seed in zip(targets, seeds, strict=True)
    ]
    editing = {"rng": random.Random(rng.random()), "stop": stop}
    workers.append(threading.Thread(target=kill9_edits.edit, args=(admin, edits), kwargs=editing, daemon=True))
    load = Load(engine.client(timeout=5), body, workers=4)
    with load:
        for worker in workers:
            worker.start()
        wait_until(lambda: set(circuits(admin).values()) == {"open"}, "both circuits open")
        time.sleep(rng.uniform(0.0, 1.0))  # the kill comes at a random moment
        seen_open = {name for name, state in circuits(admin).items() if state == "open"}
        engine.kill()
    stop.set()
    for worker in workers:
        worker.join(10)
    report.requests += load.succeeded
    report.failed_requests += [failure[:300] for failure in load.failures if failure[0].isdigit()]
    return seen_open


def rounds(home: Path, count: int, seed: int) -> Report:
    """All rounds on one state directory."""
    report, rng = Report(), random.Random(seed)
    targets, seen_open, audited = [Target(name) for name in TARGETS], set[str](), set[str]()
    edits = kill9_edits.Edits()
    healthy = {name: {"tokens": 4} for name in (*TARGETS, "steady")}
    with simulator(home, {**healthy, "sick": {"statuses": [500]}}) as url:
        (home / "providers.yaml").write_text(json.dumps(settings(url)))
        for _ in range(count):
            engine = Engine(home / "providers.yaml", home / "state").start()
            report.slowest_restart_s = max(report.slowest_restart_s, round(engine.started_in, 3))
            if engine.started_in > RESTART_S:
                report.slow_restarts.append(f"round {report.rounds}: {engine.started_in:.1f} s")
            try:
                check(engine, targets, edits, report=report, seen_open=seen_open, audited=audited)
                seen_open = storm(engine, targets, edits, report=report, rng=rng)
            finally:
                engine.kill()
            report.rounds += 1
            report.acknowledged += sum(target.this_round for target in targets)
            report.unsound += [f"round {report.rounds}: {line}" for line in unsound(home / "state")]
        engine = Engine(home / "providers.yaml", home / "state").start()
        check(engine, targets, edits, report=report, seen_open=seen_open, audited=audited)
        engine.stop()
        report.unsound += [f"at the end: {line}" for line in unsound(home / "state")]
    return report


def main() -> int:
    """Run the rounds, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="work here and leave everything for inspection")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        report = rounds(home, given.rounds, given.seed)
    print(json.dumps({"losses": report.losses(), **report.shown()}, indent=1))
    return 1 if report.losses() else 0


if __name__ == "__main__":
    sys.exit(main())
