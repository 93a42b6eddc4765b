"""What the control plane takes and gives: strict pydantic bodies and queries, and the envelopes around the views.

A key that is not named here is refused with the one that was probably meant; `Chat…` bodies are passed through whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from routerconsole.control.views import AuditRow, FailureView, ProviderMetrics, ProviderStatus
from routerconsole.domain.errors import ErrorCode, RequestRejected

Model = TypeVar("Model", bound=BaseModel)
JsonObject = dict[str, Any]

ACTIONS = ("enable", "disable", "reset_circuit", "isolate", "force_close", "drain", "set_priority")
Action = Literal["enable", "disable", "reset_circuit", "isolate", "force_close", "drain", "set_priority"]
CHOICES = {
    "role": ("general", "reward", "teacher", "judge"),
    "format": ("api", "ollama", "gguf", "safetensors", "hf"),
    "tier": ("exploratory", "standard", "deep"),
}
"""What a model's fields may be, for the refusal of anything else."""
RequestState = Literal["ok", "failed", "cancelled", "truncated", "in_flight"]
MAX_SHOWN = 60
"""Characters of a refused value repeated to its sender."""
Limit = Annotated[int, Field(ge=1, le=10**9, description="At most this many; 1000 are given at once.")]


class Body(BaseModel):
    """A JSON body: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Body):
    """A body without keys."""


class Query(BaseModel):
    """A query string: text turned into the types named; unknown keys are ignored, as everywhere on the web."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class NoQuery(Query):
    """A route that asks nothing of its query."""


class ControlBody(Body):
    """An action on a provider or route; options belong to the actions that have them."""

    action: Action
    ttl_s: Annotated[float, Field(gt=0, le=86400)] | None = None
    cancel_in_flight: bool | None = None
    priority: Annotated[int, Field(ge=-(10**6), le=10**6)] | None = None
    gates: bool | None = None


class HealthCheckBody(Body):
    """Which providers to check; none named means all."""

    providers: list[str] = []


class ReplayBody(Body):
    """Send again, once per model; none named means the request's own."""

    models: list[Annotated[str, Field(min_length=1)]] = []


class CommandBody(Body):
    """Any control command by name."""

    command: str
    args: JsonObject = {}
    dry_run: bool = False
    if_version: Annotated[int, Field(ge=0)] | None = None


class CommandItem(Body):
    """One control command by name."""

    command: str
    args: JsonObject = {}


class ImpactBody(Body):
    """Registry commands to be tried on the last requests, one after the other."""

    commands: Annotated[list[CommandItem], Field(min_length=1, max_length=500)]


class ChatBody(BaseModel):
    """A chat request as `/v1/chat/completions` takes it; every key is passed through."""

    model_config = ConfigDict(extra="allow", frozen=True)


class CompleteBody(ChatBody):
    """A chat request that is answered whole; without a temperature it gets 0.7."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    messages: list[Any]
    stream: Literal[False] | None = None


class RequestsQuery(Query):
    """Which rows of the request log."""

    limit: Limit = 100
    before: Annotated[str, Field(pattern=r"^([0-9]{1,18}|[0-9a-f]{6}-[0-9a-f]{5,})$", max_length=40)] | None = None
    provider: str | None = None
    status: RequestState | None = None
    filter: Annotated[str, Field(max_length=4096)] | None = None
    failed_over: bool = False


class LimitQuery(Query):
    """How many, newest first."""

    limit: Limit = 100


class FailuresQuery(LimitQuery):
    """How many, and since when (ISO 8601 or epoch seconds; what cannot be read as a time limits nothing)."""

    since: str | None = None


class EventsQuery(Query):
    """From where to read events: after this number, or from now on."""

    after: Annotated[int, Field(ge=-1, lt=2**63)] | None = None
    limit: Limit = 1000


@dataclass(frozen=True, slots=True)
class ProviderList:
    """Every provider."""

    providers: tuple[ProviderStatus, ...]


@dataclass(frozen=True, slots=True)
class MetricsList:
    """Counters of every provider."""

    providers: tuple[ProviderMetrics, ...]


@dataclass(frozen=True, slots=True)
class FailureTarget:
    """The failures of one route together; `classes` counts them by class."""

    provider: str
    model: str
    failures: int
    classes: Mapping[str, int]
    last_at: str


@dataclass(frozen=True, slots=True)
class FailureList:
    """Recent failures, newest first, and the same by route, most first."""

    failures: tuple[FailureView, ...]
    targets: tuple[FailureTarget, ...]


@dataclass(frozen=True, slots=True)
class AuditList:
    """Operator changes, newest first."""

    audit: tuple[AuditRow, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The new requests' ids."""

    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventList:
    """Events after a cursor: `next` is the cursor to go on with, `missed` were lost before they were read."""

    events: tuple[Mapping[str, Any], ...]
    next: int
    missed: int


@dataclass(frozen=True, slots=True)
class AttemptTold:
    """One upstream call as answers and errors list it."""

    provider: str
    model: str
    class_: str | None
    status: int | None
    ms: float | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole answer; `is_fallback_model` says that it is not the first choice that answered."""

    content: str | None
    provider: str
    model: str
    latency_ms: float
    is_fallback_model: bool
    attempts: tuple[AttemptTold, ...]
    request_id: str
    finish_reason: str | None
    tool_calls: tuple[Any, ...]
    usage: Mapping[str, Any] | None


def checked(model: type[Model], data: Mapping[str, Any]) -> Model:
    """Return the validated model; raise RequestRejected that names the key and what to write instead."""
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        raise _refusal(model, exc) from exc


def _refusal(model: type[BaseModel], error: ValidationError) -> RequestRejected:
    errors = error.errors(include_url=False)
    # A misspelt key is both unknown and missing: the first says more.
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    where = [str(part) for part in first["loc"]]
    name = ".".join(where)[:MAX_SHOWN]
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        meant = did_you_mean(where[-1], _keys_at(model, where[:-1]))
        text = f"Unknown key `{name}`{meant}" + ("" if meant.endswith("?") else ".")
    elif kind == "missing":
        text = f"`{name}` is required."
    elif kind == "literal_error" and where == ["action"]:
        text = f"Unknown action {shown(given)}; choose one of: {', '.join(ACTIONS)}."
    elif kind == "literal_error" and where[0] in CHOICES:
        text = f"Invalid {where[0]} {shown(given)}; choose one of: {', '.join(CHOICES[where[0]])}."
    elif kind == "literal_error":
        text = f"`{name}` cannot be {shown(given)}: {first['msg']}."
    else:
        text = f"`{name}`: {first['msg']}."
    return RequestRejected(ErrorCode.INVALID_REQUEST, text, param=where[0][:MAX_SHOWN] if where else None)


def _keys_at(model: type[BaseModel], where: Sequence[str]) -> tuple[str, ...]:
    """Return the keys there are at a place inside a body, none where it is no object of ours."""
    for part in where:
        field = model.model_fields.get(part)
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return ()
        model = inner
    return tuple(model.model_fields)


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """Return `; did you mean …?`, or what there is, or nothing where there is nothing."""
    near = difflib.get_close_matches(name, choices, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; there are: {', '.join(choices)}" if choices else ""


def shown(value: object) -> str:
    """Return a refused value, quoted and cut short."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
