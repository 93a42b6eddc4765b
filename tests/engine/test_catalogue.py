"""The catalogue on a whole engine: many models in slices, weights' headers, how long prompts are, who is missing."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable
from pathlib import Path

import orjson
from tests.support.node import chain, running_node, simulated

from routerconsole.control.registry_commands import RegisterModel, SetCapability, SetModelActive
from routerconsole.control.registry_views import ModelQuery
from routerconsole.engine.catalogue import ENOUGH_PROMPTS, SLICE
from routerconsole.engine.pool_views import looked_at
from routerconsole.simulator import Behaviour

MODELS, PROVIDERS = 25, 40


def many() -> str:
    """1,000 models at 40 providers."""
    models = [{"id": f"m{number}", "capabilities": ["text", "tools"]} for number in range(MODELS)]
    rows = [
        {"name": f"p{number}", "kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "models": models,
         "discovery": {"enabled": False}, "health": {"enabled": False}}
        for number in range(PROVIDERS)
    ]  # fmt: skip
    return orjson.dumps({"version": 1, "providers": rows}).decode()


async def turns_during(work: Awaitable[object]) -> int:
    """Return how often something else had its turn while `work` ran."""
    turns = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


async def test_views_of_many_models_let_others_have_their_turn(tmp_path: Path) -> None:
    """After each slice of the registry and of the tree."""
    async with running_node(many(), tmp_path) as node:
        assert (await node.control.registry(ModelQuery())).total == MODELS * PROVIDERS
        assert await turns_during(node.control.registry(ModelQuery())) >= MODELS * PROVIDERS // SLICE
        assert await turns_during(node.control.capabilities()) >= MODELS * PROVIDERS // SLICE


async def test_a_big_pool_is_looked_at_in_slices_and_stands_as_it_would_in_one_go(tmp_path: Path) -> None:
    """The order over all its members is the plan's own, those that cannot be asked where they belong."""
    async with running_node(many(), tmp_path) as node:
        for model in ("m0", "m7"):
            await node.control.do(SetModelActive("p3", model, active=False))
        await node.control.do(SetCapability("p5", "m2", "text", "no"))
        service = node.service
        whole = looked_at(service.registry.pools["auto"], service, service.registry, service.means.peeking())
        (pool,) = [each for each in await node.control.pools() if each.id == "auto"]
        assert [(each.provider, each.model) for each in pool.members] == [
            (candidate.route.provider, candidate.route.model) for candidate in whole.candidates
        ]
        assert (pool.routable, pool.total) == (MODELS * PROVIDERS - 2, MODELS * PROVIDERS)
        assert await turns_during(node.control.pools()) > 1


def gguf(path: Path) -> None:
    """Write the smallest GGUF file that says something of itself."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, 4096),
        text("general.parameter_count") + struct.pack("<IQ", 10, 7_000_000),
    ]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries))


async def test_weights_tell_of_themselves_in_the_view_of_one_model(tmp_path: Path) -> None:
    """Architecture, context and parameters of a file below weights_dir; a damaged file says that it is one."""
    weights = tmp_path / "weights"
    weights.mkdir()
    gguf(weights / "tiny.gguf")
    (weights / "broken.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 5))
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", extra=f"registry: {{weights_dir: {weights}}}\n"), tmp_path) as node,
    ):
        for name in ("tiny", "broken"):
            await node.control.do(RegisterModel("a", name, {"format": "gguf", "path": f"{name}.gguf"}))
        tiny, broken = [await node.control.registry_model("a", name) for name in ("tiny", "broken")]
        assert tiny is not None
        assert broken is not None
        assert (tiny.header["architecture"], tiny.header["context_length"], tiny.header["parameters"]) == (
            "llama", 4096, 7_000_000,
        )  # fmt: skip
        assert "header" in str(broken.header["problem"])
        assert "llama-server -m" in tiny.note
        assert (await node.control.registry(ModelQuery())).weights_dir == str(weights)


async def test_C4_33_the_doctor_knows_how_long_prompts_are(tmp_path: Path) -> None:
    """A p95 prompt of 85 % of the context or more is a warning, once enough requests were served."""
    body = {"messages": [{"role": "user", "content": "word " * 720}]}
    async with (
        simulated(m1=Behaviour()) as simulator,
        running_node(chain(simulator, "m1", context_window=1000), tmp_path) as node,
        node.client() as client,
    ):
        for number in range(ENOUGH_PROMPTS):
            found = [each.message for each in await node.control.doctor("models") if "a/m1" in each.subject]
            assert not any("p95" in message for message in found), number
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        found = [each for each in await node.control.doctor("models") if "p95" in each.message]
        assert [(each.level, each.subject) for each in found] == [("WARN", "model a/m1")]


async def test_the_doctor_repeats_what_the_configuration_check_warns_of(tmp_path: Path) -> None:
    """A key written in plain text, by its place and never by its value."""
    row = {"name": "a", "kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "models": [{"id": "m"}],
           "api_key": "sk-plain-text-123456"}  # fmt: skip
    file = tmp_path / "providers.yaml"
    file.write_text(orjson.dumps({"version": 1, "providers": [row]}).decode())
    async with running_node(file, tmp_path) as node:
        found = await node.control.doctor("models")
        told = [each for each in found if "plain text" in each.message]
        assert [(each.level, "api_key" in each.subject) for each in told] == [("WARN", True)]
        assert "sk-plain" not in str(found)
