"""The control port of a state directory on which no engine runs: the same registry and editor, nothing served.

Nothing is asked of a provider; reading makes no file, and an edit holds the directory's lock while it is written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from routerconsole.cli import logs
from routerconsole.cli.offline import OfflineReader
from routerconsole.cli.session import place
from routerconsole.control.local import LocalControl
from routerconsole.storage.lock import EngineLock
from routerconsole.storage.place import open_place
from routerconsole.wiring import EngineOptions, resting_service

if TYPE_CHECKING:
    from pathlib import Path

    from routerconsole.control.port import Control


@asynccontextmanager
async def control_at_rest(args: argparse.Namespace, *, edit: bool) -> AsyncIterator[Control]:
    """Give the control port of configuration and state directory; raises ConfigError, NewerSchema, AlreadyRunning."""
    root = place(args)
    service = resting_service(EngineOptions(config=args.config, state_dir=args.state_dir), os.environ, root)
    logs.learn(service.loaded.scrub)
    await _check(root)
    with _held(root, edit=edit):
        try:
            await service.rest(writable=edit)
            yield LocalControl(service)
        finally:
            await service.stop()


async def _check(root: Path) -> None:
    """Refuse what a newer version wrote."""
    reader = OfflineReader(root)
    try:
        await reader.saved()
    finally:
        await reader.aclose()


@contextmanager
def _held(root: Path, *, edit: bool) -> Iterator[None]:
    """Hold the state directory while it is edited; where it is only read it need not even be there."""
    if not edit:
        yield
        return
    lock = EngineLock(open_place(root))
    try:
        yield
    finally:
        lock.release()
