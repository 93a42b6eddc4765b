"""Streams: what fails before the first content fails over, what fails after it is told in-band."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, Reply, said

from routerconsole.control.commands import CancelRequest
from routerconsole.simulator import Answering, Behaviour, Cut, Wire

TEXT = " ".join(f"w{n}" for n in range(60))
SHORT = {"first_token_timeout": "300ms"}
TOLERANT = {"a": {"max_concurrency": 64}, "b": {"max_concurrency": 64}}


def words(count: int) -> str:
    """The first words of TEXT, as their deltas carry them."""
    return " ".join(TEXT.split()[:count])


async def truncated_by(reply: Reply, text: str, cls: str) -> dict[str, Any]:
    """Check a stream that broke off after exactly this text; return its error."""
    assert reply.status == 200
    assert reply.text == text
    assert not reply.finished
    assert all(choice["finish_reason"] is None for chunk in reply.chunks for choice in chunk["choices"])
    error = reply.in_band
    assert error is not None
    assert (error["code"], error["routerconsole"]["class"]) == ("stream_incomplete", cls)
    assert error["routerconsole"]["request_id"] == reply.id
    return error


FAILED_STARTS = {
    "S04-vllm": (Behaviour(error_after=-1, error="vllm_in_band"), "bad_200"),
    "S04-overloaded": (Behaviour(error_after=-1, error="anthropic_overloaded"), "server"),
    "S04-rate": (Behaviour(error_after=0, error="openai_rate"), "rate"),
    "S04-quota": (Behaviour(error_after=0, error="openai_quota"), "quota"),
    "S05": (Behaviour(cut_after=-1, cut=Cut.CLEAN), "bad_200"),
    "S05-role": (Behaviour(cut_after=0, cut=Cut.CLEAN), "bad_200"),
    "S06": (Behaviour(cut_after=0, cut=Cut.RESET), "bad_200"),
    "S06-fin": (Behaviour(cut_after=0, cut=Cut.FIN), "bad_200"),
    "S06-chunk": (Behaviour(cut_after=0, cut=Cut.MID_CHUNK), "bad_200"),
    "S07": (Behaviour(preamble=("usage", "empty"), stall_after=0), "timeout_first"),
    "S07-ping": (Behaviour(preamble=("comment", "ping"), stall_after=0), "timeout_first"),
    "S07-heartbeat": (Behaviour(heartbeat_s=0.05, stall_after=0), "timeout_first"),
    "S07-silence": (Behaviour(stall_after=-1), "timeout_first"),
    "S17-json": (Behaviour(garble=0), "bad_200"),
    "S17-utf8": (Behaviour(garble=1, garble_as="utf8"), "bad_200"),
    "S18": (Behaviour(garble=1, garble_as="long"), "bad_200"),
    "S32-html": (Behaviour(answer=Answering.HTML), "bad_200"),
    "U03-body": (Behaviour(wire=Wire.BODY_HANG), "timeout_first"),
}


async def test_S04_S05_S06_S07_S17_S32_C1_24_C3_20_C4_17_nothing_of_a_failed_start_is_seen(make: MakeStand) -> None:
    """Whatever fails before the first content fails over: the client reads B's stream and no byte of A's."""
    stand = await make(routing=SHORT, models={"a": list(FAILED_STARTS), "b": list(FAILED_STARTS)}, providers=TOLERANT)
    for name, (behaviour, _) in FAILED_STARTS.items():
        stand.sims["a"].set(name, behaviour)
        stand.sims["b"].set(name, Behaviour())
    replies = await asyncio.gather(*(stand.stream(name) for name in FAILED_STARTS))
    for reply, (name, (_, cls)) in zip(replies, FAILED_STARTS.items(), strict=True):
        assert (reply.status, reply.served_by, reply.attempts, reply.finished) == (200, f"b/{name}", 2, True), name
        assert await stand.tried(reply) == [("a", cls), ("b", "ok")], name
        assert len({chunk["id"] for chunk in reply.chunks}) == 1
        roles = [choice for chunk in reply.chunks for choice in chunk["choices"] if choice["delta"].get("role")]
        assert len(roles) == 1
    assert stand.idle


@pytest.mark.parametrize("error", ["openai_server", "vllm_in_band"])
async def test_S04_S25_C1_29_a_failed_start_alone_is_a_real_status(make: MakeStand, error: str) -> None:
    """Every first event is an error: a 502 as JSON with the last error, no 200, no role frame, no success recorded."""
    stand = await make()
    for sim in stand.sims.values():
        sim.set("m", Behaviour(error_after=-1, error=error))
    reply = await stand.stream()
    assert reply.status == 502
    assert reply.headers["content-type"] == "application/json"
    assert reply.error["code"] == "all_candidates_failed"
    assert b"data:" not in reply.body
    for name in stand.sims:
        assert (await stand.route(name)).successful == 0


async def test_S25_both_fail_before_content(make: MakeStand) -> None:
    """A resets after its role frame, B says 503: one JSON error, nothing of a stream."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(cut_after=0, cut=Cut.RESET))
    stand.sims["b"].set("m", Behaviour(statuses=(503,)))
    reply = await stand.stream()
    assert reply.status in (502, 503)
    assert reply.error["code"] == "all_candidates_failed"
    assert b"assistant" not in reply.body
    assert stand.idle


