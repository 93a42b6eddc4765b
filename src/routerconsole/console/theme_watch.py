"""Notices that a user's theme files changed and reads them again, off the loop: a slow disk holds up no key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .theme import load_themes, user_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .theme import ConsoleTheme

EVERY_S: Final = 1.0
"""Seconds between two looks at the folder."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of every theme file."""


def stamp(folder: Path | None) -> Stamp:
    """Return what tells whether any theme file of the user's changed; nothing where there is no folder to read."""
    place = folder if folder is not None else user_folder()
    try:
        entries = [(entry.name, entry.stat()) for entry in place.iterdir() if entry.name.endswith(".yaml")]
    except OSError:  # none there, or one went while it was looked at: the next look tells
        return ()
    return tuple(sorted((name, found.st_mtime_ns, found.st_size) for name, found in entries))


async def theme_changes(
    folder: Path | None, before: Stamp, *, every_s: float = EVERY_S
) -> AsyncIterator[tuple[dict[str, ConsoleTheme], list[str]]]:
    """Yield all themes and what is wrong with the others whenever a file of the folder changed; never ends."""
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(stamp, folder)
        if now != before:
            before = now
            yield await asyncio.to_thread(load_themes, folder)
