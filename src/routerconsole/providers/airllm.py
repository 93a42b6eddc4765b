"""Kind `airllm`: checkpoints on this machine, answered by the weights worker in the OpenAI shape.

The dialect says what weights without tools, pictures or grammars cannot carry; the door stands where the network does
for other kinds, so that deadlines, cancels and failures take the same way as everybody's.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from multidict import CIMultiDict

from routerconsole.domain.capability import Word
from routerconsole.domain.registry import Model
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.routing.faults import TransportFault

from . import shapes
from .dialect import Unsupported, WireRequest
from .openai import OpenAIDialect
from .transport import MAX_BODY, Answered, Call, TransportError
from .worker import Job, NotNow, Worker

if TYPE_CHECKING:
    from routerconsole.providers.shapes import Json

_NAME: Final = "airllm"
_JSON: Final = ((b"content-type", b"application/json"),)
_SSE: Final = ((b"content-type", b"text/event-stream"),)
_FAILURES: Final[Mapping[str, tuple[int, str]]] = {
    "context_length_exceeded": (400, "invalid_request_error"),
    "invalid_request": (400, "invalid_request_error"),
    "cannot_load": (404, "not_found_error"),
    "out_of_memory": (503, "server_error"),
}
"""Status and type of what the worker refuses; everything else is a 500.

What cannot be loaded is as good as not there: loading it again takes minutes and ends the same until its files change.
"""
_REST: Final[Mapping[str, bytes]] = {"out_of_memory": b"60", "not_now": b"1"}
"""Seconds until asking again makes sense: who has no room for a model is not to load it again at once."""
_SEEDS: Final = range(-(2**63), 2**64)
"""What torch takes."""


class AirllmDialect(OpenAIDialect):
    """OpenAI's shapes, of which only plain chat and text completions are carried."""

    name = _NAME

    def encode(self, request: ChatRequest, model: Model) -> WireRequest:
        """Return what the door reads; raise Unsupported where weights alone cannot do it."""
        if request.endpoint is Endpoint.EMBEDDINGS:
            raise Unsupported(Word.EMBEDDINGS, f"{_NAME} makes no embeddings")
        body = request.body
        if body.get("tools") or body.get("functions"):
            raise Unsupported(Word.TOOLS, f"{_NAME} carries no tools")
        if body.get("n") not in (None, 1):
            raise Unsupported(Word.TEXT, f"{_NAME} gives one choice only")
        form = body.get("response_format")
        kind = form.get("type") if isinstance(form, dict) else None
        if kind not in (None, "text"):
            raise Unsupported(Word.JSON_SCHEMA if kind == "json_schema" else Word.JSON, f"{_NAME} answers with text")
        sent: Json = {"model": model.upstream_id, "stream": request.stream}
        if request.endpoint is Endpoint.CHAT:
            sent["messages"] = [_message(message) for message in body["messages"]]
        else:
            sent["prompt"] = _prompt(body.get("prompt"))
        limits = (body.get("max_completion_tokens"), body.get("max_tokens"), model.max_output_tokens)
        stop = body.get("stop")
        found = {
            "max_tokens": next((limit for limit in limits if limit is not None), None),
            "stop": [stop] if isinstance(stop, str) else stop,
            "temperature": body.get("temperature", model.default_temperature),
            **{name: body.get(name) for name in ("top_p", "seed")},
        }
        sent |= {name: value for name, value in found.items() if value is not None}
        path = "/chat/completions" if request.endpoint is Endpoint.CHAT else "/completions"
        return WireRequest("POST", path, orjson.dumps(sent))


def _message(message: Any) -> Json:
    if message.get("tool_calls") or message.get("role") in ("tool", "function"):
        raise Unsupported(Word.TOOLS, f"{_NAME} carries no tool calls")
    texts = []
    for part in shapes.parts(message.get("content"), _NAME):
        if isinstance(part, shapes.Image):
            raise Unsupported(Word.VISION, f"{_NAME} carries no images")
        texts.append(part.text)
    return {"role": message.get("role", "user"), "content": "".join(texts)}


