"""What /v1/models shows: every name a request may use, made from one registry; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.control.views import ModelCard
from routerconsole.domain.capability import NODE_OF, Tri
from routerconsole.routing import names, resolve, virtual

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import ModelKey
    from routerconsole.routing.profiles import Enabled

OURS = "routerconsole"
"""Who owns what is no single provider's."""
MEMBERS = 500
"""Members of a pool looked at for what it can do; the first ones are asked first."""


def cards(registry: Registry, enabled: Enabled) -> Iterator[ModelCard | None]:
    """Yield the models of providers, pools, profiles and virtual models; None for each that is not shown.

    Shown is what is exposed and enabled, and what has a member that is; a name that means two things stands once.
    """
    alive: set[ModelKey] = set()
    for key, model in registry.models.items():
        if _enabled(key, registry, enabled):
            alive.add(key)
            yield ModelCard(_id(key), key.provider) if model.exposed else None
        else:
            yield None
    profiled = {profile.id.casefold() for profile in registry.profiles.values() if not profile.implicit}
    for pool in registry.pools.values():
        shown = pool.id.casefold() not in profiled and not alive.isdisjoint(pool.members)
        yield ModelCard(pool.id, OURS) if shown else None
    for profile in registry.profiles.values():
        yield None if profile.implicit else ModelCard(profile.id, OURS)
    for pool in registry.virtual.values():
        yield None if alive.isdisjoint(pool.members) else ModelCard(pool.id, OURS)


def card(name: str, registry: Registry, enabled: Enabled) -> ModelCard | None:
    """Return the listed one a name means, in the order names resolve, with what it can do by capability word."""
    profile = registry.profiles.get(name.casefold())
    if profile is not None and not profile.implicit:
        return ModelCard(profile.id, OURS, capabilities=_can((profile.model,), registry))
    wanted = virtual.canonical(name, registry)
    index = names.names_of(registry)
    pool = index.pools.get(name.casefold()) if wanted is None else index.virtual.get(wanted.casefold())
    if pool is not None:
        members = [key for key in pool.members if _enabled(key, registry, enabled)]
        return ModelCard(pool.id, OURS, capabilities=_can(members[:MEMBERS], registry)) if members else None
    pinned = resolve.pinned(name, registry)
    if pinned is None:
        return None
    (key,) = pinned.keys
    if not registry.models[key].exposed or not _enabled(key, registry, enabled):
        return None
    return ModelCard(_id(key), key.provider, capabilities=_can((key,), registry))


def _id(key: ModelKey) -> str:
    return f"{key.provider}__{key.model}"


def _enabled(key: ModelKey, registry: Registry, enabled: Enabled) -> bool:
    return enabled(key.provider) and any(enabled(route) for route in registry.routes(key))


def _can(keys: Iterable[ModelKey], registry: Registry) -> Mapping[str, str]:
    """Return the words somebody among these is known to have, and those all of them are known to lack."""
    models = [model for key in keys if (model := registry.models.get(key)) is not None]
    told: dict[str, str] = {}
    for word, node in NODE_OF.items():
        values = {model.standing(node).value for model in models}
        if Tri.YES in values:
            told[str(word)] = Tri.YES.value
        elif values == {Tri.NO}:
            told[str(word)] = Tri.NO.value
    return told
