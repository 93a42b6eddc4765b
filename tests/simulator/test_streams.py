"""Everything that can go wrong inside a stream is seen on a raw socket, at the position asked for."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.simulator.wire import CHAT, TOOL, Raw, ask, chat, drain, request

from routerconsole.simulator import Behaviour, Cut, Simulator

TEN = "one two three four five six seven eight nine ten"


async def stream(sim: Simulator, behaviour: Behaviour, **more: object) -> Raw:
    """The stream of a model with this behaviour."""
    sim.set("m", behaviour)
    return await ask(sim, chat(stream=True, **more))


async def test_a_healthy_stream_has_role_content_finish_and_done(sim: Simulator) -> None:
    """The frames come in order, and the last chunk ends the body."""
    reply = await stream(sim, Behaviour(text=TEN))
    first, *_, finish, done = reply.events()
    assert json.loads(first)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert json.loads(finish)["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"
    assert "".join(reply.said()) == TEN
    assert reply.header("content-type") == ["text/event-stream; charset=utf-8"]
    assert reply.complete


@pytest.mark.parametrize("cut", list(Cut))
@pytest.mark.parametrize(("after", "frames"), [(-1, 0), (0, 1), (4, 5)])
async def test_a_cut_stream_has_exactly_so_many_frames(sim: Simulator, cut: Cut, after: int, frames: int) -> None:
    """Before anything, after the role frame, or after four tokens: then the end the name says, and no [DONE]."""
    reply = await stream(sim, Behaviour(text=TEN, cut_after=after, cut=cut))
    whole_frames = [event for event in reply.events() if event.endswith("}")]
    assert len(whole_frames) == frames
    assert len(reply.said()) == max(after, 0)
    assert "[DONE]" not in reply.events()
    assert reply.end == ("reset" if cut is Cut.RESET else "fin")
    assert reply.complete is (cut is Cut.CLEAN)


@pytest.mark.parametrize(("after", "frames"), [(-1, 0), (0, 1), (4, 5)])
async def test_a_stall_goes_silent_until_the_peer_leaves(sim: Simulator, after: int, frames: int) -> None:
    """So many frames come; then nothing, and the peer's leaving is booked."""
    sim.set("m", Behaviour(text=TEN, stall_after=after))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat(stream=True)))
    data = await reader.readuntil(b"\r\n\r\n")
    for _ in range(frames):
        data += await reader.readuntil(b"\n\n\r\n")
    assert len(Raw(data, "open").events()) == frames
    writer.close()
    await sim.wait_closed(1)
    assert (sim.closes[0].by, sim.closes[0].after_bytes) == ("peer", len(data))


async def test_a_short_stall_goes_on(sim: Simulator) -> None:
    """A stall with a length is only a pause."""
    reply = await stream(sim, Behaviour(text=TEN, stall_after=3, stall_s=0.02))
    assert "".join(reply.said()) == TEN


@pytest.mark.parametrize("after", [-1, 0, 4])
async def test_an_error_event_comes_in_band(sim: Simulator, after: int) -> None:
    """The named error body is one event, after so many tokens, and ends the stream."""
    reply = await stream(sim, Behaviour(text=TEN, error_after=after, error="anthropic_overloaded"))
    assert json.loads(reply.events()[-1])["error"]["type"] == "overloaded_error"
    assert len(reply.said()) == max(after, 0)
    assert (reply.status, reply.complete) == (200, True)


async def test_one_event_is_garbled_and_the_others_are_not(sim: Simulator) -> None:
    """Event number three is broken JSON, or invalid UTF-8, or has a NUL; its neighbours are intact."""
    for how in ("json", "utf8", "nul"):
        reply = await stream(sim, Behaviour(text=TEN, garble=3, garble_as=how))  # type: ignore[arg-type] - one of the literals
        broken = []
        for number, event in enumerate(reply.body.split(b"\n\n")[:-2]):
            try:
                json.loads(event.removeprefix(b"data: ").decode())
            except ValueError:
                broken.append(number)
        assert broken == [3], how


