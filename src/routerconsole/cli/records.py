"""`routerconsole failures list|clear` and `audit list`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit
from routerconsole.cli.output import Item, changes, show_items, show_json
from routerconsole.cli.requests import Reader, with_reader
from routerconsole.cli.session import with_control
from routerconsole.cli.targets import change
from routerconsole.control.commands import ClearFailures
from routerconsole.control.wire import plain

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.views import AuditRow, FailureView


def list_failures(args: argparse.Namespace) -> int:
    """Print failed attempts, newest first."""

    async def work(control: Control) -> int:
        failures = await control.failures(args.limit)
        if args.json:
            show_json({"failures": [plain(failure) for failure in failures]})
        else:
            show_items((_failure_item(each) for each in failures), plain=args.plain, empty="no failures")
        return Exit.OK

    return with_control(args, work)


def clear_failures(args: argparse.Namespace) -> int:
    """Empty the list."""
    return change(args, ClearFailures())


def list_audit(args: argparse.Namespace) -> int:
    """Print operator changes, newest first."""

    async def work(reader: Reader) -> int:
        rows = await reader.audit(args.limit)
        if args.json:
            show_json({"audit": [plain(row) for row in rows]})
        else:
            show_items((_audit_item(row) for row in rows), plain=args.plain, empty="no changes")
        return Exit.OK

    return with_reader(args, work)


def _failure_item(failure: FailureView) -> Item:
    return {
        "at": failure.at,
        "provider": failure.provider,
        "model": failure.model,
        "class": failure.class_,
        "http": failure.status,
        "failures": failure.failures,
        "request": failure.request_id,
        "detail": failure.detail,
    }


def _audit_item(row: AuditRow) -> Item:
    return {
        "id": row.id,
        "at": row.at,
        "actor": row.actor,
        "command": row.command,
        "target": row.target,
        "change": changes(row.before, row.after) or "nothing changed",
        "undone": "undone" if row.undone else None,
    }
