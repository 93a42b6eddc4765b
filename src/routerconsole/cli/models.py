"""`routerconsole models …`: the registry, its agents, what models can do, and their doctor."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import Item, show_items, show_json, table, text
from routerconsole.cli.registry import change, show_findings, with_registry
from routerconsole.cli.session import with_control
from routerconsole.cli.targets import change as change_running
from routerconsole.cli.targets import route_target
from routerconsole.control.registry_commands import (
    AcceptModel,
    AssignAgent,
    ClearCapability,
    ClearGap,
    LabelModel,
    RegisterModel,
    RemoveModel,
    SetCapability,
    SetModelActive,
    SyncModels,
    UnassignAgent,
    UpdateModel,
)
from routerconsole.control.registry_views import ModelQuery
from routerconsole.control.wire import plain
from routerconsole.domain.capability import NODE_OF
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import CapabilityValue, ModelView, ProfileView

_WORDS = {node: str(word) for word, node in NODE_OF.items()}
_LIMITS = ("rpm", "rpd", "tpm", "tpd")
_FIELDS = (
    "display",
    "description",
    "role",
    "format",
    "path",
    "capabilities",
    "context_window",
    "max_output_tokens",
    "default_temperature",
    "usd_per_mtok_in",
    "usd_per_mtok_out",
    "free",
    "in_pools",
    "exposed",
    "tags",
    "tier",
)


def list_(args: argparse.Namespace) -> int:
    """Print models by priority, under the profile that holds where a request names none."""
    query = ModelQuery(role=args.role, provider=args.provider, capability=args.capability)

    async def work(control: Control) -> int:
        page = await control.registry(query)
        default = default_profile(await control.profiles())
        if args.json:
            show_json({**plain(page), "default_profile": default})
        else:
            print(f"default_profile={visible(default)}")
            show_items((model_item(each) for each in page.models), plain=args.plain, empty="no models")
        return Exit.OK

    return with_registry(args, work)


def show(args: argparse.Namespace) -> int:
    """Print everything known of a model."""
    key = key_of(args.id)

    async def work(control: Control) -> int:
        model = await control.registry_model(*key)
        if model is None:
            raise Stop(Exit.USAGE, f"there is no model {args.id!r} (`models list` shows them)")
        if args.json:
            show_json(plain(model))
        else:
            _show(model, sentences=args.plain)
        return Exit.OK

    return with_registry(args, work)


def register(args: argparse.Namespace) -> int:
    """Add a model."""
    return change(args, RegisterModel(*key_of(args.id), fields_of(args)))


def update(args: argparse.Namespace) -> int:
    """Change fields of a model."""
    given, unset = fields_of(args), [name.replace("-", "_") for name in args.unset]
    both = next((name for name in unset if name in given), None)
    if both is not None:
        raise Stop(Exit.USAGE, f"{both} is both given and in --unset (keep one)")
    fields = {**given, **dict.fromkeys(unset, None)}
    if not fields:
        raise Stop(Exit.USAGE, "nothing to change: name a field, e.g. `--tier deep` (see `models update --help`)")
    return change(args, UpdateModel(*key_of(args.id), fields, args.seen))


def remove(args: argparse.Namespace) -> int:
    """Take a model away."""
    return change(args, RemoveModel(*key_of(args.id)))


def enable(args: argparse.Namespace) -> int:
    """Let a model take requests."""
    return change(args, SetModelActive(*key_of(args.id), active=True))


def disable(args: argparse.Namespace) -> int:
    """Keep a model listed without requests."""
    return change(args, SetModelActive(*key_of(args.id), active=False))


def accept(args: argparse.Namespace) -> int:
    """Let a model join pools."""
    return change(args, AcceptModel(*key_of(args.id)))


def label(args: argparse.Namespace) -> int:
    """Add and take away tags."""
    if not (args.tags or args.remove):
        raise Stop(Exit.USAGE, "name tags to add, or `--remove A,B`")
    return change(args, LabelModel(*key_of(args.id), add=tuple(args.tags), remove=args.remove))


def assign(args: argparse.Namespace) -> int:
    """Send an agent somewhere."""
    return change(args, AssignAgent(args.agent, args.model))


def unassign(args: argparse.Namespace) -> int:
    """Let an agent fall back."""
    return change(args, UnassignAgent(args.agent))


def assignments(args: argparse.Namespace) -> int:
    """Print who was assigned."""

    async def work(control: Control) -> int:
        rows = await control.assignments()
        if args.json:
            show_json({"assignments": [plain(row) for row in rows]})
        else:
            items = ({"agent": row.agent, "model": row.model} for row in rows)
            show_items(items, plain=args.plain, empty="no assignments")
        return Exit.OK

    return with_registry(args, work)


def sync(args: argparse.Namespace) -> int:
    """List providers' models now; only a running engine does."""
    command = SyncModels(tuple(args.providers))
    if args.dry_run:
        return change_running(args, command)

    async def work(control: Control) -> int:
        receipt = await control.do(command, actor="cli")
        if args.json:
            show_json(dict(receipt.after))
        else:
            for what in ("new", "changed", "missing"):
                print(f"{what}: {text(receipt.after.get(what))}")
        return Exit.OK

    return with_control(args, work)


