"""Four real llama.cpp servers evaluated: told apart, tagged with evidence, routed by it, stale once they change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.acceptance.lab import NAMES, Lab
from tests.acceptance.live import Client, Json, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine
from tests.acceptance.payloads import WEATHER

SERVERS = [f"{name}/{name}" for name in NAMES]
READY, TOOLS, THINK, CHATTER = SERVERS
POOL = "pool:auto"
TARGETS = ",".join([*SERVERS, POOL])
PROBES = ("tool-invocation", "reasoning", "json-extraction")
TOOL_NODE = "interaction.tool-calling"
FORCED: Json = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 256}
ASKED: Json = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **FORCED}
OURS = """
version: 1
suite: lab
defaults: {repeats: 3, temperature: 0, max_tokens: 256}
vars: {nonce: {kind: word_digits}}
scenarios:
  - id: lab-call
    capability: tools
    turns: [{user: "Record {{nonce}}."}]
    request:
      tool_choice: required
      tools:
        - type: function
          function:
            name: record
            parameters: {type: object, properties: {value: {type: string}}, required: [value]}
    assert: [{type: tool_called, name: record}]
  - id: lab-think
    capability: reasoning
    turns: [{user: "Note {{nonce}}. Think."}]
    request: {reasoning_effort: low}
    assert: [{type: reasoning_present}, {type: reasoning_not_leaked}]
  - id: lab-schema
    capability: json_schema
    turns: [{user: "Note {{nonce}}. A yes or a no."}]
    request:
      response_format:
        type: json_schema
        json_schema:
          name: said
          strict: true
          schema: {type: object, properties: {ok: {type: boolean}}, required: [ok], additionalProperties: false}
    assert: [{type: json_schema}]
"""
"""What the built-in scenarios ask, without what no table of bigrams can know: the right word in the right place."""


@pytest.fixture(scope="module")
def engine(make_engine: MakeEngine, lab: Lab) -> Iterator[Engine]:
    """A router that finds out about the four servers by itself."""
    engine = make_engine({"providers": [provider(lab, name) for name in NAMES]})
    admin = engine.admin()
    wait_until(lambda: len(admin.get("/api/v1/models")["models"]) == len(NAMES), "the four listings")
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def admin(engine: Engine) -> Client:
    """A client with the admin token."""
    return engine.admin()


@pytest.fixture(scope="module")
def report(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """What `eval run` prints of the four servers and the pool over them; nothing is accepted yet."""
    ours = tmp_path_factory.mktemp("scenarios")
    (ours / "lab.yaml").write_text(OURS)
    named = ",".join(["plain-chat", *PROBES, "lab-call", "lab-think", "lab-schema"])
    more = ["--targets", TARGETS, "--scenarios", named, "--scenarios-dir", str(ours), "--seed", "1"]
    done = engine.run("--json", "eval", "run", *more, seconds=240)
    assert done.returncode == 1, done.stderr  # something failed, as it must
    return dict(json.loads(done.stdout))


def provider(lab: Lab, name: str) -> Json:
    """A server without any model; one of them wants its key."""
    key = {"api_key": "lab-key"} if name == "lab-think" else {}
    return {"name": name, "kind": "openai_compatible", "base_url": lab.url(name), "health": {"enabled": False}, **key}


def column(report: Json, target: str) -> Json:
    """One column of a report."""
    return next(each for each in report["targets"] if each["id"] == target)


def passed(report: Json, target: str) -> set[str]:
    """The scenarios a column passed."""
    return {each["scenario_id"] for each in column(report, target)["scenarios"] if each["status"] == "pass"}


def found(report: Json, target: str) -> dict[str, str]:
    """What a column's answers say of each capability."""
    return {each["capability"]: each["finding"] for each in column(report, target)["capabilities"]}


def tools_of(admin: Client, model: str) -> Json:
    """What is known of a model's tool calls."""
    return dict(admin.get(f"/api/v1/models/{quote(model, safe='')}")["capabilities"][TOOL_NODE])


def test_the_four_servers_are_told_apart_and_the_pool_passes_what_no_one_of_them_does(report: Json) -> None:
    """READY, tools, reasoning and schema are one server's each or all of theirs; only the router has all of them."""
    single = {target: passed(report, target) for target in SERVERS}
    assert single == {
        READY: {"plain-chat", "lab-schema"},
        TOOLS: {"lab-call", "lab-schema"},
        THINK: {"lab-think", "lab-schema"},
        CHATTER: {"lab-schema"},
    }
    assert (
        passed(report, POOL) == set().union(*single.values()) == {"plain-chat", "lab-call", "lab-think", "lab-schema"}
    )
    assert found(report, READY) == {"tools": "refuted", "reasoning": "refuted", "json_schema": "verified"}
    assert found(report, TOOLS)["tools"] == found(report, THINK)["reasoning"] == "verified"
    assert found(report, POOL) == {"tools": "verified", "reasoning": "verified", "json_schema": "verified"}


