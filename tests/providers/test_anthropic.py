"""The Anthropic dialect, on bodies and events as the Messages API sends them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from routerconsole.domain.capability import Word
from routerconsole.domain.registry import Provider, ProviderKind
from routerconsole.domain.request import Endpoint
from routerconsole.domain.secret import Secret
from routerconsole.providers.anthropic import AnthropicDialect
from routerconsole.providers.dialect import Undecodable, Unsupported

from .asks import PIXEL, TOOL, USER, ask, joined, model, sent, streamed

DIALECT = AnthropicDialect()
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": 4}
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}


def whole(*blocks: dict[str, Any], stop: str | None = "end_turn") -> bytes:
    content = {"content": list(blocks), "stop_reason": stop, "usage": USAGE}
    return orjson.dumps({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", **content})


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def end(reason: str) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}, STOP]


def json_piece(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


def test_a_conversation_is_mapped() -> None:
    """System is lifted, calls and results become blocks, neighbours of a role become one turn."""
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
        for n in (1, 2)
    ]
    history = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
        USER,
        {"role": "assistant", "content": "ok", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "sun"}]},
        {"role": "user", "content": "thanks"},
    ]
    wire = DIALECT.encode(ask(messages=history, tools=[TOOL]), model("claude"))
    assert wire.path == "/v1/messages"
    assert dict(wire.headers)["anthropic-version"] == "2023-06-01"
    body = orjson.loads(wire.body)
    assert [part["text"] for part in body["system"]] == ["be brief", "and kind"]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "ok"},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "sun"}]},
                {"type": "text", "text": "thanks"},
            ],
        },
    ]
    function = TOOL["function"]
    assert isinstance(function, dict)
    assert body["tools"] == [{"name": "weather", "description": "d", "input_schema": function["parameters"]}]
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("fields", "ceiling", "expected"),
    [
        ({}, None, 4096),
        ({}, 8192, 8192),
        ({"max_tokens": 5}, 8192, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, None, 6),
        ({"max_tokens": 0}, None, 0),
    ],
)
def test_max_tokens_is_always_there(fields: dict[str, Any], ceiling: int | None, expected: int) -> None:
    """The client's figure, else the model's, else 4096; zero is a figure."""
    assert sent(DIALECT, ask(**fields), model(max_output_tokens=ceiling))["max_tokens"] == expected


def test_sampling_fields() -> None:
    """What the API has a field for is forwarded; a temperature over its limit is the limit."""
    body = sent(DIALECT, ask(temperature=1.7, top_p=0.5, stop="END", user="u", seed=1, stream=True))
    assert (body["temperature"], body["top_p"], body["stop_sequences"]) == (1.0, 0.5, ["END"])
    assert body["metadata"] == {"user_id": "u"}
    assert body["stream"] is True
    assert "seed" not in body
    assert sent(DIALECT, ask(temperature=0, stop=["a", "b"]))["stop_sequences"] == ["a", "b"]
    assert sent(DIALECT, ask(temperature=0))["temperature"] == 0


@pytest.mark.parametrize(
    ("choice", "mapped"),
    [
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choices(choice: object, mapped: dict[str, Any]) -> None:
    """Each form has its counterpart."""
    assert sent(DIALECT, ask(tools=[TOOL], tool_choice=choice))["tool_choice"] == mapped


def test_one_call_at_a_time() -> None:
    """`parallel_tool_calls: false` travels in the choice."""
    body = sent(DIALECT, ask(tools=[TOOL], parallel_tool_calls=False))
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_images_go_as_data_or_url() -> None:
    """Data becomes a base64 source, http(s) a url source; nothing is fetched."""
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    (turn,) = sent(DIALECT, ask(messages=[{"role": "user", "content": content}]))["messages"]
    assert [part["source"] for part in turn["content"]] == [
        {"type": "base64", "media_type": "image/jpeg", "data": PIXEL},
        {"type": "url", "url": "https://example.com/a.png"},
    ]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
            Word.VISION,
        ),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, Word.AUDIO),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, Word.TEXT),
        ({"n": 3}, Word.TEXT),
        ({"functions": [{"name": "f"}]}, Word.TOOLS),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, Word.TOOLS),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, Word.JSON),
        ({"tools": [TOOL], "response_format": FORM}, Word.JSON_SCHEMA),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}},
            Word.JSON_SCHEMA,
        ),
        ({"response_format": {"type": "grammar"}}, Word.JSON),
    ],
)
def test_what_the_api_cannot_carry_is_said(fields: dict[str, Any], word: Word) -> None:
    """Unknown parts and modes raise instead of vanishing."""
    with pytest.raises(Unsupported) as caught:
        DIALECT.encode(ask(**fields), model())
    assert caught.value.word is word


@pytest.mark.parametrize("form", [FORM, {"type": "json_object"}])
def test_json_answers_are_a_forced_tool(form: dict[str, Any]) -> None:
    """The schema is the tool's; its input is the content, whole and streamed, and the answer just stops."""
    name = "thing" if form is FORM else "json_answer"
    body = sent(DIALECT, ask(response_format=form))
    assert body["tool_choice"] == {"type": "tool", "name": name}
    assert body["tools"][0]["input_schema"] == (
        SCHEMA if form is FORM else {"type": "object", "additionalProperties": True}
    )
    use = {"type": "tool_use", "id": "t", "name": name, "input": {"a": 1}}
    (choice,) = DIALECT.decode(
        ask(response_format=form), whole({"type": "text", "text": "Sure:"}, use, stop="tool_use")
    ).data["choices"]
    assert choice == {"index": 0, "message": {"role": "assistant", "content": '{"a":1}'}, "finish_reason": "stop"}
    events = [
        START,
        *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Sure:"}),
        *block(1, {**use, "input": {}}, json_piece(""), json_piece('{"a"'), json_piece(": 1}")),
        *end("tool_use"),
    ]
    found = joined(streamed(DIALECT, ask(response_format=form, stream=True), *events))
    assert (found["content"], found["finish"], found["calls"], found["done"]) == ('{"a": 1}', "stop", {}, True)


