"""What outlives a process, and what happens when a disk says no; on real files, with whole engines."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from tests.engine.parts import event, running_engine, serve, until
from tests.support.node import RunningNode, chain, prepared, simulated

from routerconsole.control.commands import (
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.port import ControlError, RequestQuery
from routerconsole.domain.errors import RoutingFailed
from routerconsole.domain.events import EventType
from routerconsole.engine import keeping, service
from routerconsole.simulator import Behaviour, Simulator
from routerconsole.storage.errors import NewerSchema
from routerconsole.wiring import Node

A = Target("a")
CANARY = "canary-prompt-7f3d9e"
ANSWER = "canary-answer-51c2ab"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after the files every few milliseconds instead of seconds."""
    monkeypatch.setattr(keeping, "CHECK_S", 0.05)


@asynccontextmanager
async def engine(sim: Simulator, tmp_path: Path, *models: str, extra: str = "") -> AsyncIterator[RunningNode]:
    """An engine without periodic checks, so that only the test changes the board."""
    text = chain(sim, *models, extra=extra).replace("models:", "health: {enabled: false}, models:")
    async with running_engine(text, tmp_path) as node:
        yield node


async def status_of(node: RunningNode, name: str) -> str:
    return next(p.status for p in (await node.control.status()).providers if p.name == name)


async def notices(node: RunningNode) -> str:
    return "\n".join((await node.control.status()).notices)


async def fails(node: RunningNode, model: str) -> None:
    with pytest.raises(RoutingFailed):
        await serve(node, model=model)


def bytes_of(place: Path) -> bytes:
    """Every byte below a directory."""
    return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


# --- restarts ---


async def test_B13_an_open_circuit_is_open_after_a_restart(leakcheck: None, tmp_path: Path) -> None:
    """About the time that was left is still left, then it is probed; nothing comes back closed."""
    async with simulated(m1=Behaviour(statuses=(500,))) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            for _ in range(5):
                await fails(node, "a/m1")
            before = (await node.control.status()).providers[0].routes[0]
            assert before.circuit_state == "open"
        calls = sim.total
        async with engine(sim, tmp_path, "m1") as node:
            after = (await node.control.status()).providers[0].routes[0]
            assert after.circuit_state == "open"
            assert after.circuit_open_for_s is not None
            assert before.circuit_open_for_s is not None
            assert before.circuit_open_for_s - 20 <= after.circuit_open_for_s <= before.circuit_open_for_s
            await fails(node, "a/m1")
            assert sim.total == calls


