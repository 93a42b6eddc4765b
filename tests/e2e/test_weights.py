"""Kind `airllm` through the whole engine: a worker process like the real one, whose model does as its prompt says."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from tests.e2e.stand import TOOL, Stand, configuration
from tests.support import fake_weights

from routerconsole.control.local import LocalControl
from routerconsole.providers import worker as worker_module
from routerconsole.providers.worker import Worker
from routerconsole.simulator import Behaviour, Simulator

FAKE = (sys.executable, "-P", fake_weights.__file__)
A, B = "disk/tiny-a", "disk/tiny-b"


@pytest_asyncio.fixture
async def thread() -> None:
    """Weights' headers are read on the loop's spare thread, which stays: it is no leak."""
    await asyncio.to_thread(int)


@pytest_asyncio.fixture
async def stand(thread: None, leakcheck: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    """A node with three checkpoints on disk, tried before a simulated upstream; AirLLM is there as far as it sees."""
    (tmp_path / "lib" / "airllm").mkdir(parents=True)
    (tmp_path / "lib" / "airllm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "lib")
    models = []
    for name in ("tiny-a", "tiny-b", "broken", "gone"):
        folder = tmp_path / "weights" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").touch()
        models.append({"id": name, "format": "hf", "path": name})
    sim = Simulator(seed=1)
    await sim.start()
    sim.set("m", Behaviour())
    config = orjson.loads(configuration({"a": sim}, registry={"weights_dir": str(tmp_path / "weights")}))
    config["providers"].insert(0, {"name": "disk", "kind": "airllm", "priority": 1, "models": models})
    config["pools"] = [{"id": "both", "members": [A, "a/m"]}]
    made = Stand(orjson.dumps(config).decode(), tmp_path / "state", {"a": sim})
    await made.start()
    shutil.rmtree(tmp_path / "weights" / "gone")
    worker(made).command = FAKE
    try:
        yield made
    finally:
        await made.stop()
        await sim.stop()


def worker(stand: Stand) -> Worker:
    """The engine's side of the process."""
    return stand.node.service.weights.worker


async def said(stand: Stand, model: str) -> str:
    """What an operator reads of a model of the disk."""
    answer = await stand.get(f"/api/v1/models/disk%2F{model}")
    assert answer.status == 200
    note: str = answer.json["note"]
    return note


