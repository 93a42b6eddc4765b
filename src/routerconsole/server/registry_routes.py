"""`/api/v1/models`: the registry. `{id}` is `provider/upstream` in one percent-encoded segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.control.commands import Receipt
from routerconsole.control.registry_commands import (
    AssignAgent,
    CancelPull,
    ClearCapability,
    ClearGap,
    PullModel,
    RegisterModel,
    RemoveModel,
    SetCapability,
    SetModelActive,
    UnassignAgent,
    UpdateModel,
)
from routerconsole.control.registry_views import Assignment, CapabilityValue, ModelPage, ModelQuery, ModelView
from routerconsole.control.wire import members, plain
from routerconsole.domain.capability import NODE_OF
from routerconsole.domain.errors import ErrorCode, RequestRejected

from .packing import packed
from .registry_schemas import (
    ActiveBody,
    AssignmentBody,
    AssignmentList,
    FindingList,
    ModelChange,
    ModelsQuery,
    NewModel,
    ValueBody,
)
from .routes import Answer, AnyCall, AnyRoute, ApiRoute, Call, Plain, delete, get, patch, post, put
from .schemas import NoQuery, Nothing, shown

if TYPE_CHECKING:
    from routerconsole.control.commands import Command
    from routerconsole.control.port import Control


class RegistryRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table; what is no `{id}` stands first."""
        node = "models/{id}/capabilities/{node}"
        return (
            ApiRoute("GET", "models", "The registry", self.models, ModelsQuery, Nothing, ModelPage),
            post("models", "Register a model", self.register, NewModel, ModelView, status=201),
            get("models/doctor", "What is wrong with models", self.doctor, FindingList),
            *self._assignment_rows("models/"),
            *self._assignment_rows(""),
            get("models/{id}", "One model, with every layer of what it can do", self.model, ModelView),
            patch("models/{id}", "Change fields of a model", self.update, ModelChange, ModelView),
            delete("models/{id}", "Take a model out of the registry", self.remove, Receipt),
            patch("models/{id}/active", "Enable or disable a model", self.activate, ActiveBody, ModelView),
            put(node, "Say yes or no of a capability", self.set_capability, ValueBody, CapabilityValue),
            delete(node, "Take that back: the next layer counts", self.clear_capability, CapabilityValue),
            delete(f"{node}/gap", "Forget a learned gap", self.clear_gap, CapabilityValue),
            post("models/{id}/pull", "Have Ollama download a model", self.pull, Nothing, Receipt, optional=True),
            delete("models/{id}/pull", "Stop the download", self.cancel_pull, Receipt),
        )

    def _assignment_rows(self, prefix: str) -> tuple[AnyRoute, ...]:
        """Return the rows of agents and roles, which stand below `models/` and by themselves."""
        return (
            get(f"{prefix}assignments/all", "Agents and what they go to", self.assignments, AssignmentList),
            post(f"{prefix}assignments", "Send an agent to a model", self.assign, AssignmentBody, Assignment),
            delete(f"{prefix}assignments/{{agent}}", "Let an agent fall back", self.unassign, Receipt),
            get(f"{prefix}roles/reward", "The reward model in use, or null", self.reward, ModelView | None),
            get(f"{prefix}roles/teacher", "The teacher model in use, or null", self.teacher, ModelView | None),
        )

    async def models(self, call: Call[ModelsQuery, Nothing]) -> Answer:
        """The models that pass the filters."""
        page = await self._control.registry(ModelQuery(**call.query.model_dump()))
        more = {"total": page.total, "weights_dir": page.weights_dir}
        return Answer(pieces=await packed("models", page.models, more))

    async def model(self, call: AnyCall) -> Answer:
        """One model."""
        return Answer(members(await self._found(call)))

    async def register(self, call: Call[NoQuery, NewModel]) -> Answer:
        """A new model; one that is there already is a conflict."""
        body = call.body
        await self._do(call, RegisterModel(body.provider, body.id, body.told()))
        return Answer(members(await self._view(body.provider, body.id)))

    async def update(self, call: Call[NoQuery, ModelChange]) -> Answer:
        """Other fields for a model."""
        body, (provider, model) = call.body, _key(call)
        if body.provider not in (None, provider) or body.id not in (None, model, f"{provider}/{model}"):
            raise RequestRejected(
                ErrorCode.INVALID_REQUEST, "A model's provider and id cannot be changed; register another.", param="id"
            )
        await self._do(call, UpdateModel(provider, model, body.told(), body.version))
        return Answer(members(await self._found(call)))

    async def remove(self, call: AnyCall) -> Answer:
        """A model less."""
        return Answer(plain(await self._do(call, RemoveModel(*_key(call)))))

    async def activate(self, call: Call[NoQuery, ActiveBody]) -> Answer:
        """Whether a model takes requests."""
        provider, model = _key(call)
        await self._do(call, SetModelActive(provider, model, call.body.active))
        return Answer(members(await self._found(call)))

    async def set_capability(self, call: Call[NoQuery, ValueBody]) -> Answer:
        """The operator's layer of one node."""
        provider, model = _key(call)
        receipt = await self._do(call, SetCapability(provider, model, call.path["node"], call.body.value))
        return await self._node(call, receipt)

    async def clear_capability(self, call: AnyCall) -> Answer:
        """That layer taken away."""
        provider, model = _key(call)
        return await self._node(call, await self._do(call, ClearCapability(provider, model, call.path["node"])))

    async def clear_gap(self, call: AnyCall) -> Answer:
        """What its routes learned to lack, forgotten."""
        provider, model = _key(call)
        return await self._node(call, await self._do(call, ClearGap(provider, model, call.path["node"])))

    async def pull(self, call: Plain) -> Answer:
        """A download begun; its progress is in the events."""
        return Answer(plain(await self._do(call, PullModel(*_key(call)))))

    async def cancel_pull(self, call: Plain) -> Answer:
        """A download stopped."""
        return Answer(plain(await self._do(call, CancelPull(*_key(call)))))

    async def doctor(self, call: Plain) -> Answer:
        """What is wrong with models."""
        return Answer({"findings": await self._control.doctor("models")})

    async def assignments(self, call: Plain) -> Answer:
        """Who was assigned."""
        return Answer({"assignments": await self._control.assignments()})

    async def assign(self, call: Call[NoQuery, AssignmentBody]) -> Answer:
        """An agent sent somewhere; answers its row."""
        body = call.body
        await self._do(call, AssignAgent(body.agent, body.model))
        rows = await self._control.assignments()
        row = next((row for row in rows if row.agent == body.agent), Assignment(body.agent, body.model))
        return Answer(members(row))

    async def unassign(self, call: AnyCall) -> Answer:
        """An agent left to its own default."""
        return Answer(plain(await self._do(call, UnassignAgent(call.path["agent"]))))

    async def reward(self, call: Plain) -> Answer:
        """The model that scores, if there is one in use."""
        return await self._role("reward")

    async def teacher(self, call: Plain) -> Answer:
        """The model that teaches, if there is one in use."""
        return await self._role("teacher")

    async def _role(self, role: str) -> Answer:
        """Answer the first model in use of a role, or null."""
        page = await self._control.registry(ModelQuery(role=role))
        found = next((model for model in page.models if model.enabled and model.state != "withdrawn"), None)
        return Answer(None if found is None else members(found))

    async def _do(self, call: AnyCall, command: Command) -> Receipt:
        return await self._control.do(command, actor=call.actor)

    async def _found(self, call: AnyCall) -> ModelView:
        return await self._view(*_key(call))

    async def _view(self, provider: str, model: str) -> ModelView:
        view = await self._control.registry_model(provider, model)
        if view is None:
            raise _not_found(f"{provider}/{model}")
        return view

    async def _node(self, call: AnyCall, receipt: Receipt) -> Answer:
        """Answer a node of a model as it stands now."""
        view = await self._found(call)
        node = str(receipt.after.get("node") or NODE_OF.get(call.path["node"], call.path["node"]))
        return Answer(members(view.capabilities.get(node) or CapabilityValue(node, "unknown", None)))


def _key(call: AnyCall) -> tuple[str, str]:
    """Return the provider and upstream id a path names; raise RequestRejected 404 where it cannot name a model."""
    provider, slash, model = call.path["id"].partition("/")
    if not (provider and slash and model):
        raise _not_found(call.path["id"])
    return provider.casefold(), model


def _not_found(wanted: str) -> RequestRejected:
    return RequestRejected(
        ErrorCode.NOT_FOUND, f"Model {shown(wanted)} not found; an id is `provider/model`, see GET /api/v1/models."
    )
