"""What the console knows of the engine: the last snapshots, the newest 2,000 requests, the link. Pure, no Textual."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from routerconsole.control.eval_views import EvalPage
from routerconsole.control.views import AuditRow, ProviderStatus, RequestDetail, RequestRow, Status

from .breath import PIECE, breathe
from .chronicle import Chronicle
from .downloads import Downloads
from .snapshots import Snapshots

if TYPE_CHECKING:
    from .tick import Pulled

MAX_ROWS: Final = 2000
MAX_DETAILS: Final = 64
STALE_AFTER_S: Final = 3.0
"""Seconds without an answer before what is shown is called stale."""

_ROW_FIELDS: Final = frozenset(entry.name for entry in fields(RequestRow))
_LISTS: Final = frozenset({"needed", "forced", "flags"})
_FAILED: Final = frozenset({"failed", "truncated"})


class Link(StrEnum):
    """How the console stands with its engine."""

    CONNECTING = "connecting"
    LIVE = "LIVE"
    STALE = "STALE"
    DISCONNECTED = "disconnected"


def row_from(data: object) -> RequestRow | None:
    """Return the request row an event carries, as the view itself or as its JSON, or None when it is neither."""
    if isinstance(data, RequestRow):
        return data
    if not isinstance(data, Mapping):
        return None
    known: dict[str, Any] = {
        key: tuple(value) if key in _LISTS else value for key, value in data.items() if key in _ROW_FIELDS
    }
    try:
        return RequestRow(**known)
    except TypeError:
        return None


def in_flight(row: RequestRow) -> bool:
    """Whether a request is still running."""
    return row.status == "in_flight"


def failed_over(row: RequestRow) -> bool:
    """Whether more than one upstream was asked."""
    return row.attempts > 1


def noteworthy(row: RequestRow) -> bool:
    """Whether `e` and `E` stop at a row: it failed, was cut, or another provider had to absorb it."""
    return row.status in _FAILED or failed_over(row)


_place: Final = attrgetter("at", "id")
"""Where a row stands in the log, as a sort key made in C: a Python key keeps the engine's thread waiting."""


class RequestStore:
    """The newest requests by id, oldest first; what a look costs follows what it brought, not what is kept."""

    def __init__(self, cap: int = MAX_ROWS) -> None:
        self._cap = cap
        self._by_id: dict[str, RequestRow] = {}
        self._ordered: list[RequestRow] = []
        self._running: set[str] = set()
        self.version = 0
        self.noted = 0
        """Counts the changes to rows that are `noteworthy`."""

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, request_id: str) -> RequestRow | None:
        """Return one row."""
        return self._by_id.get(request_id)

    def rows(self) -> list[RequestRow]:
        """Return all rows, oldest first; the list is the store's own: do not change or keep it."""
        return self._ordered

    def unfinished(self) -> frozenset[str]:
        """Return the ids of the rows still running."""
        return frozenset(self._running)

    def merge(self, rows: Iterable[RequestRow]) -> None:
        """Take new and newer rows; a finished row is never set back to running by a snapshot taken before its end."""
        taken: dict[str, RequestRow | None] = {}
        for count, row in enumerate(rows, 1):
            if count % PIECE == 0:
                breathe()
            known = self._by_id.get(row.id)
            if known is row or known == row:
                continue
            runs = in_flight(row)
            if known is not None and runs and not in_flight(known):
                continue
            taken.setdefault(row.id, known)
            self._by_id[row.id] = row
            (self._running.add if runs else self._running.discard)(row.id)
            if noteworthy(row) or (known is not None and noteworthy(known)):
                self.noted += 1
        if taken:
            self.version += 1
            breathe()
            self._arrange(taken)
            self._evict()

    def _arrange(self, taken: Mapping[str, RequestRow | None]) -> None:
        """Put new rows into their places and newer ones into those of the rows `taken` says they replace."""
        ordered, new = self._ordered, []
        for request_id, known in taken.items():
            row = self._by_id[request_id]
            if known is None:
                new.append(row)
                continue
            at = bisect_left(ordered, _place(known), key=_place)
            if row.at == known.at:
                ordered[at] = row
            else:
                del ordered[at]
                new.append(row)
        if new:
            first = bisect_left(ordered, min(map(_place, new)), key=_place)
            ordered[first:] = sorted([*ordered[first:], *new], key=_place)

    def _evict(self) -> None:
        """Forget the oldest rows beyond the cap."""
        beyond = len(self._ordered) - self._cap
        if beyond <= 0:
            return
        for old in self._ordered[:beyond]:
            del self._by_id[old.id]
            self._running.discard(old.id)
            self.noted += noteworthy(old)
        del self._ordered[:beyond]

    def clear(self) -> None:
        """Forget everything (another engine answered)."""
        self._by_id.clear()
        self._running.clear()
        self._ordered = []
        self.version += 1
        self.noted += 1