BROKEN = {
    "S20": (Behaviour(text=TEXT, cut_after=40, cut=Cut.CLEAN), "cut"),
    "S20-fin": (Behaviour(text=TEXT, cut_after=40, cut=Cut.FIN), "cut"),
    "S22": (Behaviour(text=TEXT, cut_after=40, cut=Cut.RESET), "cut"),
    "S22-chunk": (Behaviour(text=TEXT, cut_after=40, cut=Cut.MID_CHUNK), "cut"),
    "S21": (Behaviour(text=TEXT, stall_after=40), "cut"),
    "S23-vllm": (Behaviour(text=TEXT, error_after=40, error="vllm_in_band"), "cut"),
    "S23-overloaded": (Behaviour(text=TEXT, error_after=40, error="anthropic_overloaded"), "server"),
    "S17": (Behaviour(text=TEXT, garble=41), "cut"),
    "S17-utf8": (Behaviour(text=TEXT, garble=41, garble_as="utf8"), "cut"),
    "S18-line": (Behaviour(text=TEXT, garble=41, garble_as="long"), "cut"),
    "S18-endless": (Behaviour(text=TEXT, garble=41, garble_as="endless"), "cut"),
}


async def test_S17_S18_S20_S21_S22_S23_C1_28_C3_21_a_broken_stream_says_so(make: MakeStand) -> None:
    """Exactly what was received, one `stream_incomplete` in-band, no [DONE]; logged as truncated; no restart on B."""
    stand = await make(
        *(name.lower() for name in BROKEN),
        "z",
        routing={"idle_timeout": "400ms"},
        pools=[{"id": f"to-{name.lower()}", "members": [f"{name.lower()}/m", "z/m"]} for name in BROKEN],
    )
    for name, (behaviour, _) in BROKEN.items():
        stand.sims[name.lower()].set("m", behaviour)

    async def five(name: str, cls: str) -> None:
        for _ in range(5):
            reply = await stand.stream(f"to-{name}")
            error = await truncated_by(reply, words(40), cls)
            assert "127.0.0.1" not in error["message"]
            detail = await stand.detail(reply)
            assert (detail.row.status, detail.terminal) == ("truncated", "truncated")
            assert detail.row.error_code == "stream_incomplete"
            assert (detail.row.completion_tokens, detail.row.usage_source) == (40, "estimated")
            assert [(item.provider, item.class_) for item in detail.attempts_detail] == [(name, cls)]
            assert detail.attempts_detail[0].circuit_before == "closed"
        assert (await stand.route(name)).circuit_state == "open", "each counts on the route, the fifth opens it"

    await asyncio.gather(*(five(name.lower(), cls) for name, (_, cls) in BROKEN.items()))
    assert stand.sims["z"].count("m") == 0
    assert stand.idle
    for name in ("s21", "s18-endless"):
        await stand.sims[name].wait_closed(5)