def test_strict_graders_stay_strict_and_probes_stop_early(report: Json) -> None:
    """A call with a wrong argument fails and is a call; two misses are enough, three hits too."""
    squares = {each["scenario_id"]: each for each in column(report, TOOLS)["scenarios"]}
    assert squares["tool-invocation"]["summary"] == "0/3 passed, fail(wrong_value) x3"
    missed = {each["scenario_id"]: each for each in column(report, READY)["scenarios"]}
    assert (missed["tool-invocation"]["k"], missed["tool-invocation"]["n"]) == (0, 2)


def test_findings_are_offered_then_accepted_undone_and_route_the_next_request(
    engine: Engine, admin: Client, report: Json
) -> None:
    """Until accepted a badge; then a layer with evidence and fingerprint, and lab-tools is asked at once."""
    before = tools_of(admin, READY)
    assert (before["value"], before["source"]) == ("yes", "discovery"), "a run alone changes nothing"
    assert before["contradiction"].startswith("declared yes, measured no, not accepted: refuted 0/")
    first = admin.call("POST", "/api/v1/router/explain", ASKED).body["candidates"]
    assert [each["decision"] for each in first if each["provider"] == "lab-ready"] == ["eligible"]
    done = engine.run("eval", "accept", report["run_id"])
    assert done.returncode == 0, done
    assert f"{READY} {TOOL_NODE} = no:" in done.stdout
    after = tools_of(admin, READY)
    assert (after["value"], after["source"], after["contradiction"]) == ("no", "measured", "declared yes, measured no")
    [layer] = [each for each in after["layers"] if each["source"] == "measured"]
    assert layer["evidence"].startswith("refuted 0/")
    assert report["run_id"] in layer["evidence"]
    assert {"build", "loaded", "system"} == {fact.partition("=")[0] for fact in layer["fingerprint"].split("; ")}
    answer = admin.chat(ASKED)
    assert (answer.status, answer.headers["x-router-provider"]) == (200, "lab-tools"), answer
    assert answer.headers["x-router-attempts"] == "1"
    assert answer.body["choices"][0]["message"]["tool_calls"]
    again = engine.run("eval", "accept", report["run_id"])
    assert again.returncode == 5, again
    [row] = [
        each
        for each in admin.get("/api/v1/audit")["audit"]
        if (each["command"], each["target"], each["after"].get("node")) == ("accept_measured", READY, TOOL_NODE)
    ]
    assert (row["before"]["value"], row["after"]["value"]) == ("yes", "no")
    assert admin.call("POST", f"/api/v1/audit/{row['id']}/undo").status == 200
    assert tools_of(admin, READY)["source"] == "discovery"


def test_apply_takes_over_and_a_person_is_contradicted_never_overwritten(
    engine: Engine, admin: Client, report: Json
) -> None:
    """`--apply` writes the tag below a person's own, which stays in force and carries the badge."""
    del report  # it must have run before: its findings are older
    assert engine.run("models", "capability", "set", READY, "tools", "yes").returncode == 0
    run = ["eval", "run", "--targets", READY, "--scenarios", "tool-invocation", "--apply"]
    assert engine.run(*run, seconds=120).returncode == 1
    said = tools_of(admin, READY)
    assert (said["value"], said["source"]) == ("yes", "operator")
    assert said["contradiction"] == "declared yes, measured no"
    assert [each["source"] for each in said["layers"]][:2] == ["operator", "measured"]
    assert engine.run("models", "capability", "clear", READY, "tools").returncode == 0
    assert tools_of(admin, READY)["source"] == "measured"


def test_another_model_behind_the_same_name_makes_what_was_measured_stale(
    engine: Engine, admin: Client, lab: Lab, report: Json
) -> None:
    """The server comes back with another file: its next listing says so, and the listing counts again."""
    engine.run("eval", "accept", report["run_id"])
    assert tools_of(admin, READY)["source"] == "measured"
    server = lab.servers["lab-ready"]
    lab.kill("lab-ready")
    lab.servers["lab-ready"] = replace(
        server, command=[text.replace("ready.gguf", "tools.gguf") for text in server.command]
    )
    lab.revive("lab-ready")
    assert admin.call("POST", "/api/v1/discovery/sync", {"providers": ["lab-ready"]}).status == 200
    said = tools_of(admin, READY)
    assert (said["value"], said["source"]) == ("yes", "discovery")
    assert [each["source"] for each in said["layers"] if each["stale"]] == ["measured"]
    assert "no, stale" in engine.run("models", "show", READY).stdout


def test_the_files_of_the_run_are_there(engine: Engine, report: Json) -> None:
    """Five forms, nobody else's to read, told by the id."""
    files = {path.suffix: path for path in (engine.state_dir / "reports").glob(f"{report['run_id']}.*")}
    assert set(files) == {".json", ".md", ".html", ".xml", ".svg"}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert json.loads(Path(files[".json"]).read_text())["run_id"] == report["run_id"]
