"""What a route learned: gaps and strikes, and who of a gap and an operator's word is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import NODE_OF, Word
from routerconsole.routing.learned import GAP_TTL, STRIKES, Gap, Learned

WALL = 1_700_000_000.0
"""UTC epoch seconds at monotonic 0 of these tests."""


def heed(learned: Learned, now: float, **said: float) -> None:
    """What operators say, by word and monotonic seconds, heard at `now`."""
    learned.heed({Word(word): WALL + at for word, at in said.items()}, now, WALL + now)


def test_C1_32_three_strikes_are_a_gap_and_a_delivery_forgives() -> None:
    """Only three in a row count; the gap lasts a day."""
    learned = Learned()
    assert not any(learned.strike(Word.TOOLS, "no call", now) for now in range(STRIKES - 1))
    learned.delivered([Word.TOOLS])
    assert [learned.strike(Word.TOOLS, "no call", 10.0) for _ in range(STRIKES)] == [False, False, True]
    assert list(learned.gap_nodes(10.0)) == [NODE_OF[Word.TOOLS]]
    assert list(learned.gap_nodes(10.0 + GAP_TTL)) == []


def test_a_newer_word_overrules_and_an_older_one_does_not() -> None:
    """The word's own time counts, not when it was heard (after a restart all are heard at once)."""
    learned = Learned()
    learned.learn(Word.TOOLS, "refused", 100.0)
    heed(learned, 200.0, tools=50.0)
    assert Word.TOOLS in learned.gaps(200.0)
    heed(learned, 300.0, tools=150.0)
    assert Word.TOOLS not in learned.gaps(300.0)
    assert Word.TOOLS in learned.known(300.0)


def test_a_word_taken_back_upholds_the_gap() -> None:
    """It was only overruled, never forgotten."""
    learned = Learned()
    learned.learn(Word.TOOLS, "refused", 100.0)
    heed(learned, 200.0, tools=150.0)
    heed(learned, 300.0)
    assert Word.TOOLS in learned.gaps(300.0)


def test_a_refusal_after_the_word_is_news_and_gates_again() -> None:
    """A refusal after an operator's yes is a new gap, told as one."""
    learned = Learned()
    assert learned.learn(Word.TOOLS, "refused", 100.0)
    assert not learned.learn(Word.TOOLS, "refused", 110.0)
    heed(learned, 200.0, tools=150.0)
    assert learned.learn(Word.TOOLS, "refused again", 250.0)
    assert learned.gaps(250.0)[Word.TOOLS].evidence == "refused again"


def test_strikes_before_the_word_count_no_more_and_hearing_it_again_changes_nothing() -> None:
    """Three are needed after it; every swap repeats what operators say."""
    learned = Learned()
    learned.strike(Word.TOOLS, "no call", 100.0)
    learned.strike(Word.TOOLS, "no call", 110.0)
    heed(learned, 200.0, tools=150.0)
    struck = []
    for now in (210.0, 220.0, 230.0):
        struck.append(learned.strike(Word.TOOLS, "no call", now))
        heed(learned, now, tools=150.0)
    assert struck == [False, False, True]


def test_a_stepped_clock_does_not_change_who_was_first() -> None:
    """A word once heard keeps its moment, whatever the wall clock does afterwards."""
    learned = Learned()
    learned.learn(Word.TOOLS, "refused", 100.0)
    said = {Word.TOOLS: WALL + 150.0}
    learned.heed(said, 150.0, WALL + 150.0)
    learned.heed(said, 160.0, WALL + 160.0 + 3600.0)
    assert Word.TOOLS not in learned.gaps(160.0)
    learned.learn(Word.TOOLS, "refused", 170.0)
    learned.heed(said, 180.0, WALL - 3600.0)
    assert Word.TOOLS in learned.gaps(180.0)


def test_a_word_on_one_capability_says_nothing_of_another() -> None:
    """Gaps of other words stand."""
    learned = Learned()
    learned.learn(Word.TOOLS, "refused", 100.0)
    learned.learn(Word.VISION, "refused", 100.0)
    heed(learned, 200.0, tools=150.0)
    assert set(learned.gaps(200.0)) == {Word.VISION}


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=12))
def test_the_newer_of_edit_and_gap_wins_whatever_their_order(steps: list[tuple[bool, int]]) -> None:
    """After any sequence of refusals and words, a gap counts exactly when a refusal came last."""
    learned, now, edit, last = Learned(), 0.0, None, None
    for refused, passed in steps:
        now += passed
        if refused:
            learned.learn(Word.TOOLS, "refused", now)
        else:
            edit = now
            heed(learned, now, tools=edit)
        last = refused
    assert (Word.TOOLS in learned.gaps(now)) is bool(last)


def test_what_was_kept_over_a_restart_is_judged_the_same() -> None:
    """Gap and word come back in either order; the newer wins."""
    for gap_at, counts in ((140.0, False), (160.0, True)):
        learned = Learned()
        heed(learned, 1000.0, tools=150.0)
        learned.restore(Word.TOOLS, Gap(gap_at, "refused", gap_at + GAP_TTL))
        assert (Word.TOOLS in learned.gaps(1000.0)) is counts
