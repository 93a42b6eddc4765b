"""Models that exist by themselves: `router/<word>[/free|/local]`, and every node of the capability tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.domain.assemble import having
from routerconsole.domain.errors import ErrorCode, RequestRejected, RoutingFailed
from routerconsole.domain.pool import Pool
from routerconsole.domain.registry import Tier

from .names import names_of
from .nobody import RECHECK_S
from .resolution import Resolution, ResolvedKind, members

if TYPE_CHECKING:
    from routerconsole.domain.registry import Registry

PREFIXES: Final = ("router/", "router__", "llmproxy/", "llmproxy__")
_PRICE_KEYS: Final = {
    "free": "`free: true` at a provider (`providers[].free`), or prices of 0 at a model "
    "(`providers[].models[].usd_per_mtok_in` and `usd_per_mtok_out`)",
    "local": "`local: true` at a provider (`providers[].local`)",
}
_TIERS: Final = frozenset(tier.value for tier in Tier)


def virtual(name: str, registry: Registry) -> Resolution | None:
    """Return what `router/<word>[/free|/local]` stands for, None where it is no such name.

    Raises RoutingFailed (503) where it has no members, naming the configuration key to fill.
    """
    wanted = canonical(name, registry)
    if wanted is None:
        return None
    pool = names_of(registry).virtual.get(wanted.casefold())
    if pool is None:
        raise _empty(wanted, registry)
    return Resolution(ResolvedKind.VIRTUAL, pool.id, pool.members, pool.capability_policy, pool)


def canonical(name: str, registry: Registry) -> str | None:
    """Return what stands after `router/` in the canonical spelling of a virtual name, None where it is none."""
    folded = name.casefold()
    prefix = next((each for each in PREFIXES if folded.startswith(each)), None)
    if prefix is None:
        return None
    word, _, price = folded.removeprefix(prefix).replace("__", "/").partition("/")
    known = names_of(registry).words.get(word)
    if known is None or price not in ("", *_PRICE_KEYS):
        return None
    return known if price in ("", word) else f"{known}/{price}"


def capability(name: str, registry: Registry) -> Resolution | None:
    """Return what a capability's path, word or unique leaf name stands for: all that have it or a descendant.

    A pool declared for exactly this node is what is meant. None where it is no such name; raises RequestRejected (404)
    for an ambiguous one and RoutingFailed (503) where nobody has it, unless something else bears the name.
    """
    nodes = names_of(registry).nodes.get(name)
    if nodes is None:
        return None
    borne = name in registry.by_upstream_id or name in registry.assignments or name in registry.agents
    if len(nodes) > 1:
        if borne:
            return None
        raise RequestRejected(
            ErrorCode.MODEL_NOT_FOUND,
            f"The model {name!r} is ambiguous; name one of {', '.join(nodes)}.",
            param="model",
        )
    node = nodes[0]
    declared = next((pool for pool in registry.pools.values() if not pool.automatic and pool.node == node), None)
    if declared is not None and declared.members:
        because = (f"the pool {declared.id!r} is declared for {node}",)
        keys, policy = members(declared, registry), declared.capability_policy
        return Resolution(ResolvedKind.CAPABILITY, node, keys, policy, declared, because=because)
    keys = having(registry, node)
    if not keys:
        if borne:
            return None
        raise _nobody(name, f"no model in pools has the capability {node}; {_capability_key(name)}")
    return Resolution(ResolvedKind.CAPABILITY, node, keys, pool=Pool(node, keys, node=node, automatic=True))


def _empty(wanted: str, registry: Registry) -> RoutingFailed:
    """Return the 503 of a virtual model without members: what is missing, and the key to fill."""
    word, _, price = wanted.partition("/")
    id_ = f"router/{wanted}"
    if {word, price} == {"free", "local"}:
        return _nobody(id_, "free never includes local, so no model can be both")
    if price and word.casefold() in names_of(registry).virtual:
        return _nobody(id_, f"none of the members of router/{word} is {price}; set {_PRICE_KEYS[price]}")
    if word in _PRICE_KEYS:
        return _nobody(id_, f"no model in pools is {word}; set {_PRICE_KEYS[word]}")
    if word in _TIERS:
        return _nobody(
            id_, f"no model in pools has the tier {word}; set `tier: {word}` at one (`providers[].models[].tier`)"
        )
    return _nobody(id_, f"no model in pools has the capability {word}; {_capability_key(word)}")


def _capability_key(word: str) -> str:
    return f"add {word!r} to the `capabilities` of one (`providers[].models[].capabilities`)"


def _nobody(name: str, why: str) -> RoutingFailed:
    return RoutingFailed(
        ErrorCode.NO_ROUTABLE_CANDIDATE, f"{name!r} has no members: {why}.", param="model", retry_after=RECHECK_S
    )
