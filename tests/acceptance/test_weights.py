"""Kind `airllm` with the real AirLLM, torch and transformers on a CPU: a tiny random checkpoint behind an engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.acceptance.live import Json, wait_until
from tests.acceptance.live_engine import Engine

HERE = Path(__file__).parent
ASKED: Json = {"model": "disk/tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
PATIENCE_S = 170.0


@pytest.fixture(scope="module")
def python(interpreter: Callable[[str], Path]) -> Path:
    """The interpreter of the environment that has this program with its extra."""
    return interpreter("weights") / "python"


@pytest.fixture(scope="module")
def checkpoint(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    subprocess.run([str(python), str(HERE / "tiny_checkpoint.py"), str(folder)], check=True, capture_output=True)
    return folder


@contextmanager
def serving(python: Path, checkpoint: Path, home: Path, env: dict[str, str]) -> Iterator[Engine]:
    """An engine of that environment with the checkpoint twice: as a folder and as its one file."""
    config = home / "providers.yaml"
    config.write_text(
        "{version: 1, providers: [{name: disk, kind: airllm, models: ["
        f"{{id: tiny, format: hf, path: {checkpoint}}},"
        f"{{id: file, format: safetensors, path: {checkpoint}/model.safetensors}}]}}]}}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROUTERCONSOLE_COMMAND", f"{python} -m routerconsole")
        engine = Engine(config, home / "state", env=env).start()
        try:
            yield engine
        finally:
            if engine.process.poll() is None:
                engine.stop()


def worker_of(engine: Engine) -> int | None:
    """The process below the engine's."""
    pid = engine.process.pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        if children := (task / "children").read_text().split():
            return int(children[0])
    return None


def asked(engine: Engine, **more: object) -> Json:
    """A whole answer."""
    answer = engine.client(timeout=PATIENCE_S).chat({**ASKED, **more})
    assert answer.status == 200, answer.body
    return answer.body


def test_airllm_answers_is_killed_and_comes_back_and_blocks_nothing(
    python: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Whole and streamed through /v1, while /healthz answers at once; killed, it serves again; it ends with us."""
    with serving(python, checkpoint, tmp_path, {}) as engine:
        slowest, done = 0.0, threading.Event()

        def knock() -> None:
            nonlocal slowest
            while not done.is_set():
                began = time.monotonic()
                engine.client().get("/healthz")
                slowest = max(slowest, time.monotonic() - began)

        knocking = threading.Thread(target=knock)
        knocking.start()
        try:
            first = asked(engine, max_tokens=8)
        finally:
            done.set()
            knocking.join()
        assert slowest < 1.0
        text = first["choices"][0]["message"]["content"]
        assert (len(text), first["usage"]["completion_tokens"]) == (8, 8)
        shown = engine.run("models", "show", "disk/tiny").stdout
        assert "in memory by airllm: loaded in" in shown
        assert "".join(engine.client().stream({**ASKED, "max_tokens": 8})) != ""
        before = worker_of(engine)
        os.kill(before or 0, signal.SIGKILL)
        again = asked(engine, max_tokens=8)
        assert again["choices"][0]["message"]["content"] == text
        after = worker_of(engine)
        assert after not in (None, before)
        assert asked(engine, model="disk/file", max_tokens=8)["choices"][0]["message"]["content"] == text
        long = engine.client().chat({**ASKED, "messages": [{"role": "user", "content": "x" * 400}]})
        assert (long.status, long.body["error"]["code"]) == (400, "context_length_exceeded")
        engine.kill()
        wait_until(lambda: not Path(f"/proc/{after}").exists(), "the worker to end with its engine")


def test_code_and_pickles_of_a_checkpoint_never_run(python: Path, checkpoint: Path, tmp_path: Path) -> None:
    """AirLLM trusts every checkpoint: a known architecture serves with the library's own code, an unknown one not."""
    canary, folder = tmp_path / "ran", tmp_path / "coded"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("splitted_model"))
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "evil.py").write_text(
        f"open({str(canary)!r}, 'w')\nfrom transformers import LlamaConfig as Config, LlamaForCausalLM as Model\n"
    )
    with serving(python, folder, tmp_path, {}) as engine:
        assert asked(engine, max_tokens=2)["usage"]["completion_tokens"] == 2
        assert "in memory by airllm" in engine.run("models", "show", "disk/tiny").stdout
        (folder / "config.json").write_text(json.dumps({**settings, "model_type": "unheard-of"}))
        refused = engine.client(timeout=PATIENCE_S).chat({**ASKED, "model": "disk/file"})
        assert "needs code of its own, which is never run here" in refused.body["error"]["message"]
    assert not canary.exists()


def test_weights_that_changed_are_split_again(python: Path, checkpoint: Path, tmp_path: Path) -> None:
    """AirLLM would go on with the layers of the old ones."""
    folder, other = tmp_path / "changing", tmp_path / "other"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("splitted_model"))
    command = [str(python), str(HERE / "tiny_checkpoint.py"), str(other), "8"]
    subprocess.run(command, check=True, capture_output=True)
    with serving(python, folder, tmp_path, {}) as engine:
        before = asked(engine, max_tokens=8)["choices"][0]["message"]["content"]
        shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
        after = asked(engine, model="disk/file", max_tokens=8)["choices"][0]["message"]["content"]
        assert before != after


def test_where_airllm_cannot_run_transformers_serves_and_says_why(
    python: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """An AirLLM that fails to import: the same checkpoint answers, and its own reason is shown."""
    broken = tmp_path / "lib" / "airllm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this build of AirLLM needs CUDA')")
    with serving(python, checkpoint, tmp_path, {"PYTHONPATH": str(tmp_path / "lib")}) as engine:
        assert asked(engine, max_tokens=8)["usage"]["completion_tokens"] == 8
        shown = engine.run("models", "show", "disk/tiny").stdout
        assert "in memory by transformers" in shown
        assert "AirLLM cannot serve it: ImportError: this build of AirLLM needs CUDA" in shown
        stderr = (tmp_path / "state.stderr").read_text()
        assert "Traceback (most recent call last)" in stderr
