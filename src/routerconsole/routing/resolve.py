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
    from routerconsole.domain.policy import CapabilityPolicy
    from routerconsole.domain.registry import Registry

MAX_NAME = 512
"""Longest model name considered, in characters; real ids stay under 200."""


class ResolvedKind(StrEnum):
    """What a name turned out to be."""

    POOL = "pool"
    PROVIDER_MODEL = "provider_model"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name stands for: its kind and canonical id, and the models in strategy order."""

    kind: ResolvedKind
    id: str
    keys: tuple[ModelKey, ...]
    capability_policy: CapabilityPolicy | None = None


def resolve(name: str | None, registry: Registry) -> Resolution:
    """Resolve a model name; raise RequestRejected `model_not_found` with up to three suggestions.

    1 omitted -> pool `auto`; 2 exact pool id; 3 `provider/upstream` or `provider__upstream`; 4 an upstream id alone,
    at every provider that serves it.
    """
    if name is None:  # 1
        return _pool(registry, AUTO_POOL)
    if name in registry.pools:  # 2
        return _pool(registry, name)
    folded = name.casefold()
    if folded in registry.pools:
        return _pool(registry, folded)
    pinned = _pinned(name, registry)  # 3
    if pinned is not None:
        return Resolution(ResolvedKind.PROVIDER_MODEL, f"{pinned.provider}/{pinned.model}", (pinned,))
    keys = registry.by_upstream_id.get(name, ())  # 4
    tagged = registry.by_upstream_id.get(f"{name}:latest", ())
    keys += tuple(key for key in tagged if _is_ollama(key, registry))
    if keys:
        return Resolution(ResolvedKind.MODEL, name, keys)
    raise RequestRejected(ErrorCode.MODEL_NOT_FOUND, _not_found(name, registry), param="model")


def _pool(registry: Registry, pool_id: str) -> Resolution:
    pool = registry.pools[pool_id]
    return Resolution(ResolvedKind.POOL, pool.id, pool.members, pool.capability_policy)


def _pinned(name: str, registry: Registry) -> ModelKey | None:
    for separator in ("/", "__"):
        provider, found, upstream = name.partition(separator)
        if not found:
            continue
        folded = provider.casefold()
        if folded not in registry.providers:
            continue
        key, tagged = ModelKey(folded, upstream), ModelKey(folded, f"{upstream}:latest")
        if key in registry.models:
            return key
        if tagged in registry.models and _is_ollama(tagged, registry):
            return tagged
    return None


def _is_ollama(key: ModelKey, registry: Registry) -> bool:
    """At an Ollama provider a missing tag means `:latest`, nowhere else."""
    return registry.providers[key.provider].kind is ProviderKind.OLLAMA


def _not_found(name: str, registry: Registry) -> str:
    known = [
        *registry.pools,
        *(f"{key.provider}/{key.model}" for key in registry.models),
        *(key.model for key in registry.models),
    ]
    close = difflib.get_close_matches(name[:MAX_NAME], dict.fromkeys(known), n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(close)}?" if close else " GET /v1/models lists what there is."
    shown = name if len(name) <= 100 else name[:100] + "…"
    return f"The model {shown!r} is not known here.{hint}"
