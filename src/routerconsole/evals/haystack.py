"""Long texts without meaning: filler prose, a sentence buried in it, a transcript with facts spread over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Final

_SUBJECTS: Final = ("The gardener", "A quiet clerk", "The old ferry", "Our neighbour", "The night train", "A small cat")
_VERBS: Final = ("passed", "watched", "described", "avoided", "remembered", "painted", "crossed")
_OBJECTS: Final = ("the stone bridge", "a field of barley", "the closed market", "the harbour wall", "an empty square")
_WHEN: Final = ("before dawn", "in the rain", "after supper", "without a word", "for the third time", "on Tuesday")


def sentences() -> Iterator[str]:
    """Yield sentences for ever; the four lists have lengths without common rhythm, so neighbours differ."""
    for n in count():
        yield (
            f"{_SUBJECTS[n % 6]} {_VERBS[n % 7]} {_OBJECTS[(n // 2) % 5]} {_WHEN[(n // 3) % 6]}, "
            f"and entry {n + 1} of the diary says no more."
        )


def filler(size: int) -> tuple[str, ...]:
    """Return whole sentences of at most `size` characters together, the spaces between them counted."""
    found: list[str] = []
    used = 0
    for sentence in sentences():
        used += len(sentence) + 1
        if used > size:
            break
        found.append(sentence)
    return tuple(found)


def buried(needle: str, *, depth: float, size: int) -> str:
    """Return filler of about `size` characters with the needle between two sentences at `depth` percent."""
    prose = filler(size)
    at = round(len(prose) * depth / 100)
    return " ".join((*prose[:at], needle, *prose[at:]))


def transcript(facts: Sequence[str], *, size: int) -> tuple[str, ...]:
    """Return lines of a conversation of at least `size` characters with the facts spread evenly over it."""
    lines: list[str] = []
    used = 0
    prose = sentences()
    while used < size:
        who = "User" if len(lines) % 2 == 0 else "Assistant"
        line = f"{who}: {' '.join(islice(prose, 2))}"
        lines.append(line)
        used += len(line) + 1
    for n, fact in reversed(list(enumerate(facts))):
        lines.insert(round((n + 0.5) * len(lines) / len(facts)), f"User: Please remember this: {fact}")
    return tuple(lines)
