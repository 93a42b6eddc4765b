"""How a client command reaches the running engine, and how it runs against it."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.control.discovery import Found, TokenKind, find_engine, state_directory

if TYPE_CHECKING:
    from routerconsole.control.port import Control

Work = Callable[["Control"], Awaitable[int]]


def engine(args: argparse.Namespace, kind: TokenKind = TokenKind.ADMIN) -> Found:
    """Return the engine the options name; raises EngineUnreachable or ControlError."""
    return find_engine(place(args), os.environ, url=args.url, token_file=args.token_file, kind=kind)


def place(args: argparse.Namespace) -> Path:
    """Return the state directory the options name."""
    return state_directory(args.state_dir, os.environ)


def remote_control(args: argparse.Namespace) -> Control:
    """Return the control port of the running engine; raises EngineUnreachable or ControlError."""
    from routerconsole.control.remote import RemoteControl

    found = engine(args)
    return RemoteControl(found.url, found.token, find=lambda: engine(args))


def with_control(args: argparse.Namespace, work: Work) -> int:
    """Run `work` on the running engine's control port and return its exit code."""

    async def main() -> int:
        control = remote_control(args)
        try:
            return await work(control)
        finally:
            await control.aclose()

    return asyncio.run(main())
