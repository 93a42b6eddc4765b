"""The router in front of real llama.cpp servers: what they cannot do, how they freeze, die and come back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.acceptance.lab import NAMES, Lab
from tests.acceptance.live import Answer, Client, Json, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine
from tests.acceptance.payloads import IMAGE, WEATHER

HERE = Path(__file__).parent
FORCED: Json = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 256}
TIMEOUT_S = 2.0


def chain(*names: str) -> str:
    """The id of the pool with these members in this order."""
    return "-".join(name.removeprefix("lab-") for name in names)


CHAINS = list(itertools.permutations(("lab-ready", "lab-tools", "lab-chatter"), 2))


@pytest.fixture
def engine(make_engine: MakeEngine, lab: Lab) -> Iterator[Engine]:
    """A fresh router: one provider per server, a pool per ordered pair, short timers, two failures open a circuit."""
    providers = [
        {
            "name": name,
            "kind": "openai_compatible",
            "base_url": lab.url(name),
            "discovery": {"enabled": False},
            "health": {"enabled": False},
            "models": [{"id": name, "capabilities": ["text", "tools", "vision"]}],  # declared, not all of it true
        }
        for name in NAMES
        if name != "lab-think"
    ]
    pools = [{"id": chain(*pair), "members": [f"{n}/{n}" for n in pair], "strategy": "priority"} for pair in CHAINS]
    circuit = {"failure_threshold": 2, "recovery_timeout": "2s", "half_open_max_calls": 2}
    timers = {"connect_timeout": "2s", "first_token_timeout": TIMEOUT_S, "total_timeout": TIMEOUT_S, "idle_timeout": 3}
    engine = make_engine({"routing": {**timers, "circuit": circuit}, "providers": providers, "pools": pools})
    yield engine
    engine.stop()


@pytest.fixture
def admin(engine: Engine) -> Client:
    """A client with the admin token (which the data plane takes too)."""
    return engine.admin()


@pytest.fixture(autouse=True)
def _healed(lab: Lab) -> Iterator[None]:
    """Every server runs again after each test."""
    yield
    lab.heal()


def body(model: str, text: str = "hi", **more: object) -> Json:
    """A chat body with one user turn."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 32, **more}


def classes(trace: Json) -> list[tuple[str, str]]:
    """Provider and outcome class of each attempt, in order."""
    return [(attempt["provider"], attempt["class"]) for attempt in trace["attempts_detail"]]


def trace_of(admin: Client, answer: Answer) -> Json:
    """The trace of the request that was just answered."""
    return admin.trace(answer.headers["x-router-request-id"])


def whole_text(client: Client, asked: Json) -> str:
    """The text of a whole reply."""
    return str(client.chat(asked).body["choices"][0]["message"]["content"])


def streamed_text(client: Client, asked: Json) -> str:
    """The joined text of a stream that ends properly."""
    *events, last = client.stream(asked)
    assert last == "[DONE]"
    return "".join(c["delta"].get("content") or "" for event in events for c in json.loads(event)["choices"])


def in_flight(admin: Client, count: int) -> None:
    """Wait until so many requests are in flight."""
    wait_until(lambda: admin.get("/api/v1/router/status")["in_flight"] == count, f"{count} in flight")


def newest(admin: Client) -> Json:
    """The trace of the newest request."""
    return admin.trace(admin.get("/api/v1/requests?limit=1")["requests"][0]["id"])


def test_a_forced_tool_is_not_delivered_and_the_next_server_calls_it(admin: Client) -> None:
    """lab-ready answers prose to `required`: it is marked undelivered, lab-tools serves, and nothing trips."""
    answer = admin.chat(body(chain("lab-ready", "lab-tools"), **FORCED))
    assert answer.status == 200, answer
    assert answer.headers["x-router-provider"] == "lab-tools", (answer, trace_of(admin, answer))
    assert answer.body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert classes(trace_of(admin, answer))[0] == ("lab-ready", "undelivered")
    assert admin.route("lab-ready", "lab-ready")["circuit_state"] == "closed"


def test_a_forced_tool_is_not_delivered_in_a_stream_either(admin: Client) -> None:
    """The same, streamed: no byte of the prose reaches the client."""
    events = list(admin.stream(body(chain("lab-ready", "lab-tools"), **FORCED)))
    assert events[-1] == "[DONE]"
    deltas = [c["delta"] for event in events[:-1] for c in json.loads(event)["choices"]]
    assert any(delta.get("tool_calls") for delta in deltas)
    assert not any("READY" in (delta.get("content") or "") for delta in deltas)
    assert classes(newest(admin))[0] == ("lab-ready", "undelivered")


