"""Columns judged pairwise: who may be asked about, and what order-stable preferences come to."""

from __future__ import annotations

import pytest

from routerconsole.evals.pairwise import contests, preferred
from routerconsole.evals.types import (
    PASSED,
    Cell,
    CellKey,
    Reply,
    Run,
    Sample,
    ScenarioRef,
    Verdict,
    errored,
    failed,
    parse_target,
)
from routerconsole.evals.votes import Preference

RUN = Run("meval_0123456789ab", 1.0, 7, 3, (ScenarioRef("s", "h", ""),), (parse_target("a/m"), parse_target("b/m")))
A, B, ORDER, LOST = Preference("a"), Preference("b"), Preference(None), Preference(None, "no route")


def cell(target: str, n: int, *, verdict: Verdict = PASSED, text: str = "yes", task: str = "say it") -> Cell:
    reply = Reply("turn-1", {"messages": [{"role": "user", "content": task}]}, text=text)
    return Cell(CellKey("s", target, n), verdict, "h", sample=Sample("s", {}, (reply,)))


def test_only_what_graders_left_standing_on_both_sides_is_asked_about() -> None:
    """A judge turns no failure over; answers without words and other questions are no pair, missing repeats nothing."""
    pairs = [
        (cell("a/m", 0, text="one"), cell("b/m", 0, text="two")),
        (cell("a/m", 1), cell("b/m", 1, verdict=failed("wrong"))),
        (cell("a/m", 2, verdict=errored("timeout", "late")), cell("b/m", 2)),
        (cell("a/m", 3, text=""), cell("b/m", 3)),
        (cell("a/m", 4), cell("b/m", 4, task="say another")),
    ]
    found, left_out = contests([*(each for pair in pairs for each in pair), cell("a/m", 9)], "a/m", "b/m")
    assert [(each.repeat, each.pair.chosen, each.pair.rejected) for each in found] == [(0, "one", "two")]
    assert left_out == 4


@pytest.mark.parametrize(
    ("first", "second", "trusted", "winner", "said"),
    [
        ([A, A, A], [A, A, A], None, "a/m", "a/m is preferred"),
        ([B, B, B], [B, B, B], True, "b/m", "b/m is preferred"),
        ([A, A, A], [A, A, A], False, None, "cannot tell: on the shipped pairs"),
        ([A, A, A], [A, A, ORDER], None, None, "cannot separate (needs >= 6 one-sided)"),
        ([A] * 7, [], None, None, "cannot separate (needs more scenarios that agree)"),
        ([ORDER] * 3, [ORDER] * 3, None, None, "cannot separate (needs >= 6 one-sided)"),
        ([A] * 6 + [LOST] * 6, [], None, None, "cannot tell: fewer than a majority"),
    ],
)
def test_only_order_stable_preferences_of_a_judge_that_can_judge_make_a_winner(
    first: list[Preference], second: list[Preference], trusted: bool | None, winner: str | None, said: str
) -> None:
    """Chance, the order, one scenario alone, missing answers and a judge no better than a coin name nobody."""
    pairs = [(cell("a/m", n), cell("b/m", n)) for n in range(len(first))]
    asked, _ = contests([each for pair in pairs for each in pair], "a/m", "b/m")
    other = [type(each)("t", each.repeat, each.pair) for each in asked[: len(second)]]
    told = preferred(
        RUN, "a/m", "b/m", [*asked, *other], [*first, *second], left_out=0, judge="j/j", trusted=trusted
    )  # fmt: skip
    assert told["winner"] == winner
    assert str(told["verdict"]).startswith(said)
    counts = (told["a_wins"], told["b_wins"], told["unstable"], told["answered"])
    words = [*first, *second]
    won = [sum(each.winner == side for each in words) for side in ("a", "b")]
    assert counts == (*won, words.count(ORDER), len(words) - words.count(LOST))
