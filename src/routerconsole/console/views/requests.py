"""Requests: the live log, in-flight ones included, and one request's plan, waterfall and reasons beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.render.requests import RequestLines, client, needs, short_id
from routerconsole.console.render.waterfall import request_detail
from routerconsole.console.safe_text import visible
from routerconsole.console.state import MAX_ROWS, ConsoleState, Link, in_flight, noteworthy
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants

from .base import Host, ListPane, TextPane, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.views import RequestRow

FILTER_LIMIT: Final = 256
"""Characters a filter keeps, pasted or typed."""
PASSING_S: Final = 1.0
"""Seconds between the requests of a followed log that are read in full: nobody reads more of them as they pass."""


class Filter:
    """Words that must all occur in a row's id, model, provider or chain; `-word` must not; `!` inverts the whole."""

    def __init__(self) -> None:
        self.text = ""
        self.inverted = False
        self._hay: dict[str, tuple[RequestRow, str]] = {}

    @property
    def words(self) -> tuple[str, ...]:
        """The words as typed, lower case."""
        return tuple(word.lower() for word in self.text.split() if word != "-")

    def select(self, rows: Sequence[RequestRow]) -> list[RequestRow]:
        """Return the rows that are shown."""
        words = self.words
        return [row for row in rows if self._admits(row, words)] if words else list(rows)

    def _admits(self, row: RequestRow, words: tuple[str, ...]) -> bool:
        known = self._hay.get(row.id)
        if known is None or known[0] is not row:
            if len(self._hay) > 2 * MAX_ROWS:
                self._hay.clear()
            known = self._hay[row.id] = (row, self._text(row))
        hit = all((word[1:] not in known[1]) if word.startswith("-") else (word in known[1]) for word in words)
        return hit != self.inverted

    @staticmethod
    def _text(row: RequestRow) -> str:
        return " ".join(
            (row.id, row.model or "", row.resolved, row.provider or "", row.served_model or "", row.chain, row.status,
             row.error_code or "", needs(row), *row.needed, client(row))
        ).lower()  # fmt: skip

    def chips(self) -> str:
        """Return the terms as shown."""
        chips = " ".join(f"[{visible(word, 40)}]" for word in self.words)
        return f"not {chips}" if self.inverted and chips else chips


