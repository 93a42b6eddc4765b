"""What lies over the configuration: listings of providers and decisions of operators, and the registry both amount to.

The configuration is never rewritten; every layer stays visible, and taking one away uncovers the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from .assemble import assemble
from .capability import CapabilityTree, Layer, Source
from .fingerprint import differs, merged
from .guess import tier_of
from .listing import WITHDRAWN_AFTER, ListedModel, Listing
from .registry import (
    Limits,
    Model,
    ModelFormat,
    ModelOrigin,
    ModelState,
    Provider,
    ProviderKind,
    Registry,
    Role,
    Tier,
)
from .route import ModelKey

K = TypeVar("K")
V = TypeVar("V")

EDITABLE = frozenset(
    {
        "context_window",
        "constraints",
        "default",
        "default_temperature",
        "delivery",
        "description",
        "display",
        "enabled",
        "exposed",
        "features",
        "format",
        "free",
        "in_pools",
        "limits",
        "max_output_tokens",
        "path",
        "price_source",
        "role",
        "tags",
        "tier",
        "usd_per_mtok_in",
        "usd_per_mtok_out",
    }
)
"""Fields of a model an operator may set; capabilities have their own command, and priorities theirs."""
PRICES = ("usd_per_mtok_in", "usd_per_mtok_out")


@dataclass(frozen=True, slots=True)
class Entry:
    """What operators decided of one model; `fields` holds only what was set, JSON-ready.

    `registered` says they brought it, `removed` that they took it away for good (a tombstone), `capabilities` are
    their own values and the measured ones they accepted. `version` is the optimistic lock.
    """

    key: ModelKey
    version: int = 1
    registered: bool = False
    removed: bool = False
    registered_at: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overlay:
    """All of it, frozen; a change makes a new one."""

    entries: Mapping[ModelKey, Entry] = field(default_factory=dict)
    listings: Mapping[str, Listing] = field(default_factory=dict)
    assignments: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[tuple[str, ...], int] = field(default_factory=dict)  # (provider,) or (provider, model)
    extensions: frozenset[str] = frozenset()
    fingerprints: Mapping[ModelKey, str] = field(default_factory=dict)  # as servers last answered with, per model
    stale_before: float = 0.0  # UTC epoch seconds; what was measured earlier no longer counts


Hints = Callable[[ProviderKind, str, bool], Mapping[str, tuple[Layer, ...]]]
"""What the shipped catalogue and guesses by name say of a model: its layers by node.

The last argument says that configuration or listing declares capabilities of it.
"""


def no_hints(_kind: ProviderKind, _upstream_id: str, _spoken: bool) -> Mapping[str, tuple[Layer, ...]]:
    """Know nothing."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Composed:
    """A registry and what it was made of; the next one is made anew only where something differs."""

    base: Registry
    overlay: Overlay
    registry: Registry
    hints: Hints = no_hints


def compose(base: Registry, overlay: Overlay, *, hints: Hints = no_hints, since: Composed | None = None) -> Registry:
    """Return the registry in force: the configured one with listings and operators' decisions laid over it.

    With `since`, providers nobody decided or listed anything new of are taken over as the objects they were. Measured
    on a busy machine: 5,000 models over 200 providers take 70 ms in full, 5 ms after a change of one.
    """
    known = since if since is not None and since.base is base and since.hints is hints else None
    decided = frozenset(base.providers) if known is None else _decided(known.overlay, overlay)
    touched = decided if known is None else decided | set(_differing(known.overlay.listings, overlay.listings))
    entries: dict[str, list[Entry]] = {name: [] for name in touched}
    for entry in overlay.entries.values():
        if entry.key.provider in entries:
            entries[entry.key.provider].append(entry)
    providers = [
        replace(
            provider,
            priority=overlay.priorities.get((name,), provider.priority),
            quirks=overlay.listings[name].quirks if name in overlay.listings else provider.quirks,
            models=_one_default(
                tuple(
                    _models(
                        provider,
                        overlay,
                        entries=entries[name],
                        hints=hints,
                        since=None if name in decided else known,
                    )
                ),
                overlay,
            ),
        )
        if known is None or name in touched
        else known.registry.providers[name]
        for name, provider in base.providers.items()
    ]
    tree = CapabilityTree(base.tree.extensions | overlay.extensions, base.tree.aliases)
    return assemble(
        version=base.version,
        policy=base.policy,
        providers=providers,
        pools=[pool for pool in base.pools.values() if not pool.automatic],
        tree=base.tree if tree == base.tree else tree,
        profiles=[profile for profile in base.profiles.values() if not profile.implicit],
        agents=base.agents,
        assignments=overlay.assignments,
        since=None if known is None else known.registry,
    )


