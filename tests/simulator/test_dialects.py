"""The three dialects: shapes, delivery of what was asked for, refusals and hints, over a real socket."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from tests.simulator.wire import TOOL, Raw, ask, chat

from routerconsole.simulator import Behaviour, Script, Simulator

OTHER = {"type": "function", "function": {"name": "search_docs", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}, "required": ["n", "s"]}


def message(reply: Raw) -> dict[str, Any]:
    """The message of a whole chat completion."""
    document: dict[str, Any] = json.loads(reply.body)
    return dict(document["choices"][0]["message"])


async def test_a_whole_chat_has_the_usual_fields(sim: Simulator) -> None:
    """id, object, model, choices with finish reason, usage that adds up; the same text for the same seed and prompt."""
    first, second = [json.loads((await ask(sim, chat())).body) for _ in range(2)]
    assert first["object"] == "chat.completion"
    assert first["model"] == "m"
    assert first["choices"][0]["finish_reason"] == "stop"
    assert first["usage"]["total_tokens"] == first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    assert first["choices"] == second["choices"]


async def test_another_seed_says_something_else() -> None:
    """Text depends on the seed."""
    said = set()
    for seed in (1, 2, 1):
        async with Simulator(Script(default=Behaviour()), seed=seed) as sim:
            said.add(message(await ask(sim, chat()))["content"])
    assert len(said) == 2


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", "get_weather"),
        ({"type": "function", "function": {"name": "search_docs"}}, "search_docs"),
        ("auto", None),
        ("none", None),
    ],
)
async def test_tool_choice_is_obeyed(sim: Simulator, choice: object, called: str | None) -> None:
    """Required calls the first tool, a name that one, auto and none call nothing nobody speaks of."""
    found = message(await ask(sim, chat(tools=[TOOL, OTHER], tool_choice=choice)))
    calls = [call["function"]["name"] for call in found.get("tool_calls", [])]
    assert calls == ([called] if called else [])
    assert (found["content"] is None) is bool(called)


async def test_auto_calls_a_tool_the_user_speaks_of_and_then_answers(sim: Simulator) -> None:
    """`auto` calls a tool by topic, and after the tool's result answers in text."""
    said: list[dict[str, object]] = [{"role": "user", "content": "How is the weather?"}]
    found = message(await ask(sim, {"model": "m", "messages": said, "tools": [TOOL]}))
    assert found["tool_calls"][0]["function"]["name"] == "get_weather"
    said += [{"role": "assistant", "tool_calls": found["tool_calls"]}, {"role": "tool", "content": "sunny"}]
    assert message(await ask(sim, {"model": "m", "messages": said, "tools": [TOOL]}))["content"]


async def test_tools_can_be_ignored_misnamed_or_broken(sim: Simulator) -> None:
    """A model may ignore forced tools, call another one, or write arguments that are no JSON."""
    forced = chat(tools=[TOOL], tool_choice="required")
    sim.set("m", Behaviour(tools="ignore"))
    assert message(await ask(sim, forced))["content"]
    sim.set("m", Behaviour(tools="wrong_name"))
    assert message(await ask(sim, forced))["tool_calls"][0]["function"]["name"] == "not_get_weather"
    for broken in ("bad_arguments", "cut_arguments"):
        sim.set("m", Behaviour(tools=broken))  # type: ignore[arg-type] - one of the literals
        with pytest.raises(json.JSONDecodeError):
            json.loads(message(await ask(sim, forced))["tool_calls"][0]["function"]["arguments"])
    sim.set("m", Behaviour(tool_calls=3))
    calls = message(await ask(sim, forced))["tool_calls"]
    assert len({call["id"] for call in calls}) == 3


async def test_json_modes_are_obeyed_or_not(sim: Simulator) -> None:
    """json_object gives an object, json_schema an instance; prose, fences, truncation and a wrong shape on demand."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert isinstance(
        json.loads(message(await ask(sim, chat(response_format={"type": "json_object"})))["content"]), dict
    )
    assert set(json.loads(message(await ask(sim, chat(response_format=wanted)))["content"])) == {"n", "s"}
    said = {}
    for style in ("prose", "fenced", "truncated", "wrong_schema"):
        sim.set("m", Behaviour(json=style))  # type: ignore[arg-type] - one of the literals
        said[style] = message(await ask(sim, chat(response_format=wanted)))["content"]
    assert said["fenced"].startswith("```json\n{")
    assert json.loads(said["wrong_schema"]) == {"unexpected": True}
    for style in ("prose", "fenced", "truncated"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(said[style])


async def test_refusals_use_the_real_bodies(sim: Simulator) -> None:
    """A capability a model lacks is refused with the named server's own words, and only where it is needed."""
    sim.set("m", Behaviour(refuse={"vision": "llama_no_image", "tools": "openrouter_no_tools"}))
    picture = {"model": "m", "messages": [{"role": "user", "content": [IMAGE]}]}
    reply = await ask(sim, picture)
    assert (reply.status, b"image input is not supported - hint" in reply.body) == (500, True)
    reply = await ask(sim, chat(tools=[TOOL]))
    assert (reply.status, b"No endpoints found that support tool use" in reply.body) == (404, True)
    assert (await ask(sim, chat())).status == 200
    sim.set("m", Behaviour())
    assert (await ask(sim, picture)).status == 200


