"""What a stock OpenAI SDK does with the router, one scenario per call, run by the SDK environment's interpreter.

    eval "$(routerconsole env)"; …/openai2/bin/python sdk_scenarios.py stream --model sim-ok

Prints one JSON object of facts and exits 0 when the SDK saw what a program relies on; an AssertionError says what it
missed. It imports only `openai` and what comes with it; the address and the key come from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import subprocess
from collections.abc import Callable, Sequence
from functools import partial

import openai
from openai import AsyncOpenAI, OpenAI
from payloads import IMAGE, WEATHER  # beside this script, wherever it runs
from pydantic import BaseModel

Facts = dict[str, object]


class City(BaseModel):
    """The shape asked of the model."""

    city: str


def ask(text: str) -> list[dict[str, object]]:
    """One user turn."""
    return [{"role": "user", "content": text}]


def chat(client: OpenAI, model: str) -> Facts:
    """A whole reply, with the router's headers reachable."""
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ask("hello"), max_tokens=64)
    reply = raw.parse()
    assert reply.choices[0].message.content, reply
    assert reply.choices[0].finish_reason in {"stop", "length"}, reply
    assert raw.headers["x-router-request-id"], dict(raw.headers)
    return {"text": reply.choices[0].message.content, "id": raw.headers["x-router-request-id"]}


def stream(client: OpenAI, model: str) -> Facts:
    """A streamed reply with usage when asked, and none when not."""
    text, finish, usage = "", None, None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model=model, messages=ask("hello"), max_tokens=64, stream=True, stream_options=options
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text, "no text"
    assert finish in {"stop", "length"}, finish
    assert usage is not None, "usage was asked for"
    plain = list(client.chat.completions.create(model=model, messages=ask("hello"), max_tokens=64, stream=True))
    assert all(chunk.usage is None for chunk in plain), "usage was not asked for"
    return {"text": text, "finish": finish, "chunks": len(plain)}


def async_stream(_client: OpenAI, model: str) -> Facts:
    """The asynchronous client, several streams at once."""

    async def one(client: AsyncOpenAI) -> str:
        text = ""
        async for chunk in await client.chat.completions.create(
            model=model, messages=ask("hello"), max_tokens=64, stream=True
        ):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        return text

    async def several() -> list[str]:
        async with AsyncOpenAI() as client:
            return await asyncio.gather(*(one(client) for _ in range(4)))

    texts = asyncio.run(several())
    assert all(texts), texts
    return {"texts": len(texts)}


def _call_of(client: OpenAI, model: str, choice: object) -> Facts:
    reply = client.chat.completions.create(
        model=model, messages=ask("weather in Oslo?"), tools=[WEATHER], tool_choice=choice, max_tokens=256
    )
    calls = reply.choices[0].message.tool_calls
    assert calls, reply
    assert calls[0].function.name == "get_weather", calls
    assert isinstance(json.loads(calls[0].function.arguments), dict), calls
    return {"arguments": calls[0].function.arguments}


def tools_required(client: OpenAI, model: str) -> Facts:
    """`tool_choice: required` brings a call whose arguments parse."""
    return _call_of(client, model, "required")


def tools_named(client: OpenAI, model: str) -> Facts:
    """A named function is the one that is called."""
    return _call_of(client, model, {"type": "function", "function": {"name": "get_weather"}})


def tools_auto(client: OpenAI, model: str) -> Facts:
    """`auto` may answer either way, and the reply is usable."""
    message = (
        client.chat.completions.create(
            model=model, messages=ask("weather in Oslo?"), tools=[WEATHER], tool_choice="auto", max_tokens=256
        )
        .choices[0]
        .message
    )
    assert message.content or message.tool_calls, message
    return {"called": bool(message.tool_calls)}


def tools_stream(client: OpenAI, model: str) -> Facts:
    """A streamed forced call comes in deltas that join to JSON."""
    arguments, names = "", []
    for chunk in client.chat.completions.create(
        model=model, messages=ask("weather?"), tools=[WEATHER], tool_choice="required", stream=True, max_tokens=256
    ):
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if call.index == 0 and call.function is not None:
                names += [call.function.name] if call.function.name else []
                arguments += call.function.arguments or ""
    assert names == ["get_weather"], names
    json.loads(arguments)
    return {"arguments": arguments}


