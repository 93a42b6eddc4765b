"""`routerconsole models pull`: a download followed to its end, with a bar on a terminal; Ctrl-C stops it."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from typing import TYPE_CHECKING, Any

from routerconsole.cli.exits import Exit, say
from routerconsole.cli.models import key_of
from routerconsole.cli.output import show_json
from routerconsole.cli.session import with_control
from routerconsole.cli.targets import change
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import CancelPull, PullModel
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from routerconsole.control.port import Control

Progress = dict[str, Any]

POLL_S = 0.2
_PULL_EVENT = "pull.progress"
_BAR = 30
_RUNNING = "running"
_LOST = "its last event was overwritten before it was read; `models show` tells whether the model is there"
_UNITS = ("B", "KB", "MB", "GB", "TB")


def run(args: argparse.Namespace) -> int:
    """Have a model downloaded and wait for it; 1 where it fails, 130 where it is stopped by Ctrl-C."""
    provider, model = key_of(args.id)
    if args.dry_run:
        return change(args, PullModel(provider, model))

    async def work(control: Control) -> int:
        cursor = (await control.events(-1)).next
        await control.do(PullModel(provider, model), actor="cli")
        try:
            last = await _followed(control, cursor, (provider.casefold(), model))
        except asyncio.CancelledError:
            await control.do(CancelPull(provider, model), actor="cli")
            _erase()
            say(f"the download of {provider}/{model} was stopped")
            raise
        return _told(last, as_json=args.json)

    return with_control(args, work)


async def _followed(control: Control, cursor: int, key: tuple[str, str]) -> Progress:
    """Show progress until the download ends; return what its last event said."""
    async for progress in _events(control, cursor, key):
        if progress.get("state") != _RUNNING:
            _erase()
            return progress
        if sys.stderr.isatty():
            print(f"\r\x1b[K{bar(progress, shutil.get_terminal_size().columns - 1)}", end="", file=sys.stderr)
            sys.stderr.flush()
    raise AssertionError("events do not end")


async def _events(control: Control, cursor: int, key: tuple[str, str]) -> AsyncIterator[Progress]:
    while True:
        page = await control.events(cursor)
        cursor = page.next
        for event in page.events:
            if event.type.value == _PULL_EVENT and (event.data.get("provider"), event.data.get("model")) == key:
                yield dict(event.data)
        if page.missed and not await _runs(control, *key):
            yield {"provider": key[0], "model": key[1], "state": "ended", "status": _LOST}
        if not page.events:
            await asyncio.sleep(POLL_S)


async def _runs(control: Control, provider: str, model: str) -> bool:
    """Whether a download still runs: a second one would be a conflict."""
    try:
        await control.do(PullModel(provider, model), actor="cli", dry_run=True)
    except ControlError as exc:
        return exc.code == "conflict"
    return False


def bar(progress: Mapping[str, Any], width: int) -> str:
    """Return a line of at most `width` cells: what it does, how much of it is there."""
    status = visible(str(progress.get("status") or "working"), 40)
    percent, total = progress.get("percent"), progress.get("total")
    if not isinstance(percent, int | float) or not total:
        return status[:width]
    filled = round(_BAR * min(percent, 100.0) / 100.0)
    size = f"{_size(progress.get('completed') or 0)} of {_size(total)}"
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {percent:5.1f} %  {size}  {status}"[:width]


def _told(last: Progress, *, as_json: bool) -> int:
    done = last.get("state") == "done"
    if as_json:
        show_json({name: value for name, value in last.items() if name not in ("seq", "at", "type")})
    elif done:
        print(visible(f"{last['provider']}/{last['model']}: downloaded ({_size(last.get('total') or 0)})"))
    else:
        why = last.get("error") or last.get("status") or "it failed"
        instead = f"; installed and able to stand in: {last['proposal']}" if last.get("proposal") else ""
        print(visible(f"{last['provider']}/{last['model']}: {last.get('state')}: {why}{instead}", BLOCK_LIMIT))
    return Exit.OK if done else Exit.PROBLEMS


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def _erase() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
