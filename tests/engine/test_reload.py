"""A configuration file that changes while requests run: all or nothing, told, and nobody loses a request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.engine.parts import event, running_engine, serve, until
from tests.support.node import RunningNode, chain, simulated

from routerconsole.control.commands import Disable, ReloadConfig, SetPriority, Target
from routerconsole.control.port import ControlError
from routerconsole.domain.errors import RouterError, RoutingFailed
from routerconsole.domain.events import EventType
from routerconsole.engine import service as service_module
from routerconsole.simulator import Behaviour

RELOADED, REJECTED = EventType.CONFIG_RELOADED, EventType.CONFIG_REJECTED


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file often; the real interval has a test of its own."""
    monkeypatch.setattr(service_module, "WATCH_S", 0.02)


def quiet(text: str) -> str:
    return text.replace("models:", "health: {enabled: false}, models:")


def written(path: Path, text: str) -> Path:
    """Replace a file whole, as most editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)
    return path


@asynccontextmanager
async def watched(
    tmp_path: Path, text: str, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[RunningNode, Path]]:
    """An engine on a file."""
    path = written(tmp_path / "providers.yaml", quiet(text))
    async with running_engine(path, tmp_path) as node:
        yield node, path


async def names(node: RunningNode) -> list[str]:
    return [provider.name for provider in (await node.control.status()).providers]


async def test_a_change_is_in_force_within_a_second(leakcheck: None, tmp_path: Path) -> None:
    """Detected, debounced and loaded in at most about a second, with an event and a new version."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        version, began = node.service.registry.version, node.service.clock.monotonic()
        written(path, quiet(chain(sim, "m1", "m2")))
        told = await event(node, RELOADED)
        assert node.service.clock.monotonic() - began < 15.0  # a second, and what a busy machine adds
        assert told.data["path"] == str(path)
        assert told.data["version"] > version  # a listing that came meanwhile makes a new version too
        assert await names(node) == ["a", "b"]


