"""Overview: who is up, what flowed where and why, what hangs on one provider, the latest failovers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.coverage import Coverage, Loss, coverage_of
from routerconsole.console.incidents import Incident, incidents_of
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.coverage import coverage_detail, coverage_lines, coverage_note
from routerconsole.console.render.flow import FLOW_ORDERS, flow_detail, flow_lines, flow_note, way
from routerconsole.console.render.incidents import span_text, title
from routerconsole.console.render.providers import PROVIDER_ORDERS, provider_detail, provider_lines
from routerconsole.console.render.requests import RequestLines, request_orders, short_id
from routerconsole.console.render.waterfall import request_detail
from routerconsole.console.reroutes import Flow, Flows, Reroute, Reroutes, flows_of, rates_of
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.state import Link, in_flight, noteworthy
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants

from .base import ABREAST, Host, View
from .incident_actions import open_incident
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from routerconsole.control.views import ProviderStatus, RequestRow

LATEST: Final = 200
"""Failovers and failures kept in the lower list."""
FOLD_EVERY_S: Final = 1.0
"""Least seconds between two folds of the log into flows and incidents."""
AT_ONCE: Final = 500
"""Reroutes that are folded into flows and incidents in one go, within 5 ms."""
TALL: Final = 34
"""Lines from which the coverage is listed whole; below it one line says the gravest, more while it has the focus."""
LOW: Final = 16
LOWEST: Final = 12
"""Lines below which coverage, and below which flows, make room for providers and failovers."""
_PROVIDERS, _FLOW, _LATEST, _COVERAGE = range(4)
_ON_PROVIDER: Final = (Context.PROVIDERS, Context.OVERVIEW, Context.DETAIL)
_ON_OTHER: Final = (Context.OVERVIEW, Context.DETAIL)


class OverviewView(View):
    """The first thing an operator sees."""

    def __init__(self, host: Host) -> None:
        self.providers: TableModel[ProviderStatus] = TableModel(lambda provider: provider.name)
        self.providers.orders = PROVIDER_ORDERS
        self.flow: TableModel[Flow] = TableModel(lambda flow: flow.key)
        self.flow.orders = FLOW_ORDERS
        self.latest: TableModel[RequestRow] = TableModel(lambda row: row.id)
        self.latest.orders = request_orders(host.state.elapsed_ms)
        self.coverage: TableModel[Loss] = TableModel(lambda loss: loss.key)
        self.flows = Flows()
        self.incidents: list[Incident] = []
        self._lines = RequestLines(brief=True)
        self._reroutes = Reroutes()
        self._covered = Coverage((), (), 0)
        self._seen: tuple[object, ...] = ()
        self._folded_at = -FOLD_EVERY_S
        self._unfolded: tuple[list[Reroute], dict[str, float]] | None = None
        self._seen_noted = -1
        self._seen_coverage: tuple[object, ...] = ()
        self._heights: tuple[int | None, ...] = (None,) * 4
        super().__init__(
            "overview",
            host,
            self._panes(),
            TextPane("Provider", _ON_PROVIDER, draw=self._detail),
        )

    def _panes(self) -> tuple[ListPane[ProviderStatus], ListPane[Flow], ListPane[RequestRow], ListPane[Loss]]:
        return (
            ListPane(
                "Overview",
                (Context.PROVIDERS, Context.OVERVIEW, Context.LIST),
                table=self.providers,
                draw=provider_lines,
                empty=self._no_providers,
                note=self._count,
            ),
            ListPane(
                "Failover flow",
                (Context.OVERVIEW, Context.LIST),
                table=self.flow,
                draw=self._draw_flow,
                empty=self._no_flow,
                note=lambda: flow_note(self.flows, self._now),
            ),
            ListPane(
                "Latest failovers and failures",
                (Context.OVERVIEW, Context.LIST),
                table=self.latest,
                draw=self._draw_latest,
                empty=self._no_failovers,
                note=lambda: "",
            ),
            ListPane(
                "Coverage N-1",
                (Context.OVERVIEW, Context.LIST),
                table=self.coverage,
                draw=coverage_lines,
                empty=self._no_coverage,
                note=lambda: coverage_note(self._covered) if self._covered.losses else "",
            ),
        )

    # -- what is shown -----------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self.host.state.now.timestamp()

    def sync(self) -> None:
        """Take providers and rows in; what is folded from the log is folded again only when that changed."""
        state = self.host.state
        self.providers.set(state.status.providers if state.status is not None else ())
        if state.requests.noted != self._seen_noted:
            self._seen_noted = state.requests.noted
            failing = tuple(islice((row for row in reversed(state.requests.rows()) if noteworthy(row)), LATEST))
            at_top = self.latest.cursor == 0
            self.latest.set(failing)
            if at_top:
                self.latest.to_top()
        self.fold()
        self._cover()
        self._about()

    def fold(self) -> None:
        """Fold the rows in memory into flows and, with the transitions, into incidents, once a second at most.

        Of many the incidents have their turn at the next look: keys are answered in between.
        """
        state = self.host.state
        if self._unfolded is not None:
            self._fold_incidents(*self._unfolded)
            return
        if self._seen and state.clock - self._folded_at < FOLD_EVERY_S:
            return
        seen = (state.requests.version, state.chronicle.version, state.status, int(self._now) // 5)
        if seen == self._seen:
            return
        self._seen, self._folded_at = seen, state.clock
        rows = state.requests.rows()
        reroutes = self._reroutes.of(rows)
        rates = rates_of(rows)
        self.flows = flows_of(rows, reroutes, rates, now=self._now)
        self._unfolded = (reroutes, rates)
        if len(reroutes) <= AT_ONCE:
            self._fold_incidents(reroutes, rates)
        at_top = self.flow.cursor == 0
        self.flow.set(self.flows.flows)
        if at_top:
            self.flow.to_top()

    def _fold_incidents(self, reroutes: Sequence[Reroute], rates: Mapping[str, float]) -> None:
        state, self._unfolded = self.host.state, None
        providers = state.status.providers if state.status is not None else ()
        self.incidents = incidents_of(state.chronicle, reroutes, providers, rates=rates, now=self._now)

    def _cover(self) -> None:
        """Fold who is left without each provider, when status or capabilities changed."""
        state = self.host.state
        seen = (state.status, state.snapshots.nodes)
        if seen[0] is not None and seen[1] is not None and seen != self._seen_coverage:
            self._seen_coverage = seen
            self._covered = coverage_of(seen[0].providers, seen[1])
            self.coverage.set(self._covered.losses)

    @property
    def _subject(self) -> int:
        """The list the detail speaks of."""
        return self.focus if self.focus < len(self.lists) else min(self._last_list, len(self.lists) - 1)

    def _about(self) -> None:
        """Name the detail after what it is about; only a provider's takes the keys of one."""
        names = {
            _PROVIDERS: ("Provider", self.providers.current_key),
            _FLOW: ("Flow", way(flow)[0] if (flow := self.flow.current) is not None else None),
            _LATEST: ("Request", short_id(self.latest.current_key) if self.latest.current_key else None),
            _COVERAGE: ("Without", self.coverage.current_key),
        }
        kind, name = names[self._subject]
        self.detail.about(f"{kind} {name}" if name else None)
        self.detail.name = f"{kind} {visible(name, 60)}" if name else kind
        self.detail.contexts = _ON_PROVIDER if kind == "Provider" else _ON_OTHER

    def objects(self) -> Iterable[tuple[str, str]]:
        """Providers live here, and incidents."""
        providers = [(provider.name, provider.name) for provider in self.providers.rows]
        now = self._now
        named = [(f"incident {each.key}", f"incident {title(each)}  {span_text(each, now)}") for each in self.incidents]
        return [*providers, *named]

    def go(self, key: str) -> bool:
        """Select a provider, or open an incident."""
        for each in self.incidents:
            if key == f"incident {each.key}":
                open_incident(self, each)
                return True
        self.focus = _PROVIDERS
        return self.providers.go(key)

    def stamp(self) -> object:
        """Show of all requests only those that failed or failed over, and what was folded of them."""
        state = self.host.state
        return state.requests.noted, self._seen, self._unfolded is None, self._covered, state.snapshots.version

    def wants(self) -> Wants:
        """Need capabilities beside status and finished rows, the running ones only as far as they failed over."""
        return Wants(
            running=False,
            unfinished=self.host.state.requests.unfinished(),
            reads=frozenset({Read.NODES}),
            detail=self._wanted_detail(),
        )

    def _wanted_detail(self) -> str | None:
        """Need the selected failover in full where it stands beside the list."""
        row, state = self.latest.current, self.host.state
        if row is None or self._subject != _LATEST or not self.wide or in_flight(row):
            return None
        return None if row.id in state.details or row.id in state.gone else row.id

    # -- geometry ----------------------------------------------------------------------------------------------------

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give providers and flows what they need, at most half and a quarter; the failovers take the rest."""
        providers = max(3, min(len(self.providers.rows) + 2, height // 2))
        focused = self.focus == _COVERAGE
        losses = len(self.coverage.rows) + 2
        coverage = min(losses, height // 4) if focused or height >= TALL else 1
        flow = max(3, min(len(self.flow.rows) + 2, height // 4 + (1 if height < TALL else 2)))
        self._heights = (providers, flow, None, max(1, coverage))
        if height < LOW:  # the essential first: who is up, who absorbed what
            self._heights = (providers, min(flow, 4) if height >= LOWEST else 0, None, 0)
        return self._heights

    def list_width(self, width: int) -> int:
        """Give the lists 60 % beside the detail, 72 % where they stand two by two."""
        return width * 18 // 25 if width >= ABREAST else width * 3 // 5

    def grid(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Put providers beside flows and failovers beside coverage where there is room for three columns."""
        if width < ABREAST:
            return None
        self._heights = (None,) * 4
        lists = self.list_width(width)
        right = lists * 23 // 50
        top = max(len(self.providers.rows), len(self.flow.rows), 4) + 3
        above = min(top, max(height // 2, len(self.providers.rows) + 2))
        return (lists - right, right), (above, max(1, height - above))

    def shows(self, pane: object) -> bool:
        """Say whether a pane has lines at the height there was last."""
        return all(pane is not each or lines != 0 for each, lines in zip(self.lists, self._heights, strict=True))

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Jump from what is selected, hand provider actions to the application, else move."""
        if action_id == "overview.failure":
            if self.latest.rows:
                self.host.show_request(self.latest.rows[0].id)
            else:
                self.host.tell("no request failed or failed over", ok=True)
            return True
        if action_id == "open" and self.focus in {_FLOW, _LATEST}:
            self._jump()
            return True
        if action_id.startswith("provider."):
            if (provider := self.providers.current) is not None:
                self.host.operate(action_id, provider.name)
            return True
        return super().act(action_id)

    def _jump(self) -> None:
        if self.focus == _LATEST:
            if self.latest.current_key is not None:
                self.host.show_request(self.latest.current_key)
        elif (flow := self.flow.current) is not None:
            self.host.show_requests(flow_filter(flow))

    # -- panes -------------------------------------------------------------------------------------------------------

    def _count(self) -> str:
        count = len(self.providers.rows)
        if not count:
            return ""
        open_now = sum(incident.open for incident in self.incidents)
        text = f"{count} provider{'' if count == 1 else 's'}"
        if self.incidents:
            text += f" · M: {open_now} incident{'' if open_now == 1 else 's'} now, {len(self.incidents)} in all"
        return text

    def _draw_flow(self, rows: Sequence[Flow], width: int) -> tuple[Line, list[Line]]:
        top = max((flow.n for flow in self.flow.rows), default=1)
        return flow_lines(rows, width, now=self._now, top=top)

    def _draw_latest(self, rows: Sequence[RequestRow], width: int) -> tuple[Line, list[Line]]:
        return self._lines.draw(rows, width, self.host.state.elapsed_ms)

    def _detail(self, width: int) -> list[Line]:
        if self._subject == _FLOW and (flow := self.flow.current) is not None:
            return flow_detail(flow, width, now=self._now)
        if self._subject == _COVERAGE and (loss := self.coverage.current) is not None:
            return coverage_detail(loss, width)
        if self._subject == _LATEST and (row := self.latest.current) is not None:
            return self._request(row, width)
        provider = self.providers.current
        if provider is None:
            return [(("no provider selected", Role.DIM),)]
        return provider_detail(provider, width)

    def _request(self, row: RequestRow, width: int) -> list[Line]:
        state = self.host.state
        detail = state.details.get(row.id)
        if detail is not None:
            return request_detail(detail, state.elapsed_ms(row), width)
        if row.id in state.gone:
            return wrap("This request is no longer in the log (retention or size).", width)
        return wrap("It is still running." if in_flight(row) else "reading this request…", width, role=Role.DIM)

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

    def _no_flow(self) -> Sequence[Line]:
        text = "None in the last hour: nothing had to be routed around." if self._loaded() else "reading the log…"
        return wrap(text, 76, indent=2, role=Role.DIM)

    def _no_failovers(self) -> Sequence[Line]:
        if not self._loaded():
            return [(("  reading the log…", Role.DIM),)]
        return wrap(
            "None: every request so far was served by its first choice. 5 shows all requests.",
            76,
            indent=2,
            role=Role.DIM,
        )

    def _no_coverage(self) -> Sequence[Line]:
        state = self.host.state
        if state.status is None or state.snapshots.nodes is None:
            return [(("  reading the capabilities…", Role.DIM),)]
        return wrap("No provider yet, so nothing hangs on one.", 76, indent=2, role=Role.DIM)

    def _loaded(self) -> bool:
        return self.host.state.loaded


def flow_filter(flow: Flow) -> str:
    """Return a flow's requests in the filter language: the failed attempt and where the request ended."""
    end = f"{flow.target}✓" if flow.target is not None else "err"
    return f"{flow.source}✗{flow.cause} {end}"