async def test_limits_of_size(sim: Simulator) -> None:
    """A prompt over the window and a body over the limit get their errors; shorter ones are served."""
    sim.set("m", Behaviour(context_window=50, context_error="llama_context"))
    assert (await ask(sim, chat())).status == 200
    long = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}
    assert b"exceed_context_size_error" in (await ask(sim, long)).body
    sim.set("m", Behaviour(max_body_bytes=200))
    assert [(await ask(sim, body)).status for body in (chat(), long)] == [200, 413]


async def test_max_tokens_truncates_with_its_finish_reason(sim: Simulator) -> None:
    """Both spellings of the limit give `length`."""
    for name in ("max_tokens", "max_completion_tokens"):
        choice: Any = (await ask(sim, chat(**{name: 3}))).json["choices"][0]  # type: ignore[index] - JSON
        assert (choice["finish_reason"], len(choice["message"]["content"].split())) == ("length", 3)


async def test_odd_but_valid_answers(sim: Simulator) -> None:
    """Another model id, further fields, an unknown finish reason, several choices, reasoning, no usage."""
    sim.set("m", Behaviour(served_as="m-0613", extra={"x_new": 1}, finish_reason="eos", reasoning=2, usage="never"))
    document: Any = (await ask(sim, chat(n=3))).json
    assert (document["model"], document["x_new"], len(document["choices"])) == ("m-0613", 1, 3)
    assert document["choices"][0]["finish_reason"] == "eos"
    assert document["choices"][0]["message"]["reasoning_content"]
    assert "usage" not in document


async def test_unknown_models_are_refused_in_each_dialect(sim: Simulator) -> None:
    """404 model_not_found, `try pulling it first`, not_found_error; a default behaviour takes any model."""
    openai = await ask(sim, chat("nope"))
    assert (openai.status, openai.json["error"]["code"]) == (404, "model_not_found")  # type: ignore[index] - JSON
    ollama = await ask(sim, chat("nope"), "/api/chat")
    assert ollama.json == {"error": 'model "nope" not found, try pulling it first'}
    anthropic = await ask(sim, chat("nope"), "/v1/messages")
    assert anthropic.json["error"]["type"] == "not_found_error"  # type: ignore[index] - JSON
    async with Simulator(Script(default=Behaviour())) as open_to_all:
        assert (await ask(open_to_all, chat("anything"))).status == 200


async def test_bare_statuses_have_the_shape_of_their_dialect(sim: Simulator) -> None:
    """A status without a body name is an error object as that dialect writes it."""
    sim.set("m", Behaviour(statuses=(503,)))
    shapes = {
        path: (await ask(sim, chat(), path)).json for path in ("/v1/chat/completions", "/api/chat", "/v1/messages")
    }
    assert isinstance(shapes["/v1/chat/completions"]["error"], dict)
    assert isinstance(shapes["/api/chat"]["error"], str)
    assert shapes["/v1/messages"]["type"] == "error"


async def test_embeddings_as_numbers_and_as_base64(sim: Simulator) -> None:
    """Both encodings carry the same vector; single texts, lists and tokens are taken."""
    numbers: Any = (await ask(sim, {"model": "m", "input": ["a", "b"]}, "/v1/embeddings")).json
    packed: Any = (await ask(sim, {"model": "m", "input": "a", "encoding_format": "base64"}, "/v1/embeddings")).json
    assert [row["index"] for row in numbers["data"]] == [0, 1]
    unpacked = struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(numbers["data"][0]["embedding"])
    tokens: Any = (await ask(sim, {"model": "m", "input": [1, 2, 3]}, "/v1/embeddings")).json
    assert len(tokens["data"]) == 1
    ollama: Any = (await ask(sim, {"model": "m", "input": ["a", "b"]}, "/api/embed")).json
    assert ollama["embeddings"][0] == numbers["data"][0]["embedding"]


