"""Listings, pulls and the control face over a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.simulator.wire import Raw, ask, chat, request

from routerconsole.simulator import Answering, Behaviour, Listed, Pull, Script, Simulator, Wire

HOSTILE = "evil\x1b[2J[red]\u202e\n../../etc"


async def get(sim: Simulator, path: str, *headers: str) -> Any:
    """The JSON at a path."""
    return (await ask(sim, None, path, *headers, method="GET")).json


async def test_each_dialect_lists_the_same_models() -> None:
    """OpenAI, OpenRouter, Anthropic and Ollama listings name every model, hostile names too."""
    models = {"a:free": Behaviour(capabilities=("tools", "vision"), context_window=4096), "b": Behaviour()}
    listed = (Listed(id=HOSTILE),)
    async with Simulator(Script(models=models, listed=listed)) as sim:
        openai = await get(sim, "/v1/models")
        anthropic = await get(sim, "/v1/models", "anthropic-version: 2023-06-01")
        tags = await get(sim, "/api/tags")
        shown: Any = (await ask(sim, {"model": "a:free"}, "/api/show")).json
        unknown = await ask(sim, {"model": "zz"}, "/api/show")
    names = ["a:free", "b", HOSTILE]
    assert [row["id"] for row in openai["data"]] == names
    assert [row["id"] for row in anthropic["data"]] == names
    assert [row["name"] for row in tags["models"]] == names
    assert shown["capabilities"] == ["completion", "tools", "vision"]
    assert shown["model_info"]["llama.context_length"] == 4096
    assert unknown.status == 404
    async with Simulator(Script(models=models, listing="openrouter")) as sim:
        first = (await get(sim, "/v1/models"))["data"][0]
    assert first["architecture"]["input_modalities"] == ["text", "image"]
    assert (first["pricing"]["prompt"], first["context_length"]) == ("0", 4096)
    assert "tools" in first["supported_parameters"]


async def test_each_server_writes_its_own_fields() -> None:
    """llama.cpp, vLLM, LM Studio and LiteLLM listings have what the real ones have, at the paths of the real ones."""
    models = {"a": Behaviour(capabilities=("tools", "vision"), context_window=4096)}
    async with Simulator(Script(models=models, listing="llamacpp", props={"total_slots": 3})) as sim:
        entry, props = (await get(sim, "/v1/models"))["data"][0], await get(sim, "/props")
    assert (entry["owned_by"], entry["meta"]["n_ctx"]) == ("llamacpp", 4096)
    assert entry["architecture"]["input_modalities"] == ["text", "image"]
    assert (props["chat_template_caps"]["supports_tool_calls"], props["modalities"]["vision"]) == (True, True)
    assert (props["default_generation_settings"]["n_ctx"], props["total_slots"]) == (4096, 3)
    async with Simulator(Script(models=models, listing="vllm")) as sim:
        assert (await get(sim, "/v1/models"))["data"][0]["max_model_len"] == 4096
        assert (await ask(sim, None, "/props", method="GET")).status == 404
    async with Simulator(Script(models=models, listing="lmstudio")) as sim:
        assert (await get(sim, "/v1/models"))["data"][0]["owned_by"] == "organization_owner"
        row = (await get(sim, "/api/v0/models"))["data"][0]
    assert (row["type"], row["max_context_length"], row["capabilities"]) == ("vlm", 4096, ["tool_use"])
    async with Simulator(Script(models=models, listing="litellm")) as sim:
        info = (await get(sim, "/v1/model/info"))["data"][0]
    assert (info["model_name"], info["model_info"]["supports_function_calling"]) == ("a", True)
    assert (info["model_info"]["supports_reasoning"], info["model_info"]["max_input_tokens"]) == (None, 4096)


async def test_models_come_and_go_between_listings() -> None:
    """An entry stands in the listings with its numbers, over the model of its id; `fields` go over the dialect's."""
    listed = (
        Listed(id="early", last=1),
        Listed(id="late", first=2, fields={"owned_by": "me"}),
        Listed(id="m", last=2),
    )
    async with Simulator(Script(models={"m": Behaviour(), "n": Behaviour()}, listed=listed)) as sim:
        rows = [(await get(sim, "/v1/models"))["data"] for _ in range(3)]
        assert (await ask(sim, chat())).status == 200
    assert [sorted(row["id"] for row in listing) for listing in rows] == [
        ["early", "m", "n"],
        ["late", "m", "n"],
        ["late", "n"],
    ]
    assert next(row for row in rows[1] if row["id"] == "late")["owned_by"] == "me"


async def test_an_embedding_model_shows_no_completion() -> None:
    """Ollama says `embedding` and not `completion` of a model that only embeds."""
    async with Simulator(Script(models={"e": Behaviour(capabilities=("embeddings",))})) as sim:
        shown: Any = (await ask(sim, {"model": "e"}, "/api/show")).json
    assert shown["capabilities"] == ["embedding"]


