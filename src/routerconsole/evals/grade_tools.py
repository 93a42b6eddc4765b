"""Graders of tool calls: by name, by arguments, by the whole set of calls in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .assertions import Assertion, ExpectedCall, ToolArgs, ToolCalled, ToolMatch
from .finding import Facts, Finding, answer, shown
from .grade_text import json_of
from .json_path import same
from .types import Json, Reply, ToolCall

_MOST_CALLS = 64


def grade_tools(kind: str, said: Assertion, reply: Reply, facts: Facts) -> Finding | None:
    """Return how a tool assertion came out, None for one of another family."""
    if kind == "no_tool_call":
        return Finding(not reply.tool_calls, "no tool call", answer(reply))
    if isinstance(said, ToolCalled):
        count = sum(said.name is None or call.name == said.name for call in reply.tool_calls)
        passed = count > 0 if said.count is None else count == said.count
        times = "" if said.count is None else f" {said.count} times"
        return Finding(passed, f"a call of {said.name or 'any tool'}{times}", answer(reply))
    if isinstance(said, ToolArgs):
        wanted = _object(facts.value(dict(said.args)))
        passed = any(
            call.name == said.name and _holds(arguments_of(call), wanted, exact=said.exact) for call in reply.tool_calls
        )
        return Finding(passed, shown(f"{said.name}({shown(dict(wanted))})"), answer(reply))
    if isinstance(said, ToolMatch):
        passed = _matched(reply.tool_calls, said.calls, facts)
        return Finding(passed, shown("; ".join(_said(call, facts) for call in said.calls)), answer(reply))
    return None


def arguments_of(call: ToolCall) -> Mapping[str, Json] | None:
    """Return a call's arguments where they are a JSON object; no text at all counts as an empty one."""
    found = json_of(call.arguments) if call.arguments.strip() else ({},)
    return found[0] if found is not None and isinstance(found[0], dict) else None


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _holds(arguments: Mapping[str, Json] | None, wanted: Mapping[str, Json], *, exact: bool) -> bool:
    if arguments is None or (exact and arguments.keys() != wanted.keys()):
        return False
    return all(key in arguments and same(arguments[key], value) for key, value in wanted.items())


def _matched(calls: Sequence[ToolCall], wanted: Sequence[ExpectedCall], facts: Facts) -> bool:
    """Whether each call is one of the expected ones and each expected one is made once (a perfect matching)."""
    if len(calls) != len(wanted) or len(calls) > _MOST_CALLS:
        return False
    fits = [[n for n, call in enumerate(calls) if _fits(call, expected, facts)] for expected in wanted]
    taken: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for n in fits[i]:
            if n not in seen:
                seen.add(n)
                if n not in taken or place(taken[n], seen):
                    taken[n] = i
                    return True
        return False

    return all(place(i, set()) for i in range(len(wanted)))


def _fits(call: ToolCall, expected: ExpectedCall, facts: Facts) -> bool:
    arguments = arguments_of(call)
    if call.name != expected.name or arguments is None or not arguments.keys() <= expected.args.keys():
        return False
    for name, values in expected.args.items():
        if name not in arguments:
            if name not in expected.optional:
                return False
        elif not any(_alike(arguments[name], facts.value(value)) for value in values):
            return False
    return True


def _alike(got: Json, wanted: Json) -> bool:
    """Whether an argument is the wanted one; of texts case and surrounding space do not matter."""
    if isinstance(got, str) and isinstance(wanted, str):
        return got.strip().casefold() == wanted.strip().casefold()
    return same(got, wanted)


def _said(call: ExpectedCall, facts: Facts) -> str:
    return f"{call.name}({shown(facts.value({name: [*values] for name, values in call.args.items()}))})"
