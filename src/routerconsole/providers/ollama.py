"""Ollama's own API: `/api/chat` as JSON lines, `/api/embed`. Images go as base64 from data URIs, never by path or URL.

What Ollama has no field for (logprobs, logit_bias, user, metadata, parallel_tool_calls …) is left out.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from yarl import URL

from routerconsole.domain.capability import Word
from routerconsole.domain.listing import ListedModel
from routerconsole.domain.registry import Model, Provider
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.domain.secret import Secret
from routerconsole.providers import ollama_listing, shapes
from routerconsole.providers.dialect import (
    Detail,
    Framing,
    Page,
    Reply,
    StreamDecoder,
    Undecodable,
    Unsupported,
    WireRequest,
)
from routerconsole.providers.openai import parse
from routerconsole.providers.shapes import DONE, Head, Image, Json

_NAME: Final = "Ollama"
_OPTIONS: Final = {
    "num_predict": ("max_completion_tokens", "max_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "seed": ("seed",),
    "presence_penalty": ("presence_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),
    "num_ctx": ("num_ctx",),
}
_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


class OllamaDialect:
    """Chat and embeddings."""

    name = "ollama"
    framing = Framing.NDJSON

    def encode(self, request: ChatRequest, model: Model) -> WireRequest:
        """Map a request; raise Unsupported where Ollama has no way to carry it."""
        if request.endpoint is Endpoint.EMBEDDINGS:
            return WireRequest("POST", "/api/embed", orjson.dumps(_embed(request.body, model)))
        if request.endpoint is not Endpoint.CHAT:
            raise Unsupported(Word.TEXT, f"{_NAME} serves chat and embeddings only")
        return WireRequest("POST", "/api/chat", orjson.dumps(_chat(request, model)))

    def decode(self, request: ChatRequest, body: bytes) -> Reply:
        """Map a whole answer; an error object stays one; raise Undecodable."""
        data = shapes.expect(parse(body), dict, "the answer")
        if "error" in data:
            mapped = _error(data)
        elif request.endpoint is Endpoint.EMBEDDINGS:
            mapped = _embeddings(data, base64_wanted=request.body.get("encoding_format") == "base64")
        else:
            mapped = _whole(data, body)
        return Reply(orjson.dumps(mapped), mapped)

    def stream_decoder(self, request: ChatRequest) -> StreamDecoder:
        """Return a fresh decoder for one streamed answer."""
        return _Stream()

    def auth_headers(self, key: Secret | None) -> tuple[tuple[str, str], ...]:
        """Return the bearer header (hosted Ollama and proxies), none without a key."""
        return () if not key else (("authorization", f"Bearer {key.reveal()}"),)

    def url(self, provider: Provider, path: str) -> str:
        """Return the full URL; a base that ends in `/v1` or `/api` (copied from elsewhere) means its root."""
        base = URL(provider.base_url)
        return f"{base.origin()}{base.raw_path.rstrip('/').removesuffix('/v1').removesuffix('/api')}{path}"

    def list_request(self) -> WireRequest:
        """Return the request for the installed models."""
        return WireRequest("GET", "/api/tags", b"")

    def decode_listing(self, body: bytes) -> Page:
        """Return the installed models and a question for each; raise Undecodable."""
        return ollama_listing.decode(parse(body))

    def decode_detail(self, detail: Detail, body: bytes, known: Mapping[str, ListedModel]) -> list[ListedModel]:
        """Return the model with what `/api/show` says of it; raise Undecodable."""
        return ollama_listing.decode_detail(detail, parse(body), known)


def _chat(request: ChatRequest, model: Model) -> Json:
    body = request.body
    sent: Json = {
        "model": model.upstream_id,
        "messages": _messages(request),
        "stream": request.stream,
        "options": _options(body),
    }
    tools = _tools(request)
    if tools:
        sent["tools"] = tools
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        sent["format"] = "json"
    elif kind == "json_schema":
        sent["format"] = shapes.schema_of(form or {}, _NAME)
    elif kind not in (None, "text"):
        raise Unsupported(Word.JSON, f"{_NAME} does not know this response format")
    think = _think(body, model)
    if think is not None:
        sent["think"] = think
    if body.get("keep_alive") is not None:
        sent["keep_alive"] = body["keep_alive"]
    return sent


def _options(body: Any) -> Json:
    given = body.get("options")
    options: Json = dict(given) if isinstance(given, dict) else {}
    for option, names in _OPTIONS.items():
        value = shapes.first(body, *names)
        if value is not None:
            options[option] = value
    stop = body.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options


def _messages(request: ChatRequest) -> list[Json]:
    names: dict[str, str] = {}  # tool results name their function here, where OpenAI gives the call's id
    sent: list[Json] = []
    for message in shapes.messages(request, _NAME):
        role = message.get("role")
        turn: Json = {"role": "system" if role == "developer" else role}
        texts, images = [], []
        for part in shapes.parts(message.get("content"), _NAME):
            if not isinstance(part, Image):
                texts.append(part.text)
            elif part.url is not None:
                raise Unsupported(Word.VISION, f"{_NAME} takes images as data, and the router fetches none")
            else:
                images.append(part.data)
        turn["content"] = "\n".join(texts)
        if images:
            turn["images"] = images
        thinking = message.get("reasoning_content") or message.get("reasoning")
        if role == "assistant" and isinstance(thinking, str):
            turn["thinking"] = thinking
        calls = shapes.tool_calls(message, _NAME)
        if calls:
            turn["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
            names.update((call.id, call.name) for call in calls)
        if role in ("tool", "function"):
            turn["role"] = "tool"
            name = names.get(str(message.get("tool_call_id"))) or message.get("name")
            if name:
                turn["tool_name"] = name
        sent.append(turn)
    return sent


def _tools(request: ChatRequest) -> list[Json]:
    """The tools on offer: Ollama has no tool_choice, so `none` offers none and a named one stands alone."""
    choice = request.body.get("tool_choice")
    if choice == "none":
        return []
    named = shapes.named_choice(choice)
    offered = shapes.functions(request, _NAME)
    return [{"type": "function", "function": one} for one in offered if named is None or one.get("name") == named]


def _think(body: Any, model: Model) -> bool | str | None:
    if body.get("think") is not None:
        return body["think"]  # type: ignore[no-any-return]  # Ollama's own field, passed as it came
    effort = shapes.effort(body)
    if effort is None:
        return None
    if effort == "none":
        return False
    # Ollama refuses levels for every family but gpt-oss, which in turn cannot be switched off
    return _LEVELS.get(effort, "medium") if "gpt-oss" in model.upstream_id else True


def _embed(body: Any, model: Model) -> Json:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unsupported(Word.EMBEDDINGS, f"{_NAME} embeds text, not tokens")
    sent: Json = {"model": model.upstream_id, "input": texts}
    for name in ("dimensions", "truncate", "keep_alive", "options"):
        if body.get(name) is not None:
            sent[name] = body[name]
    return sent


def _embeddings(data: Json, *, base64_wanted: bool) -> Json:
    vectors = shapes.expect(data.get("embeddings"), list, "embeddings")
    entries = []
    for index, vector in enumerate(vectors):
        numbers = shapes.expect(vector, list, "an embedding")
        try:
            packed = struct.pack(f"<{len(numbers)}f", *numbers)
        except (struct.error, OverflowError) as exc:
            raise Undecodable("an embedding holds something else than numbers") from exc
        value = base64.b64encode(packed).decode() if base64_wanted else numbers
        entries.append({"object": "embedding", "index": index, "embedding": value})
    prompt = data.get("prompt_eval_count")
    mapped: Json = {"object": "list", "data": entries, "model": str(data.get("model") or "")}
    if isinstance(prompt, int):
        mapped["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt}
    return mapped


def _error(data: Json) -> Json:
    given = data["error"]
    message = given.get("message") if isinstance(given, dict) else given
    return {"error": {"message": str(message), "type": "upstream_error", "code": None}}


def _head(data: Json, source: bytes) -> Head:
    try:
        created = int(datetime.fromisoformat(str(data.get("created_at"))).timestamp())
    except (ValueError, OverflowError):
        created = 0
    return Head(shapes.stable_id("chatcmpl-", source), str(data.get("model") or ""), created)


def _finish(data: Json, *, called: bool) -> str:
    reason = data.get("done_reason") or "stop"
    return "tool_calls" if called and reason == "stop" else str(reason)


def _calls(message: Json, head: Head, start: int) -> list[Json]:
    """Ollama labels every call index 0 and gives no ids it keeps to: number them, and name them after the answer."""
    found = []
    for index, call in enumerate(message.get("tool_calls") or (), start):
        function = shapes.expect(call.get("function") if isinstance(call, dict) else None, dict, "a tool call")
        name = shapes.expect(function.get("name"), str, "a tool call's name")
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else shapes.dumps(arguments or {})
        given = call.get("id")
        call_id = given if isinstance(given, str) and given else f"call_{head.id.removeprefix('chatcmpl-')}_{index}"
        found.append(shapes.call_delta(index, call_id, name, text))
    return found


def _whole(data: Json, source: bytes) -> Json:
    message = shapes.expect(data.get("message"), dict, "message")
    if data.get("done") is not True:
        raise Undecodable("the answer is not finished")
    head = _head(data, source)
    mapped: Json = {"role": "assistant", "content": shapes.expect(message.get("content", ""), str, "content")}
    if message.get("thinking"):
        mapped["reasoning_content"] = message["thinking"]
    calls = _calls(message, head, 0)
    if calls:
        mapped["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
        mapped["content"] = mapped["content"] or None
    counted = shapes.usage(data.get("prompt_eval_count"), data.get("eval_count"))
    return head.body(mapped, _finish(data, called=bool(calls)), counted)


class _Stream:
    def __init__(self) -> None:
        self._head: Head | None = None
        self._calls = 0
        self._done = False

    def decode_delta(self, event: bytes, name: bytes | None) -> list[bytes]:
        """Return the chunks of one JSON line; raise Undecodable."""
        data = shapes.expect(parse(event), dict, "a line")
        if "error" in data:
            return [orjson.dumps(_error(data))]
        message = shapes.expect(data.get("message"), dict, "message")
        chunks = []
        if self._head is None:
            self._head = _head(data, event)
            chunks.append(self._head.chunk({"role": "assistant", "content": ""}))
        if message.get("thinking"):
            chunks.append(self._head.chunk({"reasoning_content": message["thinking"]}))
        if message.get("content"):
            chunks.append(self._head.chunk({"content": shapes.expect(message["content"], str, "content")}))
        calls = _calls(message, self._head, self._calls)
        self._calls += len(calls)
        chunks.extend(self._head.chunk({"tool_calls": [call]}) for call in calls)
        if data.get("done") is True and not self._done:
            self._done = True
            chunks.append(self._head.chunk({}, _finish(data, called=self._calls > 0)))
            counted = shapes.usage(data.get("prompt_eval_count"), data.get("eval_count"))
            if counted is not None:
                chunks.append(self._head.usage_chunk(counted))
            chunks.append(DONE)
        return chunks

    def finish(self) -> list[bytes]:
        """Return nothing: only a `done` line ends an answer, and it was mapped when it came."""
        return []