async def test_B13_D01_an_opened_circuit_is_written_down_at_once(
    leakcheck: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill soon after it opened finds it open: it is on the disk though no tick ever comes."""
    monkeypatch.setattr(service, "TICK_S", 3600.0)
    query = "SELECT count(*) FROM records WHERE kind = 'board' AND data LIKE '%\"state\":\"open\"%'"
    async with simulated(m1=Behaviour(statuses=(500,))) as sim, engine(sim, tmp_path, "m1") as node:
        with closing(sqlite3.connect(f"file:{tmp_path}/state/state.db?mode=ro", uri=True)) as db:
            assert db.execute(query).fetchone() == (0,)
            for _ in range(5):
                await fails(node, "a/m1")
            await until(lambda: db.execute(query).fetchone() == (1,), "the open circuit is on the disk")


async def test_B15_admin_states_survive(leakcheck: None, tmp_path: Path) -> None:
    """Disabled and isolated with its time left come back; draining does not; priorities do."""
    async with simulated(**{f"m{n}": Behaviour() for n in range(4)}) as sim:
        async with engine(sim, tmp_path, "m0", "m1", "m2", "m3") as node:
            await node.control.do(Disable(A))
            await node.control.do(Isolate(Target("b"), ttl_s=600))
            await node.control.do(Drain(Target("c")))
            await node.control.do(SetPriority("d", 0))
            await node.control.do(Disable(Target("d", "m3")))
        async with engine(sim, tmp_path, "m0", "m1", "m2", "m3") as node:
            rows = {p.name: p for p in (await node.control.status()).providers}
            assert (rows["a"].status, rows["a"].enabled) == ("disabled", False)
            assert rows["b"].status == "isolated"
            assert rows["c"].status not in ("draining", "disabled")
            assert (rows["d"].priority, rows["d"].routes[0].enabled) == (0, False)
            assert len(await node.control.audit()) == 5
            await node.control.do(Enable(A))
        async with engine(sim, tmp_path, "m0", "m1", "m2", "m3") as node:
            assert await status_of(node, "a") != "disabled"


async def test_an_isolation_that_ran_out_meanwhile_is_over(leakcheck: None, tmp_path: Path) -> None:
    """Its end is a moment, not a number of seconds of running time."""
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            await node.control.do(Isolate(A, ttl_s=0.2))
            ends = node.service.clock.wall() + 0.2
        async with engine(sim, tmp_path, "m1") as node:
            await until(lambda: node.service.clock.wall() > ends, "time passed")
            assert await status_of(node, "a") != "isolated"


async def test_a_quota_gate_survives(leakcheck: None, tmp_path: Path) -> None:
    """What is known to be out of quota is not asked again because of a restart."""
    async with simulated(m1=Behaviour(statuses=(429,), error="openai_quota")) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            await fails(node, "a/m1")
            assert (await node.control.status()).providers[0].gate == "quota"
            assert (await node.control.status()).providers[0].routes[0].gate == "quota"
        calls = sim.total
        async with engine(sim, tmp_path, "m1") as node:
            provider = (await node.control.status()).providers[0]
            assert provider.gate == "quota"
            assert provider.gate_ends_in_s is not None
            assert provider.gate_ends_in_s > 3000
            await fails(node, "a/m1")
            assert sim.total == calls


async def test_the_log_is_there_after_a_restart(leakcheck: None, tmp_path: Path) -> None:
    """Rows and details of the run before are read from the file, newest first, without doubles."""
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            first = [await serve(node) for _ in range(5)]
        async with engine(sim, tmp_path, "m1") as node:
            second = [await serve(node) for _ in range(3)]
            rows = (await node.control.requests(RequestQuery(limit=100))).requests
            assert [row.id for row in rows] == [*reversed(second), *reversed(first)]
            detail = await node.control.request(first[0])
            assert detail is not None
            assert detail.attempts_detail[0].provider == "a"
            assert not detail.replayable


async def test_records_nobody_can_read_cost_only_themselves(leakcheck: None, tmp_path: Path) -> None:
    """A sound file with rows of nonsense does not keep an engine from starting, nor the other rows from counting."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1", "m2") as node:
            await node.control.do(Disable(Target("b")))
        with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as db, db:
            for key, kind, data in (
                ('["provider","a",null,null]', "board", "not json"),
                ('["provider","b2",null,null]', "board", "[]"),
                ("nonsense", "board", "{}"),
                ('["route","a",null,"m1"]', "board", '{"scope":"route","provider":"a","account":null,"model":"m1"}'),
                ('["a"]', "priority", '{"priority":"first"}'),
            ):
                db.execute("INSERT INTO records (key, kind, data, at) VALUES (?, ?, ?, 1.0)", (key, kind, data))
        async with engine(sim, tmp_path, "m1", "m2") as node:
            await serve(node)
            assert await status_of(node, "b") == "disabled"
            assert await status_of(node, "a") != "disabled"


# --- bodies ---


@pytest.mark.parametrize(
    ("bodies", "prompt", "answer"),
    [(None, 0, 0), ("memory", 0, 0), ("off", 0, 0), ("summary", 1, 1), ("full", 1, 1)],
)
async def test_X23_C1_48_bodies_reach_the_disk_only_when_asked(
    leakcheck: None, tmp_path: Path, bodies: str | None, prompt: int, answer: int
) -> None:
    """By default neither prompt nor answer is in any file of the state directory, whole, streamed or failed."""
    extra = "" if bodies is None else f"log: {{bodies: {bodies}}}\n"
    async with simulated(m1=Behaviour(text=ANSWER), m2=Behaviour(statuses=(500,)), m3=Behaviour(cut_after=1)) as sim:
        async with engine(sim, tmp_path, "m1", "m2", "m3", extra=extra) as node:
            asked = await serve(node, CANARY, model="a/m1")
            await serve(node, CANARY, model="a/m1", stream=True)
            await fails_with(node, CANARY, "b/m2")
            await fails_with(node, CANARY, "c/m3", stream=True)
            held = node.service.bodies.get(asked)
            assert (held is None) is (bodies == "off")
        found = bytes_of(tmp_path / "state")
        assert asked.encode() in found
        assert (CANARY.encode() in found) is bool(prompt)
        assert (ANSWER.encode() in found) is bool(answer)
        assert b"authorization" not in found.lower()


