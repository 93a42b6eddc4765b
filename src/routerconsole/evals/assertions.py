"""What a scenario may assert: one frozen section per family of assertion types, groups, and the table of all types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from routerconsole.config.models import Section

from .json_path import check_path
from .text import check_pattern

Number = Annotated[float, Field(allow_inf_nan=False)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
Path = Annotated[str, AfterValidator(check_path)]
Call = Annotated[str, Field(pattern=r"^[a-z0-9*][a-z0-9*-]*$")]
Texts = Annotated[list[str], Field(min_length=1)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
NEGATION = "not_"


class Assertion(Section):
    """What every assertion may say.

    `gate: false` only measures; `metric` names what it measures; `weight` counts in groups; `on` names the call whose
    answer is meant (`turn-1`, `control`, `all`, a prefix as `needle-*`; left out: the last); `code` is the fail code.
    """

    type: str
    gate: bool = True
    metric: Label | None = None
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    on: Call | None = None
    code: Label | None = None


class TextIs(Assertion):
    """`equals`, `iequals`, `contains`: the answer, trimmed; `punctuation: ignore` drops what surrounds it."""

    value: str
    punctuation: Literal["keep", "ignore"] = "keep"


class TextHas(Assertion):
    """`contains_all`, `contains_any`: without regard to case."""

    values: Texts


class TextMatches(Assertion):
    """`regex`: found anywhere in the answer, on an engine without backtracking."""

    pattern: Pattern


class JsonValid(Assertion):
    """`json_valid`: the answer is JSON and nothing else; an object unless `any: true`."""

    any: bool = False


class JsonSchema(Assertion):
    """`json_schema`: fits the schema, by default the one the request asks for."""

    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")


class JsonPath(Assertion):
    """`json_path`: a value in the answer; numbers and texts never equal each other, nor 3 and 3.0."""

    path: Path
    equals: JsonValue = None
    one_of: list[JsonValue] | None = None
    exists: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> JsonPath:
        if len(self.model_fields_set & {"equals", "one_of", "exists"}) != 1:
            raise ValueError("needs exactly one of equals, one_of, exists")
        return self


class ToolCalled(Assertion):
    """`tool_called`: a call with this name (any, where left out), so many times."""

    name: str | None = None
    count: Annotated[int, Field(ge=1, le=100)] | None = None


class ToolArgs(Assertion):
    """`tool_args`: a call with this name whose arguments are an object holding these values."""

    name: str
    args: dict[str, JsonValue]
    exact: bool = False


class ExpectedCall(Section):
    """One call of `tool_match`: each argument is a list of values any of which will do; `optional` may be left out."""

    name: str
    args: dict[str, Annotated[list[JsonValue], Field(min_length=1)]] = Field(default_factory=dict)
    optional: list[str] = Field(default_factory=list)


class ToolMatch(Assertion):
    """`tool_match`: exactly these calls, in any order, no other argument."""

    calls: Annotated[list[ExpectedCall], Field(min_length=1)]


class Bare(Assertion):
    """Types that need nothing more said."""


class FinishReason(Assertion):
    """`finish_reason`: one of these."""

    values: Texts


class StreamIntegrity(Assertion):
    """`stream_integrity`: deltas, exactly one finish, `[DONE]`, UTF-8 intact, first token before the end."""

    min_deltas: Annotated[int, Field(ge=1, le=10_000)] = 2


class Times(Assertion):
    """`ttft_ms`, `latency_ms`, `added_latency_ms`: upper limits in milliseconds over all measured calls."""

    p50: Number | None = None
    p95: Number | None = None
    max: Number | None = None


class Rate(Assertion):
    """`tokens_per_s`: the least median rate of completion tokens after the first."""

    min: Number | None = None


class Tokens(Assertion):
    """`tokens`: bounds of a count the upstream reported."""

    of: Literal["prompt", "completion", "total"] = "total"
    min: Number | None = None
    max: Number | None = None


class Cost(Assertion):
    """`cost_usd`: the most a repeat may cost; an unknown cost is an error, never 0."""

    max: Number


class Similar(Assertion):
    """`similar`: the share of words in common order with a text."""

    value: str
    min: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.8


class Judged(Assertion):
    """`judge`, `reward_vote`: a score of votes in −1…1, at least `min`."""

    rubric: str = ""
    min: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0


class ServedBy(Assertion):
    """`served_by`: `provider` or `provider/model`; `first` and `second` are the routes of a drill in their order."""

    value: str


class Attempts(Assertion):
    """`attempts`: how many upstream calls one request took."""

    min: Annotated[int, Field(ge=0)] | None = None
    max: Annotated[int, Field(ge=0)] | None = None


class Circuit(Assertion):
    """`circuit`: the state of a route's circuit after the call; a route as in `served_by`."""

    route: str = "first"
    state: Literal["closed", "open", "half_open"]


