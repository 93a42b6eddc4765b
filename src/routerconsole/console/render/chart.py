"""The one caller of plotext: charts made on demand, as text without colour. Main thread only, at most once a second.

What is not a finite, non-negative number is left out (None and NaN break plotext). Needs no Textual: the CLI draws too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_WIDTH: Final = 20
MIN_HEIGHT: Final = 6
MAX_VALUE: Final = 1e9
"""Milliseconds above which a latency is no measurement but an error."""
MARKS: Final = ("·", "×", "○", "█")
"""One mark a line, so that lines differ without colour; each has an ASCII form."""

Point = tuple[float, float | None]
"""A moment and what was measured then."""


def sane(value: float | None) -> bool:
    """Whether a value can be drawn."""
    return value is not None and math.isfinite(value) and 0 <= value <= MAX_VALUE


def history(lines: Sequence[Sequence[Point]], *, span_s: float, width: int, height: int) -> list[str]:
    """Return up to four lines over the last `span_s` seconds as rows of text, [] without a single drawable value.

    Moments are seconds before now as negative numbers; values start at zero.
    """
    drawn = [
        (mark, [(at, value) for at, value in line if value is not None and sane(value) and -span_s <= at <= 0])
        for mark, line in zip(MARKS, lines, strict=False)
    ]
    values = [value for _, line in drawn for _, value in line]
    if not values or width < MIN_WIDTH or height < MIN_HEIGHT:
        return []
    import plotext  # noqa: PLC0415 - 0.15 s that only an opened chart is worth

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    for mark, line in drawn:
        if line:
            moments, measured = zip(*line, strict=True)
            figure.draw(figure.signal(moments, measured, marker=mark).lines())
    top, step = _scale(max(values))
    figure.ruler("y").lim(0, top)
    ticks = [step * number for number in range(round(top / step) + 1)]
    figure.ruler("y").ticks(ticks, [f"{tick:g}" for tick in ticks])
    figure.ruler("x").lim(-span_s, 0)
    figure.ruler("x").ticks([-span_s, -span_s / 2, 0], [_ago(span_s), _ago(span_s / 2), "now"])
    return _built(figure)


def bars(
    names: Sequence[str],
    values: Sequence[tuple[float | None, float | None]],
    *,
    width: int,
    rows_each: int = 4,
    top: float | None = None,
) -> list[str]:
    """Return two bars a name (`▒`, then `█`) as rows of text; names without two drawable values are left out.

    The axis ends at `top`, None for the largest value.
    """
    measured = [
        (name, low, high)
        for name, (low, high) in zip(names, values, strict=True)
        if low is not None and high is not None and sane(low) and sane(high)
    ]
    if not measured or width < MIN_WIDTH:
        return []
    import plotext  # noqa: PLC0415 - 0.15 s that only an opened chart is worth

    labels, lower, upper = zip(*reversed(measured), strict=True)  # the chart grows upwards
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, rows_each * len(labels) + 3)
    texts = [[f"{value:.0f}" for value in each] for each in (lower, upper)]
    figure.draw(figure.bar(labels, [lower, upper], orientation="h", labeled=texts, marker=["▒", "█"]))
    if top is not None:
        _end_at(figure, top)
    return _built(figure)


def amounts(names: Sequence[str], values: Sequence[float | None], *, width: int, top: float | None = None) -> list[str]:
    """Return one bar a name as rows of text, in their order; names without a drawable value are left out.

    The axis ends at `top`, None for the largest value.
    """
    drawn = [(name, value) for name, value in zip(names, values, strict=True) if value is not None and sane(value)]
    if not any(value for _, value in drawn) or width < MIN_WIDTH:
        return []
    import plotext  # noqa: PLC0415 - 0.15 s that only an opened chart is worth

    labels, costs = zip(*reversed(drawn), strict=True)  # the chart grows upwards
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, 2 * len(labels) + 3)
    texts = [[f"{each:.4g}" for each in costs]]
    figure.draw(figure.bar(labels, [costs], orientation="h", labeled=texts, marker=["█"]))
    if top is None:
        figure.ruler("x").lim(0, max(costs))
    else:
        _end_at(figure, top)
    return _built(figure)


def _end_at(figure: Any, top: float) -> None:  # `Any` here and below: plotext has no types
    """Let the horizontal axis go from zero to `top` in quarters."""
    ticks = [top * quarter / 4 for quarter in range(5)]
    figure.ruler("x").lim(0, top)
    figure.ruler("x").ticks(ticks, [f"{tick:g}" for tick in ticks])


def _built(figure: Any) -> list[str]:
    text: str = figure.build().string(True)  # True: without colour
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _scale(largest: float) -> tuple[float, float]:
    """Return the top of an axis from zero and the step between its ticks: 1, 2 or 5 times a power of ten."""
    goal = max(largest, 1.0) / 4
    power = 10.0 ** math.floor(math.log10(goal))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= goal)
    return step * math.ceil(max(largest, 1.0) / step), step


def _ago(seconds: float) -> str:
    return f"-{seconds / 60:g} min" if seconds >= 60 else f"-{seconds:g} s"
