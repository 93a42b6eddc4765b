"""The headless demo as a person runs it: a minute, no key, no network, every kind of failure and recovery in print."""

from __future__ import annotations

import re
import subprocess

from tests.acceptance.live import router_command

# The outcome classes of routing.md §3 a simulated fleet can bring about.
CLASSES = {
    *("connect", "stale_conn", "timeout_first", "server", "warming", "rate", "quota", "auth", "missing"),
    *("capability", "context", "policy", "client_error", "bad_200", "blank", "undelivered", "cut"),
}


def test_the_headless_demo_shows_failures_recoveries_and_a_summary() -> None:
    """`demo --headless --seconds 60 --seed 7` exits 0, names ten classes and all circuit states, loses no request."""
    command = [*router_command(), "demo", "--headless", "--seconds", "60", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    words = set(re.findall(r"[a-z_0-9]+", done.stdout.lower().replace("half-open", "half_open")))
    assert len(words & CLASSES) >= 10, sorted(words & CLASSES)
    assert {"open", "half_open", "closed"} <= words
    lines = done.stdout.splitlines()
    assert sum("›" in line or "→" in line or ">" in line for line in lines) > 20, "chains"
    assert "\x1b" not in done.stdout
