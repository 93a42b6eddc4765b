"""Scores in state.db: newest first, by agent and model, only so many; trials and passes in place of older ones."""

from __future__ import annotations

from pathlib import Path

from routerconsole.storage.rewards import PassRow, RewardStore, ScoreRow

from .conftest import Open


async def test_C0_45_scores_are_kept_newest_first(open_db: Open, place: Path) -> None:
    """Filtered by agent and model; the oldest go where there are too many."""
    store = RewardStore(await open_db(), most=3)
    assert await store.scores(10) == []
    for number, agent in enumerate(("x", "y", "x", None)):
        assert await store.add(ScoreRow(float(number), agent, f"p/{number % 2}", 1.0, "{}")) == number + 1
    assert [row.id for row in await store.scores(10)] == [4, 3, 2]
    assert [row.id for row in await store.scores(1)] == [4]
    assert [row.id for row in await store.scores(10, agent="x")] == [3]
    assert [row.id for row in await store.scores(10, agent="x", model="p/1")] == []


async def test_what_is_known_of_judges_and_models_is_replaced(open_db: Open) -> None:
    """One row per judge, one per model and scenario."""
    store = RewardStore(await open_db())
    for at, text in ((1.0, "old"), (2.0, "new")):
        await store.save_check("j", at, text)
        await store.save_passes([PassRow("p", "m", "s", None, at / 2)], at)
    assert await store.checks() == [("j", 2.0, "new")]
    assert await store.passes() == [PassRow("p", "m", "s", None, 1.0)]
