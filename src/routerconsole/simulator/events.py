"""What a stream is made of before it has a framing: events with a kind, so that faults can count what matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from routerconsole.simulator.behaviour import Behaviour
from routerconsole.simulator.content import Answer, Ask
from routerconsole.simulator.http import Request


class Kind(StrEnum):
    """What an event of a stream carries."""

    ROLE = "role"
    CONTENT = "content"
    TOOL = "tool"
    FINISH = "finish"
    USAGE = "usage"
    META = "meta"
    DONE = "done"


COUNTED = frozenset({Kind.CONTENT, Kind.TOOL})


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its payload and, where the dialect has one, its name."""

    kind: Kind
    data: bytes
    name: str | None = None


class Face(Protocol):
    """One dialect: two pure maps and its framing."""

    name: str
    ndjson: bool

    def parse(self, request: Request, body: dict[str, object]) -> Ask:
        """The request in no dialect."""

    def whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> dict[str, object]:
        """The body of a whole reply."""

    def events(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> Iterator[Event]:
        """The events of a streamed reply."""


def texts(content: object) -> list[str]:
    """The text in a message's content, whatever its shape."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    found: list[str] = []
    for part in content:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict):
            inner = part.get("text", part.get("content"))
            found.extend(texts(inner))
    return found


def count_parts(content: object, kinds: frozenset[str]) -> int:
    """How many parts of these types a message's content has."""
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if isinstance(part, dict) and part.get("type") in kinds)


def objects(value: object) -> list[dict[str, object]]:
    """The objects of a list, or nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(value: object, default: str = "") -> str:
    """The value if it is a text, else the default."""
    return value if isinstance(value, str) else default


def int_of(value: object, default: int | None = None) -> int | None:
    """The value if it is a whole number, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def mapping(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
