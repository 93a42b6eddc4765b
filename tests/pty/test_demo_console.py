"""The whole program on a terminal: the demo's console on the real engine, its end and its hang-up."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import urllib.request

from tests.pty.terminal import PATIENCE_S, Terminal


def demo(*flags: str, size: tuple[int, int] = (120, 30)) -> Terminal:
    """Return the demo on a terminal."""
    return Terminal([sys.executable, "-m", "routerconsole", "demo", "--seed", "7", *flags], size=size)


def healthy(url: str) -> bool:
    """Whether the engine behind a URL answers."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.read() == b'{"status":"ok"}')
    except OSError:
        return False


def test_demo_shows_live_requests_waterfall_and_actions() -> None:
    """On the real engine: live log, waterfall with reasons, a drain confirmed and logged, a clean end."""
    with demo() as on:
        on.sees("▶ Overview", "steady", "LIVE")
        on.send("5")
        on.sees("▶ Requests", "✓")
        on.until(lambda: "Why" in on.text() and "●" in on.text(), "a waterfall")
        on.send("1")
        on.sees("▶ Overview")
        on.send("d")
        on.sees("Drain aurora?", "→ draining")
        on.send("y")
        on.sees("drain provider aurora")
        on.send("@")
        on.sees("Action log", "drain_provider aurora")
        on.send("\x1b")
        on.sees("▶ Overview")
        on.send("\x03")
        on.until(
            lambda: "Quit?" in on.text() or not on.child.isalive(), "the quit question, or the end of an idle engine"
        )
        on.send("\x03")
        assert on.ended() == 130
        assert on.modes_left() == set()
        assert b"Traceback" not in on.bytes


def test_T08_hang_up_leaves_the_engine_serving() -> None:
    """When the terminal goes, the engine answers on; SIGTERM then ends it."""
    with demo() as on:
        on.sees("▶ Overview", "steady", "http://127.0.0.1:")
        found = re.search(r"http://127\.0\.0\.1:\d+", on.text())
        assert found is not None
        url = found.group()
        assert healthy(url)
        on.hang_up()
        deadline = time.monotonic() + PATIENCE_S
        while state_of(on.child.pid) is not None and on_terminal(on.child.pid):
            assert time.monotonic() < deadline
        assert healthy(url)
        on.child.kill(signal.SIGTERM)
        on.child.wait()
        assert not healthy(url)


def state_of(pid: int) -> str | None:
    """Return the state letter of a process, None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def on_terminal(pid: int) -> bool:
    """Whether a process still holds its terminal on its standard output."""
    try:
        return "pts" in os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return False
