"""The field types of the settings: durations, ids, names. Each refuses with words a person can act on."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

DAY = 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)", re.ASCII)
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE | re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
MAX_PRIORITY = 1_000_000
"""How far a priority may lie from 0."""
MAX_EXTENSIONS = 1000
"""Nodes a document may add to the tree; looking one up walks them all."""
RESERVED = frozenset({"router", "llmproxy"})
_MAX_ID = 128
_MAX_MODEL_ID = 512

HOP_BY_HOP = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
        "content-type",
        "proxy-authorization",
        "proxy-connection",
    ]
)
"""Headers the sender builds itself; a configured one would break framing or be overwritten."""


def parse_duration(value: object, *, longest: float = DAY, units: str = '"500ms", "30s", "5m", "1h"') -> float:
    """Return seconds from a number or a text with a unit, more than 0, at most `longest`; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"is not a duration (write seconds as a number, or {units})")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None or (match[2] == "d" and longest <= DAY):
            raise ValueError(f"{value[:40]!r} is not a duration (write seconds as a number, or {units})")
        seconds = float(match[1]) * _UNITS[match[2]]
    else:
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    if not 0 < seconds <= longest:
        most = "24h" if longest == DAY else f"{longest / DAY:.0f}d"
        raise ValueError(f"must be more than 0 and at most {most}")
    return seconds


def _retention(value: object) -> float:
    return parse_duration(value, longest=3650 * DAY, units='"12h", "7d"')


def check_id(value: str) -> str:
    """Return the id of a provider or pool, or raise ValueError with the rule it breaks."""
    if not _ID.fullmatch(value) or len(value) > _MAX_ID:
        raise ValueError(
            f"{value[:40]!r} is not a valid id (letters, digits, '.', '_' and '-', starting with a letter or digit)"
        )
    if value != value.lower():
        raise ValueError(f"{value!r} must be lower case (write {value.lower()!r})")
    return check_reserved(value)


def check_profile_id(value: str) -> str:
    """Return a profile id: any text without spaces; ValueError otherwise."""
    if not value or len(value) > _MAX_ID or any(char.isspace() or not char.isprintable() for char in value):
        raise ValueError("a profile id is 1 to 128 printable characters without spaces")
    return check_reserved(value)


def check_reserved(value: str) -> str:
    """Refuse the names and the separator that the `model` field gives a meaning of its own."""
    if "__" in value:
        raise ValueError(f"{value!r} must not contain '__' (it separates provider and model)")
    if value.lower() in RESERVED:
        raise ValueError(f"{value!r} is reserved (choose another name)")
    return value


def check_text(value: str) -> str:
    """Refuse control, bidirectional and surrogate characters in text that people will be shown."""
    if any(not char.isprintable() for char in value):
        raise ValueError("must not contain control or invisible characters")
    return value


def check_model_id(value: str) -> str:
    """Return an upstream model id: 1 to 512 printable characters without spaces around it."""
    if not value or value != value.strip() or len(value) > _MAX_MODEL_ID:
        raise ValueError("a model id is 1 to 512 characters without spaces around it")
    return check_text(value)


def check_header(value: str) -> str:
    """Return a header name that may be added to upstream requests."""
    if not _HEADER.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is not a header name")
    if value.lower() in HOP_BY_HOP:
        raise ValueError(f"{value!r} is set by the router itself (remove it)")
    return value


def _window(value: int) -> int | None:
    return value or None


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, > 0, at most 24 h."""
Retention = Annotated[float, BeforeValidator(_retention)]
"""Seconds, > 0, at most 3650 days."""
Id = Annotated[str, AfterValidator(check_id)]
ProfileId = Annotated[str, AfterValidator(check_profile_id)]
ModelId = Annotated[str, AfterValidator(check_model_id)]
Name = Annotated[str, AfterValidator(check_model_id)]
Text = Annotated[str, AfterValidator(check_text)]
HeaderName = Annotated[str, AfterValidator(check_header)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False, le=100_000)]
"""USD per million tokens; the ceiling catches a price written per token or in another unit."""
Count = Annotated[int, Field(ge=1, le=2**53)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
TokenWindow = Annotated[int, Field(ge=0, le=2**40), AfterValidator(_window)]
"""Tokens; 0 is unknown, as null is (C4-18)."""