@dataclass(slots=True)
class LastResult:
    """What the last action came to, for the bottom line, and when by the console's clock."""

    text: str
    ok: bool
    at: float = 0.0


@dataclass(slots=True)
class ConsoleState:
    """Everything the panes are drawn from."""

    requests: RequestStore = field(default_factory=RequestStore)
    status: Status | None = None
    details: dict[str, RequestDetail] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    audit: tuple[AuditRow, ...] | None = None
    evals: EvalPage | None = None  # None: not read yet
    snapshots: Snapshots = field(default_factory=Snapshots)
    chronicle: Chronicle = field(default_factory=Chronicle)
    downloads: Downloads = field(default_factory=Downloads)
    link: Link = Link.CONNECTING
    problem: str = ""
    heard_at: float | None = None
    clock: float = 0.0
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    missed: int = 0
    last: LastResult | None = None
    loaded: bool = False
    restarts: int = 0
    """Times another engine, or the same one anew, took the place of the one that was shown."""

    def apply(self, pulled: Pulled, clock: float) -> None:
        """Take one look at the engine in; `clock` is the loop's monotonic seconds."""
        if not self.clock and self.last is not None:  # told before there was a clock: it counts from the first look
            self.last.at = clock
        self.clock = clock
        if pulled.problem is None:
            self.link, self.problem, self.heard_at = Link.LIVE, "", clock
        else:
            self.problem = pulled.problem
            silent = self.heard_at is None or clock - self.heard_at > STALE_AFTER_S
            if pulled.unreachable:
                self.link = Link.DISCONNECTED
            elif silent:
                self.link = Link.STALE
        if pulled.restarted:
            self.restarts += 1
            self.requests.clear()
            self.details.clear()
            self.snapshots = Snapshots()
            self.chronicle.forget()
            self.downloads.forget()
        if pulled.status is not None:
            self.status = pulled.status
        self.requests.merge(pulled.rows)
        self.missed += pulled.missed
        self.chronicle.take(pulled.news)
        self.downloads.take(pulled.news)
        if pulled.loaded or pulled.missed:
            self.chronicle.begin(self.now.timestamp())
        self.loaded = self.loaded or pulled.loaded
        if pulled.audit is not None:
            self.audit = pulled.audit
        if pulled.snapshots is not None:
            self.snapshots.take(pulled.snapshots)
            self.evals = pulled.snapshots.evals or self.evals
        self._take_detail(pulled)

    def age(self, clock: float, now: datetime) -> None:
        """Let time pass without news: what is shown becomes stale."""
        self.clock, self.now = clock, now
        if self.link is Link.LIVE and self.heard_at is not None and clock - self.heard_at > STALE_AFTER_S:
            self.link, self.problem = Link.STALE, "the engine has not answered"

    def _take_detail(self, pulled: Pulled) -> None:
        if pulled.detail is not None:
            self.details.pop(pulled.detail.row.id, None)
            self.details[pulled.detail.row.id] = pulled.detail
            while len(self.details) > MAX_DETAILS:
                del self.details[next(iter(self.details))]
        elif pulled.detail_gone is not None:
            self.gone.add(pulled.detail_gone)

    def provider(self, name: str) -> ProviderStatus | None:
        """Return a provider as last seen, or None when it is gone."""
        if self.status is None:
            return None
        return next((provider for provider in self.status.providers if provider.name == name), None)

    def elapsed_ms(self, row: RequestRow) -> float | None:
        """Return how long a request has taken so far, or took, in milliseconds."""
        if row.total_ms is not None:
            return row.total_ms
        try:
            began = datetime.fromisoformat(row.at)
        except ValueError:
            return None
        if began.tzinfo is None:
            began = began.replace(tzinfo=UTC)
        return max(0.0, (self.now - began).total_seconds() * 1000)
