"""What a partial update sends: exactly the cells that changed, also where wide characters are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from routerconsole.console.compositor import cells

TERMINAL = Console(force_terminal=True, color_system="truecolor")
STYLES = (None, Style(bold=True), Style(color="#112233", bgcolor="#445566"))
RUNS = st.lists(st.tuples(st.text("ab 漢\u0301é─", min_size=1, max_size=8), st.sampled_from(STYLES)), max_size=6)


@given(runs=RUNS, place=st.tuples(st.integers(0, 40), st.integers(1, 40)))
def test_a_span_of_a_line_is_sent_as_a_cropped_line_would_be(
    runs: list[tuple[str, Style | None]], place: tuple[int, int]
) -> None:
    """The same bytes as Textual's own crop and render, without a strip made for them."""
    strip = Strip([Segment(text, style) for text, style in runs])
    start, end = place[0], min(sum(place), strip.cell_length)
    cropped = strip.crop(start, end) if start < end else Strip([], 0)
    assert "".join(cells(strip, start, end, TERMINAL)) == cropped.render(TERMINAL)
