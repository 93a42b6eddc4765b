"""The OpenAI dialect, for OpenAI and every server that speaks it: the body passes through, equal as JSON.

Rewritten are only `model`, and `stream_options` so that usage is always reported. Oddities of servers are data (Quirk).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson
from yarl import URL

from routerconsole.domain.listing import ListedModel
from routerconsole.domain.registry import Model, Provider
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.domain.secret import Secret
from routerconsole.providers import openai_listing
from routerconsole.providers.dialect import Detail, Framing, Page, Reply, StreamDecoder, Undecodable, WireRequest

_PATHS: Final = {
    Endpoint.CHAT: "/chat/completions",
    Endpoint.COMPLETIONS: "/completions",
    Endpoint.EMBEDDINGS: "/embeddings",
}
_FLAT_ERROR: Final = (b'{"object":"error"', b'{"object": "error"')
_BOM: Final = b"\xef\xbb\xbf"


class Quirk(StrEnum):
    """What a server gets wrong and we can spare it."""

    EMPTY_FOR_NULL = openai_listing.EMPTY_FOR_NULL  # llama-cpp-python answers 500 to `content: null` beside tool calls


class OpenAIDialect:
    """Bodies as they come; `quirks` belong to the server, not to the model.

    A `curious` one asks a server it recognises by its listing for more than the standard fields.
    """

    name = "openai"
    framing = Framing.SSE

    def __init__(self, quirks: frozenset[Quirk] = frozenset(), *, curious: bool = False) -> None:
        self.quirks, self._curious = quirks, curious

    def with_quirks(self, quirks: frozenset[Quirk]) -> OpenAIDialect:
        """Return the same dialect for a server with these oddities."""
        return OpenAIDialect(quirks, curious=self._curious)

    def encode(self, request: ChatRequest, model: Model) -> WireRequest:
        """Return the client's body with the upstream's model id in it."""
        body = {**request.body, "model": model.upstream_id}
        if request.stream:
            options = body.get("stream_options")
            if options is None or isinstance(options, dict):
                body["stream_options"] = {**(options or {}), "include_usage": True}
        if Quirk.EMPTY_FOR_NULL in self.quirks and isinstance(body.get("messages"), list):
            body["messages"] = [_without_null(message) for message in body["messages"]]
        return WireRequest("POST", _PATHS[request.endpoint], orjson.dumps(body))

    def decode(self, request: ChatRequest, body: bytes) -> Reply:
        """Return the upstream's own bytes and what they say; raise Undecodable where they are not JSON."""
        raw = body.removeprefix(_BOM)
        data = parse(raw)
        if isinstance(data, dict) and data.get("object") == "error" and "error" not in data:
            data = {"error": data}
            raw = orjson.dumps(data)
        return Reply(raw, data)

    def stream_decoder(self, request: ChatRequest) -> StreamDecoder:
        """Return a decoder that hands the events on."""
        return _Stream()

    def auth_headers(self, key: Secret | None) -> tuple[tuple[str, str], ...]:
        """Return the bearer header, none without a key."""
        return () if not key else (("authorization", f"Bearer {key.reveal()}"),)

    def url(self, provider: Provider, path: str) -> str:
        """Return base URL + path; a base without a path means `/v1`. A few paths of known servers stand beside that."""
        base = URL(provider.base_url)
        root = base.raw_path.rstrip("/") or "/v1"
        if path in openai_listing.AT_ROOT:
            root = root.removesuffix("/v1")
        return f"{base.origin()}{root}{path}"

    def list_request(self) -> WireRequest:
        """Return the request for the models the upstream has; it also proves the key on servers that check it."""
        return WireRequest("GET", "/models", b"")

    def decode_listing(self, body: bytes) -> Page:
        """Return the upstream's models; raise Undecodable."""
        return openai_listing.decode(parse(body.removeprefix(_BOM)), ask=self._curious)

    def decode_detail(self, detail: Detail, body: bytes, known: Mapping[str, ListedModel]) -> list[ListedModel]:
        """Return the models that more is said of; raise Undecodable."""
        return openai_listing.decode_detail(detail, parse(body.removeprefix(_BOM)), known)


class _Stream:
    """Hands events on as they are; whether they are JSON is the stream gate's to say, which reads each one anyway."""

    def decode_delta(self, event: bytes, name: bytes | None) -> list[bytes]:
        """Return the event; vLLM's bare error objects are put where an error belongs."""
        if name == b"error" or event.startswith(_FLAT_ERROR):
            data = parse(event)
            if not isinstance(data, dict) or "error" not in data:
                return [orjson.dumps({"error": data if isinstance(data, dict) else {"message": str(data)}})]
        return [event]

    def finish(self) -> list[bytes]:
        """Return nothing: the upstream says itself when it is done."""
        return []


def parse(body: bytes) -> Any:
    """Return the JSON value; raise Undecodable."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Undecodable("the answer is not JSON") from exc


def _without_null(message: Any) -> Any:
    if isinstance(message, dict) and message.get("role") == "assistant" and message.get("content", "") is None:
        return {**message, "content": ""}
    return message
