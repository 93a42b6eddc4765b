"""Carries out the commands about evaluations and judges; every change is audited by the operator they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from routerconsole.control.commands import Receipt
from routerconsole.control.eval_commands import CancelEval, RegradeEval

if TYPE_CHECKING:
    from routerconsole.control.eval_commands import EvalCommand
    from routerconsole.control.reward_commands import RewardCommand

    from .service import Service


class Audited(Protocol):
    """Write the audit row of a change and return its receipt; a dry run writes nothing."""

    async def __call__(
        self,
        name: str,
        target: str,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        actor: str,
        dry_run: bool,
    ) -> Receipt:
        """See above."""


class Trials:
    """The operator's hands for evaluations and judges."""

    def __init__(self, service: Service, audited: Audited) -> None:
        self._service, self._audited = service, audited

    async def evaluation(self, command: EvalCommand, *, actor: str, dry_run: bool) -> Receipt:
        """Begin, stop or grade a run again, audited before."""
        evals = self._service.evals
        if isinstance(command, CancelEval):
            before, after = await evals.stopped(command)
            receipt = await self._audited(command.name, command.run, before, after, actor=actor, dry_run=dry_run)
            if not dry_run:
                await evals.cancel(command)
            return receipt
        if isinstance(command, RegradeEval):
            anew = await evals.regrade(command)
            before, after = anew.before, anew.after
            receipt = await self._audited(command.name, command.run, before, after, actor=actor, dry_run=dry_run)
            if not dry_run:
                await evals.keep_grades(anew)
            return receipt
        run = (planned := await evals.prepare(command, actor)).run
        named = {} if dry_run and command.resume is None else {"run": run.id}  # a dry run's id is not the run's
        begun = {**named, "targets": [each.id for each in run.targets], "scenarios": len(planned.scenarios)}
        receipt = await self._audited(command.name, run.id, {}, begun, actor=actor, dry_run=dry_run)
        if not dry_run:
            await evals.start(planned, command, actor)
        return receipt

    async def rewarded(self, command: RewardCommand, *, actor: str, dry_run: bool) -> Receipt:
        """Have judges asked; what came of it is audited, then kept. Without a score nothing is."""
        found = await self._service.rewards.ask(command, dry_run=dry_run)
        if found.keep is None:
            return Receipt(command.name, found.target, {}, found.after, persisted=not dry_run, dry_run=dry_run)
        receipt = await self._audited(command.name, found.target, {}, found.after, actor=actor, dry_run=False)
        return replace(receipt, persisted=await found.keep() and receipt.persisted)
