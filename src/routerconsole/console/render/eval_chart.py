"""The targets of a run as a chart of what passed, beside the same targets of a baseline where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from routerconsole.console.safe_text import visible

from .cells import Line, Role, cut, fit, wrap
from .chart import amounts, bars

Json = Any
"""A JSON value; `Any` because that is what a report is made of."""
NAME: Final = 28
"""Columns of a target's name at most."""


def chart_lines(report: Mapping[str, Json], base: Mapping[str, Json] | None, width: int) -> list[Line]:
    """Return the chart and under it each target's figures; `report` and `base` are those of `eval show --json`."""
    columns = _columns(report)
    before = _columns(base) if base is not None else {}
    names = [_name(name) for name in columns]
    if base is None:
        rows = amounts(names, [_percent(each) for each in columns.values()], width=width, top=100.0)
    else:
        rows = bars(
            names,
            [(_percent(before.get(name)), _percent(each)) for name, each in columns.items()],
            width=width,
            top=100.0,
        )
    nothing = "Nothing to draw: no target has passed anything yet." if base is None else "No target is graded in both."
    drawn: list[Line] = [((text, Role.INFO),) for text in rows] or wrap(nothing, width, indent=2, role=Role.DIM)
    return [*drawn, (), *_figures(columns, before if base is not None else None, width)]


def _columns(report: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    found = report.get("targets")
    return {str(each["id"]): each for each in found} if isinstance(found, Sequence) else {}


def _percent(column: Mapping[str, Json] | None) -> float | None:
    return None if column is None or not column["n"] else 100.0 * column["k"] / column["n"]


def _name(name: str) -> str:
    shown = visible(name, 80)
    return "".join(text for text, _ in cut(((shown, Role.TEXT),), NAME))


def _figures(
    columns: Mapping[str, Mapping[str, Json]], before: Mapping[str, Mapping[str, Json]] | None, width: int
) -> list[Line]:
    heads = f"  {fit('target', NAME)} {fit('passed', 9, 'right')} {fit('95 %', 10, 'right')}"
    lines: list[Line] = [((fit(heads if before is None else f"{heads}   baseline", width), Role.DIM),)]
    for name, column in columns.items():
        text = f"  {fit(visible(name, 80), NAME)} {_share(column)}"
        if before is not None:
            text += f"  {_share(before.get(name))}"
        lines.append(((fit(text, width), Role.TEXT),))
    for name in before or ():
        if name not in columns:
            lines += wrap(f"{visible(name, 80)} is in the baseline only", width, indent=2, role=Role.DIM)
    return lines


def _share(column: Mapping[str, Json] | None) -> str:
    if column is None or not column["n"]:
        return f"{fit('–', 9, 'right')} {fit('', 10)}"
    low, high = column["ci"]
    share = f"{column['k']}/{column['n']}"
    return f"{fit(share, 9, 'right')} {fit(f'{low:.0%}–{high:.0%}', 10, 'right')}"