def _fields(behaviour: Behaviour) -> dict[str, Any]:
    return {name: getattr(behaviour, name) for name in Behaviour.__slots__}


async def test_S22_a_reset_is_told_at_once(make: MakeStand) -> None:
    """From the RST to the client's error there is no timer of ours (a tenth of a second, and a machine's load)."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(text=TEXT, cut_after=20, cut=Cut.RESET))
    took = []
    for _ in range(3):
        reply = await stand.stream()
        await truncated_by(reply, words(20), "cut")
        took.append(reply.ms)
    assert min(took) <= 1000


async def test_S21_C1_28_a_stalled_stream_ends_at_the_idle_limit(make: MakeStand) -> None:
    """20 tokens, then silence: an error at the idle limit, in words without sockets; the upstream is closed."""
    stand = await make(routing={"idle_timeout": "300ms"})
    stand.sims["a"].set("m", Behaviour(text=TEXT, stall_after=20))
    reply = await stand.stream()
    error = await truncated_by(reply, words(20), "cut")
    assert "0.3 s" in error["message"]
    assert 300 <= reply.ms < 2000
    await stand.sims["a"].wait_closed()
    assert stand.sims["a"].closes[-1].by == "peer"


async def test_S23_an_anthropic_error_event_is_told_once(make: MakeStand) -> None:
    """Anthropic's `event: error` in the middle: one error of ours, class by its code, counted on the route."""
    stand = await make(providers={"a": {"kind": "anthropic"}})
    stand.sims["a"].set("m", Behaviour(text=TEXT, error_after=20, error="anthropic_overloaded"))
    for _ in range(5):
        await truncated_by(await stand.stream(), words(20), "server")
    assert (await stand.route("a")).circuit_state == "open"


async def test_S18_long_lines_within_the_limits_pass(make: MakeStand) -> None:
    """A line of 900 KB is an event like any other."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(text=TEXT, garble=30, garble_as="long", garble_bytes=900_000))
    reply = await stand.stream()
    assert reply.finished
    assert reply.text == TEXT
    assert len(reply.body) > 900_000


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behaviour(newline="crlf"), id="crlf"),
        pytest.param(Behaviour(newline="cr", bom=True), id="cr-bom"),
        pytest.param(Behaviour(space=False, multi_line=True), id="multi-line"),
        pytest.param(Behaviour(last_blank=False), id="S16-no-last-blank"),
        pytest.param(Behaviour(done=False), id="no-done"),
        pytest.param(Behaviour(finish=False), id="no-finish"),
        pytest.param(Behaviour(slice_bytes=7, slice_delay=0.0), id="sliced"),
        pytest.param(Behaviour(preamble=("comment", "ping", "usage", "empty")), id="preamble"),
    ],
)
async def test_S16_every_way_to_frame_a_stream_reads_the_same(make: MakeStand, behaviour: Behaviour) -> None:
    """Line ends, BOM, comments, slices, a missing [DONE] or last blank line: the same text, and a proper end."""
    stand = await make("a")
    text = "Grüße 👩‍👩‍👧 — \u2028 fine"
    stand.sims["a"].set("m", Behaviour(**{**_fields(behaviour), "text": text}))
    reply = await stand.stream()
    assert (reply.text, reply.finished) == (text, True)
    assert (await stand.detail(reply)).terminal == "clean"


async def test_S19_a_flood_of_tiny_events_arrives_whole(make: MakeStand) -> None:
    """20,000 events as fast as they come: the exact text, and another request is served meanwhile."""
    text = " ".join("abcdefghij"[n % 10] for n in range(20_000))
    stand = await make()
    stand.sims["a"].set("m", Behaviour(text=text))
    flood = asyncio.create_task(stand.stream())
    await stand.until(lambda: stand.events("attempt.first_token"))
    beside = await stand.chat("b/m")
    assert beside.status == 200
    reply = await flood
    assert (reply.text, reply.finished) == (text, True)
    assert len(reply.chunks) >= 20_000


async def test_S27_parallel_tool_calls_arrive_byte_for_byte(make: MakeStand) -> None:
    """Three calls in fragments: the joined arguments are the whole answer's."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(tool_calls=3))
    whole = (await stand.chat(**FORCED)).json["choices"][0]["message"]["tool_calls"]
    streamed = calls_of(await stand.stream(**FORCED))
    assert [call["arguments"] for call in streamed] == [call["function"]["arguments"] for call in whole]
    assert [call["name"] for call in streamed] == ["get_weather"] * 3
    assert len({call["id"] for call in streamed}) == 3


