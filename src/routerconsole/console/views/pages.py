"""Pages over any view: the action log, and usage with its chart, drawn at most once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.render.chart import amounts
from routerconsole.console.render.notes import audit_lines
from routerconsole.console.render.usage import usage_lines
from routerconsole.console.snapshots import Read
from routerconsole.control.usage_views import totals

from .chart_page import ChartPage
from .panes import TextPane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.render.cells import Line
    from routerconsole.console.state import ConsoleState

    from .base import Host

AUDIT: Final = "Action log"
CHARTED: Final = 14
"""Days that have a bar."""
_CHART_WIDTH: Final = 72


def page_of(action_id: str, host: Host) -> TextPane:
    """Return the page an action opens: `log.show` or `usage`. Both are read anew while they are open."""
    state = host.state
    if action_id == "log.show":
        state.audit = None
        return TextPane(AUDIT, (Context.NOTE,), draw=lambda width: audit_lines(state.audit, width), prefix="note")
    page = UsagePane(state)
    host.spawn(page.load(host))
    return page


class UsagePane(ChartPage):
    """What was used and spent, read anew while it is open."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__("Usage and budget", draw=self._lines)
        self.reads = frozenset({Read.USAGE})
        self._state = state
        self._drawn: tuple[object, int, Sequence[str]] | None = None

    def _lines(self, width: int) -> list[Line]:
        page = self._state.snapshots.usage
        return usage_lines(page, width, self._chart(width))

    def _chart(self, width: int) -> Sequence[str]:
        """Draw the chart of a snapshot once; a newer one comes every two seconds at most."""
        page = self._state.snapshots.usage
        if page is None or not self.loaded:
            return ()
        if self._drawn is None or self._drawn[:2] != (page, width):
            days = totals(page.days, "date")[-CHARTED:]
            names, costs = [day.name for day in days], [day.cost_usd for day in days]
            self._drawn = (page, width, amounts(names, costs, width=min(_CHART_WIDTH, width - 2)))
        return self._drawn[2]
