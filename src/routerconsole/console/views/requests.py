"""Requests: the live log, in-flight ones included, and one request's plan, waterfall and reasons beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.filter_prompt import filter_prompt
from routerconsole.console.log_window import Filter, Older, slow_from, together
from routerconsole.console.render import quantity
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.requests import RequestLines, nothing_shown, request_orders, short_id
from routerconsole.console.render.waterfall import Moment, moments, request_detail
from routerconsole.console.safe_text import visible
from routerconsole.console.saved import SavedFilters
from routerconsole.console.state import ConsoleState, Link, in_flight, noteworthy
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants
from routerconsole.control.port import ControlError, RequestQuery

from . import request_actions as actions
from .base import ABREAST, Host, View
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from routerconsole.control.views import RequestRow

PASSING_S: Final = 1.0
"""Seconds between the requests of a followed log that are read in full: nobody reads more of them as they pass."""
OLDER_PAGE: Final = 200
LISTED: Final = 200
"""Newest requests the palette knows by name."""
THREE_COLUMNS: Final = 98
"""Columns waterfall and reasons have room in beside each other."""


class RequestsView(View):
    """The log and one request."""

    def __init__(self, host: Host) -> None:
        self.table: TableModel[RequestRow] = TableModel(lambda row: row.id, follows=True)
        self.table.orders = request_orders(host.state.elapsed_ms)
        self.filter = Filter()
        self.older = Older()
        self.saved = SavedFilters(host.options.filters_file)
        self.saved.load()
        self._lines = RequestLines()
        log = ListPane(
            "Requests",
            (Context.REQUESTS, Context.LIST),
            table=self.table,
            draw=lambda rows, width: self._lines.draw(rows, width, host.state.elapsed_ms),
            empty=self._nothing,
            note=self._note,
        )
        detail = TextPane("Request", (Context.DETAIL, Context.REQUESTS), draw=self._detail)
        super().__init__("requests", host, (log,), detail)
        self._seen: tuple[object, ...] = ()
        self._sets = 0
        self._cut = False
        self._shown: str | None = None
        self._step: int | None = None
        self._asked_at = -PASSING_S
        self._history: list[str] = []
        self._awaited: tuple[str, ...] = ()
        self._restarts = 0

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take the rows in that pass the filter."""
        state: ConsoleState = self.host.state
        if state.restarts != self._restarts:
            self._restarts = state.restarts
            self.older.forget()
        if self.table.following and self.older.rows and not self.filter.active:
            self.older.forget()  # back among the newest
        aging = int(state.now.timestamp()) if self.filter.wanted.looks_at_age else None
        seen = (state.requests.version, self.filter.wanted, self.older.version, aging)
        if seen != self._seen:
            self._seen = seen
            rows, self._cut = together(
                self.filter.select(state.requests.rows(), state.now),
                self.filter.select(list(self.older.rows.values()), state.now),
                newest=self.table.following,
            )
            self.table.set(rows)
            self._sets += 1
        self._meet()
        shown = self._subject(self.table.current_key)
        if shown != self._shown:
            self._shown, self._step = shown, None
        self.detail.about(self._shown)
        self.detail.name = f"Request {short_id(self._shown)}" if self._shown else "Request"

    def stamp(self) -> object:
        """Return what differs when rows, the filter or time changed what is shown."""
        return super().stamp(), self._sets, self.older.reading

    def _subject(self, key: str | None) -> str | None:
        """Return whose detail to show: the selected one's, or while following a busy log the newest that was read."""
        details = self.host.state.details
        if key is None or not self.table.following or key in details or not details:
            return key
        newest = next(reversed(details))
        return newest if self._row(newest) is not None else key

    def _row(self, request_id: str | None) -> RequestRow | None:
        if request_id is None:
            return None
        return self.host.state.requests.get(request_id) or self.older.rows.get(request_id)

    def wants(self) -> Wants:
        """Need the selected request while it is shown and unknown or running."""
        return Wants(detail=self._wanted_detail(), unfinished=self.host.state.requests.unfinished())

    def _wanted_detail(self) -> str | None:
        row, state = self.table.current, self.host.state
        if row is None or not (self.wide or self.pushed) or row.id in state.gone:
            return None
        known = state.details.get(row.id)
        if known is not None and not in_flight(row) and known.row.status == row.status:
            return None
        if known is None:
            if self.table.following and state.clock - self._asked_at < PASSING_S:
                return None
            self._asked_at = state.clock
        return row.id

    def list_width(self, width: int) -> int:
        """Give the log half; in three columns what waterfall and reasons leave."""
        return max(width * 2 // 5, width - THREE_COLUMNS) if width >= ABREAST else width // 2

    def objects(self) -> Iterable[tuple[str, str]]:
        """The newest requests live here."""
        newest = self.host.state.requests.rows()[-LISTED:]
        return [(row.id, f"{row.id} {row.model or row.resolved} {row.chain}") for row in reversed(newest)]

    def go(self, key: str) -> bool:
        """Select one request, whatever the filter says, and open it; one not loaded is looked for in the log."""
        found = self.table.go(key)
        if not found:
            self._narrow("")
            found = self.table.go(key)
        if not found:
            self.host.spawn(self._fetch(key))
        self._into_detail()
        return True

    async def _fetch(self, request_id: str) -> None:
        try:
            detail = await self.host.control.request(request_id)
        except ControlError as error:
            self.host.tell(error.message, ok=False)
            return
        if detail is None:
            self.host.tell(f"requests: there is no {visible(request_id, 60)} in the log", ok=False)
            return
        self.table.freeze()
        self.older.add(detail.row)
        self.sync()
        self.table.go(detail.row.id)
        self.sync()
        self.host.look_soon()
        self.host.redraw()

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Filter, jump, page into the past, or do something with the selected request; else move."""
        if not (self._on_rows(action_id) or self._on_request(action_id)):
            done = super().act(action_id)
            if done and action_id in {"cursor.up", "cursor.top", "cursor.page_up"}:
                self._reach_back()
            return done
        self.sync()
        self.host.look_soon()
        return True

    def _on_rows(self, action_id: str) -> bool:
        """Do what concerns the list; False when it is something else."""
        match action_id:
            case "log.freeze":
                self._freeze()
            case "log.filter":
                self.host.ask_text(
                    filter_prompt(
                        self.filter.text, narrow=self._narrow, accept=self._narrow_and_search, history=self._history
                    )
                )
            case "log.invert":
                self._narrow_and_search(self._inverted())
            case "log.saved":
                actions.saved_filters(self.host, self.saved, self.filter.text, self._narrow_and_search)
            case "log.next_match" | "log.previous_match":
                self._jump(action_id, lambda _row: True, "passes the filter" if self.filter.active else "is there")
            case "log.next_failure" | "log.previous_failure":
                self._jump(action_id, noteworthy, "failed or failed over")
            case "log.next_slow" | "log.previous_slow":
                edge = slow_from(self.table.rows)
                slow = f"over the p95 of those shown, {quantity.ms(edge)}"
                self._jump(action_id, lambda row: edge is not None and (row.total_ms or 0.0) > edge, slow)
            case "log.export":
                actions.export(self.host, self.table.rows, self.filter.text)
            case _:
                return False
        return True

    def _on_request(self, action_id: str) -> bool:
        """Do what concerns the request that is shown; False when it is something else."""
        row = self._row(self._shown)
        doings: dict[str, Callable[[RequestRow], None]] = {
            "log.later": lambda _row: self._walk(1),
            "log.earlier": lambda _row: self._walk(-1),
            "log.explain": lambda row: self.host.spawn(actions.open_why_now(self.host, row.id)),
            "log.replay": lambda row: actions.replay(self.host, row, self._await),
            "log.cancel": lambda row: actions.cancel(self.host, row),
            "log.copy_id": lambda row: self.host.copy(row.id, "id"),
            "log.copy_text": lambda row: self.host.spawn(actions.copy_whole(self.host, row.id, as_="text")),
            "log.copy_json": lambda row: self.host.spawn(actions.copy_whole(self.host, row.id, as_="JSON")),
            "log.copy_curl": lambda row: actions.copy_curl(self.host, row),
        }
        if action_id not in doings:
            return False
        if row is None:
            self.host.tell("no request is selected", ok=False)
        else:
            doings[action_id](row)
        return True

    def pop(self) -> bool:
        """Leave the detail, then clear the filter."""
        if super().pop():
            return True
        if self.filter.text:
            self._narrow("")
            self.sync()
            return True
        return False

    def _freeze(self) -> None:
        if self.table.sorted_by is not None:
            self.table.sort_by("")
        self.table.toggle_follow()

    def _jump(self, action_id: str, wanted: Callable[[RequestRow], bool], which: str) -> None:
        direction = 1 if "next" in action_id else -1
        rows = self.table.rows
        place = self.table.cursor + direction
        while 0 <= place < len(rows):
            if wanted(rows[place]):
                self.table.go(rows[place].id)
                return
            place += direction
        self.host.tell(f"no {'later' if direction > 0 else 'earlier'} request {which}", ok=True)
        if direction < 0:
            self._reach_back(anywhere=True)

    def _walk(self, by: int) -> None:
        """Point at the next or previous moment of the request that is shown."""
        known = self._moments()
        if not known:
            self.host.tell("no attempt to step through yet", ok=False)
            return
        at = (-1 if by > 0 else len(known)) if self._step is None else self._step
        self._step = max(0, min(at + by, len(known) - 1))

    def _moments(self) -> list[Moment]:
        detail = self.host.state.details.get(self._shown or "")
        return moments(detail) if detail is not None else []

    # -- filter ------------------------------------------------------------------------------------------------------

    def narrow(self, text: str) -> bool:
        """Filter by a text in the filter language; one that means nothing is told."""
        self._narrow_and_search(text)
        if self.filter.problem:
            self.host.tell(self.filter.problem, ok=False)
        return True

    def _inverted(self) -> str:
        if not self.filter.active:
            self.host.tell("no filter to invert; / sets one", ok=False)
            return self.filter.text
        other = Filter()
        other.set(self.filter.text)
        other.invert()
        return other.text

    def _narrow(self, text: str) -> None:
        """Narrow the rows in memory; a filter that is wrong changes nothing yet."""
        wanted = self.filter.wanted
        self.filter.set(text)
        if self.filter.wanted != wanted:
            self.older.forget()
            if self.table.following:
                self.table.to_bottom()
            self.sync()
            if not self.table.following:
                self.table.freeze()  # what came since counts from here: the row it counted from may be filtered out
        else:
            self.sync()

    def _narrow_and_search(self, text: str) -> None:
        """Narrow, and look in the log for what is not in memory."""
        self._narrow(text.strip())
        if self.filter.active and not self.filter.problem:
            self._read_older()

    # -- the past ----------------------------------------------------------------------------------------------------

    def _reach_back(self, *, anywhere: bool = False) -> None:
        """Read the next page of the log once the cursor is at the oldest row there is."""
        if (anywhere or self.table.cursor == 0) and self.table.sorted_by is None and not self.table.following:
            self._read_older()

    def _read_older(self) -> None:
        if self.older.reading or self.older.ended or not self.host.state.loaded:
            return
        self.older.reading = True
        self.host.spawn(self._page(self.older.generation))

    async def _page(self, generation: int) -> None:
        """Read one page below what is loaded."""
        older, text = self.older, self.filter.text if self.filter.active else None
        oldest = next((row.id for row in self.host.state.requests.rows() if not in_flight(row)), None)
        try:
            page = await self.host.control.requests(
                RequestQuery(limit=OLDER_PAGE, before=older.next or oldest, filter=text)
            )
        except ControlError as error:
            self.host.tell(f"log not read: {error.message}", ok=False)
        else:
            if generation == older.generation:
                older.take(page, self.table.rows)
        finally:
            if generation == older.generation:
                older.reading = False
        self.sync()
        self.host.redraw()

    # -- replays -----------------------------------------------------------------------------------------------------

    def _await(self, ids: tuple[str, ...]) -> None:
        self._awaited = ids

    def _meet(self) -> None:
        """Select a request that was sent again as soon as it is in the log."""
        come = next((each for each in self._awaited if self.host.state.requests.get(each) is not None), None)
        if come is None:
            return
        self._awaited = ()
        if not self.table.go(come):
            self._narrow("")
            self.table.go(come)

    # -- texts -------------------------------------------------------------------------------------------------------

    def _note(self) -> str:
        """Return what is shown and how, the most important first: a narrow pane cuts the end."""
        state = self.host.state
        total, shown = max(len(state.requests), len(self.table.rows)), len(self.table.rows)
        parts = [f"{shown} of {total}" if shown != total else f"{total}"]
        if self.filter.active:
            parts.append(self.filter.chips())
        if (by := self.table.sorted_by) is not None:
            parts.append(f"by {by[0]} {'▼' if by[1] else '▲'} (f follows)")
        elif self._cut:
            parts.append("OLDER (f follows)")
        elif not self.table.following:
            arrived = self.table.arrived
            parts.append("FROZEN" + (f" ▼ {arrived} new" if arrived else "") + " (f follows)")
        if self.older.reading:
            parts.append("▲ reading older ones…")
        elif self.older.ended and self.table.cursor == 0 and not self.table.following:
            parts.append("▲ log begins here")
        if self.filter.active:
            parts.append("Esc clears the filter")
        return " · ".join(parts)

    def _nothing(self) -> Sequence[Line]:
        return nothing_shown(self.host.state, reading=self.older.reading, filtered=self.filter.active)

    def _detail(self, width: int) -> list[Line]:
        state = self.host.state
        row = self._row(self._shown)
        if row is None:
            return [(("no request selected", Role.DIM),)]
        detail = state.details.get(row.id)
        if detail is not None:
            known = self._moments() if self._step is not None else []
            moment = known[min(self._step, len(known) - 1)] if known and self._step is not None else None
            return request_detail(detail, state.elapsed_ms(row), width, moment=moment)
        if row.id in state.gone:
            return wrap("This request is no longer in the log (retention or size). Esc goes back.", width)
        return [
            (("reading this request…" if state.link is Link.LIVE else "not read yet: no engine answers", Role.DIM),)
        ]