@pytest.mark.parametrize(
    ("fields", "ceiling", "thinking", "room"),
    [
        ({"reasoning_effort": "low"}, None, 1024, 5120),
        ({"reasoning_effort": "high"}, 64000, 16384, 64000),
        ({"reasoning_effort": "high", "max_tokens": 4000}, None, 2000, 4000),
        ({"reasoning_effort": "high", "max_tokens": 500}, None, None, 500),
        ({"reasoning_effort": "none"}, None, None, 4096),
        ({"reasoning_effort": "high", "tools": [TOOL], "tool_choice": "required"}, None, None, 4096),
        (
            {"reasoning_effort": "high", "messages": [USER, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
            None,
            None,
            4096,
        ),
    ],
)
def test_effort_becomes_a_budget_where_thinking_is_allowed(
    fields: dict[str, Any], ceiling: int | None, thinking: int | None, room: int
) -> None:
    """The budget is always below max_tokens; forced tools and tool results go without."""
    body = sent(DIALECT, ask(temperature=0.2, **fields), model(max_output_tokens=ceiling))
    assert body.get("thinking") == (None if thinking is None else {"type": "enabled", "budget_tokens": thinking})
    assert body["max_tokens"] == room
    assert ("temperature" in body) is (thinking is None)


def test_a_whole_answer_is_mapped() -> None:
    """Thinking, text, calls, usage with cache, stop reason."""
    reply = DIALECT.decode(
        ask(),
        whole(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "hel"},
            {"type": "text", "text": "lo"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
            stop="tool_use",
        ),
    )
    (choice,) = reply.data["choices"]
    assert choice["message"]["content"] == "hello"
    assert choice["message"]["reasoning_content"] == "hm"
    function = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert choice["message"]["tool_calls"] == [{"id": "toolu_1", "type": "function", "function": function}]
    assert choice["finish_reason"] == "tool_calls"
    assert reply.data["usage"] == {
        "prompt_tokens": 16,
        "completion_tokens": 4,
        "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 5},
    }
    assert orjson.loads(reply.raw) == reply.data


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "tool_calls"),
        ("brand_new", "brand_new"),
        (None, None),
    ],
)
def test_stop_reasons(stop: str | None, finish: str | None) -> None:
    """Known ones are translated, unknown ones pass."""
    assert (
        DIALECT.decode(ask(), whole({"type": "text", "text": "x"}, stop=stop)).data["choices"][0]["finish_reason"]
        == finish
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"content":"x"}', whole({"type": "hologram"}), b"<html>"])
def test_what_is_no_answer_is_undecodable(body: bytes) -> None:
    """Other shapes and unknown blocks raise."""
    with pytest.raises(Undecodable):
        DIALECT.decode(ask(), body)


