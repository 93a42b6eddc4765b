"""Upstreams that answer with an error: its class, what it does to A, who answers instead, what the client reads."""

from __future__ import annotations

import asyncio

import pytest
from tests.e2e.conftest import MakeStand

from routerconsole.control.commands import ResetCircuit, Target
from routerconsole.simulator import Behaviour

UNPROBED = {"health": {"enabled": False}}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_U11_a_server_error_fails_over_and_counts(make: MakeStand, status: int) -> None:
    """B answers; five open A's route; the provider counts too, from two routes on, except for 500."""
    stand = await make(models={"a": ["m", "n"], "b": ["m", "n"]})
    for sim in stand.sims.values():
        sim.set("n", Behaviour())
    for model in ("m", "n"):
        stand.sims["a"].set(model, Behaviour(statuses=(status,)))
    for n in range(4):
        reply = await stand.chat("m" if n % 2 else "n")
        assert (reply.status, reply.served_by, reply.attempts) == (200, f"b/{'m' if n % 2 else 'n'}", 2)
        first = await stand.first(reply)
        assert (first.class_, first.status) == ("server", status)
        assert (await stand.provider("a")).circuit_state == "closed"
    await stand.chat("m")
    assert (await stand.provider("a")).circuit_state == ("closed" if status == 500 else "open")
    assert (await stand.route("a", "m")).circuit_state == "closed"
    if status == 500:
        for _ in range(2):
            await stand.chat("m")
        assert (await stand.route("a", "m")).circuit_state == "open"
        assert (await stand.route("a", "n")).circuit_state == "closed"


async def test_U12_overloaded_is_a_server_error_with_a_gate(make: MakeStand) -> None:
    """529 with a hint: class server, an `overload` gate for as long as it says, B meanwhile."""
    stand = await make(providers={"a": {"kind": "anthropic"}})
    stand.sims["a"].set("m", Behaviour(statuses=("anthropic_overloaded",), retry_after=20))
    reply = await stand.chat()
    assert await stand.tried(reply) == [("a", "server"), ("b", "ok")]
    assert (await stand.first(reply)).status == 529
    route = await stand.route("a")
    assert (route.gate, route.circuit_state) == ("overload", "closed")
    assert route.gate_ends_in_s is not None
    assert 19 <= route.gate_ends_in_s <= 22
    assert (await stand.chat()).attempts == 1


async def test_U14_a_short_wait_is_waited_out(make: MakeStand) -> None:
    """429, only candidate, one second: waited for, then served; the breaker knows nothing of it."""
    names = ["m", "n", "o"]
    stand = await make("a", models={"a": names}, providers={"a": {"max_concurrency": 8}})
    for name in names:
        stand.sims["a"].set(name, Behaviour(statuses=(429, 200), retry_after="1"))
    waits = []
    for reply in await asyncio.gather(*(stand.chat(name) for name in names)):
        assert (reply.status, reply.attempts) == (200, 2)
        first, second = (await stand.detail(reply)).attempts_detail
        assert (first.class_, second.class_) == ("rate", "ok")
        assert first.ended_ms is not None
        waits.append(second.started_ms - first.ended_ms)
    assert min(waits) >= 1000
    assert sorted(waits)[1] <= 1250
    assert (await stand.route("a")).circuit_state == "closed"


