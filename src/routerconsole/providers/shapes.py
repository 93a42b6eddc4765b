"""The OpenAI shapes foreign dialects take apart and build: a request's parts and tools, an answer's chunks and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from routerconsole.domain.capability import Word
from routerconsole.domain.request import ChatRequest
from routerconsole.providers.dialect import Undecodable, Unsupported

Json = dict[str, Any]
DONE: Final = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Text:
    """A text part."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image part: base64 `data` with its media type, or the http(s) `url` it lies at."""

    media_type: str
    data: str
    url: str | None = None


def parts(content: Any, dialect: str) -> Iterator[Text | Image]:
    """Yield the parts of a message's content; raise Unsupported for what is neither text nor image."""
    if content is None:
        return
    if isinstance(content, str):
        yield Text(content)
        return
    if not isinstance(content, list):
        raise Unsupported(Word.TEXT, f"{dialect} cannot carry content of this type")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            yield Text(part["text"])
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            yield Text(part["refusal"])
        elif kind in ("image_url", "input_image"):
            yield image(part.get("image_url"), dialect)
        elif kind == "input_audio":
            raise Unsupported(Word.AUDIO, f"{dialect} cannot carry audio")
        elif kind in ("video_url", "input_video"):
            raise Unsupported(Word.VIDEO, f"{dialect} cannot carry video")
        else:
            raise Unsupported(Word.TEXT, f"{dialect} cannot carry a part of this type")


def image(value: Any, dialect: str) -> Image:
    """Read an `image_url` value: base64 data or an http(s) URL; raise Unsupported for the rest, files above all."""
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str):
        raise Unsupported(Word.VISION, f"{dialect} cannot carry an image without a url")
    scheme = url[:8].lower()
    if scheme.startswith(("http://", "https://")):
        return Image("", "", url)
    head, comma, data = url.partition(",")
    if not (scheme.startswith("data:") and comma and head.lower().endswith(";base64")):
        raise Unsupported(Word.VISION, f"{dialect} carries images as base64 data or http(s) URLs only")
    data = "".join(data.split())
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as exc:
        raise Unsupported(Word.VISION, "the image is not valid base64") from exc
    return Image(head[5:].split(";")[0] or "image/png", data)


def text_only(content: Any, dialect: str) -> str:
    """Return the text of a content that may hold nothing else; raise Unsupported."""
    found = []
    for part in parts(content, dialect):
        if isinstance(part, Image):
            raise Unsupported(Word.VISION, f"{dialect} carries images in user messages only")
        found.append(part.text)
    return "\n".join(found)


def messages(request: ChatRequest, dialect: str) -> list[Json]:
    """Return the messages that are objects; raise Unsupported for legacy function fields and several choices."""
    body = request.body
    if body.get("functions") or body.get("function_call"):
        raise Unsupported(Word.TOOLS, f"{dialect} takes `tools`, not the older `functions`")
    if body.get("n") not in (None, 1):
        raise Unsupported(Word.TEXT, f"{dialect} gives one choice only")
    found = body.get("messages")
    return [message for message in found if isinstance(message, dict)] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call in the history: its id, function name and parsed arguments."""

    id: str
    name: str
    arguments: Json


def tool_calls(message: Json, dialect: str) -> list[ToolCall]:
    """Return the calls of an assistant turn; raise Unsupported where arguments are no JSON object."""
    calls = []
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Unsupported(Word.TOOLS, f"{dialect} cannot carry a tool call that is not a function call")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = orjson.loads(arguments or "{}")
            except orjson.JSONDecodeError:
                arguments = None
        if not isinstance(arguments, dict):
            raise Unsupported(Word.TOOLS, f"{dialect} cannot carry tool arguments that are not a JSON object")
        calls.append(ToolCall(str(call.get("id") or f"call_{number}"), function["name"], arguments))
    return calls


def functions(request: ChatRequest, dialect: str) -> list[Json]:
    """Return the function objects of `tools`; raise Unsupported for other kinds of tools."""
    found = []
    for tool in request.body.get("tools") or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type", "function") != "function":
            raise Unsupported(Word.TOOLS, f"{dialect} carries function tools only")
        found.append(function)
    return found


def named_choice(choice: Any) -> str | None:
    """Return the function a `tool_choice` names, if it names one."""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def schema_of(form: Json, dialect: str) -> Json:
    """Return the schema of a `json_schema` response format; raise Unsupported where there is none."""
    spec = form.get("json_schema")
    schema = spec.get("schema") if isinstance(spec, dict) else None
    if not isinstance(schema, dict):
        raise Unsupported(Word.JSON_SCHEMA, f"{dialect} needs the schema of a json_schema response format")
    return schema


def effort(body: Mapping[str, Any]) -> str | None:
    """Return the reasoning effort asked for, from `reasoning_effort` or `reasoning.effort`."""
    reasoning = body.get("reasoning")
    value = body.get("reasoning_effort") or (reasoning.get("effort") if isinstance(reasoning, dict) else None)
    if isinstance(value, str):
        return value.lower()
    return "medium" if isinstance(reasoning, dict) and reasoning.get("enabled") is True else None


def first(body: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these fields that is there and not null; zero counts as there."""
    return next((body[name] for name in names if body.get(name) is not None), None)


def stable_id(prefix: str, *sources: bytes) -> str:
    """Invent an id that is the same for the same answer."""
    return prefix + hashlib.sha256(b"\0".join(sources)).hexdigest()[:24]


def usage(prompt: Any, completion: Any, *, cached: int = 0) -> Json | None:
    """Return a usage object, or None where the upstream counted nothing."""
    if not isinstance(prompt, int) and not isinstance(completion, int):
        return None
    prompt, completion = (value if isinstance(value, int) else 0 for value in (prompt, completion))
    counted: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if cached:
        counted["prompt_tokens_details"] = {"cached_tokens": cached}
    return counted


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk or body of one answer repeats."""

    id: str
    model: str
    created: int = 0

    def chunk(self, delta: Json, finish: str | None = None) -> bytes:
        """Return one streamed chunk of the only choice."""
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return orjson.dumps(self._envelope("chat.completion.chunk", choices))

    def usage_chunk(self, counted: Json) -> bytes:
        """Return the chunk that carries usage only."""
        return orjson.dumps({**self._envelope("chat.completion.chunk", []), "usage": counted})

    def body(self, message: Json, finish: str | None, counted: Json | None) -> Json:
        """Return the whole answer."""
        choices = [{"index": 0, "message": message, "finish_reason": finish}]
        whole = self._envelope("chat.completion", choices)
        return whole if counted is None else {**whole, "usage": counted}

    def _envelope(self, kind: str, choices: Sequence[Json]) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def call_delta(index: int, call_id: str, name: str, arguments: str) -> Json:
    """Return a tool-call entry that opens (and, with arguments, fills) a call."""
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def dumps(value: Any) -> str:
    """Return compact JSON text."""
    return orjson.dumps(value).decode()


def expect(value: Any, kind: type, what: str) -> Any:
    """Return the value if it is of the type; raise Undecodable."""
    if not isinstance(value, kind):
        raise Undecodable(f"{what} is missing or of the wrong type")
    return value
