"""The paths of `json_path`: `$.key`, `$['key']`, `$[0]`, `$[-1]` in any depth; nothing that matches many places."""

from __future__ import annotations

import re

from .types import Json

_STEP = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\[(-?[0-9]{1,6})\]|\['([^']*)'\]|\["([^"]*)"\]""")


class NoSuchPlace(Exception):
    """The document has nothing at the path."""


def check_path(path: str) -> str:
    """Return the path, or raise ValueError with what a path looks like."""
    steps(path)
    return path


def steps(path: str) -> tuple[str | int, ...]:
    """Return the keys and indexes of a path. Raises ValueError."""
    found: list[str | int] = []
    at = 1 if path.startswith("$") else len(path) + 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            break
        key, index, single, double = match.groups()
        found.append(int(index) if index is not None else next(k for k in (key, single, double) if k is not None))
        at = match.end()
    if at != len(path):
        raise ValueError(f"{path[:40]!r} is no path (write $.key, $['key'] or $[0])")
    return tuple(found)


def value_at(document: Json, path: str) -> Json:
    """Return what stands at the path. Raises NoSuchPlace."""
    at = document
    for step in steps(path):
        if isinstance(step, int):
            if not isinstance(at, list) or not -len(at) <= step < len(at):
                raise NoSuchPlace(path)
            at = at[step]
        elif isinstance(at, dict) and step in at:
            at = at[step]
        else:
            raise NoSuchPlace(path)
    return at


def same(a: Json, b: Json) -> bool:
    """Whether two JSON values are equal with their types: 3 is neither "3" nor 3.0 nor true."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b