@pytest.mark.parametrize(
    "broken",
    [
        "providers: [",
        "version: 1\nproviders: [{name: a, kind: openai_compatible, base_url: ftp://x}]\n",
        "version: 1\nfail_treshold: 3\n",
        "version: 99\n",
        "!!python/object/apply:os.system ['true']",
    ],
    ids=["syntax", "url", "unknown key", "version", "object"],
)
@pytest.mark.usefixtures("quickly")
async def test_G15_a_broken_file_leaves_the_old_configuration(leakcheck: None, tmp_path: Path, broken: str) -> None:
    """Requests go on, a notice and one event tell the problem with its place, the repair is picked up by itself."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        written(path, broken)
        told = await event(node, REJECTED)
        assert str(path) in told.data["problems"][0]
        assert any("rejected" in notice and str(path) in notice for notice in (await node.control.status()).notices)
        assert await names(node) == ["a"]
        await serve(node)
        written(path, quiet(chain(sim, "m1", "m2")))
        await event(node, RELOADED)
        assert await names(node) == ["a", "b"]
        assert not any("rejected" in notice for notice in (await node.control.status()).notices)
        rejections = [found for found in node.service.bus.page(0, 1000).events if found.type is REJECTED]
        assert len(rejections) == 1


@pytest.mark.parametrize("how", ["binary", "huge", "gone", "directory", "fifo"])
@pytest.mark.usefixtures("quickly")
async def test_G15_G01_a_file_that_cannot_be_read_is_told_too(leakcheck: None, tmp_path: Path, how: str) -> None:
    """Neither silent nor fatal: the last good configuration stays, and the file's return is noticed."""
    async with simulated(m1=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        good = path.read_text()
        path.unlink()
        if how == "binary":
            path.write_bytes(b"\xff\xfe\x00broken")
        elif how == "huge":
            path.write_bytes(b"# " + b"x" * 2_000_000)
        elif how == "directory":
            path.mkdir()
        elif how == "fifo":
            os.mkfifo(path)
        await event(node, REJECTED)
        assert any("rejected" in notice for notice in (await node.control.status()).notices)
        await serve(node)
        if how == "directory":
            path.rmdir()
        written(path, good)
        await event(node, RELOADED)
        assert not any("rejected" in notice for notice in (await node.control.status()).notices)


@pytest.mark.usefixtures("quickly")
async def test_G17_half_a_file_is_never_applied(leakcheck: None, tmp_path: Path) -> None:
    """An editor that truncates and writes in pieces: every half seen would be valid, only the whole is taken."""
    async with (
        simulated(**{f"m{n}": Behaviour() for n in range(6)}) as sim,
        watched(tmp_path, chain(sim, "m0")) as (node, path),
    ):
        whole = quiet(chain(sim, *(f"m{n}" for n in range(6))))
        with path.open("w") as file:
            for line in whole.splitlines(keepends=True):
                file.write(line)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
        await event(node, RELOADED)
        seen = {len(found.data.get("problems", ())) for found in node.service.bus.page(0, 999).events}
        assert seen == {0}
        await until(lambda: len(node.service.registry.providers) == 6, "all six are there")


async def test_G16_fifty_requests_in_flight_and_their_provider_goes(leakcheck: None, tmp_path: Path) -> None:
    """What runs finishes where it runs; new requests see the new picture; nothing of the old one is left."""
    slow = Behaviour(latency=0.4)
    async with simulated(m1=slow, m2=Behaviour()) as sim:
        text = chain(sim, "m1", "m2").replace("priority:", "max_concurrency: 100, priority:")
        async with watched(tmp_path, text) as (node, path):
            whole = [asyncio.ensure_future(serve(node, model="a/m1")) for _ in range(25)]
            streams = [asyncio.ensure_future(serve(node, model="a/m1", stream=True)) for _ in range(25)]
            await until(lambda: sim.total == 50, "all are at the upstream")
            only_b = text.replace(next(line for line in text.splitlines() if "name: a" in line) + "\n", "")
            written(path, quiet(only_b))
            await node.control.do(ReloadConfig())
            assert await names(node) == ["b"]
            assert len(node.service.chat.in_flight) == 50
            with pytest.raises(RouterError, match="a/m1"):
                await serve(node, model="a/m1")
            await serve(node)
            ids = await asyncio.gather(*whole, *streams)
            for found in ids:
                trace = node.service.recorder.find(found)
                assert trace is not None
                assert (trace.status.value, trace.selected and trace.selected.provider) == ("ok", "a")
            assert [row.name for row in await node.control.metrics()] == ["b"]


async def test_a_failover_to_a_provider_that_went_goes_on_to_the_next(leakcheck: None, tmp_path: Path) -> None:
    """A request planned with three candidates outlives the removal of the second."""
    async with simulated(m1=Behaviour(latency=0.3, statuses=(500,)), m2=Behaviour(), m3=Behaviour()) as sim:
        text = chain(sim, "m1", "m2", "m3")
        async with watched(tmp_path, text) as (node, path):
            serving = asyncio.ensure_future(serve(node))
            await event(node, EventType.ATTEMPT_STARTED, provider="a")
            written(path, quiet(text.replace(next(line for line in text.splitlines() if "name: b" in line) + "\n", "")))
            await node.control.do(ReloadConfig())
            trace = node.service.recorder.find(await serving)
            assert trace is not None
            assert trace.selected is not None
            assert trace.selected.provider == "c"
            assert [attempt.route.provider for attempt in trace.attempts] == ["a", "c"]


async def test_U24_a_changed_key_clears_the_fault(leakcheck: None, tmp_path: Path) -> None:
    """401 takes the account out; a new key in the file takes it back in, and is what is sent."""
    async with simulated(m1=Behaviour()) as sim:
        sim.api_key = "the-right-key-000000"
        text = chain(sim, "m1").replace("priority: 1", "api_key: wrong-key-1111111111, priority: 1")
        async with watched(tmp_path, text) as (node, path):
            with pytest.raises(RoutingFailed):
                await serve(node)
            assert (await node.control.status()).providers[0].status == "config_error"
            calls = sim.total
            with pytest.raises(RoutingFailed):
                await serve(node)
            assert sim.total == calls
            written(path, quiet(text.replace("wrong-key-1111111111", "the-right-key-000000")))
            await node.control.do(ReloadConfig())
            assert (await node.control.status()).providers[0].status != "config_error"
            await serve(node)


async def test_operators_changes_survive_a_reload(leakcheck: None, tmp_path: Path) -> None:
    """Priority set by hand and disabled stay; totals of what still exists stay; what is new starts fresh."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        await serve(node)
        await node.control.do(SetPriority("a", 50))
        await node.control.do(Disable(Target("a", "m1")))
        written(path, quiet(chain(sim, "m1", "m2")))
        await node.control.do(ReloadConfig())
        rows = {provider.name: provider for provider in (await node.control.status()).providers}
        assert (rows["a"].priority, rows["a"].routes[0].enabled, rows["a"].total_requests) == (50, False, 1)
        assert (rows["b"].priority, rows["b"].total_requests) == (2, 0)


async def test_a_provider_that_comes_back_starts_fresh(leakcheck: None, tmp_path: Path) -> None:
    """Removed means forgotten: its counters do not come back with its name."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        both, one = chain(sim, "m1", "m2"), chain(sim, "m1")
        async with watched(tmp_path, both) as (node, path):
            await serve(node, model="b/m2")
            for text in (one, both):
                written(path, quiet(text))
                await node.control.do(ReloadConfig())
            assert {row.name: row.total_requests for row in await node.control.metrics()} == {"a": 0, "b": 0}


async def test_a_reload_by_hand_tells_what_is_wrong(leakcheck: None, tmp_path: Path) -> None:
    """422 with every problem; audited only when it took effect, before it did."""
    async with simulated(m1=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        good = path.read_text()
        written(path, "version: 1\nprovider: []\nbuget: {}\n")
        with pytest.raises(ControlError) as refused:
            await node.control.do(ReloadConfig())
        assert refused.value.status == 422
        assert refused.value.message.count(str(path)) == 2
        assert await node.control.audit() == ()
        written(path, good)
        receipt = await node.control.do(ReloadConfig())
        assert receipt.after["version"] == receipt.before["version"] + 1 == node.service.registry.version
        assert (await node.control.audit())[0].command == "reload_config"
        order = [
            found.type for found in node.service.bus.page(0, 1000).events if found.type in (EventType.AUDIT, RELOADED)
        ]
        assert order == [EventType.AUDIT, RELOADED]


@pytest.mark.usefixtures("quickly")
async def test_a_reload_by_hand_is_not_done_again_by_the_watch(leakcheck: None, tmp_path: Path) -> None:
    """One change, one new version."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        written(path, quiet(chain(sim, "m1", "m2")))
        await node.control.do(ReloadConfig())
        version = node.service.registry.version
        looks = 0
        real = node.service._changed
        assert real is not None

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return real()

        node.service._changed = counted
        await until(lambda: looks >= 4, "it was looked at")
        assert node.service.registry.version == version


async def test_what_only_a_start_changes_is_said(leakcheck: None, tmp_path: Path) -> None:
    """`server` and `log` are read at the start: a notice says so, and goes when the change is taken back."""
    async with simulated(m1=Behaviour()) as sim, watched(tmp_path, chain(sim, "m1")) as (node, path):
        written(path, quiet(chain(sim, "m1", extra="server: {port: 9999}\nlog: {bodies: off}\n")))
        await node.control.do(ReloadConfig())
        told = [notice for notice in (await node.control.status()).notices if "next start" in notice]
        assert len(told) == 2
        written(path, quiet(chain(sim, "m1")))
        await node.control.do(ReloadConfig())
        assert not [notice for notice in (await node.control.status()).notices if "next start" in notice]


async def test_without_a_file_there_is_nothing_to_reload(leakcheck: None, tmp_path: Path) -> None:
    """409, said plainly."""
    async with simulated(m1=Behaviour()) as sim, running_engine(chain(sim, "m1"), tmp_path) as node:
        with pytest.raises(ControlError) as refused:
            await node.control.do(ReloadConfig())
        assert refused.value.status == 409


async def test_C0_02_routing_settings_change_with_a_reload(leakcheck: None, tmp_path: Path) -> None:
    """max_attempts 1 instead of the default: the next request makes one attempt."""
    async with (
        simulated(m1=Behaviour(statuses=(500,)), m2=Behaviour()) as sim,
        watched(tmp_path, chain(sim, "m1", "m2")) as (node, path),
    ):
        await serve(node)
        written(path, quiet(chain(sim, "m1", "m2", extra="routing: {max_attempts: 1, request_deadline: 60s}\n")))
        await node.control.do(ReloadConfig())
        assert node.service.registry.policy.request_deadline == 60.0
        with pytest.raises(RoutingFailed) as failed:
            await serve(node)
        assert failed.value.trace is not None
        assert len(failed.value.trace.attempts) == 1
