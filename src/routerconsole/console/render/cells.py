"""Lines of cells: text runs with a role instead of a colour, fitted to widths in terminal cells."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from rich.cells import cell_len, set_cell_size

from routerconsole.console.table import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Role(StrEnum):
    """What a run of text means; the theme decides how that looks."""

    TEXT = "text"
    DIM = "dim"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    INFO = "info"
    TITLE = "title"
    BAR = "bar"
    CURSOR = "cursor"
    IDLE_CURSOR = "idle_cursor"


T = TypeVar("T")

Run = tuple[str, Role]
Line = tuple[Run, ...]
Align = Literal["left", "right"]

CLICK_REACH: Final = 6
"""Cells beside a column's title that still count as it when clicked."""
BLANK: Final[Line] = ()
SPARKS: Final = "▁▂▃▄▅▆▇█"


def width_of(text: str) -> int:
    """Return the terminal cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


@lru_cache(maxsize=4096)
def line_width(line: Line) -> int:
    """Return the terminal cells a line takes; kept, because a line is measured when it comes, is cut and goes."""
    return sum(width_of(text) for text, _ in line)


def fit(text: str, width: int, align: Align = "left") -> str:
    """Return the text in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    have = width_of(text)
    if have > width:
        return set_cell_size(text, width - 1) + "…"
    return text + " " * (width - have) if align == "left" else " " * (width - have) + text


def plain(line: Line) -> str:
    """Return a line's text without its roles."""
    return "".join(text for text, _ in line)


def merge(runs: Iterable[Run]) -> Line:
    """Join neighbouring runs of one role, so that a row costs as few style changes as it can."""
    out: list[Run] = []
    for text, role in runs:
        if not text:
            continue
        if out and (out[-1][1] is role or text.isspace()):
            out[-1] = (out[-1][0] + text, out[-1][1])
        else:
            out.append((text, role))
    return tuple(out)


def cut(line: Line, width: int) -> Line:
    """Return a line of at most `width` cells, with an ellipsis where something was cut."""
    if line_width(line) <= width:
        return line
    out: list[Run] = []
    left = width
    for text, role in line:
        size = width_of(text)
        if size < left:
            out.append((text, role))
            left -= size
            continue
        out.append((fit(text + " ", left) if size == left else fit(text, left), role))
        break
    return tuple(out)


def changed(old: Line, new: Line, width: int) -> tuple[int, int]:
    """Return the first of `width` cells in which two lines may differ, and how many from there on.

    Runs are compared whole, which is cheap; only where a single one differs its characters are.
    """
    size = line_width(new)
    if size > width or line_width(old) > width:  # what will be cut off decides how the rest looks
        return 0, width
    front = _alike(old, new)
    start = line_width(new[:front])
    if line_width(old) != size:
        return start, width - start
    back = min(_alike(old[::-1], new[::-1]), len(old) - front, len(new) - front)
    end = size - line_width(new[len(new) - back :])
    was, now = old[front : len(old) - back], new[front : len(new) - back]
    if len(was) == len(now) == 1 and was[0][1] is now[0][1]:
        one, other = was[0][0], now[0][0]
        head = _alike(one, other)
        tail = min(_alike(one[::-1], other[::-1]), len(one) - head, len(other) - head)
        if (one[head : len(one) - tail] + other[head : len(other) - tail]).isascii():  # no half of a wide one
            start, end = start + width_of(other[:head]), end - width_of(other[len(other) - tail :])
    return start, end - start


