"""Every dialect end to end against the simulator: encode, send, parse, decode, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from routerconsole.domain.registry import Account, Provider, ProviderKind
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.providers.client import Answer, Sender, target
from routerconsole.providers.dialect import Undecodable
from routerconsole.providers.frames import FrameError
from routerconsole.providers.kinds import completion_probe, dialect_of, frame_parser
from routerconsole.providers.transport import Timings, Transport, TransportError
from routerconsole.routing.faults import TransportFault
from routerconsole.simulator import Answering, Behaviour, Cut, Simulator, Wire

from .asks import TOOL, ask, joined, model

TEXT = "Grüße \U0001f600 \u2028 fin"
# the leak check takes what uvloop opens for itself for a leak; test_transport.py runs on both loops
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])
KINDS = [ProviderKind.OPENAI_COMPATIBLE, ProviderKind.OLLAMA, ProviderKind.ANTHROPIC]


@pytest_asyncio.fixture
async def sim(leakcheck: None) -> AsyncIterator[Simulator]:
    """A simulator with one model."""
    async with Simulator(seed=3) as simulator:
        simulator.set("m:1", Behaviour(text=TEXT))
        yield simulator


@pytest_asyncio.fixture
async def sender(leakcheck: None, transport: Transport) -> Sender:
    """A sender whose leaks would show."""
    return Sender(transport)


async def opened(sender: Sender, sim: Simulator, kind: ProviderKind, request: ChatRequest) -> Answer:
    dialect = dialect_of(kind)
    where = target(Provider("p", kind, sim.origin), Account(), dialect)
    wire = dialect.encode(request, model())
    return await sender.open(where, wire, connect_timeout=5.0, timings=Timings(), stream=request.stream)


async def whole(sender: Sender, sim: Simulator, kind: ProviderKind, **fields: Any) -> Any:
    request = ask(**fields)
    answer = await opened(sender, sim, kind, request)
    body = await answer.read()
    assert answer.status == 200, body
    return dialect_of(kind).decode(request, body).data


async def stream(sender: Sender, sim: Simulator, kind: ProviderKind, **fields: Any) -> dict[str, Any]:
    request = ask(stream=True, **fields)
    answer = await opened(sender, sim, kind, request)
    dialect = dialect_of(kind)
    parser, decoder = frame_parser(dialect.framing), dialect.stream_decoder(request)
    chunks: list[bytes] = []
    async for piece in answer.chunks():
        for event in parser.feed(piece):
            chunks += decoder.decode_delta(event.data, event.event)
    for event in parser.finish():
        chunks += decoder.decode_delta(event.data, event.event)
    chunks += decoder.finish()
    return joined(["[DONE]" if chunk == b"[DONE]" else orjson.loads(chunk) for chunk in chunks])


@pytest.mark.parametrize("kind", KINDS)
async def test_whole_and_stream_say_the_same(sim: Simulator, sender: Sender, kind: ProviderKind) -> None:
    """Text, finish reason and usage agree, whichever way they came."""
    data = await whole(sender, sim, kind)
    found = await stream(sender, sim, kind)
    (choice,) = data["choices"]
    assert choice["message"]["content"] == found["content"] == TEXT
    assert choice["finish_reason"] == found["finish"] == "stop"
    assert found["done"]
    assert found["usage"]["total_tokens"] == data["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("kind", "index"),
    # indices of the OpenAI shape are the stream gate's to repair, not the dialect's
    [(kind, index) for kind in KINDS for index in ("dense", "zero") if (kind, index) != (KINDS[0], "zero")],
)
async def test_S27_S28_parallel_calls_come_out_apart(
    sim: Simulator, sender: Sender, kind: ProviderKind, index: Any
) -> None:
    """Three calls, whole and streamed: names, arguments that parse, ids of their own."""
    sim.set("m:1", Behaviour(tool_calls=3, tool_index=index, tools="always"))
    fields = {"tools": [TOOL], "tool_choice": "required"}
    calls = (await whole(sender, sim, kind, **fields))["choices"][0]["message"]["tool_calls"]
    found = await stream(sender, sim, kind, **fields)
    assert sorted(found["calls"]) == [0, 1, 2]
    assert found["finish"] == "tool_calls"
    for group in ([call["function"] for call in calls], list(found["calls"].values())):
        assert [call["name"] for call in group] == ["weather"] * 3
        assert all(isinstance(orjson.loads(call["arguments"]), dict) for call in group)
    assert len({call["id"] for call in calls}) == len({call["id"] for call in found["calls"].values()}) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_reasoning_comes_through(sim: Simulator, sender: Sender, kind: ProviderKind) -> None:
    """Thinking is kept apart from the text."""
    sim.set("m:1", Behaviour(text=TEXT, reasoning=3))
    found = await stream(sender, sim, kind, reasoning_effort="low")
    assert found["content"] == TEXT
    assert found["reasoning"]


@pytest.mark.parametrize("kind", KINDS)
async def test_json_schema_answers_are_json(sim: Simulator, sender: Sender, kind: ProviderKind) -> None:
    """A schema is carried in each dialect's own way and the content is the object."""
    sim.set("m:1", Behaviour())
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    data = await whole(sender, sim, kind, response_format=form)
    assert isinstance(orjson.loads(data["choices"][0]["message"]["content"])["a"], int)
    assert isinstance(orjson.loads((await stream(sender, sim, kind, response_format=form))["content"])["a"], int)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_have_one_shape(sim: Simulator, sender: Sender, encoding: str) -> None:
    """Ollama's vectors arrive as OpenAI's do."""
    shapes = []
    for kind in (ProviderKind.OPENAI_COMPATIBLE, ProviderKind.OLLAMA):
        data = await whole(sender, sim, kind, endpoint=Endpoint.EMBEDDINGS, input=["a", "b"], encoding_format=encoding)
        shapes.append([(entry["object"], entry["index"], type(entry["embedding"])) for entry in data["data"]])
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(text=TEXT, newline="crlf"),
        Behaviour(text=TEXT, newline="cr"),
        Behaviour(text=TEXT, space=False, bom=True),
        Behaviour(text=TEXT, multi_line=True),
        Behaviour(text=TEXT, preamble=("comment", "ping", "empty")),
        Behaviour(text=TEXT, slice_bytes=1, slice_delay=0.0),
        Behaviour(text=TEXT, slice_bytes=3, slice_delay=0.0, newline="crlf"),
    ],
    ids=["crlf", "cr", "bom", "multi_line", "preamble", "by byte", "by three"],
)
async def test_S01_S02_S09_framing_makes_no_difference(sim: Simulator, sender: Sender, behaviour: Behaviour) -> None:
    """However the stream is written and sliced, the text is the same."""
    sim.set("m:1", behaviour)
    found = await stream(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    assert (found["content"], found["done"]) == (TEXT, True)


@pytest.mark.parametrize("kind", KINDS)
async def test_S16_a_last_event_without_blank_line_is_taken(sim: Simulator, sender: Sender, kind: ProviderKind) -> None:
    """The end of the stream ends the last event too."""
    sim.set("m:1", Behaviour(text=TEXT, last_blank=False))
    found = await stream(sender, sim, kind)
    assert (found["content"], found["done"]) == (TEXT, True)


@pytest.mark.parametrize("how", ["json", "utf8", "long", "endless"])
async def test_S17_S18_a_garbled_event_is_an_error(sim: Simulator, sender: Sender, how: Any) -> None:
    """Broken JSON, broken UTF-8 and lines over the limit never pass as text."""
    sim.set("m:1", Behaviour(tokens=60, garble=30, garble_as=how))
    with pytest.raises((FrameError, Undecodable, orjson.JSONDecodeError)):
        await stream(sender, sim, ProviderKind.OPENAI_COMPATIBLE)


@pytest.mark.parametrize("cut", [Cut.FIN, Cut.RESET, Cut.MID_CHUNK])
async def test_S22_a_torn_stream_is_a_transport_fault(sim: Simulator, sender: Sender, cut: Cut) -> None:
    """A stream that breaks below HTTP raises; what came before is not lost to the caller."""
    sim.set("m:1", Behaviour(tokens=60, cut_after=20, cut=cut, tokens_per_second=2000))
    answer = await opened(sender, sim, ProviderKind.OPENAI_COMPATIBLE, ask(stream=True))
    received = b""
    with pytest.raises(TransportError) as caught:
        received = b"".join([received async for _ in answer.chunks()])
    assert caught.value.kind in (TransportFault.EOF, TransportFault.RESET, TransportFault.BAD_RESPONSE)
    assert caught.value.bytes_received


async def test_S20_a_clean_cut_has_no_finish(sim: Simulator, sender: Sender) -> None:
    """A stream that ends cleanly too early is recognisable by what is missing."""
    sim.set("m:1", Behaviour(tokens=60, cut_after=40, cut=Cut.CLEAN))
    found = await stream(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    assert (found["finish"], found["done"]) == (None, False)
    assert found["content"]


async def test_a_stream_left_alone_is_closed_at_once(sim: Simulator, sender: Sender) -> None:
    """The simulator sees its peer go as soon as the answer is aborted."""
    sim.set("m:1", Behaviour(tokens=10_000, tokens_per_second=50))
    answer = await opened(sender, sim, ProviderKind.OPENAI_COMPATIBLE, ask(stream=True))
    await anext(aiter(answer.chunks()))
    answer.abort()
    left = asyncio.get_running_loop().time()
    await sim.wait_closed()
    (close,) = sim.closes
    assert close.by == "peer"
    assert close.at - left < 4  # 100 ms, and what a busy machine adds; the stream would go on for 200 s


async def test_C12_a_storm_of_cancelled_exchanges_leaves_nothing_behind(sim: Simulator, sender: Sender) -> None:
    """Cancels while connecting, waiting and streaming: every connection ends, and the next request works."""
    sim.set("slow", Behaviour(latency=30.0))
    sim.set("long", Behaviour(tokens=30_000, tokens_per_second=1000))

    async def start_and_leave(number: int) -> None:
        dialect = dialect_of(ProviderKind.OPENAI_COMPATIBLE)
        where = target(Provider("p", ProviderKind.OPENAI_COMPATIBLE, sim.origin), Account(), dialect)
        wire = dialect.encode(ask(stream=True), model("slow" if number % 2 else "long"))
        async with asyncio.timeout(0.002 * (number % 50)):
            answer = await sender.open(where, wire, connect_timeout=5.0, timings=Timings(), stream=True)
            async for _ in answer.chunks():
                continue

    results = await asyncio.gather(*(start_and_leave(number) for number in range(300)), return_exceptions=True)
    assert {type(result) for result in results} == {TimeoutError}
    data = await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    assert data["choices"][0]["message"]["content"] == TEXT
    await sim.wait_connections(1)  # the last one's, kept for the next request


@pytest.mark.parametrize(
    ("wire", "kinds"),
    [
        (Wire.RESET, {TransportFault.RESET}),
        (Wire.CLOSE, {TransportFault.EOF}),
        (Wire.NOT_HTTP, {TransportFault.BAD_RESPONSE}),
        (Wire.BAD_STATUS, {TransportFault.BAD_RESPONSE}),
        (Wire.MID_HEADERS, {TransportFault.EOF}),
        (Wire.LONG_LENGTH, {TransportFault.EOF}),
        (Wire.CONFLICTING_LENGTH, {TransportFault.BAD_RESPONSE}),
        (Wire.TRUNCATED_CHUNKS, {TransportFault.EOF}),
        (Wire.BAD_CHUNK, {TransportFault.BAD_RESPONSE, TransportFault.EOF}),
        (Wire.HUGE_HEADER, {TransportFault.BAD_RESPONSE}),
        (Wire.MANY_HEADERS, {TransportFault.BAD_RESPONSE}),
    ],
)
async def test_U40_broken_replies_have_their_word(
    sim: Simulator, sender: Sender, wire: Wire, kinds: set[TransportFault]
) -> None:
    """Each way to break HTTP ends in one fault, never in a hang or a foreign exception."""
    sim.set("m:1", Behaviour(wire=wire))
    with pytest.raises(TransportError) as caught:
        await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    assert caught.value.kind in kinds


@pytest.mark.parametrize("wire", [Wire.LONG_HEADER, Wire.COOKIES, Wire.EARLY_HINTS, Wire.CONTINUE, Wire.EXTRA_BYTES])
async def test_U39_X15_odd_but_valid_replies_are_read(sim: Simulator, sender: Sender, wire: Wire) -> None:
    """Interim answers, long headers and cookies do not keep the answer from being read, nor the next one."""
    sim.set("m:1", Behaviour(text=TEXT, wire=wire))
    for _ in range(2):
        assert (await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE))["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize("stale", [Wire.STALE, Wire.STALE_RESET])
async def test_U07_a_stale_connection_is_told_apart(sim: Simulator, sender: Sender, stale: Wire) -> None:
    """The first request of a connection is served; one on the idle connection fails as reused and unanswered."""
    sim.set("m:1", Behaviour(text=TEXT, wire=stale))
    await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    with pytest.raises(TransportError) as caught:
        await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE)
    assert (caught.value.reused, caught.value.bytes_received) == (True, False)
    assert caught.value.kind in (TransportFault.EOF, TransportFault.RESET)


@pytest.mark.parametrize(
    "answering",
    [
        Answering.EMPTY,
        Answering.HTML,
        Answering.PROSE,
        Answering.TRUNCATED,
        Answering.BAD_UTF8,
        Answering.NAN,
        Answering.BIG_NUMBER,
        Answering.DEEP,
    ],
)
async def test_U31_U32_U43_bodies_that_are_not_json_are_undecodable(
    sim: Simulator, sender: Sender, answering: Answering
) -> None:
    """A 200 that is not JSON raises, and the loop is not held up by it."""
    sim.set("m:1", Behaviour(answer=answering))
    with pytest.raises(Undecodable):
        await whole(sender, sim, ProviderKind.OPENAI_COMPATIBLE)


@pytest.mark.parametrize("kind", KINDS)
async def test_listings_and_probes(sim: Simulator, sender: Sender, kind: ProviderKind) -> None:
    """Each dialect finds the model in the listing, and a probe of one token succeeds."""
    dialect = dialect_of(kind)
    where = target(Provider("p", kind, sim.origin), Account(), dialect)
    listing = await sender.open(where, dialect.list_request(), connect_timeout=5.0, timings=Timings())
    body = await listing.read()
    assert listing.status == 200, body
    assert "m:1" in dialect.decode_listing(body).models
    probe = await sender.open(where, completion_probe(dialect, model()), connect_timeout=5.0, timings=Timings())
    assert dialect.decode(ask(), await probe.read()).data["choices"]
