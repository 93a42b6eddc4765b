"""What a request needs of a route: words, forced words, size and token estimate, read from structured parts only.

Also the shape rules for the fields the router itself reads; every other field is the upstream's to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson

from routerconsole.domain.capability import CapabilityTree, UnknownCapability, Word
from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.request import ChatRequest, Endpoint, JsonObject, Needs

MAX_MODEL_NAME: Final = 512
"""Characters of a model name; the longest real ids (Hugging Face paths with quantisation) stay under 200."""
MAX_PARTS: Final = 2048
"""Content parts of one request; no upstream takes more images than this, and 10,000 parts are an attack or a bug."""
IMAGE_TOKENS: Final = 1000
"""Flat figure per image part: OpenAI's tile rule gives 85-1,105 and Anthropic's (w*h)/750 up to about 1,600."""
AUDIO_TOKENS: Final = 1000
"""Flat figure per audio part: about 100 s at OpenAI's 10 tokens a second."""
VIDEO_TOKENS: Final = 3000
"""Flat figure per video part: about 10 s at Gemini's 300 tokens a second."""
CHARS_PER_TOKEN: Final = 4
MESSAGE_CHARS: Final = 16
"""Role and separators of one message, about four tokens (OpenAI's cookbook counts three to four)."""

FORBIDDEN: Final = frozenset(
    {"api_base", "base_url", "api_key", "api_keys", "apikey", "api_url", "extra_headers", "default_headers", "headers"}
    | {"extra_query", "extra_body", "proxy", "proxies", "custom_llm_provider", "litellm_params"}
)
"""Fields that would redirect a request or its credentials; some upstream gateways honour them."""
LINKS: Final = ("data:", "https://", "http://")
_IMAGE_PARTS: Final = frozenset({"image_url", "input_image"})
_VIDEO_PARTS: Final = frozenset({"video_url", "input_video"})
_FORCING: Final = frozenset({"required", "any"})


def _reject(param: str, why: str) -> NoReturn:
    raise RequestRejected(ErrorCode.INVALID_REQUEST, f"{param} {why}", param=param)


class _Tally:
    """What one walk over the messages counts."""

    __slots__ = ("audio", "chars", "images", "parts", "system", "videos")

    def __init__(self) -> None:
        self.chars = self.images = self.audio = self.parts = self.videos = 0
        self.system = False


def validate(body: JsonObject, endpoint: Endpoint) -> None:
    """Check the fields the router reads; raises RequestRejected (invalid_request) naming the field."""
    _walk(body, endpoint)


def needs_of(request: ChatRequest, tree: CapabilityTree) -> Needs:
    """Return what `request` needs; raises RequestRejected for a malformed field or an unknown required capability.

    `text` is not listed: that a chat needs it is the endpoint's to say, and a plain request needs nothing.
    """
    body, hints, endpoint = request.body, request.hints, request.endpoint
    tally = _walk(body, endpoint)
    needed: list[Word] = []
    forced: list[Word] = []
    named: str | None = None
    schema: JsonObject | None = None
    if endpoint is Endpoint.EMBEDDINGS:
        needed.append(Word.EMBEDDINGS)
    elif endpoint is Endpoint.CHAT:
        if body.get("tools") or body.get("functions"):
            needed.append(Word.TOOLS)
            is_forced, named = _tool_choice(body)
            if is_forced:
                forced.append(Word.TOOLS)
            if body.get("parallel_tool_calls") is True:
                needed.append(Word.PARALLEL_TOOLS)
        if tally.images or tally.videos:
            needed.append(Word.VISION)
        if tally.videos:
            needed.append(Word.VIDEO)
        if tally.audio:
            needed.append(Word.AUDIO)
        if _reasons(body):
            needed.append(Word.REASONING)
        if tally.system:
            needed.append(Word.SYSTEM)
    if endpoint is not Endpoint.EMBEDDINGS:
        word, schema = _format(body)
        if word is not None:
            needed.append(word)
            forced.append(word)
        if request.stream:
            needed.append(Word.STREAMING)
    prompt, output, choices = _estimate(body, tally)
    return Needs(
        endpoint=endpoint,
        needed=tuple(needed),
        forced=tuple(forced),
        named_tool=named,
        schema=schema,
        estimate_tokens=prompt + output,
        size=request.size,
        required=_required(hints.require, tree) if hints.require else (),
        tags=hints.tags,
        output_tokens=output,
        choices=choices,
    )