class RequestsView(View):
    """The log and one request."""

    def __init__(self, host: Host) -> None:
        self.table: TableModel[RequestRow] = TableModel(lambda row: row.id, follows=True)
        self.filter = Filter()
        self._editing = False
        self._search: str | None = None
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
        self._shown: str | None = None
        self._asked_at = -PASSING_S

    @property
    def editing(self) -> bool:
        """Whether the filter is being typed."""
        return self._editing

    def sync(self) -> None:
        """Take the rows in that pass the filter."""
        state: ConsoleState = self.host.state
        seen = (state.requests.version, self.filter.text, self.filter.inverted)
        if seen != self._seen:
            self._seen = seen
            self.table.set(self.filter.select(state.requests.rows()))
        key = self.table.current_key
        self._shown = self._subject(key)
        self.detail.about(self._shown)
        self.detail.name = f"Request {short_id(self._shown)}" if self._shown else "Request"

    def _subject(self, key: str | None) -> str | None:
        """Return whose detail to show: the selected one's, or while following a busy log the newest that was read."""
        details = self.host.state.details
        if key is None or not self.table.following or key in details or not details:
            return key
        newest = next(reversed(details))
        return newest if self.host.state.requests.get(newest) is not None else key

    def wants(self) -> Wants:
        """Need the selected request while it is shown and unknown or running."""
        state = self.host.state
        search, self._search = self._search, None
        return Wants(detail=self._wanted_detail(), unfinished=state.requests.unfinished(), search=search)

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

    def go(self, key: str) -> bool:
        """Select one request, whatever the filter says, and open it."""
        found = self.table.go(key)
        if not found:
            self.filter.text, self.filter.inverted = "", False
            self.sync()
            found = self.table.go(key)
        self._into_detail()
        return found

    def act(self, action_id: str) -> bool:
        """Freeze, filter, jump between failures, else move."""
        match action_id:
            case "log.freeze":
                self.table.toggle_follow()
            case "log.filter":
                self._editing = True
            case "log.invert":
                self.filter.inverted = not self.filter.inverted
            case "log.next_failure" | "log.previous_failure":
                self._jump(1 if action_id == "log.next_failure" else -1)
            case _:
                return super().act(action_id)
        self.sync()
        self.host.look_soon()
        return True

    def pop(self) -> bool:
        """Leave the detail, then clear the filter."""
        if super().pop():
            return True
        if self.filter.words or self.filter.inverted:
            self.filter.text, self.filter.inverted = "", False
            self.sync()
            return True
        return False

    def _jump(self, direction: int) -> None:
        rows = self.table.rows
        place = self.table.cursor + direction
        while 0 <= place < len(rows):
            if noteworthy(rows[place]):
                self.table.go(rows[place].id)
                return
            place += direction
        word = "later" if direction > 0 else "earlier"
        self.host.tell(f"no {word} request failed or failed over", ok=True)

    def type(self, key: str, character: str | None) -> None:
        """Edit the filter: Enter keeps it, Esc clears it."""
        match key:
            case "enter":
                self._editing = False
                plain = [word for word in self.filter.words if not word.startswith("-")]
                self._search = plain[0] if plain and not self.filter.inverted else None
            case "escape":
                self._editing, self.filter.text, self.filter.inverted = False, "", False
            case "backspace":
                self.filter.text = self.filter.text[:-1]
            case "ctrl+u":
                self.filter.text = ""
            case _:
                if character is not None and character.isprintable():
                    self.paste(character)
        self.sync()

    def paste(self, text: str) -> None:
        """Add pasted text to the filter, on one line and capped."""
        self.filter.text = (
            self.filter.text + "".join(char if char.isprintable() else " " for char in text[:FILTER_LIMIT])
        )[:FILTER_LIMIT]
        self.sync()

    def _note(self) -> str:
        if self._editing:
            return f"/{visible(self.filter.text, FILTER_LIMIT)}▏  Enter keep · Esc clear"
        state = self.host.state
        total, shown = len(state.requests), len(self.table.rows)
        parts = [f"{shown} of {total}" if shown != total else f"{total}"]
        if chips := self.filter.chips():
            parts.append(f"filter {chips} (Esc clears)")
        if not self.table.following:
            arrived = self.table.arrived
            parts.append("FROZEN" + (f" ▼ {arrived} new" if arrived else "") + " (f follows)")
        return " · ".join(parts)

    def _nothing(self) -> Sequence[Line]:
        state = self.host.state
        if state.requests.rows():
            return wrap("No request passes the filter. Esc clears it, ! inverts it.", 76, indent=2, role=Role.DIM)
        if not state.loaded:
            waiting = state.link in {Link.CONNECTING, Link.LIVE}
            return [(("  reading the log…" if waiting else "  no engine answers yet; see the line above", Role.DIM),)]
        endpoint = (
            visible(state.status.endpoint, 80) if state.status is not None and state.status.endpoint else "the endpoint"
        )
        return [
            *wrap(f"No requests yet. Point a client at {endpoint}:", 76, indent=2),
            (('    eval "$(routerconsole env)"', Role.INFO),),
            *wrap("or send one: `routerconsole complete hello`.", 76, indent=2),
        ]

    def _detail(self, width: int) -> list[Line]:
        state = self.host.state
        row = state.requests.get(self._shown) if self._shown is not None else None
        if row is None:
            return [(("no request selected", Role.DIM),)]
        detail = state.details.get(row.id)
        if detail is not None:
            return request_detail(detail, state.elapsed_ms(row), width)
        if row.id in state.gone:
            return wrap("This request is no longer in the log (retention or size). Esc goes back.", width)
        return [
            (("reading this request…" if state.link is Link.LIVE else "not read yet: no engine answers", Role.DIM),)
        ]