@pytest.mark.parametrize("index", ["zero", "from_one", "jumps", "missing"])
async def test_S28_S29_calls_are_told_apart_whatever_their_index(make: MakeStand, index: Any) -> None:
    """All `index: 0`, from one, with jumps, or none: three calls, dense indices, arguments that parse."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(tool_calls=3, tool_index=index))
    reply = await stand.stream(**FORCED)
    calls = calls_of(reply)
    assert len(calls) == 3
    assert len({call["id"] for call in calls}) == 3
    assert len({call["arguments"] for call in calls}) == 3
    assert all(isinstance(orjson.loads(call["arguments"]), dict) for call in calls)
    assert reply.finished


async def test_S28_ollamas_own_stream_of_calls(make: MakeStand) -> None:
    """NDJSON with three calls becomes three calls of the OpenAI shape."""
    stand = await make("a")
    await stand.stop()
    stand.text = stand.text.replace("openai_compatible", "ollama").replace(
        stand.sims["a"].base_url, stand.sims["a"].origin
    )
    await stand.start()
    stand.sims["a"].set("m", Behaviour(tool_calls=3))
    asked = [{"role": "user", "content": "What is the weather?"}]
    calls = calls_of(await stand.stream(messages=asked, **FORCED))
    assert len(calls) == 3
    assert len({call["id"] for call in calls}) == 3


async def test_S30_cut_arguments_are_flagged(make: MakeStand) -> None:
    """Arguments cut in the middle with finish `tool_calls`: passed on, and flagged in the trace."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(tools="cut_arguments"))
    reply = await stand.stream(**FORCED)
    assert reply.finished
    assert "tool_args_invalid" in (await stand.detail(reply)).row.flags


