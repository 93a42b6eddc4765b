"""Measure the figures of the specification and write bench/RESULTS.md.

    python -m bench                          every part, with LiteLLM and Portkey (about 12 minutes)
    python -m bench throughput --no-peers    one part, beside the bare pass-through only
    python -m bench --quick --out /tmp/r.md  seconds per sample instead of many: to see that it works, not to quote

Parts: throughput streams start memory console failover cancel outage integrity evals. Needs nginx-light, wrk and
libnginx-mod-http-echo (apt), node and npm (Portkey), two cores, and an otherwise idle machine. $ROUTERCONSOLE_COMMAND
measures another build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench import console, evals, failing, integrity, peers, process, throughput, upstream
from bench.report import Report
from bench.wrk import LOAD_CORE

PARTS = ("throughput", "streams", "start", "memory", "console", "failover", "cancel", "outage", "integrity", "evals")
RESULTS = Path(__file__).with_name("RESULTS.md")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {' '.join(PARTS)}; all when none is named")
    parser.add_argument("--no-peers", action="store_true", help="without LiteLLM and Portkey")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the router and the bare pass-through")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one sample")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; there are {' '.join(PARTS)}")
    return given


def measure(given: argparse.Namespace, report: Report, home: Path) -> None:
    """Run the wanted parts, one after the other."""
    parts = given.parts or PARTS
    seconds, rounds = (1.0, 1) if given.quick else (given.seconds, given.rounds)
    run = throughput.Run(report, home, seconds=seconds, rounds=rounds)
    if {"throughput", "streams"} & set(parts):
        peers.install()
    if "throughput" in parts:
        throughput.side_by_side(run, with_peers=not given.no_peers)
        throughput.compare(run, with_peers=not given.no_peers)
    if "streams" in parts:
        throughput.streams(run)
    if "start" in parts:
        process.start_up(report, home)
    if "memory" in parts:
        process.memory(report, home)
    if "console" in parts:
        process.with_and_without(report, home, seconds=seconds, rounds=rounds)
        console.budgets(report, home, seconds=seconds, quick=given.quick)
    if "failover" in parts:
        failing.failover(report, home)
    if "cancel" in parts:
        failing.cancellation(report, home)
    if "outage" in parts:
        failing.outage(report, home)
    if "integrity" in parts:
        integrity.streams(report, home)
    if "evals" in parts:
        evals.samples(report, home)


def main() -> int:
    """Measure, write the report, exit 1 when a *must* was missed."""
    given = arguments()
    if missing := [tool for tool in ("nginx", "wrk", "taskset") if shutil.which(tool) is None]:
        print(f"bench: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})  # inherited: everything but the pinned servers stays off their core
    told = [each for each in sys.argv[1:] if each not in ("--out", str(given.out))]  # where it went is nobody's measure
    report = Report(" ".join(["python -m bench", *told]))
    with tempfile.TemporaryDirectory(prefix="routerconsole-bench-") as scratch:
        home = Path(scratch)
        with upstream.running(home / "nginx"):
            measure(given, report, home)
    given.out.write_text(report.markdown())
    print(
        f"\nwritten to {given.out}; "
        + (f"missed: {', '.join(report.missed())}" if report.missed() else "no must missed")
    )
    return 1 if report.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
