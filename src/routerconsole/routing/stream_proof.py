"""What a stream has shown so far of the capability it was forced to use; the gate decides what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from routerconsole.domain.capability import Word
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing.tool_deltas import ToolDeltas


class Choice:
    """What is remembered of one choice; `text` is kept only where JSON was forced."""

    __slots__ = ("finish", "spoke", "text", "tools")

    def __init__(self) -> None:
        self.finish: str | None = None
        self.tools: ToolDeltas | None = None
        self.text: list[str] = []
        self.spoke = False


def proof_of(needs: Needs) -> Word | None:
    """Return the forced word whose proof the commit waits for; a call outranks JSON, whose text it replaces."""
    words = (
        (Word.TOOLS, Word.JSON, Word.JSON_SCHEMA) if needs.endpoint is Endpoint.CHAT else (Word.JSON, Word.JSON_SCHEMA)
    )
    return next((word for word in words if word in needs.forced), None)


def called(choices: Collection[Choice], chunk: Mapping[str, Any], named: str | None) -> bool:
    """Whether a tool call (of the named function) has begun, in the legacy shape of `chunk` too."""
    for choice in choices:
        for call in choice.tools.calls if choice.tools is not None else ():
            if named is None or call.name == named:
                return True
    for delta in _deltas(chunk):
        call_shape = delta.get("function_call")
        if isinstance(call_shape, Mapping) and (named is None or call_shape.get("name") == named):
            return True
    return False


def other_calls(choices: Collection[Choice]) -> bool:
    """Whether tools were called and all their names are known (so that an unproven named call has been disproved)."""
    calls = [call for choice in choices if choice.tools is not None for call in choice.tools.calls]
    return bool(calls) and all(call.name is not None for call in calls)


def json_begun(choices: Collection[Choice], chunk: Mapping[str, Any]) -> bool | str:
    """Whether JSON has begun (or a call or refusal stands for it); a text says why it cannot any more."""
    for choice in choices:
        start = "".join(choice.text).lstrip() if choice.text else ""
        if start:
            return True if start[0] in "{[" else "fenced" if start[0] == "`" else "not JSON"
        if choice.tools is not None:
            return True
    return any(delta.get("refusal") for delta in _deltas(chunk))


def _deltas(chunk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    entries = chunk.get("choices")
    for entry in entries if isinstance(entries, list) else ():
        delta = entry.get("delta") if isinstance(entry, Mapping) else None
        if isinstance(delta, Mapping):
            yield delta
