"""From body bytes to a JSON object, strictly: UTF-8, no NaN, bounded depth, one `model`; everything else is a 400."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from routerconsole.domain.errors import ErrorCode, RequestRejected

MAX_DEPTH = 64
"""Nesting of objects and lists (interface.md §6)."""
_LONG_NUMBER = re.compile(rb"[:,\[]\s{0,64}-?[0-9]{19}")
_BOM = b"\xef\xbb\xbf"


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the body's JSON object; raise RequestRejected `invalid_json`. A byte order mark is accepted."""
    raw = raw.removeprefix(_BOM)
    if not raw.strip():
        raise RequestRejected(ErrorCode.INVALID_JSON, "The body is empty; send a JSON object.")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise RequestRejected(ErrorCode.INVALID_JSON, f"The body is not valid JSON: {exc.msg}.") from exc
    if not isinstance(data, dict):
        raise RequestRejected(ErrorCode.INVALID_JSON, f"The body must be a JSON object, not {_named(data)}.")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:  # a shallow body cannot be deep
        _check_depth(data)
    if raw.count(b'"model"') > 1 or b"\\u006" in raw:  # the second: a letter of `model` may be escaped
        json.loads(raw, object_pairs_hook=_refuse_two_models)
    if _LONG_NUMBER.search(raw):  # or such digits in a text
        json.loads(raw, parse_int=_refuse_inexact)
    return data


def _check_depth(data: object) -> None:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _children(item)]
        if not level:
            return
    raise RequestRejected(ErrorCode.INVALID_JSON, f"The body is nested more than {MAX_DEPTH} levels deep.")


def _children(item: object) -> list[object]:
    values = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [value for value in values if isinstance(value, dict | list)]


def _refuse_two_models(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Only the outermost object is a request, but which one that is cannot be seen here: `messages` gives it away."""
    names = [name for name, _ in pairs]
    if names.count("model") > 1 and ("messages" in names or "input" in names or "prompt" in names):
        raise RequestRejected(ErrorCode.INVALID_JSON, "The body names `model` twice.", param="model")
    return dict(pairs)


def _refuse_inexact(digits: str) -> int:
    """Beyond 64 bits a whole number is read as a float: what then differs must not reach an upstream unsaid."""
    value = int(digits)
    if not -(2**63) <= value < 2**64 and int(float(digits)) != value:
        raise RequestRejected(ErrorCode.INVALID_JSON, "The body has a whole number of more than 64 bits.")
    return value


def _named(data: object) -> str:
    return {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}.get(type(data), "a number")
