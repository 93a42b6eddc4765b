"""How a command that needs an engine gets one: the running one, or one of its own for as long as it takes."""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import TYPE_CHECKING

from routerconsole.cli.session import place, with_control
from routerconsole.control.discovery import runs_here

if TYPE_CHECKING:
    from routerconsole.cli.session import Work


def with_engine(args: argparse.Namespace, work: Work) -> int:
    """Run `work` on the running engine, or on one of our own that ends with it."""
    if args.url or runs_here(place(args)):
        return with_control(args, work)
    from routerconsole.wiring import EngineOptions, Node, prepare

    async def main() -> int:
        options = EngineOptions(config=args.config, state_dir=args.state_dir, host="127.0.0.1", port=0)
        node = Node(prepare(options, os.environ))
        await node.start()
        try:
            return await work(node.control)
        finally:
            await node.stop()

    return asyncio.run(main())
