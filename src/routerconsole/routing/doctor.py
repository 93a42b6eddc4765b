"""What is wrong with models, pools and profiles as they stand, and what to do about it (capabilities.md §5).

Looks at one registry and the facts it is handed; asks nobody and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from routerconsole.domain.capability import NODE_OF, Tri, Word

from . import gate, profiles
from .resolve import target

if TYPE_CHECKING:
    from routerconsole.domain.pool import Pool
    from routerconsole.domain.profile import Profile
    from routerconsole.domain.registry import Model, Provider, Registry
    from routerconsole.domain.route import ModelKey

    from .profiles import Enabled

NEARLY_FULL: Final = 0.85
"""Share of a context window from which prompts are close to being refused (capabilities.md §5)."""
_MISSING: Final = "missing_secret: "
_MAX_UNKNOWN: Final = 20
"""Names told of one pool; the rest is counted."""


class Level(StrEnum):
    """An error keeps something from working, a warning says what will."""

    ERROR = "ERROR"
    WARN = "WARN"


class Finding(NamedTuple):
    """One line: what it is about, and what is wrong with it and what to do."""

    level: Level
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the registry does not tell: p95 prompt tokens seen per model, what the configuration file gives away.

    `exposed` are places (a dotted path, or the file) with what is wrong there, `enabled` is what operators decided,
    `faults` why an upstream refused a provider whole (its key, its certificate), with where its key comes from,
    `unserved` which weights on disk nobody is known to serve, with what to run.
    """

    prompts: Mapping[ModelKey, float] = field(default_factory=dict)
    exposed: tuple[tuple[str, str], ...] = ()
    enabled: Enabled | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    unserved: Mapping[ModelKey, str] = field(default_factory=dict)


NO_FACTS: Final = Facts()


def models_doctor(registry: Registry, facts: Facts = NO_FACTS) -> tuple[Finding, ...]:
    """Return what is wrong with providers, models, pools, profiles and assignments: errors first, none twice."""
    found = (*_common(registry, facts), *_pools(registry, facts), *_profiles(registry, facts))
    return _sorted((*found, *_agents(registry, facts)))


def profiles_doctor(registry: Registry, facts: Facts = NO_FACTS) -> tuple[Finding, ...]:
    """Return what is wrong with profiles, agents and what they stand on: errors first, none twice."""
    return _sorted((*_common(registry, facts), *_profiles(registry, facts), *_agents(registry, facts)))


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(set(found), key=lambda each: (each.level is not Level.ERROR, each.subject, each.message)))


# --- what both tell


def _common(registry: Registry, facts: Facts) -> Iterator[Finding]:
    yield from _nowhere_to_go(registry, facts)
    for provider in registry.providers.values():
        if provider.enabled if facts.enabled is None else facts.enabled(provider.name):
            yield from _provider(provider)
            if provider.name in facts.faults:
                yield Finding(Level.WARN, f"provider {provider.name}", f"is refused: {facts.faults[provider.name]}")
    for where, what in facts.exposed:
        if not what.startswith(_MISSING):  # told of the provider itself
            yield Finding(Level.WARN, where, what)
    for key, told in facts.unserved.items():
        yield Finding(Level.WARN, f"model {_name(key)}", told)
    for key, tokens in facts.prompts.items():
        model = registry.models.get(key)
        if model is not None and model.context_window and tokens >= NEARLY_FULL * model.context_window:
            share = tokens / model.context_window
            yield Finding(
                Level.WARN,
                f"model {_name(key)}",
                f"p95 prompt of {tokens:.0f} tokens is {share:.0%} of its context window ({model.context_window}); "
                "longer ones go elsewhere or are refused: raise `context_window` or name a larger fallback",
            )


def _nowhere_to_go(registry: Registry, facts: Facts) -> Iterator[Finding]:
    if not registry.providers:
        yield Finding(
            Level.ERROR,
            "router",
            "no route: no provider is configured (write `providers`, or run `routerconsole config init`)",
        )
    elif not registry.models:
        yield Finding(
            Level.ERROR,
            "router",
            "no route: no provider has a model (write `providers[].models`, or let one be listed)",
        )
    elif all(profiles.out_of_use(key, registry, facts.enabled) for key in registry.models):
        yield Finding(Level.ERROR, "router", "no route: every model is disabled or its provider cannot be used")


def _provider(provider: Provider) -> Iterator[Finding]:
    reasons = [] if provider.unavailable is None else [(f"provider {provider.name}", provider.unavailable)]
    for account in provider.accounts:
        if account.unavailable is not None and account.unavailable != provider.unavailable:
            name = f"provider {provider.name}" + (f", account {account.name}" if account.name else "")
            reasons.append((name, account.unavailable))
    for subject, reason in reasons:
        if reason.startswith(_MISSING):
            wanted = reason.removeprefix(_MISSING)
            yield Finding(
                Level.WARN, subject, f"{reason}: the secret is not resolved; set {wanted.split()[0]}, or disable it"
            )
        else:
            yield Finding(Level.WARN, subject, f"cannot be used: {reason}")


def _agents(registry: Registry, facts: Facts) -> Iterator[Finding]:
    for what, agents in (("assignment", registry.assignments), ("agents", registry.agents)):
        for agent, wanted in agents.items():
            found, problem = target(wanted, registry, facts.enabled)
            if problem:
                level = Level.ERROR if found is None else Level.WARN
                yield Finding(level, f"agent {agent}", f"{what} → {wanted}: {problem}; the next level answers instead")


