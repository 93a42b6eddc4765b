"""What tells one state of a server from another: `name=value` facts it offers, compared only where both sides say them.

The facts are untrusted text, so what could end one is taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

MOST: Final = 80
"""Characters of one value; a digest has 71 with its prefix."""
_BETWEEN, _OR = "; ", "|"


def fingerprint(facts: Mapping[str, Iterable[str]]) -> str:
    """Return facts as one line, in order of their names; those without a value are left out."""
    said = {name: sorted({shown for value in values if (shown := _shown(value))}) for name, values in facts.items()}
    return _BETWEEN.join(f"{name}={_OR.join(values)}" for name, values in sorted(said.items()) if values)


def facts_of(text: str) -> dict[str, frozenset[str]]:
    """Return the facts of such a line."""
    pairs = (item.partition("=") for item in text.split(_BETWEEN) if "=" in item)
    return {name: frozenset(values.split(_OR)) for name, _, values in pairs}


def merged(*texts: str) -> str:
    """Return all facts of several lines; of a fact that several state, the last one's values."""
    return fingerprint({name: values for text in texts for name, values in facts_of(text).items()})


def differs(before: str, now: str) -> bool:
    """Whether a fact both know has no value in common; what only one side says tells nothing."""
    was, is_ = facts_of(before), facts_of(now)
    return any(was[name].isdisjoint(is_[name]) for name in was.keys() & is_.keys())


def _shown(value: str) -> str:
    return "".join(char for char in value[:MOST] if char.isascii() and char.isprintable() and char not in ";|=").strip()
