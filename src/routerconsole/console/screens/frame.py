"""The frame of every view: top bar, banners, lists beside the detail, a page or a question over them, bottom line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from routerconsole.console.breath import breathe
from routerconsole.console.compositor import CellCompositor
from routerconsole.console.render.bars import bottom_line, notice_lines, prompt_line, top_bar
from routerconsole.console.render.cells import Line, Role, fit
from routerconsole.console.render.notes import question as question_lines
from routerconsole.console.views.base import SIDE_BY_SIDE
from routerconsole.console.views.panes import ListPane
from routerconsole.console.widgets.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events
    from textual.app import ComposeResult

    from routerconsole.console.desk import Desk
    from routerconsole.console.theme import Palette
    from routerconsole.console.views.base import View
    from routerconsole.console.views.panes import Pane

MIN_WIDTH: Final = 40
MIN_HEIGHT: Final = 10
HEADS: Final = 1
"""The line of a list that has the column titles."""
EDGE: Final = 2
"""Columns of the line between two columns."""


class Frame(Screen[None]):
    """One view's screen. It owns geometry and drawing; what is shown and what keys do is the view's and the app's."""

    AUTO_FOCUS = ""

    def __init__(self, view: View, host: Desk, *, palette: Callable[[], Palette], synced: Callable[[], None]) -> None:
        super().__init__()
        self._compositor = CellCompositor()
        self.view = view
        self._host = host
        self._palette = palette
        self._synced = synced
        self._bar = self._canvas(
            lambda w, _h: [top_bar(host.state, host.title_text, w, read_only=host.read_only)], "bar"
        )
        self._notices = self._canvas(lambda w, _h: notice_lines(host.state, w), "notices")
        self._lists = [self._pane(pane, "list") for pane in view.lists]
        self._detail = self._canvas(self._paint_detail, "detail", view.detail)
        self._page = Canvas(
            self._paint_page,
            palette=palette,
            classes="page",
            on_line=self._clicked_page,
            on_wheel=self._wheeled_page,
        )
        self._sheet = self._canvas(self._paint_question, "sheet")
        self._keys = self._canvas(self._paint_keys, "bar")
        self._small = self._canvas(self._paint_small, "page")
        self._left = Vertical(*self._lists, classes="left")
        self._left_layout: object = "vertical"
        self._abreast = False
        self._grid: tuple[tuple[int, int], tuple[int, int]] | None = None
        self._body = Horizontal(self._left, self._detail, classes="body")

    def _canvas(self, paint: Callable[[int, int], list[Line]], classes: str, pane: Pane | None = None) -> Canvas:
        return Canvas(
            paint,
            palette=self._palette,
            classes=classes,
            on_line=(lambda line, cell: self._clicked(pane, line, cell)) if pane is not None else None,
            on_wheel=(lambda by: self._wheeled(pane, by)) if pane is not None else self._wheeled_page,
        )

    def _pane(self, pane: Pane, classes: str) -> Canvas:
        def paint(width: int, height: int) -> list[Line]:
            gap = 1 if self.view.wide else 0  # between the last column and the line of the next
            focused = self.view.focused is pane
            if self._beside(pane):
                return self._edged(pane, width, height, gap=gap + EDGE)
            return pane.paint(max(1, width - gap), height, focused=focused)

        return self._canvas(paint, classes, pane)

    def compose(self) -> ComposeResult:
        """Stack the lines; nothing is docked, so nothing can cover another part."""
        yield Vertical(
            self._bar, self._notices, self._body, self._page, self._small, self._sheet, self._keys, classes="frame"
        )

    # -- drawing -----------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Arrange for the current size and contents and repaint what is visible."""
        if not self.is_mounted:
            return
        self._arrange()
        for canvas in (
            self._bar,
            self._notices,
            *self._lists,
            self._detail,
            self._page,
            self._small,
            self._sheet,
            self._keys,
        ):
            if canvas.display:
                canvas.repaint()
                breathe()

    def repaint_all(self) -> None:
        """Draw every line again (ctrl+l, a drained terminal, a new palette)."""
        for canvas in self.query(Canvas):
            canvas.forget()
        self.refresh(layout=True)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Keep the styles: they change with the theme only, and then Textual sees to that itself."""
        event.refresh_styles = False

    def on_resize(self, _event: events.Resize) -> None:
        """Arrange for the new size."""
        self._synced()

    def _arrange(self) -> None:
        width, height = self.app.size
        small = width < MIN_WIDTH or height < MIN_HEIGHT
        wide = width >= SIDE_BY_SIDE and not self.view.zoomed
        self.view.settle(wide=wide)
        page = self._host.page is not None or self._host.picker is not None
        question = self._host.question is not None
        self._show(self._small, small)
        for canvas in (self._bar, self._keys):
            self._show(canvas, not small)
        notices = len(notice_lines(self._host.state, width))
        self._show(self._notices, not small and notices > 0, notices)
        self._show(self._page, not small and page)
        sheet = len(self._paint_question(width, height)) if question else 0
        self._show(self._sheet, not small and question, min(sheet, max(1, height - 2)))
        shown = not small and not page
        self._body.display = shown
        self._left.display = wide or not self.view.pushed
        self._detail.display = wide or self.view.pushed
        left = self.view.list_width(width) if wide else width
        if self._left.styles.width is None or self._left.styles.width.value != left:
            self._left.styles.width = left
        room = height - 2 - notices - (sheet if question else 0)
        widths = self.view.abreast(width) if wide else None
        self._abreast = widths is not None
        self._grid = self.view.grid(width, room) if wide else None
        heights = self._heights(room)
        for place, (canvas, lines) in enumerate(zip(self._lists, heights, strict=True)):
            self._show(canvas, lines != 0)
            wanted = ("1fr" if lines is None else lines, "100%" if widths is None else widths[place])
            if getattr(canvas, "_wanted", None) != wanted:
                canvas._wanted = wanted  # type: ignore[attr-defined]  # what was last set, to relayout only on change
                canvas.styles.height, canvas.styles.width = wanted
        self._lay_lists_out()

    def _lay_lists_out(self) -> None:
        """Put the lists below each other, abreast or two by two, where that is not how they stand."""
        wanted = self._grid or ("horizontal" if self._abreast else "vertical")
        if self._left_layout == wanted:
            return
        self._left_layout, styles = wanted, self._left.styles
        if self._grid is None:
            styles.layout = "horizontal" if self._abreast else "vertical"
            return
        columns, lines = self._grid
        styles.grid_size_columns, styles.grid_size_rows = 2, 2
        styles.grid_columns, styles.grid_rows = " ".join(map(str, columns)), " ".join(map(str, lines))
        styles.layout = "grid"

    def _beside(self, pane: Pane) -> bool:
        """Whether a list stands right of another one."""
        place = self.view.lists.index(pane)
        return place % 2 == 1 if self._grid is not None else self._abreast and place > 0

    def _heights(self, room: int) -> tuple[int | None, ...]:
        """Return the height of each list, None for the rest, 0 for one that is not shown; zoomed, one has it all."""
        view = self.view
        if view.zoomed and view.focus < len(view.lists):
            return tuple(None if pane is view.focused else 0 for pane in view.lists)
        together = self._abreast or self._grid is not None
        return tuple(None for _ in self._lists) if together else view.list_heights(room)

    @staticmethod
    def _show(canvas: Canvas, shown: bool, height: int | None = None) -> None:
        if canvas.display != shown:
            canvas.display = shown
        if height is not None and shown:
            now = canvas.styles.height
            if now is None or now.value != height:
                canvas.styles.height = height

    def _paint_detail(self, width: int, height: int) -> list[Line]:
        if not self.view.wide:
            return self.view.detail.paint(width, height, focused=self.view.focused is self.view.detail)
        return self._edged(self.view.detail, width, height, gap=EDGE)

    def _edged(self, pane: Pane, width: int, height: int, *, gap: int) -> list[Line]:
        """Return a pane with the line that parts it from what stands left of it."""
        lines = pane.paint(max(1, width - gap), height, focused=self.view.focused is pane)
        lines += [()] * (height - len(lines))
        edge: Line = (("│ ", Role.DIM),)
        return [edge + line for line in lines]

    def _paint_keys(self, width: int, _height: int) -> list[Line]:
        prompt = self._host.prompt
        if prompt is not None and self._host.question is None:
            return [prompt_line(prompt.shown(), width)]
        return [bottom_line(self._host.state, self._host.hints(), width)]

    def _paint_page(self, width: int, height: int) -> list[Line]:
        if self._host.picker is not None:
            return self._host.picker.paint(width, height)
        page = self._host.page
        return page.paint(width, height, focused=True) if page is not None else []

    def _paint_question(self, width: int, _height: int) -> list[Line]:
        asked = self._host.question
        return question_lines(asked.title, asked.paragraphs, width) if asked is not None else []

    def _paint_small(self, width: int, height: int) -> list[Line]:
        have = f"{self.app.size.width}x{self.app.size.height}"
        texts = ("too small", f"{have}, needs {MIN_WIDTH}x{MIN_HEIGHT}", "the router goes on", "q quits")
        lines: list[Line] = [((fit(text, width), Role.TEXT),) for text in texts]
        return lines[:height]

    # -- mouse -------------------------------------------------------------------------------------------------------

    def _clicked(self, pane: Pane, line: int, cell: int) -> None:
        """Give the pane the focus; a title sorts, a row is selected, the selected one opened."""
        if self._covered():
            return
        self.view.focus_pane(pane)
        if line == HEADS and isinstance(pane, ListPane):
            pane.sort_at(cell - (EDGE if self._beside(pane) else 0))
        elif pane.click(line):
            self._host.perform("open")
        self.view.sync()
        self._synced()

    def _covered(self) -> bool:
        """Whether a question, a page or a line to type into waits for an answer first."""
        host = self._host
        return any(each is not None for each in (host.question, host.page, host.picker, host.prompt))

    def _clicked_page(self, line: int, _cell: int) -> None:
        picker = self._host.picker
        if picker is not None and self._host.question is None and picker.click(line):
            self._host.key("enter", None)

    def _wheeled(self, pane: Pane, by: int) -> None:
        if not self._covered():
            pane.scroll(by)
            self.view.sync()
            self._synced()

    def _wheeled_page(self, by: int) -> None:
        page = self._host.picker or self._host.page
        if page is not None and self._host.question is None:
            page.scroll(by)
            self._synced()