def test_an_image_teaches_a_vision_gap_and_trips_nothing(admin: Client) -> None:
    """llama.cpp's 500 to an image is a missing capability: learned on that route, no circuit moves, no second try."""
    asked = body("lab-ready/lab-ready")
    asked["messages"][0]["content"] = [{"type": "text", "text": "what is it?"}, IMAGE]
    for _ in range(3):
        assert admin.chat(asked).status == 422
    traces = [admin.trace(row["id"]) for row in admin.get("/api/v1/requests?limit=3")["requests"]]
    assert [len(trace["attempts_detail"]) for trace in traces] == [0, 0, 1], "asked again although the gap is known"
    assert classes(traces[-1]) == [("lab-ready", "capability")]
    assert admin.route("lab-ready", "lab-ready")["circuit_state"] == "closed"
    [candidate] = admin.call("POST", "/api/v1/router/explain", asked).body["candidates"]
    assert candidate["decision"] == "dropped", candidate
    assert any("vision" in reason for reason in candidate["reasons"]), candidate
    assert admin.chat(body("lab-ready/lab-ready")).status == 200


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """A thread for the request that is in flight while the test breaks things."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_kill_9_before_the_first_byte_fails_over(
    admin: Client, lab: Lab, background: ThreadPoolExecutor, stream: bool
) -> None:
    """A server that dies with a request in its hands costs the client nothing."""
    lab.freeze("lab-chatter")
    asked = body(chain("lab-chatter", "lab-ready"))
    waiting: Future[str] = background.submit(streamed_text if stream else whole_text, admin, asked)
    in_flight(admin, 1)
    lab.kill("lab-chatter")
    assert waiting.result(30) == "READY"
    trace = newest(admin)
    assert (trace["status"], trace["provider"]) == ("ok", "lab-ready"), trace
    assert classes(trace)[0][0] == "lab-chatter"
    assert classes(trace)[0][1] == "connect", trace


def test_kill_9_mid_stream_is_told_never_a_clean_end(admin: Client, lab: Lab) -> None:
    """After the commit nothing is restarted: the client gets what came, one error event, and no [DONE]."""
    asked = body(chain("lab-chatter", "lab-ready"), max_tokens=3500, ignore_eos=True)
    events = []
    for event in admin.stream(asked):
        events.append(event)
        if len(events) == 3:
            lab.kill("lab-chatter")
    assert "[DONE]" not in events
    assert json.loads(events[-1])["error"]["code"] == "stream_incomplete"
    assert not any(c.get("finish_reason") for event in events[:-1] for c in json.loads(event)["choices"])
    trace = newest(admin)
    assert (trace["status"], trace["terminal"]) == ("truncated", "truncated"), trace
    assert classes(trace) == [("lab-chatter", "cut")]


@pytest.mark.parametrize("sdk", ["openai2", "openai3"])
def test_kill_9_mid_stream_raises_in_a_stock_sdk(
    engine: Engine, lab: Lab, interpreter: Callable[[str], Path], sdk: str
) -> None:
    """A program sees an APIError with the code, after the text it had received."""
    kill = f"kill -9 {lab.servers['lab-chatter'].pid}"
    script = [str(interpreter(sdk) / "python"), str(HERE / "sdk_scenarios.py"), "cut", "--break-it", kill]
    done = engine.shell([*script, "--model", chain("lab-chatter", "lab-ready")])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["code"] == "stream_incomplete"


def test_a_frozen_server_times_out_fails_over_and_recovers_through_half_open(admin: Client, lab: Lab) -> None:
    """SIGSTOP is a timeout that fails over and opens the circuit; SIGCONT is found by its probe and closes it."""
    asked = body(chain("lab-chatter", "lab-ready"))
    lab.freeze("lab-chatter")
    for _ in range(2):
        answer = admin.chat(asked)
        assert answer.status == 200, answer
        assert answer.headers["x-router-provider"] == "lab-ready"
        assert classes(trace_of(admin, answer))[0] == ("lab-chatter", "timeout_first")
    assert admin.route("lab-chatter", "lab-chatter")["circuit_state"] == "open"
    skipped = trace_of(admin, admin.chat(asked))
    assert [name for name, _ in classes(skipped)] == ["lab-ready"], "an open circuit was asked"
    lab.thaw("lab-chatter")
    seen: list[Json] = []

    def closed() -> bool:
        seen.append(trace_of(admin, admin.chat(asked)))
        return bool(admin.route("lab-chatter", "lab-chatter")["circuit_state"] == "closed")

    wait_until(closed, "the circuit to close", seconds=20)
    tried = [a for trace in seen for a in trace["attempts_detail"] if a["provider"] == "lab-chatter"]
    assert {a["circuit_before"] for a in tried} == {"half_open"}, tried  # noise may be blank, which is neutral
    assert tried[-1]["circuit_after"] == "closed", tried
    assert all(trace["status"] == "ok" for trace in seen)


@pytest.mark.parametrize("needs", ["text", "tools", "vision"])
@pytest.mark.parametrize("state", ["fresh", "learned", "isolated"])
def test_explain_says_what_the_next_request_then_does(engine: Engine, admin: Client, state: str, needs: str) -> None:
    """Same candidates, decisions, reasons and order, over HTTP and from the command line."""
    model = chain("lab-ready", "lab-chatter")
    asked = body(model, **(FORCED if needs == "tools" else {}))
    if needs == "vision":
        asked["messages"][0]["content"] = [IMAGE]
    if state == "learned":
        picture = body("lab-ready/lab-ready")
        picture["messages"][0]["content"] = [IMAGE]
        admin.chat(picture)
    if state == "isolated":
        admin.control("lab-ready", "isolate", ttl_s=600)
    said = admin.call("POST", "/api/v1/router/explain", asked).body["candidates"]
    body_file = engine.state_dir.parent / "body.json"
    body_file.write_text(json.dumps(asked))
    shown = json.loads(engine.run("--json", "explain", "--model", model, "--body", str(body_file)).stdout)["candidates"]
    admin.chat(asked)
    done = newest(admin)["candidates"]
    same = [[(c["provider"], c["model"], c["decision"]) for c in listed] for listed in (said, shown, done)]
    assert same[0] == same[1] == same[2]
    worded = [[[word_only(reason) for reason in c["reasons"]] for c in listed] for listed in (said, shown, done)]
    assert worded[0] == worded[1] == worded[2]
    assert [c["sort_key"] for c in said] == [c["sort_key"] for c in done]


def word_only(reason: str) -> str:
    """A reason without its live numbers (`circuit_open 12 s` counts down between two looks)."""
    return "".join(letter for letter in reason if not letter.isdigit() and letter != ".")
