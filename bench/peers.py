"""The peers: a bare pass-through, LiteLLM's proxy and Portkey's gateway, each alone on core 0 before the same nginx.

They are installed once into $ROUTER_BENCH_DIR (default ~/.cache/router-bench) by pip and npm, never into the project.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import upstream
from bench.wrk import Target
from tests.acceptance.live import answers, free_port, wait_until

CACHE = Path(os.environ.get("ROUTER_BENCH_DIR", "~/.cache/router-bench")).expanduser()
PYTHON = CACHE / "venv/bin"
GATEWAY = CACHE / "node_modules/@portkey-ai/gateway"
SERVER_CORE = 0
PACKAGES = ("litellm[proxy]", "httpx-aiohttp", "orjson", "uvloop", "httptools", "uvicorn")
KEY = "sk-bench-0123456789abcdef0123456789"
START_S = 120.0  # LiteLLM needs most of a minute on a busy machine


@dataclass(frozen=True, slots=True)
class Peer:
    """How to start one gateway and how to ask it; `{port}` in the command is filled in."""

    name: str
    command: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


def install() -> None:
    """Install what is missing (needs the machine's pip and npm); minutes the first time."""
    if not (PYTHON / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE / "venv")], check=True)
        subprocess.run([str(PYTHON / "pip"), "install", "-q", *PACKAGES], check=True)
    if not GATEWAY.exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(CACHE), "@portkey-ai/gateway"], check=True)


def bare() -> Peer:
    """Our own pass-through."""
    here = str(Path(__file__).parent)
    serve = (str(PYTHON / "uvicorn"), "bare:app", "--app-dir", here, "--port", "{port}", "--lifespan", "off")
    fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Peer("bare pass-through", (*serve, *fast))


def litellm(home: Path) -> Peer:
    """LiteLLM's proxy with one worker and telemetry off."""
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": "openai/bench-model",
                "api_base": f"{upstream.URL}/{way}/v1",
                "api_key": "sk-x",
            },
        }
        for name, way in (("bench-model", "r"), ("bench-stream", "s"))
    ]
    config = home / "litellm.yaml"
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    command = (str(PYTHON / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", "{port}")
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
    return Peer("LiteLLM", (*command, "--num_workers", "1"), {"Authorization": f"Bearer {KEY}"}, env)


def portkey() -> Peer:
    """Portkey's open gateway; it learns its upstream from headers."""
    command = ("node", str(GATEWAY / "build/start-server.js"), "--headless", "--port={port}")
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream.URL}/r/v1"}
    headers["Authorization"] = f"Bearer {KEY}"
    return Peer("Portkey", command, headers, {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"})


@contextmanager
def running(peer: Peer, home: Path) -> Iterator[tuple[Target, int]]:
    """One peer on the server's core; gives target and process id; raises TimeoutError when it does not answer."""
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in peer.command]
    with (home / f"{peer.name.split()[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **peer.env},
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/liveliness"), peer.name, seconds=START_S)
        time.sleep(2)  # let what it does at start come to an end
        yield Target(f"http://127.0.0.1:{port}{upstream.CHAT}", peer.headers), process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
