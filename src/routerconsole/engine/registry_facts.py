"""What is told when a registry takes the place of another, and what operators said of capabilities in its overlay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routerconsole.domain.assemble import pool_changes
from routerconsole.domain.capability import NODE_OF, Source, Word, strongest
from routerconsole.domain.events import EventType, Fact

if TYPE_CHECKING:
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.registry import Model, Registry
    from routerconsole.domain.route import ModelKey

SHOWN = 100
"""Models and capabilities named in one event at most; the counts are of all."""
_WORD_OF = {node: Word(word) for word, node in NODE_OF.items()}


def registry_facts(before: Registry, after: Registry) -> list[Fact]:
    """Return the events of a swap: one for the registry, one per pool with other members, some per capability."""
    old, new = _models_of(before, after), _models_of(after, before)
    added, removed = [key for key in new if key not in old], [key for key in old if key not in new]
    changed = [key for key, model in new.items() if key in old and old[key] is not model and old[key] != model]
    if not (added or removed or changed or _others(before) != _others(after)):
        return []
    facts = [Fact(EventType.REGISTRY_CHANGED, _shown(added, removed, changed=changed) | {"version": after.version})]
    for key in changed[:SHOWN]:
        facts += capability_facts(key, before.models[key], after.models[key])
    for pool, (gained, lost) in pool_changes(before, after).items():
        facts.append(Fact(EventType.POOL_CHANGED, {"pool": pool, **_shown(gained, lost)}))
    return facts


def capability_facts(key: ModelKey, before: Model, after: Model) -> Iterator[Fact]:
    """Yield an event for each node whose own value, or who says it, is another now."""
    for node in dict.fromkeys((*before.layers, *after.layers)):
        old, new = strongest(before.layers.get(node, ())), strongest(after.layers.get(node, ()))
        if (old.value, old.source) != (new.value, new.source):
            source = None if new.source is None else new.source.value
            data = {"provider": key.provider, "model": key.model, "node": node, "before": old.value.value}
            yield Fact(EventType.CAPABILITY_CHANGED, {**data, "value": new.value.value, "source": source})


def spoken(overlay: Overlay) -> Mapping[ModelKey, Mapping[Word, float]]:
    """Return on which words operators spoke, by model, and when (UTC epoch seconds)."""
    found: dict[ModelKey, dict[Word, float]] = {}
    for key, entry in overlay.entries.items():
        for node, layers in entry.capabilities.items():
            word = _WORD_OF.get(node)
            at = max((layer.at or 0.0 for layer in layers if layer.source is Source.OPERATOR), default=None)
            if word is not None and at is not None:
                found.setdefault(key, {})[word] = at
    return found


def _models_of(registry: Registry, other: Registry) -> dict[ModelKey, Model]:
    """Return the models of the providers that are not the very same in another registry."""
    return {
        model.key: model
        for name, provider in registry.providers.items()
        if other.providers.get(name) is not provider
        for model in provider.models
    }


def _others(registry: Registry) -> tuple[object, ...]:
    """Return what a registry holds besides models."""
    providers = [replace(provider, models=()) for provider in registry.providers.values()]
    names = (registry.profiles, registry.agents, registry.assignments)
    return (providers, registry.pools, registry.policy, registry.tree, *names)


def _shown(added: list[ModelKey], removed: list[ModelKey], **more: list[ModelKey]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, keys in {"added": added, "removed": removed, **more}.items():
        data[name] = [f"{key.provider}/{key.model}" for key in keys[:SHOWN]]
        data[f"{name}_total"] = len(keys)
    return data
