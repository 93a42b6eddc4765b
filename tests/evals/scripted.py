"""A scripted model behind the pure plan: asks what a scenario asks, answers by a function, returns the sample."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from random import Random

from routerconsole.evals.fill import draw
from routerconsole.evals.plan import next_call
from routerconsole.evals.scenario import Scenario
from routerconsole.evals.scenario_files import Catalogue, load_catalogue
from routerconsole.evals.types import (
    AttemptFact,
    Call,
    CallError,
    Json,
    Reply,
    Sample,
    StreamFacts,
    Timings,
    ToolCall,
    TraceFacts,
    Usage,
)

Model = Callable[[Call, Mapping[str, str]], Reply]
FIRST, SECOND = "drill-1/drill", "drill-2/drill"


@cache
def shipped() -> Catalogue:
    """The built-in scenarios, read once."""
    return load_catalogue()


def scenario(name: str) -> Scenario:
    """One built-in scenario."""
    return shipped().select([name])[0]


def ask(said: Scenario, model: Model, *, seed: int = 1, window: int | None = 4096) -> Sample:
    """Carry out one repeat without any wire."""
    variables = draw(said.said.vars, Random(seed))
    replies: tuple[Reply, ...] = ()
    while (call := next_call(said, variables, replies, window=window)) is not None:
        replies += (replace(model(call, variables), label=call.label, request=call.body),)
        assert len(replies) < 500
    return Sample(said.id, variables, replies, window=window)


def reply(text: str = "", **more: object) -> Reply:
    """An answer with times, usage and a finish."""
    base = Reply("", {}, text, finish_reason="stop", timings=Timings(120.0), usage=Usage(10, 12), cost_usd=0.001)
    return replace(base, **more)  # type: ignore[arg-type] # the fields of Reply, spelt by the tests


def call(name: str, *, id: str = "c1", **arguments: Json) -> ToolCall:
    """A tool call."""
    return ToolCall(name, json.dumps(arguments), id)


def calling(*calls: ToolCall) -> Reply:
    """An answer that is tool calls."""
    return reply("", tool_calls=calls, finish_reason="tool_calls")


def streamed(text: str = "one, two … höher ✓", *, deltas: int = 6, finishes: int = 1, done: bool = True,
             utf8: bool = True, ttft: float | None = 40.0) -> Reply:  # fmt: skip
    """A streamed answer."""
    facts = StreamFacts(deltas, finishes, done, utf8)
    return reply(text, stream=facts, timings=Timings(120.0, ttft))


def error(cls: str, *, code: str = "", status: int | None = None, typed: bool = True) -> Reply:
    """A call that gave no answer."""
    return reply("", finish_reason=None, error=CallError(cls, status, code, f"{cls} happened", typed=typed))


def served(
    text: str, *attempts: tuple[str, str], circuit: str = "closed", total: float = 30.0, **more: object
) -> Reply:
    """An answer with its trace: attempts are (route, outcome), the last one served if it is ok."""
    facts = tuple(AttemptFact(route, outcome, took_ms=10.0) for route, outcome in attempts)
    by = attempts[-1][0] if attempts and attempts[-1][1] == "ok" else None
    trace = TraceFacts("req", by, FIRST, facts, {FIRST: circuit, SECOND: "closed"})
    return reply(text, trace=trace, timings=Timings(total), **more)


def vectors(*rows: list[float], coded: bool = False) -> Reply:
    """An embeddings answer, as numbers or as base64 float32."""
    data: list[Json] = []
    for row in rows:
        packed = base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
        data.append({"object": "embedding", "embedding": packed if coded else [*row]})
    return reply("", data=data, finish_reason=None)


def asked(made: Call) -> str:
    """The text of the last message of a call."""
    messages = made.body["messages"]
    assert isinstance(messages, list)
    last = messages[-1]
    assert isinstance(last, dict)
    content = last["content"]
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)
