"""The Ollama dialect, on bodies as Ollama sends them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from routerconsole.domain.capability import Word
from routerconsole.domain.registry import Provider, ProviderKind
from routerconsole.domain.request import Endpoint
from routerconsole.providers.dialect import Undecodable, Unsupported
from routerconsole.providers.ollama import OllamaDialect

from .asks import PIXEL, TOOL, USER, ask, joined, model, sent, streamed

DIALECT = OllamaDialect()
STATS = {"total_duration": 5, "prompt_eval_count": 26, "eval_count": 7}


def line(message: dict[str, Any], *, done: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "m:1", "created_at": "2026-01-02T03:04:05.123456789Z", "message": message, "done": done, **more}


def text(content: str) -> dict[str, Any]:
    return line({"role": "assistant", "content": content})


LAST = line({"role": "assistant", "content": ""}, done=True, done_reason="stop", **STATS)


def test_sampling_fields_become_options() -> None:
    """Every sampling field is forwarded, zero included."""
    body = sent(
        DIALECT,
        ask(
            max_tokens=0,
            temperature=0,
            top_p=0.5,
            seed=7,
            stop="END",
            presence_penalty=0.1,
            frequency_penalty=0.2,
            top_k=3,
        ),
    )
    assert body["options"] == {
        "num_predict": 0,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_k": 3,
    }
    assert body["model"] == "m:1"
    assert body["stream"] is False
    assert sent(DIALECT, ask(max_completion_tokens=9, temperature=None))["options"] == {"num_predict": 9}
    assert sent(DIALECT, ask(stream=True))["stream"] is True


def test_a_conversation_with_tools_is_mapped() -> None:
    """Arguments become objects, results name their function, developer is system, parts become text."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    history = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    body = sent(DIALECT, ask(messages=history, tools=[TOOL]))
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a\nb"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
        },
        {"role": "tool", "content": "rain", "tool_name": "weather"},
    ]
    assert body["tools"] == [TOOL]


def test_tool_choice_is_kept_as_far_as_ollama_can() -> None:
    """`none` offers no tool, a named one stands alone."""
    other = {"type": "function", "function": {"name": "other"}}
    assert "tools" not in sent(DIALECT, ask(tools=[TOOL], tool_choice="none"))
    named = {"type": "function", "function": {"name": "other"}}
    assert sent(DIALECT, ask(tools=[TOOL, other], tool_choice=named))["tools"] == [other]


def test_images_travel_as_base64() -> None:
    """A data URI becomes Ollama's image list."""
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    (message,) = sent(DIALECT, ask(messages=[{"role": "user", "content": parts}]))["messages"]
    assert message == {"role": "user", "content": "what?", "images": [PIXEL]}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://127.0.0.1/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "../x.png",
        "logo.png",
        "data:image/png,raw",
        "data:image/png;base64,***",
        "",
        5,
        None,
    ],
)
def test_X11_images_that_are_not_data_make_the_route_unsuitable(url: object) -> None:
    """URLs are not fetched and files never read: the dialect says it cannot carry them."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(Unsupported) as caught:
        DIALECT.encode(ask(messages=[{"role": "user", "content": content}]), model())
    assert caught.value.word is Word.VISION
    assert "passwd" not in caught.value.reason


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, Word.AUDIO),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, Word.TEXT),
        ({"n": 2}, Word.TEXT),
        ({"functions": [{"name": "f"}]}, Word.TOOLS),
        ({"tools": [{"type": "web_search"}]}, Word.TOOLS),
        ({"response_format": {"type": "grammar"}}, Word.JSON),
        ({"response_format": {"type": "json_schema"}}, Word.JSON_SCHEMA),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]}]},
            Word.TOOLS,
        ),
    ],
)
def test_what_ollama_cannot_carry_is_said(fields: dict[str, Any], word: Word) -> None:
    """Unknown parts and modes raise instead of vanishing."""
    with pytest.raises(Unsupported) as caught:
        DIALECT.encode(ask(**fields), model())
    assert caught.value.word is word


def test_response_formats() -> None:
    """JSON mode and schemas have a field of their own."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert sent(DIALECT, ask(response_format={"type": "json_object"}))["format"] == "json"
    assert sent(DIALECT, ask(response_format=form))["format"] == schema
    assert "format" not in sent(DIALECT, ask(response_format={"type": "text"}))