async def test_a_long_line_and_an_endless_one(sim: Simulator) -> None:
    """One event of 900 KB is valid; an endless line is never ended."""
    reply = await stream(sim, Behaviour(text=TEN, garble=3, garble_as="long", garble_bytes=900_000))
    assert max(map(len, reply.events())) > 900_000
    assert "".join(reply.said()) == TEN
    sim.set("m", Behaviour(text=TEN, garble=3, garble_as="endless"))
    reader, writer = await asyncio.open_connection(sim.host, sim.port, limit=2**24)
    writer.write(request(CHAT, chat(stream=True)))
    data = await reader.readexactly(2_000_000)
    assert len(Raw(data, "open").events()) == 4
    writer.transport.abort()
    await sim.wait_closed(1)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(text=TEN, newline="crlf"),
        Behaviour(text=TEN, newline="cr"),
        Behaviour(text=TEN, space=False),
        Behaviour(text=TEN, bom=True),
        Behaviour(text=TEN, last_blank=False),
        Behaviour(text=TEN, multi_line=True, slice_bytes=700),
        Behaviour(text=TEN, slice_bytes=97),
        Behaviour(text=TEN, preamble=("comment", "ping", "empty", "usage")),
        Behaviour(text=TEN, ttft=0.03, heartbeat_s=0.01),
    ],
)
async def test_framings_differ_in_bytes_and_not_in_text(sim: Simulator, behaviour: Behaviour) -> None:
    """CRLF, CR, no space, BOM, a missing last blank line, many data lines, slices and comments say the same."""
    usual = await stream(sim, Behaviour(text=TEN))
    odd = await stream(sim, behaviour)
    assert odd.body != usual.body or behaviour.slice_bytes == 97
    text = odd.body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    said = ""
    for block in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        data = "\n".join(lines)
        if data and data != "[DONE]":
            said += "".join(choice["delta"].get("content", "") for choice in json.loads(data).get("choices", []))
    assert said == TEN
    assert odd.complete


async def test_heartbeats_come_while_it_waits(sim: Simulator) -> None:
    """Comments come before the first content, and for ever in a stall."""
    reply = await stream(sim, Behaviour(text=TEN, ttft=0.05, heartbeat_s=0.01))
    assert reply.body.count(b": keep-alive\n\n") >= 3
    sim.set("m", Behaviour(stall_after=0, heartbeat_s=0.005))
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat(stream=True)))
    for _ in range(5):
        await reader.readuntil(b": keep-alive\n\n")
    writer.close()
    await sim.wait_closed(1)


async def test_an_end_without_done_or_finish(sim: Simulator) -> None:
    """[DONE] and the finish reason can each be left out."""
    no_done = await stream(sim, Behaviour(text=TEN, done=False))
    assert "[DONE]" not in no_done.events()
    assert json.loads(no_done.events()[-1])["choices"][0]["finish_reason"] == "stop"
    neither = await stream(sim, Behaviour(text=TEN, done=False, finish=False))
    assert all(json.loads(event)["choices"][0]["finish_reason"] is None for event in neither.events())
    assert neither.complete


async def test_usage_comes_when_asked_always_or_never(sim: Simulator) -> None:
    """The usage chunk is last before [DONE], once, as the behaviour says."""
    asked = {"stream_options": {"include_usage": True}}
    seen = {}
    for usage in ("asked", "always", "never"):
        for name, more in (("with", asked), ("without", {})):
            events = (await stream(sim, Behaviour(usage=usage), **more)).events()  # type: ignore[arg-type] - one of the literals
            places = [i for i, event in enumerate(events) if '"usage":' in event]
            assert places in ([], [len(events) - 2])
            seen[usage, name] = bool(places)
    assert [key for key, found in seen.items() if found] == [
        ("asked", "with"),
        ("always", "with"),
        ("always", "without"),
    ]


async def test_the_framing_can_contradict_the_request(sim: Simulator) -> None:
    """A JSON body to a stream request, and SSE to a request that asked for none."""
    whole = await stream(sim, Behaviour(text=TEN, framing="whole"))
    assert whole.header("content-type") == ["application/json"]
    assert whole.json["object"] == "chat.completion"
    sim.set("m", Behaviour(text=TEN, framing="stream"))
    events = await ask(sim, chat())
    assert events.header("content-type")[0].startswith("text/event-stream")
    assert "".join(events.said()) == TEN


async def test_reasoning_comes_before_the_text(sim: Simulator) -> None:
    """Reasoning deltas first, then content."""
    deltas = (await stream(sim, Behaviour(text=TEN, reasoning=3))).deltas()
    assert ["reasoning_content" in delta for delta in deltas] == [True] * 3 + [False] * 10


async def test_two_choices_interleave_and_one_may_end_early(sim: Simulator) -> None:
    """With n=2 both choices are whole, or the second ends half-way with its own finish."""
    for uneven, lengths in ((False, [10, 10]), (True, [10, 5])):
        reply = await stream(sim, Behaviour(text=TEN, uneven=uneven), n=2)
        chunks = [json.loads(event)["choices"][0] for event in reply.events() if event != "[DONE]"]
        said = [[c for c in chunks if c["index"] == i and c["delta"].get("content")] for i in (0, 1)]
        assert [len(one) for one in said] == lengths
        assert sorted(c["index"] for c in chunks if c["finish_reason"]) == [0, 1]


def _calls(reply: Raw) -> list[dict[str, object]]:
    """Every tool-call delta."""
    return [call for delta in reply.deltas() for call in delta.get("tool_calls", [])]  # type: ignore[attr-defined] - JSON


