"""What a dialect is: two pure maps between the OpenAI shape and an upstream's own, whole and streamed alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from routerconsole.domain.capability import Word
from routerconsole.domain.listing import ListedModel
from routerconsole.domain.registry import Model, Provider
from routerconsole.domain.request import ChatRequest
from routerconsole.domain.secret import Secret


class Framing(StrEnum):
    """How a streamed answer is framed."""

    SSE = "sse"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class WireRequest:
    """An encoded upstream request; `path` is appended to the provider's base URL (or origin, as the dialect says)."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer in the OpenAI shape: parsed `data`, and `raw` bytes to send (the upstream's own where equal)."""

    raw: bytes
    data: Any


@dataclass(frozen=True, slots=True)
class Detail:
    """A further question about a listing: of one model, or of the server where `model` is None."""

    wire: WireRequest
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What one listing says; `complete` is False where the server has more. `details` may be asked to know more."""

    models: Mapping[str, ListedModel] = field(default_factory=dict)
    complete: bool = True
    note: str = ""
    quirks: frozenset[str] = frozenset()
    details: tuple[Detail, ...] = ()


class Unsupported(Exception):
    """The dialect cannot carry this request; `word` is the capability the route lacks here."""

    def __init__(self, word: Word, reason: str) -> None:
        super().__init__(reason)
        self.word, self.reason = word, reason


class Undecodable(Exception):
    """A 2xx answer or stream event that is not what the dialect promises."""


class StreamDecoder(Protocol):
    """The state of one streamed answer."""

    def decode_delta(self, event: bytes, name: bytes | None) -> list[bytes]:
        """Return the OpenAI chunk payloads (JSON bytes, or `[DONE]`) of one upstream event; raise Undecodable."""

    def finish(self) -> list[bytes]:
        """Return what is still due when the upstream ended."""


class Dialect(Protocol):
    """One wire protocol of upstreams."""

    name: str
    framing: Framing

    def encode(self, request: ChatRequest, model: Model) -> WireRequest:
        """Map a request to the wire; raise Unsupported where it cannot be carried."""

    def decode(self, request: ChatRequest, body: bytes) -> Reply:
        """Map a 2xx whole body; raise Undecodable."""

    def stream_decoder(self, request: ChatRequest) -> StreamDecoder:
        """Return a fresh decoder for one streamed answer."""

    def auth_headers(self, key: Secret | None) -> tuple[tuple[str, str], ...]:
        """Return the headers that carry the credential."""

    def url(self, provider: Provider, path: str) -> str:
        """Return the full URL of a path at a provider."""

    def list_request(self) -> WireRequest:
        """Return the request for the upstream's models: the cheapest proof that it is there, and often of the key."""

    def decode_listing(self, body: bytes) -> Page:
        """Return the models of that answer and what else may be asked; raise Undecodable."""

    def decode_detail(self, detail: Detail, body: bytes, known: Mapping[str, ListedModel]) -> list[ListedModel]:
        """Return the models of `known` that the answer to a detail says more of; raise Undecodable."""
