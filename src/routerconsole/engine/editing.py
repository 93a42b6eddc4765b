"""Carries out registry commands: worked out, written down with their audit row, then in force by one swap.

One edit at a time; what cannot be written down is refused, and a dry run ends before anything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.control.commands import Receipt
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import (
    ApplyEdits,
    AssignAgent,
    ClearGap,
    ExtendCapabilities,
    ImportPrices,
    RegisterModel,
    RegistryCommand,
    UnassignAgent,
    Undo,
)
from routerconsole.domain.assemble import pool_changes
from routerconsole.domain.capability import NODE_OF, Source, Tri, Word, strongest
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.route import ModelKey
from routerconsole.routing.learned import Gap
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.state import AuditEntry

from .clock import iso
from .edits import Draft, Edit, conflict, not_found, path_problem, refused, undeclared
from .several import edits_of, joined, reversed_edits
from .slots import AGENT, CAPABILITY, FIELD, NODE, Conflict, Parts, reversed_parts

if TYPE_CHECKING:
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.registry import Registry
    from routerconsole.storage.state import AuditRecord

    from .service import Service

LOOK_S = 5.0
"""How long a disk may take to say whether a file is there."""
_MAX_ID = 2**63 - 1
"""The biggest number an audit row can have."""
_SLOTS = "operator"
"""Where before and after of an audit row hold the slots that an undo compares and puts back."""


@dataclass(frozen=True, slots=True)
class _Gaps:
    """What a change does to learned gaps of one word, by account; an empty mapping forgets them."""

    key: ModelKey
    word: Word
    gaps: Mapping[str | None, Gap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Work:
    """An edit with all that goes with it."""

    edit: Edit
    gaps: _Gaps | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    undoes: int | None = None
    several: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of single models that it is made of."""
        return self.several or (self.edit,)


