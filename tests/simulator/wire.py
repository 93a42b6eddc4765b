"""A raw client for the simulator's own tests: what came over the socket, byte for byte, and how it ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from routerconsole.simulator import Simulator

CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Raw:
    """All bytes of a reply and how it ended (`fin` or `reset`)."""

    data: bytes
    end: str

    @property
    def status(self) -> int:
        """The status of the first response."""
        return int(self.data.split(b" ", 2)[1])

    @property
    def head(self) -> str:
        """The first head, with its status line."""
        return self.data.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        """Everything behind the first head, without chunk framing if it had one."""
        raw = self.data.partition(b"\r\n\r\n")[2]
        return dechunked(raw)[0] if "transfer-encoding: chunked" in self.head else raw

    @property
    def complete(self) -> bool:
        """Whether a chunked body ended with its last chunk."""
        return dechunked(self.data.partition(b"\r\n\r\n")[2])[1]

    @property
    def json(self) -> dict[str, object]:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        """Every value of a header."""
        lines = [line.partition(": ") for line in self.head.split("\r\n")[1:]]
        return [value for key, _, value in lines if key.lower() == name]

    def events(self) -> list[str]:
        """The payloads of the SSE data lines."""
        text = self.body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        return [line.removeprefix("data:").removeprefix(" ") for line in text.split("\n") if line.startswith("data:")]

    def deltas(self) -> list[dict[str, object]]:
        """The deltas of an OpenAI stream that carry something."""
        chunks = [json.loads(event) for event in self.events() if event.endswith("}")]
        found = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", [])]
        return [delta for delta in found if delta and delta.get("content") != ""]

    def said(self) -> list[str]:
        """The content deltas of an OpenAI stream."""
        return [str(delta["content"]) for delta in self.deltas() if "content" in delta]


def dechunked(raw: bytes) -> tuple[bytes, bool]:
    """The payload of a chunked body and whether its last chunk came."""
    found, at = [], 0
    while at < len(raw):
        end = raw.find(b"\r\n", at)
        if end <= at:
            break
        length = int(raw[at:end], 16)
        if length == 0:
            return b"".join(found), True
        found.append(raw[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return b"".join(found), False


def chat(model: str = "m", **more: object) -> dict[str, object]:
    """A chat body."""
    return {"model": model, "messages": [{"role": "user", "content": "Say something useful."}], **more}


def request(path: str, body: object, *headers: str, method: str = "POST", close: bool = True) -> bytes:
    """The bytes of a request."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: simulator", f"content-length: {len(payload)}", *headers]
    if close:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + payload


async def drain(reader: asyncio.StreamReader) -> Raw:
    """Read until the connection ends."""
    data = b""
    try:
        while piece := await reader.read(65_536):
            data += piece
    except ConnectionResetError:
        return Raw(data, "reset")
    return Raw(data, "fin")


async def ask(sim: Simulator, body: object, path: str = CHAT, *headers: str, method: str = "POST") -> Raw:
    """Send one request on a connection of its own and read until that ends."""
    reader, writer = await asyncio.open_connection(sim.host, sim.port, limit=2**24)
    try:
        writer.write(request(path, body, *headers, method=method))
        return await asyncio.wait_for(drain(reader), LIMIT_S)
    finally:
        writer.close()