async def test_text_completions_whole_and_streamed(sim: Simulator) -> None:
    """`/v1/completions` says the same in both forms."""
    sim.set("m", Behaviour(text="plain words here"))
    whole: Any = (await ask(sim, {"model": "m", "prompt": "x"}, "/v1/completions")).json
    assert whole["choices"][0]["text"] == "plain words here"
    events = (await ask(sim, {"model": "m", "prompt": "x", "stream": True}, "/v1/completions")).events()
    assert "".join(json.loads(e)["choices"][0]["text"] for e in events[:-1]) == "plain words here"
    assert events[-1] == "[DONE]"


async def test_ollama_streams_unless_told_not_to(sim: Simulator) -> None:
    """Lines with done false, then one with done true and the counts; tools come with arguments as objects."""
    sim.set("m", Behaviour(text="one two three", reasoning=1))
    lines = [json.loads(line) for line in (await ask(sim, chat(), "/api/chat")).body.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "one two three"
    assert lines[0]["message"]["thinking"]
    assert [line["done"] for line in lines] == [False] * 4 + [True]
    assert lines[-1]["eval_count"] == 4
    whole: Any = (await ask(sim, chat(stream=False), "/api/chat")).json
    assert (whole["done"], whole["message"]["content"]) == (True, "one two three")
    sim.set("m", Behaviour(tools="always", tool_calls=2))
    lines = [json.loads(line) for line in (await ask(sim, chat(tools=[TOOL]), "/api/chat")).body.splitlines()]
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    assert [call["function"]["index"] for call in calls] == [0, 0]
    assert isinstance(calls[0]["function"]["arguments"], dict)
    generated: Any = (await ask(sim, {"model": "m", "prompt": "x", "stream": False}, "/api/generate")).json
    assert generated["response"]


async def test_ollama_formats_and_images(sim: Simulator) -> None:
    """`format` is json or a schema; images arrive beside the text and can be refused."""
    schema: Any = (await ask(sim, chat(stream=False, format=SCHEMA), "/api/chat")).json
    assert set(json.loads(schema["message"]["content"])) == {"n", "s"}
    sim.set("m", Behaviour(refuse={"vision": "llama_no_image"}))
    body = {"model": "m", "stream": False, "messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]}
    assert (await ask(sim, body, "/api/chat")).status == 500


async def test_anthropic_messages_whole_and_streamed(sim: Simulator) -> None:
    """Blocks for thinking, text and tool use; the stream's events come in order and add up to the same."""
    tool = {"name": "get_weather", "input_schema": TOOL["function"]["parameters"]}  # type: ignore[index] - a literal
    body = {**chat(), "max_tokens": 100, "tools": [tool], "tool_choice": {"type": "tool", "name": "get_weather"}}
    sim.set("m", Behaviour(reasoning=2))
    whole: Any = (await ask(sim, body, "/v1/messages")).json
    assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]
    assert whole["stop_reason"] == "tool_use"
    reply = await ask(sim, {**body, "stream": True}, "/v1/messages")
    events = [json.loads(event) for event in reply.events()]
    names = [line.removeprefix("event: ") for line in reply.body.decode().split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert (names[0], names[-2], names[-1]) == ("message_start", "message_delta", "message_stop")
    parts = [e["delta"]["partial_json"] for e in events if e.get("delta", {}).get("type") == "input_json_delta"]
    assert json.loads("".join(parts)) == whole["content"][1]["input"]
    sim.set("m", Behaviour(text="hello there"))
    text: Any = (await ask(sim, {**chat(), "max_tokens": 1}, "/v1/messages")).json
    assert (text["content"], text["stop_reason"]) == ([{"type": "text", "text": "hello"}], "max_tokens")


async def test_a_required_key(sim: Simulator) -> None:
    """Without the key 401; with it, as a bearer or as x-api-key, an answer."""
    sim.api_key = "right"
    path = "/v1/chat/completions"
    assert (await ask(sim, chat())).status == 401
    assert (await ask(sim, chat(), path, "authorization: Bearer wrong")).status == 401
    assert (await ask(sim, chat(), path, "authorization: Bearer right")).status == 200
    assert (await ask(sim, chat(), path, "x-api-key: right")).status == 200
    assert (await ask(sim, None, "/v1/models", method="GET")).status == 401


async def test_a_body_without_a_model_is_a_400(sim: Simulator) -> None:
    """Lists, objects and models of the wrong type are refused, and the next request is served."""
    for body in (["not", "an", "object"], {}, {"model": 7}, None):
        assert (await ask(sim, body)).status == 400
    assert (await ask(sim, chat())).status == 200
