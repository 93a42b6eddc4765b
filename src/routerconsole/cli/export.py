"""`routerconsole requests export`: the log as JSON lines or as CSV that a spreadsheet cannot be tricked with."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from routerconsole.cli.exits import Exit, say
from routerconsole.cli.output import json_text
from routerconsole.cli.requests import Reader, rows_of, with_reader
from routerconsole.config.export import write_new
from routerconsole.control.wire import plain
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from routerconsole.control.views import RequestRow

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula, the full-width forms too."""


def run(args: argparse.Namespace) -> int:
    """Write rows, newest first, to a new file (0600) or to stdout."""

    async def work(reader: Reader) -> int:
        rows, more = await rows_of(reader, args)
        made = csv_text(rows) if args.format == "csv" else jsonl(rows)
        if args.out is None:
            sys.stdout.write(made)
        else:
            write_new(args.out, made)
            print(f"{len(rows)} requests written to {visible(str(args.out))}", file=sys.stderr)
        if more is not None:
            say(f"there are older requests than these {len(rows)}: raise `--limit`")
        return Exit.OK

    return with_reader(args, work)


def jsonl(rows: Sequence[RequestRow]) -> str:
    """Return one JSON object per line."""
    return "".join(json_text(plain(row)) + "\n" for row in rows)


def csv_text(rows: Sequence[RequestRow]) -> str:
    """Return CSV with a header; lists are joined by a space, what is unknown is empty."""
    from dataclasses import fields

    from routerconsole.control.views import RequestRow

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
