"""Capabilities: the tree with who can be asked, the models of a node, and every word said of one of them there.

Changes of one model are sent at once, those of several marked ones are asked for first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.demand import Demand
from routerconsole.console.foliage import Foliage
from routerconsole.console.prompt import Prompt
from routerconsole.console.render.capabilities import (
    AtNode,
    TreeRow,
    change_lines,
    coverage_words,
    model_detail,
    model_lines,
    node_lines,
    places,
    tree_lines,
)
from routerconsole.console.render.cells import Line, Role, wrap
from routerconsole.console.safe_text import visible
from routerconsole.console.snapshots import Read
from routerconsole.console.state import MAX_ROWS, Link
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants
from routerconsole.domain.capability import Word

from .base import ABREAST, Host, View
from .capability_edits import CapabilityEdits
from .evals_actions import accept_of
from .panes import ListPane, TextPane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.registry_views import ModelView, NodeView

READS: Final = frozenset({Read.NODES, Read.MODELS, Read.POOLS})
TREE, MODELS = 0, 1


class CapabilitiesView(View):
    """Tree, models of the selected node, layers of the selected model."""

    def __init__(self, host: Host) -> None:
        self.tree: TableModel[TreeRow] = TableModel(lambda row: row.node.path)
        self.models: TableModel[ModelView] = TableModel(lambda model: model.id)
        self._foliage = Foliage()
        self._demand = Demand()
        self._at: AtNode | None = None
        self._taken: tuple[object, ...] = ()
        self._filter = ""
        self._edits = CapabilityEdits(host, unmark=self.models.clear_marks)
        tree = ListPane(
            "Capabilities",
            (Context.CAPABILITIES, Context.TREE, Context.LIST),
            table=self.tree,
            draw=lambda rows, width: tree_lines(rows, width, self._demand.of),
            empty=self._no_tree,
            note=self._tree_note,
        )
        models = ListPane(
            "Models",
            (Context.CAPABILITIES, Context.MARKS, Context.TREE, Context.LIST),
            table=self.models,
            draw=self._draw_models,
            empty=self._no_models,
            note=self._models_note,
        )
        detail = TextPane("Layers", (Context.CAPABILITIES, Context.DETAIL), draw=self._detail)
        super().__init__("capabilities", host, (tree, models), detail)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Take tree, models, pools and counts in; models are put in order only when node or snapshots changed."""
        state = self.host.state
        snapshots = state.snapshots
        if snapshots.nodes is not None and self._foliage.take(snapshots.nodes):
            self._demand.name({word: node.path for node in snapshots.nodes for word in node.aliases})
        if self._foliage.rows is not self.tree.rows:
            first = not self.tree.rows
            self.tree.set(self._foliage.rows)
            if first and (used := next((row for row in self.tree.rows if row.node.total), None)) is not None:
                self.tree.go(used.node.path)
        self._go_to_added()
        full = len(state.requests) >= MAX_ROWS
        self._demand.refresh(state.requests, now=state.now, clock=state.clock, full=full)
        self._take_models()
        model = self.models.current
        self.detail.about(f"{self.tree.current_key} {self.models.current_key}")
        self.detail.name = visible(model.id, 60) if model is not None and self.focus != TREE else "Layers"
        self.lists[MODELS].name = f"Models · {visible(self._leaf, 40)}" if self._leaf else "Models"

    @property
    def _leaf(self) -> str:
        row = self.tree.current
        return row.name if row is not None else ""

    def _take_models(self) -> None:
        """Put the models of the selected node in order: yes as they are asked, then unknown, then no."""
        row, snapshots = self.tree.current, self.host.state.snapshots
        taken = (row.node if row is not None else None, snapshots.models, snapshots.pools, self._filter)
        if len(taken) == len(self._taken) and all(one is other for one, other in zip(taken, self._taken, strict=True)):
            return
        moved = self._at is None or row is None or self._at.node.path != row.node.path
        self._taken = taken
        if row is None or snapshots.models is None:
            self._at = None
            self.models.set(())
            return
        node = row.node
        pools = [pool for pool in snapshots.pools or () if pool.node == node.path]
        pool = next((pool for pool in pools if pool.automatic), next(iter(pools), None))
        everybody = next((pool for pool in snapshots.pools or () if pool.id == "auto"), None)
        said = {(each.provider, each.model): each for each in node.models}
        self._at = AtNode(node, said, places(pool or everybody), pool)
        self.models.set(_in_order(self._at, self._passing(snapshots.models.models)))
        if moved and not self.models.marked:
            self.models.to_top()

    def _passing(self, models: Sequence[ModelView]) -> Sequence[ModelView]:
        words = self._filter.casefold().split()
        if not words:
            return models
        return [model for model in models if all(word in model.id.casefold() for word in words)]

    def wants(self) -> Wants:
        """Need tree, models and pools."""
        return Wants(running=False, unfinished=self.host.state.requests.unfinished(), reads=READS)

    def stamp(self) -> object:
        """Show of the requests only how many needed what."""
        return self._demand.version

    def list_heights(self, height: int) -> tuple[int | None, ...]:
        """Wide: both lists, the tree first; narrow: the one that has the focus."""
        if self.wide:
            return (max(3, min(len(self.tree.rows) + 3, height * 9 // 20)), None)
        return (None, 0) if self.focus == TREE else (0, None)

    def list_width(self, width: int) -> int:
        """Give the lists two thirds, 60 % where they stand one below the other."""
        return width * 2 // 3 if width >= ABREAST else width * 3 // 5

    def abreast(self, width: int) -> tuple[int, ...] | None:
        """Stand side by side in three columns from 160 columns on."""
        if width < ABREAST:
            return None
        tree = max(50, width * 28 // 100)
        return tree, self.list_width(width) - tree

    def objects(self) -> Iterable[tuple[str, str]]:
        """Nodes live here."""
        nodes = self.host.state.snapshots.nodes or ()
        return [
            (node.path, f"{node.path} ({', '.join(node.aliases)})" if node.aliases else node.path) for node in nodes
        ]

    def go(self, key: str) -> bool:
        """Select a node by path, word or unique leaf name."""
        path = self._foliage.find(key)
        if path is None:
            return False
        self._foliage.reveal(path)
        self.focus = TREE
        self.tree.set(self._foliage.rows)
        found = self.tree.go(path)
        self.sync()
        return found

    def narrow(self, text: str) -> bool:
        """Show only models whose id has all the words."""
        self._filter = text
        self.sync()
        return True

    # -- keys --------------------------------------------------------------------------------------------------------

    def act(self, action_id: str) -> bool:
        """Fold, go between tree and models, change values, else move."""
        match action_id:
            case "open" | "into" if self.focus == TREE:
                self._deeper(unfolds=action_id == "into")
            case "tree.fold":
                self._out()
            case "capability.filter":
                self._filter_line()
            case "capability.requests":
                self._requests()
            case "capability.accept":
                if (node := self.tree.current_key) is not None and (models := self._meant()):
                    self.host.spawn(accept_of(self.host, [model.id for model in models], node))
            case "capability.evaluate":
                if models := self._meant():
                    self.host.evaluate([model.id for model in models], self.tree.current_key)
            case _ if action_id.startswith("capability."):
                self._edit(action_id)
            case _:
                return super().act(action_id)
        self.sync()
        return True

    def pop(self) -> bool:
        """Take marks away, leave the detail, take the filter away, leave the models."""
        if super().pop():
            return True
        if self._filter:
            return self.narrow("")
        if self.focus == MODELS:
            self.focus = self._last_list = TREE
            self.sync()
            return True
        return False

    def _deeper(self, *, unfolds: bool) -> None:
        row = self.tree.current
        if row is None or (unfolds and self._foliage.unfold(row.node.path)):
            return
        self.focus = self._last_list = MODELS

    def _out(self) -> None:
        row = self.tree.current
        if self.focus == MODELS:
            self.focus = self._last_list = TREE
        elif row is not None and (path := self._foliage.fold(row.node.path)) is not None:
            self.tree.set(self._foliage.rows)
            self.tree.go(path)

    def _meant(self) -> Sequence[ModelView]:
        """Return whom a key is for: the marked models, else the selected one; nobody while the tree has the focus."""
        if self.models.marked:
            return self.models.marked
        model = self.models.current
        if model is None or self.focus == TREE:
            self.host.tell("for which model? Enter goes to the models of this node, Space marks several", ok=False)
            return ()
        return (model,)

    def _edit(self, action_id: str) -> None:
        """Change what is said of the models that are meant, at the selected node."""
        node, nodes = self.tree.current_key, self.host.state.snapshots.nodes
        if node is None or nodes is None:
            self.host.tell("the tree is not read yet", ok=False)
        elif action_id == "capability.extend":
            self._edits.extend(node, nodes)
        elif models := self._meant():
            self._edits.change(action_id, node, models)

    def _requests(self) -> None:
        """Go to the requests that needed the node; chat itself is needed without being named."""
        row = self.tree.current
        words = row.node.aliases if row is not None else ()
        if words:
            self.host.show_requests("" if Word.TEXT in words else f"cap:{words[0]}")
        else:
            self.host.tell(f"no request can name {self._leaf}: it has no word", ok=False)

    def _filter_line(self) -> None:
        self.focus = self._last_list = MODELS
        self.pushed = False
        self.host.ask_text(
            Prompt("/", self._narrowed, text=self._filter, changed=self._narrowed, cancelled=lambda: self._narrowed(""))
        )

    def _narrowed(self, text: str) -> None:
        self.narrow(text)

    def _go_to_added(self) -> None:
        """Select a node that was added here once the tree has it."""
        path = self._edits.added
        if path is not None and self._foliage.node(path) is not None:
            self._edits.added = None
            self._foliage.reveal(path)
            self.tree.set(self._foliage.rows)
            self.tree.go(path)

    # -- texts -------------------------------------------------------------------------------------------------------

    def _old(self) -> str:
        """Return a note where what is shown may be old."""
        link = self.host.state.link
        return "" if link in {Link.LIVE, Link.CONNECTING} else "old"

    def _tree_note(self) -> str:
        nodes: Sequence[NodeView] = self.host.state.snapshots.nodes or ()
        none = sum(bool(node.total) and not node.routable for node in nodes)
        one = sum(node.routable == 1 for node in nodes)
        parts = [f"! {one} single" if one else "", f"!! {none} none" if none else "", self._old()]
        return " · ".join(part for part in parts if part)

    def _models_note(self) -> str:
        if self._at is None:
            return self._old()
        text, _ = coverage_words(self._at.node)
        shown = f"/{visible(self._filter, 40)} {len(self.models.rows)} shown, Esc shows all" if self._filter else ""
        return " · ".join(part for part in (text, shown, self._old()) if part)

    def _draw_models(self, rows: Sequence[ModelView], width: int) -> tuple[Line, list[Line]]:
        return model_lines(rows, width, self._at) if self._at is not None else ((), [])

    def _detail(self, width: int) -> list[Line]:
        at, state = self._at, self.host.state
        if at is None:
            return [(("no node selected", Role.DIM),)]
        lines = node_lines(at, self._demand.of(at.node.path), self._demand.since, width)
        model = self.models.current
        if model is not None:
            lines += [(), ((visible(model.id, 200), Role.TITLE),), *model_detail(at, model, width, state.now)]
            last = self._edits.last
            if last is not None and (last.node, last.model) == (at.node.path, model.id):
                lines += [(), *change_lines(last.receipt, last.weight, width)]
        return lines

    def _no_tree(self) -> Sequence[Line]:
        return self._unread("capability tree")

    def _unread(self, what: str) -> Sequence[Line]:
        state = self.host.state
        if state.problem and state.link is not Link.DISCONNECTED:
            return wrap(f"The {what} could not be read: {state.problem}. Tried again at the next look.", 76, indent=2)
        waiting = state.link in {Link.CONNECTING, Link.LIVE}
        text = f"asking the engine for its {what}…" if waiting else "no engine answers yet; see the line above"
        return wrap(text, 76, indent=2, role=Role.DIM)

    def _no_models(self) -> Sequence[Line]:
        if self.host.state.snapshots.models is None:
            return self._unread("models")
        if self._filter:
            return wrap("No model has this in its name. Esc shows all again.", 76, indent=2, role=Role.DIM)
        return wrap(
            "No models yet. Configure a provider that lists its own, or register one: "
            "`routerconsole models register PROVIDER MODEL`.",
            76,
            indent=2,
        )


def _in_order(at: AtNode, models: Sequence[ModelView]) -> Sequence[ModelView]:
    """Return models as a request for the node would come to them: yes in the pool's order, unknown, no."""
    able: list[ModelView] = []
    unknown: list[ModelView] = []
    unable: list[ModelView] = []
    for model in models:
        said = at.said.get((model.provider, model.upstream_id))
        (unknown if said is None else able if said.value == "yes" else unable).append(model)
    last = (len(at.places) + 1, None)
    able.sort(key=lambda model: at.places.get((model.provider, model.upstream_id), last)[0])
    return [*able, *unknown, *unable]
