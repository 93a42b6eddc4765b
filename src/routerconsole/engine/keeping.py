"""What outlives the process: restores overlay and board, keeps the board saved, feeds the log, says when disks refuse.

Nothing here is on a request's path: the hot path only appends to a bounded queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.domain.events import EventType, Fact
from routerconsole.routing.saved import IDENTITY, plain
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.log import LoggedBody, LoggedRequest, RequestLog
from routerconsole.storage.state import AuditEntry, Record, StateStore
from routerconsole.storage.writer import LogWriter

from . import overlay_records
from .rows import logged, row_fields

if TYPE_CHECKING:
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.trace import Trace
    from routerconsole.routing.board import Board
    from routerconsole.storage.db import Database

    from .bodies import BodyStore
    from .bus import Bus
    from .clock import Clock
    from .pool_memory import PoolMemory
    from .tasks import TaskOwner

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""Between two looks at the files; what is deleted or mended is noticed within this."""
PRUNE_S = 60.0
BACKUP_S = 3600.0
SUMMARY_BYTES = 2_048
FULL_BYTES = 256 * 1024
"""Most bytes of a body that `log.bodies: summary | full` puts on disk."""
_NONSENSE = (KeyError, ValueError, TypeError, AttributeError)
"""What a stored record of another shape than ours makes the board raise."""


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """What is kept of finished requests: seconds and megabytes on disk; bodies off, in memory, or on disk."""

    bodies: str = "memory"
    retention_s: float = 7 * 86400.0
    max_mb: float = 200.0

    @property
    def body_bytes(self) -> int:
        """Most bytes of a body written to disk; 0 for none."""
        return {"summary": SUMMARY_BYTES, "full": FULL_BYTES}.get(self.bodies, 0)