async def test_versions_health_and_unknown_paths(sim: Simulator) -> None:
    """What probes ask for is there; other paths are 404."""
    assert "version" in await get(sim, "/api/version")
    assert await get(sim, "/health") == {"status": "ok"}
    assert (await ask(sim, None, "/", method="GET")).body == b"Ollama is running"
    assert (await ask(sim, None, "/v1/nothing", method="GET")).status == 404


async def test_a_path_can_misbehave_while_the_models_do_not(sim: Simulator) -> None:
    """The listing hangs up, fails or lies on its own; chat is untouched, and the other way round."""
    key = "GET /v1/models"
    sim.set(key, Behaviour(statuses=(500,)))
    assert (await ask(sim, None, "/v1/models", method="GET")).status == 500
    sim.set(key, Behaviour(wire=Wire.RESET))
    assert await ask(sim, None, "/v1/models", method="GET") == Raw(b"", "reset")
    sim.set(key, Behaviour(answer=Answering.HTML))
    assert b"<html>" in (await ask(sim, None, "/v1/models", method="GET")).body
    assert (await ask(sim, chat())).status == 200
    sim.set(key, Behaviour())
    sim.set("m", Behaviour(statuses=(500,)))
    assert [row["id"] for row in (await get(sim, "/v1/models"))["data"]] == ["m"]
    assert (await ask(sim, chat())).status == 500


async def test_a_pull_tells_its_progress_and_adds_the_model(sim: Simulator) -> None:
    """Completed grows to total, success is last, and the model answers."""
    sim.pulls["new:1b"] = Pull(total=1000, steps=4, step_s=0.001)
    lines = [json.loads(line) for line in (await ask(sim, {"model": "new:1b"}, "/api/pull")).body.splitlines()]
    assert [line["completed"] for line in lines if "completed" in line] == [250, 500, 750, 1000]
    assert lines[0] == {"status": "pulling manifest"}
    assert lines[-1] == {"status": "success"}
    assert (await ask(sim, chat("new:1b"))).status == 200
    assert sim.count("POST /api/pull") == 1


async def test_a_failing_pull_ends_with_an_error_line(sim: Simulator) -> None:
    """A pull fails half-way in its stream, or with a 500 where no stream was asked for; no model appears."""
    sim.pulls["*"] = Pull(ok=False, step_s=0.001)
    lines = (await ask(sim, {"model": "bad"}, "/api/pull")).body.splitlines()
    assert "error" in json.loads(lines[-1])
    assert (await ask(sim, {"model": "bad", "stream": False}, "/api/pull")).status == 500
    assert (await ask(sim, chat("bad"))).status == 404


async def test_a_pull_has_parts_and_can_fall_silent(sim: Simulator) -> None:
    """Each part counts for itself; a hanging pull says nothing more, and adds no model."""
    sim.pulls["big"] = Pull(total=100, steps=2, step_s=0.001, parts=2)
    lines = [json.loads(line) for line in (await ask(sim, {"model": "big"}, "/api/pull")).body.splitlines()]
    assert [line["completed"] for line in lines if "completed" in line] == [50, 100, 50, 100]
    assert len({line["digest"] for line in lines if "digest" in line}) == 2
    sim.pulls["hung"] = Pull(step_s=0.001, hang_at=2)
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request("/api/pull", {"model": "hung"}))
    seen = await reader.readuntil(b'"completed":200000}\n')
    assert seen.count(b"completed") == 1
    writer.close()
    await sim.wait_closed()
    assert (await ask(sim, chat("hung"))).status == 404


async def test_the_control_face_reads_the_books_and_changes_models(sim: Simulator) -> None:
    """Stats, received and closes are JSON; a model is set and removed by name; reset empties the books."""
    await ask(sim, chat())
    assert (await get(sim, "/__sim/stats"))["counts"] == {"m": 1}
    assert (await get(sim, "/__sim/received"))["received"][0]["model"] == "m"
    put = await ask(sim, {"wire": "close"}, "/__sim/models/a%2Fb%3Ac", method="PUT")
    assert put.json == {"ok": True, "model": "a/b:c"}
    assert (await ask(sim, chat("a/b:c"))).data == b""
    closes = (await get(sim, "/__sim/closes"))["closes"]
    assert [(row["model"], row["by"]) for row in closes] == [("a/b:c", "us")]
    assert (await ask(sim, None, "/__sim/models/a%2Fb%3Ac", method="DELETE")).status == 200
    assert (await ask(sim, chat("a/b:c"))).status == 404
    assert (await ask(sim, {}, "/__sim/reset")).status == 200
    stats = await get(sim, "/__sim/stats")
    assert (stats["total"], stats["counts"]) == (0, {})


async def test_a_bad_behaviour_is_a_400_that_names_the_key(sim: Simulator) -> None:
    """What cannot be understood changes nothing."""
    reply = await ask(sim, {"wirre": "close"}, "/__sim/models/m", method="PUT")
    assert (reply.status, b"'wirre'" in reply.body) == (400, True)
    assert (await ask(sim, {"wire": "loose"}, "/__sim/models/m", method="PUT")).status == 400
    assert (await ask(sim, None, "/__sim/nothing", method="GET")).status == 404
    assert (await ask(sim, chat())).status == 200
