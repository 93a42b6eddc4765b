"""What operators see of registry, capabilities, profiles and assignments; reads everything, changes nothing.

Thousands of models take a while, so every view of many is made in slices that let requests have their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from routerconsole.config.weights import WeightsError, read_header, weights_path
from routerconsole.control.port import ControlError, Scope
from routerconsole.control.registry_views import (
    Assignment,
    Finding,
    ModelPage,
    ModelQuery,
    ModelView,
    NodeModel,
    NodeView,
    ProfileView,
)
from routerconsole.domain.capability import NODE_OF, Tri, UnknownCapability, standing
from routerconsole.domain.registry import ModelFormat, Role
from routerconsole.domain.route import ModelKey
from routerconsole.routing.doctor import Facts, models_doctor, profiles_doctor
from routerconsole.routing.profiles import problem

from .model_views import LearnedGap, in_force, model_view, unserved

if TYPE_CHECKING:
    from routerconsole.control.views import RequestRow
    from routerconsole.domain.capability import Layer, Standing
    from routerconsole.domain.profile import Profile
    from routerconsole.domain.registry import Model, Registry

    from .service import Service

T = TypeVar("T")

SLICE = 50
"""Models looked at in one go; measured: 60 µs each with a dozen layers."""
POOLS_SLICE = 5_000
"""Pool members looked at in one go."""
ENOUGH_PROMPTS = 5
"""Requests a model must have served before their length says something."""
_ROLES = tuple(role.value for role in Role)
_FILES = frozenset({ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.HF})


@dataclass(slots=True)
class _Node:
    """A node while its models are counted."""

    total: int = 0
    routable: int = 0
    models: list[NodeModel] = field(default_factory=list)


class Catalogue:
    """Builds the views over one service; each call sees one registry from start to end."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def models(self, query: ModelQuery) -> ModelPage:
        """Return the models that pass the filters, by priority; raise ControlError for a role or node there is not."""
        registry = self._service.registry
        if query.role is not None and query.role not in _ROLES:
            raise ControlError("invalid_request", f"Invalid role {query.role!r}; choose one of: {', '.join(_ROLES)}.")
        node = None if query.capability is None else self.node(query.capability)
        provider = None if query.provider is None else query.provider.casefold()
        pools, agents = await self._pools(registry), _agents(registry)
        found: list[ModelView] = []
        async for key, model in _slowly(registry.models.items(), SLICE):
            if provider not in (None, key.provider) or query.role not in (None, model.role.value):
                continue
            gaps = self._gaps(registry, key)
            if node is not None and self._standing(registry, key, gaps, node).value is not Tri.YES:
                continue
            found.append(
                model_view(
                    model,
                    registry.providers[key.provider],
                    gaps=gaps,
                    offers=self._service.discovery.measurements.offers(key),
                    pools=pools.get(key, ()),
                    agents=agents.get(key, ()),
                    scores=self._service.scores,
                    worker=self._service.weights.note(model, registry.providers[key.provider]),
                    root=self._weights_dir,
                )
            )
        return ModelPage(tuple(found), len(found), self._weights_dir)

    async def model(self, provider: str, model: str) -> ModelView | None:
        """Return one model with its weights' header, None where there is no such."""
        registry = self._service.registry
        key = ModelKey(provider.casefold(), model)
        found = registry.models.get(key)
        if found is None:
            return None
        return model_view(
            found,
            registry.providers[key.provider],
            gaps=self._gaps(registry, key),
            offers=self._service.discovery.measurements.offers(key),
            pools=[pool.id for pool in registry.pools.values() if key in pool.members],
            agents=_agents(registry).get(key, ()),
            header=await self._header(found),
            scores=self._service.scores,
            worker=self._service.weights.note(found, registry.providers[key.provider]),
            root=self._weights_dir,
        )

    def node(self, name: str) -> str:
        """Return the node a word, path or unique leaf name stands for; raise ControlError with the nearest names."""
        try:
            return self._service.registry.tree.resolve(name)
        except UnknownCapability as exc:
            raise ControlError("invalid_request", f"{exc}.") from exc

    async def nodes(self) -> tuple[NodeView, ...]:
        """Return the whole tree, and the attributes beside it, each with the models that say yes or no of it."""
        registry = self._service.registry
        tree = registry.tree
        counted = {path: _Node() for path in (*sorted(tree.nodes), *sorted(set(NODE_OF.values()) - tree.nodes))}
        async for key in _slowly(registry.models, SLICE):
            gaps = self._gaps(registry, key)
            layers = in_force(registry.models[key], gaps, len(registry.providers[key.provider].accounts))
            routable = self._routable(registry, key)
            said: dict[Standing, NodeModel] = {}  # most nodes of a model say the same
            for path in dict.fromkeys(above for node in layers for above in _upwards(node)):
                found = standing(layers, path)
                if found.value is Tri.UNKNOWN or path not in counted:
                    continue
                node, same = counted[path], replace(found, evidence="")
                if same not in said:
                    source = None if found.source is None else found.source.value
                    said[same] = NodeModel(key.provider, key.model, found.value.value, source)
                node.models.append(said[same])
                if found.value is Tri.YES:
                    node.total += 1
                    node.routable += routable
        aliases: dict[str, list[str]] = {}
        for word, path in (*((str(word), path) for word, path in NODE_OF.items()), *tree.aliases.items()):
            aliases.setdefault(path, []).append(word)
        return tuple(
            NodeView(
                path=path,
                aliases=tuple(aliases.get(path, ())),
                extension=path in tree.extensions,
                total=node.total,
                routable=node.routable,
                models=tuple(node.models),
            )
            for path, node in counted.items()
        )

    def profiles(self) -> tuple[ProfileView, ...]:
        """Return every profile, each with why it cannot be used now, if so."""
        return tuple(self._profile(profile) for profile in self._service.registry.profiles.values())

    def doctor(self, scope: Scope, rows: Sequence[RequestRow]) -> tuple[Finding, ...]:
        """Return what is wrong, errors first; `rows` of the log tell how long prompts are."""
        service = self._service
        warnings, enabled = service.loaded.warnings, service.board.enabled
        registry = service.registry
        nobody = service.weights.refused(registry) | unserved(registry, self._weights_dir)
        said = (*nobody.values(), *(each.unavailable or "" for each in registry.providers.values()))
        told = tuple((where, what) for where, what in warnings if not any(what in each for each in said))
        facts = Facts(_prompts(rows), told, enabled, self._faults(), nobody)
        look = models_doctor if scope == "models" else profiles_doctor
        found = look(registry, facts)
        return tuple(Finding(each.level.value, each.subject, each.message) for each in found)

    def _faults(self) -> dict[str, str]:
        """Return why providers are refused as a whole, each with where its key comes from."""
        service = self._service
        now = service.clock.monotonic()
        shown = service.loaded.shown.get("providers") or ()
        keys = {str(each.get("name")).casefold(): each.get("credential") for each in shown}
        found: dict[str, str] = {}
        for name in service.registry.providers:
            fault = service.board.fault(name, now)
            if fault is not None:
                found[name] = f"{fault}; its key is {keys[name]}" if keys.get(name) else fault
        return found

    def assignments(self) -> tuple[Assignment, ...]:
        """Return what operators assigned, by agent."""
        return tuple(Assignment(agent, model) for agent, model in sorted(self._service.registry.assignments.items()))

    @property
    def _weights_dir(self) -> str | None:
        section = self._service.loaded.shown.get("registry") or {}
        found: str | None = section.get("weights_dir")
        return found

    async def _pools(self, registry: Registry) -> Mapping[ModelKey, Sequence[str]]:
        """Return the pools of every model that is in one."""
        found: dict[ModelKey, list[str]] = {}
        members = ((key, pool.id) for pool in registry.pools.values() for key in pool.members)
        async for key, pool in _slowly(members, POOLS_SLICE):
            found.setdefault(key, []).append(pool)
        return found

    def _gaps(self, registry: Registry, key: ModelKey) -> list[LearnedGap]:
        """Return what the routes of a model were learned to lack; one taken out meanwhile has learned nothing."""
        board, clock = self._service.board, self._service.clock
        now = clock.monotonic()
        found: list[LearnedGap] = []
        for route in registry.routes(key):
            learned = board.lessons(route, now)
            if learned:
                ago = clock.wall() - now
                found += [
                    LearnedGap(NODE_OF[word], route.account, gap.at + ago, gap.expires + ago, gap.evidence, counts)
                    for word, gap, counts in learned
                ]
        return found

    @staticmethod
    def _standing(registry: Registry, key: ModelKey, gaps: Sequence[LearnedGap], node: str) -> Standing:
        layers: Mapping[str, tuple[Layer, ...]] = in_force(
            registry.models[key], gaps, len(registry.providers[key.provider].accounts)
        )
        return standing(layers, node)

    def _routable(self, registry: Registry, key: ModelKey) -> bool:
        """Whether any route of a model may be asked now."""
        now = self._service.clock.monotonic()
        return any(self._service.board.refusal(route, now) is None for route in registry.routes(key))

    async def _header(self, model: Model) -> Mapping[str, str | int | None]:
        """Return what a model's weights say of themselves; what cannot be read says so instead."""
        if model.path is None or model.format not in _FILES:
            return {}
        try:
            place = weights_path(model.path, self._weights_dir)
            return asdict(await asyncio.to_thread(read_header, place, model.format))
        except WeightsError as exc:
            return {"problem": str(exc)}

    def _profile(self, profile: Profile) -> ProfileView:
        asked = profile.requirements
        requirements: dict[str, bool | int | None] = {word.value: True for word in asked.words}
        requirements["min_context_tokens"] = asked.min_context_tokens
        requirements["min_output_tokens"] = asked.min_output_tokens
        broken = self._problem(profile)
        return ProfileView(
            id=profile.id,
            provider=profile.model.provider,
            model=profile.model.model,
            default=profile.default,
            implicit=profile.implicit,
            tags=profile.tags,
            fallback_profiles=profile.fallback_profiles,
            fallback_models=tuple(f"{key.provider}/{key.model}" for key in profile.fallback_models),
            requirements=requirements,
            available=not broken,
            problem=broken,
        )

    def _problem(self, profile: Profile) -> str:
        """Return why a profile's model cannot be asked now, empty where it can."""
        service = self._service
        broken = problem(profile, service.registry, service.board.enabled)
        if broken or profile.model not in service.registry.models:
            return broken
        now = service.clock.monotonic()
        refusals = [service.board.refusal(route, now) for route in service.registry.routes(profile.model)]
        told = [refusal.text for refusal in refusals if refusal is not None]
        return told[0] if told and len(told) == len(refusals) else ""


