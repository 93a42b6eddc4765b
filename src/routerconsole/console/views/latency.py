"""The latency history of a provider or route as a page with a chart, drawn at most once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.latency import SPANS_S, LatencyRecord
from routerconsole.console.render import quantity
from routerconsole.console.render.cells import Line, Role, fit, wrap
from routerconsole.console.render.chart import Point, history
from routerconsole.console.safe_text import visible

from .chart_page import ChartPage

if TYPE_CHECKING:
    from collections.abc import Callable

REDRAW_S: Final = 1.0
"""Least seconds between two drawings of a chart (console.md §4 rule 7)."""


class LatencyPane(ChartPage):
    """The latency history of one subject as a page."""

    def __init__(self, key: str, record: LatencyRecord, clock: Callable[[], float]) -> None:
        super().__init__(f"Latency of {visible(key, 60)}", draw=self._lines)
        self._key, self._record, self._clock = key, record, clock
        self._height = 0
        self._drawn: tuple[tuple[int, int], float, list[Line]] | None = None

    def paint(self, width: int, height: int, *, focused: bool) -> list[Line]:
        """Return the page; the chart fills it."""
        self._height = height - 1
        return super().paint(width, height, focused=focused)

    def _lines(self, width: int) -> list[Line]:
        now, size = self._clock(), (width, self._height)
        if self._drawn is None or self._drawn[0] != size or not 0 <= now - self._drawn[1] < REDRAW_S:
            self._drawn = (size, now, self._fresh(now, width))
        return self._drawn[2]

    def _fresh(self, now: float, width: int) -> list[Line]:
        samples = self._record.of(self._key)
        newest = next((each for each in reversed(samples) if each.p50_ms is not None), None)
        legend = (
            f"  · p50 {quantity.ms(newest.p50_ms if newest else None)}"
            f"   × p95 {quantity.ms(newest.p95_ms if newest else None)}"
            "   of successes, as the engine's window has them"
        )
        head: list[Line] = [((fit(legend, width), Role.TEXT),)]
        if not self.loaded:
            return [*head, (("  loading the chart…", Role.DIM),)]
        lines: list[list[Point]] = [
            [(each.at - now, each.p50_ms) for each in samples],
            [(each.at - now, each.p95_ms) for each in samples],
        ]
        oldest = now - samples[0].at if samples else 0.0
        span = next((each for each in SPANS_S if each >= oldest), SPANS_S[-1])
        rows = history(lines, span_s=span, width=width, height=max(0, self._height - 1))
        if rows:
            return [*head, *(((text, Role.INFO),) for text in rows)]
        small = wrap("This window is too small for a chart: enlarge it. Esc closes.", width, indent=2, role=Role.DIM)
        none = wrap(
            "No latency measured yet: it takes a request that succeeds. The chart grows while this view is open.",
            width,
            indent=2,
            role=Role.DIM,
        )
        return [*head, *(none if newest is None else small)]
