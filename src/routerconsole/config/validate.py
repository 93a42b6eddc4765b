"""Runs models over a parsed document and words what they refuse, with the nearest known name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .models import Section, Settings
from .problems import Loc, Problem
from .yaml_loader import Document, Value

S = TypeVar("S", bound=Section)

_WORDED = 1000
"""Problems that are worded one by one: finding near names takes time, and nobody reads more."""

_TYPES = {
    "string_type": "must be text (write it in quotes)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "finite_number": "must be a finite number",
    "missing": "is missing (add it)",
}


def validate(document: Document, data: Mapping[str, Value]) -> tuple[Settings | None, list[Problem]]:
    """Return the settings, or None and every problem the models see."""
    return validate_section(Settings, document, data)


def validate_section(
    model: type[S], document: Document, data: Value | Mapping[str, Value], *, at: Loc = ()
) -> tuple[S | None, list[Problem]]:
    """Return one section read from `data`, which stands at `at`, or None and every problem the model sees."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True, include_context=True)
    problems = []
    for detail in found[:_WORDED]:
        loc = _real_loc(detail["loc"], data)
        problems.append(document.problem((*at, *loc), _words(detail, loc, model)))
    if len(found) > _WORDED:
        problems.append(
            Problem(document.file, 0, "", f"{len(found) - _WORDED} more values are wrong (mend these first)")
        )
    return None, problems


def _real_loc(loc: Loc, data: object) -> Loc:
    """Return the part of a pydantic location that exists in the document, plus the key that is missing from it."""
    real: list[str | int] = []
    at = data
    for part in loc:
        if part == "[key]":
            break
        if isinstance(at, dict) and isinstance(part, str):
            real.append(part)
            at = at.get(part)
        elif isinstance(at, list) and isinstance(part, int):
            real.append(part)
            at = at[part]
        # anything else is pydantic's own tag for a union branch or a validator
    return tuple(real)


def _words(detail: ErrorDetails, loc: Loc, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(str(loc[-1]), _keys_at(loc[:-1], model))
    if loc == ("version",):
        return _version(detail["input"])
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _choice(detail["input"], str(context["expected"]))
    if detail["input"] is None and kind.endswith("_type"):
        return "is empty (give it a value, or remove the key)"
    if kind in _TYPES:
        return _TYPES[kind] + _got(detail["input"], kind)
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return detail["msg"][:1].lower() + detail["msg"][1:].replace("Input should", "must").replace("input should", "must")


def _got(value: object, kind: str) -> str:
    """Say what was read instead of what was wanted; numbers and words only, never the text of a value."""
    if kind == "string_type":
        # what should be text may be a key written as a number
        return ""
    if isinstance(value, bool):
        return f", not {'true' if value else 'false'}"
    if isinstance(value, (int, float)):
        return f", not the number {value:.6g}"
    if isinstance(value, str) and kind not in ("list_type", "dict_type", "model_type"):
        return f", not the text {value!r}" if len(value) <= 12 else ", not text"
    if isinstance(value, list):
        return ", not a list"
    return ", not a mapping" if isinstance(value, dict) else ""


def _version(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        return f"this file was written for version {value}, this program reads version 1 (upgrade routerconsole)"
    return "must be the number 1 (write `version: 1`)"


def _choice(value: object, expected: str) -> str:
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
    close = difflib.get_close_matches(value, choices, n=1, cutoff=0.6) if isinstance(value, str) else []
    hint = f"; did you mean '{close[0]}'?" if close else ""
    said = f"{value[:40]!r} is not one of the choices" if isinstance(value, str) else "is not one of the choices"
    return f"{said} ({', '.join(choices)}){hint}"


def unknown_key(key: str, known: tuple[str, ...]) -> str:
    """Return the words for a key nobody knows, with the nearest known one."""
    close = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    if close:
        return f"unknown key '{key[:60]}'; did you mean '{close[0]}'?"
    return f"unknown key '{key[:60]}' (known here: {', '.join(known)})"


def _keys_at(loc: Loc, model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys the section at `loc` may have, as a file writes them."""
    at: object = model
    for part in loc:
        at = _below(at, part)
    if not (isinstance(at, type) and issubclass(at, BaseModel)):
        return ()
    return tuple(field.alias or name for name, field in at.model_fields.items())


def _below(annotation: object, part: str | int) -> object:
    """Return the annotation of a member of `annotation`: a field of a section, or the items of a list or mapping."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else _bare(field.annotation)
    arguments = get_args(annotation)
    return _bare(arguments[-1]) if get_origin(annotation) in (list, dict) else None


def _bare(annotation: object) -> object:
    """Return an annotation without Annotated and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation
