"""How a command that needs an engine gets one: the running one, or one of its own for as long as it takes."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from routerconsole.cli.exits import say
from routerconsole.cli.session import place, with_control
from routerconsole.control.discovery import runs_here
from routerconsole.domain.events import EventType

if TYPE_CHECKING:
    from routerconsole.cli.session import Work
    from routerconsole.control.port import Control

LOOK_S: Final = 0.2
LINGER_S: Final = 1.0
"""How long the engine stays after another command's run has ended, for that command to read what came of it."""


def with_engine(args: argparse.Namespace, work: Work) -> int:
    """Run `work` on the running engine, or on one of our own that ends with it and with runs others began there."""
    if args.url or runs_here(place(args)):
        return with_control(args, work)
    from routerconsole.wiring import EngineOptions, Node, prepare

    async def main() -> int:
        for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the engine in this process has files to close
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                asyncio.get_running_loop().add_signal_handler(number, signal.raise_signal, signal.SIGINT)
        options = EngineOptions(config=args.config, state_dir=args.state_dir, host="127.0.0.1", port=0)
        node = Node(prepare(options, os.environ))
        try:
            await node.start()
            code = await work(node.control)
            await _others(node.control)
            return code
        finally:
            await node.stop()

    return asyncio.run(main())


async def _others(control: Control) -> None:
    """Wait for runs that other commands began on this engine; Ctrl-C ends them, and they can be resumed."""
    told = False
    while True:
        runs = (await control.evals())["runs"]
        going = [each["run_id"] for each in runs if each["state"] == "running"]
        if not going:
            break
        if not told:
            say(f"run {', '.join(going)} of another command goes on here; this command ends with it")
        told = True
        await asyncio.sleep(LOOK_S)
    events = (await control.events(0, 10_000)).events
    begun = {each.data.get("run") for each in events if each.type is EventType.EVAL_STARTED}
    if told or len(begun) > 1:  # one is our own
        await asyncio.sleep(LINGER_S)
