"""A scenario as its file says it: the sections of `config/scenarios/*.yaml` and the frozen scenario read from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from routerconsole.config.fields import Duration, Text
from routerconsole.config.models import Section

from .assertions import Leaf, Node, leaves

CONTROL = "control"
WARMUP = "warmup"
Kind = Literal["chat", "latency", "long_context", "compaction", "embeddings", "drill"]
FaultKind = Literal["refuse", "hang", "cut", "no_tool", "bad_json", "empty", "error_in_200", "flap"]
Repeats = Annotated[int, Field(ge=1, le=1000)]
Percent = Annotated[int, Field(ge=0, le=100)]
Many = Annotated[int, Field(ge=1, le=200)]
Identifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,63}$")]


class VarSection(Section):
    """How a variable is drawn anew for each repeat; `length` is digits, `values` are what `choice` draws from."""

    kind: Literal["word", "word_digits", "digits", "hex", "integer", "choice", "colour"]
    length: Annotated[int, Field(ge=1, le=64)] = 4
    min: int = 2
    max: int = 9
    values: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _sound(self) -> VarSection:
        if self.kind == "choice" and len(self.values) < 2:
            raise ValueError("a choice needs at least two values")
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class TurnSection(Section):
    """What is said next: a user's text, with a picture of a colour if named, or the result every tool call gets."""

    user: str | None = None
    image: str | None = None
    tool: str | None = None

    @model_validator(mode="after")
    def _one(self) -> TurnSection:
        if (self.user is None) == (self.tool is None):
            raise ValueError("needs exactly one of user, tool")
        if self.image is not None and self.user is None:
            raise ValueError("image goes with user")
        return self


class LatencySection(Section):
    """How many short calls are measured after so many that are thrown away."""

    calls: Annotated[int, Field(ge=2, le=200)] = 10
    warmup: Annotated[int, Field(ge=1, le=10)] = 1


class LongContextSection(Section):
    """A sentence at these depths (percent of the window) of a text filling so much of it; `overflow` asks for more."""

    needle: str
    depths: Annotated[list[Percent], Field(min_length=1, max_length=10)] = Field(default_factory=lambda: [10, 50, 90])
    fill: Annotated[float, Field(gt=0, le=0.95, allow_inf_nan=False)] = 0.75
    overflow: bool = True


class CompactionSection(Section):
    """Facts spread over a transcript longer than the window; windows beyond `budget` tokens count as that many."""

    facts: Annotated[list[str], Field(min_length=2, max_length=50)]
    budget: Annotated[int, Field(ge=1024, le=1_000_000)] = 4096


class FaultSection(Section):
    """What goes wrong upstream: from the `at`-th call on (1 is the first), so many `times` (left out: from then on).

    `route` is the place in the drill's pool. `status` answers with it; `kind` is everything else; `after` counts the
    deltas before a cut; `up` and `down` are the seconds of a flapping route.
    """

    at: Many = 1
    times: Many | None = None
    route: Annotated[int, Field(ge=1, le=9)] = 1
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    kind: FaultKind | None = None
    retry_after: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] | None = None
    after: Annotated[int, Field(ge=0, le=1000)] = 2
    up: Duration = 0.5
    down: Duration = 0.5

    @model_validator(mode="after")
    def _one(self) -> FaultSection:
        if (self.status is None) == (self.kind is None):
            raise ValueError("needs exactly one of status, kind")
        if self.kind is not None and (self.times is not None or self.at != 1):
            raise ValueError("at and times go with status (other faults last for the whole drill)")
        return self


