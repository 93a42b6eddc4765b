"""`routerconsole mcp`: exposed pools as tools over stdin and stdout, on the running engine or one in this process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.session import engine, place
from routerconsole.control.discovery import Found, engine_address
from routerconsole.control.port import ControlError, EngineUnreachable

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.wiring import Node

NAME = "routerconsole"
START_S, LOOK_S = 10.0, 0.1
"""How long another engine that holds the directory may take to say where it is, and how often that is looked at."""
BACK_S = 3.0
"""How long an engine that went may take to come back; a service manager restarts it after a second."""


def run(args: argparse.Namespace) -> int:
    """Serve until stdin ends or a signal; raise what the exit-code table knows."""
    if args.print_config:
        print(json.dumps({"mcpServers": {NAME: _registration(args)}}, indent=2))
        return Exit.OK
    if importlib.util.find_spec("mcp") is None:
        raise Stop(Exit.USAGE, "the MCP server needs the extra `mcp`: pip install 'routerconsole[mcp]'")
    if sys.stdin.isatty():
        say("this speaks MCP on stdin and stdout, for programs; `routerconsole mcp --print-config` registers it")
    return asyncio.run(_serve(args))


def _registration(args: argparse.Namespace) -> dict[str, object]:
    """Return how clients start this server; they do so from anywhere, so every path is whole. No secret is in it."""
    command = shutil.which(sys.argv[0]) or shutil.which(NAME)
    line = ["-m", NAME] if command is None else []
    config = args.config or os.environ.get("ROUTERCONSOLE_CONFIG")
    if config is None and Path("config/providers.yaml").is_file():
        config = "config/providers.yaml"
    if config is not None:
        line += ["--config", str(Path(config).absolute())]
    line += ["--state-dir", str(place(args).absolute())]
    if args.url:
        line += ["--url", engine_address(args.url)]
    if args.token_file is not None:
        line += ["--token-file", str(Path(args.token_file).absolute())]
    return {"command": str(Path(command).absolute()) if command else sys.executable, "args": [*line, "mcp"]}


async def _serve(args: argparse.Namespace) -> int:
    engines = _Engines(args)
    stop, ended_by = asyncio.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if ended_by:
            os._exit(128 + number)
        ended_by.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, asked, number)
    try:
        await _look(await engines.begin())
        code = await _speak(engines, stop)
        return Exit.INTERRUPTED if signal.SIGINT in ended_by else code
    finally:
        await engines.aclose()


async def _speak(engines: _Engines, stop: asyncio.Event) -> Exit:
    """Serve until stdin ends, or stdout, or `stop`: a client that has gone is no failure."""
    from routerconsole.mcp.server import ToolServer

    try:
        await ToolServer(engines).serve(stop)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError as exc:
        say(f"stdout cannot be written: {exc.strerror}")
        return Exit.PROBLEMS
    return Exit.OK


async def _look(control: Control) -> None:
    """Fail now for a token that is not the admin's, and say what a person should know."""
    if not any(pool.tool for pool in await control.pools()):
        say("no pool is offered as a tool: write `mcp: {expose: true}` in one of `pools`")


class _Engines:
    """The engine that is asked: the one named, the one of the state directory, or where none runs, one of our own."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._lock = asyncio.Lock()
        self._node: Node | None = None
        self._own: Found | None = None
        self._behind: tuple[Found, Control] | None = None

    async def begin(self) -> Control:
        """Return the engine's control port; raise ControlError, or what keeps an engine of our own from starting."""
        return (await self._door())[1]

    async def door(self) -> tuple[Found, Control]:
        """Return address and control port of the engine there is now; raise ControlError."""
        try:
            return await self._door()
        except ControlError:
            raise
        except Exception as exc:
            raise EngineUnreachable(f"No engine runs, and none can be started here: {exc}") from exc

    async def glance(self) -> Control | None:
        """Return the control port of the engine that runs, None where none does."""
        if self._lock.locked():  # a call is looking for one, and starts it if need be
            return None
        async with self._lock:
            try:
                return (await self._at(self._own or engine(self._args)))[1]
            except ControlError:
                return None

    async def _door(self) -> tuple[Found, Control]:
        async with self._lock:
            return await self._at(self._own or await self._found())

    async def _at(self, found: Found) -> tuple[Found, Control]:
        from routerconsole.control.remote import RemoteControl

        if self._behind is None or self._behind[0] != found:
            before, self._behind = self._behind, (found, RemoteControl(found.url, found.token))
            if before is not None:
                await before[1].aclose()
        return self._behind

    async def aclose(self) -> None:
        """Let go, and stop an engine of our own; idempotent."""
        behind, self._behind = self._behind, None
        node, self._node = self._node, None
        if behind is not None:
            await behind[1].aclose()
        if node is not None:
            await node.stop()

    async def _found(self) -> Found:
        try:
            return engine(self._args)
        except EngineUnreachable:
            if self._args.url:
                raise
        if self._behind is not None:  # ours would keep a directory that the one in use may want back
            with contextlib.suppress(EngineUnreachable):
                return await self._awaited(BACK_S)
        return await self._start()

    async def _start(self) -> Found:
        """Start an engine here; where another one is just starting, wait for that."""
        from routerconsole.cli.process import keep_memory_private, node_of, settle_memory
        from routerconsole.storage.errors import AlreadyRunning
        from routerconsole.wiring import EngineOptions, prepare

        args = self._args
        options = EngineOptions(config=args.config, state_dir=args.state_dir, host="127.0.0.1", port=0)
        try:
            prepared = prepare(options, os.environ)
        except AlreadyRunning:
            return await self._awaited(START_S)
        keep_memory_private()
        node = node_of(prepared)
        try:
            await node.start()
        except BaseException:
            await node.stop()
            raise
        settle_memory()
        say(f"no engine runs on {place(args)}: one serves in this process at {prepared.url} until this server ends")
        self._node, self._own = node, Found(prepared.url, prepared.tokens.admin)
        return self._own

    async def _awaited(self, seconds: float) -> Found:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(EngineUnreachable):
                        return engine(self._args)
                    await asyncio.sleep(LOOK_S)
        return engine(self._args)
