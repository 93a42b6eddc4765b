"""`routerconsole complete`: one request through the engine's own endpoint, whole or as it streams."""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import show_json
from routerconsole.cli.session import engine
from routerconsole.control.discovery import TokenKind
from routerconsole.control.port import ControlError, EngineUnreachable
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import visible, visible_block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from routerconsole.control.discovery import Found

Json = dict[str, Any]

MAX_IMAGE = 15 * 1024 * 1024
CONNECT_S, ANSWER_S = 3.0, 900.0
"""The engine's own deadline ends a request before ours does."""
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


def run(args: argparse.Namespace) -> int:
    """Print the answer; who served it goes to stderr."""
    body = _body(args)
    return asyncio.run(_ask(engine(args, TokenKind.CLIENT), body, as_json=args.json))


async def _ask(found: Found, body: Json, *, as_json: bool) -> int:
    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
    head = {"authorization": f"Bearer {found.token.reveal()}", "x-router-trace": "1"}
    async with httpx.AsyncClient(base_url=found.url, headers=head, timeout=timeout, trust_env=False) as client:
        begun = asyncio.get_running_loop().time()
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refused(answer.status_code, await answer.aread())
                document = await (_streamed(answer, show=not as_json) if body.get("stream") else _whole(answer))
        except httpx.TransportError as exc:
            why = str(exc) or type(exc).__name__
            raise EngineUnreachable(f"No engine answers at {found.url}: {why}.") from exc
    document["latency_ms"] = round((asyncio.get_running_loop().time() - begun) * 1000, 1)
    if as_json:
        show_json(document)
    elif not body.get("stream"):
        print(visible_block(document["content"] or _called(document)))
    sys.stdout.flush()
    served = f"{document['provider']}/{document['model']}"
    if not as_json:
        attempts = counted(len(document["attempts"]), "attempt")
        print(visible(f"({served}, {attempts}, {document['request_id']})"), file=sys.stderr)
    return Exit.OK


async def _whole(answer: httpx.Response) -> Json:
    data = orjson.loads(await answer.aread())
    choice = _first(data)
    message = choice.get("message") or {}
    return _document(
        answer,
        _text_of(message.get("content")),
        finish=choice.get("finish_reason"),
        usage=data.get("usage"),
        told=data.get("routerconsole"),
        tool_calls=message.get("tool_calls"),
    )


def _text_of(content: object) -> str:
    """Return a message's text, of its parts where it comes in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _first(data: Json) -> Json:
    """Return the first choice of an answer or chunk."""
    choices = data.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


async def _streamed(answer: httpx.Response, *, show: bool) -> Json:
    """Print deltas as they come; an error inside the stream is an error of the command."""
    parts: list[str] = []
    finish, usage, told = None, None, None
    async for event in _events(answer):
        if "error" in event:
            if show and parts:
                print()
            raise _told_off(event["error"], 502)
        told = event.get("routerconsole") or told
        usage = event.get("usage") or usage
        choice = _first(event)
        finish = choice.get("finish_reason") or finish
        text = (choice.get("delta") or {}).get("content")
        if isinstance(text, str) and text:
            parts.append(text)
            if show:
                print(visible_block(text), end="", flush=True)
    if show:
        print()
    return _document(answer, "".join(parts), finish=finish, usage=usage, told=told, tool_calls=None)


async def _events(answer: httpx.Response) -> AsyncIterator[Json]:
    """Yield the JSON payloads of our own endpoint's stream; a stream without `[DONE]` was cut."""
    rest = b""
    async for chunk in answer.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            payload = line.removeprefix(b"data:").strip()
            if payload == b"[DONE]":
                return
            event = orjson.loads(payload)
            if isinstance(event, dict):
                yield event
    raise Stop(Exit.PROBLEMS, "the stream ended before its end")


def _document(
    answer: httpx.Response, content: str, *, finish: object, usage: object, told: object, tool_calls: object
) -> Json:
    known = told if isinstance(told, dict) else {}
    attempts = known.get("attempts") or []
    candidates = known.get("candidates") or []
    first = candidates[0] if candidates else {}
    served = (known.get("provider"), known.get("model"))
    return {
        "content": content,
        "provider": answer.headers.get("x-router-provider", ""),
        "model": answer.headers.get("x-router-model", ""),
        "is_fallback_model": bool(first) and served != (first.get("provider"), first.get("model")),
        "attempts": attempts,
        "request_id": answer.headers.get("x-router-request-id", ""),
        "finish_reason": finish,
        "usage": usage,
        "tool_calls": tool_calls,
    }


def _called(document: Json) -> str:
    calls = document["tool_calls"]
    return orjson.dumps(calls).decode() if calls else "(no text)"


def _refused(status: int, raw: bytes) -> Exception:
    try:
        error = orjson.loads(raw).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        error = None
    if not isinstance(error, dict):
        return ControlError("unexpected_answer", f"What answers there is not this router: status {status}.", status=502)
    return _told_off(error, status)


def _told_off(error: object, status: int) -> Exception:
    """Return the failure an error object stands for: a refused request, or one that no candidate served."""
    said = error if isinstance(error, dict) else {}
    code, message = str(said.get("code")), str(said.get("message"))
    told = said.get("routerconsole")
    tried = told.get("attempts") if isinstance(told, dict) else None
    for attempt in tried or ():
        where, why = f"{attempt.get('provider')}/{attempt.get('model')}", attempt.get("class")
        message += f"; {where}: {why} {attempt.get('status') or ''}".rstrip()
    if status in (429, 499) or status >= httpx.codes.INTERNAL_SERVER_ERROR or tried:
        return Stop(Exit.PROBLEMS, f"{code}: {message}")
    return ControlError(code, f"{code}: {message}", status=status)


def _body(args: argparse.Namespace) -> Json:
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace") if args.prompt == "-" else args.prompt
    if not prompt.strip():
        raise Stop(Exit.USAGE, "the prompt is empty")
    content: object = prompt
    if args.image is not None:
        part = {"type": "image_url", "image_url": {"url": _data_url(args.image)}}
        content = [{"type": "text", "text": prompt}, part]
    body: Json = {"messages": [{"role": "user", "content": content}]}
    if args.model is not None:
        body["model"] = args.model
    if args.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _data_url(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_IMAGE + 1)
    if len(raw) > MAX_IMAGE:
        raise Stop(Exit.USAGE, f"{path}: over {MAX_IMAGE // (1024 * 1024)} MB")
    kind = next((kind for magic, kind in _KINDS.items() if raw.startswith(magic)), None)
    if kind is None:
        raise Stop(Exit.USAGE, f"{path}: not a PNG, JPEG, GIF or WebP image")
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