class Keeper:
    """Both databases of one engine."""

    def __init__(
        self,
        *,
        state_db: Database,
        log_db: Database,
        board: Board,
        bodies: BodyStore,
        bus: Bus,
        clock: Clock,
        policy: LogPolicy,
        memory: PoolMemory | None = None,
    ) -> None:
        self.state, self.log = StateStore(state_db), RequestLog(log_db)
        self._state_db, self._log_db = state_db, log_db
        self._board, self._bodies, self._bus, self._clock, self._policy = board, bodies, bus, clock, policy
        self._memory = memory
        self._writer = LogWriter(self.log, on_state=lambda bad, why: self._trouble("request log", why if bad else ""))
        self._unsaved: dict[tuple[Any, ...], Record] = {}
        self._saving = asyncio.Lock()
        self._restored = False
        self._decided = False  # since the newest backup
        self._troubles: dict[str, str] = {}
        self._strange: tuple[str, ...] = ()
        self.check_s = CHECK_S
        self.on_overlay: Callable[[Overlay], None] = lambda _: None

    @property
    def restored(self) -> bool:
        """Whether what was kept is known; nothing may be decided on a model before."""
        return self._restored

    @property
    def keeps_bodies(self) -> bool:
        """Whether texts of requests may be written down (`log.bodies: summary | full`)."""
        return self._policy.body_bytes > 0

    @property
    def lost_rows(self) -> int:
        """Requests that are over and will never stand in the log."""
        return self._writer.dropped_rows

    @property
    def notices(self) -> tuple[str, ...]:
        """What operators should know of the files: what is wrong now, then what happened to them."""
        now = (f"storage degraded ({where}): {why}" for where, why in self._troubles.items())
        past = (notice.text for db in (self._state_db, self._log_db) for notice in db.notices)
        return (*now, *past, *self._strange)

    async def start(self, tasks: TaskOwner) -> None:
        """Open both files, restore the board and begin the background work. Raises NewerSchema or UnsafePlace."""
        await self._state_db.open()
        await self._log_db.open()
        await self._restore()
        self._writer.start(tasks.start)
        tasks.start(self._checking(), name="storage check")
        tasks.start(self._pruning(), name="log retention")
        tasks.start(self._backing_up(), name="state backup")

    async def rest(self, *, writable: bool) -> None:
        """Restore what was kept and do nothing more; a file that is not there is not made unless `writable`.

        Raises NewerSchema or UnsafePlace.
        """
        if writable:
            await self._state_db.open()
        elif not self._state_db.path.exists():
            self._restored = True
            return
        await self._restore()

    async def flush(self) -> None:
        """Write what waits; the last call before the tasks end."""
        await self._writer.aclose()
        await self.save(last=True)

    async def logged(self) -> None:
        """Wait a moment until the requests that are over stand in the log."""
        await self._writer.settled()

    async def aclose(self) -> None:
        """Close both files; what was decided since the newest backup is in one more."""
        if self._decided and self._state_db.degraded is None:
            await self._back_up()
        await self._state_db.aclose()
        await self._log_db.aclose()

    async def save(self, *, last: bool = False) -> bool:
        """Write what changed since; return whether all of it is on the disk. Never before it was restored."""
        self._collect(self._board.dirty(self._clock.monotonic(), self._clock.wall()))
        if not self._restored:
            return False
        for record in () if self._memory is None else self._memory.records(last=last):
            self._unsaved[record.kind, *record.key] = record
        async with self._saving:
            batch = dict(self._unsaved)
            if not batch:
                return self._state_db.degraded is None
            try:
                await self.state.save_records(batch.values(), self._clock.wall())
            except StorageUnavailable as exc:
                self._trouble("state", str(exc))
                return False
            self._saved(batch)
        return True

    def keep(self, record: Record) -> None:
        """Write a record soon, with what changes on the board; it is tried again until it is on the disk."""
        self._unsaved[record.kind, *record.key] = record

    async def commit(
        self,
        audit: AuditEntry,
        board: Iterable[Mapping[str, Any]],
        records: Iterable[Record],
        *,
        undoes: int | None = None,
    ) -> int | None:
        """Write an audit row with the state it brings, in one transaction; None where it cannot be kept now."""
        rows = [*records, *(_record(item) for item in board)]
        try:
            written = await self.state.commit_change(audit, rows, undoes=undoes)
        except StorageUnavailable as exc:
            self._trouble("state", str(exc))
            return None
        self._decided = True
        return written

    def offer(self, item: Trace) -> None:
        """Hand a finished request to the log (the recorder's sink)."""
        row = row_fields(item)
        row_json, detail_json = logged(item, row)
        self._writer.offer(
            LoggedRequest(
                id=item.id,
                at=item.at,
                status=row["status"],
                origin=row["origin"],
                chain=row["chain"],
                row=row_json,
                detail=detail_json,
                provider=row["provider"],
                model=item.model,
                error_code=item.error_code,
                failed_over=item.failed_over,
                body=self._body(item.id) if self._policy.body_bytes else None,
            )
        )

    def _body(self, request_id: str) -> LoggedBody | None:
        request = self._bodies.get(request_id)
        if request is None:
            return None
        limit = self._policy.body_bytes
        asked, answered = orjson.dumps(dict(request.body)), self._bodies.reply(request_id)
        cut = max(0, len(asked) - limit) + max(0, len(answered) - limit)
        return LoggedBody(asked[:limit], answered[:limit], cut)

    async def _restore(self) -> None:
        """Put overlay and board back as they were; tried again when the file comes back, nothing is saved before."""
        try:
            stored = await self.state.load()
        except StorageUnavailable as exc:
            self._trouble("state", str(exc))
            return
        overlay, strange = overlay_records.restored(stored)
        self.on_overlay(overlay)  # first: the board has nodes only for models of the registry
        self._restored = True
        strange += stored.unreadable + self._restore_board([dict(data) for data in stored.of("board").values()])
        strange += 0 if self._memory is None else self._memory.restore(stored)
        if strange:
            self._strange = (f"{strange} stored records could not be understood and count for nothing",)

    def _restore_board(self, records: list[dict[str, Any]]) -> int:
        """Put the board back as it was; return how many records it could not make sense of."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            self._board.restore(records, now, wall)
            return 0
        except _NONSENSE:
            log.warning("stored records could not be understood; trying them one by one")
        strange = 0
        for record in records:
            try:
                self._board.restore([record], now, wall)
            except _NONSENSE:
                strange += 1
        return strange

    def _collect(self, records: Iterable[Mapping[str, Any]]) -> None:
        for item in records:
            record = _record(item)
            self._unsaved[record.kind, *record.key] = record

    def _saved(self, batch: Mapping[tuple[Any, ...], Record]) -> None:
        """Forget what was written, unless it changed again meanwhile."""
        for key, record in batch.items():
            if self._unsaved.get(key) is record:
                del self._unsaved[key]

    def _trouble(self, where: str, why: str) -> None:
        """Tell operators once that something is not being kept, and once that it is again."""
        before = bool(self._troubles)
        if why:
            self._troubles[where] = why
        else:
            self._troubles.pop(where, None)
        if bool(self._troubles) is not before:
            kind = EventType.STORAGE_DEGRADED if self._troubles else EventType.STORAGE_RECOVERED
            self._bus.publish(Fact(kind, {"where": where, "reason": why}))

    async def _checking(self) -> None:
        while True:
            await asyncio.sleep(self.check_s)
            for where, db in (("state", self._state_db), ("request log file", self._log_db)):
                await db.check()
                self._trouble(where, db.degraded.text if db.degraded else "")
            if not self._restored and self._state_db.degraded is None:
                await self._restore()

    async def _pruning(self) -> None:
        policy = self._policy
        while True:
            await asyncio.sleep(PRUNE_S)
            try:
                gone = 1
                while gone:
                    gone = await self.log.prune(
                        max_age_s=policy.retention_s, max_mb=policy.max_mb, wall=self._clock.wall()
                    )
            except StorageUnavailable as exc:
                log.info("log retention waits: %s", exc)

    async def _backing_up(self) -> None:
        """Keep a recent copy to restore from: at the start, then hourly."""
        while True:
            await self._back_up()
            await asyncio.sleep(BACKUP_S)

    async def _back_up(self) -> None:
        self._decided = False
        try:
            await self._state_db.backup()
        except StorageUnavailable as exc:
            log.warning("no backup of the state: %s", exc)


def _record(item: Mapping[str, Any]) -> Record:
    return Record(tuple(item[part] for part in IDENTITY), "board", None if plain(dict(item)) else item)
