"""Profiles: named views on one model, with what they strictly need and whom they fall back to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .capability import Word
    from .route import ModelKey


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a profile's model must offer; None is no bound."""

    words: tuple[Word, ...] = ()
    min_context_tokens: int | None = None
    min_output_tokens: int | None = None

    def with_those_of(self, other: Requirements) -> Requirements:
        """Return what meets both: every word, and of two minimums the larger."""
        if other == NO_REQUIREMENTS:
            return self
        return Requirements(
            words=tuple(dict.fromkeys((*self.words, *other.words))),
            min_context_tokens=_larger(self.min_context_tokens, other.min_context_tokens),
            min_output_tokens=_larger(self.min_output_tokens, other.min_output_tokens),
        )


NO_REQUIREMENTS = Requirements()


def _larger(one: int | None, two: int | None) -> int | None:
    return two if one is None else one if two is None else max(one, two)


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile. `implicit` is the one that stands in where none is configured; it means pool `auto`."""

    id: str
    model: ModelKey
    default: bool = False
    implicit: bool = False
    tags: tuple[str, ...] = ()
    fallback_profiles: tuple[str, ...] = ()
    fallback_models: tuple[ModelKey, ...] = ()
    requirements: Requirements = field(default_factory=Requirements)


IMPLICIT_PROFILE = "default"
