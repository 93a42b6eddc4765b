"""Variables: fresh values drawn for each repeat, and `{{name}}` (or `{{name|int}}`, a whole value) filled in.

The dice are handed in, so a run with the same seed asks the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

    from .scenario import VarSection
    from .types import Json

_PLACE = re.compile(r"\{\{\s*([a-z_][a-z0-9_]*)\s*(\|\s*int\s*)?\}\}")
_WORDS: Final = tuple(
    word
    for line in (
        "amber basil cedar delta ember fjord grove heron ivory jasper kelp lotus maple nickel onyx pebble quartz raven",
        "saffron tundra umber velvet willow yarrow zephyr anchor beacon copper dahlia falcon garnet harbor indigo",
    )
    for word in line.split()
)
COLOURS: Final[Mapping[str, tuple[int, int, int]]] = {
    "red": (220, 20, 30),
    "green": (0, 150, 40),
    "blue": (20, 60, 220),
    "yellow": (250, 220, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
"""The six colours of a picture; chosen so that no two are near each other and each has one plain name."""


def draw(variables: Mapping[str, VarSection], rng: Random) -> dict[str, str]:
    """Return a fresh value for each variable; values of one kind differ from each other where they can."""
    drawn: dict[str, str] = {}
    for name, said in variables.items():
        value = _one(said, rng)
        for _ in range(20):
            if value not in drawn.values():
                break
            value = _one(said, rng)
        drawn[name] = value
    return drawn


def _one(said: VarSection, rng: Random) -> str:
    digits = "".join(rng.choice("0123456789") for _ in range(said.length - 1))
    number = rng.choice("123456789") + digits
    if said.kind == "word":
        return rng.choice(_WORDS)
    if said.kind == "word_digits":
        return f"{rng.choice(_WORDS)}-{number}"
    if said.kind == "digits":
        return number
    if said.kind == "hex":
        return "".join(rng.choice("0123456789abcdef") for _ in range(said.length))
    if said.kind == "integer":
        return str(rng.randint(said.min, said.max))
    return rng.choice(said.values if said.kind == "choice" else list(COLOURS))


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its variables filled in; an unknown one stays as it is."""
    return _PLACE.sub(lambda match: variables.get(match[1], match[0]), text)


def fill(value: Json, variables: Mapping[str, str]) -> Json:
    """Return a value with the variables of all its texts filled in; a whole `{{name|int}}` becomes a number."""
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        if whole is not None and whole[2] and whole[1] in variables:
            return int(variables[whole[1]])
        return filled(value, variables)
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        return {filled(key, variables): fill(item, variables) for key, item in value.items()}
    return value


def placeholders(value: Json) -> set[str]:
    """Return the names of all variables a value mentions, keys included."""
    if isinstance(value, str):
        return {match[1] for match in _PLACE.finditer(value)}
    if isinstance(value, list):
        return {name for item in value for name in placeholders(item)}
    if isinstance(value, dict):
        return {name for key, item in value.items() for name in placeholders(key) | placeholders(item)}
    return set()
