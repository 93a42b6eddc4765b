"""Says which written settings are valid but have no effect in this version, so that nobody waits for them to act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .checks import section
from .problems import Loc, Notice, dotted
from .yaml_loader import Document, Value

_FPS = 10


def notices(document: Document, data: Mapping[str, Value]) -> tuple[Notice, ...]:
    """Return one notice for each written setting whose feature is not built yet, in line order."""
    found = (Notice(dotted(loc), document.root.line_of(loc), text) for loc, text in _idle(data))
    return tuple(sorted(found, key=lambda notice: notice.line))


def _idle(data: Mapping[str, Value]) -> Iterator[tuple[Loc, str]]:
    if section(data, "console").get("max_fps", _FPS) != _FPS:
        yield ("console", "max_fps"), "has no effect yet in this version: the console draws four times a second"
