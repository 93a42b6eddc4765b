"""How every change leaves the console: asked where it touches live traffic, sent once, told, and taken back by `z`.

One command per subject at a time; what would change comes from the engine's own dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import Undo

from .operate import EDITED, Question, edited, question_of, result_text, settle, withdraw
from .render.impact import impact_text
from .safe_text import visible

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from routerconsole.control.commands import Command, Receipt
    from routerconsole.control.port import Control

MAX_UNDO: Final = 50
UNDOABLE: Final = frozenset(
    {
        "register_model",
        "update_model",
        "apply_edits",
        "remove_model",
        "set_model_active",
        "accept_model",
        "label_model",
        "assign_agent",
        "unassign_agent",
        "set_capability",
        "clear_capability",
        "accept_measured",
        "extend_capabilities",
    }
)
"""Changes of registry and capabilities, which the engine can reverse by their audit number."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change to be made. `subject` is what it acts on, as shown; `paragraphs` explain it where it asks first.

    `provider` (and `model` there) is what it touches: should that go meanwhile, the question is withdrawn. With
    `impact` the question says what it would have meant for the last requests. `more` are made after the same yes.
    `refused` hears why it was not made and says whether it told that itself.
    """

    command: Command
    subject: str
    title: str = ""
    paragraphs: tuple[tuple[str, str], ...] = ()
    asks: bool = True
    provider: str | None = None
    model: str | None = None
    done: Callable[[Receipt], None] | None = None
    impact: bool = False
    more: tuple[Command, ...] = ()
    refused: Callable[[ControlError], bool] | None = None


class Face(Protocol):
    """What sending needs of the desk."""

    question: Question | None

    def tell(self, text: str, *, ok: bool) -> None:
        """Show a result in the bottom line."""

    def changed(self) -> None:
        """Look at the engine again and draw."""

    def redraw(self) -> None:
        """Draw what changed."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that waits."""


@dataclass(slots=True)
class Sender:
    """Sends commands for one desk."""

    control: Control
    face: Face
    _acting: set[str] = field(default_factory=set)
    _applied: list[tuple[int, ...]] = field(default_factory=list)  # by their audit numbers, as made together

    def propose(self, proposal: Proposal) -> None:
        """Send a change, after asking where it asks."""
        if not proposal.asks:
            self._send((proposal,))
            return
        self.face.question = question_of(proposal)
        self.face.spawn(self._preview(self.face.question, proposal))

    def send_all(self, proposals: Sequence[Proposal]) -> None:
        """Send several changes one after the other without asking, and tell what they came to together."""
        if proposals:
            self._send(proposals)

    def answer(self, *, yes: bool) -> None:
        """Answer the question that is open; `y` is deaf until the engine has said what would change."""
        question = self.face.question
        if question is None or (yes and not (question.ready or question.gone)):
            return
        self.face.question = None
        if yes and question.proposal is not None:
            first = replace(question.proposal, more=())
            also = tuple(replace(first, command=command) for command in question.proposal.more)
            self._send((first, *also), shown=None if also else question.before)
        elif not question.gone:
            self.face.tell("nothing was changed", ok=True)

    def undo(self) -> None:
        """Take the last change made here back; several made together go together, the last of them first."""
        if not self._applied:
            self.face.tell("nothing made here can be undone; `@` lists every change", ok=False)
            return
        self._send(
            [
                Proposal(Undo(number), f"change #{number}", done=partial(self._forget, number))
                for number in reversed(self._applied[-1])
            ]
        )

    def gone(self) -> None:
        """Withdraw the question that is open: what it is about is no more."""
        question = self.face.question
        if question is not None and not question.gone:
            withdraw(question)

    async def _preview(self, question: Question, proposal: Proposal) -> None:
        try:
            receipt = await self.control.do(proposal.command, actor="console", dry_run=True)
            told = await self.control.impact((proposal.command, *proposal.more)) if proposal.impact else None
        except ControlError as error:
            if self.face.question is question:
                self.face.question = None
            if proposal.refused is None or not proposal.refused(error):
                self.face.tell(error.message, ok=False)
        else:
            if not question.gone:
                settle(question, receipt, impact=None if told is None else impact_text(told))
        self.face.redraw()

    def _send(self, proposals: Sequence[Proposal], *, shown: Mapping[str, object] | None = None) -> None:
        """Send changes; `shown` is how things stood when they were confirmed."""
        subjects = [proposal.subject for proposal in proposals]
        busy = next((subject for subject in subjects if subject in self._acting), None)
        if busy is not None:
            self.face.tell(f"{busy}: the last action is still running", ok=False)
            return
        self._acting.update(subjects)
        first = proposals[0]
        more = f" and {len(proposals) - 1} more" if len(proposals) > 1 else ""
        self.face.tell(f"{first.command.name.replace('_', ' ')} {first.subject}{more}…", ok=True)
        self.face.spawn(self._carry_out(proposals, shown or {}))

    async def _carry_out(self, proposals: Sequence[Proposal], shown: Mapping[str, object]) -> None:
        receipts: list[Receipt] = []
        refused: list[str] = []
        try:
            for proposal in proposals:
                try:
                    if any(key in shown for key in EDITED) and await self._overtaken(proposal, shown):
                        return
                    receipt = await self.control.do(proposal.command, actor="console")
                except ControlError as error:
                    if proposal.refused is not None and proposal.refused(error):
                        continue
                    refused.append(f"{visible(proposal.subject, 60)}: {error.message}")
                    continue
                receipts.append(receipt)
                if proposal.done is not None:
                    proposal.done(receipt)
        finally:
            self._remember(receipts)
            self._acting.difference_update(proposal.subject for proposal in proposals)
            self._conclude(receipts, refused)
            self.face.changed()

    async def _overtaken(self, proposal: Proposal, shown: Mapping[str, object]) -> bool:
        """Say whether somebody else changed what was confirmed; if so tell, and ask again about what is so now."""
        ahead = await self.control.do(proposal.command, actor="console", dry_run=True)
        other = edited(shown, ahead.before)
        if other is None:
            return False
        self.face.tell(f"conflict, nothing done: {visible(proposal.subject, 40)} changed meanwhile: {other}", ok=False)
        if self.face.question is None:
            self.face.question = question_of(proposal)
            settle(self.face.question, ahead)
        return True

    def _conclude(self, receipts: Sequence[Receipt], refused: Sequence[str]) -> None:
        if refused:
            kept = f" ({len(receipts)} of {len(receipts) + len(refused)} were made)" if receipts else ""
            self.face.tell(f"refused: {refused[0]}{kept}", ok=False)
        elif len(receipts) == 1:
            self.face.tell(result_text(receipts[0]), ok=True)
        elif receipts:
            again = " (z undoes it)" if receipts[0].command in UNDOABLE else ""
            self.face.tell(f"{receipts[0].command.replace('_', ' ')}: {len(receipts)} changed{again}", ok=True)

    def _remember(self, receipts: Sequence[Receipt]) -> None:
        made = [each.audit_id for each in receipts if each.audit_id is not None and each.command in UNDOABLE]
        if made:
            self._applied = [*self._applied[-MAX_UNDO:], tuple(made)]

    def _forget(self, number: int, _receipt: Receipt) -> None:
        left = (tuple(each for each in together if each != number) for together in self._applied)
        self._applied = [together for together in left if together]
