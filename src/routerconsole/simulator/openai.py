"""The OpenAI dialect of the simulator: chat and text completions, whole and as events, and embeddings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from zlib import crc32

import orjson

from routerconsole.simulator.behaviour import Answering, Behaviour
from routerconsole.simulator.content import Answer, Ask, Call, Tool
from routerconsole.simulator.events import Event, Kind, count_parts, int_of, mapping, objects, text_of, texts
from routerconsole.simulator.http import Request

CREATED = 1_760_000_000  # a fixed time, so that replies are the same in every run
_IMAGES = frozenset({"image_url", "input_image"})
_AUDIO = frozenset({"input_audio"})
_CHOICES = 100


def tools_of(body: dict[str, object]) -> list[Tool]:
    """The functions a request offers."""
    found = []
    for entry in objects(body.get("tools")):
        function = mapping(entry.get("function"))
        found.append(Tool(text_of(function.get("name"), "unnamed"), mapping(function.get("parameters"))))
    return found


def choices_of(body: dict[str, object]) -> int:
    """How many choices a request wants; a simulator gives no more than a hundred."""
    return min(max(int_of(body.get("n"), 1) or 1, 1), _CHOICES)


def prompt_of(messages: list[dict[str, object]]) -> tuple[str, str]:
    """All text of the messages, and the last user text."""
    parts: list[str] = []
    last = ""
    for message in messages:
        said = texts(message.get("content"))
        parts.extend(said)
        if message.get("role") == "user":
            last = " ".join(said)
    return "\n".join(parts), last


class OpenAIChat:
    """`/v1/chat/completions`."""

    name = "openai"
    ndjson = False

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        messages = objects(body.get("messages"))
        choice = body.get("tool_choice", "auto")
        named = text_of(mapping(mapping(choice).get("function")).get("name")) if isinstance(choice, dict) else None
        form = mapping(body.get("response_format"))
        wrapped = mapping(form.get("json_schema"))
        prompt, last = prompt_of(messages)
        return Ask(
            model=text_of(body.get("model")),
            stream=body.get("stream") is True,
            tools=tools_of(body),
            choice="named" if named else text_of(choice, "auto"),
            named=named,
            after_tool=bool(messages) and messages[-1].get("role") == "tool",
            parallel=body.get("parallel_tool_calls") is True,
            json=form.get("type") == "json_object",
            schema=mapping(wrapped.get("schema")) if form.get("type") == "json_schema" else None,
            images=sum(count_parts(message.get("content"), _IMAGES) for message in messages),
            audio=sum(count_parts(message.get("content"), _AUDIO) for message in messages),
            system=any(message.get("role") in {"system", "developer"} for message in messages),
            reasoning=body.get("reasoning_effort") is not None or bool(body.get("reasoning")),
            n=choices_of(body),
            usage=mapping(body.get("stream_options")).get("include_usage") is True,
            max_tokens=int_of(body.get("max_completion_tokens"), int_of(body.get("max_tokens"))),
            prompt=prompt,
            last=last,
        )

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole chat completion."""
        message: dict[str, object] = {"role": "assistant", "content": content_of(answer, behaviour)}
        if behaviour.answer is Answering.MISSING:
            del message["content"]
        if answer.thoughts:
            message["reasoning_content"] = "".join(answer.thoughts)
        if answer.calls:
            message["tool_calls"] = [_whole_call(call, behaviour) for call in answer.calls]
        body: dict[str, object] = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion",
            "created": CREATED,
            "model": answer.model,
            "choices": [
                {"index": i, "message": message, "logprobs": None, "finish_reason": answer.finish} for i in range(ask.n)
            ],
        }
        if behaviour.usage != "never":
            body["usage"] = usage_of(answer, ask.n)
        return body

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The chunks of a streamed chat completion."""
        base: dict[str, object] = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": answer.model,
            **behaviour.extra,
        }

        def frame(delta: dict[str, object], finish: str | None, index: int) -> bytes:
            return orjson.dumps({**base, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

        usage = orjson.dumps({**base, "choices": [], "usage": usage_of(answer, ask.n)})
        choices = range(ask.n)
        if behaviour.role:
            for i in choices:
                yield Event(Kind.ROLE, frame({"role": "assistant", "content": ""}, None, i))
        for word in behaviour.preamble:
            if word == "usage":
                yield Event(Kind.META, usage)
            elif word == "empty":
                yield Event(Kind.META, frame({}, None, 0))
        early = frozenset(choices[1:] if behaviour.uneven else ())
        half = len(answer.pieces) // 2
        for kind, delta, number in _chat_deltas(answer, behaviour):
            for i in choices:
                if number == half and i in early and kind is Kind.CONTENT:
                    yield Event(Kind.FINISH, frame({}, "length", i))
                if number < half or i not in early:
                    yield Event(kind, frame(delta, None, i))
        for i in choices if behaviour.finish else ():
            if i not in early:
                yield Event(Kind.FINISH, frame({}, answer.finish, i))
        if behaviour.usage == "always" or (behaviour.usage == "asked" and ask.usage):
            yield Event(Kind.USAGE, usage)
        if behaviour.done:
            yield Event(Kind.DONE, b"[DONE]")


def _chat_deltas(answer: Answer, behaviour: Behaviour) -> Iterator[tuple[Kind, dict[str, object], int]]:
    """Every delta of one choice, with its kind and the number of its text piece (-1 before the text)."""
    for thought in answer.thoughts:
        yield Kind.CONTENT, {"reasoning_content": thought}, -1
    for number, piece in enumerate(answer.pieces):
        yield Kind.CONTENT, {"content": piece}, number
    for delta in _call_deltas(answer.calls, behaviour):
        yield Kind.TOOL, {"tool_calls": [delta]}, -1


def content_of(answer: Answer, behaviour: Behaviour) -> object:
    """The content of a whole reply, of the wrong type where the behaviour says so."""
    if behaviour.answer is Answering.NUMBER:
        return 42
    if behaviour.answer is Answering.PARTS:
        return [{"type": "text", "text": answer.text}]
    if answer.calls and not answer.pieces:
        return None
    return answer.text


def usage_of(answer: Answer, n: int) -> dict[str, object]:
    """The usage block."""
    completion = answer.completion_tokens * n
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": answer.prompt_tokens + completion,
    }


def _whole_call(call: Call, behaviour: Behaviour) -> dict[str, object]:
    """A tool call in a whole reply."""
    made: dict[str, object] = {"id": call.id, "type": "function"}
    if behaviour.tool_ids == "missing":
        del made["id"]
    made["function"] = {"name": call.name, "arguments": call.arguments}
    return made


def _call_deltas(calls: list[Call], behaviour: Behaviour) -> Iterator[dict[str, object]]:
    """The deltas of all tool calls, with the indices and ids the behaviour asks for."""
    for number, call in enumerate(calls):
        index = {"dense": number, "zero": 0, "from_one": number + 1, "jumps": number * 3}.get(behaviour.tool_index)
        place: dict[str, object] = {} if index is None else {"index": index}
        ident: dict[str, object] = {} if behaviour.tool_ids == "missing" else {"id": call.id}
        if behaviour.tool_index == "zero":  # Ollama sends each call whole
            yield {**place, **ident, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            continue
        third = max(1, len(call.arguments) // 3)
        parts = [call.arguments[i : i + third] for i in range(0, len(call.arguments), third)]
        if behaviour.arguments_first:
            for part in parts:
                yield {**place, **ident, "function": {"arguments": part}}
            yield {**place, **ident, "type": "function", "function": {"name": call.name, "arguments": ""}}
            continue
        yield {**place, **ident, "type": "function", "function": {"name": call.name, "arguments": ""}}
        for part in parts:
            yield {**place, **(ident if behaviour.tool_index == "missing" else {}), "function": {"arguments": part}}


class OpenAICompletions:
    """`/v1/completions`."""

    name = "openai"
    ndjson = False

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        prompt = "\n".join(texts(body.get("prompt")))
        return Ask(
            model=text_of(body.get("model")),
            kind="completion",
            stream=body.get("stream") is True,
            n=choices_of(body),
            usage=mapping(body.get("stream_options")).get("include_usage") is True,
            max_tokens=int_of(body.get("max_tokens")),
            prompt=prompt,
            last=prompt,
        )

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole text completion."""
        text = content_of(answer, behaviour)
        choices = [{"index": i, "text": text, "logprobs": None, "finish_reason": answer.finish} for i in range(ask.n)]
        body: dict[str, object] = {
            "id": f"cmpl-{answer.id}",
            "object": "text_completion",
            "created": CREATED,
            "model": answer.model,
            "choices": choices,
        }
        if behaviour.usage != "never":
            body["usage"] = usage_of(answer, ask.n)
        return body

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The chunks of a streamed text completion."""
        base = {"id": f"cmpl-{answer.id}", "object": "text_completion", "created": CREATED, "model": answer.model}

        def frame(text: str, finish: str | None, index: int) -> bytes:
            return orjson.dumps({**base, "choices": [{"index": index, "text": text, "finish_reason": finish}]})

        for piece in answer.pieces:
            for i in range(ask.n):
                yield Event(Kind.CONTENT, frame(piece, None, i))
        if behaviour.finish:
            for i in range(ask.n):
                yield Event(Kind.FINISH, frame("", answer.finish, i))
        if behaviour.usage == "always" or (behaviour.usage == "asked" and ask.usage):
            yield Event(Kind.USAGE, orjson.dumps({**base, "choices": [], "usage": usage_of(answer, ask.n)}))
        if behaviour.done:
            yield Event(Kind.DONE, b"[DONE]")


class OpenAIEmbeddings:
    """`/v1/embeddings`; it has no stream."""

    name = "openai"
    ndjson = False

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        inputs = inputs_of(body.get("input"))
        return Ask(
            model=text_of(body.get("model")),
            kind="embedding",
            inputs=inputs,
            prompt="\n".join(inputs),
            base64=body.get("encoding_format") == "base64",
        )

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of an embeddings reply."""
        data: list[dict[str, object]] = []
        for i, text in enumerate(ask.inputs):
            numbers = vector(text, behaviour.dimensions)
            packed = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
            data.append({"object": "embedding", "index": i, "embedding": packed if ask.base64 else numbers})
        usage = {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens}
        return {"object": "list", "data": data, "model": answer.model, "usage": usage}

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """Nothing: embeddings are never streamed."""
        return iter(())


def inputs_of(value: object) -> list[str]:
    """The texts of an embedding's input: a text, texts, tokens or lists of tokens."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    if value and all(isinstance(item, int) for item in value):
        return [str(value)]
    return [item if isinstance(item, str) else str(item) for item in value]


def vector(text: str, dimensions: int) -> list[float]:
    """A made-up vector of a text, the same in every run."""
    return [(crc32(f"{i}\0{text}".encode("utf-8", "replace")) % 2001 - 1000) / 1000 for i in range(dimensions)]
