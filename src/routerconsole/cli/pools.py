"""`routerconsole pools list|show|rotate`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import Item, show_items, show_json, text
from routerconsole.cli.registry import with_registry
from routerconsole.cli.targets import change
from routerconsole.control.registry_commands import RotatePool
from routerconsole.control.wire import plain

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import PoolMember, PoolView


def list_(args: argparse.Namespace) -> int:
    """Print every pool."""

    async def work(control: Control) -> int:
        pools = await control.pools()
        if args.json:
            show_json({"pools": [plain(pool) for pool in pools]})
        else:
            show_items((_pool_item(pool) for pool in pools), plain=args.plain, empty="no pools")
        return Exit.OK

    return with_registry(args, work)


def show(args: argparse.Namespace) -> int:
    """Print one pool with its members in the order its strategy would ask them now."""

    async def work(control: Control) -> int:
        pools = await control.pools()
        pool = next((each for each in pools if each.id.casefold() == args.id.casefold()), None)
        if pool is None:
            raise Stop(Exit.USAGE, f"there is no pool {args.id!r}; there are: {', '.join(each.id for each in pools)}")
        if args.json:
            show_json(plain(pool))
        else:
            for name, value in _pool_item(pool).items():
                print(f"{name}: {text(value)}")
            show_items((_member_item(each) for each in pool.members), plain=args.plain, empty="no members")
        return Exit.OK

    return with_registry(args, work)


def rotate(args: argparse.Namespace) -> int:
    """Move a pool's pointer on; only a running engine has one."""
    return change(args, RotatePool(args.id))


def _pool_item(pool: PoolView) -> Item:
    return {
        "id": pool.id,
        "strategy": pool.strategy,
        "routable": f"{pool.routable}/{pool.total}",
        "pointer": pool.pointer,
        "node": pool.node,
        "automatic": "yes" if pool.automatic else None,
        "description": pool.description or None,
    }


def _member_item(member: PoolMember) -> Item:
    return {
        "position": member.position,
        "provider": member.provider,
        "model": member.model,
        "account": member.account,
        "admissible": member.admissible,
        "reason": member.reason or None,
    }
