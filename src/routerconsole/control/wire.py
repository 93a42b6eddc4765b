"""Views and commands as JSON and back: what the HTTP face writes and the remote implementation reads.

One place knows the two spellings that differ: `class` (a Python keyword), and a request's row inlined in its detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from routerconsole.domain.events import Event, EventType
from routerconsole.domain.secret import Secret

from .commands import (
    CancelRequest,
    ClearFailures,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ReloadConfig,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
    Target,
)
from .eval_commands import CancelEval, RegradeEval, StartEval
from .port import ControlError, EventPage
from .registry_commands import CancelPull, PullModel, RegistryCommand, RotatePool, SyncModels
from .reward_commands import RewardCommand
from .views import AttemptView, FailureView, RequestDetail, RequestRow

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Json = dict[str, Any]

_ON_TARGET: tuple[type[Enable | Disable | Drain | ResetCircuit | Isolate | ForceClose], ...] = (
    Enable,
    Disable,
    Drain,
    ResetCircuit,
    Isolate,
    ForceClose,
)
_PLAIN: tuple[type[Command], ...] = (
    SetPriority,
    Probe,
    ReloadConfig,
    CancelRequest,
    ReplayRequest,
    ClearFailures,
    *get_args(RegistryCommand),
    *get_args(RewardCommand),
    RotatePool,
    SyncModels,
    PullModel,
    CancelPull,
    StartEval,
    CancelEval,
    RegradeEval,
)


def plain(view: object) -> Any:
    """Return a frozen view as JSON values, in its wire spelling."""
    if isinstance(view, RequestDetail):
        return detail_json(view)
    data = orjson.loads(orjson.dumps(view))
    if isinstance(view, FailureView | AttemptView):
        data["class"] = data.pop("class_")
    return data


def members(view: DataclassInstance) -> Json:
    """Return what `plain` would, with the inner views left to an encoder that knows dataclasses: no second parse."""
    return {field.name: getattr(view, field.name) for field in fields(view)}


def revive(kind: type[T], data: Any) -> T:
    """Return the view a peer sent; raise ControlError where it is not one (another version answers)."""
    try:
        return _adapter(kind).validate_python(_spelt(kind, data))
    except ValidationError as exc:
        raise ControlError(
            "unexpected_answer", f"The engine's answer is not understood: {exc.errors()[0]['msg']}"
        ) from exc


def detail_json(detail: RequestDetail) -> Json:
    """Return a request's detail with its row's fields inlined."""
    data: Json = orjson.loads(orjson.dumps(detail))
    row = data.pop("row")
    for attempt in data["attempts_detail"]:
        attempt["class"] = attempt.pop("class_")
    return {**row, **data}


def detail_from_json(data: Mapping[str, Any]) -> RequestDetail:
    """Read back what `detail_json` wrote."""
    return revive(RequestDetail, data)


def page_json(page: EventPage) -> Json:
    """Return an event page as JSON values."""
    return {"events": [event_json(event) for event in page.events], "next": page.next, "missed": page.missed}


def event_json(event: Event) -> Json:
    """Return an event's `data` line: its own data with number, time and type."""
    return {**event.data, "seq": event.seq, "at": event.at, "type": event.type.value}


def page_from_json(data: Mapping[str, Any]) -> EventPage:
    """Read back what `page_json` wrote; events of a type this version does not know are left out."""
    known = {kind.value for kind in EventType}
    events = tuple(
        Event(item["seq"], item["at"], EventType(item["type"]), item)
        for item in data["events"]
        if item["type"] in known
    )
    return EventPage(events, data["next"], data["missed"])


def command_json(command: Command) -> Json:
    """Return a command as `{command, args}`."""
    if isinstance(command, _ON_TARGET):
        own = {name: value for name, value in asdict(command).items() if name != "target"}
        return {"command": command.name, "args": {**asdict(command.target), **own}}
    if isinstance(command, StartEval) and command.key is not None:
        told = command_json(replace(command, key=None))
        return {**told, "args": {**told["args"], "key": command.key.reveal()}}
    return {"command": command.name, "args": orjson.loads(orjson.dumps(command))}


def command_from_json(name: str, args: Mapping[str, Any]) -> Command:
    """Return the command of a name (`disable_provider`, `reset_circuit`, ...) and its arguments; raise ControlError."""
    try:
        for kind in _ON_TARGET:
            if name in (kind.verb, f"{kind.verb}_provider", f"{kind.verb}_route"):
                target = Target(args["provider"], args.get("model"))
                if name not in (kind.verb, f"{kind.verb}_{target.kind}"):
                    raise ControlError("invalid_request", f"`{name}` needs `provider`, and `model` for a route only.")
                own = {key: value for key, value in args.items() if key not in ("provider", "model")}
                return _strictly(kind, {"target": asdict(target), **own}, name)
        if name == StartEval.name and args.get("key") is not None:
            begun = _strictly(StartEval, {**args, "key": None}, name)
            if not isinstance(args["key"], str):
                raise ControlError("invalid_request", f"`{name}`: key: Input should be a valid string")
            return replace(begun, key=Secret(args["key"]))
        for plain_kind in _PLAIN:
            if name == plain_kind.name:
                return _strictly(plain_kind, dict(args), name)
    except KeyError as exc:
        raise ControlError("invalid_request", f"`{name}` needs the argument {exc}.") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ControlError("invalid_request", f"`{name}`: {where}: {first['msg']}") from exc
    raise ControlError("invalid_request", f"Unknown command {name!r}; there are: {', '.join(command_names())}.")


def _strictly(kind: type[T], args: Json, name: str) -> T:
    """Return the command with its arguments, none unknown and none of another type than it names."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every command is a dataclass
    unknown = [key for key in args if key not in known]
    if unknown:
        choices = ", ".join("provider, model" if key == "target" else key for key in known) or "none"
        raise ControlError("invalid_request", f"`{name}` has no argument {unknown[0]!r}; there are: {choices}.")
    return _adapter(kind).validate_json(orjson.dumps(args), strict=True)


def command_names() -> tuple[str, ...]:
    """Return every name `command_from_json` takes."""
    names = [f"{kind.verb}_{what}" for kind in _ON_TARGET if kind is not ResetCircuit for what in ("provider", "route")]
    return (*names, ResetCircuit.verb, *(str(kind.name) for kind in _PLAIN))


def receipt_from_json(data: Mapping[str, Any]) -> Receipt:
    """Read a receipt."""
    return revive(Receipt, data)


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return the adapter of a type, built at its first use: building one takes about a millisecond."""
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found


def _spelt(kind: type[object], data: Any) -> Any:
    """Undo the wire spelling of the views that have one."""
    if kind is RequestDetail:
        names = {field.name for field in fields(RequestRow)}
        attempts = [_spelt(AttemptView, item) for item in data["attempts_detail"]]
        rest = {key: value for key, value in data.items() if key not in names}
        return {**rest, "row": {key: value for key, value in data.items() if key in names}, "attempts_detail": attempts}
    if kind in (AttemptView, FailureView) and "class" in data:
        return {("class_" if key == "class" else key): value for key, value in data.items()}
    return data