@asynccontextmanager
async def begun(stand: Stand, text: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A streamed answer of which something came; leaving closes the connection."""
    body = {"model": A, "messages": asking(text), "stream": True, "max_tokens": 100_000}
    headers = {"authorization": f"Bearer {stand.client_token}"}
    async with stand.session.post(stand.url + "/v1/chat/completions", json=body, headers=headers) as answer:
        assert (await answer.content.readany()).startswith(b"data: ")
        yield answer


def asking(text: str) -> list[dict[str, Any]]:
    """Messages that tell the fake model what to do."""
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


async def test_checkpoints_answer_like_any_upstream_one_in_memory_at_a_time(stand: Stand) -> None:
    """Whole, streamed and plain completions with usage; a second model takes the first one's place; the facts show."""
    whole = await stand.chat(A, messages=asking("tell me"), stop=["tiny-a2"], max_tokens=9)
    assert (whole.status, whole.content, whole.served_by) == (200, "tiny-a0 tiny-a1 ", A)
    assert whole.json["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert whole.json["choices"][0]["finish_reason"] == "stop"
    pid = worker(stand).state.pid
    streamed = await stand.stream(B, messages=asking("tell me"), stream_options={"include_usage": True})
    assert (streamed.finished, streamed.text) == (True, "tiny-b0 tiny-b1 tiny-b2 tiny-b3 ")
    assert streamed.chunks[-1]["usage"]["completion_tokens"] == 4
    assert (worker(stand).state.pid, worker(stand).state.model) == (pid, "tiny-b")
    plain = await stand.post("/v1/completions", {"model": A, "prompt": "go on", "max_tokens": 1})
    assert (plain.status, plain.json["choices"][0]["text"]) == (200, "tiny-a0 ")
    note = await said(stand, "tiny-a")
    assert note.startswith("in memory by airllm: loaded in ")
    assert note.endswith(" MB")
    assert await said(stand, "tiny-b") == ""
    new = {"provider": "disk", "id": "later", "format": "hf", "path": "tiny-b"}
    assert (await stand.post("/api/v1/models", new, admin=True)).status == 201
    assert (await stand.chat("disk/later", max_tokens=1)).content == "later0 "


async def test_what_weights_cannot_do_goes_elsewhere_or_says_why(stand: Stand) -> None:
    """Tools are not attempted; a prompt too long, files gone, files broken and a failure inside have their classes."""
    tools = await stand.chat("auto", tools=[TOOL])
    assert (tools.served_by, tools.attempts) == ("a/m", 1)
    classes = {}
    for model, text in ((A, "word " * 200), ("disk/gone", "x"), ("disk/broken", "x"), (A, "fail"), (A, "memory")):
        answer = await stand.chat(model, messages=asking(text))
        assert answer.status >= 400
        tried = await stand.first(answer)
        classes[model, text[:6]] = tried.class_, tried.detail
    found = {key: class_ for key, (class_, _) in classes.items()}
    assert found == {
        (A, "word w"): "context",
        ("disk/gone", "x"): "missing",
        ("disk/broken", "x"): "missing",
        (A, "fail"): "server",
        (A, "memory"): "server",
    }
    assert "not a checkpoint" in classes["disk/broken", "x"][1]
    assert "no kernel image" in classes[A, "fail"][1]
    assert (await stand.chat("disk/broken")).status >= 400
    assert await said(stand, "broken") == "broken cannot be loaded: ValueError: not a checkpoint"
    assert await said(stand, "tiny-b") == ""
    assert worker(stand).state.restarts == 0
    doctor = {each.subject: each.message for each in await LocalControl(stand.node.service).doctor("models")}
    assert doctor["model disk/broken"].startswith("broken cannot be loaded: ValueError: not a checkpoint; mend its")
    assert doctor["model disk/broken"].endswith("then run: routerconsole routes reset disk/broken")
    listed = await stand.post("/api/v1/discovery/sync", {"providers": ["disk"]}, admin=True)
    assert listed.status == 200
    assert await said(stand, "gone") == (
        "not served: 'gone' does not exist (format hf needs the file); mend it, then run: "
        "routerconsole models sync disk"
    )
    same = ("providers.0.models.3.path", "'gone' does not exist (format hf needs the file)")
    stand.node.service.loaded = replace(stand.node.service.loaded, warnings=(same, ("pools.0", "is empty")))
    told = [each.subject for each in await LocalControl(stand.node.service).doctor("models")]
    assert [subject for subject in told if subject in ("model disk/gone", "pools.0", same[0])] == [
        "model disk/gone",  # said once, where the remedy stands
        "pools.0",
    ]


async def test_a_worker_that_dies_costs_its_answer_only_and_is_started_again(stand: Stand) -> None:
    """The request fails over, the next one is served by a new process, and a cut stream says that it is incomplete."""
    died = await stand.chat("both", messages=asking("die"))
    assert (died.status, died.served_by) == (200, "a/m")
    assert (await stand.first(died)).provider == "disk"
    await stand.until(lambda: worker(stand).state.pid, "a new process")
    assert "died of signal 9" in worker(stand).state.problem
    again = await stand.chat(A)
    assert (again.status, again.served_by, worker(stand).state.restarts) == (200, A, 1)
    os.kill(worker(stand).state.pid or 0, signal.SIGKILL)
    unseen = await stand.chat(A)  # on its way before anybody knows that nobody is there
    assert (unseen.status, unseen.attempts) == (200, 1)
    async with begun(stand, "slow") as answer:
        os.kill(worker(stand).state.pid or 0, signal.SIGKILL)
        rest = await answer.read()
    assert b"stream_incomplete" in rest
    assert b"[DONE]" not in rest
    await stand.until(lambda: worker(stand).state.restarts == 3, "the third restart")


async def test_a_request_nothing_can_be_made_of_is_its_own_fault(stand: Stand) -> None:
    """Settings no library takes are a 400 that names them: no library is asked, no circuit counts it."""
    wrong: list[tuple[str, Any]] = [
        *(("max_tokens", limit) for limit in (0, -1, "x", 1.5, True)),
        *(("temperature", value) for value in (-1, "hot", True)),
        *(("top_p", value) for value in (7, "x")),
        *(("seed", value) for value in ("x", 1.5)),
        *(("stop", value) for value in ([1], 3)),
    ]
    for name, value in wrong:
        answer = await stand.chat(A, **{name: value})
        tried = await stand.first(answer)
        assert (answer.status, answer.attempts, tried.class_, name in str(tried.detail)) == (
            400,
            1,
            "client_error",
            True,
        )
    assert worker(stand).state.pid is None
    refused = await stand.chat(A, messages=asking("refuse"))
    assert (refused.status, (await stand.first(refused)).class_) == (400, "client_error")
    assert (await stand.chat(A, max_tokens=None, stop="x", seed=2**63, top_p=0, temperature=0)).status == 200
    assert (await stand.get("/api/v1/router/status")).json["providers"][0]["circuit_state"] == "closed"


async def test_a_stream_is_one_answer_of_one_author(stand: Stand) -> None:
    """The role stands in the first piece only, and no two answers share an id."""
    first, second = [await stand.stream(A), await stand.stream(A)]
    roles = [chunk["choices"][0]["delta"].get("role") for chunk in first.chunks if chunk["choices"]]
    assert (roles[0], set(roles[1:])) == ("assistant", {None})
    assert {chunk["id"] for chunk in first.chunks} & {chunk["id"] for chunk in second.chunks} == set()


async def test_weights_put_in_the_place_of_others_are_loaded(stand: Stand, tmp_path: Path) -> None:
    """The model in memory is the one on the disk."""
    await stand.chat(A)
    await stand.chat(A)
    (tmp_path / "weights" / "tiny-a" / "model.safetensors").write_bytes(b"others")
    assert (await stand.chat(A)).status == 200
    events = stand.node.service.bus.page(0, 10_000).events
    assert [event.type for event in events if event.type == "weights.loaded"] == ["weights.loaded"] * 2


async def test_what_becomes_of_the_worker_is_told(stand: Stand) -> None:
    """Events, `status` and metrics: what is in memory since when and how large, what died, that it runs again."""
    assert (await status(stand))["running"] is False
    await stand.chat(A)
    held = await status(stand)
    assert (held["running"], held["model"], held["backend"], held["restarts"]) == (True, "tiny-a", "airllm", 0)
    assert (held["load_s"] >= 0, held["memory_mb"] > 0) == (True, True)
    await stand.chat("disk/broken")
    assert (await status(stand))["model"] is None
    await stand.chat(A, messages=asking("die"))
    await stand.chat(B)
    told = [event for event in stand.node.service.bus.page(0, 10_000).events if event.type.startswith("weights.")]
    assert [(event.type, event.data.get("model")) for event in told] == [
        ("weights.loading", "tiny-a"),
        ("weights.loaded", "tiny-a"),
        ("weights.loading", "broken"),
        ("weights.failed", "broken"),
        ("weights.loading", "tiny-a"),
        ("weights.loaded", "tiny-a"),
        ("weights.died", "tiny-a"),
        ("weights.restarted", None),
        ("weights.loading", "tiny-b"),
        ("weights.loaded", "tiny-b"),
    ]
    assert {event.data["provider"] for event in told} == {"disk"}
    assert (told[1].data["seconds"], told[1].data["memory_mb"]) == (held["load_s"], held["memory_mb"])
    assert "not a checkpoint" in told[3].data["reason"]
    assert told[6].data["reason"] == "died of signal 9"
    scraped = (await stand.get("/metrics")).body.decode()
    assert "routerconsole_weights_worker_up 1" in scraped
    assert "routerconsole_weights_worker_restarts_total 1" in scraped
    assert 'routerconsole_weights_memory_bytes{backend="airllm",model="tiny-b"}' in scraped


async def status(stand: Stand) -> dict[str, Any]:
    """What `status` says of the worker."""
    found: dict[str, Any] = (await stand.get("/api/v1/router/status")).json["weights"]
    return found


async def test_a_library_that_fails_midway_costs_its_answer_only(stand: Stand) -> None:
    """Whole answers fail over, streams end as incomplete with the reason, and the process goes on with its model."""
    whole = await stand.chat("both", messages=asking("breaks"))
    assert (whole.status, whole.served_by) == (200, "a/m")
    assert "device-side assert" in str((await stand.first(whole)).detail)
    streamed = await stand.stream(A, messages=asking("breaks"))
    assert (b"stream_incomplete" in streamed.body, b"device-side assert" in streamed.body) == (True, True)
    assert b"[DONE]" not in streamed.body
    assert (await stand.chat(A)).status == 200
    assert worker(stand).state.restarts == 0


async def test_who_has_no_room_is_not_asked_again_at_once(stand: Stand) -> None:
    """Loading it once more takes minutes and ends the same: a gate counts down, and others are asked meanwhile."""
    full = await stand.chat(A, messages=asking("memory"))
    assert full.attempts == 1
    gated = await stand.route("disk", "tiny-a")
    assert (gated.gate, (gated.gate_ends_in_s or 0) > 30) == ("overload", True)
    assert (await stand.chat("both")).served_by == "a/m"


async def test_a_process_that_keeps_dying_rests_and_says_why(stand: Stand) -> None:
    """Requests go elsewhere at once meanwhile: nobody waits for a program that cannot start."""
    worker(stand).command = (*FAKE, "stillborn")
    for _ in range(3):
        answer = await stand.chat("auto")
        assert (answer.status, answer.served_by) == (200, "a/m")
    assert "no such library" in worker(stand).state.problem
    assert "no such library" in await said(stand, "tiny-a")
    resting = await stand.chat(A, headers={"x-router-no-fallback": "1"})
    assert (await stand.first(resting)).class_ == "warming"  # it passes by itself, and no circuit counts it


async def test_one_that_is_killed_while_it_has_nothing_to_do_is_there_for_the_next(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: it does not keep dying, somebody ends it."""
    monkeypatch.setattr(worker_module, "SETTLED_S", 0.0)
    await stand.chat(A)
    for times in range(1, 5):
        os.kill(worker(stand).state.pid or 0, signal.SIGKILL)
        await stand.until(lambda times=times: worker(stand).state.restarts == times, "it to be seen dead")  # type: ignore[misc] # mypy infers no type for a default
        await stand.until(lambda: worker(stand).state.pid, "a new process")
        await stand.until(lambda: worker(stand)._ready, "it to be ready")
    again = await stand.chat(A)
    assert (again.status, again.served_by, again.attempts) == (200, A, 1)


async def test_one_that_speaks_nonsense_is_killed(stand: Stand) -> None:
    """Nothing it says is believed."""
    worker(stand).command = (*FAKE, "babble")
    answer = await stand.chat("auto")
    assert (answer.status, answer.served_by) == (200, "a/m")
    assert "signal 9" in worker(stand).state.problem


async def test_a_cancel_frees_the_worker_and_nothing_else_waits_for_it(stand: Stand) -> None:
    """One that looks up stops; one that does not is killed; meanwhile everything else is served."""
    worker(stand).cancel_s = 0.2

    async with begun(stand, "slow"):
        other = await stand.chat("a/m")
        assert (other.status, other.served_by) == (200, "a/m")
    assert (await stand.chat(A)).served_by == A
    assert worker(stand).state.restarts == 0
    async with begun(stand, "deaf"):
        other = await stand.chat("a/m")
        assert (other.status, other.served_by) == (200, "a/m")
    assert (await stand.chat(A)).served_by == A
    assert worker(stand).state.restarts == 1
    await stand.until(lambda: stand.idle, "rest")


async def test_a_model_is_loaded_to_its_end_for_whoever_comes_next(stand: Stand, tmp_path: Path) -> None:
    """A client with less patience than loading takes does not make everybody begin again; what is going on shows."""
    worker(stand).cancel_s = 0.1
    wait = tmp_path / "weights" / "tiny-b" / "wait"
    wait.touch()
    impatient = asyncio.create_task(stand.chat(B))
    await stand.until(lambda: worker(stand).state.loading, "the model to be on its way")
    impatient.cancel()
    await stand.until(lambda: stand.idle, "rest")
    assert await said(stand, "tiny-b") == "is being loaded"
    wait.unlink()
    assert (await stand.chat(B, max_tokens=1)).content == "tiny-b0 "
    assert worker(stand).state.restarts == 0
