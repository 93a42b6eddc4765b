"""Anthropic answers, whole and streamed, in the OpenAI shape; block kinds nobody asked for raise."""

from __future__ import annotations

from typing import Any, Final

import orjson

from routerconsole.providers import shapes
from routerconsole.providers.dialect import Undecodable
from routerconsole.providers.openai import parse
from routerconsole.providers.shapes import DONE, Head, Json

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def whole(data: Json, *, json_tool: str | None) -> Json:
    """Map a whole answer or error object; raise Undecodable."""
    if data.get("type") == "error" or "error" in data:
        return _error(data)
    blocks = shapes.expect(data.get("content"), list, "content")
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            texts.append(shapes.expect(block.get("text"), str, "text"))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind == "tool_use" and block.get("name") == json_tool:
            texts = [shapes.dumps(block.get("input"))]  # words beside the JSON would spoil it
            break
        elif kind == "tool_use":
            name = shapes.expect(block.get("name"), str, "a tool's name")
            call = shapes.call_delta(len(calls), str(block.get("id")), name, shapes.dumps(block.get("input") or {}))
            calls.append({key: value for key, value in call.items() if key != "index"})
        elif kind != "redacted_thinking":
            raise Undecodable("the answer holds a block of an unknown kind")
    message: Json = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    head = Head(str(data.get("id") or ""), str(data.get("model") or ""))
    finish = _finish(data.get("stop_reason"), json_tool)
    return head.body(message, finish, _usage(data.get("usage")))


def _finish(reason: Any, json_tool: str | None) -> str | None:
    if reason is None:
        return None
    if reason == "tool_use" and json_tool is not None:
        return "stop"
    return _FINISH.get(str(reason), str(reason))


def _usage(counted: Any) -> Json | None:
    if not isinstance(counted, dict):
        return None
    cached, written = (
        value if isinstance(value := counted.get(name), int) else 0
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    prompt = counted.get("input_tokens")
    total = prompt + cached + written if isinstance(prompt, int) else None
    return shapes.usage(total, counted.get("output_tokens"), cached=cached)


def _error(data: Json) -> Json:
    error = data.get("error")
    error = error if isinstance(error, dict) else {"message": str(error)}
    kind = str(error.get("type") or "api_error")
    return {"error": {"message": str(error.get("message") or kind), "type": kind, "code": kind}}


class AnthropicStream:
    """The state of one streamed answer; `json_tool` is the tool whose input is the content."""

    def __init__(self, json_tool: str | None) -> None:
        self._json_tool = json_tool
        self._head: Head | None = None
        self._blocks: dict[Any, _Block] = {}
        self._calls = 0
        self._counted: Json = {}

    def decode_delta(self, event: bytes, name: bytes | None) -> list[bytes]:
        """Return the chunks of one event; kinds of events added to the API later are skipped; raise Undecodable."""
        data = shapes.expect(parse(event), dict, "an event")
        match data.get("type"):
            case "message_start":
                return self._start(shapes.expect(data.get("message"), dict, "message"))
            case "content_block_start":
                return self._open(data.get("index"), shapes.expect(data.get("content_block"), dict, "content_block"))
            case "content_block_delta":
                return self._delta(data.get("index"), shapes.expect(data.get("delta"), dict, "delta"))
            case "content_block_stop":
                return self._close(data.get("index"))
            case "message_delta":
                self._count(data.get("usage"))
                reason = shapes.expect(data.get("delta"), dict, "delta").get("stop_reason")
                finish = _finish(reason, self._json_tool)
                return [] if finish is None else [self._known().chunk({}, finish)]
            case "message_stop":
                counted = _usage(self._counted)
                return [*([self._known().usage_chunk(counted)] if counted else []), DONE]
            case "error":
                return [orjson.dumps(_error(data))]
            case _:
                return []

    def finish(self) -> list[bytes]:
        """Return nothing: only `message_stop` ends an answer."""
        return []

    def _known(self) -> Head:
        if self._head is None:
            raise Undecodable("the stream does not begin with message_start")
        return self._head

    def _count(self, counted: Any) -> None:
        if isinstance(counted, dict):
            self._counted.update({name: value for name, value in counted.items() if value is not None})

    def _start(self, message: Json) -> list[bytes]:
        self._head = Head(str(message.get("id") or ""), str(message.get("model") or ""))
        self._count(message.get("usage"))
        return [self._head.chunk({"role": "assistant", "content": ""})]

    def _open(self, index: Any, block: Json) -> list[bytes]:
        head, kind = self._known(), block.get("type")
        if kind == "text":
            self._blocks[index] = _Block()
            return self._content(block.get("text"))
        if kind in ("thinking", "redacted_thinking"):
            self._blocks[index] = _Block()
            text = block.get("thinking")
            return [head.chunk({"reasoning_content": text})] if text else []
        if kind != "tool_use":
            raise Undecodable("the stream holds a block of an unknown kind")
        given = block.get("input")
        if block.get("name") == self._json_tool:
            self._blocks[index] = _Block(given=given, is_json=True)
            return []
        number, self._calls = self._calls, self._calls + 1
        self._blocks[index] = _Block(call=number, given=given)
        name = shapes.expect(block.get("name"), str, "a tool's name")
        return [head.chunk({"tool_calls": [shapes.call_delta(number, str(block.get("id")), name, "")]})]

    def _delta(self, index: Any, delta: Json) -> list[bytes]:
        block = self._blocks.get(index)
        if block is None:
            raise Undecodable("a delta belongs to no open block")
        match delta.get("type"):
            case "text_delta":
                return self._content(delta.get("text"))
            case "thinking_delta":
                return [self._known().chunk({"reasoning_content": delta.get("thinking") or ""})]
            case "input_json_delta":
                piece = shapes.expect(delta.get("partial_json"), str, "partial_json")
                block.filled = block.filled or bool(piece)
                return self._arguments(block, piece) if piece else []
            case "signature_delta" | "citations_delta":
                return []
            case _:
                raise Undecodable("the stream holds a delta of an unknown kind")

    def _close(self, index: Any) -> list[bytes]:
        block = self._blocks.pop(index, None)
        if block is None or block.filled or (block.call is None and not block.is_json):
            return []
        return self._arguments(block, shapes.dumps(block.given or {}))  # a call without arguments sends no delta

    def _content(self, text: Any) -> list[bytes]:
        if not text or self._json_tool is not None:  # words beside the JSON would spoil it
            return []
        return [self._known().chunk({"content": shapes.expect(text, str, "text")})]

    def _arguments(self, block: _Block, piece: str) -> list[bytes]:
        if block.is_json:
            return [self._known().chunk({"content": piece})]
        return [self._known().chunk({"tool_calls": [{"index": block.call, "function": {"arguments": piece}}]})]


class _Block:
    """An open content block: which call it is, whether it is the JSON answer, and whether its input has begun."""

    __slots__ = ("call", "filled", "given", "is_json")

    def __init__(self, *, call: int | None = None, given: Any = None, is_json: bool = False) -> None:
        self.call, self.given, self.is_json = call, given, is_json
        self.filled = False
