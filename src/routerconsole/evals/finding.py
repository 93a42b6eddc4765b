"""How one assertion came out on one answer, before groups and negation; what graders hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from .fill import fill, filled
from .types import Json, Reply, Sample, Status, Verdict, errored

SHOWN = 400
"""Characters of an expected or actual text that are kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether it holds; `obstacle` where it cannot be told, and the number measured where there is one."""

    passed: bool | None
    expected: str = ""
    actual: str = ""
    obstacle: Verdict | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a grader may look at: the sample, its variables and the schema the request asked for."""

    sample: Sample
    schema: Mapping[str, Json] | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def text(self, said: str) -> str:
        """Return a text of the scenario with the variables filled in."""
        return filled(said, self.variables)

    def value(self, said: Json) -> Json:
        """Return a value of the scenario with the variables filled in."""
        return fill(said, self.variables)

    @property
    def first_route(self) -> str | None:
        """The route that stood first when the sample began."""
        return next((reply.trace.first for reply in self.sample.replies if reply.trace.first), None)


def untold(reason: str, detail: str = "") -> Finding:
    """It cannot be told: what it needs was not measured."""
    return Finding(None, obstacle=Verdict(Status.INCONCLUSIVE, reason, detail))


def wrong_class(cls: str, detail: str = "") -> Finding:
    """It cannot be told, and that is an error of the set-up."""
    return Finding(None, obstacle=errored(cls, detail))


def shown(value: Json) -> str:
    """Return a value as short text for people; unsafe characters stay, renderers escape."""
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def answer(reply: Reply) -> str:
    """Return what an answer says, for reports: its text, its calls, or its error."""
    if reply.error is not None:
        return shown(f"{reply.error.code or reply.error.cls}: {reply.error.message}")
    calls = [f"{call.name}({call.arguments})" for call in reply.tool_calls]
    return shown(" ".join(part for part in (reply.text, *calls) if part))
