"""Listings, pulls and the control face over a real socket."""

from __future__ import annotations

import json
from typing import Any

from tests.simulator.wire import Raw, ask, chat

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
