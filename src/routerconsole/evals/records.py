"""Runs and cells as stored text and back; every text of a cell passes the redactor before it is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import orjson
from pydantic import TypeAdapter, ValidationError

from .types import Cell, Json, Run

Redact = Callable[[str], str]


def run_text(run: Run) -> str:
    """Return a run as JSON text."""
    return orjson.dumps(run, default=dict).decode()


def cell_text(cell: Cell, redact: Redact) -> str:
    """Return a cell with its transcript as JSON text, known secrets taken out of every string in it."""
    return orjson.dumps(_redacted(orjson.loads(orjson.dumps(cell, default=dict)), redact)).decode()


def kept(cell: Cell, redact: Redact) -> tuple[str, Cell]:
    """Return a cell as the JSON text that is written and as what may be shown, secrets out of both."""
    plain = orjson.loads(orjson.dumps(cell, default=dict))
    clean = _redacted(plain, redact)
    text = orjson.dumps(clean).decode()
    return text, cell if clean == plain else read_cell(text) or cell


def read_run(text: str) -> Run | None:
    """Return the run a text holds, None where it is none of ours."""
    try:
        return _run_adapter().validate_json(text)
    except ValidationError:
        return None


def read_cell(text: str) -> Cell | None:
    """Return the cell a text holds, None where it is none of ours."""
    try:
        return _cell_adapter().validate_json(text)
    except ValidationError:
        return None


def _redacted(value: Json, redact: Redact) -> Json:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(key): _redacted(item, redact) for key, item in value.items()}
    return value


@cache
def _run_adapter() -> TypeAdapter[Run]:
    """Built at its first use: it takes milliseconds."""
    return TypeAdapter(Run)


@cache
def _cell_adapter() -> TypeAdapter[Cell]:
    return TypeAdapter(Cell)
