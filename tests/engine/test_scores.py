"""Means of scores per model and agent, and what quality_first is told of a node."""

from __future__ import annotations

import pytest

from routerconsole.domain.route import ModelKey
from routerconsole.engine.scores import WINDOW, Scores
from routerconsole.routing.order import Quality
from routerconsole.storage.rewards import PassRow

A, B = ModelKey("p", "a"), ModelKey("p", "b/c")


def test_means_are_over_the_newest_scores() -> None:
    """Per model and per agent; old ones stop to count."""
    scores = Scores()
    for _ in range(WINDOW):
        scores.add(-1.0, model="p/a", agent="x")
    for _ in range(WINDOW // 2):
        scores.add(1.0, model="p/a", agent=None)
    scores.add(0.5, model=None, agent="x")
    models, agents = scores.means()
    assert [(each.name, each.mean, each.n) for each in models] == [("p/a", 0.0, WINDOW)]
    assert [(each.name, each.n) for each in agents] == [("x", WINDOW)]
    assert scores.mean(B) is None
    assert [each.name for each in scores.of_agents(("x", "y"))] == ["x"]


def test_quality_is_the_mean_reward_and_what_was_passed_at_the_node() -> None:
    """A node's children count, its siblings do not; a newer score changes the answer."""
    scores = Scores()
    scores.add(1.0, model="p/b/c", agent=None)
    scores.passed(
        [
            PassRow("P", "a", "one", "interaction.tools", 1.0),
            PassRow("p", "a", "two", "interaction.tools.parallel", 0.5),
            PassRow("p", "a", "three", "interaction.toolsmith", 0.0),
            PassRow("p", "a", "four", None, 0.0),
        ]
    )
    assert scores.quality("interaction.tools") == {A: Quality(None, 0.75), B: Quality(1.0, None)}
    assert scores.quality(None)[A] == Quality(None, pytest.approx(0.375))
    scores.add(0.0, model="p/b/c", agent=None)
    assert scores.quality("interaction.tools")[B] == Quality(0.5, None)
