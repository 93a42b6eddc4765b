"""From the model name a client wrote to the registry keys it may be served by (interface.md §4, `model` resolves)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.registry import AUTO_POOL, ProviderKind
from routerconsole.domain.route import ModelKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from routerconsole.domain.policy import CapabilityPolicy
    from routerconsole.domain.pool import Pool
    from routerconsole.domain.profile import Profile
    from routerconsole.domain.registry import Registry

SHOWN_NAME = 100
"""Characters of an unknown name that are compared and shown back."""
SUGGESTIONS = 3
COMPARED = 300
"""Names compared closely for suggestions; 300 take about 3 ms, and a typo must not hold the loop for longer."""
_LATEST = ":latest"


class ResolvedKind(StrEnum):
    """What a name turned out to be."""

    PROFILE = "profile"
    POOL = "pool"
    VIRTUAL = "virtual"
    CAPABILITY = "capability"
    AGENT = "agent"
    PROVIDER_MODEL = "provider_model"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name stands for: its kind and canonical id, the models as listed, and the pool whose strategy orders them.

    `profile` is the one to be judged by the request's needs, `because` says in words how the name was found.
    """

    kind: ResolvedKind
    id: str
    keys: tuple[ModelKey, ...]
    capability_policy: CapabilityPolicy | None = None
    pool: Pool | None = None
    profile: Profile | None = None
    because: tuple[str, ...] = ()


def resolve(name: str | None, registry: Registry) -> Resolution:
    """Resolve a model name; raise RequestRejected `model_not_found` with up to three suggestions.

    1 omitted: pool `auto` · 2 a pool id, any case · 3 `provider/upstream` or `provider__upstream`, the provider in any
    case · 4 an upstream id alone, at every provider that serves it, by priority.
    """
    if name is None:  # 1
        return _pool(registry.pools[AUTO_POOL], registry)
    pool = registry.pools.get(name) or registry.pools.get(name.casefold())  # 2
    if pool is not None:
        return _pool(pool, registry)
    pinned = _pinned(name, registry)  # 3
    if pinned is not None:
        return Resolution(ResolvedKind.PROVIDER_MODEL, f"{pinned.provider}/{pinned.model}", (pinned,))
    keys = _everywhere(name, registry)  # 4
    if keys:
        return Resolution(ResolvedKind.MODEL, name, keys)
    raise RequestRejected(ErrorCode.MODEL_NOT_FOUND, _not_found(name, registry), param="model")


def _pool(pool: Pool, registry: Registry) -> Resolution:
    """Put a pool's members in the order of its strategy `priority`: provider priority, then as listed."""
    members = pool.members
    if not pool.automatic:  # the automatic one is made in this order
        present = (key for key in members if key in registry.models)
        members = tuple(sorted(present, key=registry.priority))
    return Resolution(ResolvedKind.POOL, pool.id, members, pool.capability_policy, pool)


def _pinned(name: str, registry: Registry) -> ModelKey | None:
    """Return the one model a qualified name means, the longest provider name first where several fit."""
    for provider, upstream in _qualified(name):
        folded = provider.casefold()
        if folded not in registry.providers:
            continue
        for spelling in _spellings(upstream, ollama=registry.providers[folded].kind is ProviderKind.OLLAMA):
            key = ModelKey(folded, spelling)
            if key in registry.models:
                return key
    return None


def _qualified(name: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a name as provider and upstream id; `__` may also be part of either."""
    provider, slash, upstream = name.partition("/")  # no provider name has a slash
    if slash:
        yield provider, upstream
    at = name.rfind("__")
    while at > 0:
        yield name[:at], name[at + 2 :]
        at = name.rfind("__", 0, at + 1)


def _everywhere(name: str, registry: Registry) -> tuple[ModelKey, ...]:
    keys = registry.by_upstream_id.get(name, ())
    asked = {key.provider for key in keys}
    respelled = [
        key
        for spelling in _spellings(name, ollama=True)[1:]
        for key in registry.by_upstream_id.get(spelling, ())
        if key.provider not in asked and registry.providers[key.provider].kind is ProviderKind.OLLAMA
    ]
    if not respelled:
        return keys
    return tuple(sorted((*keys, *respelled), key=registry.priority))


def _spellings(upstream: str, *, ollama: bool) -> tuple[str, ...]:
    """Return the ids a written id may mean, itself first: at Ollama a missing tag is `:latest`, nowhere else."""
    if not ollama:
        return (upstream,)
    if upstream.endswith(_LATEST):
        return upstream, upstream.removesuffix(_LATEST)
    tagged = ":" in upstream.rpartition("/")[2]
    return (upstream,) if tagged else (upstream, upstream + _LATEST)


def _not_found(name: str, registry: Registry) -> str:
    asked = name[:SHOWN_NAME].casefold()
    known: dict[str, str] = {}
    for each in registry.pools:
        known.setdefault(each.casefold(), each)
    for key in registry.models:
        known.setdefault(key.model.casefold(), key.model)
        qualified = f"{key.provider}/{key.model}"
        known.setdefault(qualified.casefold(), qualified)
    near = list(known)
    if len(near) > COMPARED:
        start = asked.rpartition("/")[2][:3]
        near = [each for each in near if start in each][:COMPARED]
    close = difflib.get_close_matches(asked, near, n=SUGGESTIONS, cutoff=0.4)
    listed = ", ".join(known[each] for each in close)
    hint = f" Did you mean {listed}?" if close else " GET /v1/models lists what there is."
    shown = name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…"
    return f"The model {shown!r} is not known here.{hint}"