def _decided(before: Overlay, after: Overlay) -> AbstractSet[str]:
    """Return the providers of which operators decided something else, or of which a measurement may have aged."""
    aged = {
        key.provider
        for key, entry in after.entries.items()
        if before.stale_before != after.stale_before
        and any(layer.source is Source.MEASURED for layers in entry.capabilities.values() for layer in layers)
    }
    return {
        *aged,
        *(key.provider for key in _differing(before.fingerprints, after.fingerprints)),
        *(key.provider for key in _differing(before.entries, after.entries)),
        *(key[0] for key in _differing(before.priorities, after.priorities)),
    }


def _differing(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[K]:
    if before is after:
        return
    for key, value in after.items():
        if before.get(key) is not value:
            yield key
    for key in before:
        if key not in after:
            yield key


def _models(
    provider: Provider, overlay: Overlay, *, entries: Iterable[Entry], hints: Hints, since: Composed | None
) -> Iterator[Model]:
    """Yield a provider's models: the configured ones, then those operators registered, then the listed.

    With `since`, only the listing differs, and a model it says the same of is the object it was.
    """
    listing = overlay.listings.get(provider.name)
    before = None if since is None else since.overlay.listings.get(provider.name)
    kept = {} if since is None or before is None else _by_id(since.registry.providers[provider.name])
    for model in _sources(provider, listing, entries):
        names = _names(provider, model.upstream_id)
        old = kept.get(model.upstream_id)
        if old is not None and listing is not None and before is not None and listing.agrees(before, names):
            yield old
            continue
        entry = overlay.entries.get(model.key)
        if entry is None or not entry.removed:
            told = None if listing is None else listing.told(names)
            spoken = bool(model.layers) or (told is not None and bool(told.capabilities))
            known = hints(provider.kind, model.upstream_id, spoken)
            guessed = replace(model, layers=_merged(known, model.layers)) if known else model
            yield _laid_over(guessed, provider, listing=listing, entry=entry, overlay=overlay)


def _by_id(provider: Provider) -> dict[str, Model]:
    return {model.upstream_id: model for model in provider.models}


def _laid_over(
    model: Model, provider: Provider, *, listing: Listing | None, entry: Entry | None, overlay: Overlay
) -> Model:
    """Lay over a model what its provider lists of it and what operators decided."""
    told = model if listing is None else _told(model, listing, provider)
    decided = told if entry is None else edited(told, _aged(entry, provider, overlay))
    priority = overlay.priorities.get((provider.name, model.upstream_id))
    return decided if priority is None else replace(decided, priority=priority)


def seen(overlay: Overlay, key: ModelKey, names: tuple[str, ...]) -> str:
    """Return what is known of the server behind a model: what it listed last, and what it answered with last."""
    listing = overlay.listings.get(key.provider)
    told = None if listing is None else listing.told(names)
    return merged("" if told is None else told.fingerprint or "", overlay.fingerprints.get(key, ""))


def names_of(provider: Provider, upstream_id: str) -> tuple[str, ...]:
    """Return the ids a model may be listed under, its own first."""
    return _names(provider, upstream_id)


def _aged(entry: Entry, provider: Provider, overlay: Overlay) -> Entry:
    """Mark the measurements that are of another state of the server, or too old."""
    if not any(layer.source is Source.MEASURED for layers in entry.capabilities.values() for layer in layers):
        return entry
    now = seen(overlay, entry.key, _names(provider, entry.key.model))

    def aged(layer: Layer) -> Layer:
        old = (layer.at or 0.0) < overlay.stale_before or differs(layer.fingerprint, now)
        return replace(layer, stale=True) if layer.source is Source.MEASURED and old else layer

    return replace(
        entry,
        capabilities={node: tuple(aged(layer) for layer in layers) for node, layers in entry.capabilities.items()},
    )


def _one_default(models: tuple[Model, ...], overlay: Overlay) -> tuple[Model, ...]:
    """Where an operator named a provider's default model, what the configuration flagged no longer is."""
    chosen = {
        model.upstream_id
        for model in models
        if (entry := overlay.entries.get(model.key)) is not None and entry.fields.get("default") is True
    }
    if not chosen:
        return models
    return tuple(
        replace(model, default=False) if model.default and model.upstream_id not in chosen else model
        for model in models
    )


def _sources(provider: Provider, listing: Listing | None, entries: Iterable[Entry]) -> Iterator[Model]:
    seen: set[str] = set()
    for model in provider.models:
        seen.update(_names(provider, model.upstream_id))
        yield model
    for entry in entries:
        if entry.registered and entry.key.model not in seen:
            seen.update(_names(provider, entry.key.model))
            yield replace(_discovered(provider, entry.key.model), in_pools=True, origin=ModelOrigin.OPERATOR)
    if listing is not None and provider.discovery.register_new:
        for upstream_id in (*listing.models, *listing.missed):
            if upstream_id not in seen:
                seen.add(upstream_id)
                yield _discovered(provider, upstream_id)


def _names(provider: Provider, upstream_id: str) -> tuple[str, ...]:
    """Return the ids a model may be listed under, its own first: at Ollama a missing tag is `:latest`."""
    if provider.kind is not ProviderKind.OLLAMA or ":" in upstream_id.rpartition("/")[2]:
        return (upstream_id,)
    return upstream_id, f"{upstream_id}:latest"


def _discovered(provider: Provider, upstream_id: str) -> Model:
    """A model nobody configured: at a hosted provider it joins no pool until accepted, so that nobody is billed."""
    return Model(
        provider=provider.name,
        upstream_id=upstream_id,
        in_pools=provider.local,
        format=ModelFormat.OLLAMA if provider.kind is ProviderKind.OLLAMA else ModelFormat.API,
        tier=tier_of(upstream_id),
        origin=ModelOrigin.DISCOVERY,
    )


def _told(model: Model, listing: Listing, provider: Provider) -> Model:
    """Add what a listing says, or said when it last had the model: layers, and numbers where nobody wrote any."""
    names = _names(provider, model.upstream_id)
    listed, told = any(name in listing.models for name in names), listing.told(names)
    missed = 0 if listed else max(listing.missed.get(name, 0) for name in names)
    state = ModelState.LIVE
    if missed and provider.discovery.stale_missing:
        state = ModelState.WITHDRAWN if missed >= WITHDRAWN_AFTER else ModelState.STALE
    if told is None:
        return replace(model, listed=listed, state=state)
    layers = {node: (Layer(Source.DISCOVERY, value, listing.at),) for node, value in told.capabilities.items()}
    facts = _numbers(model, told) if told.id in names else {}  # a variant has its base's abilities, not its prices
    return replace(model, listed=listed, state=state, layers=_merged(layers, model.layers), **facts)


_NUMBERS = (
    "context_window",
    "max_output_tokens",
    "usd_per_mtok_in",
    "usd_per_mtok_out",
    "free",
    "display",
    "description",
)


def _numbers(model: Model, told: ListedModel) -> dict[str, Any]:
    """Return the listed facts nobody has written down."""
    found = {name: getattr(told, name) for name in _NUMBERS if getattr(model, name) is None}
    if model.price_source is None and any(found.get(name) is not None for name in PRICES):
        found["price_source"] = "listing"
    return found


def edited(model: Model, entry: Entry) -> Model:
    """Return a model with what operators set of it."""
    values = dict(entry.fields)
    for name, kind in _ENUMS.items():
        if name in values:
            values[name] = kind(values[name])
    if "limits" in values:
        values["limits"] = Limits(**values["limits"])
    for name in ("tags", "delivery", "features", "constraints"):
        if name in values:
            values[name] = tuple(values[name])
    for name in ("context_window", "max_output_tokens"):
        if name in values:
            values[name] = values[name] or None  # 0 says that nobody knows
    if any(name in values for name in PRICES):
        values.setdefault("price_source", "operator")
    return replace(
        model,
        **{name: value for name, value in values.items() if name in _FIELDS},
        layers=_merged(entry.capabilities, model.layers),
        version=entry.version,
        registered_at=entry.registered_at,
    )


_ENUMS: Mapping[str, type[Role] | type[ModelFormat] | type[Tier]] = {"role": Role, "format": ModelFormat, "tier": Tier}
_FIELDS = frozenset(item.name for item in fields(Model)) & EDITABLE


def _merged(
    more: Mapping[str, tuple[Layer, ...]], layers: Mapping[str, tuple[Layer, ...]]
) -> Mapping[str, tuple[Layer, ...]]:
    if not more:
        return layers
    return {
        node: (*more.get(node, ()), *layers.get(node, ())) for node in (*layers, *(n for n in more if n not in layers))
    }
