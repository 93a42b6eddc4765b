"""How the registry's commands run: on the engine, or on the state directory where none runs; and `undo`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import show_json
from routerconsole.cli.session import Work, place, remote_control
from routerconsole.cli.targets import show_receipt
from routerconsole.control.discovery import runs_here
from routerconsole.control.registry_commands import RegistryCommand, Undo
from routerconsole.control.wire import plain
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from routerconsole.control.commands import Command
    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import Finding, Impact

LOOKED_BACK = 1000
"""Changes looked through for the last one that can be undone."""


def with_registry(args: argparse.Namespace, work: Work, *, edit: bool = False) -> int:
    """Run `work` on the running engine, or where none runs on configuration and state directory (locked to `edit`)."""

    async def main() -> int:
        if args.url or runs_here(place(args)):
            control = remote_control(args)
            try:
                return await work(control)
            finally:
                await control.aclose()
        from routerconsole.cli.at_rest import control_at_rest

        async with control_at_rest(args, edit=edit) as resting:
            return await work(resting)

    return asyncio.run(main())


def change(args: argparse.Namespace, command: Command) -> int:
    """Carry out a registry command and print what it changed."""

    async def work(control: Control) -> int:
        receipt = await control.do(command, actor="cli", dry_run=args.dry_run)
        if not args.dry_run:
            show_receipt(receipt, as_json=args.json)
            return Exit.OK
        told = await control.impact((command,))
        if args.json:
            show_json({**plain(receipt), "impact": plain(told)})
        else:
            show_receipt(receipt, as_json=False)
            for line in impact_lines(told):
                print(visible(line, BLOCK_LIMIT))
        return Exit.OK

    return with_registry(args, work, edit=not args.dry_run)


def impact_lines(told: Impact) -> list[str]:
    """Return what a change would mean for the last requests, a line each for requests and pools."""
    lines = ["impact: no recorded request to try it on"]
    if told.recorded:
        moves = ", ".join(
            f"{move.requests} {move.before or 'nobody'} -> {move.after or 'nobody'}" for move in told.moves
        )
        went = f"{told.elsewhere} of the last {counted(told.replayed, 'request')} would have gone elsewhere"
        lines = [f"impact: {went}{': ' if moves else ''}{moves}"]
    for shift in told.pools:
        signs = [*(f"+{each}" for each in shift.added), *(f"-{each}" for each in shift.removed)]
        lines.append(f"impact: pool {shift.pool} {' '.join(signs)}")
    return lines


def undo(args: argparse.Namespace) -> int:
    """Reverse a change by its audit number, the last one that can be where none is named."""

    async def work(control: Control) -> int:
        number = args.audit_id if args.audit_id is not None else await _last(control)
        show_receipt(await control.do(Undo(number), actor="cli", dry_run=args.dry_run), as_json=args.json)
        return Exit.OK

    return with_registry(args, work, edit=not args.dry_run)


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print what a doctor found as `ERROR:` and `WARN:` lines; the exit code says whether there is an error."""
    if as_json:
        show_json({"findings": [plain(finding) for finding in findings]})
    else:
        for finding in findings:
            print(visible(f"{finding.level}: {finding.subject}: {finding.message}", BLOCK_LIMIT))
        if not findings:
            print("ok: nothing found")
    return Exit.PROBLEMS if any(finding.level == "ERROR" for finding in findings) else Exit.OK


async def _last(control: Control) -> int:
    names = {kind.name for kind in get_args(RegistryCommand)} - {Undo.name}
    for row in await control.audit(LOOKED_BACK):
        if row.command in names and not row.undone:
            return row.id
    raise Stop(Exit.REFUSED, "there is no change to undo (`audit list` shows them)")
