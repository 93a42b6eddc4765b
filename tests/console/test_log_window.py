"""Which rows of the log are shown."""

from __future__ import annotations

from datetime import timedelta

from tests.console.fake_control import NOW, failed_over, request, running

from routerconsole.console.log_window import Filter, Older, slow_from, together
from routerconsole.console.state import MAX_ROWS
from routerconsole.control.views import RequestPage


def test_a_word_being_typed_does_not_undo_those_before_it() -> None:
    """`fo lat>` narrows as `fo` does and says what is wrong with the rest."""
    rows = [request(1), failed_over(2)]
    wanted = Filter()
    wanted.set("fo lat>")
    assert wanted.problem
    assert wanted.select(rows, NOW) == rows[1:]
    wanted.set("fo lat>9s")
    assert wanted.problem == ""
    assert wanted.select(rows, NOW) == []


def test_a_row_is_looked_at_again_when_it_changed() -> None:
    """A running request that fails over begins to pass."""
    wanted = Filter()
    wanted.set("fo")
    assert wanted.select([running(1)], NOW) == []
    assert wanted.select([failed_over(1)], NOW) == [failed_over(1)]


def test_age_counts_from_now() -> None:
    """`last:` lets a row go while nothing about it changes; one without a readable time never passes."""
    wanted = Filter()
    wanted.set("last:1m")
    rows = [request(1), request(2, at="yesterday")]
    assert wanted.select(rows, NOW) == rows[:1]
    assert wanted.select(rows, NOW + timedelta(minutes=5)) == []


def test_older_rows_stand_before_the_live_ones_once_each() -> None:
    """Rows known twice are shown once, as the live list has them; the cap takes the newest unless they are followed."""
    live = [request(n) for n in range(1000, 1000 + MAX_ROWS)]
    older = [request(n) for n in range(500, 1001)]
    everything = [*older, *live[1:]]
    assert together(live, older, newest=True) == (everything[-MAX_ROWS:], False)
    assert together(live, older, newest=False) == (everything[:MAX_ROWS], True)
    assert together(live, [], newest=False) == (live, False)


def test_pages_are_kept_up_to_a_number_and_end() -> None:
    """Beyond 2,000 the first read give way; the last page says so."""
    older = Older()
    for start in range(0, MAX_ROWS + 400, 200):
        older.take(RequestPage(tuple(request(n) for n in range(start, start + 200)), "7"), ())
    assert (len(older.rows), older.ended) == (MAX_ROWS, False)
    older.take(RequestPage((), None), ())
    assert (len(older.rows), older.ended) == (MAX_ROWS, True)
    older.forget()
    assert (older.rows, older.ended, older.generation) == ({}, False, 1)


def test_slow_is_over_the_p95() -> None:
    """Of equal ones none is; what is no number does not count; without any there is no edge."""
    rows = [request(n, total_ms=float(n)) for n in range(100)]
    assert slow_from(rows) == 94.0
    assert slow_from([*rows, request(101, total_ms=float("nan")), running(102)]) == 94.0
    assert slow_from([running(1)]) is None


def test_what_is_shown_when_the_past_is_read_stays() -> None:
    """Rows between the past and the live list do not fall into a hole when newer ones push them out."""
    older, shown = Older(), [request(n) for n in range(100, 300)]
    older.take(RequestPage(tuple(request(n) for n in range(99, 49, -1)), "7"), shown)
    later = [request(n) for n in range(250, 250 + MAX_ROWS)]
    rows, cut = together(later, list(older.rows.values()), newest=False)
    assert [row.id for row in rows[:300]] == [request(n).id for n in range(50, 350)]
    assert cut
