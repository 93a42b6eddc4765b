"""A few of the `kill -9` rounds; `python -m tests.acceptance.kill9 --rounds 50` runs as many as wanted."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.kill9 import rounds


def test_D01_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Actions, registry edits, audit rows, open circuits and both databases survive; the engine is back in time."""
    report = rounds(tmp_path, 5, seed=7)
    assert report.losses() == 0, report
    assert report.acknowledged > 0
    assert report.edits > 0
    assert report.requests > 0