def _wrong(asked: Json) -> tuple[str, str] | None:
    """Return the setting no library takes and what it must be, None where all are well."""
    limit, temperature, top_p = asked.get("max_tokens", 1), asked.get("temperature", 1), asked.get("top_p", 1)
    if type(limit) is not int or limit < 1:
        return "max_tokens", "a whole number from 1"
    if not (_number(temperature) and temperature >= 0):
        return "temperature", "a number from 0"
    if not (_number(top_p) and 0 <= top_p <= 1):
        return "top_p", "a number from 0 to 1"
    if type(seed := asked.get("seed", 0)) is not int or seed not in _SEEDS:
        return "seed", "a whole number of 64 bits"
    words = asked.get("stop", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return "stop", "a text or a list of texts"
    return None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _prompt(prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise Unsupported(Word.TEXT, f"{_NAME} carries one text prompt")
    return prompt


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights lie; `problem` says why they cannot be used, empty where they can."""

    path: Path
    problem: str = ""


class WeightsDoor:
    """One provider's way to the worker: what `Transport.exchange` is for upstreams on a network."""

    def __init__(
        self,
        worker: Worker,
        weights: Callable[[], Mapping[str, Weights]],
        *,
        provider: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._worker, self._weights, self._provider = worker, weights, provider
        self._clock, self._wall = clock, wall

    async def exchange(self, method: str, call: Call, headers: CIMultiDict[str], content: bytes) -> Answered:
        """Return once the head is there: a stream's when the model begins, a whole answer's when it has ended.

        Raises TransportError where the process died or rests.
        """
        if method == "GET":
            return self._whole(call, 200, _listing(self._weights()))
        asked = orjson.loads(content)
        streamed = asked.pop("stream", False)
        lying = self._weights().get(asked["model"])
        if lying is None or lying.problem:
            why = "has no `path`" if lying is None else lying.problem
            return self._whole(call, 404, _error(f"{asked['model']} {why}", "model_not_found", "invalid_request_error"))
        if wrong := _wrong(asked):
            error = _error(f"{wrong[0]} must be {wrong[1]}", "invalid_request", "invalid_request_error", wrong[0])
            return self._whole(call, 400, error)
        call.timings.reused = False
        call.timings.connect_start = call.timings.connect_end = self._clock()
        try:
            job = self._worker.submit({**asked, "path": str(lying.path)}, provider=self._provider)
        except NotNow as exc:
            return self._whole(call, exc.status, _error(str(exc), "not_now", "server_error"))
        try:
            said = await job.said.get()
            if said["say"] == "began":
                shape = Shape(asked, f"airllm-{job.asked['id']}", int(self._wall()), said["prompt_tokens"])
                body = WeightsBody(self._worker, job, shape)
                if streamed:
                    call.timings.first_byte = self._clock()
                    return Answered(200, _SSE, body)
                texts, said = await body.collect()
                if said["say"] == "done":
                    return self._whole(call, 200, body.shape.whole("".join(texts), said))
        except BaseException:
            self._worker.drop(job)
            raise
        if said["say"] == "died":
            raise TransportError(TransportFault.EOF, said["message"], reused=False)
        status, kind = _FAILURES.get(said["code"], (500, "server_error"))
        return self._whole(call, status, _error(said["message"], said["code"], kind))

    def _whole(self, call: Call, status: int, data: Json) -> Answered:
        call.timings.first_byte = self._clock()
        rest = _REST.get(data["error"]["code"]) if status >= 400 else None
        headers = _JSON if rest is None else (*_JSON, (b"retry-after", rest))
        return Answered(status, headers, Bytes(orjson.dumps(data)))


@dataclass(frozen=True, slots=True)
class Shape:
    """One answer in the OpenAI shape; `created` is UTC epoch seconds."""

    asked: Json
    id: str
    created: int
    prompt_tokens: int

    def _frame(self, end: str) -> Json:
        chat = "messages" in self.asked
        kind = f"chat.completion{end}" if chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.asked["model"]}

    def whole(self, text: str, done: Json) -> Json:
        """Return the answer in one piece."""
        said: Json = {"message": {"role": "assistant", "content": text}} if "messages" in self.asked else {"text": text}
        choice = {"index": 0, **said, "finish_reason": done["finish"], "logprobs": None}
        return {**self._frame(""), "choices": [choice], "usage": self.usage(done)}

    def chunk(self, text: str | None, finish: str | None = None, *, first: bool = False) -> Json:
        """Return a piece of it; only the first says whose it is."""
        if "messages" in self.asked:
            role = {"role": "assistant"} if first else {}
            said: Json = {"delta": role if text is None else {**role, "content": text}}
        else:
            said = {"text": text or ""}
        return {**self._frame(".chunk"), "choices": [{"index": 0, **said, "finish_reason": finish}]}

    def last(self, done: Json) -> Json:
        """Return what ends a stream: the count of tokens."""
        return {**self._frame(".chunk"), "choices": [], "usage": self.usage(done)}

    def usage(self, done: Json) -> Json:
        """Return the tokens of prompt and answer."""
        made = done["completion_tokens"]
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }


class Bytes:
    """A body that is there already."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    async def read(self, *, limit: int = MAX_BODY) -> bytes:
        """Return it; raises TransportError, TOO_LARGE over `limit` bytes."""
        if len(self._raw) > limit:
            raise TransportError(TransportFault.TOO_LARGE, f"the body is over {limit} bytes", bytes_received=True)
        return self._raw

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it."""
        yield self._raw

    def abort(self) -> None:
        """Nothing runs any more."""


class WeightsBody:
    """An answer that is being made, as server-sent events. Whoever stops early aborts it."""

    def __init__(self, worker: Worker, job: Job, shape: Shape) -> None:
        self._worker, self._job, self.shape = worker, job, shape

    async def collect(self) -> tuple[list[str], Json]:
        """Return every text and what ended it."""
        texts = []
        while (said := await self._job.said.get())["say"] == "text":
            texts.append(said["text"])
        return texts, said

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield events as they are made; raises TransportError where the process dies."""
        first = True
        try:
            while (said := await self._job.said.get())["say"] == "text":
                yield _event(self.shape.chunk(said["text"], first=first))
                first = False
            if said["say"] == "died":
                raise TransportError(TransportFault.EOF, said["message"], bytes_received=True)
            if said["say"] == "failed":
                yield _event(_error(said["message"], said["code"], "server_error"))
                return
            yield _event(self.shape.chunk(None, said["finish"], first=first))
            yield _event(self.shape.last(said))
            yield b"data: [DONE]\n\n"
        finally:
            self.abort()

    async def read(self, *, limit: int = MAX_BODY) -> bytes:
        """Return all events; raises TransportError."""
        return b"".join([piece async for piece in self])

    def abort(self) -> None:
        """Call the answer off unless it is complete; idempotent, never waits."""
        self._worker.drop(self._job)


def _listing(weights: Mapping[str, Weights]) -> Json:
    rows = [{"id": id_, "object": "model", "owned_by": _NAME} for id_, lying in weights.items() if not lying.problem]
    return {"object": "list", "data": rows}


def _error(message: str, code: str, kind: str, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def _event(data: Json) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
