"""Which nodes of the capability tree are seen: parents and children, what is open, the rows that come of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.render.capabilities import TreeRow
from routerconsole.domain.capability import is_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.registry_views import NodeView


class Foliage:
    """The tree as read last, and which nodes the operator opened; what nobody opened yet is open where it is in use."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeView] = {}
        self._children: dict[str, list[str]] = {}
        self._open: set[str] | None = None
        self._read: Sequence[NodeView] | None = None
        self.rows: Sequence[TreeRow] = ()

    def take(self, nodes: Sequence[NodeView]) -> bool:
        """Take the tree as it is now; False when it is the one that is known already."""
        if nodes is self._read:
            return False
        self._read = nodes
        self._nodes = {node.path: node for node in nodes}
        self._children = {}
        for path in self._nodes:
            self._children.setdefault(_parent(path), []).append(path)
        if self._open is None and nodes:
            self._open = {above for node in nodes if node.models or node.extension for above in _above(node.path)}
        self._arrange()
        return True

    def node(self, path: str) -> NodeView | None:
        """Return one node as read last."""
        return self._nodes.get(path)

    def find(self, name: str) -> str | None:
        """Return the path that a path, word or unique leaf name stands for."""
        if name in self._nodes:
            return name
        found = [path for path, node in self._nodes.items() if name in node.aliases]
        found = found or [path for path in self._nodes if path.rpartition(".")[2] == name]
        return found[0] if len(found) == 1 else None

    def unfold(self, path: str) -> bool:
        """Show what is below a node; False when nothing is, or it is shown already."""
        if not self._children.get(path) or self._open is None or path in self._open:
            return False
        self._open.add(path)
        self._arrange()
        return True

    def fold(self, path: str) -> str | None:
        """Hide what is below a node and return it, else return its parent to go to; None at a root."""
        if self._open is not None and path in self._open and self._children.get(path):
            self._open.remove(path)
            self._arrange()
            return path
        return _parent(path) or None

    def reveal(self, path: str) -> None:
        """Open everything above a node."""
        if self._open is not None:
            self._open.update(_above(path))
            self._arrange()

    def _arrange(self) -> None:
        rows: list[TreeRow] = []
        waiting = [(path, 0) for path in reversed(self._children.get("", ()))]
        shown = self._open or set()
        while waiting:
            path, depth = waiting.pop()
            below = self._children.get(path, ())
            is_open = path in shown if below else None
            rows.append(TreeRow(self._nodes[path], path.rpartition(".")[2], depth, is_open))
            if is_open:
                waiting.extend((child, depth + 1) for child in reversed(below))
        self.rows = rows


def extension_problem(path: str, known: Sequence[NodeView]) -> str:
    """Return why a path cannot be added to the tree, empty where it can; the engine has the last word."""
    nodes = {node.path for node in known}
    parent, _, leaf = path.rpartition(".")
    if not is_path(path):
        return "write lower-case words and '-', joined by dots"
    if path in nodes:
        return "it is in the tree already"
    if parent and parent not in nodes:
        return f"there is no {parent} to put it under"
    twin = next((node for node in sorted(nodes) if node.rpartition(".")[2] == leaf), None)
    return f"{leaf} is the name of {twin} already" if twin is not None else ""


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
