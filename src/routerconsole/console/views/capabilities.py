"""Capabilities: the tree with who can be asked, the models of a node, and every word said of one of them there.

Changes of one model are sent at once, those of several marked ones are asked for first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.actions import Context
from routerconsole.console.demand import Demand
from routerconsole.console.foliage import Foliage, extension_problem
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
from routerconsole.console.sending import Proposal
from routerconsole.console.snapshots import Read
from routerconsole.console.state import MAX_ROWS, Link
from routerconsole.console.table import TableModel
from routerconsole.console.tick import Wants
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    SetCapability,
    Undo,
)

from .base import ABREAST, Host, ListPane, TextPane, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routerconsole.control.commands import Command, Receipt
    from routerconsole.control.registry_views import ModelView, NodeView

READS: Final = frozenset({Read.NODES, Read.MODELS, Read.POOLS})
NAMED: Final = 6
"""Marked models a question names; the others are counted."""
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
        self._change: tuple[str, str, Receipt, str] | None = None
        self._goes_to: str | None = None
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
            (Context.CAPABILITIES, Context.TREE, Context.MARKS, Context.LIST),
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
            self.tree.set(self._foliage.rows)
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
        pool = next((pool for pool in snapshots.pools or () if pool.node == node.path and pool.automatic), None)
        pool = pool or next((pool for pool in snapshots.pools or () if pool.node == node.path), None)
        said = {(each.provider, each.model): each for each in node.models}
        self._at = AtNode(node, said, places(pool), pool)
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
            case "capability.yes" | "capability.no":
                self._say(action_id == "capability.yes")
            case "capability.unknown":
                self._unsay()
            case "capability.accept":
                self.host.tell(f"nothing to accept: no evaluation has measured {self._leaf} yet", ok=True)
            case "capability.forget":
                self._forget()
            case "capability.extend":
                self._extend()
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

    # -- changes -----------------------------------------------------------------------------------------------------

    def _meant(self) -> Sequence[ModelView]:
        """Return whom a key is for: the marked models, else the selected one; nobody while the tree has the focus."""
        if self.models.marked:
            return self.models.marked
        model = self.models.current
        if model is None or self.focus == TREE:
            self.host.tell("for which model? Enter goes to the models of this node, Space marks several", ok=False)
            return ()
        return (model,)

    def _say(self, able: bool) -> None:
        node, models = self.tree.current_key, self._meant()
        if node is not None and models:
            value = "yes" if able else "no"
            new = [model for model in models if self._operator(model, node) != value]
            if not new:
                self.host.tell(f"an operator said {value} of {self._leaf} already", ok=True)
                return
            self._change_all(
                [SetCapability(model.provider, model.upstream_id, node, "yes" if able else "no") for model in new],
                new,
                f"Say {value} of {self._leaf} for",
            )

    def _unsay(self) -> None:
        node, models = self.tree.current_key, self._meant()
        if node is not None and models:
            said = [model for model in models if self._operator(model, node) is not None]
            if not said:
                self.host.tell(
                    f"no operator said anything of {self._leaf} here: there is nothing to take away", ok=True
                )
                return
            commands = [ClearCapability(model.provider, model.upstream_id, node) for model in said]
            self._change_all(commands, said, f"Take the operator's word on {self._leaf} away for")

    def _forget(self) -> None:
        node, models = self.tree.current_key, self._meant()
        if node is not None and models:
            lacking = [
                model
                for model in models
                if (value := model.capabilities.get(node)) and any(layer.source == "gap" for layer in value.layers)
            ]
            if not lacking:
                self.host.tell(f"no gap was learned of {self._leaf} here", ok=True)
                return
            commands = [ClearGap(model.provider, model.upstream_id, node) for model in lacking]
            self._change_all(commands, lacking, f"Forget what was learned to lack {self._leaf} of")

    @staticmethod
    def _operator(model: ModelView, node: str) -> str | None:
        """Return what an operator said of a model at a node itself."""
        value = model.capabilities.get(node)
        layers = value.layers if value is not None else ()
        return next((layer.value for layer in layers if layer.source == "operator"), None)

    def _change_all(self, commands: Sequence[Command], models: Sequence[ModelView], title: str) -> None:
        """Send one change at once, ask for several together."""
        first, *rest = commands
        if not rest:
            self.host.send_all([Proposal(first, models[0].id, done=self._changed)])
            return
        more = f" and {len(models) - NAMED} more" if len(models) > NAMED else ""
        names = ", ".join(visible(model.id, 40) for model in models[:NAMED]) + more
        self.host.propose(
            Proposal(
                first,
                f"{len(models)} models",
                f"{title} {len(models)} models?",
                (("models", names),),
                more=tuple(rest),
                impact=True,
                done=self._done_with_marks,
            )
        )

    def _done_with_marks(self, receipt: Receipt) -> None:
        self.models.clear_marks()
        self._changed(receipt)

    def _changed(self, receipt: Receipt) -> None:
        """Remember what changed, and ask what it would have meant for the last requests: taken back, the other way."""
        node = str(receipt.after.get("node") or self.tree.current_key)
        self._change = (node, receipt.target, receipt, "")
        if receipt.audit_id is not None:
            self.host.spawn(self._weigh(receipt, receipt.audit_id))

    async def _weigh(self, receipt: Receipt, number: int) -> None:
        try:
            told = await self.host.control.impact((Undo(number),))
        except ControlError:
            return  # undone or changed meanwhile, or a receipt that cannot be: then the line is left out
        change = self._change
        if change is not None and change[2] is receipt and told.replayed:
            last = f"the last {told.replayed} requests"
            count = told.elsewhere or "none"
            self._change = (*change[:3], f"{count} of {last} would have gone elsewhere")
            self.host.redraw()

    def _extend(self) -> None:
        nodes = self.host.state.snapshots.nodes
        if nodes is None:
            self.host.tell("the tree is not read yet", ok=False)
            return
        under = f"{self.tree.current_key}." if self.tree.current_key else ""

        def complete(text: str) -> Sequence[str]:
            return [f"{node.path}." for node in nodes if text and node.path.startswith(text)]

        def accept(path: str) -> None:
            self._goes_to = path
            self.host.send_all([Proposal(ExtendCapabilities(path), path)])

        self.host.ask_text(
            Prompt(
                "new node: ",
                accept,
                text=under,
                complete=complete,
                problem=lambda text: extension_problem(text, nodes),
            )
        )

    def _go_to_added(self) -> None:
        """Select a node that was added here once the tree has it."""
        if self._goes_to is not None and self._foliage.node(self._goes_to) is not None:
            path, self._goes_to = self._goes_to, None
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
        parts = [f"! {one} hang on one model" if one else "", f"!! {none} without any" if none else "", self._old()]
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
        if self._change is not None and model is not None and self._change[:2] == (at.node.path, model.id):
            lines += [(), *change_lines(self._change[2], self._change[3], width)]
        return lines

    def _no_tree(self) -> Sequence[Line]:
        return self._unread("capability tree")

    def _unread(self, what: str) -> Sequence[Line]:
        state = self.host.state
        if state.problem and state.link is Link.LIVE:
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
    last = len(at.places) + 1
    able.sort(key=lambda model: place.number if (place := at.place(model)) is not None else last)
    return [*able, *unknown, *unable]