def _required(names: Sequence[str], tree: CapabilityTree) -> tuple[str, ...]:
    nodes: list[str] = []
    for name in names:
        try:
            nodes.append(tree.resolve(name))
        except UnknownCapability as exc:
            shown = name[:64].encode("ascii", "backslashreplace").decode()
            what = "is ambiguous" if exc.ambiguous else "is no known capability"
            nearest = f"; {'one of' if exc.ambiguous else 'nearest'}: {', '.join(exc.choices)}" if exc.choices else ""
            raise RequestRejected(
                ErrorCode.INVALID_REQUEST, f"x-router-require: {shown!r} {what}{nearest}", param="x-router-require"
            ) from exc
    return tuple(dict.fromkeys(nodes))


# ---- words


def _tool_choice(body: JsonObject) -> tuple[bool, str | None]:
    """Return whether a call is forced and the function it must be, for the current and the legacy field."""
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")
        if isinstance(choice, dict):
            return True, _name_in(choice)
        return choice in _FORCING, None
    if isinstance(choice, str):
        return choice in _FORCING, None
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools")
        mode = (allowed if isinstance(allowed, dict) else choice).get("mode")
        return mode in _FORCING, None
    if kind in ("auto", "none"):
        return False, None
    inner = choice.get(kind) if isinstance(kind, str) else choice.get("function")
    return True, _name_in(inner) if isinstance(inner, dict) else _name_in(choice)


def _name_in(holder: Mapping[str, Any]) -> str | None:
    name = holder.get("name")
    return name if isinstance(name, str) and name else None


def _reasons(body: JsonObject) -> bool:
    """Whether reasoning is asked for; an explicit `none` or `enabled: false` asks for its absence."""
    effort = body.get("reasoning_effort")
    if effort is not None and effort != "none":
        return True
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict):
        return bool(reasoning) and reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
    return reasoning is not None and reasoning is not False and reasoning != "none"


def _format(body: JsonObject) -> tuple[Word | None, JsonObject | None]:
    """Return the word of `response_format` and, for json_schema, the schema where it is an object."""
    wanted = body.get("response_format")
    if not wanted:
        return None, None
    kind = wanted.get("type")
    if kind == "json_object":
        return Word.JSON, None
    if kind == "json_schema":
        holder = wanted.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, dict) else None
        return Word.JSON_SCHEMA, schema if isinstance(schema, dict) else None
    return None, None


# ---- size


