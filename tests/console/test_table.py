"""The keyed list: cursor and scroll position stay on their records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routerconsole.console.table import TableModel


def table(*rows: str, follows: bool = False, height: int = 5) -> TableModel[str]:
    """Return a table of strings that are their own keys."""
    made: TableModel[str] = TableModel(lambda row: row, follows=follows)
    made.set(rows)
    made.window(height)
    return made


def test_cursor_stays_on_its_record_when_rows_come_before_it() -> None:
    """Rows arriving above move neither the selected record nor the first visible one."""
    made = table(*"abcdefghij", height=3)
    made.move(5)
    top, _ = made.window(3)
    first = made.rows[top]
    made.set([*"xyz", *"abcdefghij"])
    assert made.current == "f"
    assert made.rows[made.window(3)[0]] == first


def test_T14_cursor_takes_the_place_of_a_removed_record() -> None:
    """When the selected record goes, what moved into its place is selected; at the end, the last one."""
    made = table(*"abcd")
    made.move(2)
    made.set([*"abd"])
    assert made.current == "d"
    made.set([*"ab"])
    assert made.current == "b"
    made.set([])
    assert made.current is None


def test_following_sticks_to_the_newest_until_moved_up() -> None:
    """A following list shows its last row; moving up freezes it, the end follows again."""
    made = table(*"abc", follows=True)
    made.set([*"abcd"])
    assert made.current == "d"
    made.move(-1)
    made.set([*"abcdef"])
    assert (made.current, made.following, made.arrived) == ("c", False, 2)
    made.to_bottom()
    assert (made.current, made.following) == ("f", True)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.lists(st.integers(0, 30), unique=True, max_size=20)),
            st.tuples(st.just("move"), st.integers(-8, 8)),
            st.tuples(st.just("window"), st.integers(-2, 12)),
            st.tuples(st.just("follow"), st.none()),
        ),
        max_size=40,
    )
)
def test_cursor_is_always_on_a_visible_row(steps: list[tuple[str, object]]) -> None:
    """Whatever happens, the cursor is on a row that exists and is visible."""
    made: TableModel[int] = TableModel(str, follows=True)
    for name, value in steps:
        match name, value:
            case "set", list(rows):
                made.set(sorted(rows))
            case "move", int(by):
                made.move(by)
            case "window", int(height):
                made.window(height)
            case _:
                made.toggle_follow()
        top, rows = made.window(made.height)
        if made.rows:
            assert made.current in rows
            assert top + len(rows) <= len(made.rows)
        else:
            assert made.current is None


# -- marks ------------------------------------------------------------------------------------------------------------


def test_a_mark_stays_with_its_record_and_moves_on_to_the_next_row() -> None:
    """Marking goes down one row; rows that come or go leave the mark on its record; the same key takes it away."""
    made = table(*"abcd")
    made.toggle_mark()
    assert (list(made.marked), made.current) == (["a"], "b")
    made.set([*"zabcd"])
    assert list(made.marked) == ["a"]
    assert made.marks(0, 5) == [False, True, False, False, False]
    made.go("a")
    made.toggle_mark()
    assert list(made.marked) == []


def test_a_range_reaches_from_where_it_began_to_the_cursor() -> None:
    """The range is marked while it grows or shrinks, in both directions, and stays when it is ended."""
    made = table(*"abcdef")
    made.move(3)
    made.mark_range()
    made.move(-2)
    assert made.ranging
    assert list(made.marked) == [*"bcd"]
    made.move(4)
    assert list(made.marked) == [*"def"]
    made.mark_range()
    made.to_top()
    assert not made.ranging
    assert list(made.marked) == [*"def"]
    assert made.marks(0, 6) == [False, False, False, True, True, True]


def test_marked_records_that_are_not_in_the_list_are_not_meant() -> None:
    """A filter hides marked records: they do not count until they are back; clearing forgets them."""
    made = table(*"abc")
    made.mark_range()
    made.to_bottom()
    made.mark_range()
    made.set(["b"])
    assert list(made.marked) == ["b"]
    made.set([*"abc"])
    assert list(made.marked) == [*"abc"]
    assert made.clear_marks()
    assert not made.clear_marks()
    assert list(made.marked) == []


def test_a_range_whose_first_record_went_is_over_without_a_mark() -> None:
    """Nothing is marked that nobody saw between its ends."""
    made = table(*"abc")
    made.mark_range()
    made.set([*"bc"])
    made.to_bottom()
    assert list(made.marked) == []
    made.mark_range()
    assert not made.ranging
    assert list(made.marked) == []


def test_marking_in_a_following_list_freezes_it() -> None:
    """Rows that arrive do not grow a range."""
    made = table(*"abc", follows=True)
    made.mark_range()
    made.set([*"abcde"])
    assert list(made.marked) == ["c"]