def doctor(args: argparse.Namespace) -> int:
    """Print what is wrong with models."""

    async def work(control: Control) -> int:
        return show_findings(await control.doctor("models"), as_json=args.json)

    return with_registry(args, work)


def set_capability(args: argparse.Namespace) -> int:
    """Say yes or no of a node."""
    return change(args, SetCapability(*key_of(args.id), args.node, args.value))


def clear_capability(args: argparse.Namespace) -> int:
    """Take that back, or forget what was learned."""
    kind = ClearGap if args.gap else ClearCapability
    return change(args, kind(*key_of(args.id), args.node))


def key_of(model: str) -> tuple[str, str]:
    """Return provider and upstream id; raises Stop."""
    target = route_target(model)
    return target.provider, target.model or ""


def fields_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the model fields that were given, JSON-ready."""
    given = {name: getattr(args, name) for name in _FIELDS if name in args}
    limits = {name: getattr(args, name) for name in _LIMITS if name in args}
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {**fields, "limits": limits} if limits else fields


def default_profile(profiles: Sequence[ProfileView]) -> str:
    """Return the profile that holds where a request names none."""
    return next((each.id for each in profiles if each.default), "none")


def model_item(model: ModelView) -> Item:
    """Return a model's line; a word with a minus is a known no."""
    values = model.capabilities.values()
    known = [each for each in values if each.value != "unknown" and (each.node in _WORDS or each.source == "operator")]
    return {
        "id": model.id,
        "enabled": model.enabled,
        "role": model.role,
        "format": model.format,
        "state": model.state,
        "can": tuple(f"{'-' if each.value == 'no' else ''}{_WORDS.get(each.node, each.node)}" for each in known),
        "context": model.context_window,
        "tier": model.tier,
        "tags": model.tags,
        "agents": model.agents,
        "pools": model.pools,
        "served": model.served,
        "note": model.note or None,
    }


def _show(model: ModelView, *, sentences: bool) -> None:
    data = plain(model)
    capabilities = data.pop("capabilities")
    for name, value in data.items():
        if value not in (None, "", [], {}):
            print(f"{name}: {text(value)}")
    if not capabilities:
        print("capabilities: nothing is known")
    elif sentences:
        show_items((_layer_items(model)), plain=True, empty="")
    else:
        print("capabilities:")
        for line in table(_layer_items(model), width=None):
            print(f"  {line}")


def _layer_items(model: ModelView) -> list[Item]:
    """Return a line per layer, the first of each node with the value in force."""
    return [item for each in model.capabilities.values() for item in _node_items(each)]


def _node_items(each: CapabilityValue) -> list[Item]:
    head = {"node": each.node, "value": each.value if each.source is None else f"{each.value} ({each.source})"}
    layers: list[Item] = [
        {
            **(head if number == 0 else dict.fromkeys(head)),
            "layer": layer.source,
            "says": f"{layer.value}, stale" if layer.stale else layer.value,
            "at": layer.at,
            "account": layer.account,
            "until": layer.expires_at,
            "evidence": layer.evidence or None,
        }
        for number, layer in enumerate(each.layers)
    ]
    if each.contradiction:  # a line of its own: it stands against all of the above
        rest = dict.fromkeys(("says", "at", "account", "until"))
        said = head if not layers else dict.fromkeys(head)
        layers.append({**said, "layer": "!", **rest, "evidence": each.contradiction})
    return layers