@pytest.mark.parametrize(
    ("fields", "model_id", "think"),
    [
        ({"reasoning_effort": "high"}, "qwen3:8b", True),
        ({"reasoning_effort": "high"}, "gpt-oss:20b", "high"),
        ({"reasoning_effort": "minimal"}, "gpt-oss:20b", "low"),
        ({"reasoning_effort": "none"}, "qwen3:8b", False),
        ({"reasoning": {"effort": "low"}}, "qwen3:8b", True),
        ({"think": False}, "qwen3:8b", False),
    ],
)
def test_reasoning_effort_becomes_think(fields: dict[str, Any], model_id: str, think: object) -> None:
    """Levels for gpt-oss, on or off for the others."""
    assert sent(DIALECT, ask(**fields), model(model_id))["think"] == think
    assert "think" not in sent(DIALECT, ask())


def test_a_whole_answer_is_mapped() -> None:
    """Text, thinking, usage and the finish reason."""
    message = {"role": "assistant", "content": "hi", "thinking": "hm"}
    body = orjson.dumps(line(message, done=True, done_reason="length", **STATS))
    reply = DIALECT.decode(ask(), body)
    assert orjson.loads(reply.raw) == reply.data
    (choice,) = reply.data["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    assert choice["finish_reason"] == "length"
    assert reply.data["usage"] == {"prompt_tokens": 26, "completion_tokens": 7, "total_tokens": 33}
    assert reply.data["created"] == 1767323045
    assert reply.data["object"] == "chat.completion"
    assert reply.data["model"] == "m:1"


def test_tool_calls_get_string_arguments_and_stable_ids() -> None:
    """Arguments become JSON text; ids are invented the same way each time, and differ within the answer."""
    calls = [{"function": {"index": 0, "name": "weather", "arguments": {"city": city}}} for city in ("Oslo", "Rome")]
    body = orjson.dumps(line({"role": "assistant", "content": "", "tool_calls": calls}, done=True, done_reason="stop"))
    first, second = DIALECT.decode(ask(), body).data, DIALECT.decode(ask(), body).data
    assert first == second
    (choice,) = first["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    found = choice["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in found] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert len({call["id"] for call in found}) == 2
    assert all(call["type"] == "function" for call in found)
    assert "usage" not in first


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"message":"x","done":true}', orjson.dumps(text("half")), b"<html>"]
)
def test_what_is_no_answer_is_undecodable(body: bytes) -> None:
    """Missing or unfinished messages raise."""
    with pytest.raises(Undecodable):
        DIALECT.decode(ask(), body)


def test_an_error_stays_an_error() -> None:
    """`{"error": …}` in a 200, whole or streamed, comes out in OpenAI's shape."""
    event = {"error": "an error was encountered while running the model"}
    assert DIALECT.decode(ask(), orjson.dumps(event)).data["error"]["message"] == event["error"]
    (chunk,) = streamed(DIALECT, ask(stream=True), event)
    assert chunk["error"]["message"] == event["error"]


def test_a_stream_gives_the_same_as_the_whole() -> None:
    """Thinking, text, finish, usage and [DONE], in that order."""
    thinking = line({"role": "assistant", "content": "", "thinking": "hm"})
    chunks = streamed(DIALECT, ask(stream=True), thinking, text("he"), text("llo"), LAST)
    found = joined(chunks)
    assert (found["reasoning"], found["content"], found["finish"], found["done"]) == ("hm", "hello", "stop", True)
    assert found["usage"] == {"prompt_tokens": 26, "completion_tokens": 7, "total_tokens": 33}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len({chunk["id"] for chunk in chunks if chunk != "[DONE]"}) == 1
    assert chunks[-1] == "[DONE]"


