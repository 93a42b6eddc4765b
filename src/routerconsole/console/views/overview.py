"""Overview: providers with their breakers at the top, the latest failovers below, the selected provider beside them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.providers import PROVIDER_ORDERS, provider_detail, provider_lines
from routerconsole.console.render.requests import RequestLines
from routerconsole.console.safe_text import visible
from routerconsole.console.state import Link, noteworthy
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants

from .base import Host, ListPane, TextPane, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.views import ProviderStatus, RequestRow

LATEST: Final = 200
"""Failovers and failures kept in the lower list."""


class OverviewView(View):
    """The first thing an operator sees: who is up, who is not, and who absorbed what."""

    def __init__(self, host: Host) -> None:
        self.providers: TableModel[ProviderStatus] = TableModel(lambda provider: provider.name)
        self.providers.orders = PROVIDER_ORDERS
        self.latest: TableModel[RequestRow] = TableModel(lambda row: row.id)
        self._lines = RequestLines(brief=True)
        providers = ListPane(
            "Overview",
            (Context.PROVIDERS, Context.LIST),
            table=self.providers,
            draw=provider_lines,
            empty=self._no_providers,
            note=self._count,
        )
        latest = ListPane(
            "Latest failovers and failures",
            (Context.LIST,),
            table=self.latest,
            draw=self._draw_latest,
            empty=self._no_failovers,
            note=lambda: "",
        )
        detail = TextPane("Provider", (Context.PROVIDERS, Context.DETAIL), draw=self._detail)
        super().__init__("overview", host, (providers, latest), detail)
        self._seen_noted = -1
        self._failing: tuple[RequestRow, ...] = ()

    def sync(self) -> None:
        """Take providers and rows in; the failover list is folded only when one of its kind changed."""
        state = self.host.state
        self.providers.set(state.status.providers if state.status is not None else ())
        if state.requests.noted != self._seen_noted:
            self._seen_noted = state.requests.noted
            self._failing = tuple(islice((row for row in reversed(state.requests.rows()) if noteworthy(row)), LATEST))
            at_top = self.latest.cursor == 0
            self.latest.set(self._failing)
            if at_top:
                self.latest.to_top()
        name = self.providers.current_key
        self.detail.about(name)
        self.detail.name = f"Provider {visible(name, 40)}" if name else "Provider"

    def objects(self) -> Iterable[tuple[str, str]]:
        """Providers live here."""
        return [(provider.name, provider.name) for provider in self.providers.rows]

    def go(self, key: str) -> bool:
        """Select a provider."""
        self.focus = 0
        return self.providers.go(key)

    def stamp(self) -> object:
        """Show of all requests only those that failed or failed over."""
        return self.host.state.requests.noted

    def wants(self) -> Wants:
        """Need nothing beyond status and finished rows, and the running ones only as far as they failed over."""
        return Wants(running=False, unfinished=self.host.state.requests.unfinished())

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give the providers what they need, up to two thirds; the failovers take the rest."""
        needed = max(3, len(self.providers.rows) + 2)
        return (max(3, min(needed + 1, height * 2 // 3)), None)

    def list_width(self, width: int) -> int:
        """Give the lists 60 % beside the detail."""
        return width * 3 // 5

    def act(self, action_id: str) -> bool:
        """Open a failover in the request view, hand provider actions to the application, else move."""
        if action_id in {"open", "into"} and self.focused is self.lists[1]:
            if self.latest.current_key is not None:
                self.host.show_request(self.latest.current_key)
            return True
        if action_id.startswith("provider."):
            if (provider := self.providers.current) is not None:
                self.host.operate(action_id, provider.name)
            return True
        return super().act(action_id)

    def _count(self) -> str:
        count = len(self.providers.rows)
        return f"{count} provider{'' if count == 1 else 's'}" if count else ""

    def _draw_latest(self, rows: Sequence[RequestRow], width: int) -> tuple[Line, list[Line]]:
        return self._lines.draw(rows, width, self.host.state.elapsed_ms)

    def _detail(self, width: int) -> list[Line]:
        provider = self.providers.current
        if provider is None:
            return [(("no provider selected", Role.DIM),)]
        return provider_detail(provider, width)

    def _no_providers(self) -> Sequence[Line]:
        state = self.host.state
        if state.status is None:
            waiting = state.link in {Link.CONNECTING, Link.LIVE}
            text = "asking the engine for its providers…" if waiting else "no engine answers yet; see the line above"
            return wrap(text, 76, indent=2, role=Role.DIM)
        return wrap(
            "No providers. Add one under `providers:` in config/providers.yaml (it reloads by itself), "
            "or run `routerconsole config init`.",
            76,
            indent=2,
        )

    def _no_failovers(self) -> Sequence[Line]:
        if not self.host.state.loaded:
            return [(("  reading the log…", Role.DIM),)]
        return wrap(
            "None: every request so far was served by its first choice. 5 shows all requests.",
            76,
            indent=2,
            role=Role.DIM,
        )
