"""The impact of registry changes on the last requests: planned anew, nobody asked, nothing changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.engine.parts import running_engine, serve
from tests.engine.parts import trace as bare_trace
from tests.support.node import RunningNode, chain, simulated

from routerconsole.control.commands import Drain, Target
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    ApplyEdits,
    ClearGap,
    LabelModel,
    RegisterModel,
    RemoveModel,
    SetCapability,
    SetModelActive,
    UpdateModel,
)
from routerconsole.domain.capability import NODE_OF, Word
from routerconsole.domain.errors import RouterError
from routerconsole.domain.request import Hints
from routerconsole.domain.trace import RequestStatus
from routerconsole.engine.impact import REPLAYED, _Ahead, _question, _World
from routerconsole.routing.learned import Gap
from routerconsole.simulator import Behaviour

TOOLS = NODE_OF[Word.TOOLS]


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """Providers a (m1) and b (m2), both with tools; nothing happens by itself."""
    async with simulated(m1=Behaviour(), m2=Behaviour()) as sim:
        made = chain(sim, "m1", "m2", capabilities="[text, tools]")
        quiet = "health: {enabled: false}, models:"
        async with running_engine(made.replace("models:", quiet), tmp_path) as node:
            yield node


async def test_a_switched_off_model_gives_its_requests_to_the_next(tmp_path: Path) -> None:
    """Requests that led with the model would lead with the next; nobody is asked and nothing is changed."""
    async with pair(tmp_path) as node:
        for _ in range(3):
            await serve(node)
        newest = await serve(node, model="b/m2")
        asked, before = node.service.board.stats("a").total, node.service.registry
        told = await node.control.impact([SetModelActive("a", "m1", active=False)])
        assert (told.replayed, told.recorded, told.elsewhere, told.unserved, told.served) == (4, 4, 3, 0, 0)
        assert [(move.before, move.after, move.requests) for move in told.moves] == [("a/m1", "b/m2", 3)]
        assert told.moves[0].example != newest
        assert told.pools == ()  # it stays a member
        out = await node.control.impact([UpdateModel("a", "m1", {"in_pools": False})])
        assert {shift.pool: shift.removed for shift in out.pools}["auto"] == ("a/m1",)
        assert node.service.registry is before
        assert node.service.board.stats("a").total == asked
        assert (await node.control.audit()) == ()


async def test_requests_nobody_could_serve_are_counted(tmp_path: Path) -> None:
    """Pinned requests lose their model; a name that meant nothing is served once it is registered."""
    async with pair(tmp_path) as node:
        await serve(node, model="b/m2")
        told = await node.control.impact([RemoveModel("b", "m2")])
        assert (told.elsewhere, told.unserved, told.moves[0].after) == (1, 1, None)
        with pytest.raises(RouterError):
            await serve(node, model="b/new")
        told = await node.control.impact([RegisterModel("b", "new")])
        assert (told.replayed, told.elsewhere, told.served, told.moves[0].after) == (2, 1, 1, "b/new")


async def test_what_changes_nothing_moves_nobody(tmp_path: Path) -> None:
    """A label is of no matter to requests that name no tags; commands are taken one after the other."""
    async with pair(tmp_path) as node:
        await serve(node)
        told = await node.control.impact([LabelModel("a", "m1", add=("x",)), LabelModel("a", "m1", add=("y",))])
        assert (told.replayed, told.elsewhere, told.moves, told.pools) == (1, 0, (), ())
        off_and_on = [SetModelActive("a", "m1", active=False), SetModelActive("a", "m1", active=True)]
        assert (await node.control.impact(off_and_on)).elsewhere == 0
        assert (await node.control.impact([ApplyEdits((UpdateModel("a", "m1", {"in_pools": False}),))])).elsewhere == 1


async def test_preferred_tags_of_a_request_count(tmp_path: Path) -> None:
    """A request that prefers a tag would go where it is put."""
    async with pair(tmp_path) as node:
        await serve(node)
        recorded = next(node.service.recorder.finished())
        assert recorded.tags == Hints().tags
        recorded.tags = ("fast",)
        told = await node.control.impact([LabelModel("b", "m2", add=("fast",))])
        assert [(move.before, move.after) for move in told.moves] == [("a/m1", "b/m2")]


async def test_a_capability_change_moves_those_that_need_it(tmp_path: Path) -> None:
    """Only requests that need tools leave a model that is said not to have them."""
    async with pair(tmp_path) as node:
        await serve(node)
        await serve(node)
        next(node.service.recorder.finished()).needed = (Word.TOOLS,)
        told = await node.control.impact([SetCapability("a", "m1", TOOLS, "no")])
        assert (told.replayed, told.elsewhere) == (2, 1)
        assert any(shift.pool == "tools" and shift.removed == ("a/m1",) for shift in told.pools)


async def test_forgetting_a_gap_brings_requests_back(tmp_path: Path) -> None:
    """What was learned keeps requests away until it is forgotten, or an operator says otherwise."""
    async with pair(tmp_path) as node:
        await serve(node)
        next(node.service.recorder.finished()).needed = (Word.TOOLS,)
        service = node.service
        now = service.clock.monotonic()
        for route in service.registry.routes(next(iter(service.registry.models))):
            service.board.relearn(route, Word.TOOLS, Gap(now, "answered in prose", now + 600))
        for command in (ClearGap("a", "m1", TOOLS), SetCapability("a", "m1", TOOLS, "yes")):
            told = await node.control.impact([command])
            assert [(move.before, move.after) for move in told.moves] == [("b/m2", "a/m1")], command


async def test_refusals_are_those_of_the_command(tmp_path: Path) -> None:
    """What would be refused has no impact; what is no registry change has no preview."""
    async with pair(tmp_path) as node:
        for command, status in (
            (UpdateModel("a", "m1", {"tier": "huge"}), 400),
            (UpdateModel("a", "m1", {"tier": "deep"}, version=7), 409),
            (RemoveModel("a", "nope"), 404),
            (Drain(Target("a")), 400),
        ):
            with pytest.raises(ControlError) as told:
                await node.control.impact([command])
            assert told.value.status == status


async def test_large_pools_are_planned_in_parts_with_the_same_result(tmp_path: Path) -> None:
    """Of hundreds of models the same one leads as in a whole plan, wherever the change is and whatever is known."""
    rows = ", ".join(
        f"{{id: m{n}, capabilities: [text{', tools' if n % 7 else ''}]{', context_window: 4096' if n == 230 else ''}}}"
        for n in range(260)
    )
    quiet = "kind: openai_compatible, health: {enabled: false}, discovery: {enabled: false}"
    text = f'version: 1\nproviders:\n  - {{name: p, {quiet}, base_url: "http://127.0.0.1:9", models: [{rows}]}}\n'
    async with running_engine(text, tmp_path) as node:
        chat = node.service.chat
        for number, (needed, size) in enumerate((((), 10), ((Word.TOOLS,), 10), ((), 5000), ((Word.VISION,), 10))):
            made = bare_trace(f"r{number}", RequestStatus.OK)
            made.size, made.model, made.needed, made.estimate_tokens = 100, None, needed, size
            node.service.recorder.begin(made)
            node.service.recorder.finish(made)
        for command in (
            UpdateModel("p", "m250", {"context_window": 100_000}),
            SetModelActive("p", "m230", active=False),
            UpdateModel("p", "m0", {"in_pools": False}),
            SetCapability("p", "m255", "vision", "yes"),
            LabelModel("p", "m3", add=("x",)),
        ):
            told = await node.control.impact([command])
            moves = {move.example: (move.before, move.after) for move in told.moves}
            before, (after, _) = node.service.registry, await node.service.editor.ahead([command])
            ahead = _Ahead(node.service.board, before, after, frozenset())
            expected = {}
            for trace in node.service.recorder.finished():
                leads = []
                for registry, board in ((before, node.service.board), (after, ahead)):
                    world = _World(node.service, registry, board)
                    leads.append(world._whole(_question(trace)))
                if leads[0] != leads[1]:
                    expected[trace.id] = tuple(lead and f"{lead.provider}/{lead.model}" for lead in leads)
            assert chat.registry is before
            assert set(moves.values()) == set(expected.values()), command
            assert told.elsewhere == len(expected), command


async def test_500_requests_are_replayed_without_holding_the_loop(tmp_path: Path) -> None:
    """Of more requests the newest 500 count, and no turn of the loop takes over 20 ms."""
    async with pair(tmp_path) as node:
        await serve(node)
        known = next(node.service.recorder.finished())
        for number in range(REPLAYED + 40):
            made = bare_trace(f"r{number}", RequestStatus.OK)
            made.size, made.model, made.estimate_tokens = 100, None, number  # each is planned by itself
            node.service.recorder.begin(made)
            made.needed = known.needed
            node.service.recorder.finish(made)
        turns: list[float] = []
        done = asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                began = time.thread_time()  # other work on the machine is none of the planner's
                await asyncio.sleep(0)
                turns.append(time.thread_time() - began)

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            told = await node.control.impact([SetModelActive("a", "m1", active=False)])
            done.set()
        assert (told.replayed, told.recorded, told.elsewhere) == (REPLAYED, REPLAYED, REPLAYED)
        turns.sort()
        assert turns[len(turns) * 19 // 20] < 0.1  # 20 ms, and a machine five times as slow; a few may be the machine's