class Once(Assertion):
    """`no_duplicate_text`: `marker` once at most; without one, no passage of eight words or more twice in a row."""

    marker: str | None = None


class Errors(Assertion):
    """`error`: the call failed with a typed error of one of these codes or classes (any, where left out)."""

    classes: list[str] = Field(default_factory=list)


class Embedding(Assertion):
    """`embedding`: one fixed dimension, the same text gives cosine 1, another text another vector, float == base64."""

    dimensions: Annotated[int, Field(ge=1)] | None = None


class Group(Section):
    """`all`, `any`, or `threshold` (the least sum of weights) with its members in `of`."""

    type: Literal["all", "any", "threshold"]
    threshold: float = 1.0
    weight: float = 1.0
    gate: bool = True
    metric: Label | None = None
    code: Label | None = None


TYPES: dict[str, type[Assertion]] = {
    **dict.fromkeys(("equals", "iequals", "contains"), TextIs),
    **dict.fromkeys(("contains_all", "contains_any"), TextHas),
    "regex": TextMatches,
    "json_valid": JsonValid,
    "json_schema": JsonSchema,
    "json_path": JsonPath,
    "tool_called": ToolCalled,
    "tool_args": ToolArgs,
    "tool_match": ToolMatch,
    **dict.fromkeys(("no_tool_call", "reasoning_present", "reasoning_not_leaked"), Bare),
    "finish_reason": FinishReason,
    "stream_integrity": StreamIntegrity,
    **dict.fromkeys(("ttft_ms", "latency_ms", "added_latency_ms"), Times),
    "tokens_per_s": Rate,
    "tokens": Tokens,
    "cost_usd": Cost,
    "similar": Similar,
    **dict.fromkeys(("judge", "reward_vote"), Judged),
    "served_by": ServedBy,
    "served_by_not_first": Bare,
    "attempts": Attempts,
    "circuit": Circuit,
    "no_duplicate_text": Once,
    "error": Errors,
    "embedding": Embedding,
    "compacted": Bare,
}
JUDGES = frozenset({"judge", "reward_vote"})
READS_ANSWER = frozenset(
    {"equals", "iequals", "contains", "contains_all", "contains_any", "regex", "json_valid", "json_schema", "json_path"}
    | {"tool_called", "tool_args", "tool_match", "no_tool_call", "reasoning_present", "reasoning_not_leaked", "similar"}
    | {"compacted", *JUDGES}
)
"""Types a cut or refused answer cannot be held to."""
TOOL_TYPES = frozenset({"tool_called", "tool_args", "tool_match"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One assertion, negated or not; `kind` is its type without `not_`."""

    kind: str
    negated: bool
    said: Assertion

    @property
    def name(self) -> str:
        """The type as it was written."""
        return (NEGATION if self.negated else "") + self.kind

    @property
    def code(self) -> str:
        """The fail code."""
        return self.said.code or self.name


@dataclass(frozen=True, slots=True)
class Branch:
    """A group and its members."""

    said: Group
    members: tuple[Node, ...]

    @property
    def code(self) -> str:
        """The fail code."""
        return self.said.code or self.said.type


Node = Leaf | Branch


def leaves(node: Node) -> tuple[Leaf, ...]:
    """Return the assertions of a tree in their order."""
    if isinstance(node, Leaf):
        return (node,)
    return tuple(leaf for member in node.members for leaf in leaves(member))
