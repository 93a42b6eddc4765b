"""Turns a whole answer into stream chunks and a stream's chunks into a whole answer, both in the OpenAI shape.

For upstreams that answer in the other form than was asked (routing.md §7.4); it judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from routerconsole.routing.classify import inner_error
from routerconsole.routing.tool_deltas import Call, ToolDeltas

Json = dict[str, Any]
DONE: Final = b"[DONE]"
_ADDED_UP: Final = frozenset({"content", "refusal", "reasoning_content", "reasoning", "thinking"})
"""Delta fields whose texts are appended to each other; of any other field the last value stays."""


def events_from_reply(data: Mapping[str, Any]) -> list[bytes]:
    """Return the chunk payloads a whole answer amounts to, `[DONE]` included."""
    kind = data.get("object")
    is_text = kind == "text_completion" or _has_text(data)
    name = "text_completion" if is_text else "chat.completion.chunk"
    head = {key: value for key, value in data.items() if key not in ("choices", "usage", "object")} | {"object": name}
    choices = data.get("choices")
    events: list[bytes] = []
    for n, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, Mapping):
            events += [orjson.dumps({**head, "choices": [part]}) for part in _parts(choice, n, is_text=is_text)]
    usage = data.get("usage")
    if usage is not None:
        events.append(orjson.dumps({**head, "choices": [], "usage": usage}))
    return [*events, DONE]


def reply_from_events(payloads: Iterable[bytes]) -> Json | None:
    """Return the whole answer that chunk payloads add up to; an error event comes back as it is, to be classified.

    None where the chunks are no complete answer: an event is not a JSON object, none came, or the stream ended without
    a finish reason or `[DONE]`.
    """
    head: Json = {}
    choices: dict[int, _Gathered] = {}
    done = False
    for payload in payloads:
        if payload == DONE:
            done = True
            break
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(chunk, dict):
            return None
        if inner_error(chunk) is not None:
            return chunk
        for key, value in chunk.items():
            if key != "choices" and (value is not None or key not in head):
                head[key] = value
        entries = chunk.get("choices")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                index = entry.get("index")
                number = index if type(index) is int else 0
                choices.setdefault(number, _Gathered()).add(entry)
    finished = done or any(choice.fields.get("finish_reason") for choice in choices.values())
    if not choices or not finished:
        return None
    is_text = all(choice.is_text for choice in choices.values())
    head["object"] = "text_completion" if is_text else "chat.completion"
    return {**head, "choices": [choice.whole(number) for number, choice in sorted(choices.items())]}


class _Gathered:
    """One choice, added up."""

    __slots__ = ("fields", "is_text", "message", "texts", "tools")

    def __init__(self) -> None:
        self.fields: Json = {}
        self.message: Json = {}
        self.texts: dict[str, list[str]] = {}
        self.tools = ToolDeltas()
        self.is_text = False

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add one chunk's choice."""
        for key, value in entry.items():
            if key == "text" and isinstance(value, str):
                self.is_text = True
                self.texts.setdefault("text", []).append(value)
            elif key not in ("index", "delta", "message") and (value is not None or key not in self.fields):
                self.fields[key] = value
        delta = entry.get("delta")
        if not isinstance(delta, Mapping):
            delta = entry.get("message")
        for key, value in delta.items() if isinstance(delta, Mapping) else ():
            if key == "tool_calls" and isinstance(value, list):
                for call in value:
                    if isinstance(call, Mapping):
                        self.tools.add(call)
            elif key == "function_call" and isinstance(value, Mapping):
                self._legacy(value)
            elif key in _ADDED_UP and isinstance(value, str):
                self.texts.setdefault(key, []).append(value)
            elif value is not None or key not in self.message:
                self.message[key] = value

    def whole(self, number: int) -> Json:
        """Return the choice of a whole answer."""
        texts = {key: "".join(parts) for key, parts in self.texts.items()}
        fields = {"index": number, "finish_reason": None, **self.fields}
        if self.is_text:
            return {**fields, "text": texts.get("text", "")}
        message: Json = {"role": "assistant", "content": None, **self.message, **texts}
        if self.tools.calls:
            message["tool_calls"] = [_call(call) for call in self.tools.calls]
        return {**fields, "message": message}

    def _legacy(self, fragment: Mapping[str, Any]) -> None:
        call = self.message.setdefault("function_call", {"name": "", "arguments": ""})
        for key in ("name", "arguments"):
            value = fragment.get(key)
            if isinstance(value, str):
                call[key] += value


def _call(call: Call) -> Json:
    function = {"name": call.name or "", "arguments": call.text()}
    return {"id": call.id or f"call_{call.index}", "type": "function", **call.extra, "function": function}


def _has_text(data: Mapping[str, Any]) -> bool:
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, Mapping) and "text" in first and "message" not in first


def _parts(choice: Mapping[str, Any], number: int, *, is_text: bool) -> list[Json]:
    """Return the chunk choices of one whole choice: its content, then its finish reason."""
    index = choice.get("index")
    base: Json = {"index": index if type(index) is int else number}
    finish = choice.get("finish_reason")
    extra = {key: value for key, value in choice.items() if key not in ("index", "message", "finish_reason", "text")}
    if is_text:
        return [{**base, **extra, "text": choice.get("text", ""), "finish_reason": finish}]
    message = choice.get("message")
    delta = dict(message) if isinstance(message, Mapping) else {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls) if isinstance(call, Mapping)]
    content = delta.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        delta["content"] = "".join(text for text in texts if isinstance(text, str))
    return [
        {**base, **extra, "delta": delta, "finish_reason": None},
        {**base, "delta": {}, "finish_reason": finish if finish is not None else "stop"},
    ]
