"""What commands print on stdout: tables, sentences, changes and JSON; every text goes through `visible` here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from routerconsole.domain.visible import CELL_LIMIT, cells, json_text, visible

Item = Mapping[str, object]
"""One thing with its properties in the order they are shown."""

_MIN_CELL = 6
_SLOTS = "operator"
MOST_CHANGES = 100
"""Values of one change that are told on its line: an imported table may set thousands."""
"""Where a registry change keeps what an undo needs; people see the same in words beside it."""
_UNKNOWN: tuple[object, ...] = (None, "", ())


def show_json(document: object) -> None:
    """Print one JSON document, ASCII only, so that nothing in it can act on a terminal."""
    print(json_text(document, indent=2))


def show_items(items: Iterable[Item], *, plain: bool, empty: str) -> None:
    """Print items as an aligned table, or as one sentence each; `empty` is said when there are none."""
    listed = list(items)
    if not listed:
        print(empty)
    elif plain:
        for item in listed:
            print(sentence(item))
    else:
        for line in table(listed, width=_width()):
            print(line)


def sentence(item: Item) -> str:
    """Return an item as `key: value; key: value.`, what is unknown left out."""
    known = [f"{key.replace('_', ' ')}: {text(value)}" for key, value in item.items() if value not in _UNKNOWN]
    return "; ".join(known) + "."


def table(items: Sequence[Item], *, width: int | None, named: bool = False) -> list[str]:
    """Return aligned lines under a header, columns without any value left out; `named` heads keep their spelling.

    The widest columns give way until a line fits `width` cells.
    """
    keys = [key for key in items[0] if any(item[key] not in _UNKNOWN for item in items)]
    heads = [text(key) if named else key.upper().replace("_", " ") for key in keys]
    rows = [heads, *([text(item[key]) for key in keys] for item in items)]
    widths = [max(cells(row[column]) for row in rows) for column in range(len(keys))]
    if width is not None:
        while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > _MIN_CELL:
            widths[widths.index(max(widths))] -= 1
    numeric = [all(isinstance(item[key], int | float | None) for item in items) for key in keys]
    return [
        "  ".join(
            fitted(cell, size, right=right) for cell, size, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def fitted(cell: str, size: int, *, right: bool = False) -> str:
    """Return a cell cut or padded to `size` terminal cells."""
    if cells(cell) > size:
        while cells(cell) > size - 1:
            cell = cell[:-1]
        cell += "…"
    pad = " " * (size - cells(cell))
    return pad + cell if right else cell + pad


def text(value: object) -> str:
    """Return a value as people read it, made visible."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(key))} {text(inner)}" for key, inner in value.items()) or "–"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(text(inner) for inner in value) or "–"
    return visible(str(value), CELL_LIMIT)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what differs as `key: before → after`, nested values by their path; of thousands the first."""
    old, new = (_flat({key: value for key, value in each.items() if key != _SLOTS}) for each in (before, after))
    told = [(name, text(old.get(name)), text(new.get(name))) for name in dict.fromkeys([*old, *new])]
    differ = [f"{visible(name)}: {was} → {now}" for name, was, now in told if was != now]
    rest = [f"… and {len(differ) - MOST_CHANGES} more (`--json` has them)"] if len(differ) > MOST_CHANGES else []
    return "; ".join((*differ[:MOST_CHANGES], *rest))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                flat |= _flat(item, f"{prefix}{key}.{item.get('model', number)}.")
        else:
            flat[prefix + key] = value
    return flat


def _width() -> int | None:
    """Return the terminal's width, None where the output goes elsewhere and must lose nothing."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
