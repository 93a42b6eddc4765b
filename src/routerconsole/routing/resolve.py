"""From the model name a client wrote to the registry keys it may be served by (interface.md §4, `model` resolves).

Nothing here looks at what a request needs; a profile's fallbacks are named, and left for the plan to judge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError
from routerconsole.domain.registry import AUTO_POOL, ProviderKind
from routerconsole.domain.route import ModelKey

from . import profiles
from .names import names_of, shown, suggestions
from .resolution import Resolution, ResolvedKind, members
from .virtual import capability, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from routerconsole.domain.registry import Registry

    from .profiles import Enabled

__all__ = ["Resolution", "ResolvedKind", "pinned", "resolve", "target"]

_LATEST = ":latest"


def resolve(
    name: str | None,
    registry: Registry,
    *,
    agent: str | None = None,
    tags: tuple[str, ...] = (),
    enabled: Enabled | None = None,
) -> Resolution:
    """Resolve a model name; raise RequestRejected `model_not_found` with up to three suggestions.

    `enabled` tells what operators decided of providers and routes: an agent is not sent where nobody may go.

    0 omitted or `auto` and an agent is named: as assigned, else the agent's own default, else as without it ·
    1 omitted: the profile with most of the preferred tags, else the default one, else pool `auto` · 2 a profile id ·
    3 a pool id · 4 `router/<word>[/free|/local]`, 503 where it has no members · 5 a capability path, word or unique
    leaf name · 6 `provider/upstream` or `provider__upstream` · 7 an upstream id alone, at every provider that serves
    it, by priority · 8 an agent's name · 9 nothing. Profiles, pools, virtual models and providers in any case.
    """
    if agent and (name is None or name.casefold() == AUTO_POOL):  # 0
        return _agent(agent, registry, enabled, default=lambda: resolve(name, registry, tags=tags))
    if name is None:  # 1
        return _omitted(registry, tags)
    found = _named(name, registry)
    if found is not None:  # 2 to 7
        return found
    if name in registry.assignments or name in registry.agents:  # 8
        return _agent(name, registry, enabled, default=lambda: _omitted(registry, tags))
    raise RequestRejected(ErrorCode.MODEL_NOT_FOUND, _not_found(name, registry), param="model")  # 9


def _omitted(registry: Registry, tags: tuple[str, ...]) -> Resolution:
    """Return what no name means; of several profiles with preferred tags the next ones stand by."""
    names = names_of(registry)
    if not tags and None in names.known:
        return names.known[None]
    meant = [
        profiles.resolution_of(each, registry, _why(each.id, tags=tags, default=each.default))
        for each in profiles.preferred(registry, tags)
        if not each.implicit
    ]
    found = replace(meant[0], otherwise=tuple(meant[1:])) if meant else _pool(AUTO_POOL, registry)
    if found is None:
        raise RuntimeError("there is always a pool `auto`")
    return found if tags else names.remember(None, found)


def _why(profile: str, *, tags: tuple[str, ...], default: bool) -> str:
    return f"no model named: {'the default profile' if default and not tags else 'preferred profile'} {profile!r}"


def _named(name: str, registry: Registry) -> Resolution | None:
    """Return what a name means by itself, remembered per registry; None where it is no such name."""
    names = names_of(registry)
    known = names.known.get(name)
    if known is not None:
        return known
    found = (
        _profile(name, registry)  # 2
        or _pool(name, registry)  # 3
        or virtual(name, registry)  # 4
        or capability(name, registry)  # 5
        or pinned(name, registry)  # 6
        or _everywhere(name, registry)  # 7
    )
    return None if found is None else names.remember(name, found)


def _profile(name: str, registry: Registry) -> Resolution | None:
    """Return the profile of a name; the implicit one gives way to a pool the user called the same."""
    profile = registry.profiles.get(name.casefold())
    if profile is None or (profile.implicit and profile.id in registry.pools):
        return None
    return profiles.resolution_of(profile, registry)


def _pool(name: str, registry: Registry) -> Resolution | None:
    """Return the pool of a name, its members in the order of strategy `priority`."""
    pool = names_of(registry).pools.get(name.casefold())
    if pool is None:
        return None
    return Resolution(ResolvedKind.POOL, pool.id, members(pool, registry), pool.capability_policy, pool)


def _agent(agent: str, registry: Registry, enabled: Enabled | None, *, default: Callable[[], Resolution]) -> Resolution:
    """Return where an agent's requests go, saying which level won and why the ones above it did not."""
    because: list[str] = []
    levels = (("assignment", registry.assignments.get(agent)), ("own default", registry.agents.get(agent)))
    for level, wanted in levels:
        if wanted is None:
            because.append(f"{level} of {shown(agent)}: none")
            continue
        found, problem = target(wanted, registry, enabled)
        if found is not None and not problem:
            because.append(f"{level} of {shown(agent)} → {wanted}")
            return replace(found, kind=ResolvedKind.AGENT, because=(*because, *found.because))
        because.append(f"{level} of {shown(agent)} → {wanted} skipped: {problem}")
    fallen = default()
    because.append(f"global default → {fallen.id}")
    return replace(fallen, because=(*because, *fallen.because))


