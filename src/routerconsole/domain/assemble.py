"""Making a Registry: indexes, who belongs to which pool, the pools and virtual models that exist by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .capability import ATTRIBUTES, NODE_OF, CapabilityTree, Tri
from .policy import RoutingPolicy
from .pool import Pool, PriceTier, price_tier
from .profile import IMPLICIT_PROFILE, Profile
from .registry import AUTO_POOL, Model, ModelState, Provider, Registry, Tier
from .route import ModelKey


def assemble(
    *,
    version: int,
    policy: RoutingPolicy,
    providers: Iterable[Provider],
    pools: Iterable[Pool] = (),
    tree: CapabilityTree | None = None,
    profiles: Iterable[Profile] = (),
    agents: Mapping[str, str] | None = None,
    assignments: Mapping[str, str] | None = None,
) -> Registry:
    """Build a Registry; `pools` are the configured ones, whose members are worked out here.

    A user's pool beats the automatic one of the same id. Models stand by priority, then as listed.
    """
    tree = tree or CapabilityTree()
    by_name = {provider.name: provider for provider in providers}
    ranked = sorted(by_name.values(), key=lambda provider: provider.priority)
    placed = [
        (provider.priority if model.priority is None else model.priority, model)
        for provider in ranked
        for model in provider.models
    ]
    models = {model.key: model for _, model in sorted(placed, key=lambda item: item[0])}
    by_upstream_id: dict[str, tuple[ModelKey, ...]] = {}
    for key in models:
        by_upstream_id[key.model] = (*by_upstream_id.get(key.model, ()), key)
    shelf = _Shelf(models, by_name)
    words = {word: shelf.having(node) for word, node in _words(tree).items()}
    automatic = [Pool(AUTO_POOL, shelf.pooled, automatic=True)]
    automatic += [Pool(word, keys, node=_words(tree)[word], automatic=True) for word, keys in words.items() if keys]
    own = [replace(pool, members=shelf.members(pool)) for pool in pools]
    return Registry(
        version=version,
        policy=policy,
        tree=tree,
        providers=by_name,
        models=models,
        pools={pool.id: pool for pool in (*automatic, *own)},
        virtual=shelf.virtual(words),
        profiles={profile.id.casefold(): profile for profile in profiles} or _implicit(shelf.pooled),
        agents=agents or {},
        assignments=assignments or {},
        by_upstream_id=by_upstream_id,
    )


def reassemble(registry: Registry, providers: Iterable[Provider]) -> Registry:
    """Build the same registry on changed providers."""
    return assemble(
        version=registry.version,
        policy=registry.policy,
        providers=providers,
        pools=[pool for pool in registry.pools.values() if not pool.automatic],
        tree=registry.tree,
        profiles=[profile for profile in registry.profiles.values() if not profile.implicit],
        agents=registry.agents,
        assignments=registry.assignments,
    )


def virtual_words(tree: CapabilityTree) -> tuple[str, ...]:
    """Return every word that may follow `router/`, whether anybody offers it or not."""
    return (*_words(tree), *(tier.value for tier in Tier), *_PRICES)


def _words(tree: CapabilityTree) -> dict[str, str]:
    shipped = {str(word): node for word, node in NODE_OF.items() if word not in ATTRIBUTES}
    return shipped | dict(tree.aliases)


def _implicit(pooled: tuple[ModelKey, ...]) -> dict[str, Profile]:
    """Where no profile is configured one stands in, on the first model of `auto`."""
    if not pooled:
        return {}
    return {IMPLICIT_PROFILE: Profile(IMPLICIT_PROFILE, pooled[0], default=True, implicit=True)}


_PRICES = {"free": PriceTier.FREE, "local": PriceTier.LOCAL}


class _Shelf:
    """The models of one registry while it is made, each looked at once."""

    def __init__(self, models: Mapping[ModelKey, Model], providers: Mapping[str, Provider]) -> None:
        self._models, self._providers = models, providers
        self.pooled = tuple(key for key, model in models.items() if _joins(model))
        self._tiers = {key: price_tier(models[key], providers[key.provider]) for key in self.pooled}

    def having(self, node: str) -> tuple[ModelKey, ...]:
        """Return the models in pools that have a node or a descendant of it."""
        return tuple(key for key in self.pooled if self._models[key].standing(node).value is Tri.YES)

    def members(self, pool: Pool) -> tuple[ModelKey, ...]:
        """Return a pool's members: those listed, then those of its node, whoever its filter keeps."""
        of_node = () if pool.node is None else self.having(pool.node)
        found = dict.fromkeys((*(key for key in pool.listed if key in self._models), *of_node))
        return tuple(key for key in found if pool.filter.keeps(self._models[key], self._providers[key.provider]))

    def virtual(self, words: Mapping[str, tuple[ModelKey, ...]]) -> dict[str, Pool]:
        """Return the virtual models that have members, by what follows `router/`."""
        groups = dict(words)
        for tier in Tier:
            groups[tier.value] = tuple(key for key in self.pooled if self._models[key].tier is tier)
        found: dict[str, tuple[ModelKey, ...]] = {}
        for word, keys in groups.items():
            found[word] = keys
            for price, wanted in _PRICES.items():
                found[f"{word}/{price}"] = tuple(key for key in keys if self._tiers[key] is wanted)
        for price, wanted in _PRICES.items():
            found[price] = tuple(key for key in self.pooled if self._tiers[key] is wanted)
        return {name: Pool(f"router/{name}", keys, automatic=True) for name, keys in found.items() if keys}


def _joins(model: Model) -> bool:
    return model.in_pools and model.state is not ModelState.WITHDRAWN
