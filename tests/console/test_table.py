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
