"""Textual's compositor, writing nothing left of what changed: its own cuts updates at their right end only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor

if TYPE_CHECKING:
    from rich.console import Console


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

    def render_partial_update(self) -> CellsUpdate | None:
        """Return what is due, None where nothing is."""
        update = super().render_partial_update()
        return None if update is None else CellsUpdate(update.chops, update.spans, update.chop_ends)
