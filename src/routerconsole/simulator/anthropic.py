"""The Anthropic dialect of the simulator: `/v1/messages`, whole and as named events."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from routerconsole.simulator.behaviour import Answering, Behaviour
from routerconsole.simulator.content import Answer, Ask, Call, Tool
from routerconsole.simulator.events import Event, Kind, count_parts, int_of, mapping, objects, text_of, texts
from routerconsole.simulator.http import Request
from routerconsole.simulator.openai import content_of, prompt_of

_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_CHOICES = {"any": "required", "auto": "auto", "none": "none", "tool": "named"}
_IMAGES = frozenset({"image"})
_RESULTS = frozenset({"tool_result"})


class AnthropicMessages:
    """`/v1/messages`."""

    name = "anthropic"
    ndjson = False

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""
        messages = objects(body.get("messages"))
        prompt, last = prompt_of(messages)
        choice = mapping(body.get("tool_choice"))
        tools = [
            Tool(text_of(t.get("name"), "unnamed"), mapping(t.get("input_schema"))) for t in objects(body.get("tools"))
        ]
        return Ask(
            model=text_of(body.get("model")),
            stream=body.get("stream") is True,
            tools=tools,
            choice=_CHOICES.get(text_of(choice.get("type"), "auto"), "auto"),
            named=text_of(choice.get("name")) or None,
            after_tool=bool(messages) and count_parts(messages[-1].get("content"), _RESULTS) > 0,
            images=sum(count_parts(message.get("content"), _IMAGES) for message in messages),
            system=body.get("system") is not None,
            reasoning=mapping(body.get("thinking")).get("type") == "enabled",
            max_tokens=int_of(body.get("max_tokens")),
            prompt="\n".join([*texts(body.get("system")), prompt]),
            last=last,
        )

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole message."""
        content: object = [*_thinking(answer), *_text(answer), *(_tool_use(call) for call in answer.calls)]
        if behaviour.answer is Answering.NUMBER:
            content = content_of(answer, behaviour)
        body = self._message(answer, content, _STOPS.get(answer.finish, answer.finish))
        body["usage"] = {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens}
        if behaviour.answer is Answering.MISSING:
            del body["content"]
        return body

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The events of a streamed message."""
        message = self._message(answer, [], None)
        message["usage"] = {"input_tokens": answer.prompt_tokens, "output_tokens": 1}
        if behaviour.role:
            yield _event(Kind.ROLE, "message_start", message=message)
            yield _event(Kind.META, "ping")
        index = 0
        if answer.thoughts:
            yield _start(index, {"type": "thinking", "thinking": "", "signature": ""})
            for thought in answer.thoughts:
                yield _delta(Kind.CONTENT, index, {"type": "thinking_delta", "thinking": thought})
            yield _delta(Kind.META, index, {"type": "signature_delta", "signature": "c2ln"})
            yield _event(Kind.META, "content_block_stop", index=index)
            index += 1
        if answer.pieces:
            yield _start(index, {"type": "text", "text": ""})
            for piece in answer.pieces:
                yield _delta(Kind.CONTENT, index, {"type": "text_delta", "text": piece})
            yield _event(Kind.META, "content_block_stop", index=index)
            index += 1
        for call in answer.calls:
            yield _start(index, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, Kind.TOOL)
            third = max(1, len(call.arguments) // 3)
            for i in range(0, len(call.arguments), third):
                part: dict[str, object] = {"type": "input_json_delta", "partial_json": call.arguments[i : i + third]}
                yield _delta(Kind.TOOL, index, part)
            yield _event(Kind.META, "content_block_stop", index=index)
            index += 1
        if behaviour.finish:
            stop = {"stop_reason": _STOPS.get(answer.finish, answer.finish), "stop_sequence": None}
            usage = {"output_tokens": answer.completion_tokens}
            yield _event(Kind.FINISH, "message_delta", delta=stop, usage=usage)
        if behaviour.done:
            yield _event(Kind.DONE, "message_stop")

    def _message(self, answer: Answer, content: object, stop: str | None) -> dict[str, object]:
        """The message object."""
        return {
            "id": f"msg_{answer.id}",
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
        }


def _event(kind: Kind, name: str, **fields: object) -> Event:
    """One named event."""
    return Event(kind, orjson.dumps({"type": name, **fields}), name)


def _start(index: int, block: dict[str, object], kind: Kind = Kind.META) -> Event:
    """The start of a content block."""
    return _event(kind, "content_block_start", index=index, content_block=block)


def _delta(kind: Kind, index: int, delta: dict[str, object]) -> Event:
    """A delta of a content block."""
    return _event(kind, "content_block_delta", index=index, delta=delta)


def _thinking(answer: Answer) -> Iterator[dict[str, object]]:
    """The thinking block, if there is one."""
    if answer.thoughts:
        yield {"type": "thinking", "thinking": "".join(answer.thoughts), "signature": "c2ln"}


def _text(answer: Answer) -> Iterator[dict[str, object]]:
    """The text block, if there is one."""
    if answer.pieces:
        yield {"type": "text", "text": answer.text}


def _tool_use(call: Call) -> dict[str, object]:
    """A tool call; a broken model's arguments stay a text."""
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        arguments = call.arguments
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
