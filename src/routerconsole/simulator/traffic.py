"""The demo's traffic: request bodies with the time to wait before each, as pure data from a seed. No HTTP here.

Kinds are dealt from a shuffled deck, not drawn, so that every kind comes up every few seconds whatever the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

Body = dict[str, object]

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
RATE_PER_S = 8.0  # fast enough that a two-second phase of the fleet is met by several requests

_PIXEL = (  # one red pixel
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
_QUESTIONS = (
    "Summarise the incident report in two lines.",
    "What is a circuit breaker good for?",
    "Write a haiku about retries.",
    "Translate 'the stream is cut' into French.",
    "Name three uses of a token bucket.",
    "Explain head-of-line blocking to a child.",
    "Which port does the service listen on?",
    "Draft a polite answer to a customer.",
)
_AGENTS = ("researcher", "writer", "reviewer")
_WEATHER: Body = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_SEARCH: Body = {
    "type": "function",
    "function": {
        "name": "search_docs",
        "description": "Search the documentation.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "maximum": 20}},
            "required": ["query", "limit"],
        },
    },
}
_TICKET: Body = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "severity": {"type": "string", "enum": ["low", "high"]},
        "hours": {"type": "integer", "minimum": 1},
    },
    "required": ["title", "severity", "hours"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class TrafficItem:
    """One request: wait `delay_s` seconds after the one before, then send it."""

    delay_s: float
    path: str
    body: Body
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _chat(rng: Random, model: str, **more: object) -> Body:
    """A short chat."""
    messages: list[Body] = [{"role": "user", "content": rng.choice(_QUESTIONS)}]
    if rng.random() < 0.3:
        messages.insert(0, {"role": "system", "content": "Answer briefly."})
    return {"model": model, "messages": messages, **more}


def _stream(rng: Random, model: str) -> Body:
    """A streamed chat; every other one wants its usage."""
    body = _chat(rng, model, stream=True)
    if rng.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    return body


def _tools(rng: Random, choice: object, *, stream: bool = False) -> Body:
    """A chat with tools."""
    body = _chat(rng, rng.choice(("auto", "ember-8b")), tools=[_WEATHER, _SEARCH], tool_choice=choice)
    body["messages"] = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    return {**body, "stream": True} if stream else body


def _json(rng: Random, form: Body) -> Body:
    """A chat that wants JSON."""
    return _chat(rng, "auto", response_format=form)


def _vision(rng: Random) -> Body:
    """A chat with a tiny image."""
    parts = [{"type": "text", "text": "What colour is this?"}, {"type": "image_url", "image_url": {"url": _PIXEL}}]
    return {"model": "auto", "messages": [{"role": "user", "content": parts}], "max_tokens": 64}


def _long(rng: Random) -> Body:
    """A prompt of about 3,000 tokens."""
    text = " ".join(rng.choice(_QUESTIONS) for _ in range(340))
    return {"model": "ember-8b", "messages": [{"role": "user", "content": text}], "max_tokens": 64}


def _embedding(rng: Random) -> Body:
    """Two texts to embed."""
    return {"model": "embed-mini", "input": [rng.choice(_QUESTIONS), rng.choice(_QUESTIONS)]}


_SCHEMA: Body = {"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": _TICKET}}
_NAMED: Body = {"type": "function", "function": {"name": "search_docs"}}

# How often each kind is in one deck of about a hundred, and how its body is made.
_DECK: tuple[tuple[int, str, Callable[[Random], Body]], ...] = (
    (12, CHAT, lambda rng: _chat(rng, "auto")),
    (8, CHAT, lambda rng: _stream(rng, "auto")),
    (14, CHAT, lambda rng: _chat(rng, "ember-8b")),
    (12, CHAT, lambda rng: _stream(rng, "ember-8b")),
    (7, CHAT, lambda rng: _chat(rng, "nova-8b")),
    (4, CHAT, lambda rng: _stream(rng, "nova-8b")),
    (9, CHAT, lambda rng: _chat(rng, "llama3.2:3b")),
    (3, CHAT, lambda rng: _stream(rng, "llama3.2:3b")),
    (6, CHAT, lambda rng: _chat(rng, "sand-sonnet")),
    (4, CHAT, lambda rng: _stream(rng, "sand-sonnet")),
    (2, CHAT, lambda rng: _tools(rng, "required")),
    (1, CHAT, lambda rng: _tools(rng, "required", stream=True)),
    (2, CHAT, lambda rng: _tools(rng, _NAMED)),
    (2, CHAT, lambda rng: _tools(rng, "auto")),
    (2, CHAT, lambda rng: _json(rng, {"type": "json_object"})),
    (2, CHAT, lambda rng: _json(rng, _SCHEMA)),
    (2, CHAT, _vision),
    (2, EMBEDDINGS, _embedding),
    (2, CHAT, _long),
    (1, CHAT, lambda rng: _chat(rng, "retired-7b")),
    (1, CHAT, lambda rng: _chat(rng, "borealis/guarded-8b")),
    (3, CHAT, lambda rng: _stream(rng, "borealis/glass-8b")),
    (2, CHAT, lambda rng: _chat(rng, "steady/steady-70b")),
    (2, CHAT, lambda rng: _chat(rng, "auto")),
)
_AGENT_KIND = len(_DECK) - 1  # the last kind names an agent


def traffic(seed: int = 0, rate_per_s: float = RATE_PER_S) -> Iterator[TrafficItem]:
    """Endless requests for the demo fleet, the same for the same seed; times between them are exponential."""
    rng = Random(seed)
    deck = [kind for kind, (count, _, _) in enumerate(_DECK) for _ in range(count)]
    while True:
        rng.shuffle(deck)
        for kind in deck:
            _, path, make = _DECK[kind]
            headers = {"x-router-agent": rng.choice(_AGENTS)} if kind == _AGENT_KIND else {}
            if rng.random() < 0.1:
                headers["x-router-session"] = f"s{rng.randrange(8)}"
            delay = min(rng.expovariate(rate_per_s), 4 / rate_per_s)
            yield TrafficItem(delay, path, make(rng), MappingProxyType(headers))