class ScenarioSection(Section):
    """One scenario. What is left out comes from the file's `defaults`."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]
    title: Text = ""
    kind: Kind = "chat"
    capability: str | None = None
    system: str | None = None
    turns: Annotated[list[TurnSection], Field(max_length=50)] = Field(default_factory=list)
    control: list[TurnSection] = Field(default_factory=list)
    request: dict[str, JsonValue] = Field(default_factory=dict)
    stream: bool = False
    expect: Literal["truncated"] | None = None
    vars: dict[Identifier, VarSection] = Field(default_factory=dict)
    repeats: Repeats | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    timeout: Duration | None = None
    latency: LatencySection | None = None
    long_context: LongContextSection | None = None
    compaction: CompactionSection | None = None
    faults: list[FaultSection] = Field(default_factory=list)
    requests: Many = 1
    routes: Annotated[int, Field(ge=1, le=9)] = 2
    assertions: Annotated[list[JsonValue], Field(min_length=1, alias="assert")]

    @model_validator(mode="after")
    def _kind(self) -> ScenarioSection:
        for name in ("long_context", "compaction"):
            if (self.kind == name) != (getattr(self, name) is not None):
                raise ValueError(f"kind {name} and the section {name} go together")
        if self.latency is not None and self.kind != "latency":
            raise ValueError("the section latency goes with kind latency")
        if self.faults and self.kind != "drill":
            raise ValueError("faults go with kind drill")
        if not self.turns and self.kind != "drill":
            raise ValueError("turns is missing (add it)")
        if self.kind != "chat" and len(self.turns) > 1:
            raise ValueError(f"kind {self.kind} takes one turn")
        if self.kind == "drill" and any(fault.route > self.routes for fault in self.faults):
            raise ValueError("a fault names a route the drill does not have (raise routes)")
        if (self.turns and self.turns[0].user is None) or (self.control and self.control[0].user is None):
            raise ValueError("the first turn is a user's")
        return self


class DefaultsSection(Section):
    """What scenarios of the file say where they do not say otherwise."""

    repeats: Repeats = 3
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    timeout: Duration = 60.0


class FileSection(Section):
    """A whole file; its scenarios are read one by one afterwards."""

    version: Literal[1]
    suite: Text
    defaults: DefaultsSection = DefaultsSection()
    vars: dict[Identifier, VarSection] = Field(default_factory=dict)
    scenarios: Annotated[list[JsonValue], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario ready to run: `said` with the defaults filled in, its assertions, its node and its hash.

    `asks` is the hash of what is asked alone, whatever is asserted of the answer.
    """

    said: ScenarioSection
    suite: str
    node: str | None
    asserts: tuple[Node, ...]
    hash: str
    file: str
    repeats: int
    temperature: float | None
    max_tokens: int
    timeout_s: float
    asks: str = ""

    @property
    def id(self) -> str:
        """The name it is asked for by."""
        return self.said.id

    @property
    def title(self) -> str:
        """The line shown to people."""
        return self.said.title or self.said.id

    @property
    def kind(self) -> Kind:
        """How its calls are made."""
        return self.said.kind

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every assertion, in order, groups opened."""
        return tuple(leaf for node in self.asserts for leaf in leaves(node))

    @property
    def judged(self) -> tuple[Leaf, ...]:
        """The assertions that need votes."""
        return tuple(leaf for leaf in self.leaves if leaf.kind in ("judge", "reward_vote"))

    @property
    def is_drill(self) -> bool:
        """Whether it runs against the simulator, not against a target."""
        return self.kind == "drill"


def labels(said: ScenarioSection) -> tuple[str, ...]:
    """Return the labels of the calls a scenario makes, in order; `compact-1` stands for as many as it takes."""
    table: dict[str, tuple[str, ...]] = {
        "chat": tuple(f"turn-{n}" for n in range(1, len(said.turns) + 1)),
        "embeddings": ("float", "again", "base64"),
        "compaction": ("compact-1", "recall"),
        "drill": tuple(f"call-{n}" for n in range(1, said.requests + 1)),
    }
    if said.kind == "latency":
        counted = said.latency or LatencySection()
        found = tuple(f"{WARMUP}-{n}" for n in range(1, counted.warmup + 1))
        found += tuple(f"call-{n}" for n in range(1, counted.calls + 1))
    elif said.long_context is not None:
        found = tuple(f"needle-{depth}" for depth in said.long_context.depths)
        found += ("overflow",) if said.long_context.overflow else ()
    else:
        found = table[said.kind]
    return (*found, CONTROL) if said.control else found
