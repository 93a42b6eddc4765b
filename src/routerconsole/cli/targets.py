"""`routerconsole providers …` and `routes …`: lists, reachability checks, and every change as one command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop, say
from routerconsole.cli.output import Item, changes, show_items, show_json
from routerconsole.cli.quantity import ending, ms, percent
from routerconsole.cli.session import with_control
from routerconsole.cli.status import provider_item
from routerconsole.control.commands import (
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.wire import plain
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.views import RouteStatus


def list_providers(args: argparse.Namespace) -> int:
    """Print every provider."""

    async def work(control: Control) -> int:
        status = await control.status()
        if args.json:
            show_json({"providers": [plain(provider) for provider in status.providers]})
        else:
            show_items((provider_item(each) for each in status.providers), plain=args.plain, empty="no providers")
        return Exit.OK

    return with_control(args, work)


def list_routes(args: argparse.Namespace) -> int:
    """Print every route, one line per account."""

    async def work(control: Control) -> int:
        routes = [route for provider in (await control.status()).providers for route in provider.routes]
        if args.json:
            show_json({"routes": [plain(route) for route in routes]})
        else:
            show_items((_route_item(route) for route in routes), plain=args.plain, empty="no routes")
        return Exit.OK

    return with_control(args, work)


def change_providers(args: argparse.Namespace) -> int:
    """Change one provider."""
    return change(args, _command(args, Target(args.target)))


def change_routes(args: argparse.Namespace) -> int:
    """Change one model at one provider, all accounts."""
    return change(args, _command(args, route_target(args.target)))


def probe(args: argparse.Namespace) -> int:
    """Check a provider (of a route: its provider) now; the exit code says whether it is healthy."""
    name = args.target if args.command == "providers" else route_target(args.target).provider

    async def work(control: Control) -> int:
        receipt = await control.do(Probe((name,)), actor="cli", dry_run=args.dry_run)
        if args.dry_run:
            show_receipt(receipt, as_json=args.json)
            return Exit.OK
        results = receipt.after.get("providers", [])
        if args.json:
            show_json(dict(receipt.after))
        else:
            show_items((_health_item(result) for result in results), plain=args.plain, empty="nothing was checked")
        return Exit.OK if results and all(result.get("healthy") for result in results) else Exit.PROBLEMS

    return with_control(args, work)


def route_target(text: str) -> Target:
    """Return the route `provider/model` names; only the first `/` separates."""
    provider, slash, model = text.partition("/")
    if not (provider and slash and model):
        raise Stop(Exit.USAGE, f"{text!r} is not PROVIDER/MODEL, e.g. ollama/llama3.2:3b")
    return Target(provider, model)


def change(args: argparse.Namespace, command: Command) -> int:
    """Carry out a command and print what it changed."""

    async def work(control: Control) -> int:
        show_receipt(await control.do(command, actor="cli", dry_run=args.dry_run), as_json=args.json)
        return Exit.OK

    return with_control(args, work)


def show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    """Print a change as before → after; a change that a restart would lose is said on stderr."""
    if as_json:
        show_json(plain(receipt))
    else:
        what = f"{receipt.command} {receipt.target}".strip()
        changed = changes(receipt.before, receipt.after) or "nothing changes"
        print(f"{'dry run: ' if receipt.dry_run else ''}{visible(what)}: {changed}")
    if not receipt.dry_run and not receipt.persisted:
        say("in force, but storage does not keep it: a restart would lose this change")
    sys.stdout.flush()


def _command(args: argparse.Namespace, target: Target) -> Command:
    match args.verb:
        case "enable":
            return Enable(target)
        case "disable":
            return Disable(target, cancel_in_flight=args.cancel_in_flight)
        case "drain":
            return Drain(target, cancel_in_flight=args.cancel_in_flight)
        case "reset":
            return ResetCircuit(target, gates=args.gates)
        case "isolate":
            return Isolate(target, ttl_s=args.ttl, cancel_in_flight=args.cancel_in_flight)
        case "force-close":
            return ForceClose(target, ttl_s=args.ttl)
        case "priority":
            return SetPriority(target.provider, args.priority, target.model)
    raise Stop(Exit.USAGE, f"unknown verb {args.verb!r}")


def _route_item(route: RouteStatus) -> Item:
    return {
        "provider": route.provider,
        "model": route.model,
        "account": route.account,
        "status": route.status,
        "circuit": ending(route.circuit_state, route.circuit_open_for_s),
        "gate": ending(route.gate, route.gate_ends_in_s),
        "requests": route.total_requests,
        "errors": percent(route.error_rate),
        "gaps": route.gaps,
        "reason": route.reason,
    }


def _health_item(result: dict[str, object]) -> Item:
    latency = result.get("latency_ms")
    return {
        "name": result.get("name"),
        "kind": result.get("kind"),
        "healthy": result.get("healthy"),
        "status": result.get("status"),
        "depth": result.get("depth"),
        "latency": ms(latency) if isinstance(latency, int | float) else None,
        "detail": result.get("detail"),
    }
