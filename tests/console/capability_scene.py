"""A control with a capability tree, models with layers, and pools that follow what operators say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.console.fake_control import FakeControl, failed, provider, request

from routerconsole.control.commands import Command, Receipt
from routerconsole.control.registry_commands import (
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    SetCapability,
    Undo,
)
from routerconsole.control.registry_views import (
    CapabilityValue,
    LayerView,
    ModelPage,
    ModelView,
    NodeModel,
    NodeView,
    PoolMember,
    PoolView,
)
from routerconsole.domain.capability import NODE_OF, SHIPPED_NODES
from routerconsole.domain.events import EventType

TOOLS, PARALLEL = "interaction.tool-calling", "interaction.tool-calling.parallel"
CHAT, VISION = "generation.text-generation.chat-completion", "understanding.vision-understanding"
REASONING = "interaction.reasoning"
SINCE = "2026-03-01T11:40:00.000Z"


def layer(source: str, value: str, evidence: str = "", **more: Any) -> LayerView:
    """Return one opinion; configuration and guesses have no moment."""
    return LayerView(source, value, None if source in {"config", "guess"} else SINCE, evidence, **more)


@dataclass(frozen=True, slots=True)
class Named:
    """A model of the scene: its layers by node, and why it cannot be asked now, if so."""

    id: str
    layers: Mapping[str, tuple[LayerView, ...]]
    refused: str = ""
    enabled: bool = True


def value_of(layers: Mapping[str, tuple[LayerView, ...]], node: str) -> tuple[str, str | None]:
    """Return a node's effective value and its source: its own, or a yes below it. Gaps of one account do not count."""
    own = next((each for each in layers.get(node, ()) if each.source != "gap"), None)
    if own is not None and own.value == "yes":
        return own.value, own.source
    for path, there in layers.items():
        first = next((each for each in there if each.source != "gap"), None)
        if path.startswith(f"{node}.") and first is not None and first.value == "yes":
            return first.value, first.source
    return ("unknown", None) if own is None else (own.value, own.source)


