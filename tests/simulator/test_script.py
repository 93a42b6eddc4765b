"""Scripts are read safely and whole, or refused with the place; hints take every form; serve runs one."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from tests.simulator.wire import ask, chat

from routerconsole.simulator import (
    Behaviour,
    Delay,
    Listed,
    Phase,
    Pull,
    ScriptError,
    Simulator,
    Window,
    Wire,
    flapping,
    load_script,
    serve,
)
from routerconsole.simulator.behaviour import Spread
from routerconsole.simulator.hints import body_hints, header_hints
from routerconsole.simulator.script import delay_of, script_of

YAML = """
version: 1
seed: 7
api_key: k
listing: openrouter
default: {tokens: 3}
models:
  plain:
  slow: {latency: 200ms, ttft: {lognormal: [100ms, 0.5]}, tokens_per_second: 20}
  limited: {statuses: [429, openai_quota, 200], repeat: cycle, retry_after: "1.5"}
  cut: {cut_after: 4, cut: reset, refuse: {vision: llama_no_image}}
  flappy: {schedule: [{start: 2, end: 4, every: 4, behaviour: {statuses: [500], latency: 1}}]}
  "org/model:tag": {wire: stale}
refusing: [{start: 10, end: 12, every: 30}]
listed: [{id: "odd"}]
pulls: {"*": {ok: false}}
"""


def test_a_script_is_read_whole(tmp_path: Path) -> None:
    """Every kind of key ends up as the value it means."""
    file = tmp_path / "script.yaml"
    file.write_text(YAML)
    script = load_script(file)
    assert (script.seed, script.api_key, script.listing) == (7, "k", "openrouter")
    assert script.default == Behaviour(tokens=3)
    models = script.models
    assert models["plain"] == Behaviour()
    assert (models["slow"].latency, models["slow"].ttft) == (0.2, Delay(0.1, 0.5, Spread.LOGNORMAL))
    assert [models["limited"].status(n) for n in range(1, 6)] == [429, "openai_quota", 200, 429, "openai_quota"]
    assert models["cut"].refuse == {"vision": "llama_no_image"}
    assert models["flappy"].schedule[0].behaviour == Behaviour(statuses=(500,), latency=1.0)
    assert models["org/model:tag"].wire is Wire.STALE
    assert script.refusing == (Window(start=10, end=12, every=30),)
    assert script.listed == (Listed(id="odd"),)
    assert script.pulls == {"*": Pull(ok=False)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "script.yaml"),
        ("- a", "script: must be a mapping"),
        ("modells: {}", "unknown key 'modells'"),
        ("models: {m: {wirre: hang}}", "models.m: unknown key 'wirre'"),
        ("models: {m: {wire: loose}}", "models.m.wire"),
        ("models: {m: {latency: soon}}", "models.m.latency"),
        ("models: {m: {latency: {uniform: [1, 2, 3]}}}", "models.m.latency"),
        ("models: {m: {schedule: [{start: 1, end: 2, behaviour: {x: 1}}]}}", "models.m.schedule[0]"),
        ("models: {m: {schedule: [3]}}", "models.m.schedule"),
        ("models: [1]", "models"),
        ("!!python/object/apply:os.system ['true']", "script.yaml"),
    ],
)
def test_a_bad_script_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """Broken YAML, unknown keys, wrong values and dangerous tags name where they are."""
    file = tmp_path / "script.yaml"
    file.write_text(text)
    with pytest.raises(ScriptError) as caught:
        load_script(file)
    assert said in str(caught.value)


def test_a_missing_file_is_a_script_error(tmp_path: Path) -> None:
    """A script that is not there is refused in words."""
    with pytest.raises(ScriptError, match="nowhere"):
        load_script(tmp_path / "nowhere.yaml")


def test_an_empty_script_is_no_models() -> None:
    """Nothing said is nothing served."""
    assert script_of({}).models == {}


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        (1, 1.0),
        (0.25, 0.25),
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5m", 90.0),
        ({"uniform": [1, "2s"]}, Delay(1, 2, Spread.UNIFORM)),
    ],
)
def test_delays_are_read(value: object, delay: Delay | float) -> None:
    """Numbers, units and distributions."""
    assert delay_of(value) == delay


def test_phases_fold_and_the_first_that_holds_wins() -> None:
    """A period repeats; before and after, the usual behaviour holds."""
    good, bad = Behaviour(), Behaviour(statuses=(500,))
    flap = flapping(good, bad, up=2, down=2)
    assert [flap.at(t) == bad for t in (0, 1.9, 2, 3.9, 4, 6)] == [False, False, True, True, False, True]
    twice = good.but(Phase(start=1, end=3, behaviour=bad), Phase(start=2, end=9, behaviour=Behaviour(tokens=1)))
    assert [twice.at(t) for t in (2.5, 3.5, 9)] == [bad, Behaviour(tokens=1), twice]


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hint", "headers"),
    [
        (None, []),
        ("30", [("retry-after", "30")]),
        (1.5, [("retry-after", "1.5")]),
        (" 30 ", [("retry-after", " 30 ")]),
        ("-5", [("retry-after", "-5")]),
        ("abc", [("retry-after", "abc")]),
        ("", [("retry-after", "")]),
        (("1", "2"), [("retry-after", "1"), ("retry-after", "2")]),
        (("ms:250", 60), [("retry-after-ms", "250"), ("retry-after", "60")]),
        ("x-ms:250", [("x-ms-retry-after-ms", "250")]),
        ("reset-requests:6m0s", [("x-ratelimit-reset-requests", "6m0s")]),
        ("rfc1123:30", [("retry-after", "Fri, 02 Jan 2026 03:04:35 GMT")]),
        ("rfc850:30", [("retry-after", "Friday, 02-Jan-26 03:04:35 GMT")]),
        ("asctime:30", [("retry-after", "Fri Jan  2 03:04:35 2026")]),
        ("anthropic-reset:30", [("anthropic-ratelimit-requests-reset", "2026-01-02T03:04:35Z")]),
        ("body:46s", []),
    ],
)
def test_hints_become_headers(
    hint: str | float | tuple[str | float, ...] | None, headers: list[tuple[str, str]]
) -> None:
    """Each form is the header a server would send."""
    assert header_hints(hint, NOW) == headers


def test_hints_in_a_body() -> None:
    """retryDelay and a sentence are added to an error object; other bodies are left alone."""
    body = b'{"error":{"message":"Slow down."}}'
    assert json.loads(body_hints("body:46s", body))["error"]["details"][0]["retryDelay"] == "46s"
    assert json.loads(body_hints("text:2s", body))["error"]["message"] == "Slow down. Please retry in 2s."
    assert body_hints("text:2s", b'{"error":"x"}') == b'{"error":"x"}'


async def test_a_date_hint_counts_from_the_reply_s_own_date(sim: Simulator) -> None:
    """With a skewed clock the date is still so many seconds after the reply's Date."""
    sim.set("m", Behaviour(statuses=(429,), retry_after="rfc1123:30", date_skew=-86_400))
    reply = await ask(sim, chat())
    moments = [parsedate_to_datetime(reply.header(name)[0]) for name in ("date", "retry-after")]
    assert (moments[1] - moments[0]).total_seconds() == 30
    assert (datetime.now(UTC) - moments[0]).total_seconds() > 80_000


async def test_serve_says_when_it_is_ready_and_stops_when_cancelled(leakcheck: None) -> None:
    """The stand-alone server answers once it is ready and frees its port on cancellation."""
    ready: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(
        serve(script_of({"default": None, "models": {"m": None}}), "127.0.0.1", 0, ready.set_result)
    )
    sim = await asyncio.wait_for(ready, 60)
    assert (await ask(sim, chat())).status == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        await ask(sim, chat())