def _prompts(rows: Sequence[RequestRow]) -> dict[ModelKey, float]:
    """Return the p95 prompt tokens of every model that served enough of the requests."""
    found: dict[ModelKey, list[int]] = {}
    for row in rows:
        if row.provider is not None and row.served_model is not None and row.prompt_tokens is not None:
            found.setdefault(ModelKey(row.provider, row.served_model), []).append(row.prompt_tokens)
    return {
        key: float(sorted(tokens)[ceil(0.95 * len(tokens)) - 1])
        for key, tokens in found.items()
        if len(tokens) >= ENOUGH_PROMPTS
    }


def _parse_id(text: str) -> ModelKey | None:
    """Return the key `provider/upstream` names; no provider name has a slash."""
    provider, slash, model = text.partition("/")
    return ModelKey(provider.casefold(), model) if provider and slash and model else None


def _agents(registry: Registry) -> Mapping[ModelKey, Sequence[str]]:
    """Return the agents that go straight to a model, by model; an operator's word beats the configuration's."""
    found: dict[ModelKey, list[str]] = {}
    for agent, target in sorted({**registry.agents, **registry.assignments}.items()):
        key = _parse_id(target)
        if key is not None and key in registry.models:
            found.setdefault(key, []).append(agent)
    return found


def _upwards(node: str) -> Iterable[str]:
    """Yield a node and everything above it."""
    while node:
        yield node
        node = node.rpartition(".")[0]


async def _slowly(items: Iterable[T], size: int) -> AsyncIterator[T]:
    """Yield items, giving way after each `size` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await asyncio.sleep(0)