async def fails_with(node: RunningNode, text: str, model: str, *, stream: bool = False) -> None:
    with pytest.raises(RoutingFailed):
        await serve(node, text, model=model, stream=stream)


async def test_C1_50_a_body_over_the_cap_is_cut_and_counted(leakcheck: None, tmp_path: Path) -> None:
    """`summary` keeps the beginning and says how many bytes are missing."""
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1", extra="log: {bodies: summary}\n") as node:
            asked = await serve(node, CANARY + "x" * 10_000, model="a/m1")
        with closing(sqlite3.connect(tmp_path / "state" / "log.db")) as db:
            row = db.execute("SELECT length(request), truncated_bytes FROM bodies WHERE id = ?", (asked,)).fetchone()
        assert row[0] == keeping.SUMMARY_BYTES
        assert row[1] >= 10_000 - keeping.SUMMARY_BYTES


async def test_C1_50_a_failing_log_does_not_break_the_reply(leakcheck: None, tmp_path: Path) -> None:
    """The log's file is a directory: requests are served, a banner says so."""
    (tmp_path / "state").mkdir(mode=0o700)
    async with simulated(m1=Behaviour()) as sim, engine(sim, tmp_path, "m1") as node:
        with hard_limit(tmp_path / "state" / "log.db"):
            for _ in range(5):
                await serve(node)
            await event(node, EventType.STORAGE_DEGRADED)
            assert "storage degraded" in await notices(node)
        await event(node, EventType.STORAGE_RECOVERED)


# --- disks that say no ---


@contextmanager
def hard_limit(largest: Path) -> Iterator[None]:
    """No file of this process may grow past a small size: what a full disk looks like to a database (EFBIG)."""
    import signal

    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


async def test_D02_a_full_log_disk_fails_no_request(leakcheck: None, tmp_path: Path) -> None:
    """A hundred requests with no room on the disk: all served, a banner, and recovery by itself with rows kept."""
    async with simulated(m1=Behaviour()) as sim, engine(sim, tmp_path, "m1") as node:
        with hard_limit(tmp_path):
            asked = [await serve(node) for _ in range(100)]
            await event(node, EventType.STORAGE_DEGRADED)
            assert "storage degraded" in await notices(node)
        await event(node, EventType.STORAGE_RECOVERED)
        assert "storage degraded" not in await notices(node)

        async def stored() -> int:
            return len(await node.service.keeper.log.page(1000))

        async with asyncio.timeout(60):
            while await stored() < 100:
                await asyncio.sleep(0.02)
        assert node.service.keeper.log.db.degraded is None
        assert len(asked) == 100


