"""`routerconsole requests tail`: the last requests, then each one as it ends, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from routerconsole.cli.exits import say
from routerconsole.cli.output import sentence, text
from routerconsole.cli.quantity import ms
from routerconsole.cli.requests import row_item
from routerconsole.cli.session import with_control
from routerconsole.control.port import RequestQuery
from routerconsole.control.views import RequestRow
from routerconsole.control.wire import plain, revive
from routerconsole.domain.counted import counted
from routerconsole.domain.events import EventType
from routerconsole.domain.visible import json_text
from routerconsole.engine.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from routerconsole.control.port import Control

ENDINGS = frozenset({EventType.REQUEST_COMPLETED, EventType.REQUEST_FAILED, EventType.REQUEST_CANCELLED})
POLL_S = 0.25


def run(args: argparse.Namespace) -> int:
    """Print requests as they end; ends with Ctrl-C (130) or when the engine goes (4)."""

    async def work(control: Control) -> int:
        query = RequestQuery(limit=args.limit, filter=args.filter)
        cursor = (await control.events(-1)).next  # before the list: what ends in between is seen twice, not never
        page = await control.requests(query)
        shown: set[str] = set()
        for row in reversed(page.requests):
            if row.status != "in_flight":
                shown.add(row.id)
                _print(row, args)
        while True:
            events = await control.events(cursor)
            cursor = events.next
            if events.missed:
                say(f"{counted(events.missed, 'event was', 'events were')} overwritten unread; `requests list` has all")
            for event in events.events:
                row_data = event.data.get("row")
                if event.type in ENDINGS and row_data and str(row_data.get("id")) not in shown:
                    row = _row(row_data)
                    if query.test(now=SystemClock.wall())(row):
                        _print(row, args)
            if not events.events:
                await asyncio.sleep(POLL_S)

    return with_control(args, work)


def line(row: RequestRow) -> str:
    """Return a request as one line: time, status, model, chain, duration."""
    code = row.http_status if row.http_status is not None else "–"
    words = [row.at, row.id, row.status, code, row.model or row.resolved, row.chain, ms(row.total_ms), row.error_code]
    return "  ".join(text(word) for word in words if word is not None)


def _print(row: RequestRow, args: argparse.Namespace) -> None:
    if args.json:
        print(json_text(plain(row)))
    else:
        print(sentence(row_item(row)) if args.plain else line(row))
    sys.stdout.flush()


def _row(data: Mapping[str, Any]) -> RequestRow:
    return revive(RequestRow, dict(data))