def parse(client: OpenAI, model: str) -> Facts:
    """`parse()` returns the model class, through a JSON schema."""
    reply = client.chat.completions.parse(model=model, messages=ask("a city"), response_format=City, max_tokens=512)
    parsed = reply.choices[0].message.parsed
    assert isinstance(parsed, City), reply
    return {"city": parsed.city}


def image(client: OpenAI, model: str) -> Facts:
    """An image as a data URI is answered."""
    parts = [{"type": "text", "text": "What is it?"}, IMAGE]
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}], max_tokens=64)
    assert reply.choices[0].message.content, reply
    return {"text": reply.choices[0].message.content}


def embeddings(client: OpenAI, model: str) -> Facts:
    """Two vectors, in order, in the SDK's default (base64) and the float form."""
    reply = client.embeddings.create(model=model, input=["one", "two"])
    assert [row.index for row in reply.data] == [0, 1], reply
    assert all(isinstance(row.embedding[0], float) for row in reply.data), reply
    floats = client.embeddings.create(model=model, input="one", encoding_format="float")
    assert len(floats.data[0].embedding) == len(reply.data[0].embedding), "dimensions differ by encoding"
    return {"dimensions": len(reply.data[0].embedding)}


def models(client: OpenAI, model: str) -> Facts:
    """The listing holds standard objects, each of which can be retrieved by its id."""
    listed = [row.id for row in client.models.list()]
    assert listed, "nothing listed"
    retrieved = client.models.retrieve(listed[0])
    assert retrieved.id == listed[0], retrieved
    assert retrieved.object == "model", retrieved
    return {"models": listed, "asked": model}


def cancel(client: OpenAI, model: str) -> Facts:
    """Leaving a stream after its first text closes it; the caller checks that the upstream saw it."""
    reply = client.chat.completions.create(model=model, messages=ask("a long story"), stream=True, max_tokens=4000)
    request_id = reply.response.headers["x-router-request-id"]
    for chunk in reply:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    reply.close()
    return {"id": request_id}


def bad_key(_client: OpenAI, model: str) -> Facts:
    """A wrong key is an AuthenticationError, once."""
    try:
        OpenAI(api_key="sk-wrong").chat.completions.create(model=model, messages=ask("hello"))
    except openai.AuthenticationError as refused:
        seen = refused
    else:
        raise AssertionError("the wrong key was accepted")
    assert seen.status_code == 401, seen
    return {"code": seen.code}


def cut(client: OpenAI, model: str, *, break_it: Sequence[str] = ()) -> Facts:
    """A stream that breaks in the middle (by the command given, at the first text) raises; it never just ends."""
    text, request_id = "", ""
    endless = {"ignore_eos": True}  # llama.cpp: go on until max_tokens
    try:
        reply = client.chat.completions.create(
            model=model, messages=ask("a story"), stream=True, max_tokens=3500, extra_body=endless
        )
        request_id = reply.response.headers["x-router-request-id"]
        for chunk in reply:
            if (new := "".join(choice.delta.content or "" for choice in chunk.choices)) and not text and break_it:
                subprocess.run(break_it, check=True)
            text += new
    except openai.APIError as broken:
        seen = broken
    else:
        raise AssertionError(f"the cut stream ended cleanly after {text!r}")
    assert seen.code == "stream_incomplete", (seen.code, seen.body)
    assert text, "nothing was received before the break"
    return {"code": seen.code, "text": text[:80], "id": request_id}


SCENARIOS: dict[str, Callable[[OpenAI, str], Facts]] = {
    scenario.__name__: scenario
    for scenario in (
        chat, stream, async_stream, tools_required, tools_named, tools_auto, tools_stream, parse, image, embeddings,
        models, cancel, bad_key, cut,
    )
}  # fmt: skip


def main() -> None:
    """Run one scenario and print its facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("--model", required=True)
    parser.add_argument("--break-it", default="", help="with cut: the command that breaks the stream at its first text")
    arguments = parser.parse_args()
    run = SCENARIOS[arguments.scenario]
    if arguments.break_it:
        run = partial(cut, break_it=shlex.split(arguments.break_it))
    print(json.dumps({"sdk": openai.__version__, **run(OpenAI(timeout=60), arguments.model)}))


if __name__ == "__main__":
    main()
