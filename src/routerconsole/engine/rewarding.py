"""Rewards of one engine: who judges, scores kept and what they come to; the asking itself is `judging`'s.

Without a judge nothing is scored, and the remedy is told.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import orjson

from routerconsole.control.port import ControlError
from routerconsole.control.reward_commands import CheckJudge, PreferColumns
from routerconsole.control.reward_views import JudgeChecked, RewardPage, RewardScore
from routerconsole.control.wire import revive
from routerconsole.domain.errors import RouterError
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.registry import ModelState, Role
from routerconsole.routing.resolve import ResolvedKind, resolve
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.rewards import MOST_SCORES, RewardStore, ScoreRow

from .clock import iso
from .sampling import Sampler
from .scores import passes_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from routerconsole.control.reward_commands import RewardCommand, ScoreOutput
    from routerconsole.control.reward_views import RewardQuery
    from routerconsole.domain.policy import RewardPolicy
    from routerconsole.evals.report_types import RunReport
    from routerconsole.routing.resolution import Resolution

    from .judging import Judging
    from .sampling import Finished
    from .service import Service

log = logging.getLogger(__name__)

MAX_PAGE = 1000
TASK_KEPT = 2000
"""Characters of a task that are written down."""
Kind = Literal["judge", "reward_vote"]
REMEDY = "No judge: name one, set `reward.model`, or give a model the role `reward`."
OFF = "Rewards are off: set `reward.enabled: true`, or name a judge."
_ROLES: dict[str, tuple[Role, ...]] = {"judge": (Role.JUDGE, Role.REWARD), "reward_vote": (Role.REWARD,)}


_NOTHING: dict[str, Any] = {"score": None, "positive": 0, "negative": 0, "valid": 0, "votes": []}


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a command, JSON-ready and without any text of what was judged; `keep` makes it count."""

    target: str
    after: dict[str, Any]
    keep: Callable[[], Awaitable[bool]] | None = None


