"""Changes of capability values: of one model at once, of several after one question; what the last one came to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from routerconsole.console.foliage import extension_problem
from routerconsole.console.prompt import Prompt
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    ClearCapability,
    ClearGap,
    ExtendCapabilities,
    SetCapability,
    Undo,
)
from routerconsole.domain.counted import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routerconsole.control.commands import Command, Receipt
    from routerconsole.control.registry_views import LayerView, ModelView, NodeView

    from .base import Host

NAMED: Final = 6
"""Marked models a question names; the others are counted."""
MOST: Final = 500
"""Models changed together: each is one edit, and one among 5,000 models takes 27 ms (measured on the engine)."""


@dataclass(frozen=True, slots=True)
class Last:
    """The last change made here: where, its receipt, and what it meant for the last requests once that is known."""

    node: str
    model: str
    receipt: Receipt
    weight: str = ""


class CapabilityEdits:
    """Sends the changes of one view; `unmark` is called when marked models were changed."""

    def __init__(self, host: Host, *, unmark: Callable[[], object]) -> None:
        self._host = host
        self._unmark = unmark
        self.last: Last | None = None
        self.added: str | None = None
        """A node added here that the tree does not have yet."""

    def change(self, action_id: str, node: str, models: Sequence[ModelView]) -> None:
        """Say yes or no, take that away, or forget gaps, of those models where it changes anything."""
        leaf, many = visible(node.rpartition(".")[2], 40), len(models) > 1
        match action_id:
            case "capability.yes" | "capability.no":
                value: Literal["yes", "no"] = "yes" if action_id == "capability.yes" else "no"
                new = [model for model in models if _operator(model, node) != value]
                commands: list[Command] = [SetCapability(m.provider, m.upstream_id, node, value) for m in new]
                title, else_ = f"Say {value} of {leaf} for", f"an operator said {value} of {leaf} already"
            case "capability.unknown":
                new = [model for model in models if _operator(model, node) is not None]
                commands = [ClearCapability(m.provider, m.upstream_id, node) for m in new]
                title = f"Take the operator's word on {leaf} away for"
                else_ = f"no operator said anything of {leaf} here: there is nothing to take away"
            case "capability.forget":
                new = [model for model in models if any(layer.source == "gap" for layer in _layers(model, node))]
                commands = [ClearGap(m.provider, m.upstream_id, node) for m in new]
                title, else_ = f"Forget what was learned to lack {leaf} of", f"no gap was learned of {leaf} here"
            case _:
                new, commands, title = [], [], ""
                else_ = f"{action_id} changes no value"
        if not new:
            self._host.tell(else_, ok=True)
        elif len(new) > MOST:
            self._host.tell(f"{len(new)} models are too many at once: mark {MOST} at most", ok=False)
        elif many:
            self._ask(commands, new, title)
        else:
            self._host.send_all([Proposal(commands[0], new[0].id, done=lambda receipt: self._weighed(node, receipt))])

    def extend(self, under: str, nodes: Sequence[NodeView]) -> None:
        """Ask for the path of a new node, below the selected one unless changed."""

        def complete(text: str) -> Sequence[str]:
            return [f"{node.path}." for node in nodes if text and node.path.startswith(text)]

        def accept(path: str) -> None:
            self.added = path
            self._host.send_all([Proposal(ExtendCapabilities(path), path)])

        self._host.ask_text(
            Prompt(
                "new node: ",
                accept,
                text=f"{under}.",
                complete=complete,
                problem=lambda text: extension_problem(text, nodes),
            )
        )

    def _ask(self, commands: Sequence[Command], models: Sequence[ModelView], title: str) -> None:
        more = f" and {len(models) - NAMED} more" if len(models) > NAMED else ""
        names = ", ".join(visible(model.id, 40) for model in models[:NAMED]) + more
        count = f"{len(models)} model" + "s" * (len(models) > 1)
        self._host.propose(
            Proposal(
                commands[0],
                count,
                f"{title} {count}?",
                (("models", names),),
                more=tuple(commands[1:]),
                impact=True,
                done=self._changed_many,
            )
        )

    def _changed_many(self, _receipt: Receipt) -> None:
        self._unmark()

    def _weighed(self, node: str, receipt: Receipt) -> None:
        """Keep a receipt, and ask what it meant for the last requests."""
        self.last = Last(node, receipt.target, receipt)
        if receipt.audit_id is not None:
            self._host.spawn(self._weigh(self.last, receipt.audit_id))

    async def _weigh(self, last: Last, number: int) -> None:
        """Try its undoing on the last requests: those that would go elsewhere then are the ones it moves."""
        try:
            told = await self._host.control.impact((Undo(number),))
        except ControlError:
            return  # undone or changed again meanwhile: then nothing is said of it
        if self.last is last and told.replayed:
            count = f"{told.elsewhere or 'none'} of the last {counted(told.replayed, 'request')}"
            self.last = replace(last, weight=f"{count} would have gone elsewhere")
            self._host.redraw()


def _layers(model: ModelView, node: str) -> Sequence[LayerView]:
    value = model.capabilities.get(node)
    return value.layers if value is not None else ()


def _operator(model: ModelView, node: str) -> str | None:
    """Return what an operator said of a model at a node itself."""
    return next((layer.value for layer in _layers(model, node) if layer.source == "operator"), None)