async def test_U15_C1_36_a_long_wait_is_told_to_the_client(make: MakeStand) -> None:
    """429, only candidate, 30 seconds: an immediate 429 with that Retry-After, and SDKs are told not to try again."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(statuses=(429,), retry_after="30"))
    reply = await stand.chat()
    assert (reply.status, reply.headers["retry-after"], reply.attempts) == (429, "30", 1)
    assert reply.headers["x-should-retry"] == "false"
    assert reply.served_by == "a/m"
    assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "all_candidates_failed")
    row = (await stand.detail(reply)).row
    assert (row.status, row.http_status) == ("failed", 429)
    stand.sims["a"].set("m", Behaviour(statuses=(429,), retry_after="42"))
    await stand.chat()  # the one last-resort attempt of this gated period
    gated = await stand.chat()
    assert (gated.status, gated.attempts, gated.error["code"]) == (429, 0, "no_routable_candidate")
    assert 28 <= int(gated.headers["retry-after"]) <= 47


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("openai_compatible", "openai_quota"),
        ("openai_compatible", "openai_credit"),
        ("openai_compatible", "payment"),
        ("openai_compatible", "gemini_zero"),
        ("openai_compatible", "gemini_daily"),
        ("anthropic", "anthropic_spend"),
        ("anthropic", "anthropic_spend_400"),
        ("anthropic", "anthropic_credit"),
    ],
)
async def test_U21_U22_U23_a_spent_quota_rests_for_an_hour(make: MakeStand, kind: str, body: str) -> None:
    """Quota, not rate: an hour without a request to A, no breaker effect, and the operator sees which and why."""
    stand = await make(providers={"a": {"kind": kind}})
    stand.sims["a"].set("m", Behaviour(statuses=(body,)))
    reply = await stand.chat()
    assert await stand.tried(reply) == [("a", "quota"), ("b", "ok")]
    for _ in range(3):
        assert (await stand.chat()).served_by == "b/m"
    assert stand.sims["a"].count("m") == 1
    route = await stand.route("a")
    assert (route.status, route.gate, route.circuit_state) == ("quota", "quota", "closed")
    assert route.gate_ends_in_s is not None
    assert 3590 <= route.gate_ends_in_s <= 3960
    assert route.reason is not None
    assert "quota" in route.reason
    assert route.last_error is not None
    assert route.last_error["class"] == "quota"


async def test_U22_an_ordinary_anthropic_429_is_only_a_rate(make: MakeStand) -> None:
    """Without a spend limit in its body the same status is a rate limit: 60 seconds."""
    stand = await make(providers={"a": {"kind": "anthropic"}})
    stand.sims["a"].set("m", Behaviour(statuses=("anthropic_rate",)))
    assert await stand.tried(await stand.chat()) == [("a", "rate"), ("b", "ok")]
    route = await stand.route("a")
    assert route.gate == "rate"
    assert route.gate_ends_in_s is not None
    assert 59 <= route.gate_ends_in_s <= 66


async def test_U24_a_refused_key_stops_all_traffic_until_it_is_mended(make: MakeStand) -> None:
    """401: config_error on the account, no more requests and no breaker; a reset or a new key cures it."""
    stand = await make(
        providers={"a": {"api_key": "env:A_KEY"}},
        models={"a": ["m", "n"], "b": ["m", "n"]},
        env={"A_KEY": "sk-wrong-0123456789abcdef"},
    )
    sim = stand.sims["a"]
    sim.api_key = "sk-right"
    stand.sims["b"].set("n", Behaviour())
    reply = await stand.chat()
    assert await stand.tried(reply) == [("a", "auth"), ("b", "ok")]
    assert (await stand.first(reply)).status == 401
    assert (await stand.chat("n")).attempts == 1, "the account is at fault, so its other models are too"
    shown = await stand.provider("a")
    assert (shown.status, shown.circuit_state) == ("config_error", "closed")
    assert sim.count("m") == 1

    sim.api_key = None  # mended at the provider
    await stand.node.control.do(ResetCircuit(Target("a")))
    assert (await stand.chat()).served_by == "a/m"

    sim.api_key = "sk-right"
    await stand.chat()
    assert (await stand.provider("a")).status == "config_error"
    stand.env = {"A_KEY": "sk-right"}  # mended here
    await stand.restart()
    assert (await stand.chat()).served_by == "a/m"


async def test_U24_an_echoed_key_never_comes_back(make: MakeStand) -> None:
    """What an upstream repeats of our key is in no answer and no trace."""
    key = "hunter2-plain-looking-key"
    stand = await make("a", providers={"a": {"api_key": "env:A_KEY"}}, env={"A_KEY": key})
    echo = f'{{"error": {{"message": "Bad key {key} given", "code": "invalid_api_key"}}}}'
    stand.sims["a"].set("m", Behaviour(statuses=(401,), error=echo))
    reply = await stand.chat()
    assert reply.status == 502
    assert key.encode() not in reply.body
    assert key not in str(await stand.detail(reply))
    assert key not in str(await stand.node.control.status())


@pytest.mark.parametrize("body", ["proxy_403", "cloudflare_1010"])
async def test_U25_a_proxys_page_is_a_configuration_error_not_shown_raw(make: MakeStand, body: str) -> None:
    """403 HTML: config_error on that route only; the page's tags reach nobody."""
    stand = await make("a", models={"a": ["m", "n"]}, providers={"a": UNPROBED})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(statuses=(body,)))
    sim.set("n", Behaviour())
    reply = await stand.chat()
    assert (reply.status, reply.attempts) == (502, 1)
    assert await stand.tried(reply) == [("a", "auth")]
    for shown in (reply.body.decode(), str(await stand.detail(reply)), str(await stand.node.control.status())):
        assert "<html" not in shown
        assert "<script" not in shown
        assert "<body" not in shown
    assert (await stand.route("a", "m")).status == "config_error"
    assert (await stand.chat("n")).status == 200
    again = await stand.chat()
    assert (again.status, again.error["code"], again.attempts) == (503, "no_routable_candidate", 0)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("openai_compatible", "openai_missing"), ("ollama", "ollama_missing"), ("openai", "openai_missing")],
)
async def test_U26_U53_a_missing_model_is_missing_alone(make: MakeStand, kind: str, body: str) -> None:
    """404: that route is missing, its siblings are not, and nobody pulls anything."""
    base = {"kind": kind}
    stand = await make(models={"a": ["m", "n"]}, providers={"a": base})
    if kind == "ollama":
        await stand.stop()
        stand.text = stand.text.replace(stand.sims["a"].base_url, stand.sims["a"].origin)
        await stand.start()
    sim = stand.sims["a"]
    sim.set("m", Behaviour(statuses=(body,)))
    sim.set("n", Behaviour())
    assert await stand.tried(await stand.chat()) == [("a", "missing"), ("b", "ok")]
    assert (await stand.chat()).attempts == 1
    assert (await stand.chat("n")).served_by == "a/n"
    assert (await stand.route("a", "m")).status == "missing"
    assert (await stand.route("a", "m")).circuit_state == "closed"
    assert not any(request.path.endswith("/pull") for request in sim.received)


