"""Whole answers as events, and events as whole answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing.classify import whole_reply
from routerconsole.routing.shapes import DONE, events_from_reply, reply_from_events
from routerconsole.routing.stream_gate import GateState, StreamGate

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def answer(*messages: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    choices = [
        {"index": n, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
        for n, message in enumerate(messages)
    ]
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **more}


@pytest.mark.parametrize(
    "data",
    [
        answer({"content": "hello"}, usage=USAGE),
        answer({"content": "a"}, {"content": "b"}, usage=USAGE, system_fingerprint="fp"),
        answer({"content": None, "tool_calls": [CALL, {**CALL, "id": "b"}]}, finish="tool_calls"),
        answer({"content": "x", "reasoning_content": "hm"}),
        answer({"content": None, "refusal": "no"}),
        answer({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, finish="function_call"),
        answer({"content": "cut"}, finish="length"),
        {
            "id": "t",
            "object": "text_completion",
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "text": "hi"}],
        },
    ],
)
def test_S31_S33_there_and_back(data: dict[str, Any]) -> None:
    """A whole answer survives the way through events: calls, reasoning, refusals, choices, usage and head."""
    assert reply_from_events(events_from_reply(data)) == data


def test_S31_a_json_answer_passes_the_gate() -> None:
    """Synthesised events commit, hide usage and end with [DONE]."""
    gate = StreamGate(Needs(Endpoint.CHAT), want_usage=False)
    step = gate.feed(events_from_reply(answer({"content": "hello"}, usage=USAGE)))
    assert (step.state, step.ended) == (GateState.COMMIT, True)
    assert step.payloads[-1] == DONE
    assert all(b"usage" not in payload for payload in step.payloads)
    assert gate.usage == USAGE
    assert orjson.loads(step.payloads[0])["object"] == "chat.completion.chunk"


def test_S33_indices_and_text_are_put_together() -> None:
    """Deltas of Ollama's kind (index 0 for all) become separate calls."""
    events = [
        orjson.dumps(
            {
                "id": "c",
                "choices": [{"index": 0, "delta": {"content": part, "tool_calls": [{**CALL, "index": 0, "id": part}]}}],
            }
        )
        for part in ("p", "q")
    ]
    whole = reply_from_events([*events, DONE])
    assert whole is not None
    message = whole["choices"][0]["message"]
    assert message["content"] == "pq"
    assert [call["id"] for call in message["tool_calls"]] == ["p", "q"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [DONE],
        [b"garbage", DONE],
        [b"[]", DONE],
        [b'{"choices":[{"delta":{"content":"x"}}]}'],
        [b'{"usage":{}}', DONE],
    ],
)
def test_S33_what_is_no_answer(events: list[bytes]) -> None:
    """Nothing, garbage and a stream without an end are no whole answer."""
    assert reply_from_events(events) is None


def test_S33_an_error_event_is_classified() -> None:
    """An error among the events comes back as itself."""
    events = [b'{"choices":[{"delta":{"content":"x"}}]}', b'{"error":{"code":"insufficient_quota","message":"x"}}']
    whole = reply_from_events(events)
    failure = whole_reply(whole, endpoint=Endpoint.CHAT, needs=Needs(Endpoint.CHAT))
    assert failure is not None
    assert failure.cls is OutcomeClass.QUOTA


_CONTENT = st.text(max_size=20)


@given(contents=st.lists(_CONTENT, min_size=1, max_size=3), arguments=st.text(max_size=10))
def test_any_text_survives(contents: list[str], arguments: str) -> None:
    """Text and arguments come back byte for byte."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    data = answer(*({"content": content, "tool_calls": [call]} for content in contents))
    assert reply_from_events(events_from_reply(data)) == data
