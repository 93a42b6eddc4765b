"""Making a Registry: indexes, who belongs to which pool, the pools and virtual models that exist by themselves.

What is worked out of one model is kept with it (`Facts`), so that the next registry looks only at what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .capability import ATTRIBUTES, NODE_OF, CapabilityTree, Tri, strongest
from .policy import RoutingPolicy
from .pool import Pool, PriceTier, price_tier
from .profile import IMPLICIT_PROFILE, Profile
from .registry import AUTO_POOL, Facts, Model, ModelState, Provider, Registry, Tier
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
    since: Registry | None = None,
) -> Registry:
    """Build a Registry; `pools` are the configured ones, whose members are worked out here.

    A user's pool beats the automatic one of the same id. Models stand by priority, then as listed. What `since` knows
    of a model that is the very same object is not worked out again.
    """
    tree = tree or CapabilityTree()
    by_name = {provider.name: provider for provider in providers}
    shelf = _Shelf(by_name, _words(tree), since)
    automatic = [Pool(AUTO_POOL, shelf.pooled, automatic=True)]
    automatic += [
        Pool(word, shelf.groups[word], node=node, automatic=True)
        for word, node in _words(tree).items()
        if word in shelf.groups
    ]
    own = [replace(pool, members=shelf.members(pool)) for pool in pools]
    return Registry(
        version=version,
        policy=policy,
        tree=tree,
        providers=by_name,
        models={key: facts.model for key, facts in shelf.facts.items()},
        pools={pool.id: pool for pool in (*automatic, *own)},
        virtual={name: Pool(f"router/{name}", keys, automatic=True) for name, keys in shelf.groups.items()},
        profiles={profile.id.casefold(): profile for profile in profiles} or _implicit(shelf.pooled),
        agents=agents or {},
        assignments=assignments or {},
        by_upstream_id=shelf.by_upstream_id,
        facts=shelf.facts,
        shelves=shelf.shelves,
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
        since=registry,
    )


def virtual_words(tree: CapabilityTree) -> tuple[str, ...]:
    """Return every word that may follow `router/`, whether anybody offers it or not."""
    return (*_words(tree), *(tier.value for tier in Tier), *_PRICES)


def having(registry: Registry, node: str) -> tuple[ModelKey, ...]:
    """Return the models in pools that have a node or a descendant of it, by priority."""
    return tuple(key for key, facts in registry.facts.items() if facts.joins and node in facts.nodes)


def pool_changes(before: Registry, after: Registry) -> dict[str, tuple[list[ModelKey], list[ModelKey]]]:
    """Return what each pool gained and lost, the pools whose members are the same left out."""
    changes: dict[str, tuple[list[ModelKey], list[ModelKey]]] = {}
    for pool_id in {**before.pools, **after.pools}:
        was, now = before.pools.get(pool_id), after.pools.get(pool_id)
        old, new = () if was is None else was.members, () if now is None else now.members
        if old == new:
            continue
        gone, come = set(old).difference(new), set(new).difference(old)
        if gone or come:
            changes[pool_id] = ([key for key in new if key in come], [key for key in old if key in gone])
    return changes


def _words(tree: CapabilityTree) -> dict[str, str]:
    shipped = {str(word): node for word, node in NODE_OF.items() if word not in ATTRIBUTES}
    return shipped | dict(tree.aliases)


def _implicit(pooled: tuple[ModelKey, ...]) -> dict[str, Profile]:
    """Where no profile is configured one stands in, on the first model of `auto`."""
    if not pooled:
        return {}
    return {IMPLICIT_PROFILE: Profile(IMPLICIT_PROFILE, pooled[0], default=True, implicit=True)}


_PRICES = {"free": PriceTier.FREE, "local": PriceTier.LOCAL}
_PRICE_WORD = {price: word for word, price in _PRICES.items()}


class _Shelf:
    """The models of one registry while it is made, by priority, each looked at once."""

    def __init__(self, providers: Mapping[str, Provider], words: Mapping[str, str], since: Registry | None) -> None:
        self._providers, self._words = providers, words
        known: Mapping[ModelKey, Facts] = {} if since is None else since.facts
        self.shelves = {
            name: tuple(_facts(model, provider, known) for model in provider.models)
            if since is None or since.providers.get(name) is not provider
            else since.shelves[name]
            for name, provider in providers.items()
        }
        changed = None if since is None else self._changed(since)
        if since is None or changed is None:
            self.facts = self._placed()
            self.pooled = tuple(key for key, facts in self.facts.items() if facts.joins)
            self.groups = self._groups(None, {})
            self.by_upstream_id = self._by_upstream_id()
        else:
            self.facts = {**since.facts, **{facts.key: facts for facts in changed}}
            self.pooled = tuple(key for key, facts in self.facts.items() if facts.joins)
            moved = {name for facts in changed for name in {*self._of(facts)} ^ {*self._of(since.facts[facts.key])}}
            self.groups = self._groups(moved, since.virtual)
            self.by_upstream_id = since.by_upstream_id

    def _placed(self) -> dict[ModelKey, Facts]:
        """Return all models by priority, then as listed."""
        placed = [
            (provider.priority if facts.model.priority is None else facts.model.priority, facts)
            for provider in sorted(self._providers.values(), key=lambda provider: provider.priority)
            for facts in self.shelves[provider.name]
        ]
        placed.sort(key=lambda item: item[0])
        return {facts.key: facts for _, facts in placed}

    def _changed(self, since: Registry) -> list[Facts] | None:
        """Return the models that are not as they were; None where any came, went or moved, or words mean others."""
        if list(self._providers) != list(since.providers) or self._words != _words(since.tree):
            return None
        changed: list[Facts] = []
        for name, provider in self._providers.items():
            before = since.providers[name]
            if before is provider:
                continue
            was, now = since.shelves[name], self.shelves[name]
            if before.priority != provider.priority or len(was) != len(now):
                return None
            for old, new in zip(was, now, strict=True):
                if old is not new:
                    if (old.key, old.model.priority) != (new.key, new.model.priority):
                        return None
                    changed.append(new)
        return changed

    def members(self, pool: Pool) -> tuple[ModelKey, ...]:
        """Return a pool's members: those listed, then those of its node, whoever its filter keeps."""
        facts, node = self.facts, pool.node
        of_node = () if node is None else [key for key in self.pooled if node in facts[key].nodes]
        found = dict.fromkeys((*(key for key in pool.listed if key in facts), *of_node))
        return tuple(key for key in found if pool.filter.keeps(facts[key].model, self._providers[key.provider]))

    def _by_upstream_id(self) -> Mapping[str, tuple[ModelKey, ...]]:
        found: dict[str, list[ModelKey]] = {}
        for key in self.facts:
            found.setdefault(key.model, []).append(key)
        return {name: tuple(keys) for name, keys in found.items()}

    def _groups(self, moved: set[str] | None, known: Mapping[str, Pool]) -> dict[str, tuple[ModelKey, ...]]:
        """Return the models in pools by what follows `router/`: word, tier, price, and both; nobody's are left out.

        With `moved` only those are worked out, the others are as `known`.
        """
        names: dict[tuple[frozenset[str], Tier, PriceTier], tuple[str, ...]] = {}
        found: dict[str, list[ModelKey]] = {}
        for key in self.pooled if moved is None or moved else ():
            facts = self.facts[key]
            kind = (facts.nodes, facts.model.tier, facts.price)
            groups = names.get(kind)
            if groups is None:  # thousands of models are of few kinds
                groups = names[kind] = tuple(name for name in self._names(*kind) if moved is None or name in moved)
            for name in groups:
                if name in found:
                    found[name].append(key)
                else:
                    found[name] = [key]
        bases = (*self._words, *(tier.value for tier in Tier))
        order = (*(name for base in bases for name in (base, *(f"{base}/{price}" for price in _PRICES))), *_PRICES)
        made = {name: tuple(keys) for name, keys in found.items()}
        if moved is not None:
            made |= {name: pool.members for name, pool in known.items() if name not in moved}
        return {name: made[name] for name in order if name in made}

    def _of(self, facts: Facts) -> tuple[str, ...]:
        """Return the groups one model is in."""
        return self._names(facts.nodes, facts.model.tier, facts.price) if facts.joins else ()

    def _names(self, nodes: frozenset[str], tier: Tier, price: PriceTier) -> tuple[str, ...]:
        own = (*(word for word, node in self._words.items() if node in nodes), tier.value)
        word = _PRICE_WORD.get(price)
        return own if word is None else (*own, *(f"{name}/{word}" for name in own), word)


