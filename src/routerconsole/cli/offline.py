"""Reads a state directory without an engine: the log and the audit, read-only, nothing created."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

from routerconsole.control.port import EngineUnreachable, RequestQuery
from routerconsole.control.views import AuditRow, RequestDetail, RequestPage, RequestRow
from routerconsole.control.wire import detail_from_json, revive
from routerconsole.engine.clock import SystemClock
from routerconsole.engine.rows import audit_row
from routerconsole.storage.db import Database
from routerconsole.storage.errors import NewerSchema, Reason, StorageUnavailable
from routerconsole.storage.log import RequestLog
from routerconsole.storage.migrations import LOG, STATE, Schema, unknown
from routerconsole.storage.state import StateStore, StoredState


class OfflineReader:
    """The reads of Control that make sense without an engine; each database is opened when it is asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = Database(root / "log.db", LOG, wall=SystemClock.wall)
        self._state = Database(root / "state.db", STATE, wall=SystemClock.wall)

    async def requests(self, query: RequestQuery) -> RequestPage:
        """See Control; raises NewerSchema, StorageUnavailable, EngineUnreachable where there is no log."""
        await self._check(self._log, LOG)
        log = RequestLog(self._log)
        rows = await log.page(
            query.limit,
            before_seq=await log.cursor(query.before),
            provider=query.provider,
            status=query.status,
            wanted=query.wanted(),
            failed_over=query.failed_over,
        )
        more = len(rows) == query.limit
        found = tuple(revive(RequestRow, orjson.loads(data)) for _, data in rows)
        return RequestPage(found, str(rows[-1][0]) if more else None)

    async def request(self, request_id: str) -> RequestDetail | None:
        """See Control; raises as `requests`."""
        await self._check(self._log, LOG)
        kept = await RequestLog(self._log).get(request_id)
        return None if kept is None else detail_from_json(orjson.loads(kept))

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """See Control; raises as `requests`."""
        await self._check(self._state, STATE)
        return tuple(audit_row(record) for record in await StateStore(self._state).audit(limit))

    async def saved(self) -> StoredState:
        """Return what operators decided, nothing where there is no state; raises NewerSchema, StorageUnavailable."""
        if not self._state.path.exists():
            return StoredState()
        await self._check(self._state, STATE)
        return await StateStore(self._state).load()

    async def aclose(self) -> None:
        """Close what was opened."""
        await self._log.aclose()
        await self._state.aclose()

    async def _check(self, database: Database, schema: Schema) -> None:
        """Refuse a file of a newer version and say what to run where there is no file."""
        if not database.path.exists():
            raise EngineUnreachable(
                f"No engine runs on {self._root} and it holds no {database.path.name}."
                " Start an engine with `routerconsole serve`."
            )

        def look(conn: sqlite3.Connection) -> str | None:
            return unknown(conn, schema.migrations)

        try:
            foreign = await database.read(look)
        except StorageUnavailable as exc:
            if exc.reason is not Reason.CORRUPT:
                raise
            mend = "the next start of an engine (`routerconsole serve`) sets it aside and restores the newest backup"
            raise StorageUnavailable(exc.reason, f"{database.path}: {exc.detail}; {mend}") from exc
        if foreign is not None:
            raise NewerSchema(database.path, foreign)
