"""Profiles: the chain of models one stands for, which is preferred, and why a request falls back from it.

Whether a model meets a request's needs is the plan's to judge; here is only said who comes in question.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from routerconsole.domain.capability import Word
from routerconsole.domain.errors import ErrorCode, RoutingFailed
from routerconsole.domain.profile import NO_REQUIREMENTS
from routerconsole.domain.registry import AUTO_POOL, ModelState
from routerconsole.domain.trace import Decision

from .resolution import Resolution, ResolvedKind, members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from routerconsole.domain.profile import Profile, Requirements
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import ModelKey, Route

    from .plan import Plan

    Enabled = Callable[[Route | str], bool]
    """Says whether an operator lets a provider or route take requests."""

_INPUTS: Final = {
    Word.VISION: "image input was required",
    Word.VIDEO: "video input was required",
    Word.AUDIO: "audio input was required",
    Word.TOOLS: "tool calling was required",
    Word.PARALLEL_TOOLS: "parallel tool calls were required",
    Word.JSON: "JSON output was required",
    Word.JSON_SCHEMA: "schema-constrained output was required",
    Word.REASONING: "reasoning was required",
    Word.STREAMING: "streaming was required",
    Word.SYSTEM: "a system message was sent",
}


def resolution_of(profile: Profile, registry: Registry, *because: str) -> Resolution:
    """Return what a profile stands for: its own model first, then its fallbacks; the implicit one is pool `auto`.

    What the profile strictly requires holds for its fallbacks too; what a fallback profile requires, for its own model.
    """
    if profile.implicit:
        pool = registry.pools[AUTO_POOL]
        keys = members(pool, registry)
        return Resolution(ResolvedKind.PROFILE, profile.id, keys, pool.capability_policy, pool, because=because)
    links: dict[ModelKey, str] = {}
    requirements: dict[ModelKey, Requirements] = {}
    for key, label, own in _chain(profile, registry, {profile.id.casefold()}):
        if key in registry.models and key not in links:
            links[key] = label
            strict = profile.requirements.with_those_of(own)
            if strict != NO_REQUIREMENTS:
                requirements[key] = strict
    return Resolution(
        ResolvedKind.PROFILE,
        profile.id,
        tuple(links),
        profile=profile,
        because=because,
        links=links,
        requirements=requirements,
    )


def preferred(registry: Registry, tags: tuple[str, ...]) -> list[Profile]:
    """Return the profiles a request without a model may mean: most preferred tags first, then the default one."""
    asked = frozenset(tags)
    matching = [(len(asked.intersection(each.tags)), each) for each in registry.profiles.values()]
    found = [item for item in matching if item[0] or item[1].default]
    found.sort(key=lambda item: (-item[0], not item[1].default))
    return [each for _, each in found]


def problem(profile: Profile, registry: Registry, enabled: Enabled | None = None) -> str:
    """Return why a profile's own model cannot be used, whatever the request; empty where it can."""
    return "" if profile.implicit else out_of_use(profile.model, registry, enabled)


def out_of_use(key: ModelKey, registry: Registry, enabled: Enabled | None = None) -> str:
    """Return why nobody should be sent to a model: unknown, disabled, withdrawn, or a provider that cannot be used.

    `enabled` tells what operators decided of a provider or route; without it the registry's word counts.
    """
    provider, model = registry.providers.get(key.provider), registry.models.get(key)
    if provider is None:
        return f"there is no provider {key.provider!r}"
    if model is None:
        return f"the provider {key.provider!r} has no model {key.model!r}"
    if not (provider.enabled if enabled is None else enabled(key.provider)):
        return f"the provider {key.provider!r} is disabled"
    if not (model.enabled if enabled is None else any(enabled(route) for route in registry.routes(key))):
        return "the model is disabled"
    if model.state is ModelState.WITHDRAWN:
        return f"the provider {key.provider!r} lists it no more"
    if provider.unavailable is not None:
        return provider.unavailable
    stuck = [account.unavailable for account in provider.accounts]
    return stuck[0] if stuck and stuck[0] is not None and all(stuck) else ""


def decided(
    resolution: Resolution,
    registry: Registry,
    planned: Callable[[Resolution], Plan],
    *,
    enabled: Enabled | None = None,
) -> Plan:
    """Return the plan of the first meaning that can serve (the first of all where none can), and say why it is that."""
    decision = first = planned(resolution)
    for other in resolution.otherwise:
        if _serves(decision):
            break
        decision = planned(other)
    if not _serves(decision):
        decision = first
    fallen = tuple(_falling_back(decision, registry, enabled))
    because = (*decision.resolution.because, *fallen)
    if resolution.profile is not None and not decision.candidates:
        told = problem(resolution.profile, registry, enabled)
        error = RoutingFailed(
            ErrorCode.NO_ROUTABLE_CANDIDATE,
            f"The profile {resolution.id!r} cannot be used: {told}.",
            retry_after=None if decision.error is None else decision.error.retry_after,
        )
        return replace(decision, because=because, error=error)
    return replace(decision, because=because, fell_back=bool(fallen)) if because else decision


def _serves(decision: Plan) -> bool:
    return decision.error is None and any(item.candidate.decision is not Decision.SKIPPED for item in decision.ranked)


def _falling_back(decision: Plan, registry: Registry, enabled: Enabled | None) -> Iterator[str]:
    """Say that another than the profile's own model leads, and why."""
    resolution = decision.resolution
    profile = resolution.profile
    if profile is None:
        return
    leading = next((item for item in decision.ranked if item.candidate.decision is not Decision.SKIPPED), None)
    if leading is None or leading.model.key == profile.model:
        return
    why = problem(profile, registry, enabled) or _reasons(decision, profile.model)
    yield f"Falling back from {profile.id!r} to {resolution.links[leading.model.key]!r} because {why}"


def _reasons(decision: Plan, key: ModelKey) -> str:
    """Return what the plan says of a model, a lacking capability as what the request needs."""
    own = (item for item in decision.candidates if (item.route.provider, item.route.model) == key)
    said = dict.fromkeys(reason for item in own for reason in item.reasons)
    return " and ".join(_worded(reason) for reason in said) or "it stands behind"


def _worded(reason: str) -> str:
    word = reason.partition(":")[0]
    known = next((told for each, told in _INPUTS.items() if each.value == word), None)
    return reason if known is None else f"{known} ({reason})"


def _chain(profile: Profile, registry: Registry, seen: set[str]) -> Iterator[tuple[ModelKey, str, Requirements]]:
    """Yield a profile's model, those of its fallback profiles with their own fallbacks, then its fallback models."""
    yield profile.model, profile.id, profile.requirements
    for name in profile.fallback_profiles:
        folded = name.casefold()
        following = registry.profiles.get(folded)
        if following is not None and folded not in seen:
            seen.add(folded)
            yield from _chain(following, registry, seen)
    for key in profile.fallback_models:
        yield key, f"{key.provider}/{key.model}", NO_REQUIREMENTS
