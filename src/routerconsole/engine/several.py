"""Edits of several models as one change: worked out together, joined into one set of parts, and reversed together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import ImportPrices

from .edits import Edit, conflict, refused
from .pricing import priced
from .slots import CAPABILITY, FIELD, Conflict, Parts, reversed_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from routerconsole.control.registry_commands import ApplyEdits
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import ModelKey

    from .edits import Draft

NAMED = 3
"""Models that stand in the target of a change of several."""


def edits_of(
    command: ApplyEdits | ImportPrices, draft: Draft, registry: Registry, overlay: Overlay
) -> tuple[Edit, ...]:
    """Return the edits of a command; a refusal names the model it is about. There may be thousands: not on a loop."""
    if isinstance(command, ImportPrices):
        command = priced(command, registry, overlay)
    edits: list[Edit] = []
    named: set[ModelKey | None] = set()
    for update in command.edits:
        try:
            edit = draft.of(update)
        except ControlError as exc:
            told = f"{update.provider}/{update.model}: {exc.message}"
            raise ControlError(exc.code, told, status=exc.status) from exc
        if edit.key in named:
            raise refused(f"Model {edit.target!r} is named twice; put its fields into one edit.")
        named.add(edit.key)
        edits.append(edit)
    if not edits:
        raise refused("There is nothing to change; name at least one edit.")
    return tuple(edits)


def reversed_edits(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    overlay: Overlay,
    draft: Draft,
    *,
    key_of: Callable[[str], ModelKey],
) -> tuple[Edit, ...]:
    """Return the edits that put the slots of each model back; 409 where any was changed since."""
    edits: list[Edit] = []
    for target, left in after.items():
        key = key_of(target)
        version = draft.next_version(key)
        try:
            parts = reversed_parts(overlay, key, before=before[target], after=left, version=version)
        except Conflict as exc:
            raise conflict(f"This cannot be undone: {exc} of {target} was changed again since.") from exc
        fields, nodes = (
            tuple(name.partition(".")[2] for name in left if name.startswith(f"{kind}."))
            for kind in (FIELD, CAPABILITY)
        )
        edits.append(Edit(target, parts, key, fields, nodes))
    return tuple(edits)


def joined(edits: Iterable[Edit]) -> Edit:
    """Return edits of different models as one that brings all their entries."""
    every = tuple(edits)
    target = ", ".join(edit.target for edit in every[:NAMED]) + (" …" if len(every) > NAMED else "")
    return Edit(target, Parts({key: entry for edit in every for key, entry in edit.parts.entries.items()}))
