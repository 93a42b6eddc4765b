"""The console's budgets (console.md §4 rule 11): key to paint, view switch, processor time, bytes on the terminal.

Measured on the real program with its own engine: idle, under 500 requests/s, and with 50,000 rows of history. The
console runs on the process's main thread, so what it costs is that thread's processor time.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.process import LOGGED, PACE, Console, console, send
from bench.report import Figure, Report, quantile
from bench.wrk import load
from tests.acceptance.live import wait_until
from tests.acceptance.live_terminal import Terminal

CURSOR = "▏".encode()
"""Drawn behind every typed character and by nothing else, so it tells that a key has reached the screen."""
VIEWS = ("Overview", "Health", "Capabilities", "Registry", "Requests", "Evals")
SETTLE_S = 0.15  # between two keys: each is measured from a console that has nothing left to draw
_SEQUENCE = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")


def budgets(report: Report, home: Path, *, seconds: float, quick: bool) -> None:
    """Every figure of the rule; `quick` takes fewer samples and a short history."""
    keys, switches = (20, 6) if quick else (200, 60)
    with console(home, "console-idle", rows=24, columns=80) as shown:
        _traffic(report, shown.terminal, "idle", 0.2, seconds=3 * seconds, view="5")
        report.sample(f"console idle: {_share(shown, 3 * seconds):.2f} % of a core")
    for name, flags, must in (("following, 80x24", (), 25.0), ("following, 80x24, --slow", ("--slow",), 6.0)):
        with console(home, f"console-{name}".replace(" ", ""), *flags, rows=24, columns=80) as shown, _loaded(shown):
            _traffic(report, shown.terminal, name, must, seconds=3 * seconds, view="5")
    with console(home, "console-busy", rows=60, columns=200) as shown:
        sent = send(shown.target, 2000 if quick else LOGGED)
        with _loaded(shown):
            _keys(report, shown.terminal, keys, f"{PACE:.0f} req/s, {sent:,} logged, 200x60")
            _switches(report, shown.terminal, switches, f"{PACE:.0f} req/s, {sent:,} logged, 200x60")
            _select(shown.terminal, "5")
            used = _share(shown, 3 * seconds)
            note = f"main thread; all rows of a log at 200x60 change at 4 Hz under {PACE:.0f} req/s"
            report.add(Figure("console: UI CPU", used, 5, None, " %", note=note))


@contextmanager
def _loaded(shown: Console) -> Iterator[None]:
    """Requests at the pace of the comparison until the block ends."""
    over = threading.Event()

    def drive() -> None:
        while not over.is_set():
            load(shown.target, connections=50, seconds=2, pace=PACE)

    thread = threading.Thread(target=drive, name="load")
    thread.start()
    try:
        time.sleep(1)  # the load has to be there before anything is measured
        yield
    finally:
        over.set()
        thread.join()


def _keys(report: Report, terminal: Terminal, count: int, note: str) -> None:
    """How long a typed character takes to the screen, on the command line."""
    terminal.write(":")
    wait_until(lambda: CURSOR in terminal.seen, "the command line")
    # typed and taken back in turn: in a line that is full the cursor stays in its cell and is rightly not sent again
    took = [_until_seen(terminal, "\x7f" if n % 2 else "a", CURSOR) for n in range(count)]
    terminal.write("\x1b")
    report.sample(
        f"console key to paint: p50 {1000 * median(took):.1f} ms, max {1000 * max(took):.1f} ms, {count} keys"
    )
    report.add(Figure("console: key to paint, p95", 1000 * quantile(took, 0.95), 100, 50, " ms", note=note))


def _switches(report: Report, terminal: Terminal, count: int, note: str) -> None:
    """How long it takes from a view's number to its title."""
    took: list[float] = []
    for n in range(count):
        place = (n + 1) % len(VIEWS)
        took.append(_until_seen(terminal, str(place + 1), VIEWS[place].encode()))
    report.sample(f"console view switch: p50 {1000 * median(took):.1f} ms, max {1000 * max(took):.1f} ms")
    report.add(Figure("console: view switch, p95", 1000 * quantile(took, 0.95), 120, None, " ms", note=note))


def _until_seen(terminal: Terminal, key: str, what: bytes) -> float:
    """Seconds from a key to what it draws."""
    time.sleep(SETTLE_S)
    mark, begun = len(terminal.seen), time.monotonic()
    terminal.write(key)
    wait_until(lambda: what in _text(terminal, mark), f"{what.decode()} after {key!r}", every=0.0005)
    return time.monotonic() - begun


def _text(terminal: Terminal, mark: int) -> bytes:
    return _SEQUENCE.sub(b"", bytes(terminal.seen[mark:]))


def _select(terminal: Terminal, view: str) -> None:
    """Open a view and let it settle."""
    terminal.write(view)
    time.sleep(2)


def _traffic(report: Report, terminal: Terminal, name: str, must: float, *, seconds: float, view: str) -> None:
    """KB per second on the terminal, and how often something is drawn at most."""
    _select(terminal, view)
    mark, rate = len(terminal.seen), _redraws(terminal, seconds)
    sent = (len(terminal.seen) - mark) / 1000 / seconds
    report.add(Figure(f"console: KB/s {name}", sent, must, None, " KB/s", note=f"{rate:.1f} redraws/s"))


def _redraws(terminal: Terminal, seconds: float) -> float:
    """Watch for so many seconds; return how many bursts of output there were in each."""
    ends, bursts, quiet, seen = time.monotonic() + seconds, 0, 0.0, len(terminal.seen)
    while (now := time.monotonic()) < ends:
        if len(terminal.seen) != seen:
            bursts += now - quiet > 0.03
            seen, quiet = len(terminal.seen), now
        time.sleep(0.002)
    return bursts / seconds


def _share(shown: Console, seconds: float) -> float:
    """Percent of a core that the console's thread takes."""
    before, begun = _main_thread_s(shown.terminal.pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (_main_thread_s(shown.terminal.pid) - before) / (time.monotonic() - begun)


def _main_thread_s(pid: int) -> float:
    """Processor seconds of a process's main thread."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
