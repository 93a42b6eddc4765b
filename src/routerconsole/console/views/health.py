"""Health: providers with their routes as a tree beside the selected one in full, and what an operator can do to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.chronicle import audited
from routerconsole.console.latency import LatencyRecord
from routerconsole.console.prompt import Prompt
from routerconsole.console.render import health as cells
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.health import Row, health_lines
from routerconsole.console.render.health_detail import Past, health_detail
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.state import Link
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants

from .base import Host, View
from .latency import LatencyPane
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from routerconsole.control.views import (
        ProviderMetrics,
        ProviderStatus,
        RouteMetrics,
        RouteStatus,
        Status,
    )

TIMELINE: Final = 73
"""Columns in which a detail shows five minutes, a bucket a cell."""
_BADNESS: Final = (
    "config_error", "open", "missing", "quota", "rate_limited", "recovering", "degraded",
    "isolated", "draining", "disabled", "unknown", "healthy",
)  # fmt: skip
"""Health words in the order an operator looks for them."""

_SORTS: Final[tuple[tuple[str, Callable[[Row], tuple[float, str]]], ...]] = (
    ("priority", lambda row: (cells.priority(row), "")),
    ("state", lambda row: (_badness(row), "")),
    ("errors", lambda row: (-cells.errors(row), "")),
    ("p95", lambda row: (-(cells.percentile(row, "p95") or 0.0), "")),
    ("requests", lambda row: (-cells.requests(row), "")),
    ("in flight", lambda row: (-cells.in_flight(row), "")),
    ("name", lambda row: (0.0, row.key)),
)

_TITLES: Final = ("prio", "state", "err", "p95", "req", "run", "provider / route")
"""The column of each of these."""
_LARGEST_FIRST: Final = frozenset({2, 3, 4, 5})


def _badness(row: Row) -> int:
    word = row.provider.status if row.route is None else row.route.status
    return _BADNESS.index(word) if word in _BADNESS else len(_BADNESS)


class HealthView(View):
    """Who is well, what happened to the others, and the switches."""

    def __init__(self, host: Host) -> None:
        self.table: TableModel[Row] = TableModel(lambda row: row.key)
        self.record = LatencyRecord()
        self._folded: dict[str, bool] = {}
        self._sort = 0
        self._reverse = False
        self._words: tuple[str, ...] = ()
        self._room = 0
        self._made_of: tuple[object, ...] = ()
        self._status: Status | None = None
        self._metrics: tuple[ProviderMetrics, ...] | None = None
        listed = ListPane(
            "Health",
            (Context.PROVIDERS, Context.HEALTH, Context.ROUTES, Context.LIST),
            table=self.table,
            draw=health_lines,
            empty=self._nothing,
            note=self._note,
        )
        detail = TextPane("Provider", (Context.PROVIDERS, Context.HEALTH, Context.DETAIL), draw=self._detail)
        listed.sorts = (_TITLES, self._sort_by)
        super().__init__("health", host, (listed,), detail)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take providers and metrics in; rows are made again only when one of what they are made of changed."""
        state = self.host.state
        status, metrics = state.status, state.snapshots.metrics
        made_of = (dict(self._folded), self._sort, self._reverse, self._room, self._words)
        if metrics is not None and metrics is not self._metrics:
            self.record.add(state.clock, _latencies(metrics), looked_at=self.table.current_key or "")
        if status is not self._status or metrics is not self._metrics or made_of != self._made_of:
            self._status, self._metrics, self._made_of = status, metrics, made_of
            self.table.told = (_TITLES[self._sort], (self._sort in _LARGEST_FIRST) != self._reverse)
            self.table.set(self._rows(metrics or ()))
        row = self.table.current
        self.detail.about(row.key if row is not None else None)
        if row is None:
            self.detail.name = "Provider"
        elif row.route is None:
            self.detail.name = f"Provider {visible(row.provider.name, 40)}"
        else:
            self.detail.name = f"Route {visible(row.provider.name, 30)}/{cells.route_name(row.route)}"

    def stamp(self) -> object:
        """Show of all requests none; of events what providers went through."""
        return self.host.state.chronicle.version

    def wants(self) -> Wants:
        """Need the metrics beside the status, and once what operators changed before the events began."""
        state = self.host.state
        return Wants(
            running=False,
            unfinished=state.requests.unfinished(),
            reads=frozenset({Read.METRICS}),
            audit=state.audit is None,
        )

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Give the table everything; how much that is decides whether all routes are unfolded."""
        if self._room != max(1, height - 2):
            self._room = max(1, height - 2)
            self.sync()
        return (None,)

    def list_width(self, width: int) -> int:
        """Give the table 60 % beside the detail, more where the detail's timeline has room all the same."""
        return max(width * 3 // 5, min(width * 2 // 3, width - TIMELINE))

    def _rows(self, metrics: Sequence[ProviderMetrics]) -> list[Row]:
        status = self.host.state.status
        providers = status.providers if status is not None else ()
        figures = {each.name: each for each in metrics}
        folded = self._folds(providers)
        heads = [Row(each.name, each, None, figures.get(each.name), folded.get(each.name)) for each in providers]
        rows: list[Row] = []
        for head in self._sorted(heads):
            if head.folded is not False:
                rows.extend([head] if self._passes(head) else [])
                continue
            routes = self._sorted(_route_rows(head.provider, figures.get(head.provider.name)))
            found = [route for route in routes if self._passes(route)]
            if found or self._passes(head):
                rows += [head, *found]
        return rows

    def _passes(self, row: Row) -> bool:
        """Say whether a row has every word of the filter; a route has its provider's name too."""
        if not self._words:
            return True
        own = row.provider if row.route is None else row.route
        text = f"{row.key} {row.provider.kind} {own.status} {own.circuit_state} {own.gate} {own.fault} {own.reason}"
        text = text.replace("_", " ").casefold()
        return all(word in text for word in self._words)

    def _folds(self, providers: Sequence[ProviderStatus]) -> dict[str, bool]:
        """Say whose routes are hidden: as the operator left them, else where the first ones took the room."""
        left = self._room - len(providers)
        folded: dict[str, bool] = {}
        for provider in providers:
            if provider.routes:
                need = len(provider.routes)
                folded[provider.name] = not self._words and self._folded.get(provider.name, need > left)
                left -= 0 if folded[provider.name] else need
        return folded

    def _sorted(self, rows: list[Row]) -> list[Row]:
        key = _SORTS[self._sort][1]
        if self._sort == 0 and not self._reverse:  # as the engine has them, which is by priority
            return rows
        return sorted(rows, key=key, reverse=self._reverse)

    def _sort_by(self, title: str) -> None:
        """Sort by a column; by the same one again turns it round."""
        place = _TITLES.index(title)
        self._sort, self._reverse = place, not self._reverse if place == self._sort else False

    def _note(self) -> str:
        status = self.host.state.status
        if status is None or not status.providers:
            return ""
        providers, routes = len(status.providers), sum(len(each.routes) for each in status.providers)
        count = f"{providers} provider{'' if providers == 1 else 's'}, {routes} route{'' if routes == 1 else 's'}"
        order = _SORTS[self._sort][0]
        if self._words:
            count = f"{''.join(f'[{visible(word, 30)}]' for word in self._words)} (Esc clears)"
        return f"{count} · by {order}{' reversed' if self._reverse else ''} (o)"

    def _nothing(self) -> Sequence[Line]:
        state = self.host.state
        if state.status is None:
            waiting = state.link in {Link.CONNECTING, Link.LIVE}
            text = "asking the engine for its providers…" if waiting else "no engine answers yet; see the line above"
            return wrap(text, 76, indent=2, role=Role.DIM)
        if self._words:
            return wrap("No provider or route has all these words. Esc clears the filter.", 76, indent=2, role=Role.DIM)
        return wrap(
            "No providers. Add one under `providers:` in config/providers.yaml (it reloads by itself), "
            "or run `routerconsole config init`.",
            76,
            indent=2,
        )

    def _detail(self, width: int) -> list[Line]:
        row, state = self.table.current, self.host.state
        if row is None:
            return [(("nothing selected", Role.DIM),)]
        chronicle, model = state.chronicle, row.route.model if row.route is not None else None
        seen = chronicle.moments(row.provider.name, model)
        before = audited(state.audit or (), row.provider.name, model, seen=seen)
        past = Past([*seen, *before], chronicle.probes(row.provider.name), chronicle.since, state.now.timestamp())
        return health_detail(row, past, width)

    # -- where one can go --------------------------------------------------------------------------------------------

    def objects(self) -> Iterable[tuple[str, str]]:
        """Providers and routes live here."""
        status = self.host.state.status
        for provider in status.providers if status is not None else ():
            yield provider.name, provider.name
            for route in provider.routes:
                yield _key(provider, route), f"{provider.name}/{cells.route_name(route)}"

    def go(self, key: str) -> bool:
        """Select a provider or a route, unfolding where it is hidden; of a model its first account will do."""
        self.focus = 0
        self._narrow("")
        name = key.partition("/")[0]
        if name != key and self._folded.get(name) is not False:
            self._folded[name] = False
            self.sync()
        if self.table.go(key):
            return True
        return any(self.table.go(row.key) for row in self.table.rows if row.key.startswith(f"{key} #"))

    def pop(self) -> bool:
        """Leave the detail, then clear the filter."""
        if super().pop():
            return True
        had = bool(self._words)
        self._narrow("")
        return had

    def _narrow(self, text: str) -> None:
        """Show what has all these words."""
        self._words = tuple(text.casefold().replace("_", " ").split())
        self.sync()

    # -- what one can do ---------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Act on the selected provider or route, fold, sort, draw the chart, else move."""
        row = self.table.current
        match action_id.split("."):
            case ["provider", _]:
                if row is not None:
                    model = row.route.model if row.route is not None else None
                    self.host.operate(action_id, row.provider.name, model)
            case ["into"] if row is not None and row.folded is True:
                self._folded[row.provider.name] = False
            case ["routes", "fold"]:
                self._close(row)
            case ["routes", "all"]:
                self._all()
            case ["sort", "next"]:
                self._sort = (self._sort + 1) % len(_SORTS)
            case ["sort", "turn"]:
                self._reverse = not self._reverse
            case ["routes", "unwell" | "unwell_before"]:
                self._jump(1 if action_id == "routes.unwell" else -1)
            case ["routes", "filter"]:
                text, clear = " ".join(self._words), partial(self._narrow, "")
                self.host.ask_text(Prompt("/", self._narrow, text=text, changed=self._narrow, cancelled=clear))
            case ["health", "latency"]:
                self._chart(row)
            case _:
                return super().act(action_id)
        self.sync()
        return True

    def _close(self, row: Row | None) -> None:
        """Hide the routes of the provider the cursor is on or in, and go to it."""
        if row is not None and row.provider.routes:
            self._folded[row.provider.name] = True
            self.table.go(row.provider.name)

    def _all(self) -> None:
        """Unfold everything, or fold everything when nothing is folded."""
        status = self.host.state.status
        providers = status.providers if status is not None else ()
        fold = not any(row.folded for row in self.table.rows)
        self._folded = {provider.name: fold for provider in providers}
        if fold and (row := self.table.current) is not None:
            self.table.go(row.provider.name)

    def _jump(self, direction: int) -> None:
        rows = self.table.rows
        place = self.table.cursor + direction
        while 0 <= place < len(rows):
            if _badness(rows[place]) < _BADNESS.index("unknown"):
                self.table.go(rows[place].key)
                return
            place += direction
        self.host.tell(f"none {'below' if direction > 0 else 'above'} is unwell", ok=True)

    def _chart(self, row: Row | None) -> None:
        if row is None:
            self.host.tell("nothing is selected whose latencies could be drawn", ok=False)
            return
        pane = LatencyPane(row.key, self.record, lambda: self.host.state.clock)
        self.host.open_page(pane)
        self.host.spawn(pane.load(self.host))


def _key(provider: ProviderStatus, route: RouteStatus) -> str:
    account = f" #{route.account}" if route.account else ""
    return f"{provider.name}/{route.model}{account}"


def _route_rows(provider: ProviderStatus, figures: ProviderMetrics | None) -> list[Row]:
    """Return a provider's routes with their figures, which come from another snapshot."""
    known: dict[tuple[str, str | None], RouteMetrics] = (
        {(each.model, each.account): each for each in figures.routes} if figures is not None else {}
    )
    return [
        Row(_key(provider, route), provider, route, known.get((route.model, route.account)))
        for route in provider.routes
    ]


def _latencies(metrics: Sequence[ProviderMetrics]) -> Iterable[tuple[str, float | None, float | None]]:
    """Yield the latencies of providers first, then of routes."""
    for provider in metrics:
        yield provider.name, provider.p50_ms, provider.p95_ms
    for provider in metrics:
        for route in provider.routes:
            account = f" #{route.account}" if route.account else ""
            yield f"{provider.name}/{route.model}{account}", route.p50_ms, route.p95_ms
