"""One client request as the engine sees it: a frozen view on the parsed body, never a re-model of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .capability import Word

JsonObject = Mapping[str, Any]
"""A parsed JSON object; `Any` because client payloads are passed through, not modelled."""


class Endpoint(StrEnum):
    """The kinds of work a route can serve."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


class Origin(StrEnum):
    """Who asked."""

    HTTP = "http"
    MCP = "mcp"
    EVAL = "eval"
    PROBE = "probe"
    CONSOLE = "console"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Hints:
    """What the `x-router-*` headers ask for; `timeout` is seconds, the lowest of all deadlines the client named."""

    agent: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    timeout: float | None = None
    no_fallback: bool = False
    early_headers: bool = False
    trace: bool = False
    origin: Origin = Origin.HTTP


NO_HINTS = Hints()


def deciding_hints(headers: Mapping[str, str]) -> Hints:
    """Return the hints that change a decision (the others only change how it is carried out); names in lower case."""
    return Hints(
        agent=headers.get("x-router-agent", "").strip() or None,
        session=headers.get("x-router-session", "").strip() or None,
        tags=_words(headers.get("x-router-tags", "")),
        require=_words(headers.get("x-router-require", "")),
    )


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for part in value.split(",") if (word := part.strip()))


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request to one endpoint. `size` is the body's bytes; `forward` are the client headers an upstream may see."""

    id: str
    endpoint: Endpoint
    body: JsonObject
    size: int
    model: str | None
    stream: bool
    hints: Hints = NO_HINTS
    origin: Origin = Origin.HTTP
    forward: tuple[tuple[str, str], ...] = ()
    client_retry: int = 0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs of a route. `estimate_tokens` is prompt plus output cap; `required` are strict nodes.

    `output_tokens` is that cap, 0 where none is named, of each of `choices` answers.
    """

    endpoint: Endpoint
    needed: tuple[Word, ...] = ()
    forced: tuple[Word, ...] = ()
    named_tool: str | None = None
    schema: JsonObject | None = None
    estimate_tokens: int = 0
    size: int = 0
    required: tuple[str, ...] = ()
    tags: tuple[str, ...] = field(default=())
    output_tokens: int = 0
    choices: int = 1
