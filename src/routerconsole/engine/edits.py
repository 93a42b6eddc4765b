"""Works out what a registry command changes: the parts of the overlay it replaces, or why it is refused.

Changes nothing. Models are named by provider and exact upstream id, capabilities through the tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from routerconsole.config.checks import SPOKEN_FOR
from routerconsole.config.edits import FieldProblem, checked_fields
from routerconsole.config.fields import MAX_EXTENSIONS, check_model_id
from routerconsole.config.weights import FILE_FORMATS, WeightsError, check_weights
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    AcceptMeasured,
    AcceptModel,
    AssignAgent,
    ClearCapability,
    ExtendCapabilities,
    LabelModel,
    RegisterModel,
    RemoveModel,
    SetCapability,
    SetModelActive,
    UnassignAgent,
    UpdateModel,
)
from routerconsole.domain.capability import NODE_OF, CapabilityTree, Layer, Source, Tri, UnknownCapability, is_path
from routerconsole.domain.errors import RequestRejected, RouterError
from routerconsole.domain.fingerprint import merged
from routerconsole.domain.overlay import PRICES, Entry, Overlay
from routerconsole.domain.registry import Model, ModelFormat, Registry
from routerconsole.domain.route import ModelKey
from routerconsole.routing.resolve import ResolvedKind, resolve

from .measurements import EVIDENCE
from .slots import Parts

Worked = (
    RegisterModel
    | UpdateModel
    | RemoveModel
    | SetModelActive
    | AcceptModel
    | LabelModel
    | AssignAgent
    | UnassignAgent
    | SetCapability
    | ClearCapability
    | AcceptMeasured
    | ExtendCapabilities
)
MAX_AGENT = 128
_MOST_FACTS = 1000


@dataclass(frozen=True, slots=True)
class Edit:
    """One change worked out: what it is about, what it replaces, and which fields and nodes of the model show it.

    `weights` is a path with its format that must be good before anything is changed.
    """

    target: str
    parts: Parts
    key: ModelKey | None = None
    fields: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    weights: tuple[str | None, ModelFormat] | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)


def refused(message: str, *, code: str = "invalid_request", status: int = 400) -> ControlError:
    """Return the refusal of a change that names what is wrong."""
    return ControlError(code, message, status=status)


def not_found(message: str) -> ControlError:
    """Return the refusal of something there is not."""
    return refused(message, code="not_found", status=404)


def conflict(message: str) -> ControlError:
    """Return the refusal of what contradicts the present state."""
    return refused(message, code="conflict", status=409)


def path_problem(path: str | None, form: ModelFormat, weights_dir: str | None) -> str | None:
    """Say why a model of this format cannot be at a path, None where it can. It asks the disk: call it in a thread."""
    if path is None:
        return f"Invalid path: format {form.value} needs the file." if form in FILE_FORMATS else None
    if not path.startswith("/") and ".." in path.split("/"):
        return f"Invalid path: {path!r} leaves registry.weights_dir (write a path below it)."
    try:
        check_weights(path, form, weights_dir)
    except (WeightsError, OSError, ValueError) as exc:
        return f"Invalid path: {exc}."
    return None


class Draft:
    """Works on one registry and the overlay it came from; `at` is UTC epoch seconds, `actor` who asks."""

    def __init__(self, base: Registry, registry: Registry, overlay: Overlay, *, at: float, actor: str) -> None:
        self._base, self._registry, self._overlay = base, registry, overlay
        self._at, self._actor = at, actor

    def of(self, command: Worked) -> Edit:
        """Return what a command changes; raise ControlError where it is refused."""
        match command:
            case RegisterModel():
                return self._register(command)
            case UpdateModel():
                return self._update(command)
            case RemoveModel():
                return self._remove(command)
            case SetModelActive():
                return self._fields(self._model(command.provider, command.model), {"enabled": command.active})
            case AcceptModel():
                return self._fields(self._model(command.provider, command.model), {"in_pools": True})
            case LabelModel():
                return self._label(command)
            case SetCapability() | ClearCapability():
                return self._capability(command)
            case AcceptMeasured():
                return self._measured(command)
            case AssignAgent():
                return self._assign(command)
            case UnassignAgent():
                return self._unassign(command)
            case ExtendCapabilities():
                return self._extend(command.node)

    # --- models ---

    def known(self, provider: str, model: str) -> ModelKey:
        """Return the key of a model of the registry; raise 404 with the nearest there are."""
        return self._model(provider, model).key

    def node(self, name: str) -> str:
        """Return the node a word, path or unique leaf name stands for; raise 400 with the nearest or all it may be."""
        try:
            return self._registry.tree.resolve(name)
        except UnknownCapability as exc:
            raise refused(f"{exc}{'?' if exc.choices and not exc.ambiguous else '.'}") from exc

    def agents_of(self, key: ModelKey) -> dict[str, str | None]:
        """Return the assignments that go with a model, as parts that take them away."""
        names = {f"{key.provider}/{key.model}"}
        if self._registry.by_upstream_id.get(key.model, ()) in ((), (key,)):
            names.add(key.model)
        return {agent: None for agent, target in self._overlay.assignments.items() if target in names}

    def next_version(self, key: ModelKey) -> int:
        """Return the version a model gets by the next change; a number never comes back."""
        entry, model = self._overlay.entries.get(key), self._registry.models.get(key)
        return max(0 if entry is None else entry.version, 0 if model is None else model.version) + 1

    def _model(self, provider: str, model: str) -> Model:
        key = ModelKey(self._provider(provider), model)
        found = self._registry.models.get(key)
        if found is None:
            label = f"{key.provider}/{key.model}"
            known = [f"{each.provider}/{each.model}" for each in self._registry.models if each.provider == key.provider]
            near = difflib.get_close_matches(label[:200], known[:300], n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else "."
            raise not_found(f"Model {label[:200]!r} not found{hint}")
        return found

    def _provider(self, name: str) -> str:
        if name.casefold() not in self._registry.providers:
            there = ", ".join(sorted(self._registry.providers)[:20]) or "none"
            raise not_found(f"Provider {name[:100]!r} not found; there are: {there}.")
        return name.casefold()

    def _models_of(self, key: ModelKey) -> tuple[Model, ...]:
        return self._registry.providers[key.provider].models

    def _register(self, command: RegisterModel) -> Edit:
        key = ModelKey(self._provider(command.provider), command.model)
        label = f"{key.provider}/{key.model}"
        try:
            check_model_id(key.model)
        except ValueError as exc:
            raise refused(f"Invalid id {key.model[:60]!r}: {exc}.") from exc
        if key in self._registry.models:
            raise conflict(f"Model {label!r} is registered already; update it instead.")
        folded = key.model.casefold()
        twin = next((each.upstream_id for each in self._models_of(key) if each.upstream_id.casefold() == folded), None)
        if twin is not None:  # the configuration refuses two such ids, and an export has to load again
            raise conflict(f"Model {label!r} is another spelling of '{key.provider}/{twin}'; update that instead.")
        given = _checked(command.fields)
        fresh = Entry(key, self.next_version(key), registered=True, registered_at=self._at)
        entry = self._with(fresh, given)
        edit = Edit(label, Parts({key: entry}), key, ("enabled", "role", "format", "path", *entry.fields))
        return replace(edit, nodes=tuple(entry.capabilities), weights=self._weights(None, given, key))

    def _update(self, command: UpdateModel) -> Edit:
        model = self._model(command.provider, command.model)
        if command.version is not None and command.version != model.version:
            raise conflict(
                f"Model {model.provider}/{model.upstream_id} is at version {model.version}, not {command.version}; "
                "look at it again and repeat the change."
            )
        if not command.fields:
            raise refused("There is nothing to change; name at least one field.")
        return self._fields(model, _checked(command.fields))

    def _label(self, command: LabelModel) -> Edit:
        model = self._model(command.provider, command.model)
        if not command.add and not command.remove:
            raise refused("There is nothing to change; name a tag to add or to remove.")
        kept = [tag for tag in model.tags if tag not in command.remove]
        return self._fields(model, _checked({"tags": list(dict.fromkeys((*kept, *command.add)))}))

    def _fields(self, model: Model, given: Mapping[str, Any]) -> Edit:
        """Set fields of a model that is there."""
        key = model.key
        entry = self._with(self._decided(key), given)
        before = self._decided(key).capabilities
        touched = [
            node for node in {**before, **entry.capabilities} if before.get(node) != entry.capabilities.get(node)
        ]
        names = tuple(name for name in given if name != "capabilities")
        edit = Edit(f"{key.provider}/{key.model}", Parts({key: entry}), key, names, tuple(touched))
        return replace(edit, weights=self._weights(model, given, key))

    def _remove(self, command: RemoveModel) -> Edit:
        key = self._model(command.provider, command.model).key
        listing = self._overlay.listings.get(key.provider)
        known = listing is not None and (key.model in listing.models or key.model in listing.missed)
        # what nobody but an operator brought is simply gone: should it be listed one day, it is new
        tombstone = known or key in self._base.models
        dropped = self.agents_of(key)
        parts = Parts({key: Entry(key, self.next_version(key), removed=tombstone)}, dropped)
        return Edit(f"{key.provider}/{key.model}", parts, key, ("enabled", "role", "format", "path"))

    def _with(self, entry: Entry, given: Mapping[str, Any]) -> Entry:
        """Return an entry with fields set, or unset where they are null."""
        fields = {**entry.fields, **{name: value for name, value in given.items() if name != "capabilities"}}
        if any(name in given for name in PRICES) and "price_source" not in given:
            fields.pop("price_source", None)  # it was said of the prices before
        if given.get("default") is True:
            self._only_default(entry.key)
        found = replace(entry, fields={name: value for name, value in fields.items() if value is not None})
        if "capabilities" not in given:
            return found
        measured = {
            node: rest
            for node, layers in entry.capabilities.items()
            if (rest := tuple(layer for layer in layers if layer.source is not Source.OPERATOR))
        }
        said: dict[str, Tri] = {}
        for word in given["capabilities"] or ():
            node, value = self.node(word.removeprefix("-")), Tri.NO if word.startswith("-") else Tri.YES
            if said.setdefault(node, value) is not value:
                raise refused(f"Invalid capabilities: {word!r} contradicts what the list says before (keep one).")
        own = {node: (self._layer(value), *measured.get(node, ())) for node, value in said.items()}
        return replace(found, capabilities={**measured, **own})

    def _only_default(self, key: ModelKey) -> None:
        for other, entry in self._overlay.entries.items():
            if other.provider == key.provider and other != key and entry.fields.get("default") is True:
                raise refused(f"Invalid default: {other.provider}/{other.model} was made the default; unset it first.")

    def _weights(
        self, model: Model | None, given: Mapping[str, Any], key: ModelKey
    ) -> tuple[str | None, ModelFormat] | None:
        """Return the path and format to look at, None where the change is about neither."""
        if "format" not in given and "path" not in given:
            return None
        base = self._base.models.get(key)
        form = given.get("format", None if model is None else model.format)
        path = given.get("path", None if model is None else model.path)
        if given.get("path", "") is None and base is not None:
            path = base.path  # unset: what the configuration says comes back
        if form is None:
            form = base.format if base is not None else ModelFormat.API
        return path, ModelFormat(form)

    # --- capabilities ---

    def _capability(self, command: SetCapability | ClearCapability) -> Edit:
        key, node = self._model(command.provider, command.model).key, self.node(command.node)
        entry = self._decided(key)
        rest = tuple(layer for layer in entry.capabilities.get(node, ()) if layer.source is not Source.OPERATOR)
        if isinstance(command, SetCapability):
            layers = (self._layer(Tri(command.value)), *rest)
        elif rest == entry.capabilities.get(node, ()):
            raise not_found(f"No operator value of {node} is set for {key.provider}/{key.model}.")
        else:
            layers = rest
        kept = {**entry.capabilities, node: layers}
        entry = replace(entry, capabilities={path: said for path, said in kept.items() if said})
        return Edit(f"{key.provider}/{key.model}", Parts({key: entry}), key, nodes=(node,))

    def _measured(self, command: AcceptMeasured) -> Edit:
        key, node = self._model(command.provider, command.model).key, self.node(command.node)
        entry = self._decided(key)
        rest = tuple(layer for layer in entry.capabilities.get(node, ()) if layer.source is not Source.MEASURED)
        at = self._at if command.measured_at is None else min(command.measured_at, self._at)
        told = merged(command.fingerprint[:_MOST_FACTS])  # taken apart and put together: its form is ours
        layer = Layer(Source.MEASURED, Tri(command.value), at, command.evidence[:EVIDENCE], told)
        entry = replace(entry, capabilities={**entry.capabilities, node: (*rest, layer)})
        return Edit(f"{key.provider}/{key.model}", Parts({key: entry}), key, nodes=(node,))

    def _extend(self, path: str) -> Edit:
        tree = self._registry.tree
        parent, _, leaf = path.rpartition(".")
        nodes = tree.nodes
        if not is_path(path) or len(path) > 256:
            raise refused(f"{path[:60]!r} is no capability path (lower-case words and '-', joined by dots).")
        if path in nodes:
            raise conflict(f"{path!r} is already in the tree.")
        if len(self._overlay.extensions) >= MAX_EXTENSIONS:
            raise refused(f"There are {MAX_EXTENSIONS} nodes of yours already.")
        if parent and parent not in nodes:
            near = self.node(parent)  # raises for what is no name at all
            raise refused(f"{parent!r} is no path; write {f'{near}.{leaf}'!r}.")
        if leaf in NODE_OF or leaf in tree.aliases or leaf in SPOKEN_FOR:
            raise refused(f"{leaf!r} has a meaning of its own in `model` (choose another name).")
        twin = next((node for node in sorted(nodes) if node.rpartition(".")[2] == leaf), None)
        if twin is not None:
            raise refused(f"{leaf!r} would stand under two parents, here and as {twin!r} (choose another name).")
        return Edit(path, Parts(extensions={path: True}), shown={"node": path})

    # --- agents ---

    def _assign(self, command: AssignAgent) -> Edit:
        agent = command.agent
        if not agent or agent != agent.strip() or not agent.isprintable() or len(agent) > MAX_AGENT:
            raise refused(f"Invalid agent {agent[:60]!r}: a name is 1 to {MAX_AGENT} printable characters.")
        target = self._meant(command.model)
        return Edit(agent, Parts(assignments={agent: target}), shown={"agent": agent})

    def _unassign(self, command: UnassignAgent) -> Edit:
        agent = command.agent
        if agent not in self._overlay.assignments:
            there = ", ".join(sorted(self._overlay.assignments)[:20]) or "none"
            raise not_found(f"Agent {agent[:100]!r} is not assigned; there are: {there}.")
        return Edit(agent, Parts(assignments={agent: None}), shown={"agent": agent})

    def _meant(self, target: str) -> str:
        """Return the canonical name of a model, pool, profile or virtual model; raise 404."""
        try:
            found = resolve(target, self._registry)
        except RequestRejected as exc:
            raise not_found(exc.message) from exc
        except RouterError:
            return target  # a virtual model without members just now
        if found.kind is ResolvedKind.AGENT:
            raise not_found(f"{target[:100]!r} is an agent; name a model, pool or profile.")
        if found.kind is ResolvedKind.PROVIDER_MODEL and found.keys:
            return f"{found.keys[0].provider}/{found.keys[0].model}"
        return target if found.kind is ResolvedKind.MODEL else found.id

    # --- inside ---

    def _decided(self, key: ModelKey) -> Entry:
        """Return what operators decided of a model, with the version it gets by this change."""
        return replace(self._overlay.entries.get(key) or Entry(key), version=self.next_version(key))

    def _layer(self, value: Tri) -> Layer:
        return Layer(Source.OPERATOR, value, self._at, f"set by {self._actor}")


def undeclared(node: str, tree: CapabilityTree, registry: Registry) -> str | None:
    """Say why a node cannot be taken out of the tree again, None where it can."""
    below = f"{node}."
    if any(other.startswith(below) for other in tree.extensions):
        return "there are nodes below it now"
    for model in registry.models.values():
        if any(path == node or path.startswith(below) for path in model.layers):
            return f"{model.provider}/{model.upstream_id} has a value of it now"
    return None


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return checked_fields(fields)
    except FieldProblem as exc:
        raise refused(str(exc)) from exc
