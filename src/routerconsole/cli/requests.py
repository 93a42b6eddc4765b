"""`routerconsole requests list|show|cancel|replay`; without an engine, list and show read the log's file."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import Item, show_items, show_json
from routerconsole.cli.quantity import ms
from routerconsole.cli.session import place, remote_control
from routerconsole.cli.targets import change
from routerconsole.cli.waterfall import show_detail
from routerconsole.control.commands import CancelRequest, ReplayRequest
from routerconsole.control.discovery import runs_here
from routerconsole.control.port import RequestQuery
from routerconsole.control.wire import plain

if TYPE_CHECKING:
    from routerconsole.control.views import AuditRow, RequestDetail, RequestPage, RequestRow

PAGE = 500
"""Rows asked for at once; the engine gives at most 1000."""


class Reader(Protocol):
    """What a log is read through: a running engine's control port, or its files."""

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Return a page of rows, newest first."""

    async def request(self, request_id: str) -> RequestDetail | None:
        """Return one request in full."""

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """Return operator changes, newest first."""

    async def aclose(self) -> None:
        """Let go."""


def with_reader(args: argparse.Namespace, work: Callable[[Reader], Awaitable[int]]) -> int:
    """Run `work` on the running engine, or on the files of the state directory where none runs."""

    async def main() -> int:
        reader: Reader
        if args.url or runs_here(place(args)):
            reader = remote_control(args)
        else:
            from routerconsole.cli.offline import OfflineReader

            reader = OfflineReader(place(args))
        try:
            return await work(reader)
        finally:
            await reader.aclose()

    return asyncio.run(main())


def list_(args: argparse.Namespace) -> int:
    """Print rows of the log, newest first."""

    async def work(reader: Reader) -> int:
        rows, cursor = await rows_of(reader, args, before=args.before)
        if args.json:
            show_json({"requests": [plain(row) for row in rows], "next": cursor})
            return Exit.OK
        show_items((row_item(row) for row in rows), plain=args.plain, empty="no requests")
        if cursor is not None:
            print(f"older ones: --before {cursor}")
        return Exit.OK

    return with_reader(args, work)


def show(args: argparse.Namespace) -> int:
    """Print one request with its candidates and the waterfall of its attempts."""

    async def work(reader: Reader) -> int:
        detail = await _find(reader, args.id)
        if args.json:
            show_json(plain(detail))
        else:
            show_detail(detail, sentences=args.plain)
        return Exit.OK

    return with_reader(args, work)


def cancel(args: argparse.Namespace) -> int:
    """Stop a request in flight."""
    return change(args, CancelRequest(args.id))


def replay(args: argparse.Namespace) -> int:
    """Send a kept request again."""
    return change(args, ReplayRequest(args.id, args.models))


async def rows_of(
    reader: Reader, args: argparse.Namespace, *, before: str | None = None
) -> tuple[list[RequestRow], str | None]:
    """Return up to `args.limit` rows, newest first, and the cursor below them."""
    rows: list[RequestRow] = []
    seen: set[str] = set()
    while True:
        page = await reader.requests(
            RequestQuery(
                limit=min(PAGE, args.limit - len(rows)),
                before=before,
                provider=args.provider,
                status=args.status,
                filter=args.filter,
            )
        )
        fresh = [row for row in page.requests if row.id not in seen]
        rows += fresh
        seen.update(row.id for row in fresh)
        stuck = page.next == before
        before = page.next
        if before is None or stuck or len(rows) >= args.limit:
            return rows, before


def row_item(row: RequestRow) -> Item:
    """Return a request's line."""
    needs = [f"{word}!" if word in row.forced else word for word in row.needed]
    tokens = None
    if row.prompt_tokens is not None or row.completion_tokens is not None:
        tokens = f"{row.prompt_tokens or 0}+{row.completion_tokens or 0}"
    return {
        "at": row.at,
        "id": row.id,
        "status": row.status,
        "http": row.http_status,
        "model": row.model or row.resolved,
        "needs": ",".join(needs) + (",stream" if row.stream and "streaming" not in row.needed else "") or None,
        "chain": row.chain,
        "total": ms(row.total_ms),
        "ttft": ms(row.ttft_ms),
        "tokens": tokens,
        "error": row.error_code,
        "agent": row.agent,
    }


async def _find(reader: Reader, wanted: str) -> RequestDetail:
    """Return the request of an id, or of a part only one id has."""
    detail = await reader.request(wanted)
    if detail is None and wanted:
        literal = wanted.replace('"', "")
        page = await reader.requests(RequestQuery(limit=20, filter=f'"{literal}"'))
        ids = [row.id for row in page.requests if wanted in row.id]
        if len(ids) > 1:
            raise Stop(Exit.USAGE, f"{wanted!r} is in several ids: {', '.join(ids[:5])}")
        detail = await reader.request(ids[0]) if ids else None
    if detail is None:
        raise Stop(Exit.USAGE, f"no request {wanted!r} in the log")
    return detail
