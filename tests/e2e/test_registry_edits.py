"""Edits of the registry on a running engine: in force for the next request, under load, over restarts, against gaps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import TOOL, Reply, Stand

from routerconsole.control.registry_commands import RegisterModel
from routerconsole.simulator import Behaviour

MODELS = {name: [{"id": "m", "capabilities": ["text", "tools"]}] for name in "ab"}
ROOM = {name: {"max_concurrency": 64, "discovery": {"enabled": False}} for name in "ab"}
"""A loopback provider would get 2 places; the simulator's own listing would add models."""
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}


async def command(stand: Stand, name: str, **args: Any) -> dict[str, Any]:
    """Carry out a command through the public port; it must be acknowledged and kept."""
    reply = await stand.post("/api/v1/router/commands", {"command": name, "args": args}, admin=True)
    assert reply.status == 200, reply.json
    assert reply.json["persisted"]
    found: dict[str, Any] = reply.json
    return found


async def pool(stand: Stand, name: str) -> list[str]:
    """Who is in a pool, as the control plane tells it."""
    rows = (await stand.get("/api/v1/pools")).json["pools"]
    return next(([f"{m['provider']}/{m['model']}" for m in row["members"]] for row in rows if row["id"] == name), [])


async def candidates(stand: Stand, reply: Reply | str) -> dict[str, str]:
    """Decision by provider of a request's trace."""
    detail = await stand.detail(reply)
    return {candidate.provider: candidate.decision for candidate in detail.candidates}


@dataclass(slots=True)
class Watched:
    """Requests and what was in force meanwhile: an even epoch is a steady state, an odd one an edit under way."""

    epoch: int = 0
    said: dict[int, str] = field(default_factory=lambda: {0: "yes"})
    asked: list[tuple[int, int, str, Reply]] = field(default_factory=list)

    def possible(self, began: int, ended: int) -> set[str]:
        """The values a request may have seen that began and ended in these epochs."""
        return {self.said[epoch] for epoch in range(began - began % 2, ended + ended % 2 + 1, 2)}


@asynccontextmanager
async def load(stand: Stand, watched: Watched, *, per_second: int = 100) -> AsyncIterator[None]:
    """Requests at a steady rate by turns to the pool, to everybody, and as streams, until the block ends."""
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    stop = asyncio.Event()

    async def ask(number: int) -> None:
        began = watched.epoch
        name = ("tools", "auto", "router/tools")[number % 3]
        reply = await stand.chat(name, **FORCED, stream=number % 2 == 1)
        watched.asked.append((began, watched.epoch, name, reply))

    async def keep_asking() -> None:
        begun = loop.time()
        for number in itertools.count():
            if stop.is_set():
                return
            running.add(asyncio.ensure_future(ask(number)))
            await asyncio.sleep(max(0.0, begun + (number + 1) / per_second - loop.time()))

    asking = asyncio.ensure_future(keep_asking())
    try:
        yield
    finally:
        stop.set()
        await asking
        await asyncio.gather(*running)


async def test_an_edit_under_load_is_in_force_at_once_and_no_request_sees_half_of_it(make: MakeStand) -> None:
    """100 requests a second; `tools no` and back, eight times: pool and next trace change, every request is whole."""
    stand = await make(models=MODELS, providers=ROOM)
    watched = Watched()

    async def edit(name: str, now: str, **args: Any) -> None:
        """One edit, and what the very next request and the pool say."""
        watched.epoch += 1
        watched.said[watched.epoch + 1] = now
        receipt = await command(stand, name, provider="a", model="m", node="tools", **args)
        watched.epoch += 1
        changed = {"added": ["tools"], "removed": []} if now == "yes" else {"added": [], "removed": ["tools"]}
        assert receipt["after"]["pools"] == changed
        assert (receipt["after"]["value"], receipt["after"]["source"]) == (
            now,
            "config" if now == "yes" else "operator",
        )
        assert await pool(stand, "tools") == (["a/m", "b/m"] if now == "yes" else ["b/m"])
        reply = await stand.chat("auto", **FORCED)
        assert reply.served_by == ("a/m" if now == "yes" else "b/m")
        assert await candidates(stand, reply) == {"a": "eligible" if now == "yes" else "dropped", "b": "eligible"}

    async with load(stand, watched):
        for _ in range(8):
            await stand.until(lambda: len(watched.asked) > 20 * watched.epoch, "requests meanwhile")
            await edit("set_capability", "no", value="no")
            await stand.until(lambda: len(watched.asked) > 20 * watched.epoch, "requests meanwhile")
            await edit("clear_capability", "yes")
    assert len(watched.asked) > 300
    seen = {"yes": 0, "no": 0}
    for began, ended, name, reply in watched.asked:
        assert reply.status == 200, reply.body
        assert reply.finished if "event-stream" in reply.headers["content-type"] else reply.json["choices"]
        assert reply.attempts == 1
        told = await candidates(stand, reply)
        whole = {
            "yes": {"a": "eligible", "b": "eligible"},
            "no": {"a": "dropped", "b": "eligible"} if name == "auto" else {"b": "eligible"},
        }
        (value,) = [value for value, expected in whole.items() if told == expected]
        assert value in watched.possible(began, ended), (began, ended, told)
        assert reply.served_by == ("a/m" if value == "yes" else "b/m")
        seen[value] += 1
    assert min(seen.values()) > 50, seen
    assert stand.idle


