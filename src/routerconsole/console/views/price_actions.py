"""Prices from a table on this machine: a file is named, read on a thread, shown before → after, and asked about."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from routerconsole.console.prompt import Prompt
from routerconsole.console.render.notes import changes
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import ImportPrices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Host

MAX_BYTES: Final = 32 * 1024 * 1024
NAMED: Final = 6
"""Models whose prices the question names; the others are counted."""
_KEPT: Final = ("pools", "registered", "price_source")


def ask_prices(host: Host) -> None:
    """Ask for the file of a price table."""
    host.ask_text(Prompt("prices from file (LiteLLM's table, OpenRouter's listing): ", partial(_accepted, host)))


def _accepted(host: Host, text: str) -> None:
    if text.strip():
        host.spawn(_proposed(host, text.strip()))


async def _proposed(host: Host, text: str) -> None:
    """Read the table, see what it would change, and ask; what is wrong with it is told."""
    path = Path(text)
    try:
        table = await asyncio.to_thread(_read, path)
        command = ImportPrices(table, path.name)
        preview = await host.control.do(command, actor="console", dry_run=True)
    except (OSError, ValueError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        host.tell(f"prices: {visible(why, 300)}", ok=False)
    except ControlError as exc:
        host.tell(f"prices: {visible(exc.message, 300)}", ok=False)
    else:
        told = _told(preview.before, preview.after)
        count = f"{len(told)} model{'' if len(told) == 1 else 's'}"
        title = f"Take the prices of {count} from {visible(path.name, 60)}?"
        shown = tuple((name, text) for name, text in told[:NAMED])
        more = (("and", f"{len(told) - NAMED} more"),) if len(told) > NAMED else ()
        host.propose(Proposal(command, path.name, title, (*shown, *more)))
    host.redraw()


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file; raise OSError or ValueError."""
    with path.expanduser().open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES // (1024 * 1024)} MB, {path}")
    found = json.loads(raw)
    if not isinstance(found, dict):
        raise ValueError(f"a price table is a JSON object; {path} is not")
    return found


def _told(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each model with what changes of it."""
    return [
        (visible(name, 60), changes(_prices(before.get(name)), _prices(said)))
        for name, said in after.items()
        if isinstance(said, dict) and name != "operator"
    ]


def _prices(said: object) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in _KEPT} if isinstance(said, dict) else {}
