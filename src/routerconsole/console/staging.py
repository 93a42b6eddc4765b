"""Edits of models that are prepared and not yet made: which fields of which model, from what to what. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from routerconsole.control.registry_commands import ApplyEdits, UpdateModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.registry_views import ModelView

    from .forms import Json


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one model: what stood there when it was staged, and what shall."""

    model: str
    field: str
    before: Json
    after: Json

    @property
    def key(self) -> str:
        """What it is known by in a list."""
        return f"{self.model} {self.field}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Who a staged model is, and the version that was looked at when its first field was staged."""

    provider: str
    upstream_id: str
    version: int


@dataclass(slots=True)
class Staging:
    """All of them, in the order they were staged. `version` grows with every change here."""

    version: int = 0
    _changes: dict[str, Change] = field(default_factory=dict)
    _seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def changes(self) -> Sequence[Change]:
        """The staged changes."""
        return tuple(self._changes.values())

    @property
    def models(self) -> Sequence[str]:
        """The ids of the models that are changed, in order."""
        return tuple(self._seen)

    def of(self, model: str) -> dict[str, Json]:
        """Return the staged fields of a model."""
        return {each.field: each.after for each in self._changes.values() if each.model == model}

    def seen(self, model: str) -> int | None:
        """Return the version of a model the staged edit was made on."""
        known = self._seen.get(model)
        return None if known is None else known.version

    def stage(self, model: ModelView, fields: Mapping[str, Json]) -> None:
        """Stage fields of a model; one that is as it is now is staged no more."""
        for name, value in fields.items():
            now = current(model, name)
            change = Change(model.id, name, now, value)
            self._changes.pop(change.key, None)
            if value != now:
                self._changes[change.key] = change
        self._settle(model)

    def restage(self, model: ModelView) -> None:
        """Take a model as it is now for the one that was looked at: the staged values shall win."""
        fields = self.of(model.id)
        self._seen.pop(model.id, None)
        self.stage(model, fields)

    def unstage(self, key: str) -> None:
        """Take one change out."""
        change = self._changes.pop(key, None)
        if change is not None:
            self.version += 1
            if not self.of(change.model):
                self._seen.pop(change.model, None)

    def drop(self, model: str) -> None:
        """Take all changes of a model out."""
        for change in self.changes:
            if change.model == model:
                self.unstage(change.key)

    def clear(self) -> None:
        """Take everything out."""
        self._changes.clear()
        self._seen.clear()
        self.version += 1

    def command(self) -> UpdateModel | ApplyEdits | None:
        """Return the one command that makes all of it, None where nothing is staged."""
        updates = [
            UpdateModel(seen.provider, seen.upstream_id, self.of(model), seen.version)
            for model, seen in self._seen.items()
        ]
        if len(updates) < 2:
            return updates[0] if updates else None
        return ApplyEdits(tuple(updates))

    def overtaken(self, models: Mapping[str, ModelView]) -> list[str]:
        """Return the staged models somebody changed or took away since they were looked at."""
        return [
            model
            for model, seen in self._seen.items()
            if (now := models.get(model)) is None or now.version != seen.version
        ]

    def _settle(self, model: ModelView) -> None:
        self.version += 1
        if not self.of(model.id):
            self._seen.pop(model.id, None)
        elif model.id not in self._seen:
            self._seen[model.id] = Seen(model.provider, model.upstream_id, model.version)


def current(model: ModelView, name: str) -> Json:
    """Return a field of a model as JSON has it; of limits only those there are."""
    value = getattr(model, name)
    if name == "limits":
        return {each: figure for each, figure in value.items() if figure is not None} or None
    return list(value) if isinstance(value, tuple) else value
