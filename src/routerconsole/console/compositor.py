"""Textual's compositor, drawing and writing less: nothing left of what changed, and no boxes behind what fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import ColorSystem
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.containers import Horizontal, Vertical
from textual.strip import Strip

from .breath import breathe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from textual.geometry import Region


class CellsUpdate(ChopsUpdate):
    """The spans of a partial update, each piece cut to its span at both ends."""

    def render_segments(self, console: Console) -> str:
        """Return what the terminal is sent."""
        out: list[str] = []
        for y, first, last in self.spans:
            for end, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(start, first), min(end, last)
                if strip is not None and left < right:
                    out.append(Control.move_to(left, y).segment.text)
                    if (left, right) == (start, end):
                        out.append(strip.render(console))
                    else:
                        out += cells(strip, left - start, right - start, console)
        return "".join(out)


def cells(strip: Strip, start: int, end: int, console: Console) -> Iterator[str]:
    """Yield what the terminal is sent for the cells [start, end) of a strip; half a wide character is a space.

    A strip of its own for each changed span would cost more than all the rest here: each brings six empty caches.
    """
    colours = console._color_system or ColorSystem.TRUECOLOR  # as Strip.render has it
    place = 0
    for segment in strip:
        if place >= end:
            return
        size = segment.cell_length
        if place + size > start:
            inside = segment
            if place + size > end:
                inside, _ = inside.split_cells(end - place)
            if place < start:
                _, inside = inside.split_cells(start - place)
            text, style, _ = inside
            yield text if style is None else Strip.render_style(style, text, colours)
        place += size


class CellCompositor(Compositor):
    """What a screen of ours composes with."""

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Return what widgets draw, front to back; boxes draw nothing of their own, and behind them is the screen."""
        for widget, (region, clip) in self.visible_widgets.items():
            if isinstance(widget, (Horizontal, Vertical)) or not (crop is None or crop.overlaps(clip)):
                continue
            seen = region.intersection(clip)
            if seen.width and seen.height:
                breathe()
                yield region, clip, widget.render_lines(seen.translate((-region.x, -region.y)))

    def render_partial_update(self) -> CellsUpdate | None:
        """Return what is due, None where nothing is."""
        update = super().render_partial_update()
        return None if update is None else CellsUpdate(update.chops, update.spans, update.chop_ends)