# --- pools and profiles


def _pools(registry: Registry, facts: Facts) -> Iterator[Finding]:
    for pool in registry.pools.values():
        if pool.automatic:
            continue
        subject = f"pool {pool.id}"
        yield from _unknown_members(pool, registry, facts)
        if all(profiles.out_of_use(key, registry, facts.enabled) for key in pool.members):
            why = "none of its members can be used" if pool.members else "it has no members"
            yield Finding(Level.ERROR, subject, f"no route: {why}{'' if pool.members else _to_fill(pool.node)}")
        for key in pool.listed if pool.node is not None else ():
            model = registry.models.get(key)
            if model is None or pool.node is None:
                continue
            standing = model.standing(pool.node)
            if standing.value is Tri.NO:
                level = Level.ERROR if standing.hard_no else Level.WARN
                yield Finding(level, subject, f"member {_name(key)} lacks {pool.node}: no ({standing.source})")


def _unknown_members(pool: Pool, registry: Registry, facts: Facts) -> Iterator[Finding]:
    """Tell members nobody knows: an error, or a warning where a listing may still bring them."""
    unknown = [key for key in pool.listed if key not in registry.models]
    for key in unknown[:_MAX_UNKNOWN]:
        name = _name(key)
        provider = registry.providers.get(key.provider)
        awaited = provider is not None and provider.discovery.enabled
        if not awaited:
            told = f"unknown reference: member {name} is neither declared nor listed by its provider"
            yield Finding(Level.ERROR, f"pool {pool.id}", told)
        elif not any(name in what for _, what in facts.exposed):
            told = f"member {name} has no route until its provider lists it"
            yield Finding(Level.WARN, f"pool {pool.id}", told)


def _to_fill(node: str | None) -> str:
    if node is None:
        return " (fill `pools[].members`)"
    return f" (no model in pools has {node}: fill `providers[].models[].capabilities`, or `pools[].members`)"


def _profiles(registry: Registry, facts: Facts) -> Iterator[Finding]:
    explicit = [profile for profile in registry.profiles.values() if not profile.implicit]
    flagged = [profile.id for profile in explicit if profile.default]
    for extra in flagged[1:]:
        yield Finding(Level.ERROR, f"profile {extra}", f"a second default beside {flagged[0]!r} (keep one)")
    for profile in explicit:
        yield from _profile(profile, registry, facts)


def _profile(profile: Profile, registry: Registry, facts: Facts) -> Iterator[Finding]:
    subject = f"profile {profile.id}"
    broken = profiles.problem(profile, registry, facts.enabled)
    if broken:
        yield Finding(Level.ERROR, subject, f"broken: {broken}")
    for name in profile.fallback_profiles:
        if name.casefold() not in registry.profiles:
            yield Finding(Level.ERROR, subject, f"unknown reference: fallback profile {name!r}")
        elif profile.id.casefold() in _reachable(name, registry):
            yield Finding(Level.ERROR, subject, f"its fallback {name!r} leads back to it (remove one)")
    for key in profile.fallback_models:
        if key not in registry.models:
            yield Finding(Level.ERROR, subject, f"unknown reference: fallback model {_name(key)}")
    chain = profiles.resolution_of(profile, registry)
    if all(profiles.out_of_use(key, registry, facts.enabled) for key in chain.keys):
        yield Finding(Level.ERROR, subject, "no route: neither its model nor a fallback can be used")
    yield from _requirements(profile, registry, chain.keys)
    model, provider = registry.models.get(profile.model), registry.providers.get(profile.model.provider)
    local = provider is not None and provider.local
    if local and model is not None and _calls_tools(profile, model) and len(chain.keys) < 2:
        yield Finding(
            Level.WARN,
            subject,
            "calls tools on a local model and has no fallback (add `fallback_profiles` or `fallback_models`)",
        )


def _requirements(profile: Profile, registry: Registry, keys: Iterable[ModelKey]) -> Iterator[Finding]:
    """Tell each requirement of a profile that no model of its chain meets."""
    lacks: list[dict[str, str]] = []
    for key in keys:
        model = registry.models[key]
        lacks.append(dict(gate.short_of(gate.offer(model), profile.requirements, gaps=())))
    if not lacks:
        return
    for item in lacks[0]:
        if all(item in each for each in lacks):
            yield Finding(
                Level.WARN, f"profile {profile.id}", f"no candidate meets its requirement {item}: {lacks[0][item]}"
            )


def _calls_tools(profile: Profile, model: Model) -> bool:
    return Word.TOOLS in profile.requirements.words or model.standing(NODE_OF[Word.TOOLS]).value is Tri.YES


def _reachable(name: str, registry: Registry) -> set[str]:
    """Return the profiles a fallback leads to, itself included."""
    found: set[str] = set()
    ahead = [name.casefold()]
    while ahead:
        at = ahead.pop()
        profile = registry.profiles.get(at)
        if profile is not None and at not in found:
            found.add(at)
            ahead += [each.casefold() for each in profile.fallback_profiles]
    return found


def _name(key: ModelKey) -> str:
    return f"{key.provider}/{key.model}"