@pytest.mark.parametrize("stream", [False, True])
async def test_U27_only_larger_windows_are_tried(make: MakeStand, stream: bool) -> None:
    """A context refusal skips what is known to be no larger; nothing larger means a 400 after one attempt."""
    windows = {"a": 4096, "small": 2048, "same": 4096, "large": 32768}
    stand = await make(*windows, models={name: [{"id": "m", "context_window": size}] for name, size in windows.items()})
    stand.sims["a"].set("m", Behaviour(statuses=("llama_context",)))
    reply = await stand.chat(stream=stream)
    assert reply.status == 200
    assert await stand.tried(reply) == [("a", "context"), ("large", "ok")]

    lone = await make(
        "a",
        "small",
        models={"a": [{"id": "m", "context_window": 4096}], "small": [{"id": "m", "context_window": 2048}]},
    )
    lone.sims["a"].set("m", Behaviour(statuses=("llama_py_context",)))
    reply = await lone.chat(stream=stream)
    assert (reply.status, reply.error["code"], reply.attempts) == (400, "context_length_exceeded", 1)
    assert lone.sims["small"].count("m") == 0
    assert (await lone.route("a")).circuit_state == "closed"


@pytest.mark.parametrize("body", ["openai_filter", "openai_policy"])
async def test_U29_a_content_filter_is_returned(make: MakeStand, body: str) -> None:
    """Refused for its content: the client reads why, nobody else is asked, nothing is counted."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(statuses=(body,)))
    reply = await stand.chat()
    assert (reply.status, reply.attempts, reply.served_by) == (400, 1, "a/m")
    assert await stand.tried(reply) == [("a", "policy")]
    assert stand.sims["b"].count("m") == 0
    assert (await stand.route("a")).circuit_state == "closed"


async def test_U54_C0_22_C1_31_all_fail_differently_in_one_error(make: MakeStand) -> None:
    """One 502: the most actionable cause first, every attempt listed with its status, no upstream address."""
    stand = await make("down", "busy", "broken", "locked")
    await stand.sims["down"].pause_listening()
    stand.sims["busy"].set("m", Behaviour(statuses=(429,), retry_after="30"))
    stand.sims["broken"].set("m", Behaviour(statuses=("openai_server",)))
    stand.sims["locked"].set("m", Behaviour(statuses=("openai_bad_key",)))
    reply = await stand.chat()
    assert (reply.status, reply.error["code"], reply.error["type"]) == (502, "all_candidates_failed", "upstream_error")
    told = reply.error["routerconsole"]
    assert told["request_id"] == reply.id
    seen = [(item["provider"], item["model"], item["class"], item["status"]) for item in told["attempts"]]
    assert seen[:4] == [
        ("down", "m", "connect", None),
        ("busy", "m", "rate", 429),
        ("broken", "m", "server", 500),
        ("locked", "m", "auth", 401),
    ]
    message: str = reply.error["message"]
    assert message.index("API key") < message.index("broken/m")
    for name in stand.sims:
        assert f"{name}/m" in message
        assert str(stand.sims[name].port) not in reply.body.decode()
    assert reply.headers["x-should-retry"] == "false"


async def test_U14_the_soonest_of_several_is_waited_for(make: MakeStand) -> None:
    """429 from both, one second here and thirty there: the first is asked again when its second is over."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(statuses=(429, 200), retry_after="1"))
    stand.sims["b"].set("m", Behaviour(statuses=(429,), retry_after="30"))
    reply = await stand.chat()
    assert (reply.status, await stand.tried(reply)) == (200, [("a", "rate"), ("b", "rate"), ("a", "ok")])
    assert 1000 <= (await stand.detail(reply)).attempts_detail[2].started_ms < 5000


