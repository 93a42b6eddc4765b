"""What is done with incidents: the page that lists them, one on a page of its own, the report as a new file."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from routerconsole.console.actions import Context
from routerconsole.console.picker import Entry, Picker
from routerconsole.console.prompt import Prompt
from routerconsole.console.render.incidents import incident_page, report, summary, title
from routerconsole.console.safe_text import visible
from routerconsole.control.new_file import ExportRefusedError, write_new

from .panes import TextPane

if TYPE_CHECKING:
    from collections.abc import Callable

    from routerconsole.console.incidents import Incident
    from routerconsole.console.render.cells import Line

    from .base import Host


class Book(Protocol):
    """Who folds incidents and keeps them up to date."""

    host: Host
    incidents: list[Incident]

    def fold(self) -> None:
        """Fold what came since into the incidents."""


class IncidentPage(TextPane):
    """One incident, kept up to date while it is shown."""

    def __init__(self, book: Book, incident: Incident) -> None:
        super().__init__("Incident", (Context.INCIDENT, Context.NOTE), draw=self._lines, prefix="note")
        self._book = book
        self._incident = incident
        self.name = f"Incident {visible(incident.provider, 40)}"

    def _lines(self, width: int) -> list[Line]:
        self._book.fold()
        self._incident = self._now_known()
        host = self._book.host
        provider = host.state.provider(self._incident.provider)
        return incident_page(self._incident, provider, width, now=host.state.now.timestamp())

    def _now_known(self) -> Incident:
        """Return the incident as folded last; one that began earlier than was known is still the same."""
        shown = self._incident
        for each in self._book.incidents:
            if each.provider == shown.provider and each.began <= shown.last and shown.began <= each.last:
                return each
        return shown

    def act(self, action_id: str) -> bool:
        """Write the report, or scroll."""
        if action_id != "incident.export":
            return super().act(action_id)
        _export(self._book.host, self._now_known())
        return True


def incidents_page(book: Book) -> Picker:
    """Return the page of all incidents, newest first; Enter opens one."""
    book.fold()
    now = book.host.state.now.timestamp()
    entries = [
        Entry(title(each), partial(open_incident, book, each), note=summary(each, now)) for each in book.incidents
    ]
    return Picker("Incidents", entries, empty="none: no provider failed as far back as the console knows; Esc leaves")


def open_incident(book: Book, incident: Incident) -> None:
    """Open one incident on a page of its own."""
    book.host.open_page(IncidentPage(book, incident))


def _export(host: Host, incident: Incident) -> None:
    """Ask for a path and write the report there."""

    def accept(text: str) -> None:
        host.spawn(_write(host, Path(text.strip()).expanduser(), _made(host, incident)))

    name = re.sub(r"[^A-Za-z0-9._-]", "_", incident.provider)[:60]
    when = host.state.now.astimezone()
    host.ask_text(Prompt("write the report to ", accept, f"incident-{name}-{when:%Y%m%d-%H%M%S}.md", problem=_problem))


def _made(host: Host, incident: Incident) -> Callable[[], str]:
    now, provider = host.state.now.timestamp(), host.state.provider(incident.provider)
    return lambda: report(incident, provider, now=now)


def _problem(text: str) -> str:
    path = Path(text.strip()).expanduser()
    if path.suffix != ".md":
        return "end it in .md"
    try:
        if path.exists() or path.is_symlink():
            return "exists already; choose a new name"
        return "" if path.parent.is_dir() else "there is no such directory"
    except (OSError, ValueError):
        return "not a usable path"


async def _write(host: Host, path: Path, made: Callable[[], str]) -> None:
    try:
        await asyncio.to_thread(lambda: write_new(path, made()))
    except (ExportRefusedError, OSError, ValueError) as error:
        host.tell(f"not written: {error}", ok=False)
    else:
        host.tell(f"report written to {path}", ok=True)
    host.redraw()
