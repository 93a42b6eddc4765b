"""`routerconsole simulate`: the scripted upstream on its own, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop
from routerconsole.simulator.behaviour import Behaviour
from routerconsole.simulator.script import Script, load_script
from routerconsole.simulator.serve import serve

if TYPE_CHECKING:
    from routerconsole.simulator.simulator import Simulator

HOST = "127.0.0.1"
MODEL = "sim-ok"


def run(args: argparse.Namespace) -> int:
    """Serve a script, or one healthy model (and any other name) without one; print one line when ready."""
    script = load_script(args.script) if args.script is not None else None
    try:
        return asyncio.run(_serve(script or Script(models={MODEL: Behaviour()}, default=Behaviour()), args.port))
    except OSError as exc:
        raise Stop(Exit.USAGE, f"cannot listen on {HOST}:{args.port}: {exc.strerror or exc}") from exc


async def _serve(script: Script, port: int) -> int:
    """Serve until a signal: SIGTERM ends with 0, Ctrl-C with 130."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told = asyncio.Event()

    def end() -> None:
        told.set()
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        await serve(script, HOST, port, _ready)
    except asyncio.CancelledError:
        if not told.is_set() or task is None:  # Ctrl-C, which asyncio.run turns into KeyboardInterrupt
            raise
        task.uncancel()
    return Exit.OK


def _ready(simulator: Simulator) -> None:
    print(f"routerconsole simulator listening on {simulator.base_url}", flush=True)