@pytest.mark.parametrize(
    "command", [Disable(A), Isolate(A), Drain(A), ResetCircuit(A), ForceClose(A)], ids=lambda command: command.verb
)
async def test_D03_a_full_state_disk_and_an_operator(leakcheck: None, tmp_path: Path, command: Disable) -> None:
    """Verbs act in memory and say `persisted: false`; when there is room again the state is written by itself."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1", "m2") as node:
            with hard_limit(tmp_path):
                receipt = await node.control.do(command)
                assert (receipt.persisted, receipt.audit_id) == (False, None)
                await serve(node)
                status = await status_of(node, "a")
                assert "storage degraded" in await notices(node)
            await event(node, EventType.STORAGE_RECOVERED)
            assert await status_of(node, "a") == status
            assert (await node.control.do(Disable(Target("b")))).persisted
        async with engine(sim, tmp_path, "m1", "m2") as node:
            if isinstance(command, Disable | Isolate):
                assert await status_of(node, "a") == status


async def test_D03_an_edit_of_the_configuration_is_refused(leakcheck: None, tmp_path: Path) -> None:
    """The old priority stays live and stored; the error says why."""
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            await node.control.do(SetPriority("a", 7))
            with hard_limit(tmp_path):
                with pytest.raises(ControlError) as refused:
                    await node.control.do(SetPriority("a", 9))
                assert (refused.value.code, refused.value.status) == ("storage_unavailable", 503)
                assert (await node.control.status()).providers[0].priority == 7
        async with engine(sim, tmp_path, "m1") as node:
            assert (await node.control.status()).providers[0].priority == 7


async def test_D04_another_process_holds_the_state(leakcheck: None, tmp_path: Path) -> None:
    """Requests do not wait for it (20 would take 40 s), an edit gives up cleanly, and all is well afterwards."""
    async with simulated(m1=Behaviour()) as sim, engine(sim, tmp_path, "m1") as node:
        holder = sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None, check_same_thread=False)
        with closing(holder):
            holder.execute("BEGIN EXCLUSIVE")
            command = asyncio.ensure_future(node.control.do(Disable(A)))
            began = node.service.clock.monotonic()
            for _ in range(20):
                await serve(node)
            assert node.service.clock.monotonic() - began < 15
            receipt = await command
            assert not receipt.persisted
            assert node.service.clock.monotonic() - began < 30
            assert await status_of(node, "a") == "disabled"
            holder.execute("ROLLBACK")
        await event(node, EventType.STORAGE_RECOVERED)
        assert (await node.control.do(Enable(A))).persisted


@pytest.mark.parametrize("damage", ["header", "zero", "random", "truncated"])
async def test_D05_a_damaged_state_is_set_aside_and_restored(leakcheck: None, tmp_path: Path, damage: str) -> None:
    """Moved aside, restored from the newest backup, told; what was acknowledged before the backup is there."""
    path = tmp_path / "state" / "state.db"
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1") as node:
            await node.control.do(Disable(A))
            await node.service.keeper.state.db.backup()
        data = path.read_bytes()
        path.write_bytes(
            {
                "header": b"\0" * 100 + data[100:],
                "zero": b"",
                "random": os.urandom(len(data)),
                "truncated": data[: len(data) // 2],
            }[damage]
        )
        async with engine(sim, tmp_path, "m1") as node:
            assert await status_of(node, "a") == "disabled"
            told = await notices(node)
            assert "restored" in told
            assert "set aside" in told
            assert list(path.parent.glob("state.db.corrupt-*"))


@pytest.mark.parametrize("name", ["state.db", "log.db"])
async def test_D07_a_file_deleted_underneath_is_written_again(leakcheck: None, tmp_path: Path, name: str) -> None:
    """Noticed by the periodic look, written again, told; what was decided before is still there after a restart."""
    path = tmp_path / "state" / name
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1", "m2") as node:
            await node.control.do(Disable(A))
            asked = await serve(node)
            path.unlink()
            await serve(node)
            await until(lambda: path.exists() and "written again" in str(node.service.keeper.notices), "back")
            assert (await node.control.do(Disable(Target("a", "m1")))).persisted
        async with engine(sim, tmp_path, "m1", "m2") as node:
            assert await status_of(node, "a") == "disabled"
            if name == "state.db":
                assert await node.control.request(asked) is not None


async def test_D15_a_newer_schema_is_refused_untouched(leakcheck: None, tmp_path: Path) -> None:
    """The engine does not start, and not a byte changes."""
    path = tmp_path / "state" / "state.db"
    async with simulated(m1=Behaviour()) as sim:
        async with engine(sim, tmp_path, "m1"):
            pass
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("INSERT INTO migrations (name) VALUES ('9999-of-the-future')")
        before = path.read_bytes()
        node = Node(prepared(chain(sim, "m1"), tmp_path / "state"))
        with pytest.raises(NewerSchema, match="9999-of-the-future"):
            await node.start()
        await node.stop()
        assert path.read_bytes() == before
