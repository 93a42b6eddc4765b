"""`routerconsole serve`: engine and endpoint without a console."""

from __future__ import annotations

import argparse
import os

from routerconsole.cli.process import run_headless
from routerconsole.wiring import EngineOptions, Node, prepare


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; print one line when ready. Raises what the exit-code table knows."""
    options = EngineOptions(config=args.config, state_dir=args.state_dir, host=args.host, port=args.port)
    prepared = prepare(options, os.environ)
    return run_headless(prepared, ready=_ready)


def _ready(node: Node) -> None:
    print(f"routerconsole listening on {node.service.endpoint}", flush=True)
