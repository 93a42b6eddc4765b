"""Stock clients through the router to the simulator, each in its own environment and set up by `routerconsole env`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.live import Client, Json, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine

HERE = Path(__file__).parent
PLAIN = ("chat", "stream", "async_stream", "tools_required", "tools_named", "tools_auto", "tools_stream", "parse")
SCENARIOS = (*PLAIN, "image", "embeddings", "models", "bad_key", "cut", "cancel")
MODEL_OF = {"cut": "sim-cut", "cancel": "sim-slow", "embeddings": "sim-embed", "image": "sim-eyes"}
BEHAVIOURS: Json = {
    "sim-ok": {"tokens": 12},
    "sim-eyes": {"tokens": 12},
    "sim-embed": {},
    "sim-slow": {"tokens": 4000, "tokens_per_second": 50},
    "sim-cut": {"tokens": 40, "tokens_per_second": 200, "cut_after": 5},
}
CAPABILITIES = {"sim-embed": ["embeddings"], "sim-eyes": ["text", "vision"]}


def closes(upstream: str) -> list[Json]:
    """The replies of sim-slow that the simulator's peer left before their end."""
    rows: list[Json] = Client(upstream, "").get("/__sim/closes")["closes"]
    return [row for row in rows if row["model"] == "sim-slow" and row["by"] == "peer"]


@pytest.fixture(scope="module")
def engine(make_engine: MakeEngine, upstream: str) -> Engine:
    """One router in front of one simulator."""
    models = [{"id": name, "capabilities": CAPABILITIES.get(name, ["text", "tools", "json"])} for name in BEHAVIOURS]
    sim = {"name": "sim", "kind": "openai_compatible", "base_url": upstream, "models": models}
    return make_engine({"providers": [{**sim, "max_concurrency": 64, "discovery": {"enabled": False}}]})


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sdk", ["openai2", "openai3"])
def test_openai_sdk(engine: Engine, upstream: str, interpreter: Callable[[str], Path], sdk: str, scenario: str) -> None:
    """A stock SDK sees what a program relies on; a broken stream raises, and one that is left is closed upstream."""
    model = MODEL_OF.get(scenario, "sim-ok")
    command = [str(interpreter(sdk) / "python"), str(HERE / "sdk_scenarios.py"), scenario, "--model", model]
    left_before = len(closes(upstream))
    done = engine.shell(command)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["sdk"].startswith(sdk.removeprefix("openai")), facts
    if scenario in {"cut", "cancel"}:
        trace = engine.admin().trace(facts["id"])
        expected = ("truncated", "truncated") if scenario == "cut" else ("cancelled", "client_cancel")
        assert (trace["status"], trace["terminal"]) == expected, trace
    if scenario == "cancel":
        wait_until(lambda: len(closes(upstream)) > left_before, "the upstream to see its peer leave", seconds=2)


def test_llm_command_line(engine: Engine, interpreter: Callable[[str], Path], tmp_path: Path) -> None:
    """The `llm` command answers through the router, streamed and whole, with a model named in its extra-models file."""
    url = f"{engine.url}/v1"
    (tmp_path / "extra-openai-models.yaml").write_text(
        json.dumps([{"model_id": "routed", "model_name": "sim-ok", "api_base": url, "api_key_name": "routed"}])
    )
    llm = str(interpreter("llm") / "llm")
    key = '"$OPENAI_API_KEY"'
    for options in ("", "--no-stream"):
        script = f"exec {llm} --key {key} -m routed {options} 'say hello'"
        done = engine.shell(["bash", "-c", script], env={"LLM_USER_PATH": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), done.stderr


def test_langchain(engine: Engine, interpreter: Callable[[str], Path]) -> None:
    """LangChain's ChatOpenAI invokes, streams, calls a bound tool and returns structured output."""
    names = ["--model", "sim-ok", "--tools-model", "sim-ok", "--json-model", "sim-ok"]
    command = [str(interpreter("langchain") / "python"), str(HERE / "langchain_scenario.py"), *names]
    done = engine.shell(command)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["call"]
    assert facts["text"]
