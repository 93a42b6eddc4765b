"""Lines of cells: what of a line is drawn again."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from routerconsole.console.render.cells import Line, Role, changed, width_of

WIDTH = 24
texts = st.text(st.sampled_from("ab 1é…日●"), max_size=9)
lines = st.lists(st.tuples(texts, st.sampled_from([Role.TEXT, Role.BAR])), max_size=4).map(tuple)


def cells(line: Line) -> list[tuple[str, Role]]:
    """Return a line cell by cell, as far as the screen goes; a wide character fills its second cell with nothing."""
    found: list[tuple[str, Role]] = []
    for text, role in line:
        for char in text:
            found += [(char, role), ("", role)][: width_of(char)]
    return [*found, *[(" ", Role.TEXT)] * WIDTH][:WIDTH]


@given(lines, lines)
@example(((" prod  LIVE 12:00:09 ", Role.BAR),), ((" prod  LIVE 12:00:10 ", Role.BAR),))
@example((("日本", Role.TEXT),), (("日ab", Role.TEXT),))
def test_nothing_outside_what_is_drawn_again_differs(old: Line, new: Line) -> None:
    """Left and right of the cells named two lines look the same, and no wide character is drawn by half."""
    start, count = changed(old, new, WIDTH)
    was, now = cells(old), cells(new)
    assert 0 <= start <= start + count <= WIDTH
    assert was[:start] == now[:start]
    assert was[start + count :] == now[start + count :]
    for edge in (start, start + count):
        assert edge in (0, WIDTH) or (was[edge][0] and now[edge][0])


def test_a_tick_of_the_clock_is_its_digits() -> None:
    """One run of a whole line: only the characters that differ."""
    one, other = (((f"{'top':<60} LIVE 12:00:{second}", Role.BAR),) for second in ("09", "10"))
    assert changed(one, other, 80) == (72, 2)
    assert changed(one, (*one, ("!", Role.BAD)), 80) == (74, 6)
