"""When a changed file is read again."""

from __future__ import annotations

import os
from pathlib import Path

from routerconsole.config.reload import Decision, Signature, Watch, signature


def signed(digest: str, mtime: int = 1) -> Signature:
    return Signature(mtime, len(digest), 1, digest)


def decisions(watch: Watch, *seen: Signature | None) -> list[Decision]:
    out: list[Decision] = []
    for now in seen:
        watch, decision = watch.look(now)
        out.append(decision)
    return out


KEEP, WAIT, RELOAD = Decision.KEEP, Decision.WAIT, Decision.RELOAD


def test_G17_a_half_written_file_is_waited_out() -> None:
    """Only the same change seen twice in a row is read."""
    seen = [signed("half", 2), signed("whole", 3), signed("whole", 3), signed("whole", 3)]
    assert decisions(Watch(signed("old")), *seen) == [WAIT, WAIT, RELOAD, KEEP]


def test_G15_a_tried_file_is_read_again_only_at_its_next_change() -> None:
    """A broken file is not retried at every tick; its repair is seen."""
    broken, fixed = signed("broken", 2), signed("fixed", 3)
    seen = [broken, broken, broken, fixed, fixed]
    assert decisions(Watch(signed("old")), *seen) == [WAIT, RELOAD, KEEP, WAIT, RELOAD]


def test_a_touch_and_a_disappearance_change_nothing() -> None:
    """Same content is the same file; a missing one keeps what is in force, and its return is a change."""
    new = signed("new", 5)
    seen = [signed("old", 9), None, new, None, new, new]
    assert decisions(Watch(signed("old")), *seen) == [KEEP, KEEP, WAIT, KEEP, WAIT, RELOAD]


def test_a_change_taken_back_before_it_settles_is_dropped() -> None:
    """The pending change is forgotten."""
    assert decisions(Watch(signed("old")), signed("new"), signed("old"), signed("new")) == [WAIT, KEEP, WAIT]


def test_signatures_follow_the_content(tmp_path: Path) -> None:
    """Truncating, rewriting and replacing are seen; FIFOs, directories and missing files have none."""
    path = tmp_path / "p.yaml"
    assert signature(path) is None
    path.write_text("version: 1\n")
    first = signature(path)
    path.write_text("")
    second = signature(path)
    assert first is not None
    assert second is not None
    assert first.digest != second.digest
    os.mkfifo(tmp_path / "fifo")
    assert signature(tmp_path / "fifo") is None
    assert signature(tmp_path) is None
