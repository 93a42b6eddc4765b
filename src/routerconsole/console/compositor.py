"""Textual's compositor, drawing and writing less: nothing left of what changed, and no boxes behind what fills them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.containers import Horizontal, Vertical

from .breath import breathe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from textual.geometry import Region
    from textual.strip import Strip


class CellsUpdate(ChopsUpdate):
    """The spans of a partial update, each piece cut to its span at both ends."""

    def render_segments(self, console: Console) -> str:
        """Return what the terminal is sent."""
        out: list[str] = []
        for y, first, last in self.spans:
            for end, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(start, first), min(end, last)
                if strip is not None and left < right:
                    piece = strip if (left, right) == (start, end) else strip.crop(left - start, right - start)
                    out += (Control.move_to(left, y).segment.text, piece.render(console))
        return "".join(out)


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
