"""Kind `airllm` through the whole engine: a worker process like the real one, whose model does as its prompt says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from tests.e2e.stand import TOOL, Stand, configuration
from tests.support import fake_weights

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
        models.append({"id": name, "format": "hf", "path": name})
    sim = Simulator(seed=1)
    await sim.start()
    sim.set("m", Behaviour())
    config = orjson.loads(configuration({"a": sim}, registry={"weights_dir": str(tmp_path / "weights")}))
    config["providers"].insert(0, {"name": "disk", "kind": "airllm", "priority": 1, "models": models})
    config["pools"] = [{"id": "both", "members": [A, "a/m"]}]
    made = Stand(orjson.dumps(config).decode(), tmp_path / "state", {"a": sim})
    await made.start()
    (tmp_path / "weights" / "gone" / "config.json").unlink()
    (tmp_path / "weights" / "gone").rmdir()
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
        ("disk/broken", "x"): "server",
        (A, "fail"): "server",
        (A, "memory"): "server",
    }
    assert "not a checkpoint" in classes["disk/broken", "x"][1]
    assert "no kernel image" in classes[A, "fail"][1]
    assert (await stand.chat("disk/broken")).status >= 400
    assert await said(stand, "broken") == "broken cannot be loaded: ValueError: not a checkpoint"
    assert await said(stand, "tiny-b") == ""
    assert worker(stand).state.restarts == 0
    listed = await stand.post("/api/v1/discovery/sync", {"providers": ["disk"]}, admin=True)
    assert listed.status == 200
    assert await said(stand, "gone") == "not served; check its files, then run: routerconsole models sync disk"


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


async def test_a_process_that_keeps_dying_rests_and_says_why(stand: Stand) -> None:
    """Requests go elsewhere at once meanwhile: nobody waits for a program that cannot start."""
    worker(stand).command = (*FAKE, "stillborn")
    for _ in range(3):
        answer = await stand.chat("auto")
        assert (answer.status, answer.served_by) == (200, "a/m")
    assert "no such library" in worker(stand).state.problem
    assert "no such library" in await said(stand, "tiny-a")


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
