"""What is done with incidents: the page that lists them, one on a page of its own, the report as a new file."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Protocol

from routerconsole.console.actions import Context
from routerconsole.console.picker import Entry, Picker
from routerconsole.console.render.incidents import incident_page, report, summary, title
from routerconsole.console.safe_text import visible

from .new_file import ask_new_file
from .panes import TextPane

if TYPE_CHECKING:
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

    async def made(_form: str) -> str:
        now, provider = host.state.now.timestamp(), host.state.provider(incident.provider)
        return await asyncio.to_thread(report, incident, provider, now=now)

    name = re.sub(r"[^A-Za-z0-9._-]", "_", incident.provider)[:60]
    offered = f"incident-{name}-{host.state.now.astimezone():%Y%m%d-%H%M%S}.md"
    ask_new_file(host, "the report", offered, forms=("md",), made=made, said=lambda path: f"report written to {path}")
