"""When a capability has been asked about often enough: Wald's test decides, repeat by repeat (evals.md §5).

Pure. All a repeat needs to know are the repeats before it, so an interrupted run ends with the cells it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from .statistics import MOST_PROBES, Probe, sprt

if TYPE_CHECKING:
    from .scenario import Scenario


class Turn(StrEnum):
    """What is to become of a repeat."""

    NOW = "now"
    LATER = "later"
    """A repeat before it has not ended."""
    NEVER = "never"
    """The repeats before it have decided, or none of them could be graded."""


def bound(scenario: Scenario, repeats: int | None) -> int:
    """Return how many repeats there are at most: as asked for, as the scenario says, for a probe as the test needs."""
    if scenario.is_drill:
        return 1
    if scenario.node is None:
        return repeats or scenario.repeats
    return min(repeats or scenario.said.repeats or MOST_PROBES, MOST_PROBES)


def turn(scenario: Scenario, repeat: int, before: Sequence[bool | None]) -> Turn:
    """Return whether a repeat is asked, given how those before it ended: capable, not, or None for not graded.

    `before` ends where the first of them has not ended.
    """
    if scenario.node is None or scenario.is_drill:
        return Turn.NOW
    graded = [outcome for outcome in before if outcome is not None]
    if sprt(graded) is not Probe.OPEN or (not graded and len(before) >= scenario.repeats):
        return Turn.NEVER
    return Turn.NOW if len(before) >= repeat else Turn.LATER