def calls_of(reply: Reply) -> list[dict[str, str]]:
    """The tool calls a client puts together from a stream, by index; indices must be dense."""
    calls: dict[int, dict[str, str]] = {}
    for chunk in reply.chunks:
        for choice in chunk["choices"]:
            for delta in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(delta["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] = call["id"] or delta.get("id") or ""
                function = delta.get("function") or {}
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
    assert sorted(calls) == list(range(len(calls)))
    return [calls[n] for n in sorted(calls)]


async def test_S31_S33_the_other_form_is_turned_into_the_one_asked(make: MakeStand) -> None:
    """JSON to a stream request becomes events, events to a whole request become one body; the text is the same."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(text=TEXT, framing="whole"))
    streamed = await stand.stream()
    assert (streamed.text, streamed.finished) == (TEXT, True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    sim.set("m", Behaviour(text=TEXT, framing="stream", usage="always"))
    whole = await stand.chat()
    assert whole.content == TEXT
    assert whole.json["choices"][0]["finish_reason"] == "stop"
    assert whole.json["object"] == "chat.completion"
    assert whole.json["usage"]["completion_tokens"] == 60


async def test_S33_a_broken_stream_to_a_whole_request_fails_over(make: MakeStand) -> None:
    """Events that end short are no whole answer: bad_200, then B."""
    stand = await make()
    stand.sims["a"].set("m", Behaviour(framing="stream", cut_after=5, cut=Cut.CLEAN))
    assert await stand.tried(await stand.chat()) == [("a", "bad_200"), ("b", "ok")]


async def test_S38_a_stream_longer_than_the_deadline_is_told_so(make: MakeStand) -> None:
    """The request's deadline passes in mid-stream: in-band `deadline_exceeded`, no finish reason, no route blamed."""
    stand = await make("a", routing={"request_deadline": "400ms"})
    stand.sims["a"].set("m", Behaviour(text=TEXT, tokens_per_second=50))
    for headers in ({}, {"x-router-timeout-ms": "200"}):
        reply = await stand.stream(headers=headers)
        assert reply.in_band is not None
        assert (reply.in_band["code"], reply.finished) == ("deadline_exceeded", False)
        assert TEXT.startswith(reply.text)
        assert reply.text
        assert (await stand.detail(reply)).row.status == "truncated"
    assert (await stand.route("a")).circuit_state == "closed"
    await stand.sims["a"].wait_closed(2)


async def test_S39_thinking_is_content(make: MakeStand) -> None:
    """Reasoning deltas for longer than the first-token timer: committed at the first, nothing times out."""
    stand = await make(routing={"first_token_timeout": "1s"})
    stand.sims["a"].set("m", Behaviour(text="done", reasoning=40, tokens_per_second=30))
    reply = await stand.stream()
    assert (reply.text, reply.finished, reply.attempts) == ("done", True, 1)
    assert reply.first_ms < 1000 < reply.ms


async def test_S40_two_choices_one_ending_early_stay_whole(make: MakeStand) -> None:
    """n=2 interleaved: both texts as sent, each with its own finish reason."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(text=TEXT, uneven=True))
    reply = await stand.stream(n=2)
    assert (said(reply.chunks, 0), said(reply.chunks, 1)) == (TEXT, words(30))
    ends = {
        choice["index"]: choice["finish_reason"]
        for chunk in reply.chunks
        for choice in chunk["choices"]
        if choice["finish_reason"]
    }
    assert ends == {0: "stop", 1: "length"}


async def test_S41_usage_is_shown_to_whom_it_was_promised(make: MakeStand) -> None:
    """Asked for: last, once, before [DONE], if there is any; not asked for: hidden, and in the trace all the same."""
    stand = await make("a")
    sim = stand.sims["a"]
    asked = {"stream_options": {"include_usage": True}}
    for usage in ("asked", "always"):
        sim.set("m", Behaviour(tokens=5, usage=usage))
        reply = await stand.stream(**asked)
        assert [n for n, chunk in enumerate(reply.chunks) if chunk.get("usage")] == [len(reply.chunks) - 1]
        assert reply.chunks[-1]["choices"] == []
        hidden = await stand.stream()
        assert not any("usage" in chunk for chunk in hidden.chunks)
        assert (await stand.detail(hidden)).row.completion_tokens == 5
    sim.set("m", Behaviour(tokens=5, usage="never"))
    without = await stand.stream(**asked)
    assert without.finished
    assert not any(chunk.get("usage") for chunk in without.chunks)
    assert (await stand.detail(without)).row.usage_source == "missing"


async def test_S42_early_headers_keep_the_line_warm(make: MakeStand) -> None:
    """x-router-early-headers: comments only before the commit, then B's answer; a failure is told in-band."""
    stand = await make(routing=SHORT)
    stand.sims["a"].set("m", Behaviour(wire=Wire.HANG))
    early = {"x-router-early-headers": "1"}
    reply = await stand.stream(headers=early)
    assert reply.first_ms < 250 < reply.ms
    head = reply.body.partition(b"data: ")[0]
    assert head.startswith(b":")
    assert all(line.startswith(b":") for line in head.split(b"\n") if line)
    assert reply.finished
    assert await stand.tried(reply) == [("a", "timeout_first"), ("b", "ok")]
    assert reply.headers["x-router-request-id"] == reply.id
    stand.sims["b"].set("m", Behaviour(statuses=(500,)))
    failed = await stand.stream(headers=early)
    assert failed.status == 200
    assert failed.in_band is not None
    assert failed.in_band["code"] == "all_candidates_failed"
    assert not failed.finished
    assert failed.chunks == []


async def test_S37_two_hundred_streams_of_a_dying_upstream(make: MakeStand) -> None:
    """A is killed under 200 streams: each client has an exact prefix and one error; nothing silent, nothing twice."""
    text = " ".join(f"t{n}" for n in range(400))
    stand = await make(providers={"a": {"max_concurrency": 300}})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(text=text, tokens_per_second=100))
    streams = [asyncio.create_task(stand.stream()) for _ in range(200)]
    await stand.until(lambda: len(stand.events("attempt.first_token")) == 200, "200 commits")
    await sim.pause_listening(drop=True)
    replies = await asyncio.gather(*streams)
    for reply in replies:
        assert reply.in_band is not None
        assert reply.in_band["code"] == "stream_incomplete"
        assert reply.text
        assert text.startswith(reply.text)
    assert stand.sims["b"].count("m") == 0
    assert stand.idle
    assert len(stand.events("request.failed")) == 200


async def test_S43_a_shutdown_under_fifty_streams(make: MakeStand) -> None:
    """What can finish in the drain does; the rest is told `shutting_down` in-band; new requests are refused."""
    stand = await make("a", providers={"a": {"max_concurrency": 100}})
    sim = stand.sims["a"]
    sim.set("m", Behaviour(text=TEXT, tokens_per_second=300))
    streams = [asyncio.create_task(stand.stream()) for _ in range(25)]
    await stand.until(lambda: len(stand.events("attempt.first_token")) == 25)
    sim.set("m", Behaviour(text=TEXT, stall_after=20))
    streams += [asyncio.create_task(stand.stream()) for _ in range(25)]
    await stand.until(lambda: len(stand.events("attempt.first_token")) == 50)
    stand.node.server.stop_accepting()
    await stand.node.service.stop(drain_s=1.0, before_close=stand.node.server.stop)
    replies = await asyncio.gather(*streams)
    finished, told = replies[:25], replies[25:]
    assert all(reply.finished and reply.text == TEXT for reply in finished)
    for reply in told:
        assert reply.in_band is not None
        assert (reply.in_band["code"], reply.text, reply.finished) == ("shutting_down", words(20), False)


@pytest.mark.parametrize("headers", [{}, {"x-router-early-headers": "1"}])
async def test_S42_S43_an_operator_reaches_every_stream(make: MakeStand, headers: dict[str, str]) -> None:
    """Cancelled by an operator, committed or not, early headers or not: the client is told, the upstream closed."""
    stand = await make("a")
    sim = stand.sims["a"]
    sim.set("m", Behaviour(text=TEXT, stall_after=20))
    running = asyncio.create_task(stand.stream(headers=headers))
    await stand.until(lambda: stand.events("attempt.first_token"))
    await stand.node.control.do(CancelRequest(next(iter(stand.node.service.chat.in_flight))))
    reply = await running
    assert reply.in_band is not None
    assert (reply.in_band["code"], reply.text) == ("cancelled", words(20))
    detail = await stand.detail(reply)
    assert (detail.row.status, detail.terminal) == ("cancelled", "truncated")
    await sim.wait_closed()

    sim.set("m", Behaviour(wire=Wire.HANG))
    running = asyncio.create_task(stand.stream(headers=headers))
    await sim.wait_received(2, model="m")
    await stand.node.control.do(CancelRequest(next(iter(stand.node.service.chat.in_flight))))
    reply = await running
    error = reply.in_band if headers else reply.error
    assert error is not None
    assert error["code"] == "cancelled"
    await sim.wait_closed(2)
    assert stand.idle
    assert (await stand.route("a")).circuit_state == "closed"


async def test_S43_a_shutdown_reaches_early_headers_streams_too(make: MakeStand) -> None:
    """A committed stream whose client took its headers early is told `shutting_down` like any other."""
    stand = await make("a")
    stand.sims["a"].set("m", Behaviour(text=TEXT, stall_after=20))
    running = asyncio.create_task(stand.stream(headers={"x-router-early-headers": "1"}))
    await stand.until(lambda: stand.events("attempt.first_token"))
    stand.node.server.stop_accepting()
    await stand.node.service.stop(drain_s=0.2, before_close=stand.node.server.stop)
    reply = await running
    assert reply.in_band is not None
    assert (reply.in_band["code"], reply.text) == ("shutting_down", words(20))
