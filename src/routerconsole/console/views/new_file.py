"""A new file the operator names: asked for, checked as it is typed, made and written beside the loop."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from routerconsole.console.prompt import Prompt
from routerconsole.control.new_file import ExportRefusedError, write_new
from routerconsole.control.port import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .base import Host

Form = TypeVar("Form", bound=str)


def ask_new_file(
    host: Host,
    what: str,
    name: str,
    *,
    forms: Sequence[Form],
    made: Callable[[Form], Awaitable[str | None]],
    said: Callable[[Path], str],
) -> None:
    """Ask where `what` goes, `name` offered; `made` returns the text in the form its ending names, None for no file."""

    def accept(text: str) -> None:
        path = _path(text)
        form = next(form for form in forms if path.suffix == f".{form}")
        host.spawn(_write(host, path, partial(made, form), said))

    label = f"write {what} to ({' '.join(f'.{form}' for form in forms)}) "
    host.ask_text(Prompt(label, accept, name, problem=lambda text: _problem(text, forms)))


def _path(text: str) -> Path:
    return Path(text.strip()).expanduser()


def _problem(text: str, forms: Sequence[str]) -> str:
    path = _path(text)
    if path.suffix.removeprefix(".") not in forms:
        return f"end it in {' or '.join(f'.{form}' for form in forms)}"
    try:
        if path.exists() or path.is_symlink():
            return "exists already; choose a new name"
        return "" if path.parent.is_dir() else "there is no such directory"
    except (OSError, ValueError):
        return "not a usable path"


async def _write(
    host: Host, path: Path, made: Callable[[], Awaitable[str | None]], said: Callable[[Path], str]
) -> None:
    try:
        text = await made()
        if text is not None:
            await asyncio.to_thread(write_new, path, text)
            host.tell(said(path), ok=True)
    except ControlError as error:
        host.tell(error.message, ok=False)
    except (ExportRefusedError, OSError, ValueError) as error:
        host.tell(f"not written: {error}", ok=False)
    host.redraw()
