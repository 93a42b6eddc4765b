"""Fields of one registry model as an operator may set them, by the same rules as in the configuration file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from .fields import ModelId, Name, Text
from .models import FormatName, LimitSettings, ModelSettings, RoleName, TierName

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "role": get_args(RoleName),
    "format": get_args(FormatName),
    "tier": get_args(TierName),
}
_SHOWN = 60


class ModelFields(ModelSettings):
    """What the file says of a model, and what only operators say. The id is no field: it is the model's name."""

    id: ModelId = "-"
    enabled: bool = True
    exposed: bool = True
    display: Text | None = None
    description: Text | None = None
    default_temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    delivery: list[Literal["sync", "stream", "batch"]] = Field(default=["sync", "stream"], min_length=1)
    features: list[Name] = Field(default=[])
    constraints: list[Name] = Field(default=[])
    free: bool | None = None
    price_source: Text | None = None


EDIT_FIELDS = tuple(name for name in ModelFields.model_fields if name != "id")
"""Every field an edit may name."""


class FieldProblem(ValueError):
    """A field there is not, or a value it does not take; the text names it and says what it takes."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def checked_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as they are kept, JSON-ready; null stands for unset. Raise FieldProblem at the first wrong."""
    for name in given:
        if name not in EDIT_FIELDS:
            raise FieldProblem(name, _unknown(name, EDIT_FIELDS))
    values = {name: value for name, value in given.items() if value is not None}
    try:
        found = ModelFields.model_validate(values)
    except ValidationError as exc:
        raise _problem(exc) from None
    kept = found.model_dump(mode="json", include=set(values))
    # 0 tokens is how the file says "unknown", and unlike null it takes a configured number away
    return {name: kept[name] if kept.get(name) is not None else values.get(name) for name in given}


def _problem(exc: ValidationError) -> FieldProblem:
    error = exc.errors(include_url=False)[0]
    path = [str(part) for part in error["loc"]]
    name, where = path[0], ".".join(path)
    if error["type"] == "extra_forbidden":
        return FieldProblem(name, _unknown(where, tuple(f"{name}.{each}" for each in LimitSettings.model_fields)))
    value = repr(error["input"])[:_SHOWN]
    if name in _CHOICES:
        return FieldProblem(name, f"Invalid {name} {value}; choose one of: {', '.join(_CHOICES[name])}.")
    why = error["msg"].removeprefix("Value error, ")
    return FieldProblem(name, f"Invalid {where} {value}: {why[:1].lower()}{why[1:]}.")


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}."
    return f"Unknown field {name[:_SHOWN]!r}{hint}"
