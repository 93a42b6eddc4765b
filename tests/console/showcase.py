"""Look at the console on scripted data: `python -m tests.console.showcase` (see --help)."""

from __future__ import annotations

import argparse
import os
import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.console.fake_control import FakeControl, failed, failed_over, request, running, status
from tests.console.scenes import fleet

from routerconsole.console.app import run_console
from routerconsole.console.options import ConsoleOptions, ExitReason
from routerconsole.console.terminal import terminal_problem, wants_ascii, wants_no_color
from routerconsole.control.port import EngineUnreachable
from routerconsole.control.views import Status


class Traffic(FakeControl):
    """The fleet with requests arriving at each look; `report` counts the looks for tests that watch from outside."""

    def __init__(
        self,
        base: FakeControl,
        per_look: int,
        *,
        report: Path | None = None,
        crash: bool = False,
        noisy: bool = False,
    ) -> None:
        super().__init__()
        self.now = base.now
        self.rows = dict(base.rows) if per_look == 0 else {}
        self.per_look = per_look
        self.number = 100
        self.dice = random.Random(7)
        self.live: list[str] = []
        self.report = report
        self.crash = crash
        self.noisy = noisy

    async def status(self) -> Status:
        """Move the traffic on."""
        if self.crash and self.looks >= 2:
            raise SystemExit(3)
        if self.noisy:
            os.write(2, b"a log line \x1b[31m\n")
        if self.report is not None:
            self.report.with_suffix(".looks").write_text(str(self.looks))
        moment = datetime.now(UTC)
        for request_id in self.live[:]:
            if self.dice.random() < 0.3:
                self.live.remove(request_id)
                began = self.rows[request_id]
                kind = self.dice.choice([request, request, request, failed_over, failed])
                took = (moment - datetime.fromisoformat(began.at)) / timedelta(milliseconds=1)
                self.arrive(kind(int(request_id[4:], 16), at=began.at, total_ms=took))
        for _ in range(self.per_look):
            row = running(self.number, at=moment.isoformat())
            self.number += 1
            self.live.append(row.id)
            self.arrive(row)
        if self.per_look:
            self.now = replace(self.now, in_flight=len(self.live))
        return await super().status()


def main() -> None:
    """Run the showcase on this terminal."""
    parser = argparse.ArgumentParser()
    for flag in ("ascii", "slow", "read-only", "empty", "disconnected", "crash", "noisy"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--theme", default="routerconsole-dark")
    parser.add_argument("--per-look", type=int, default=1)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    if problem := terminal_problem():
        sys.exit(f"no console here: {problem}")
    control: FakeControl = Traffic(fleet(), args.per_look, report=args.report, crash=args.crash, noisy=args.noisy)
    if args.empty:
        control = FakeControl()
        control.now = status()
    if args.disconnected:
        control.fails = EngineUnreachable("nothing listens on http://127.0.0.1:8808")
    options = ConsoleOptions(
        title="prod",
        theme=args.theme,
        read_only=args.read_only,
        ascii=args.ascii or wants_ascii(),
        slow=args.slow,
        no_color=wants_no_color(),
    )
    ending = run_console(control, options)
    if args.report is not None:
        args.report.write_text(f"{ending.reason} {ending.code}")
    if ending.reason is not ExitReason.HANGUP:
        print(f"ended: {ending.reason} {ending.code}")


if __name__ == "__main__":
    main()
