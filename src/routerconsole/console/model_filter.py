"""Models by words: each must occur in id, name, tags, role, tier, state, pools or agents; one with a minus must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.registry_views import ModelView


class ModelFilter:
    """The words in force, and what they are looked for in: made once per page of models."""

    def __init__(self) -> None:
        self.words: tuple[str, ...] = ()
        self._models: Sequence[ModelView] = ()
        self._hay: list[str] = []

    def take(self, text: str) -> None:
        """Use the words of a text; none passes everything."""
        self.words = tuple(word for word in text.casefold().split() if word != "-")

    def select(self, models: Sequence[ModelView]) -> list[ModelView]:
        """Return the models that pass, in their order."""
        if not self.words:
            return list(models)
        if self._models is not models:
            self._models, self._hay = models, [_hay(model) for model in models]
        return [model for model, hay in zip(models, self._hay, strict=True) if self._passes(hay)]

    def _passes(self, hay: str) -> bool:
        return all(word[1:] not in hay if word.startswith("-") else word in hay for word in self.words)


def _hay(model: ModelView) -> str:
    words = (
        model.id, model.display or "", model.role, model.tier, model.format, model.state, model.origin,
        "" if model.enabled else "off", "free" if model.free else "", "unserved" if model.served is False else "",
        *model.tags, *model.pools, *model.agents,
    )  # fmt: skip
    return " ".join(words).casefold()
