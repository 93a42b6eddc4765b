"""One look at the engine: event pages by cursor, snapshots, what the open panes want; never raises, never blocks long.

The app asks four times a second (once with `--slow`) and draws what came back in one batch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from routerconsole.control.port import Control, ControlError, EngineUnreachable, RequestQuery
from routerconsole.domain.events import EventType

from .breath import PIECE, breathe
from .safe_text import visible
from .snapshots import Freshness, Read, Snapshots, read_into
from .state import MAX_ROWS, row_from

if TYPE_CHECKING:
    from routerconsole.control.views import AuditRow, RequestDetail, RequestRow, Status
    from routerconsole.domain.events import Event

PATIENCE_S: Final = 5.0
"""Seconds one look may take before it counts as unanswered."""
PAGE: Final = 500
"""Events per page: the engine makes one in about a millisecond, and requests wait for it."""
MAX_PAGES: Final = 10
"""Event pages read per look; a reader further behind than that skips to now and reads the log instead."""
ROWS_PAGE: Final = 200
MAX_SETTLED: Final = 20
"""Running rows asked for one by one per look; the rest have their turn at the next."""

_REQUEST_EVENTS: Final = frozenset(
    {
        EventType.REQUEST_RECEIVED,
        EventType.ROUTE_CANDIDATES,
        EventType.ATTEMPT_STARTED,
        EventType.ATTEMPT_FIRST_TOKEN,
        EventType.ATTEMPT_FAILED,
        EventType.ATTEMPT_SKIPPED,
        EventType.POOL_EXHAUSTED,
        EventType.ATTEMPT_SUCCEEDED,
    }
)
_FINAL_EVENTS: Final = frozenset({EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED})


@dataclass(frozen=True, slots=True)
class Wants:
    """What the visible panes need besides finished rows. `unfinished` are rows the console still shows as running.

    Without `status` it is read only when an event says that it changed, without `running` the running rows only when
    one of them failed over or along with the status.
    """

    status: bool = True
    running: bool = True
    detail: str | None = None
    audit: bool = False
    unfinished: frozenset[str] = frozenset()
    reads: frozenset[Read] = frozenset()


@dataclass(slots=True)
class Pulled:
    """What one look brought. `problem` says why it failed; `unreachable` that nobody answered at all.

    `news` are the events that are not of one request.
    """

    status: Status | None = None
    rows: list[RequestRow] = field(default_factory=list)
    detail: RequestDetail | None = None
    detail_gone: str | None = None
    audit: tuple[AuditRow, ...] | None = None
    snapshots: Snapshots | None = None
    news: list[Event] = field(default_factory=list)
    missed: int = 0
    restarted: bool = False
    loaded: bool = False
    problem: str | None = None
    unreachable: bool = False

    @property
    def shows(self) -> bool:
        """Whether it brought something beside rows, which are drawn by what changed among them."""
        return (
            self.status is not None
            or self.problem is not None
            or self.detail is not None
            or self.detail_gone is not None
            or self.audit is not None
            or self.snapshots is not None
        )


@dataclass(slots=True)
class _Told:
    """What a stretch of events said: who finished, whether one failed over, other news, and whether some are lost."""

    finished: set[str] = field(default_factory=set)
    turned: bool = False
    news: bool = False
    lost: bool = False


class Puller:
    """Holds the event cursor and how much of the log was read backwards."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._cursor: int | None = None
        self._older: str | None = None
        self._read = 0
        self._was_lost = False
        self._moved = False
        self._unknown: set[str] = set()
        self._fresh = Freshness()

    async def pull(self, wants: Wants) -> Pulled:
        """Look once; a failing read ends the look and is reported in `problem`."""
        pulled = Pulled()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._look(pulled, wants)
        except EngineUnreachable as error:
            pulled.problem, pulled.unreachable, self._was_lost = visible(error.message.rstrip(".")), True, True
        except ControlError as error:
            pulled.problem = visible(error.message.rstrip("."))
        except TimeoutError:
            pulled.problem = f"no answer for {PATIENCE_S:.0f}s"
        except Exception as error:  # noqa: BLE001 - a read that fails in an unforeseen way must not end the console
            pulled.problem = visible(f"{type(error).__name__}: {error}")
        return pulled

    async def _look(self, pulled: Pulled, wants: Wants) -> None:
        control = self._control
        if wants.status or self._was_lost or self._cursor is None:
            pulled.status = await control.status()
        if self._was_lost:  # maybe another engine, whose events are numbered from the start
            self._cursor, self._was_lost, pulled.restarted = None, False, True
            self._unknown.clear()
            self._fresh.forget()
        if self._cursor is None:
            self._cursor = (await control.events(-1)).next
            self._older, self._read = None, 0
            await self._newest(pulled)
            pulled.loaded = True
        else:
            await self._follow(pulled, wants)
            await self._backwards(pulled)
        if wants.detail is not None:
            pulled.detail = await control.request(wants.detail)
            pulled.detail_gone = wants.detail if pulled.detail is None else None
        if wants.audit:
            pulled.audit = await control.audit(200)
        await self._snapshots(pulled, wants)

    async def _snapshots(self, pulled: Pulled, wants: Wants) -> None:
        """Read what views want and is due."""
        clock = asyncio.get_running_loop().time
        for read in self._fresh.due(sorted(wants.reads), clock()):
            pulled.snapshots = pulled.snapshots or Snapshots()
            began = clock()
            await read_into(pulled.snapshots, read, self._control)
            self._fresh.read(read, clock(), clock() - began)

    async def _newest(self, pulled: Pulled) -> None:
        page = await self._control.requests(RequestQuery(limit=ROWS_PAGE))
        pulled.rows.extend(page.requests)
        self._older, self._read = page.next, len(page.requests)

    async def _backwards(self, pulled: Pulled) -> None:
        """Read one more page of the log's past, until the list is full."""
        if self._older is None or self._read >= MAX_ROWS:
            return
        page = await self._control.requests(RequestQuery(limit=ROWS_PAGE, before=self._older))
        pulled.rows.extend(page.requests)
        self._older, self._read = page.next, self._read + len(page.requests)

    async def _follow(self, pulled: Pulled, wants: Wants) -> None:
        """Take the events since last time in; running rows come as a snapshot, finished ones with their last event."""
        told = await self._told(pulled)
        if pulled.status is None and (told.news or told.lost):
            pulled.status = await self._control.status()
        running = wants.unfinished - told.finished
        wanted = wants.running or told.lost or told.turned or pulled.status is not None
        missing: frozenset[str] = frozenset()
        if (self._moved or running) and wanted:
            self._moved = False
            page = await self._control.requests(RequestQuery(limit=ROWS_PAGE, status="in_flight"))
            pulled.rows.extend(page.requests)
            missing = running - {row.id for row in page.requests}
            if pulled.status is None:
                missing -= self._unknown
        if missing:  # most of them ended between the two reads, and their last events say so
            late = await self._told(pulled)
            missing -= late.finished
            told.lost = told.lost or late.lost or bool(missing)
        if told.lost:
            newest = await self._control.requests(RequestQuery(limit=ROWS_PAGE))
            pulled.rows.extend(newest.requests)
            open_ends = running - {row.id for row in pulled.rows}
            for request_id in sorted(open_ends, key=lambda one: (one in self._unknown, one))[:MAX_SETTLED]:
                await self._settle(request_id, pulled)

    async def _told(self, pulled: Pulled) -> _Told:
        """Read the events since last time: rows of finished requests, and what the others make worth a read."""
        told = _Told()
        for count, event in enumerate(await self._pages(pulled), 1):
            if count % PIECE == 0:
                breathe()
            if event.type in _FINAL_EVENTS:
                row = row_from(event.data.get("row"))
                if row is None:
                    told.lost = True
                else:
                    pulled.rows.append(row)
                    told.finished.add(row.id)
            elif event.type in _REQUEST_EVENTS:
                self._moved = True
                told.turned = told.turned or event.type is EventType.ATTEMPT_FAILED
            else:
                told.news = True
                pulled.news.append(event)
                self._fresh.changed(event.type)
        told.lost = told.lost or pulled.missed > 0 or pulled.restarted
        return told

    async def _settle(self, request_id: str, pulled: Pulled) -> None:
        """Find out how a running row ended whose last event was missed."""
        detail = await self._control.request(request_id)
        if detail is None:  # not yet in the log, or no longer: asked for again along with the status
            self._unknown.add(request_id)
        else:
            self._unknown.discard(request_id)
            pulled.rows.append(detail.row)

    async def _pages(self, pulled: Pulled) -> list[Event]:
        events: list[Event] = []
        for _ in range(MAX_PAGES):
            if self._cursor is None:
                break
            page = await self._control.events(self._cursor, PAGE)
            if page.next < self._cursor:
                pulled.restarted = True
            self._cursor = page.next
            pulled.missed += page.missed
            events.extend(page.events)
            if len(page.events) < PAGE:
                break
        else:
            behind, self._cursor = self._cursor or 0, (await self._control.events(-1)).next
            pulled.missed += max(1, self._cursor - behind)
        return events
