"""Edits of models on their way: typed into a form, staged, tried, applied together; what is refused comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from routerconsole.console.forms import Form, Step
from routerconsole.console.model_form import edit_form, register_command, register_form, update_command
from routerconsole.console.safe_text import visible
from routerconsole.console.sending import Proposal
from routerconsole.console.staging import Staging
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import ApplyEdits, UpdateModel

from . import registry_actions as doing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.staging import Change
    from routerconsole.control.commands import Receipt
    from routerconsole.control.registry_views import ModelView

    from .base import Host

_KEYS: Final = [
    ("Enter", "stage"),
    ("Esc", "leave"),
    ("Up/Down", "field"),
    ("Left/Right", "choose"),
    ("^r", "restore"),
]
CHECK_S: Final = 0.25
"""Seconds without a key until the engine is asked whether what is typed is allowed."""


class Around(Protocol):
    """What the editor needs of the view it edits in."""

    def model(self, model_id: str) -> ModelView | None:
        """Return a model as last read."""

    def opened(self) -> None:
        """Show the form."""

    def closed(self) -> None:
        """Show what was shown before."""


class ModelEditor:
    """The form that is open, if one is, and everything staged."""

    hints = _KEYS

    def __init__(self, around: Around, host: Host) -> None:
        self._around, self._host = around, host
        self.staging = Staging()
        self.form: Form | None = None
        self._edited: ModelView | None = None

    # -- the form ----------------------------------------------------------------------------------------------------

    def register(self, provider: str) -> None:
        """Open the form of a model there is not yet, at a provider to begin with."""
        status = self._host.state.status
        names = ", ".join(each.name for each in status.providers[:8]) if status is not None else ""
        self._open(register_form(provider, names), None)

    def edit(self, model: ModelView) -> None:
        """Open the form of a model with what is staged of it."""
        self._open(edit_form(model, self.staging.of(model.id), f"Edit {visible(model.id, 60)}"), model)

    def _open(self, form: Form, model: ModelView | None) -> None:
        self.form, self._edited = form, model
        self._around.opened()

    def _close(self) -> None:
        self.form = self._edited = None
        self._around.closed()

    def type(self, key: str, character: str | None) -> None:
        """Fill the form in; the engine is asked about it once the keys pause."""
        form = self.form
        if form is None:
            return
        before = form.revision
        step = form.key(key, character)
        if step is Step.LEFT:
            self._close()
        elif step is Step.ACCEPTED:
            self._accept(form)
        elif form.revision != before:
            self._host.spawn(self._check(form, form.revision))

    def paste(self, text: str) -> None:
        """Put pasted text into the form."""
        if self.form is not None:
            self.form.paste(text)
            self._host.spawn(self._check(self.form, self.form.revision))

    async def _check(self, form: Form, revision: int) -> None:
        """Have the engine try what the form says, unless more was typed since."""
        await asyncio.sleep(CHECK_S)
        if self.form is not form or form.revision != revision:
            return
        command = register_command(form) if self._edited is None else update_command(form, self._edited)
        if command is None:
            return
        try:
            receipt = await self._host.control.do(command, actor="console", dry_run=True)
        except ControlError as error:
            if form.revision == revision:
                form.refuse(error.message)
        else:
            if form.revision == revision:
                form.note = f"✓ allowed; {_pools(receipt)}"
        self._host.redraw()

    def _accept(self, form: Form) -> None:
        """Stage what the form changes; a new model is asked about instead."""
        model = self._edited
        if model is None:
            command = register_command(form)
            if command is not None:
                self._close()
                self._host.propose(
                    Proposal(
                        command,
                        f"{command.provider}/{command.model}",
                        f"Register {visible(command.provider, 40)}/{visible(command.model, 60)}?",
                        impact=True,
                        refused=lambda error: self._reopened(form, error),
                    )
                )
            return
        self.staging.drop(model.id)
        self.staging.stage(model, form.changed())
        self._close()
        staged = len(self.staging.changes)
        self._host.tell(
            f"{staged} staged; a applies after a preview, u unstages" if staged else "nothing changed", ok=True
        )

    def _reopened(self, form: Form, error: ControlError) -> bool:
        """The engine refused to register: the form is back with what is wrong."""
        if self.form is not None:
            return False
        form.refuse(error.message)
        self._open(form, None)
        self._host.tell(f"refused: {error.message}", ok=False)
        return True

    # -- what is staged ----------------------------------------------------------------------------------------------

    def unstage(self, change: Change | None, model: ModelView | None) -> None:
        """Take out the chosen change, or all of the chosen model, or the last one."""
        if change is not None:
            self.staging.unstage(change.key)
        elif model is not None and model.id in self.staging.models:
            self.staging.drop(model.id)
        elif self.staging.changes:
            self.staging.unstage(self.staging.changes[-1].key)
        else:
            self._host.tell("nothing is staged", ok=True)
            return
        self._host.tell(f"unstaged; {len(self.staging.changes)} left", ok=True)

    def apply(self) -> None:
        """Ask whether to apply everything staged, with what it would mean."""
        changes = self.staging.changes

        def applied(_: Receipt) -> None:
            for change in changes:
                if change in self.staging.changes:  # not staged anew meanwhile
                    self.staging.unstage(change.key)

        proposal = doing.apply_proposal(self.staging, applied, self._refused)
        if proposal is None:
            self._host.tell("nothing is staged: i edits the model, t its tags", ok=False)
            return
        self._host.propose(proposal)

    def _refused(self, error: ControlError) -> bool:
        """Somebody was faster: choose; a value is not allowed: the field says so, with its old value back."""
        if error.status in (404, 409):
            self._host.spawn(self._conflict(error))
            return True
        updates = self._updates()
        for update in updates:
            model = self._around.model(f"{update.provider}/{update.model}")
            named = f"{update.provider}/{update.model}: "
            if model is not None and (len(updates) == 1 or error.message.startswith(named)):
                return self._restored(model, update, error.message.removeprefix(named))
        return False

    def _restored(self, model: ModelView, update: UpdateModel, message: str) -> bool:
        """Open the form of a refused edit: what was refused is as it was, with the reason; the rest stays staged."""
        form = edit_form(model, update.fields, f"Edit {visible(model.id, 60)}")
        form.refuse(message)
        for name in form.refused:
            form.restore(name)
            self.staging.unstage(f"{model.id} {name.partition('.')[0]}")
        if not form.refused:
            return False
        self._host.tell(f"refused: {message}", ok=False)
        self._open(form, model)
        return True

    async def _conflict(self, error: ControlError) -> None:
        """Find out who is not as it was looked at, and let the operator choose."""
        said = error.message
        for update in self._updates():
            model = f"{update.provider}/{update.model}"
            try:
                now = await self._host.control.registry_model(update.provider, update.model)
            except ControlError as unread:
                said = unread.message
                break
            if now is None or now.version != self.staging.seen(model):
                said = f"conflict, nothing applied: {visible(model, 60)} was changed meanwhile"
                self._host.pick(doing.conflict_picker(self.staging, model, now, again=self.apply, edit=self.edit))
                break
        self._host.tell(said, ok=False)
        self._host.redraw()

    def _updates(self) -> Sequence[UpdateModel]:
        command = self.staging.command()
        if command is None:
            return ()
        return command.edits if isinstance(command, ApplyEdits) else (command,)


def _pools(receipt: Receipt) -> str:
    """Return which pools a change would bring a model into and take it out of."""
    told = receipt.after.get("pools")
    if not isinstance(told, dict):
        return "no pool changes"
    signs = [
        f"{sign}{visible(str(pool), 30)}"
        for sign, key in (("+", "added"), ("-", "removed"))
        for pool in told.get(key, ())
    ]
    return f"pools {' '.join(signs)}" if signs else "no pool changes"