class Rewards:
    """The rewards of one engine, on its loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = RewardStore(service.keeper.state.db)
        self._checks: dict[str, JudgeChecked] = {}
        self._loaded = False
        self.scores = service.scores
        self.sampler = Sampler(lambda: self.policy, self._sample, tasks=service.tasks, rng=service.rng)
        service.chat.tap = self.sampler.tap

    @cached_property
    def judging(self) -> Judging:
        """Who asks judges; made at the first question, since its machinery takes long to import."""
        from .judging import Judging  # noqa: PLC0415 - 0.2 s that no start should wait for

        return Judging(self._service, self)

    async def _judging(self) -> Judging:
        """Return who asks judges, imported beside the loop: no request waits for it."""
        await asyncio.to_thread(import_module, f"{__package__}.judging")
        return self.judging

    @property
    def policy(self) -> RewardPolicy:
        """What the configuration in force says of rewards."""
        return self._service.loaded.reward

    async def load(self) -> None:
        """Take over what was kept; without it scores count from now on."""
        try:
            rows, checks = await self._store.scores(MOST_SCORES), await self._store.checks()
            passes = await self._store.passes()
        except StorageUnavailable as exc:
            log.warning("the scores kept cannot be read: %s", exc)
            return
        self._loaded = True
        for row in reversed(rows):
            self.scores.add(row.score, model=row.model, agent=row.agent)
        self.scores.passed(passes)
        for judge, _, data in checks:
            self._checks[judge] = revive(JudgeChecked, orjson.loads(data))

    # --- who judges ---

    def choose(self, kind: Kind, named: str | None = None) -> tuple[str | None, str]:
        """Return who judges, or None and why.

        1 who is named · 2 `reward.model` · 3 the first model in use of the role; `judge` assertions go to one of role
        `judge` before one of role `reward` · 4 nobody. One model is told as `provider/model`.
        """
        name = named or self.policy.model or self._of_role(_ROLES[kind])  # 1 2 3
        if name is None:
            return None, REMEDY  # 4
        try:
            found = resolve(name, self._service.registry)
        except RouterError as exc:
            return None, f"The judge cannot be asked: {exc.message}"
        return _one(found) or name, ""

    def _of_role(self, roles: Sequence[Role]) -> str | None:
        registry = self._service.registry
        for role in roles:
            keys = [
                key
                for key, model in registry.models.items()
                if model.role is role and model.enabled and model.state is not ModelState.WITHDRAWN
            ]
            if keys:
                best = min(keys, key=lambda key: (registry.priority(key), key))
                return f"{best.provider}/{best.model}"
        return None

    def scored(self, name: str | None) -> str | None:
        """Return a scored model as `provider/model` where the registry knows it as one model, else as it was named."""
        if not name:
            return None
        try:
            return _one(resolve(name, self._service.registry)) or name
        except RouterError:
            return name

    def trusted(self, judge: str) -> bool | None:
        """Return whether a judge may gate by its last trial on the shipped pairs; None where it was never tried."""
        checked = self._checks.get(judge)
        return None if checked is None else checked.trusted

    # --- reading and writing ---

    async def page(self, query: RewardQuery) -> RewardPage:
        """Return scores, newest first, and what they come to; raise ControlError where they cannot be read."""
        try:
            limit = max(1, min(query.limit, MAX_PAGE))
            rows = await self._store.scores(limit, agent=query.agent, model=query.model)
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The scores cannot be read: {exc}.", status=503) from exc
        if not self._loaded:
            await self.load()
        models, agents = self.scores.means()
        judge, problem = self.choose("reward_vote")
        return RewardPage(
            scores=tuple(_view(row) for row in rows),
            models=models,
            agents=agents,
            checks=tuple(sorted(self._checks.values(), key=lambda each: each.at, reverse=True)),
            enabled=self.policy.enabled,
            judge=judge,
            problem=problem if self.policy.enabled else OFF,
            sampling=self.sampler.told(),
        )

    async def keep(
        self, told: dict[str, Any], *, task: str, agent: str | None, model: str | None, request_id: str | None = None
    ) -> bool:
        """Count and write down a score, tell of it, and return whether it is on the disk; `told` is the tally."""
        service, score = self._service, float(told["score"])
        self.scores.add(score, model=model, agent=agent)
        data = {
            **{name: told[name] for name in ("judge", "positive", "negative", "valid", "total", "votes")},
            "task": service.loaded.scrub(task)[:TASK_KEPT],
            "source": "operator" if request_id is None else "sample",
            "request_id": request_id,
        }
        row = ScoreRow(service.clock.wall(), agent, model, score, orjson.dumps(data).decode())
        service.bus.publish(
            Fact(
                EventType.REWARD_SCORED,
                {"model": model, "agent": agent, "judge": told["judge"], "score": score, "request": request_id},
            )
        )
        try:
            await self._store.add(row)
        except StorageUnavailable as exc:
            log.warning("a score is only in memory: %s", exc)
            return False
        return True

    async def keep_check(self, checked: JudgeChecked) -> bool:
        """Remember how a judge did, and return whether that is on the disk."""
        self._checks[checked.judge] = checked
        try:
            at = self._service.clock.wall()
            await self._store.save_check(checked.judge, at, orjson.dumps(checked).decode())
        except StorageUnavailable as exc:
            log.warning("the trial of judge %s is only in memory: %s", checked.judge, exc)
            return False
        return True

    async def keep_passes(self, report: RunReport) -> None:
        """Take over what a run's models passed; raise StorageUnavailable where it is known in memory only."""
        rows = passes_of(report, self._service.registry.tree)
        self.scores.passed(rows)
        if rows:
            await self._store.save_passes(rows, self._service.clock.wall())

    # --- commands ---

    async def ask(self, command: RewardCommand, *, dry_run: bool) -> Asked:
        """Ask judges as a command says and return what came of it; nothing is kept. Raises ControlError."""
        if isinstance(command, CheckJudge):
            return await self._check(command, dry_run=dry_run)
        if isinstance(command, PreferColumns):
            return await self._prefer(command, dry_run=dry_run)
        model, agent = self.scored(command.model), command.agent or None
        target = model or agent or "output"
        judge, problem = (None, OFF) if self._off(command) else self.choose("reward_vote", command.judge)
        if judge is None and command.judge:
            raise ControlError("invalid_request", problem)
        if judge is None or dry_run:
            total = 0 if judge is None else self.policy.votes
            return Asked(target, {**_NOTHING, "judge": judge, "total": total, "reason": problem})
        told = await (await self._judging()).score(command, judge)
        if told["score"] is None:
            return Asked(target, told)

        async def keep() -> bool:
            return await self.keep(told, task=command.task, agent=agent, model=model)

        return Asked(target, told, keep)

    def _off(self, command: ScoreOutput) -> bool:
        return not self.policy.enabled and not command.judge

    async def _check(self, command: CheckJudge, *, dry_run: bool) -> Asked:
        judge, problem = self.choose("judge", command.judge)
        if judge is None:
            raise ControlError("invalid_request", problem)
        if dry_run:
            return Asked(judge, {"judge": judge})
        checked = await (await self._judging()).check(judge)

        async def keep() -> bool:
            return await self.keep_check(checked)

        return Asked(judge, orjson.loads(orjson.dumps(checked)), keep)

    async def _prefer(self, command: PreferColumns, *, dry_run: bool) -> Asked:
        judge, problem = self.choose("judge", command.judge)
        if judge is None:
            raise ControlError("invalid_request", problem)
        found = await self._service.evals.load(command.run)
        if found is None:
            raise ControlError("not_found", f"Run {command.run[:60]!r} not found.", status=404)
        return Asked(command.run, await (await self._judging()).prefer(command, found, judge, dry_run=dry_run))

    async def _sample(self, finished: Finished) -> bool:
        """Score a finished chat; its task is written down only where bodies may be."""
        judge, problem = self.choose("reward_vote")
        if judge is None:
            log.info("a sampled chat is not scored: %s", problem)
            return False
        found = await (await self._judging()).sample(finished, judge)
        if found is None or found[1]["score"] is None:
            return False
        task, told = found
        trace, route = finished.trace, finished.trace.selected
        model = None if route is None else f"{route.provider}/{route.model}"
        task = task if self._service.keeper.keeps_bodies else ""
        await self.keep(told, task=task, agent=trace.agent, model=model, request_id=trace.id)
        return True


def _one(found: Resolution) -> str | None:
    """Return the one model a name means, as `provider/model`; a pool of one is a pool all the same."""
    if found.kind not in (ResolvedKind.PROVIDER_MODEL, ResolvedKind.MODEL) or len(found.keys) != 1:
        return None
    return f"{found.keys[0].provider}/{found.keys[0].model}"


def _view(row: ScoreRow) -> RewardScore:
    data = orjson.loads(row.data)
    return revive(
        RewardScore,
        {
            **{name: data[name] for name in data.keys() & _KEPT},
            "id": row.id,
            "at": iso(row.at),
            "agent": row.agent,
            "model": row.model,
            "score": row.score,
        },
    )


_KEPT = frozenset({"judge", "positive", "negative", "valid", "total", "votes", "task", "source", "request_id"})
