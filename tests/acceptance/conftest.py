"""Acceptance: a real `routerconsole serve` in its own process, stock clients in theirs, real sockets between all.

Not part of the default run; every test says so when it skips. To run them:

    ROUTERCONSOLE_ACCEPTANCE=1 .venv/bin/pytest tests/acceptance
    ROUTERCONSOLE_SDKS=DIR      virtual environments openai2 ('openai>=2,<3'), openai3 ('openai>=3,<4'), llm (llm) and
                                langchain (langchain-openai) and weights (this program with its extra
                                `airllm`: gigabytes); default ~/.cache/routerconsole-sdks
    ROUTERCONSOLE_LAB=FILE      llama_lab.py, which starts real llama.cpp servers (`setup` needs apt)
    ROUTERCONSOLE_COMMAND=CMD   another build of the program
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acceptance.lab import Lab
from tests.acceptance.live import Json
from tests.acceptance.live_engine import Engine, MakeEngine
from tests.acceptance.live_simulator import simulator

SDKS = Path(os.environ.get("ROUTERCONSOLE_SDKS", "~/.cache/routerconsole-sdks")).expanduser()


@pytest.fixture(scope="session", autouse=True)
def _asked_for() -> None:
    """Skip, visibly, unless somebody asked."""
    if os.environ.get("ROUTERCONSOLE_ACCEPTANCE") != "1":
        pytest.skip("acceptance runs only with ROUTERCONSOLE_ACCEPTANCE=1 (see tests/acceptance/conftest.py)")


@pytest.fixture(scope="module")
def make_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeEngine]:
    """Start engines from configuration documents, each on its own state directory; all are stopped at the end."""
    started: list[Engine] = []

    def make(settings: Json) -> Engine:
        home = tmp_path_factory.mktemp("engine")
        config = home / "providers.yaml"
        config.write_text(json.dumps({"version": 1, **settings}))  # JSON is YAML
        engine = Engine(config, home / "state")
        started.append(engine.start())
        return engine

    yield make
    for engine in started:
        engine.stop()


@pytest.fixture(scope="module")
def upstream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulator with the models the test module names in BEHAVIOURS; its URL."""
    with simulator(tmp_path_factory.mktemp("simulator"), request.module.BEHAVIOURS) as url:
        yield url


@pytest.fixture(scope="session")
def interpreter() -> Callable[[str], Path]:
    """The bin directory of a named client environment; skips when it was not made."""

    def find(name: str) -> Path:
        place = SDKS / name / "bin"
        if not (place / "python").exists():
            pytest.skip(f"no {place}/python: make it as tests/acceptance/conftest.py says")
        return place

    return find


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab's real llama.cpp servers on free ports, under this module's own control."""
    script = os.environ.get("ROUTERCONSOLE_LAB")
    if not script:
        pytest.skip("ROUTERCONSOLE_LAB does not name llama_lab.py")
    servers = Lab(Path(script))
    servers.start()
    yield servers
    servers.stop()