def target(wanted: str, registry: Registry, enabled: Enabled | None = None) -> tuple[Resolution | None, str]:
    """Return what an agent's target means, and why it cannot be used (empty where it can)."""
    try:
        found = _named(wanted, registry)
    except RouterError as exc:
        return None, exc.message.rstrip(".")
    if found is None:
        return None, f"{wanted!r} is not known here"
    problem = "it has no members"
    for place, key in enumerate(found.keys):
        said = profiles.out_of_use(key, registry, enabled)
        if not said:
            return found, ""
        problem = said if place == 0 else problem
    own = "" if found.profile is None else profiles.problem(found.profile, registry, enabled)
    return found, own or problem


def pinned(name: str, registry: Registry) -> Resolution | None:
    """Return the one model a qualified name means, the longest provider name first where several fit."""
    for provider, upstream in _qualified(name):
        folded = provider.casefold()
        if folded not in registry.providers:
            continue
        for spelling in _spellings(upstream, ollama=registry.providers[folded].kind is ProviderKind.OLLAMA):
            key = ModelKey(folded, spelling)
            if key in registry.models:
                return Resolution(ResolvedKind.PROVIDER_MODEL, f"{key.provider}/{key.model}", (key,))
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


def _everywhere(name: str, registry: Registry) -> Resolution | None:
    """Return an upstream id at every provider that serves it, by priority."""
    keys = registry.by_upstream_id.get(name, ())
    asked = {key.provider for key in keys}
    respelled = [
        key
        for spelling in _spellings(name, ollama=True)[1:]
        for key in registry.by_upstream_id.get(spelling, ())
        if key.provider not in asked and registry.providers[key.provider].kind is ProviderKind.OLLAMA
    ]
    if respelled:
        keys = tuple(sorted((*keys, *respelled), key=registry.priority))
    return Resolution(ResolvedKind.MODEL, name, keys) if keys else None


def _spellings(upstream: str, *, ollama: bool) -> tuple[str, ...]:
    """Return the ids a written id may mean, itself first: at Ollama a missing tag is `:latest`, nowhere else."""
    if not ollama:
        return (upstream,)
    if upstream.endswith(_LATEST):
        return upstream, upstream.removesuffix(_LATEST)
    tagged = ":" in upstream.rpartition("/")[2]
    return (upstream,) if tagged else (upstream, upstream + _LATEST)


def _not_found(name: str, registry: Registry) -> str:
    close = suggestions(name, registry)
    hint = f" Did you mean {', '.join(close)}?" if close else " GET /v1/models lists what there is."
    return f"The model {shown(name)} is not known here.{hint}"