@pytest.mark.parametrize(
    ("style", "indices"),
    [("dense", [0, 1, 2]), ("zero", [0]), ("missing", [None]), ("from_one", [1, 2, 3]), ("jumps", [0, 3, 6])],
)
async def test_parallel_tool_calls_and_their_indices(sim: Simulator, style: str, indices: list[int | None]) -> None:
    """Three calls with dense, zero, missing, one-based or jumping indices; arguments add up to JSON."""
    behaviour = Behaviour(tool_calls=3, tool_index=style)  # type: ignore[arg-type] - one of the literals
    reply = await stream(sim, behaviour, tools=[TOOL], tool_choice="required")
    calls = _calls(reply)
    assert sorted({call.get("index") for call in calls}, key=str) == indices
    ids = list(dict.fromkeys(str(call["id"]) for call in calls if "id" in call))
    assert len(ids) == 3
    if style == "dense":
        for i in range(3):
            parts = [call["function"]["arguments"] for call in calls if call["index"] == i]  # type: ignore[index] - JSON
            assert set(json.loads("".join(parts))) == {"city"}
    assert json.loads(reply.events()[-2])["choices"][0]["finish_reason"] == "tool_calls"


async def test_tool_ids_and_order_can_be_odd(sim: Simulator) -> None:
    """Ids empty, repeated or missing, a name behind its arguments, and arguments cut in the middle."""
    tools = {"tools": [TOOL], "tool_choice": "required"}
    empty = _calls(await stream(sim, Behaviour(tool_ids="empty"), **tools))
    assert empty[0]["id"] == ""
    repeated = _calls(await stream(sim, Behaviour(tool_ids="repeat", tool_calls=2), **tools))
    assert len({call["id"] for call in repeated if "id" in call}) == 1
    missing = _calls(await stream(sim, Behaviour(tool_ids="missing"), **tools))
    assert all("id" not in call for call in missing)
    late = _calls(await stream(sim, Behaviour(arguments_first=True), **tools))
    assert "name" not in late[0]["function"]  # type: ignore[operator] - JSON
    assert late[-1]["function"]["name"] == "get_weather"  # type: ignore[index] - JSON
    cut = _calls(await stream(sim, Behaviour(tools="cut_arguments"), **tools))
    with pytest.raises(json.JSONDecodeError):
        json.loads("".join(str(call["function"]["arguments"]) for call in cut))  # type: ignore[index] - JSON


async def test_many_events_leave_fast(sim: Simulator) -> None:
    """20,000 events of one token arrive whole."""
    reply = await stream(sim, Behaviour(tokens=20_000))
    assert len(reply.said()) == 20_000


async def test_200_streams_at_once_are_each_whole_and_a_stop_cuts_them(sim: Simulator) -> None:
    """Streams do not disturb each other; stopping the simulator ends all of them."""
    sim.set("m", Behaviour(text=TEN, tokens_per_second=200))
    replies = await asyncio.gather(*(ask(sim, chat(stream=True)) for _ in range(200)))
    assert {"".join(reply.said()) for reply in replies} == {TEN}
    sim.set("m", Behaviour(text=TEN, stall_after=4))
    tasks = [asyncio.ensure_future(ask(sim, chat(stream=True))) for _ in range(50)]
    await sim.wait_received(250)
    await sim.stop()
    assert all(not reply.complete for reply in await asyncio.gather(*tasks))


async def test_ndjson_streams_are_cut_and_garbled_alike(sim: Simulator) -> None:
    """The faults hold for Ollama's lines too."""
    sim.set("m", Behaviour(text=TEN, cut_after=4))
    reply = await ask(sim, chat(), "/api/chat")
    assert reply.header("content-type") == ["application/x-ndjson"]
    assert len(reply.body.splitlines()) == 4
    assert not reply.complete
    sim.set("m", Behaviour(text=TEN, error_after=2, error="ollama_no_tools"))
    assert "error" in json.loads((await ask(sim, chat(), "/api/chat")).body.splitlines()[-1])


async def test_anthropic_streams_end_in_named_error_events(sim: Simulator) -> None:
    """An in-band error is an `error` event in Anthropic's stream."""
    sim.set("m", Behaviour(text=TEN, error_after=3, error="anthropic_overloaded"))
    body = (await ask(sim, {**chat(stream=True), "max_tokens": 50}, "/v1/messages")).body
    assert body.count(b"text_delta") == 3
    assert body.rpartition(b"event: ")[2].startswith(b"error\ndata: ")


async def test_pace_and_first_token_take_their_time(sim: Simulator) -> None:
    """Latency, time to first token and tokens per second add up to at least what was said."""
    sim.set("m", Behaviour(text=TEN, latency=0.03, ttft=0.03, tokens_per_second=200))
    start = asyncio.get_running_loop().time()
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    writer.write(request(CHAT, chat(stream=True)))
    await reader.readuntil(b"\r\n\r\n")
    assert asyncio.get_running_loop().time() - start >= 0.03
    reply = await drain(reader)
    assert asyncio.get_running_loop().time() - start >= 0.03 + 0.03 + 9 / 200
    assert b"[DONE]" in reply.data
    writer.close()
