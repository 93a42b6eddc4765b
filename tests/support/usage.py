"""A load of every kind of request whose tokens are known, and the proof that books and upstreams agree on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from routerconsole.simulator import Behaviour, Simulator
from routerconsole.simulator.behaviour import Answering

PRICES = {"a": (0.25, 1.25), "b": (3.0, 15.0), "c": (0.1, 0.4)}
"""USD per million tokens in and out, by provider."""
MODELS = ("m", "e")
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


class Asking(Protocol):
    """Who sends requests to the router and knows its upstreams."""

    @property
    def sims(self) -> Mapping[str, Simulator]:
        """The upstreams by provider."""

    async def post(self, path: str, body: Any) -> Any:
        """POST JSON with the client token."""


def models() -> dict[str, Sequence[str | Mapping[str, Any]]]:
    """Every provider's models: a chat model each, and one for embeddings at the last."""
    made: dict[str, Sequence[str | Mapping[str, Any]]] = {}
    for name, (price_in, price_out) in PRICES.items():
        price = {"usd_per_mtok_in": price_in, "usd_per_mtok_out": price_out}
        chat = {"id": "m", "capabilities": ["text", "tools"], **price}
        made[name] = [chat, *([{"id": "e", "capabilities": ["embeddings"], **price}] if name == "c" else [])]
    return made


async def load(stand: Asking, count: int, *, at_once: int = 8) -> None:
    """Send so many requests: a fails now and then and calls no tools, b answers nothing, c does as asked.

    Whole and streamed, several choices, tools forced, embeddings; some fail over twice and pay each time.
    """
    stand.sims["a"].set(
        "m", Behaviour(statuses=(200, 200, 429, 200, 200, 200, 500), repeat="cycle", retry_after=0.01, tools="ignore")
    )
    stand.sims["b"].set("m", Behaviour(answer=Answering.BLANK))
    stand.sims["c"].set("m", Behaviour(tokens=23))
    stand.sims["c"].set("e", Behaviour())
    lanes = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with lanes:
            await stand.post(*request(number))

    await asyncio.gather(*(one(number) for number in range(count)))


def request(number: int) -> tuple[str, dict[str, Any]]:
    """Return the path and body of a request; five kinds in turn, prompts of many lengths."""
    text = "word " * (1 + number % 40) + str(number)
    said = {"messages": [{"role": "user", "content": text}]}
    match number % 5:
        case 0:
            return "/v1/chat/completions", {**said, "model": "m"}
        case 1:
            return "/v1/chat/completions", {**said, "model": "m", "stream": True}
        case 2:
            return "/v1/chat/completions", {**said, "model": "m", "tools": [_TOOL], "tool_choice": "required"}
        case 3:
            return "/v1/embeddings", {"model": "c/e", "input": text}
        case _:
            return "/v1/chat/completions", {**said, "model": "c/m", "n": 2, "max_tokens": 1 + number % 30}


async def agreed(stand: Asking, told: Mapping[str, Any]) -> None:
    """Compare the rows with what each upstream counted: requests and tokens exactly, the cost by its prices."""
    for name, sim in stand.sims.items():
        rows = [row for row in told["days"] if row["provider"] == name]
        counted = [sim.tokens(model) for model in MODELS]
        prompt, completion = sum(each.prompt for each in counted), sum(each.completion for each in counted)
        assert sum(row["requests"] for row in rows) == sum(sim.count(model) for model in MODELS), name
        assert sum(row["prompt_tokens"] for row in rows) == prompt, name
        assert sum(row["completion_tokens"] for row in rows) == completion, name
        price_in, price_out = PRICES[name]
        cost = (prompt * price_in + completion * price_out) / 1e6
        assert abs(sum(row["cost_usd"] for row in rows) - cost) < 1e-7, name
        assert prompt > 0, f"{name} was asked"
        assert not any(row["unknown_cost_requests"] or row["estimated_requests"] for row in rows), name