def _alike(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many leading items are the same."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def wrap(text: str, width: int, *, indent: int = 0, role: Role = Role.TEXT) -> list[Line]:
    """Break a text at spaces into lines of `width` cells, continuation lines indented; long words are broken.

    A `·` between two things stands between them on a line only: where the line ends, it is left out.
    """
    room = max(width - indent, 8)
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        rest = word
        if current and width_of(current) + 1 + width_of(rest) <= room:
            current += " " + rest
            continue
        if current:
            lines.append(current.removesuffix(" ·"))
        while width_of(rest) > room:
            head = set_cell_size(rest, room).rstrip(" ")
            lines.append(head)
            rest = rest[len(head) :]
        current = rest if rest != "·" or not lines else ""
    lines.append(current)
    return [((" " * indent + line, role),) for line in lines]


def labelled(label: str, text: str, width: int, *, role: Role = Role.TEXT, pad: int = 7) -> list[Line]:
    """Wrap a text beside a dim label of `pad` cells."""
    lines = wrap(text, width, indent=pad, role=role)
    first = lines[0][0][0][pad:]
    return [merge([(fit(label, pad), Role.DIM), (first, role)]), *lines[1:]]


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column: `cell` gives text and role; `drop` says in which order columns go when space is short (0 never).

    `by` is what rows are sorted by where the column can be sorted by.
    """

    title: str
    width: int
    cell: Callable[[T], Run]
    align: Align = "left"
    drop: int = 0
    grow: int = 0
    by: Callable[[T], float | str | None] | None = None


def lay_out(columns: Sequence[Column[T]], width: int) -> list[tuple[Column[T], int]]:
    """Choose the columns that fit `width` cells and share what is left among the growing ones."""
    chosen = list(columns)

    def needed() -> int:
        return sum(column.width for column in chosen) + len(chosen) - 1

    while needed() > width and any(column.drop for column in chosen):
        chosen.remove(max((column for column in chosen if column.drop), key=lambda column: column.drop))
    spare = max(0, width - needed())
    shares = sum(column.grow for column in chosen)
    widths = [column.width + (spare * column.grow // shares if shares else 0) for column in chosen]
    return list(zip(chosen, widths, strict=True))


def header(laid: Sequence[tuple[Column[T], int]]) -> Line:
    """Return the title line of laid-out columns."""
    return ((" ".join(fit(column.title, width, column.align) for column, width in laid), Role.DIM),)


def orders(columns: Iterable[Column[T]]) -> list[Order[T]]:
    """Return the orders of the columns that can be sorted by: words from the first, figures from the largest."""
    return [
        Order(column.title, column.by, largest_first=column.align == "right")
        for column in columns
        if column.by is not None
    ]


def head_at(heads: Line, titles: Iterable[str], cell: int) -> str | None:
    """Return the column title nearest to a cell of the title line, None where none is near."""
    text = plain(heads)
    spans = [(found.span(), title) for title in titles if (found := _found(text, title)) is not None]
    near = [(max(start - cell, cell - end + 1, 0), title) for (start, end), title in spans]
    distance, title = min(near, default=(CLICK_REACH + 1, None))
    return title if distance <= CLICK_REACH else None


def marked_head(heads: Line, title: str, *, largest_first: bool) -> Line | None:
    """Return the title line with an arrow at the sorted column, None where that column is not shown."""
    text, arrow = plain(heads), "▼" if largest_first else "▲"
    found = _found(text, title)
    if found is None:
        return None
    start, end = found.span()
    if start >= 2 and text[start - 2 : start].isspace():
        text = text[: start - 1] + arrow + text[start:]
    elif end < len(text):
        text = text[:end] + arrow + text[end + 1 :]
    elif start:
        text = text[: start - 1] + arrow + text[start:]
    return ((text, heads[0][1]),)


def _found(text: str, title: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\S){re.escape(title)}(?!\S)", text)


def row(record: T, laid: Sequence[tuple[Column[T], int]]) -> Line:
    """Return one record as a line of laid-out columns."""
    runs: list[Run] = []
    for index, (column, width) in enumerate(laid):
        text, role = column.cell(record)
        runs.append(((" " if index else "") + fit(text, width, column.align), role))
    return merge(runs)


def spark(values: Sequence[float], width: int) -> str:
    """Return the newest `width` values as block characters, scaled to the largest; nothing at all is a baseline."""
    shown = [value if math.isfinite(value) and value > 0 else 0.0 for value in values[-width:]]
    top = max(shown, default=0.0)
    steps = len(SPARKS) - 1
    blocks = "".join(SPARKS[min(steps, math.ceil(value / top * steps))] if top else SPARKS[0] for value in shown)
    return blocks.rjust(width, SPARKS[0])
