"""Validates `console.keys`: unknown action, bad key, reserved key, clash within one focus. No Textual here.

A view's key may shadow a global one; that is how the registry itself works, and it is not a clash.
"""

from __future__ import annotations

import difflib
import re
from itertools import combinations
from typing import TYPE_CHECKING, Final

from .actions import ACTIONS, BY_ID, Context

if TYPE_CHECKING:
    from collections.abc import Mapping

RESERVED: Final = frozenset({"ctrl+c", "ctrl+z", "escape", "ctrl+s", "ctrl+m", "ctrl+i", "ctrl+j", "ctrl+h"})
"""Keys that always mean the same, may never arrive (`ctrl+s`) or are another key on the wire (`ctrl+m` is Enter)."""
_NAMED: Final = frozenset(
    {
        "enter",
        "tab",
        "space",
        "backspace",
        "delete",
        "insert",
        "up",
        "down",
        "left",
        "right",
        "home",
        "end",
        "pageup",
        "pagedown",
        "minus",
        "plus",
        "at",
        "question_mark",
        "slash",
        "exclamation_mark",
        "colon",
        "semicolon",
        "comma",
        "full_stop",
        "less_than_sign",
        "greater_than_sign",
        "left_square_bracket",
        "right_square_bracket",
        "underscore",
        "equals_sign",
        *(f"f{number}" for number in range(1, 13)),
    }
)
_SYMBOLS: Final = {
    "-": "minus",
    "+": "plus",
    "@": "at",
    "?": "question_mark",
    "/": "slash",
    "!": "exclamation_mark",
    ":": "colon",
    ";": "semicolon",
    ",": "comma",
    ".": "full_stop",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "_": "underscore",
    "=": "equals_sign",
    " ": "space",
}
FOCUSES: Final[tuple[tuple[Context, ...], ...]] = (
    (Context.PROVIDERS, Context.OVERVIEW, Context.LIST),
    (Context.PROVIDERS, Context.OVERVIEW, Context.DETAIL),
    (Context.OVERVIEW, Context.LIST),
    (Context.OVERVIEW, Context.DETAIL),
    (Context.HEALTH, Context.PROVIDERS, Context.ROUTES, Context.LIST),
    (Context.HEALTH, Context.PROVIDERS, Context.DETAIL),
    (Context.CAPABILITIES, Context.TREE, Context.LIST),
    (Context.CAPABILITIES, Context.MARKS, Context.TREE, Context.LIST),
    (Context.CAPABILITIES, Context.DETAIL),
    (Context.REGISTRY, Context.MARKS, Context.LIST),
    (Context.REGISTRY, Context.LIST),
    (Context.REGISTRY, Context.DETAIL),
    (Context.REQUESTS, Context.LIST),
    (Context.DETAIL, Context.REQUESTS),
    (Context.INCIDENT, Context.NOTE),
    (Context.EVALS, Context.RUNS, Context.LIST),
    (Context.EVALS, Context.RUNS, Context.MATRIX, Context.MARKS, Context.LIST),
    (Context.EVALS, Context.RUNS, Context.DETAIL),
)
"""The contexts of every pane there is, nearest first; tests/console/test_keymap.py holds them against the views'.

Written down and not asked of the views, because `config check` must not load Textual.
"""
_TOGETHER: Final = frozenset(frozenset(pair) for focus in FOCUSES for pair in combinations(focus, 2))
"""Contexts that are live in one focus and so must not share a key."""


def canonical(key: str) -> str | None:
    """Return the name of a key as the terminal reports it, or None when there is no such key."""
    if key in _SYMBOLS:
        return _SYMBOLS[key]
    if key in _NAMED or key == "escape" or re.fullmatch(r"[A-Za-z0-9]", key):
        return key
    if re.fullmatch(r"ctrl\+[a-z]|(ctrl|shift)\+(tab|up|down|left|right|home|end)", key):
        return key
    return None


def _wanted(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def resolve_keymap(overrides: Mapping[str, object]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the usable overrides by action id, and one sentence per entry that is not."""
    usable: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for action_id, value in overrides.items():
        action = BY_ID.get(action_id)
        keys = _wanted(value)
        if action is None:
            near = difflib.get_close_matches(str(action_id), BY_ID, n=1)
            problems.append(
                f"console.keys.{action_id}: no such action" + (f"; did you mean {near[0]}?" if near else "")
            )
        elif action.fixed:
            problems.append(f"console.keys.{action_id}: this key cannot be changed")
        elif keys is None:
            problems.append(f"console.keys.{action_id}: write a key or a list of keys")
        elif bad := [key for key in keys if canonical(key) is None]:
            problems.append(f"console.keys.{action_id}: {bad[0]!r} is not a key (examples: x, X, f5, ctrl+o, enter)")
        elif taken := [key for key in keys if canonical(key) in RESERVED]:
            problems.append(f"console.keys.{action_id}: {taken[0]!r} is reserved")
        else:
            usable[action_id] = tuple(name for key in keys if (name := canonical(key)))
    for text, action_id in _clashes(usable):
        problems.append(f"console.keys.{action_id}: {text}")
        usable.pop(action_id, None)
    return usable, problems


def keymap_problems(overrides: Mapping[str, object]) -> list[str]:
    """Return what is wrong with `console.keys`, for `config check`."""
    return resolve_keymap(overrides)[1]


def _clashes(overrides: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return (sentence, guilty override) for every key two actions of one focus would share."""
    found: list[tuple[str, str]] = []
    for changed, keys in overrides.items():
        for other in ACTIONS:
            if other.id == changed:
                continue
            first, second = BY_ID[changed].context, other.context
            if first is not second and frozenset({first, second}) not in _TOGETHER:
                continue
            if shared := set(keys) & set(overrides.get(other.id, other.keys)):
                found.append((f"{sorted(shared)[0]!r} is already {other.id}", changed))
                break
    return found
