"""Fixtures of the console tests: UTC wall time and text snapshots."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.console.idle import loop_is_idle

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show wall times in UTC whatever the machine's zone, and let no colour setting of the machine in."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keys and pauses of a pilot end when the loop is idle: sooner than a nap, and not before the work is done."""
    monkeypatch.setattr("textual.app.wait_for_idle", loop_is_idle)
    monkeypatch.setattr("textual.pilot.wait_for_idle", loop_is_idle)


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    """Compare a text with the stored one; `UPDATE_SNAPSHOTS=1` stores it instead."""

    def check(name: str, text: str) -> None:
        path = SNAPSHOTS / f"{name}.txt"
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert path.exists(), f"no snapshot {path.name}; look at the screen, then run with UPDATE_SNAPSHOTS=1"
        assert text + "\n" == path.read_text(encoding="utf-8")

    return check
