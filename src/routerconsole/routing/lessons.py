"""What the routes of a model were learned to lack, as operators see and change it."""

from __future__ import annotations

from collections.abc import Mapping

from routerconsole.domain.capability import Word
from routerconsole.domain.route import ModelKey

from . import saved
from .learned import Gap
from .state import RouteNode

Said = Mapping[ModelKey, Mapping[Word, float]]
"""What operators say: by model and word, the UTC epoch seconds they said it at."""
Gaps = Mapping[str | None, Gap]
"""The gaps of one capability by account."""


def told(node: RouteNode, now: float) -> list[tuple[Word, Gap, bool]]:
    """Return every gap of a route, and whether it counts."""
    learned = node.learned
    return [(word, gap, not learned.overruled(word, gap)) for word, gap in learned.known(now).items()]


def with_gap(node: RouteNode, word: Word, gaps: Gaps, *, now: float, wall: float) -> saved.Record:
    """Return a route's record with what is given in place of its gap of one capability."""
    found = saved.record(node, now, wall)
    found["gaps"] = [gap for gap in found["gaps"] if gap["word"] != word]
    own = gaps.get(node.route.account)
    if own is not None:
        found["gaps"].append(saved.gap_record(word, own, now))
    return found