async def test_a_gap_on_the_exact_route_gates_until_an_operator_says_otherwise(make: MakeStand) -> None:
    """Refusal → gap; a newer yes is believed until the next refusal; clearing lets it try again."""
    stand = await make(models=MODELS, providers=ROOM)
    stand.sims["a"].set("m", Behaviour(refuse={"tools": "openrouter_no_tools"}))

    async def tried() -> list[str]:
        return [provider for provider, _ in await stand.tried(await stand.chat("tools", **FORCED))]

    assert await tried() == ["a", "b"]
    assert await tried() == ["b"]
    await command(stand, "set_capability", provider="a", model="m", node="tools", value="yes")
    assert await tried() == ["a", "b"], "the newer word is believed"
    assert await tried() == ["b"], "the newer refusal is believed"
    await command(stand, "clear_gap", provider="a", model="m", node="tools")
    stand.sims["a"].set("m", Behaviour())
    assert await tried() == ["a"]
    assert await tried() == ["a"]


async def test_strikes_before_an_operators_yes_do_not_count_after_it(make: MakeStand) -> None:
    """Two undelivered answers, a yes, two more: still asked; the third after the yes gates it."""
    stand = await make(models=MODELS, providers=ROOM)
    stand.sims["a"].set("m", Behaviour(tools="ignore"))

    async def asked() -> bool:
        return ("a", "undelivered") in await stand.tried(await stand.chat("tools", **FORCED))

    assert [await asked(), await asked()] == [True, True]
    await command(stand, "set_capability", provider="a", model="m", node="tools", value="yes")
    assert [await asked(), await asked(), await asked(), await asked()] == [True, True, True, False]


async def test_C0_38_every_kind_of_edit_is_there_after_a_restart(make: MakeStand) -> None:
    """Registered, changed, removed, disabled, assigned, extended and set: all as before the restart."""
    stand = await make(models=MODELS, providers=ROOM)
    stand.sims["b"].set("x/y:z%", Behaviour())
    await command(stand, "register_model", provider="b", model="x/y:z%", fields={"tags": ["t"], "role": "reward"})
    await command(stand, "remove_model", provider="a", model="m")
    await command(stand, "set_model_active", provider="b", model="m", active=False)
    await command(stand, "assign_agent", agent="bob", model="b/x/y:z%")
    await command(stand, "extend_capabilities", node="interaction.computer-use")
    await command(stand, "set_capability", provider="b", model="x/y:z%", node="computer-use", value="yes")
    undone = await command(stand, "label_model", provider="b", model="x/y:z%", add=["gone"])
    await command(stand, "undo", audit_id=undone["audit_id"])
    shown = (await stand.get("/api/v1/models")).json
    await stand.restart()
    assert (await stand.get("/api/v1/models")).json == shown
    (kept, inactive) = sorted(shown["models"], key=lambda model: str(model["id"]), reverse=True)
    assert (kept["id"], kept["tags"], kept["role"], kept["agents"]) == ("b/x/y:z%", ["t"], "reward", ["bob"])
    assert (inactive["id"], inactive["enabled"]) == ("b/m", False)
    assert (await stand.chat(None, headers={"x-router-agent": "bob"})).served_by == "b/x/y:z%"
    assert (await stand.chat("a/m")).status == 404
    assert (await stand.chat("b/m")).status == 503


@pytest.mark.parametrize("dry_run", [True, False])
async def test_C1_56_a_dry_run_over_the_port_writes_nothing(make: MakeStand, dry_run: bool) -> None:
    """`dry_run` tells before and after; what is shown afterwards is as it was, unless it was meant."""
    stand = await make(models=MODELS, providers=ROOM)
    before = (await stand.get("/api/v1/models")).json
    body = {"command": "label_model", "args": {"provider": "a", "model": "m", "add": ["x"]}, "dry_run": dry_run}
    reply = await stand.post("/api/v1/router/commands", body, admin=True)
    assert (reply.json["before"]["tags"], reply.json["after"]["tags"]) == ([], ["x"])
    assert ((await stand.get("/api/v1/models")).json == before) is dry_run
    assert (len((await stand.get("/api/v1/audit")).json["audit"]) == 0) is dry_run


