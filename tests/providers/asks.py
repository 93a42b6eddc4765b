"""Requests and models for the dialect tests."""

from __future__ import annotations

from typing import Any

import orjson

from routerconsole.domain.registry import Model
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.providers.dialect import Dialect

USER = {"role": "user", "content": "hello"}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {"city": {}}}},
}
PIXEL = "iVBORw0KGgo="


def ask(endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> ChatRequest:
    """A request with these body fields."""
    body = {"model": "asked", **({"messages": [USER]} if endpoint is Endpoint.CHAT else {}), **fields}
    stream = body.get("stream") is True
    return ChatRequest(id="r", endpoint=endpoint, body=body, size=0, model="asked", stream=stream)


def model(upstream_id: str = "m:1", **fields: Any) -> Model:
    """A model of some provider."""
    return Model(provider="p", upstream_id=upstream_id, **fields)


def sent(dialect: Dialect, request: ChatRequest, to: Model | None = None) -> Any:
    """What the dialect puts on the wire, parsed."""
    return orjson.loads(dialect.encode(request, to or model()).body)


def streamed(dialect: Dialect, request: ChatRequest, *events: Any) -> list[Any]:
    """The chunks that these events become, parsed; `[DONE]` stays text."""
    decoder = dialect.stream_decoder(request)
    chunks = [chunk for event in events for chunk in decoder.decode_delta(orjson.dumps(event), None)]
    return ["[DONE]" if chunk == b"[DONE]" else orjson.loads(chunk) for chunk in [*chunks, *decoder.finish()]]


def joined(chunks: list[Any]) -> dict[str, Any]:
    """What a client would have put together from chunks: text, reasoning, calls, finish reason, usage."""
    found: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish": None, "usage": None, "done": False}
    for chunk in chunks:
        if chunk == "[DONE]":
            found["done"] = True
            continue
        found["usage"] = chunk.get("usage") or found["usage"]
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            found["content"] += delta.get("content") or ""
            found["reasoning"] += delta.get("reasoning_content") or ""
            found["finish"] = choice["finish_reason"] or found["finish"]
            for call in delta.get("tool_calls", ()):
                known = found["calls"].setdefault(call["index"], {"id": call.get("id"), "name": "", "arguments": ""})
                known["name"] += call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
    return found
