"""Rows of the log as JSON lines or as CSV that a spreadsheet cannot be tricked with. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from routerconsole.domain.visible import json_text

from .views import RequestRow
from .wire import plain

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula, the full-width forms too."""


def jsonl(rows: Sequence[RequestRow]) -> str:
    """Return one JSON object per line."""
    return "".join(json_text(plain(row)) + "\n" for row in rows)


def csv_text(rows: Sequence[RequestRow]) -> str:
    """Return CSV with a header; lists are joined by a space, what is unknown is empty."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")
    names = [field.name for field in fields(RequestRow)]
    writer.writerow(names)
    for row in rows:
        values: Mapping[str, Any] = plain(row)
        writer.writerow([cell(values[name]) for name in names])
    return made.getvalue()


def cell(value: object) -> str:
    """Return a CSV cell: text that could be a formula gets an apostrophe, unpaired surrogates their escape."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    shown = shown.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return f"'{shown}" if shown.startswith(FORMULA) else shown