def _facts(model: Model, provider: Provider, known: Mapping[ModelKey, Facts]) -> Facts:
    key = model.key
    facts = known.get(key)
    if facts is not None and facts.model is model and facts.priced == (provider.local, provider.free):
        return facts
    return Facts(
        key=key,
        model=model,
        joins=model.in_pools and model.exposed and model.state is not ModelState.WITHDRAWN,
        nodes=_nodes(model),
        price=price_tier(model, provider),
        priced=(provider.local, provider.free),
    )


def _nodes(model: Model) -> frozenset[str]:
    """Return every node a model has: those it says yes of, and all above them."""
    found: set[str] = set()
    for path, layers in model.layers.items():
        if strongest(layers).value is Tri.YES:
            while path and path not in found:
                found.add(path)
                path = path.rpartition(".")[0]  # noqa: PLW2901 - the walk to the root
    return _same(frozenset(found))


_KINDS: dict[frozenset[str], frozenset[str]] = {}
_MAX_KINDS = 4096


def _same(nodes: frozenset[str]) -> frozenset[str]:
    """Return the one object for equal sets, so that comparing two of them is comparing two addresses."""
    if len(_KINDS) > _MAX_KINDS:
        _KINDS.clear()
    return _KINDS.setdefault(nodes, nodes)
