"""`routerconsole requests export`: the log as JSON lines or as CSV that a spreadsheet cannot be tricked with."""

from __future__ import annotations

import argparse
import sys

from routerconsole.cli.exits import Exit, say
from routerconsole.cli.output import show_json
from routerconsole.cli.requests import Reader, rows_of, with_reader
from routerconsole.control.new_file import write_new
from routerconsole.control.row_text import csv_text, jsonl
from routerconsole.control.wire import plain
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import visible


def run(args: argparse.Namespace) -> int:
    """Write rows, newest first, to a new file (0600) or to stdout."""

    async def work(reader: Reader) -> int:
        rows, more = await rows_of(reader, args)
        made = csv_text(rows) if args.format == "csv" else jsonl(rows)
        if args.out is not None:
            write_new(args.out, made)
            print(f"{counted(len(rows), 'request')} written to {visible(str(args.out))}", file=sys.stderr)
        if args.json:
            show_json({"path": str(args.out), "requests": len(rows)} if args.out else {"requests": plain(rows)})
        elif args.out is None:
            sys.stdout.write(made)
        if more is not None:
            say(f"there are older requests than these {len(rows)}: raise `--limit`")
        return Exit.OK

    return with_reader(args, work)