async def test_U14_a_hint_beyond_the_deadline_is_not_waited_for(make: MakeStand) -> None:
    """One second to wait and 300 ms left: the 429 comes back at once with its hint."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(statuses=(429,), retry_after="1"))
    reply = await stand.chat(headers={"x-router-timeout-ms": "300"})
    assert (reply.status, reply.headers["retry-after"], reply.attempts) == (429, "1", 1)
    assert reply.ms < 900


async def test_U03_the_only_candidate_silent_until_the_deadline(make: MakeStand) -> None:
    """Whole or streamed: 504 deadline_exceeded when the request's own time is over, and nobody is blamed."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(latency=60.0))
    for stream in (False, True):
        reply = await stand.chat(stream=stream, headers={"x-router-timeout-ms": "150"})
        assert (reply.status, reply.error["code"], reply.attempts) == (504, "deadline_exceeded", 1)
        assert await stand.tried(reply) == [("a", "timeout_first")]
    assert (await stand.route("a")).circuit_state == "closed"
    assert (await stand.provider("a")).circuit_state == "closed"


async def test_U11_a_loading_model_is_waited_for_when_it_is_alone(make: MakeStand) -> None:
    """503 "Loading model": asked again a second later, as warming, never counted; with a neighbour, served there."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(statuses=("llama_loading", 200)))
    reply = await stand.chat("a/m")
    assert (reply.status, await stand.tried(reply)) == (200, [("a", "warming"), ("a", "ok")])
    stand.sims["a"].set("m", Behaviour(statuses=("llama_loading",)))
    for _ in range(6):
        assert (await stand.chat()).served_by == "b/m"
    assert (await stand.route("a")).circuit_state == "closed"


PICTURE = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
            ],
        }
    ]
}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_dialect_cannot_carry_is_no_attempt(make: MakeStand, stream: bool) -> None:
    """A picture by URL to Ollama: nothing is sent, nothing charged, one attempt is told of; the trace says why."""
    stand = await make(providers={"a": {"kind": "ollama", **UNPROBED}})
    reply = await stand.chat(stream=stream, **PICTURE)
    assert (reply.status, reply.served_by, reply.attempts) == (200, "b/m", 1)
    assert stand.sims["a"].total == 0
    shown = (await stand.detail(reply)).candidates[0]
    assert (shown.provider, shown.decision) == ("a", "skipped")
    assert any("cannot carry vision" in reason for reason in shown.reasons)
    (event,) = stand.events("attempt.skipped")
    assert event.data["provider"] == "a"
    route = await stand.route("a")
    assert (route.total_requests, route.in_flight, route.circuit_state, route.gaps) == (0, 0, "closed", ())


async def test_what_no_dialect_can_carry_is_refused_unsent(make: MakeStand) -> None:
    """Alone: 422 with 0 attempts and the route among the skipped; `explain` knows it beforehand."""
    stand = await make("a", providers={"a": {"kind": "ollama", **UNPROBED}})
    explained = (await stand.post("/api/v1/router/explain", {"model": "m", **PICTURE}, admin=True)).json
    assert [candidate["decision"] for candidate in explained["candidates"]] == ["skipped"]
    assert explained["error"]["code"] == "capability_unavailable"
    reply = await stand.chat(**PICTURE)
    assert (reply.status, reply.attempts, reply.error["code"]) == (422, 0, "capability_unavailable")
    assert reply.error["routerconsole"]["attempts"] == []
    (skipped,) = reply.error["routerconsole"]["skipped"]
    assert (skipped["provider"], skipped["model"]) == ("a", "m")
    assert "cannot carry vision" in skipped["reason"]
    assert stand.sims["a"].total == 0
    assert (await stand.chat()).status == 200