def _estimate(body: JsonObject, tally: _Tally) -> tuple[int, int, int]:
    """Return tokens of the prompt, the output cap (0: none) and the answers asked for."""
    described = (body.get(key) for key in ("tools", "functions", "response_format"))
    chars = tally.chars + sum(len(orjson.dumps(value)) for value in described if value)
    limits = (body.get("max_tokens"), body.get("max_completion_tokens"))
    wanted = max((limit for limit in limits if type(limit) is int and limit > 0), default=0)
    choices = body.get("n")
    media = tally.images * IMAGE_TOKENS + tally.audio * AUDIO_TOKENS + tally.videos * VIDEO_TOKENS
    return -(-chars // CHARS_PER_TOKEN) + media, wanted, choices if type(choices) is int and choices > 0 else 1


# ---- shapes


def _walk(body: JsonObject, endpoint: Endpoint) -> _Tally:
    if not FORBIDDEN.isdisjoint(body):
        name = next(key for key in body if key in FORBIDDEN)
        _reject(name, "is not accepted in a request body")
    if "images" in body:
        _reject("images", "is not accepted; send image_url parts with data URIs (paths are never read)")
    if "model" in body:
        check_model_name(body["model"])
    _typed(body, "stream", bool, "must be a boolean")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        _reject("stream_options", "must be an object")
    tally = _Tally()
    if endpoint is Endpoint.CHAT:
        _tool_fields(body)
        _messages(body, tally)
    elif endpoint is Endpoint.COMPLETIONS:
        _texts(body, "prompt", tally)
    else:
        _texts(body, "input", tally)
        if body.get("stream"):
            _reject("stream", "means nothing to embeddings; leave it out")
    if endpoint is not Endpoint.EMBEDDINGS and (wanted := body.get("response_format")) is not None:
        _response_format(wanted)
    return tally


def check_model_name(name: object) -> None:
    """Refuse what cannot be a model name; null counts as omitted. The name is never echoed raw."""
    if name is None:
        return
    if not isinstance(name, str):
        _reject("model", "must be a string")
    if not name.strip():
        _reject("model", "must not be empty")
    if len(name) > MAX_MODEL_NAME:
        _reject("model", f"must be at most {MAX_MODEL_NAME} characters")
    if not name.isprintable() and any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name):
        _reject("model", "must not contain control characters")


def _typed(body: JsonObject, key: str, kind: type, why: str) -> None:
    value = body.get(key)
    if value is not None and not isinstance(value, kind):
        _reject(key, why)


def _tool_fields(body: JsonObject) -> None:
    for key in ("tools", "functions"):
        entries = body.get(key)
        if entries is None:
            continue
        if not isinstance(entries, list):
            _reject(key, "must be a list")
        for n, entry in enumerate(entries):
            if not isinstance(entry, dict):
                _reject(f"{key}[{n}]", "must be an object")
    for key in ("tool_choice", "function_call"):
        choice = body.get(key)
        if choice is not None and not isinstance(choice, str | dict):
            _reject(key, "must be a string or an object")
    _typed(body, "parallel_tool_calls", bool, "must be a boolean")


def _response_format(wanted: object) -> None:
    if not isinstance(wanted, dict):
        _reject("response_format", "must be an object")
    kind = wanted.get("type")
    if kind is not None and not isinstance(kind, str):
        _reject("response_format.type", "must be a string")
    if kind == "json_schema":
        holder = wanted.get("json_schema")
        if not isinstance(holder, dict):
            _reject("response_format.json_schema", "must be an object")
        schema = holder.get("schema")
        if schema is not None and not isinstance(schema, dict | bool):
            _reject("response_format.json_schema.schema", "must be an object")


def _messages(body: JsonObject, tally: _Tally) -> None:
    messages = body.get("messages")
    if messages is None:
        _reject("messages", "is required")
    if not isinstance(messages, list):
        _reject("messages", "must be a list")
    if not messages:
        _reject("messages", "must not be empty")
    for n, message in enumerate(messages):
        if not isinstance(message, dict):
            _reject(f"messages[{n}]", "must be an object")
        role = message.get("role")
        if not isinstance(role, str):
            _reject(f"messages[{n}].role", "must be a string")
        if role in ("system", "developer"):
            tally.system = True
        if "images" in message:
            _reject(f"messages[{n}].images", "is not accepted; send image_url parts (paths are never read)")
        content = message.get("content")
        tally.chars += MESSAGE_CHARS
        if isinstance(content, str):
            tally.chars += len(content)
        elif isinstance(content, list):
            _parts(content, n, tally)
        elif content is not None:
            _reject(f"messages[{n}].content", "must be a string, a list of parts or null")
        calls = message.get("tool_calls")
        if calls is not None:
            _calls(calls, n, tally)