async def test_if_version_refuses_an_edit_of_another_state(make: MakeStand) -> None:
    """The whole registry's version is a lock too: 409 and nothing changed."""
    stand = await make(models=MODELS, providers=ROOM)
    version = stand.node.service.registry.version
    args = {"provider": "a", "model": "m", "add": ["x"]}
    for expected in (200, 409):
        body = {"command": "label_model", "args": args, "if_version": version}
        reply = await stand.post("/api/v1/router/commands", body, admin=True)
        assert reply.status == expected


async def test_a_models_default_temperature_is_sent_where_the_request_names_none(make: MakeStand) -> None:
    """It fills a gap and overrides nobody; an embeddings request has no such field; taken back, nothing is sent."""
    both = {"a": [{"id": "m", "capabilities": ["text", "embeddings"]}]}
    stand = await make(models=both, providers={"a": ROOM["a"]})
    chat: dict[str, Any] = {"model": "a/m", "messages": [{"role": "user", "content": "x"}]}

    async def sent(path: str, body: dict[str, Any]) -> Any:
        await stand.post(path, body)
        return orjson.loads(stand.sims["a"].received[-1].body).get("temperature")

    assert await sent("/v1/chat/completions", chat) is None
    await command(stand, "update_model", provider="a", model="m", fields={"default_temperature": 0.3})
    assert await sent("/v1/chat/completions", chat) == 0.3
    assert await sent("/v1/chat/completions", {**chat, "temperature": 1.5}) == 1.5
    assert await sent("/v1/completions", {"model": "a/m", "prompt": "x"}) == 0.3
    assert await sent("/v1/embeddings", {"model": "a/m", "input": "x"}) is None
    await command(stand, "update_model", provider="a", model="m", fields={"default_temperature": None})
    assert await sent("/v1/chat/completions", chat) is None


async def test_E02_a_model_in_three_pools_is_removed_under_traffic(make: MakeStand) -> None:
    """Streams in flight end whole where they began; every pool is without it at once, and nobody goes there again."""
    pools = [{"id": name, "members": ["a/m", "b/m"]} for name in ("one", "two", "three")]
    stand = await make(models=MODELS, providers=ROOM, pools=pools)
    stand.sims["a"].set("m", Behaviour(tokens=60, tokens_per_second=100))

    def at_a() -> int:  # a provider's listing and its checks may be asked for at any time
        return sum(each.method == "POST" for each in stand.sims["a"].received)

    before = [asyncio.ensure_future(stand.stream(name)) for name in ("one", "two", "three", "auto", "tools", "a/m")]
    await stand.until(lambda: at_a() == len(before), "all of them at a")
    await command(stand, "remove_model", provider="a", model="m")
    assert not any(task.done() for task in before)
    for name in ("one", "two", "three", "auto", "tools", "text"):
        assert await pool(stand, name) == ["b/m"]
        assert (await stand.chat(name)).served_by == "b/m"
    assert (await stand.chat("a/m")).status == 404
    assert not [row for row in (await stand.get("/v1/models")).json["data"] if row["id"] == "a__m"]
    for reply in await asyncio.gather(*before):
        assert (reply.status, reply.served_by, reply.finished, reply.in_band) == (200, "a/m", True, None)
    assert at_a() == len(before)
    assert stand.idle


async def test_C4_14_every_face_works_on_the_one_registry(make: MakeStand) -> None:
    """What one writes, the others read and requests go by: the port inside, the control plane and the data plane."""
    stand = await make(models=MODELS, providers=ROOM)
    stand.sims["a"].set("new", Behaviour())
    await stand.node.control.do(RegisterModel("a", "new", {"tags": ["x"]}), actor="tester")
    assert (await stand.get("/api/v1/models/a%2Fnew")).json["tags"] == ["x"]
    assert "a__new" in [row["id"] for row in (await stand.get("/v1/models")).json["data"]]
    assert (await stand.chat("new")).served_by == "a/new"
    await command(stand, "set_capability", provider="a", model="new", node="tools", value="no")
    view = await stand.node.control.registry_model("a", "new")
    assert view is not None
    assert view.capabilities["interaction.tool-calling"].value == "no"
    assert (await stand.chat("new", **FORCED)).error["code"] == "capability_unavailable"