class Editor:
    """The one writer of what operators decide about the registry, on the engine's loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Lock()

    async def do(
        self, command: RegistryCommand, *, actor: str, dry_run: bool, if_version: int | None = None
    ) -> Receipt:
        """Carry out a command; raise ControlError with nothing changed. What it acknowledges is on the disk.

        `if_version` is the registry's version the caller saw: of several at once one wins.
        """
        async with self._turn:
            version = self._service.registry.version
            if if_version is not None and if_version != version:
                raise conflict(f"The state is at version {version}, not {if_version}.")
            if not dry_run and not self._service.keeper.restored:
                raise _not_kept()
            work = await self._worked_out(command, actor)
            for edit in work.edits:
                await self._check_weights(edit)
            before, after = await self._told(work)
            if isinstance(command, RegisterModel) and not after["registered"]:
                raise conflict(f"Model {work.edit.target!r} is another name of one that is registered already.")
            if dry_run:
                return Receipt(command.name, work.edit.target, before, after, persisted=False, dry_run=True)
            audit_id = await self._written(command.name, work, before, after, actor=actor)
            await self._in_force(work)
            return Receipt(command.name, work.edit.target, before, after, audit_id=audit_id)

    async def ahead(self, commands: Sequence[RegistryCommand]) -> tuple[Registry, frozenset[tuple[ModelKey, str]]]:
        """Return the registry as it would be after commands, and of which nodes gaps would be forgotten.

        Nothing is changed; raise ControlError where one of them would be refused.
        """
        service = self._service
        overlay, registry = service.overlay, service.registry
        touched: set[ModelKey] = set()  # since the registry was composed
        forgotten: set[tuple[ModelKey, str]] = set()
        for command in commands:
            if isinstance(command, ApplyEdits | ImportPrices | Undo | ClearGap):
                work = await self._worked_out(command, "nobody")
                if work.gaps is not None and not work.gaps.gaps:
                    forgotten.add((work.gaps.key, NODE_OF[work.gaps.word]))
                parts = work.edit.parts
            else:
                if touched and _about(command) in (None, *touched):  # it may go by what those before it made
                    registry = await self._composed(overlay)
                    touched.clear()
                at = service.clock.wall()
                parts = Draft(service.base, registry, overlay, at=at, actor="nobody").of(command).parts
            overlay = parts.onto(overlay)
            touched.update(parts.entries)
        registry = await self._composed(overlay)
        return registry, frozenset(forgotten)

    async def _composed(self, overlay: Overlay) -> Registry:
        await self._service.work_out(overlay)
        return self._service.composed(overlay)

    # --- working it out ---

    async def _worked_out(self, command: RegistryCommand, actor: str) -> _Work:
        if isinstance(command, ApplyEdits | ImportPrices):  # maybe thousands: on another thread
            draft, registry, overlay = self._draft(actor), self._service.registry, self._service.overlay
            edits = await asyncio.to_thread(edits_of, command, draft, registry, overlay)
            return _Work(joined(edits), several=edits)
        if isinstance(command, Undo):
            return self._undone(await self._row(command.audit_id), actor)
        if isinstance(command, ClearGap):
            return self._cleared(command, actor)
        return _Work(self._draft(actor).of(command))

    def _draft(self, actor: str) -> Draft:
        service = self._service
        return Draft(service.base, service.registry, service.overlay, at=service.clock.wall(), actor=actor)

    async def _check_weights(self, edit: Edit) -> None:
        if edit.weights is not None:
            try:
                async with asyncio.timeout(LOOK_S):
                    problem = await asyncio.to_thread(path_problem, *edit.weights, self._service.weights_dir)
            except TimeoutError:
                problem = f"Invalid path: {edit.weights[0]!r} cannot be looked at; its disk does not answer."
            if problem is not None:
                raise refused(problem)

    def _cleared(self, command: ClearGap, actor: str) -> _Work:
        draft = self._draft(actor)
        key, node = draft.known(command.provider, command.model), draft.node(command.node)
        word = next((Word(word) for word, path in NODE_OF.items() if path == node), None)
        known = {} if word is None else self._gaps(key, word)
        if word is None or not known:
            raise not_found(f"Nothing was learned of {node} on the routes of {key.provider}/{key.model}.")
        told = [self._gap_json(word, account, gap) for account, gap in known.items()]
        edit = Edit(f"{key.provider}/{key.model}", Parts(), key, nodes=(node,))
        return _Work(edit, _Gaps(key, word), {"gaps": told}, {"gaps": []})

    def _gaps(self, key: ModelKey, word: Word) -> dict[str | None, Gap]:
        """Return the gaps of one word on a model's routes by account, overruled ones too."""
        service = self._service
        now = service.clock.monotonic()
        return {
            route.account: gap
            for route in service.registry.routes(key)
            for found, gap, _ in service.board.lessons(route, now)
            if found == word
        }

    def _gap_json(self, word: Word, account: str | None, gap: Gap) -> dict[str, Any]:
        clock = self._service.clock
        ago = clock.wall() - clock.monotonic()
        moments = {"at": iso(gap.at + ago), "expires_at": iso(gap.expires + ago)}
        return {"word": word.value, "account": account, **moments, "evidence": gap.evidence}

    # --- undo ---

    async def _row(self, number: int) -> AuditRecord:
        try:
            row = await self._service.keeper.state.audited(number) if 0 < number <= _MAX_ID else None
        except StorageUnavailable as exc:
            raise _not_kept() from exc
        if row is None:
            raise not_found(f"Change {number} not found; `audit list` shows them.")
        if row.undone:
            raise conflict(f"Change {number} is undone already.")
        if _SLOTS not in row.entry.after or row.entry.command == Undo.name:
            raise conflict(f"Change {number} ({row.entry.command}) cannot be undone; only registry changes can.")
        return row

    def _undone(self, row: AuditRecord, actor: str) -> _Work:
        """Return the change that puts back what a change found; 409 where any of it was changed since."""
        service, entry = self._service, row.entry
        before, after = entry.before[_SLOTS], entry.after[_SLOTS]
        if entry.command in (ApplyEdits.name, ImportPrices.name):
            found = reversed_edits(before, after, service.overlay, self._draft(actor), key_of=_key_of)
            told = {"undoes": row.id, "command": entry.command}
            return _Work(joined(found), after=told, undoes=row.id, several=found)
        about_model = any(name.partition(".")[0] not in (AGENT, NODE) for name in after) or "gaps" in entry.before
        key = _key_of(entry.target) if about_model else None
        draft = self._draft(actor)
        version = 0 if key is None else draft.next_version(key)
        try:
            parts = reversed_parts(service.overlay, key, before=before, after=after, version=version)
        except Conflict as exc:
            raise conflict(f"Change {row.id} cannot be undone: {exc} was changed again since.") from exc
        for node, there in parts.extensions.items():
            problem = None if there else undeclared(node, service.registry.tree, service.registry)
            if problem is not None:
                raise conflict(f"Change {row.id} cannot be undone: {problem}.")
        if key is not None and key not in service.composed(parts.onto(service.overlay)).models:
            parts = replace(parts, assignments={**draft.agents_of(key), **parts.assignments})
        edit = Edit(
            entry.target,
            parts,
            key,
            fields=tuple(name.partition(".")[2] for name in after if name.startswith(f"{FIELD}.")),
            nodes=tuple(name.partition(".")[2] for name in after if name.startswith(f"{CAPABILITY}.")),
        )
        gaps = None if key is None else self._relearned(row, key)
        return _Work(edit, gaps, after={"undoes": row.id, "command": entry.command}, undoes=row.id)

    def _relearned(self, row: AuditRecord, key: ModelKey) -> _Gaps | None:
        """Return the gaps that a change forgot and that have not expired since; 409 where there are new ones."""
        told = row.entry.before.get("gaps")
        if not told:
            return None
        clock = self._service.clock
        now, wall = clock.monotonic(), clock.wall()
        word = Word(told[0]["word"])
        if self._gaps(key, word):
            raise conflict(f"Change {row.id} cannot be undone: {word.value} was learned again since.")
        found: dict[str | None, Gap] = {}
        for item in told:
            at, expires = (now - wall + datetime.fromisoformat(item[name]).timestamp() for name in ("at", "expires_at"))
            if expires > now:
                found[item["account"]] = Gap(at, item["evidence"], expires)
        return _Gaps(key, word, found)

    # --- telling ---

    async def _told(self, work: _Work) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state before and after, JSON-ready: what people look at, and the slots an undo needs."""
        service, edit = self._service, work.edit
        old, overlay = service.registry, service.overlay
        if work.several:
            new = await self._composed(edit.parts.onto(overlay))
            return await asyncio.to_thread(self._told_together, work, overlay, old=old, new=new)
        new = service.composed(edit.parts.onto(overlay))
        slots = edit.parts.differences(overlay)
        before = {**edit.shown, **work.before, **self._picture(old, edit), _SLOTS: slots[0]}
        after = {**edit.shown, **work.after, **self._picture(new, edit), _SLOTS: slots[1]}
        agents = {name.partition(".")[2]: name for name in slots[1] if name.startswith(f"{AGENT}.")}
        if agents and edit.key is None:
            (name,) = agents.values()
            before["model"], after["model"] = slots[0][name], slots[1][name]
        elif agents:
            before["assignments"] = {agent: slots[0][name] for agent, name in agents.items()}
            after["assignments"] = {agent: slots[1][name] for agent, name in agents.items()}
        if edit.key is not None:
            after["pools"] = _pools(pool_changes(old, new), edit.key)
        return _plain(before), _plain(after)

    def _told_together(
        self, work: _Work, overlay: Overlay, *, old: Registry, new: Registry
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state of several models before and after, each under its name."""
        before, after = dict(work.before), dict(work.after)
        slots: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        pools = pool_changes(old, new)
        for edit in work.several:
            before[edit.target], after[edit.target] = self._picture(old, edit), self._picture(new, edit)
            if edit.key is not None:
                after[edit.target]["pools"] = _pools(pools, edit.key)
            slots[0][edit.target], slots[1][edit.target] = edit.parts.differences(overlay)
        return _plain({**before, _SLOTS: slots[0]}), _plain({**after, _SLOTS: slots[1]})

    def _picture(self, registry: Registry, edit: Edit) -> dict[str, Any]:
        """Return what an edit is about as one registry has it."""
        if edit.key is None:
            nodes = registry.tree.nodes
            return {"declared": all(node in nodes for node in edit.parts.extensions)} if edit.parts.extensions else {}
        model = registry.models.get(edit.key)
        if model is None:
            return {"registered": False}
        found: dict[str, Any] = {"registered": True, "version": model.version}
        found |= {name: getattr(model, name) for name in edit.fields}
        each = {}
        for node in edit.nodes:
            standing = strongest(model.layers.get(node, ()))
            each[node] = {"value": standing.value, "source": standing.source}
        if len(each) == 1:
            (node,) = each
            return {**found, "node": node, **each[node]}
        return {**found, "capabilities": each} if each else found

    # --- doing it ---

    async def _written(
        self, name: str, work: _Work, before: Mapping[str, Any], after: Mapping[str, Any], *, actor: str
    ) -> int:
        """Write the audit row and all it brings in one transaction; raise 503 with nothing changed."""
        service, target = self._service, work.edit.target
        now, wall = service.clock.monotonic(), service.clock.wall()
        gaps = work.gaps
        board = [] if gaps is None else service.board.gap_records(gaps.key, gaps.word, gaps.gaps, now, wall)
        entry = AuditEntry(wall, actor, name, target, before, after)
        audit_id = await service.keeper.commit(entry, board, work.edit.parts.records(), undoes=work.undoes)
        if audit_id is None:
            raise _not_kept()
        data = {"id": audit_id, "actor": actor, "command": name, "target": target, "before": before, "after": after}
        service.bus.publish(Fact(EventType.AUDIT, data))
        return audit_id

    async def _in_force(self, work: _Work) -> None:
        """Swap once, on the newest overlay: a provider may have listed its models while this was written down."""
        service, parts = self._service, work.edit.parts
        if parts != Parts():
            overlay = parts.onto(before := service.overlay)
            if work.several:
                await service.work_out(overlay)
            service.lay_over(overlay if service.overlay is before else parts.onto(service.overlay))
        if work.gaps is not None:
            self._forget_or_relearn(work.gaps)

    def _forget_or_relearn(self, change: _Gaps) -> None:
        service, key, word = self._service, change.key, change.word
        board, model = service.board, service.registry.models.get(key)
        if model is None:
            return  # a reload took it away meanwhile
        board.clear_gap(key.provider, key.model, word)
        for route in service.registry.routes(key):
            if route.account in change.gaps:
                board.relearn(route, word, change.gaps[route.account])
        own = strongest(model.layers.get(NODE_OF[word], ()))
        lacking = (Tri.NO.value, Source.GAP.value)
        plain = (own.value.value, None if own.source is None else own.source.value)
        was, now = (plain, lacking) if change.gaps else (lacking, plain)
        data = {"provider": key.provider, "model": key.model, "node": NODE_OF[word]}
        told = {"before": was[0], "value": now[0], "source": now[1]}
        service.bus.publish(Fact(EventType.CAPABILITY_CHANGED, {**data, **told}))


def _pools(changes: Mapping[str, tuple[list[ModelKey], list[ModelKey]]], key: ModelKey) -> dict[str, list[str]]:
    """Return the pools a model gets into and falls out of."""
    return {
        "added": [pool for pool, (gained, _) in changes.items() if key in gained],
        "removed": [pool for pool, (_, lost) in changes.items() if key in lost],
    }


def _about(command: RegistryCommand) -> ModelKey | None:
    """Return the one model a command is about, None where it may look at others."""
    if isinstance(command, AssignAgent | UnassignAgent | ExtendCapabilities | ApplyEdits | ImportPrices | Undo):
        return None
    return ModelKey(command.provider.casefold(), command.model)


def _key_of(label: str) -> ModelKey:
    """Return the model a target names; no provider name has a slash."""
    provider, _, model = label.partition("/")
    return ModelKey(provider, model)


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(told))
    return found


def _not_kept() -> ControlError:
    return refused(
        "Changes cannot be written down now, so nothing was changed; see the notices of the status.",
        code="storage_unavailable",
        status=503,
    )