def _parts(parts: Sequence[object], n: int, tally: _Tally) -> None:
    tally.parts += len(parts)
    if tally.parts > MAX_PARTS:
        _reject(f"messages[{n}].content", f"has too many parts (a request may have {MAX_PARTS})")
    for m, part in enumerate(parts):
        if not isinstance(part, dict):
            _reject(f"messages[{n}].content[{m}]", "must be an object")
        kind = part.get("type")
        if kind is not None and not isinstance(kind, str):
            _reject(f"messages[{n}].content[{m}].type", "must be a string")
        if kind in _IMAGE_PARTS:
            tally.images += 1
            _linked(part, "image_url", f"messages[{n}].content[{m}]")
        elif kind in _VIDEO_PARTS:
            tally.videos += 1
            _video(part, kind, f"messages[{n}].content[{m}]")
        elif kind == "input_audio":
            tally.audio += 1
            if not isinstance(part.get("input_audio"), dict):
                _reject(f"messages[{n}].content[{m}].input_audio", "must be an object")
        else:
            text = part.get("text")
            if isinstance(text, str):
                tally.chars += len(text)
            elif text is not None and kind == "text":
                _reject(f"messages[{n}].content[{m}].text", "must be a string")


def _linked(part: Mapping[str, Any], key: str, where: str) -> None:
    """Refuse a part that names nothing or a local path; URLs pass through and are never fetched."""
    holder = part.get(key)
    if holder is None and str(part.get("type")).startswith("input_") and part.get("file_id") is not None:
        return
    url = holder.get("url") if isinstance(holder, dict) else holder
    if not isinstance(url, str) or not url:
        _reject(f"{where}.{key}", "must carry a url")
    if not url[:8].lower().startswith(LINKS):
        _reject(f"{where}.{key}", "must be a data URI or an http(s) URL; local paths are refused")


def _video(part: Mapping[str, Any], kind: str, where: str) -> None:
    """Take a video as a link, or as an object of the upstream's own shape without one."""
    inline = part.get("input_video")
    if kind == "input_video" and isinstance(inline, dict) and "url" not in inline:
        return
    _linked(part, kind if inline is not None else "video_url", where)


def _calls(calls: object, n: int, tally: _Tally) -> None:
    if not isinstance(calls, list):
        _reject(f"messages[{n}].tool_calls", "must be a list")
    for m, call in enumerate(calls):
        if not isinstance(call, dict):
            _reject(f"messages[{n}].tool_calls[{m}]", "must be an object")
        function = call.get("function")
        if function is None:
            continue
        if not isinstance(function, dict):
            _reject(f"messages[{n}].tool_calls[{m}].function", "must be an object")
        name, arguments = function.get("name"), function.get("arguments")
        tally.chars += len(name) if isinstance(name, str) else 0
        if isinstance(arguments, str):
            tally.chars += len(arguments)
        elif arguments:
            tally.chars += len(orjson.dumps(arguments))


def _texts(body: JsonObject, key: str, tally: _Tally) -> None:
    """Count `prompt` / `input`: a string, a list of strings, token ids, or a list of token-id lists."""
    value = body.get(key)
    if isinstance(value, str):
        tally.chars += len(value)
        return
    if value is None:
        _reject(key, "is required")
    if not isinstance(value, list):
        _reject(key, "must be a string or a list")
    if not value:
        _reject(key, "must not be empty")
    for n, entry in enumerate(value):
        if isinstance(entry, str):
            tally.chars += len(entry)
        elif type(entry) is int:
            tally.chars += CHARS_PER_TOKEN
        elif isinstance(entry, list) and all(type(token) is int for token in entry):
            tally.chars += CHARS_PER_TOKEN * len(entry)
        elif not isinstance(entry, dict):  # multimodal embeddings take objects: theirs to judge
            _reject(f"{key}[{n}]", "must be a string or token ids")
