"""A scripted upstream on a real socket: what a model says is a function from the body it was sent to a Reply."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.evals.scripted import call, calling, error, reply, streamed, vectors

from routerconsole.evals.fill import COLOURS
from routerconsole.evals.types import Reply

Body = dict[str, Any]
Says = Callable[[Body], Reply | bytes]
WINDOW = 4096
NONCE = r"([a-z]+-\d{4})"


@asynccontextmanager
async def upstream(models: Mapping[str, Says]) -> AsyncIterator[str]:
    """Serve the models until the block ends; gives the base URL."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = re.search(rb"content-length: (\d+)", head.lower())
                body = json.loads(await reader.readexactly(int(size[1])) if size else b"{}")
                said = models[body["model"]](body)
                writer.write(said if isinstance(said, bytes) else http(body, said))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def http(body: Body, said: Reply) -> bytes:
    """A reply as the bytes of an OpenAI answer: an error, embeddings, a whole answer or a stream."""
    if said.error is not None:
        document: Body = {"error": {"message": said.error.message, "code": said.error.code, "type": "invalid_request"}}
        return whole(document, status=said.error.status or 500)
    if said.data is not None:
        return whole({"object": "list", "model": body["model"], "data": said.data, "usage": {"prompt_tokens": 4}})
    if body.get("stream"):
        return events(frames(body, said))
    choice = {"index": 0, "finish_reason": said.finish_reason, "message": message(said)}
    base = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
    return whole({**base, "usage": usage(said), "choices": [choice]})


def whole(document: object, *, status: int = 200) -> bytes:
    """A JSON answer."""
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status} S\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def events(payloads: list[bytes]) -> bytes:
    """A stream of events, each a chunk of its own."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"data: " + payload + b"\n\n" for payload in payloads]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def frames(body: Body, said: Reply) -> list[bytes]:
    """The events of a stream; its deltas, finishes and `[DONE]` are as the reply's stream facts say."""
    facts = said.stream or streamed().stream
    assert facts is not None
    step = -(-len(said.text) // max(facts.deltas, 1))
    pieces = [said.text[at : at + step] for at in range(0, len(said.text), step or 1)]
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    found: list[Body] = [{**base, "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    found += [{**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}] * facts.finishes
    found.append({**base, "choices": [], "usage": usage(said)})
    return [json.dumps(frame, ensure_ascii=False).encode() for frame in found] + [b"[DONE]"] * facts.done


def usage(said: Reply) -> Body:
    """What was counted."""
    return {"prompt_tokens": said.usage.prompt, "completion_tokens": said.usage.completion, "total_tokens": 22}


def message(said: Reply) -> Body:
    """The message of a whole answer."""
    functions = [(made.id, {"name": made.name, "arguments": made.arguments}) for made in said.tool_calls]
    calls = [{"id": name, "type": "function", "function": function} for name, function in functions]
    found: Body = {"role": "assistant", "content": None if calls else said.text, "refusal": said.refusal or None}
    if said.reasoning:
        found["reasoning_content"] = said.reasoning
    return found | ({"tool_calls": calls} if calls else {})


# ---- a model that does what it is asked


def good(body: Body) -> Reply:
    """Answer every built-in scenario as it wants to be answered, from nothing but what was sent."""
    if "input" in body:
        return embedded(body)
    last = body["messages"][-1]
    text = text_of(last)
    if last["role"] == "tool":
        return reply(json.loads(text)["access_code"])
    for pattern, answer in ANSWERS:
        found = re.search(pattern, text, re.DOTALL)
        if found is not None:
            return answer(body, found)
    return reply("I do not know what is wanted.")


def text_of(spoken: Body) -> str:
    """The text of a message."""
    content = spoken["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def embedded(body: Body) -> Reply:
    """Two vectors that depend on the texts alone, in the encoding asked for."""
    rows = [[float(zlib.crc32(f"{n}{text}".encode()) % 512 - 256) / 256 for n in range(8)] for text in body["input"]]
    return vectors(*rows, coded=body["encoding_format"] == "base64")


def coloured(body: Body, _: re.Match[str]) -> Reply:
    """Look at the picture: its first pixel, or that there is none."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return reply("NONE")
    picture = base64.b64decode(content[1]["image_url"]["url"].partition(",")[2])
    at = picture.index(b"IDAT") + 4
    pixel = tuple(zlib.decompress(picture[at:-16])[1:4])
    return reply(next(name for name, colour in COLOURS.items() if colour == pixel).capitalize() + ".")


def compacted(body: Body, found: re.Match[str]) -> Reply:
    """Keep what should be remembered, of the notes so far and of the new part."""
    notes = re.search(r"Your notes so far:\n(.*?)\n\nThe next part", found[0], re.DOTALL)
    return reply("\n".join([*([notes[1]] if notes else []), *re.findall(r"Please remember this: (.*)", found[0])]))


def looked_up(body: Body, found: re.Match[str]) -> Reply:
    """Find the needle, or say that the text is too long."""
    if len(text_of(body["messages"][-1])) / 4 > WINDOW:
        return error("context", code="context_length_exceeded", status=400)
    return reply(found[1])


ANSWERS: list[tuple[str, Callable[[Body, re.Match[str]], Reply]]] = [
    (f'Record the observation "{NONCE}"', lambda b, m: calling(call("record_observation", value=m[1]))),
    (f'Store the label "{NONCE}"', lambda b, m: calling(call("store_label", label=m[1]))),
    (r"code of the (\w+) office", lambda b, m: calling(call("get_access_code", city=m[1]))),
    (r"weather in (\w+) and in (\w+),", lambda b, m: calling(call("get_weather", city=m[2]), call("get_weather", city=m[1], id="c2"))),  # noqa: E501
    (f"Reply with the word {NONCE}", lambda b, m: reply(m[1])),
    ("single word READY", lambda b, m: reply("READY.")),
    ("Extract the animal", lambda b, m: reply('{"animal": "fox", "count": 3}')),
    ("Remember this code word", lambda b, m: reply("STORED")),
    ("What was the code word", lambda b, m: reply(re.findall(NONCE, text_of(b["messages"][0]))[0])),
    ("Compact the following.*", compacted),
    ("Notes of our conversation so far:\n(.*)\n\nList these", lambda b, m: reply(m[1])),
    ("Count from one to ten|Name three colours", lambda b, m: streamed()),
    ("The picture shows one colour", coloured),
    (f'whose value is the text "{NONCE}"', lambda b, m: reply(json.dumps({"code": m[1]}))),
    ('key "planets"', lambda b, m: reply('{"planets": [{"na', finish_reason="length")),
    (r"A shelf holds (\d+) books", lambda b, m: reply(m[1], reasoning="Twelve go and come back.")),
    (f"opens with the code {NONCE}", looked_up),
]  # fmt: skip
