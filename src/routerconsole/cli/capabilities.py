"""`routerconsole capabilities tree|show|extend`."""

from __future__ import annotations

import argparse
import difflib
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import Item, show_items, show_json
from routerconsole.cli.registry import change, with_registry
from routerconsole.control.registry_commands import ExtendCapabilities
from routerconsole.control.wire import plain
from routerconsole.domain.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.port import Control
    from routerconsole.control.registry_views import NodeModel, NodeView


def tree(args: argparse.Namespace) -> int:
    """Print every node, indented by depth, with how many models have it and how many of them can be asked now."""

    async def work(control: Control) -> int:
        nodes = await control.capabilities()
        if args.json:
            show_json({"nodes": [plain(node) for node in nodes]})
        elif args.plain:
            show_items((_node_item(node) for node in nodes), plain=True, empty="no nodes")
        else:
            for node in nodes:
                print(_branch(node))
        return Exit.OK

    return with_registry(args, work)


def show(args: argparse.Namespace) -> int:
    """Print a node with the models that say yes or no of it."""

    async def work(control: Control) -> int:
        node = find_node(await control.capabilities(), args.node)
        if args.json:
            show_json(plain(node))
        else:
            print(_branch(node).strip())
            show_items((_model_item(each) for each in node.models), plain=args.plain, empty="nobody says anything")
        return Exit.OK

    return with_registry(args, work)


def extend(args: argparse.Namespace) -> int:
    """Add a node."""
    return change(args, ExtendCapabilities(args.node))


def find_node(nodes: Sequence[NodeView], name: str) -> NodeView:
    """Return the node a path, word or unique last part names; raises Stop with the choices or the nearest."""
    for node in nodes:
        if name == node.path or name in node.aliases:
            return node
    leaves = [node for node in nodes if node.path.rpartition(".")[2] == name]
    if len(leaves) == 1:
        return leaves[0]
    if leaves:
        raise Stop(Exit.USAGE, f"{name!r} is ambiguous: {', '.join(node.path for node in leaves)}")
    known = [each for node in nodes for each in (node.path, node.path.rpartition(".")[2], *node.aliases)]
    near = list(dict.fromkeys(difflib.get_close_matches(name, known, n=3, cutoff=0.5)))
    raise Stop(Exit.USAGE, f"there is no node {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def _branch(node: NodeView) -> str:
    depth = node.path.count(".")
    words = f" ({', '.join(node.aliases)})" if node.aliases else ""
    mark = " +" if node.extension else ""
    counts = f"  {node.routable}/{node.total}" if node.total else ""
    return visible("  " * depth + node.path.rpartition(".")[2] + words + mark + counts)


def _node_item(node: NodeView) -> Item:
    return {
        "path": node.path,
        "aliases": node.aliases,
        "extension": "yes" if node.extension else None,
        "total": node.total,
        "routable": node.routable,
    }


def _model_item(each: NodeModel) -> Item:
    return {"model": f"{each.provider}/{each.model}", "value": each.value, "source": each.source}
