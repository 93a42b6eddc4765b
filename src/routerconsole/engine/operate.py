"""Carries out operator commands: checked, audited, then in force, then kept; what was acknowledged survives kill -9."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.config.fields import MAX_PRIORITY
from routerconsole.control.commands import (
    CancelRequest,
    ClearFailures,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ReloadConfig,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.eval_commands import CancelEval, RegradeEval, StartEval
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import CancelPull, PullModel, RotatePool, SyncModels
from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.request import ChatRequest, Origin
from routerconsole.domain.route import ModelKey
from routerconsole.routing.board import UnknownTarget
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.state import AuditEntry

from .discovery import NAMED, receipt
from .inflight import CancelReason
from .overlay_records import priority_record
from .pool_memory import pointer_fact
from .rotation import rotate, rotation
from .trials import Trials

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from routerconsole.routing.verbs import Changed
    from routerconsole.storage.state import Record

    from .service import Service

_TargetCommand = Enable | Disable | Drain | ResetCircuit | Isolate | ForceClose
MAX_TTL_S = 24 * 3600.0


class Operator:
    """The one door for change, on the engine's loop."""

    def __init__(self, service: Service) -> None:
        self._service, self._trials = service, Trials(service, self._audited)

    async def do(self, command: Command, *, actor: str, dry_run: bool, if_version: int | None) -> Receipt:
        """Carry out a command; raise ControlError when it is refused, with nothing changed.

        A caller that goes away meanwhile changes nothing about it: what was written down also takes effect.
        """
        if isinstance(
            command, ScoreOutput | CheckJudge | PreferColumns
        ):  # they end with who asked: nothing is changed before
            return await self._carry_out(command, actor=actor, dry_run=dry_run, if_version=if_version)
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._service.tasks.start(
            self._into(done, self._carry_out(command, actor=actor, dry_run=dry_run, if_version=if_version)),
            name=f"command {command.name}",
        )
        return await asyncio.shield(done)

    @staticmethod
    async def _into(done: asyncio.Future[Receipt], work: Coroutine[Any, Any, Receipt]) -> None:
        """Put the outcome of `work` into `done`: a refusal is the caller's to hear, not a failed task."""
        try:
            receipt = await work
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised in the caller
            done.set_exception(exc)
            done.exception()  # seen, even where the caller has gone
        except asyncio.CancelledError:
            done.cancel()
            raise
        else:
            done.set_result(receipt)

    async def _carry_out(  # noqa: PLR0912 - one case per kind of command
        self, command: Command, *, actor: str, dry_run: bool, if_version: int | None
    ) -> Receipt:
        version = self._service.registry.version
        if if_version is not None and if_version != version:
            raise ControlError("conflict", f"The state is at version {version}, not {if_version}.", status=409)
        match command:
            case Enable() | Disable() | Drain() | ResetCircuit() | Isolate() | ForceClose():
                return await self._on_target(command, actor=actor, dry_run=dry_run)
            case SetPriority():
                return await self._set_priority(command, actor=actor, dry_run=dry_run)
            case Probe():
                return await self._probe(command, dry_run=dry_run)
            case SyncModels():
                return await self._sync(command, actor=actor, dry_run=dry_run)
            case PullModel():
                return await self._pull(command, actor=actor, dry_run=dry_run)
            case CancelPull():
                return await self._cancel_pull(command, actor=actor, dry_run=dry_run)
            case ReloadConfig():
                return await self._reload(command, actor=actor, dry_run=dry_run)
            case CancelRequest():
                return await self._cancel(command, actor=actor, dry_run=dry_run)
            case ReplayRequest():
                return await self._replay(command, actor=actor, dry_run=dry_run)
            case StartEval() | CancelEval() | RegradeEval():
                return await self._trials.evaluation(command, actor=actor, dry_run=dry_run)
            case ScoreOutput() | CheckJudge() | PreferColumns():
                return await self._trials.rewarded(command, actor=actor, dry_run=dry_run)
            case RotatePool():
                return await self._rotate(command, actor=actor, dry_run=dry_run)
            case ClearFailures():
                before = {"failures": len(self._service.recorder.failures(10_000))}
                receipt = await self._audited(command.name, "", before, {"failures": 0}, actor=actor, dry_run=dry_run)
                if not dry_run:
                    self._service.recorder.clear_failures()
                return receipt
            case _:
                return await self._service.editor.do(command, actor=actor, dry_run=dry_run, if_version=if_version)

    async def _on_target(self, command: _TargetCommand, *, actor: str, dry_run: bool) -> Receipt:
        target = self._known(command.target)
        if isinstance(command, Enable) and target.model is not None:
            self._switched_on(target.provider, target.model)
        preview = self._verb(command, target, dry_run=True)
        service = self._service
        board = service.board.records(preview, service.clock.monotonic(), service.clock.wall())
        receipt = await self._audited(
            command.name, target.label(), preview.before, preview.after, actor=actor, dry_run=dry_run, board=board
        )
        if dry_run:
            return receipt
        done = self._verb(command, target, dry_run=False)
        self._service.bus.publish_all(done.facts)
        if isinstance(command, Disable | Drain | Isolate) and command.cancel_in_flight:
            self._cut_in_flight(target)
        persisted = await self._service.keeper.save() and receipt.persisted
        return replace(receipt, before=done.before, after=done.after, persisted=persisted)

    def _switched_on(self, provider: str, model: str) -> None:
        """Raise ControlError where a model is switched off in the registry: enabling its routes would be no use."""
        found = self._service.registry.models.get(ModelKey(provider, model))
        if found is not None and not found.enabled:
            raise ControlError(
                "conflict",
                f"Model {provider}/{model} is disabled in the registry; `routerconsole models enable` enables it.",
                status=409,
            )

    def _verb(self, command: _TargetCommand, target: Target, *, dry_run: bool) -> Changed:
        board, now = self._service.board, self._service.clock.monotonic()
        provider, model = target.provider, target.model
        match command:
            case Enable():
                return board.enable(provider, model, now, dry_run=dry_run)
            case Disable():
                return board.disable(provider, model, now, dry_run=dry_run)
            case Drain():
                return board.drain(provider, model, now, dry_run=dry_run)
            case ResetCircuit():
                return board.reset(provider, model, now, gates=command.gates, dry_run=dry_run)
            case Isolate():
                return board.isolate(provider, model, now, ttl=_ttl(command.ttl_s), dry_run=dry_run)
            case ForceClose():
                return board.force_close(provider, model, now, ttl=_ttl(command.ttl_s), dry_run=dry_run)

    def _known(self, target: Target) -> Target:
        """Return the target with its provider in canonical spelling; raise ControlError 404."""
        registry = self._service.registry
        name = target.provider.casefold()
        if name not in registry.providers:
            known = ", ".join(sorted(registry.providers)) or "none"
            raise ControlError("not_found", f"Provider {target.provider!r} not found; there are: {known}.", status=404)
        found = Target(name, target.model)
        try:
            self._service.board.enable(found.provider, found.model, 0.0, dry_run=True)
        except UnknownTarget:
            raise ControlError("not_found", f"Route {found.label()!r} not found.", status=404) from None
        return found

    def _cut_in_flight(self, target: Target) -> None:
        for flight in list(self._service.chat.in_flight.values()):
            selected = flight.trace.selected
            route = flight.step.ranked.route if flight.step is not None else selected
            if route is not None and route.provider == target.provider and target.model in (None, route.model):
                flight.cancel(CancelReason.OPERATOR)

    async def _rotate(self, command: RotatePool, *, actor: str, dry_run: bool) -> Receipt:
        """Move a pool's pointer; what was found possible is what is done, whatever happens while it is written down."""
        found = rotation(command.pool, self._service)
        before, after = found.told
        name = found.pool.id
        receipt = await self._audited(
            command.name, name, before, after, actor=actor, dry_run=dry_run, records=found.records
        )
        if dry_run:
            return receipt
        rotate(found, self._service)
        self._service.bus.publish(pointer_fact(name, found.before, found.after))
        return replace(receipt, persisted=receipt.persisted and bool(found.records))

    async def _set_priority(self, command: SetPriority, *, actor: str, dry_run: bool) -> Receipt:
        if abs(command.priority) > MAX_PRIORITY:
            said = f"{command.priority} is no priority (-{MAX_PRIORITY:,} to {MAX_PRIORITY:,})."
            raise ControlError("invalid_request", said, status=400)
        registry = self._service.registry
        target = self._known(Target(command.provider, command.model))
        key: tuple[str, ...] = (target.provider,) if target.model is None else (target.provider, target.model)
        place = registry.providers[target.provider].priority
        if target.model is not None:
            place = registry.priority(ModelKey(target.provider, target.model))
        before, after = {"priority": place}, {"priority": command.priority}
        record = priority_record(key, command.priority)
        receipt = await self._audited(
            command.name, target.label(), before, after, actor=actor, dry_run=dry_run, records=(record,)
        )
        if not dry_run and not receipt.persisted:  # an edit of configuration, unlike a circuit in trouble, can wait
            raise ControlError(
                "storage_unavailable",
                "The new priority cannot be written down now, so it was not changed; see the notices of the status.",
                status=503,
            )
        if not dry_run:
            overlay = self._service.overlay
            self._service.lay_over(replace(overlay, priorities={**overlay.priorities, key: command.priority}))
        return receipt

    async def _probe(self, command: Probe, *, dry_run: bool) -> Receipt:
        names = tuple(self._known(Target(name)).provider for name in command.providers)
        shown = ", ".join(names) or "all"
        if dry_run:
            return Receipt(command.name, shown, {}, {}, persisted=False, dry_run=True)
        check = await self._service.prober.check(names)
        after: dict[str, Any] = orjson.loads(orjson.dumps(check))
        return Receipt(command.name, shown, {}, after)

    async def _sync(self, command: SyncModels, *, actor: str, dry_run: bool) -> Receipt:
        """List providers now; a sync that changed nothing leaves nothing behind, in the audit neither."""
        names = tuple(dict.fromkeys(self._known(Target(name)).provider for name in command.providers))
        shut = [name for name in names if not self._service.registry.providers[name].discovery.enabled]
        if shut:
            why = f"Discovery is off for {', '.join(shut)} (`discovery.enabled: false` in the configuration)."
            raise ControlError("conflict", why, status=409)
        outcomes = await self._service.discovery.sync(names, dry_run=dry_run)
        shown, found = ", ".join(names) or "all", receipt(outcomes)
        if dry_run or not any(outcome.diff for outcome in outcomes):
            return Receipt(command.name, shown, {}, found, persisted=not dry_run, dry_run=dry_run)
        brief = receipt(outcomes, named=NAMED)
        audited = await self._audited(command.name, shown, {}, brief, actor=actor, dry_run=False)
        kept = await self._service.keeper.save()
        return replace(audited, after=found, persisted=audited.persisted and kept)

    async def _pull(self, command: PullModel, *, actor: str, dry_run: bool) -> Receipt:
        target = self._known(Target(command.provider))
        pulls, label = self._service.pulls, f"{target.provider}/{command.model}"
        pulls.check(target.provider, command.model)
        after = {"state": "running"}
        audited = await self._audited(command.name, label, {}, after, actor=actor, dry_run=dry_run)
        if not dry_run:
            pulls.start(target.provider, command.model)
        return audited

    async def _cancel_pull(self, command: CancelPull, *, actor: str, dry_run: bool) -> Receipt:
        target = self._known(Target(command.provider))
        pulls, label = self._service.pulls, f"{target.provider}/{command.model}"
        before = pulls.find(target.provider, command.model).data()
        after = {"state": "cancelled"}
        audited = await self._audited(command.name, label, before, after, actor=actor, dry_run=dry_run)
        if not dry_run:
            await pulls.cancel(target.provider, command.model)
        return audited

    async def _reload(self, command: ReloadConfig, *, actor: str, dry_run: bool) -> Receipt:
        before = {"version": self._service.registry.version}
        if dry_run:
            return Receipt(command.name, "config", before, before, persisted=False, dry_run=True)
        loaded = await self._service.read_config()
        after = {"version": before["version"] + 1}
        receipt = await self._audited(command.name, "config", before, after, actor=actor, dry_run=False)
        self._service.put_in_force(loaded)
        return receipt

    async def _cancel(self, command: CancelRequest, *, actor: str, dry_run: bool) -> Receipt:
        flight = self._service.chat.in_flight.get(command.request_id)
        if flight is None:
            raise ControlError("not_found", f"Request {command.request_id!r} is not in flight.", status=404)
        receipt = await self._audited(
            command.name,
            command.request_id,
            {"status": "in_flight"},
            {"status": "cancelled"},
            actor=actor,
            dry_run=dry_run,
        )
        if not dry_run and self._service.chat.in_flight.get(command.request_id) is flight:
            flight.cancel(CancelReason.OPERATOR)  # one that ended meanwhile is left alone: its task may serve on
        return receipt

    async def _replay(self, command: ReplayRequest, *, actor: str, dry_run: bool) -> Receipt:
        kept = self._service.bodies.get(command.request_id)
        if kept is None and not await self._was(command.request_id):
            raise ControlError("not_found", f"Request {command.request_id!r} not found.", status=404)
        if kept is None:
            why = "`log.bodies: memory` holds the last 200 until a restart"
            if not self._service.bodies.enabled:
                why = "`log.bodies` is off (write `memory` to keep the last 200)"
            raise ControlError("conflict", f"The body of this request is not kept: {why}.", status=409)
        if dry_run:  # ids are given when they are needed: those of a rehearsal would be nobody's
            after = {"models": list(command.models or (kept.model,))}
            return Receipt(command.name, command.request_id, {}, after, persisted=False, dry_run=True)
        requests = [self._again(kept, model) for model in (command.models or (None,))]
        after = {"requests": [request.id for request in requests]}
        receipt = await self._audited(command.name, command.request_id, {}, after, actor=actor, dry_run=False)
        for request in requests:
            self._service.tasks.start(self._service.run_quietly(request), name=f"replay {request.id}")
        return receipt

    async def _was(self, request_id: str) -> bool:
        """Whether there was a request of this id, as far as anybody can still tell."""
        if self._service.recorder.find(request_id) is not None:
            return True
        try:
            return await self._service.keeper.log.get(request_id) is not None
        except StorageUnavailable:
            return True

    def _again(self, kept: ChatRequest, model: str | None) -> ChatRequest:
        body = kept.body if model is None else {**kept.body, "model": model}
        return replace(
            kept,
            id=self._service.chat.new_id(),
            body=body,
            model=model or kept.model,
            origin=Origin.CONSOLE,
            client_retry=0,
        )

    async def _audited(
        self,
        name: str,
        target: str,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        actor: str,
        dry_run: bool,
        records: Iterable[Record] = (),
        board: Iterable[Mapping[str, Any]] = (),
    ) -> Receipt:
        """Write the audit row, and with it the state it brings, before anything takes effect."""
        if dry_run:
            return Receipt(name, target, before, after, persisted=False, dry_run=True)
        entry = AuditEntry(self._service.clock.wall(), actor, name, target, before, after)
        audit_id = await self._service.keeper.commit(entry, board, records)
        data = {"id": audit_id, "actor": actor, "command": name, "target": target, "before": before, "after": after}
        self._service.bus.publish(Fact(EventType.AUDIT, data))
        return Receipt(name, target, before, after, persisted=audit_id is not None, audit_id=audit_id)


def _ttl(seconds: float) -> float:
    if not 0 < seconds <= MAX_TTL_S:
        raise ControlError("invalid_request", "`ttl_s` must be over 0 and at most 86400 seconds.")
    return seconds
