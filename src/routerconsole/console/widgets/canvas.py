"""The one widget: lines from a painter through the line API, strips cached, only changed cells drawn again.

A painter that raises shows its error in this pane and nowhere else.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from textual.color import Color
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from routerconsole.console.render.cells import Line, Role, changed, cut, line_width, wrap
from routerconsole.console.safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events
    from textual.filter import LineFilter

    from routerconsole.console.theme import Palette

CACHED_STRIPS: Final = 512
WHEEL_LINES: Final = 3


class Canvas(ScrollView):
    """A rectangle of lines; its virtual size is its size, scrolling is the painter's business."""

    can_focus = False

    def __init__(
        self,
        paint: Callable[[int, int], list[Line]],
        *,
        palette: Callable[[], Palette],
        classes: str = "",
        on_line: Callable[[int, int], None] | None = None,
        on_wheel: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(classes=f"canvas {classes}")
        self._paint = paint
        self._palette = palette
        self._on_line = on_line
        self._on_wheel = on_wheel
        self._drawn: list[Line] = []
        self._rows: list[Strip | None] = []
        self._strips: dict[tuple[Line, int], Strip] = {}
        self._looks: tuple[Color, tuple[LineFilter, ...]] = (Color(0, 0, 0), ())
        self.failure: str | None = None

    def repaint(self) -> None:
        """Ask the painter again and redraw the cells that differ."""
        width, height = self.size
        if not width or not height:
            return
        lines = self._ask(width, height)
        before, self._drawn = self._drawn, lines
        if len(before) != len(lines):
            self._rows = [None] * len(lines)
            self.refresh()
            return
        for place, (old, new) in enumerate(zip(before, lines, strict=True)):
            if old is not new and old != new:
                self._rows[place] = None
                start, cells = changed(old, new, width)
                self.refresh(Region(start, place, cells, 1))

    def forget(self) -> None:
        """Drop every cached strip (the palette or the width changed)."""
        self._drop_strips()
        self.refresh()

    def _drop_strips(self) -> None:
        self._strips.clear()
        self._rows = [None] * len(self._drawn)

    def _ask(self, width: int, height: int) -> list[Line]:
        try:
            lines = self._paint(width, height)
            self.failure = None
        except Exception as error:  # noqa: BLE001 - a bug in one pane must leave the others alive (T10)
            self.failure = visible(f"{type(error).__name__}: {error}", 400)
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            lines = [
                (("✗ this pane failed; the others go on", Role.BAD),),
                *wrap(f"{self.failure} ({place})", width, role=Role.BAD),
                *wrap("It is drawn again on the next tick; ctrl+l repaints now.", width, role=Role.DIM),
            ]
        lines = lines[:height]
        return [*lines, *([()] * (height - len(lines)))]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the strips of a part, as they are kept, the app's filters applied.

        A canvas has no border, padding or tint, so what Textual's cache of styled lines does is left out: it would wrap
        every changed strip thrice more, a fifth of the console's time in a log that moves (bench/HOT_PATH.md).
        """
        looks = (self.background_colors[1], tuple(self.get_line_filters()))
        if looks != self._looks:
            self._looks = looks
            self._drop_strips()
        strips = [self.render_line(y) for y in crop.line_range]
        return (
            strips if crop.column_span == (0, self.size.width) else [strip.crop(crop.x, crop.right) for strip in strips]
        )

    def render_line(self, y: int) -> Strip:
        """Return one line as a strip of exactly this widget's width."""
        if y >= len(self._drawn):
            return self._fitted((), self.size.width)
        strip = self._rows[y]
        if strip is None:
            strip = self._rows[y] = self._fitted(self._drawn[y], self.size.width)
        return strip

    def _fitted(self, line: Line, width: int) -> Strip:
        key = (line, width)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= CACHED_STRIPS:
                self._strips.clear()
            strip = self._strips[key] = self._strip(line, width)
        return strip

    def _strip(self, line: Line, width: int) -> Strip:
        palette = self._palette()
        fitted = cut(line, width)
        segments = [Segment(text, palette.style(role)) for text, role in fitted]
        rest = width - line_width(fitted)
        if rest > 0:
            segments.append(Segment(" " * rest, palette.style(Role.TEXT)))
        background, filters = self._looks
        for line_filter in filters:
            segments = line_filter.apply(segments, background)
        return Strip(segments, width)

    def on_resize(self) -> None:
        """Paint for the new size."""
        self.virtual_size = Size(self.size.width, self.size.height)
        self.repaint()
        self.forget()

    def on_click(self, event: events.Click) -> None:
        """Report the clicked line and cell."""
        event.stop()
        if self._on_line is not None:
            self._on_line(event.y, event.x)

    def _wheel(self, event: events.MouseEvent, by: int) -> None:
        event.stop()
        event.prevent_default()
        if self._on_wheel is not None:
            self._on_wheel(by)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Report the wheel instead of scrolling: what is visible is the painter's business."""
        self._wheel(event, WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """See `on_mouse_scroll_down`."""
        self._wheel(event, -WHEEL_LINES)
