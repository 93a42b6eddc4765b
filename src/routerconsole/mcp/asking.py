"""One tool call as one chat request to the engine's endpoint. Ending the call closes the connection, which the engine
takes as the client leaving: it closes the upstream's.

A connection of its own for each call: httpx's pool does not survive cancellation.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from routerconsole.control.port import ORIGIN_HEADER
from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.request import Origin

if TYPE_CHECKING:
    from routerconsole.control.discovery import Found

Json = Mapping[str, Any]

CONNECT_S = 3.0
_SPARE_SHARE, _SPARE_S = 0.1, 0.5
"""How much earlier the engine's own deadline is, so that it can still say what it tried."""
_BUSY_S, _BUSY_MOST_S = 0.25, 4.0
"""Between the first tries and between the last ones, where every model of a pool is busy."""
_NOTHING: Json = {}


class ToolFailed(Exception):
    """A call that brought no answer: a stable code, words for the one who asked, and what was tried."""

    def __init__(self, code: str, message: str, *, attempts: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.attempts = code, message, attempts


@dataclass(frozen=True, slots=True)
class Limits:
    """`mcp` of the configuration: tokens of an answer, seconds of a call; and the bytes the engine takes."""

    max_tokens: int
    deadline_s: float
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, who it was, and what it took (`chain`); `finish` is the reason it stopped."""

    text: str
    provider: str
    model: str
    chain: str
    finish: str | None
    request_id: str
    prompt_tokens: int | None
    completion_tokens: int | None


async def ask(found: Found, prompt: str, *, model: str, limits: Limits, until: float) -> Answer:
    """Ask a pool, again while all of it is busy; raise ToolFailed.

    Agents ask many things at once, and a local model takes two: what is refused for that has cost nothing, and an
    agent that reads `overloaded` gives up. Who calls ends it at `until` (the loop's clock); the engine ends it before.
    """
    content = orjson.dumps(
        {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": limits.max_tokens}
    )
    if len(content) > limits.max_bytes:  # the engine would hang up while it is still being sent
        mb = limits.max_bytes / (1024 * 1024)
        raise ToolFailed("payload_too_large", f"The arguments are over {mb:.3g} MB (`server.max_body_mb`).")
    clock, pause = asyncio.get_running_loop().time, _BUSY_S
    while True:
        try:
            return await _once(found, content, left_s=until - clock())
        except ToolFailed as exc:
            rest = pause * random.uniform(0.5, 1.5)  # noqa: S311 - so that they do not all come back together
            if exc.code != ErrorCode.OVERLOADED or exc.attempts or clock() + rest >= until:
                raise
        await asyncio.sleep(rest)
        pause = min(2 * pause, _BUSY_MOST_S)


async def _once(found: Found, content: bytes, *, left_s: float) -> Answer:
    own = max(left_s - min(_SPARE_S, left_s * _SPARE_SHARE), 0.001)
    headers = {
        "authorization": f"Bearer {found.token.reveal()}",
        "content-type": "application/json",
        "x-router-timeout-ms": str(max(1, int(own * 1000))),
        "x-router-trace": "1",
        ORIGIN_HEADER: Origin.MCP.value,
    }
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    # the context of a TLS client takes 20 ms to make, which a plain address has no use for
    verify = found.url.startswith("https://")
    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=verify) as client:
            reply = await client.post(f"{found.url}/v1/chat/completions", content=content, headers=headers)
    except httpx.TransportError as exc:
        why = str(exc).rstrip(".") or type(exc).__name__
        raise ToolFailed("engine_unreachable", f"The engine at {found.url} does not answer: {why}.") from exc
    return _answer(reply)


def _answer(reply: httpx.Response) -> Answer:
    try:
        data = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise ToolFailed("unexpected_answer", f"What answers is not this router: status {reply.status_code}.")
    if reply.status_code != httpx.codes.OK:
        raise _failure(_object(data.get("error")), reply.status_code)
    choices = data.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else _NOTHING
    told, usage = _object(data.get("routerconsole")), _object(data.get("usage"))
    finish = choice.get("finish_reason")
    return Answer(
        text=_text(_object(choice.get("message"))),
        provider=str(told.get("provider") or reply.headers.get("x-router-provider", "")),
        model=str(told.get("model") or reply.headers.get("x-router-model", "")),
        chain=str(told.get("chain") or ""),
        finish=finish if isinstance(finish, str) else None,
        request_id=str(told.get("request_id") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _failure(error: Json, status: int) -> ToolFailed:
    told = _object(error.get("routerconsole"))
    attempts = told.get("attempts")
    tried = tuple(_tried(_object(each)) for each in attempts) if isinstance(attempts, list) else ()
    code = error.get("code")
    return ToolFailed(
        code if isinstance(code, str) else f"status_{status}",
        str(error.get("message") or f"The engine answered with status {status}."),
        attempts=tried,
    )


def _tried(attempt: Json) -> str:
    """Return e.g. `groq/llama: rate 429`."""
    why = " ".join(str(word) for word in (attempt.get("class"), attempt.get("status")) if word)
    return f"{attempt.get('provider')}/{attempt.get('model')}: {why}"


def _text(message: Json) -> str:
    """Return a message's text, of its parts where it comes in parts; a refusal is what was said too."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if isinstance(content, str) and content:
        return content
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else _NOTHING


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