def test_S28_calls_all_labelled_zero_are_separate_calls() -> None:
    """Ollama sends every call as index 0: they come out apart, densely numbered, with ids of their own."""
    calls = [
        line(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"index": 0, "name": "weather", "arguments": {"n": n}}}],
            }
        )
        for n in range(3)
    ]
    found = joined(streamed(DIALECT, ask(stream=True, tools=[TOOL]), *calls, LAST))
    assert sorted(found["calls"]) == [0, 1, 2]
    assert [found["calls"][n]["arguments"] for n in range(3)] == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert len({call["id"] for call in found["calls"].values()}) == 3
    assert found["finish"] == "tool_calls"


def test_S20_a_stream_that_just_ends_has_no_finish() -> None:
    """Without a `done` line nothing is invented."""
    found = joined(streamed(DIALECT, ask(stream=True), text("half")))
    assert (found["finish"], found["done"]) == (None, False)


@pytest.mark.parametrize("event", [[], {}, {"message": 5}, {"message": {"content": 5}}])
def test_S17_a_broken_line_is_undecodable(event: object) -> None:
    """A line of another shape raises."""
    with pytest.raises(Undecodable):
        streamed(DIALECT, ask(stream=True), event)


def test_embeddings() -> None:
    """Texts go out as a list; vectors come back as numbers, or as base64 floats where the SDK asks for them."""
    wire = DIALECT.encode(ask(Endpoint.EMBEDDINGS, input="a", dimensions=2), model())
    assert wire.path == "/api/embed"
    assert orjson.loads(wire.body) == {"model": "m:1", "input": ["a"], "dimensions": 2}
    answer = orjson.dumps({"model": "m:1", "embeddings": [[0.5, -1.0]], "prompt_eval_count": 3})
    plain = DIALECT.decode(ask(Endpoint.EMBEDDINGS, input="a"), answer).data
    assert plain["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    packed = DIALECT.decode(ask(Endpoint.EMBEDDINGS, input="a", encoding_format="base64"), answer).data
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (0.5, -1.0)
    for bad in (b'{"embeddings":[["x"]]}', b'{"embeddings":[5]}', b"{}"):
        with pytest.raises(Undecodable):
            DIALECT.decode(ask(Endpoint.EMBEDDINGS, input="a"), bad)
    for tokens in ([1, 2], [[1, 2]], None, 5):
        with pytest.raises(Unsupported):
            DIALECT.encode(ask(Endpoint.EMBEDDINGS, input=tokens), model())


def test_completions_are_not_served() -> None:
    """Only chat and embeddings."""
    with pytest.raises(Unsupported):
        DIALECT.encode(ask(Endpoint.COMPLETIONS, prompt="x"), model())


@pytest.mark.parametrize("base", ["http://h:11434", "http://h:11434/", "http://h:11434/v1", "http://h:11434/api/"])
def test_the_url_is_at_the_root(base: str) -> None:
    """A base copied from an OpenAI configuration still works."""
    assert DIALECT.url(Provider("p", ProviderKind.OLLAMA, base), "/api/chat") == "http://h:11434/api/chat"


def test_the_listing_is_of_tags() -> None:
    """`/api/tags` gives the installed models."""
    assert DIALECT.list_request().path == "/api/tags"
    body = orjson.dumps({"models": [{"name": "a:1", "model": "a:1"}, {"name": "b:latest"}]})
    assert list(DIALECT.decode_listing(body).models) == ["a:1", "b:latest"]


def test_X12_ollamas_own_images_field_never_leaves() -> None:
    """`images` in a message is not a part the router knows: no path in it goes upstream."""
    body = sent(DIALECT, ask(messages=[{**USER, "images": ["/etc/shadow"]}]))
    assert "images" not in body["messages"][0]
