"""The Ollama dialect of the simulator: `/api/chat`, `/api/generate` (NDJSON or whole) and `/api/embed`."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from routerconsole.simulator.behaviour import Behaviour
from routerconsole.simulator.content import Answer, Ask, Call
from routerconsole.simulator.events import Event, Kind, int_of, mapping, objects, text_of
from routerconsole.simulator.http import Request
from routerconsole.simulator.openai import content_of, inputs_of, prompt_of, tools_of, vector

_WHEN = "2026-01-02T03:04:05.000000Z"


class OllamaChat:
    """`/api/chat`; a stream unless `stream` is false."""

    name = "ollama"
    ndjson = True

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect; `format` is "json" or a schema."""
        messages = objects(body.get("messages"))
        prompt, last = prompt_of(messages)
        form = body.get("format")
        return Ask(
            model=text_of(body.get("model")),
            stream=body.get("stream") is not False,
            tools=tools_of(body),
            after_tool=bool(messages) and messages[-1].get("role") == "tool",
            json=form == "json",
            schema=form if isinstance(form, dict) else None,
            images=sum(len(found) for m in messages if isinstance(found := m.get("images"), list)),
            system=any(message.get("role") == "system" for message in messages),
            reasoning=bool(body.get("think")),
            max_tokens=int_of(mapping(body.get("options")).get("num_predict")),
            prompt=prompt,
            last=last,
        )

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole reply."""
        message: dict[str, object] = {"role": "assistant", "content": content_of(answer, behaviour) or ""}
        if answer.thoughts:
            message["thinking"] = "".join(answer.thoughts)
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        return {**self._base(answer), "message": message, **self._end(answer)}

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The lines of a streamed reply."""
        base = self._base(answer)

        def line(message: dict[str, object]) -> bytes:
            return orjson.dumps({**base, "message": {"role": "assistant", **message}, "done": False})

        for thought in answer.thoughts:
            yield Event(Kind.CONTENT, line({"content": "", "thinking": thought}))
        for piece in answer.pieces:
            yield Event(Kind.CONTENT, line({"content": piece}))
        for call in answer.calls:
            yield Event(Kind.TOOL, line({"content": "", "tool_calls": [_call(call)]}))
        if behaviour.finish:
            last = {**base, "message": {"role": "assistant", "content": ""}, **self._end(answer)}
            yield Event(Kind.FINISH, orjson.dumps(last))

    def _base(self, answer: Answer) -> dict[str, object]:
        """The fields of every line."""
        return {"model": answer.model, "created_at": _WHEN}

    def _end(self, answer: Answer) -> dict[str, object]:
        """The fields of the last line."""
        return {
            "done": True,
            "done_reason": "length" if answer.finish == "length" else "stop",
            "total_duration": 1_000_000,
            "load_duration": 1_000,
            "prompt_eval_count": answer.prompt_tokens,
            "eval_count": answer.completion_tokens,
        }


def _call(call: Call) -> dict[str, object]:
    """A tool call: arguments are an object here, or whatever text a broken model makes."""
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        arguments = call.arguments
    return {"function": {"index": 0, "name": call.name, "arguments": arguments}}


class OllamaGenerate(OllamaChat):
    """`/api/generate`: the same with a `prompt` and a `response`."""

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        message = {"role": "user", "content": text_of(body.get("prompt")), "images": body.get("images")}
        return super().parse(request, {**body, "messages": [message]})

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole reply."""
        return {**self._base(answer), "response": answer.text, **self._end(answer)}

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The lines of a streamed reply."""
        base = self._base(answer)
        for piece in answer.pieces:
            yield Event(Kind.CONTENT, orjson.dumps({**base, "response": piece, "done": False}))
        if behaviour.finish:
            yield Event(Kind.FINISH, orjson.dumps({**base, "response": "", **self._end(answer)}))


class OllamaEmbed:
    """`/api/embed`; it has no stream."""

    name = "ollama"
    ndjson = True

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        inputs = inputs_of(body.get("input", body.get("prompt")))
        return Ask(model=text_of(body.get("model")), kind="embedding", inputs=inputs, prompt="\n".join(inputs))

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of an embeddings reply."""
        vectors = [vector(text, behaviour.dimensions) for text in ask.inputs]
        return {"model": answer.model, "embeddings": vectors, "prompt_eval_count": answer.prompt_tokens}

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """Nothing: embeddings are never streamed."""
        return iter(())
