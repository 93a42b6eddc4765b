"""A price table as edits of the models it means: which ones, and which prices stay because somebody wrote them down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.config.prices import NotPrices, read_prices
from routerconsole.control.registry_commands import ApplyEdits, UpdateModel
from routerconsole.domain.visible import visible

from .edits import not_found, refused

if TYPE_CHECKING:
    from routerconsole.control.registry_commands import ImportPrices
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.registry import Model, Registry

_SHOWN = 120


def priced(command: ImportPrices, registry: Registry, overlay: Overlay) -> ApplyEdits:
    """Return the edits an import amounts to; raise ControlError for no table, or one that changes nothing.

    Each model tells where its prices are from: the format, and what the caller named.
    """
    try:
        table = read_prices(command.table)
    except NotPrices as exc:
        raise refused(str(exc)) from exc
    only = None if command.provider is None else command.provider.casefold()
    if only is not None and only not in registry.providers:
        there = ", ".join(sorted(registry.providers)[:20]) or "none"
        raise not_found(f"Provider {visible(only, 100)!r} not found; there are: {there}.")
    told = visible(command.origin, _SHOWN) if command.origin else ""
    source = f"{table.form}: {told}" if told else table.form
    edits: list[UpdateModel] = []
    meant = 0
    for model in registry.models.values():
        if only not in (None, model.provider):
            continue
        price = table.of(model, registry.providers[model.provider], named=only is not None)
        if price is None:
            continue
        meant += 1
        new = {"usd_per_mtok_in": price.per_mtok_in, "usd_per_mtok_out": price.per_mtok_out}
        same = (model.usd_per_mtok_in, model.usd_per_mtok_out) == tuple(new.values())
        if not same and (command.overwrite or _open(model, overlay)):
            edits.append(UpdateModel(model.provider, model.upstream_id, {**new, "price_source": source}))
    if not edits:
        raise refused(_nothing(table.rows, meant, limited=only is not None))
    return ApplyEdits(tuple(edits))


def _open(model: Model, overlay: Overlay) -> bool:
    """Whether a model's prices may be taken from a table: nobody said them, or an earlier table did."""
    if model.free:
        return False
    entry = overlay.entries.get(model.key)
    imported = entry is not None and "price_source" in entry.fields
    return imported or model.usd_per_mtok_in is None or model.usd_per_mtok_out is None


def _nothing(rows: int, meant: int, *, limited: bool) -> str:
    if meant:
        return f"Nothing to change: of the {meant} models the table knows, all have these prices or ones of their own."
    hint = "" if limited else " Name the provider whose ids these are."
    return f"None of the {rows} rows of the table means a model of the registry.{hint}"