class CapabilityScene(FakeControl):
    """Answers like an engine: an edit writes the operator's layer, and tree, models and pools follow at once."""

    def __init__(self, models: Sequence[Named], *, extensions: Sequence[str] = (), words: bool = True) -> None:
        names = dict.fromkeys(model.id.partition("/")[0] for model in models)
        super().__init__(*(provider(name) for name in names))
        self.models_there = {model.id: model for model in models}
        self.extensions = list(extensions)
        self.words = words
        self.kept: list[tuple[str, dict[str, Named], list[str]]] = []
        self.rebuild()

    def rebuild(self) -> None:
        """Make the views anew from what is said."""
        models = list(self.models_there.values())
        nodes = sorted({*SHIPPED_NODES, *self.extensions}) if self.words else sorted(self.extensions)
        aliases: dict[str, list[str]] = {}
        for word, path in NODE_OF.items():
            aliases.setdefault(path, []).append(str(word))
        said: dict[str, list[NodeModel]] = {}
        for model in models:
            above = {".".join(p.split(".")[:n]) for p in model.layers for n in range(1, p.count(".") + 2)}
            for node in sorted(above):
                value, source = value_of(model.layers, node)
                if value != "unknown":
                    name, _, upstream = model.id.partition("/")
                    said.setdefault(node, []).append(NodeModel(name, upstream, value, source))
        self.node_views = tuple(self._node(path, said.get(path, []), aliases.get(path, [])) for path in nodes)
        self.pool_views = tuple(
            self._pool(word, path, said.get(path, []))
            for word, path in NODE_OF.items()
            if any(each.value == "yes" for each in said.get(path, []))
        )
        self.model_page = ModelPage(tuple(map(view_of, models)), len(models))

    def _refused(self, model: NodeModel) -> str:
        return self.models_there[f"{model.provider}/{model.model}"].refused

    def _node(self, path: str, said: Sequence[NodeModel], aliases: Sequence[str]) -> NodeView:
        able = [each for each in said if each.value == "yes"]
        routable = sum(not self._refused(each) for each in able)
        return NodeView(path, tuple(aliases), path in self.extensions, len(able), routable, tuple(said))

    def _pool(self, word: str, node: str, said: Sequence[NodeModel]) -> PoolView:
        able = [each for each in said if each.value == "yes"]
        members = tuple(
            PoolMember(each.provider, each.model, not self._refused(each), self._refused(each), number)
            for number, each in enumerate(able, 1)
        )
        free = [f"{each.provider}/{each.model}" for each in members if each.admissible]
        pointer = free[0] if free else None
        return PoolView(str(word), "", node, "priority", True, members, pointer, len(free), len(members))

    def _registered(self, command: Command, *, actor: str, dry_run: bool) -> Receipt:
        """Change layers or the tree as the engine does."""
        before_models, before_nodes = dict(self.models_there), list(self.extensions)
        pools = self._pools()
        number = None if dry_run else len(self.audit_rows) + 1
        match command:
            case SetCapability() | ClearCapability() | ClearGap():
                target = f"{command.provider}/{command.model}"
                model = self.models_there[target]
                was, now = self._edited(command, model)
                node: str = command.node
            case ExtendCapabilities(path):
                target, node, was, now = path, path, ("false", None), ("true", None)
                self.extensions.append(path)
            case Undo():
                target, self.models_there, self.extensions = self.kept.pop()
                node, was, now = "", ("", None), ("", None)
            case _:
                raise AssertionError(command)
        self.rebuild()
        gained = {"added": sorted(self._pools()[target] - pools[target]) if target in pools else []}
        gained["removed"] = sorted(pools[target] - self._pools()[target]) if target in pools else []
        if dry_run:
            self.models_there, self.extensions = before_models, before_nodes
            self.rebuild()
        elif not isinstance(command, Undo):
            self.kept.append((target, before_models, before_nodes))
        self.publish(EventType.CAPABILITY_CHANGED)
        before = {"node": node, "value": was[0], "source": was[1]}
        after = {"node": node, "value": now[0], "source": now[1], "pools": gained}
        if number is None:
            return Receipt(command.name, target, before, after, dry_run=True)
        return self._noted(command.name, target, before, after, actor=actor)

    def _edited(
        self, command: SetCapability | ClearCapability | ClearGap, model: Named
    ) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
        gone = "gap" if isinstance(command, ClearGap) else "operator"
        rest = tuple(each for each in model.layers.get(command.node, ()) if each.source != gone)
        new = (layer("operator", command.value, "set by console"),) if isinstance(command, SetCapability) else ()
        layers = {**model.layers, command.node: (*new, *rest)}
        layers = {node: there for node, there in layers.items() if there}
        self.models_there[model.id] = Named(model.id, layers, model.refused, model.enabled)
        return value_of(model.layers, command.node), value_of(layers, command.node)

    def _pools(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {model: set() for model in self.models_there}
        for pool in self.pool_views:
            for member in pool.members:
                found[f"{member.provider}/{member.model}"].add(pool.id)
        return found


def view_of(model: Named) -> ModelView:
    """Return a scene's model as the registry shows it."""
    name, _, upstream = model.id.partition("/")
    return ModelView(
        id=model.id,
        provider=name,
        upstream_id=upstream,
        display=None,
        description=None,
        enabled=model.enabled,
        exposed=True,
        default=False,
        in_pools=True,
        role="general",
        format="api",
        path=None,
        context_window=None,
        max_output_tokens=None,
        default_temperature=None,
        delivery=("sync",),
        features=(),
        constraints=(),
        usd_per_mtok_in=None,
        usd_per_mtok_out=None,
        free=None,
        tags=(),
        limits={},
        tier="standard",
        state="live",
        origin="config",
        served=True,
        version=1,
        registered_at=None,
        pools=(),
        capabilities={
            node: CapabilityValue(node, *value_of(model.layers, node), SINCE, there)
            for node, there in model.layers.items()
        },
    )


def lab() -> CapabilityScene:
    """Return seven models of three providers, every kind of layer, a learned gap, and requests of the last hour."""
    listed = layer("discovery", "yes", "supported_parameters: tools")
    config, chat = layer("config", "yes"), {CHAT: (layer("config", "yes"),)}
    gap = layer("gap", "no", "no tool call in the reply", account="key2", expires_at="2026-03-01T12:29:42.000Z")
    scene = CapabilityScene(
        [
            Named("groq/llama-3.3-70b", {**chat, TOOLS: (gap, listed), PARALLEL: (config,)}),
            Named("groq/qwen-32b", {**chat, TOOLS: (layer("operator", "no", "set by cli"), listed)}),
            Named("openai/gpt-x", {**chat, TOOLS: (listed,), VISION: (config,)}, "circuit_open 14 s"),
            Named("openai/gpt-x-mini", {**chat, VISION: (layer("discovery", "no"),)}, "circuit_open 14 s"),
            Named("local/llama3.1:8b", {**chat, PARALLEL: (layer("guess", "yes", "llama3.1"),)}),
            Named("local/deepseek-r1:8b", {**chat, REASONING: (layer("catalogue", "yes"),)}),
            Named("local/mystery", {}, "", enabled=False),
        ],
        extensions=("understanding.x-rays",),
    )
    for number in range(30):
        row = failed(number, needed=("tools",)) if number % 10 == 3 else request(number, needed=("tools",))
        row = request(number, needed=("reasoning",)) if number % 5 == 0 else row
        scene.rows[row.id] = row
    return scene