def test_S23_an_error_stays_an_error() -> None:
    """In a 200, whole or streamed, it keeps its kind as the code."""
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    expected = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": "overloaded_error"}}
    assert DIALECT.decode(ask(), orjson.dumps(event)).data == expected
    assert streamed(DIALECT, ask(stream=True), START, event)[-1] == expected


def test_a_stream_is_mapped() -> None:
    """Thinking, text, pings and signatures, usage and the end."""
    events = [
        START,
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "s"},
        ),
        *block(
            1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hel"}, {"type": "text_delta", "text": "lo"}
        ),
        {"type": "event_of_tomorrow"},
        *end("end_turn"),
    ]
    chunks = streamed(DIALECT, ask(stream=True), *events)
    found = joined(chunks)
    assert (found["reasoning"], found["content"], found["finish"], found["done"]) == ("hm", "hello", "stop", True)
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19}
    assert chunks[0]["id"] == "msg_1"


def test_S27_parallel_calls_are_dense_and_their_arguments_untouched() -> None:
    """Blocks 1, 3 and 4 are calls 0, 1 and 2; a call without arguments gets an empty object."""
    events = [START, *block(0, {"type": "text", "text": "let me see"})]
    for index in (1, 3):
        use = {"type": "tool_use", "id": f"t{index}", "name": "weather", "input": {}}
        events += block(index, use, json_piece(""), json_piece('{"city": '), json_piece('"Oslo" }'))
    events += block(4, {"type": "tool_use", "id": "t4", "name": "now", "input": {}})
    found = joined(streamed(DIALECT, ask(stream=True, tools=[TOOL]), *events, *end("tool_use")))
    assert [found["calls"][n]["arguments"] for n in range(3)] == ['{"city": "Oslo" }'] * 2 + ["{}"]
    assert [found["calls"][n]["id"] for n in range(3)] == ["t1", "t3", "t4"]
    assert (found["content"], found["finish"]) == ("let me see", "tool_calls")


def test_S20_a_stream_that_just_ends_has_no_finish() -> None:
    """Without message_stop nothing is invented."""
    found = joined(streamed(DIALECT, ask(stream=True), START, *block(0, {"type": "text", "text": "half"})))
    assert (found["content"], found["finish"], found["done"]) == ("half", None, False)


@pytest.mark.parametrize(
    "events",
    [
        [[]],
        [{"type": "message_start"}],
        [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "early"}}],
        [START, {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}}],
        [START, *block(0, {"type": "hologram"})],
        [START, *block(0, {"type": "text", "text": ""}, {"type": "hologram_delta"})],
    ],
)
def test_S17_broken_streams_are_undecodable(events: list[Any]) -> None:
    """Events out of order or of unknown parts raise."""
    with pytest.raises(Undecodable):
        streamed(DIALECT, ask(stream=True), *events)


def test_only_api_keys_are_taken() -> None:
    """A key goes into x-api-key; a subscription token is refused, unshown."""
    assert DIALECT.auth_headers(Secret("sk-ant-api03-x")) == (("x-api-key", "sk-ant-api03-x"),)
    with pytest.raises(ValueError, match="API key") as caught:
        DIALECT.auth_headers(Secret("sk-ant-oat01-canary"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "base", ["https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1"]
)
def test_the_url_has_one_v1(base: str) -> None:
    """With or without `/v1` in the base."""
    provider = Provider("p", ProviderKind.ANTHROPIC, base)
    assert DIALECT.url(provider, "/v1/messages") == "https://api.anthropic.com/v1/messages"


def test_embeddings_are_not_served() -> None:
    """Chat only."""
    with pytest.raises(Unsupported):
        DIALECT.encode(ask(Endpoint.EMBEDDINGS, input="x"), model())


def test_the_listing() -> None:
    """Model ids from `/v1/models`, with the version header."""
    assert DIALECT.list_request().headers
    page = DIALECT.decode_listing(b'{"data":[{"type":"model","id":"claude-x"}],"has_more":false}')
    assert (list(page.models), page.complete) == (["claude-x"], True)
