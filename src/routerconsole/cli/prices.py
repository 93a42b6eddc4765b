"""`routerconsole models prices FILE`: prices from a public table, as one change that `undo` takes back."""

from __future__ import annotations

import argparse
from pathlib import PurePath

from routerconsole.cli.explain import read_body
from routerconsole.cli.registry import change
from routerconsole.control.registry_commands import ImportPrices


def run(args: argparse.Namespace) -> int:
    """Import a table; exit 2 where the file is none."""
    table = read_body(args.file, "a price table")
    origin = "stdin" if args.file == "-" else PurePath(args.file).name
    return change(args, ImportPrices(table, origin, args.provider, args.overwrite))
