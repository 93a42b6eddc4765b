"""Asks the judges of one engine: ordinary routed requests of origin `eval`, neutral to breakers, never sampled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from routerconsole.control.port import ControlError
from routerconsole.control.reward_views import JudgeChecked
from routerconsole.domain.errors import RouterError
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.evals.asking import ask, read_back
from routerconsole.evals.assertions import Judged
from routerconsole.evals.fill import filled
from routerconsole.evals.grade import grade
from routerconsole.evals.judge import check_judge
from routerconsole.evals.judge_pairs import shipped_pairs
from routerconsole.evals.pairwise import MOST_PAIRS, contests, preferred
from routerconsole.evals.types import Reply, Sample, Status, Target, TargetKind, parse_target
from routerconsole.evals.vote_types import Votes
from routerconsole.evals.votes import AskJudge, Ballot, output_text, preferences, task_text, vote
from routerconsole.routing.state import RefusalKind

from .clock import iso

LOOK_S = 0.02
"""Between two looks whether a busy judge has a place; a vote takes far longer."""

if TYPE_CHECKING:
    from routerconsole.control.reward_commands import PreferColumns, ScoreOutput
    from routerconsole.evals.scenario import Scenario
    from routerconsole.evals.types import Call, Cell, Run

    from .rewarding import Kind, Rewards
    from .sampling import Finished
    from .service import Service

_OPEN = frozenset({Status.PASS, Status.INCONCLUSIVE})
"""What a sample may be without votes for votes to be asked for: a judge turns no failure over."""


class Judging:
    """Votes and trials; what is kept of them is the caller's."""

    def __init__(self, service: Service, rewards: Rewards) -> None:
        self._service, self._rewards = service, rewards

    async def vote(self, judge: str, task: str, output: str, *, kind: Kind = "reward_vote", rubric: str = "") -> Ballot:
        """Have a judge vote; known secrets are taken out of what it is shown."""
        scrub = self._service.loaded.scrub
        return await vote(
            self._asker(judge),
            judge=judge,
            task=scrub(task),
            output=scrub(output),
            count=self._rewards.policy.votes,
            kind=kind,
            rubric=rubric,
        )

    async def score(self, command: ScoreOutput, judge: str) -> dict[str, Any]:
        """Return the tally of an output, JSON-ready; `score` None with the reason."""
        return tally_json(await self.vote(judge, command.task, command.output))

    async def sample(self, finished: Finished, judge: str) -> tuple[str, dict[str, Any]] | None:
        """Return the task of a finished chat and the tally of its answer; None where nothing was said."""
        reply = read_back(finished.payloads, stream=finished.request.stream)
        output, task = output_text(reply), task_text(finished.request.body.get("messages"))
        if not output:
            return None
        return task, tally_json(await self.vote(judge, task, output))

    async def check(self, judge: str) -> JudgeChecked:
        """Try a judge on the shipped pairs; raise ControlError (503) where too few of them were answered to tell."""
        pairs = await asyncio.to_thread(shipped_pairs)
        found = await preferences(self._asker(judge), pairs)
        answered = [each for each in found if not each.problem]
        if len(answered) * 2 <= len(pairs):
            why = next(each.problem for each in found if each.problem)
            raise ControlError(
                "judge_unavailable",
                f"Judge {judge!r} answered {len(answered)} of {len(pairs)} pairs, too few to tell: {why}",
                status=503,
            )
        result = check_judge(each.winner for each in answered)
        at = iso(self._service.clock.wall())
        return JudgeChecked(judge, at, result.right, result.pairs, len(pairs), result.interval, result.trusted)

    async def prefer(
        self, command: PreferColumns, found: tuple[Run, tuple[Cell, ...]], judge: str, *, dry_run: bool
    ) -> dict[str, Any]:
        """Return which of two columns a judge prefers, JSON-ready; raise ControlError where there is nothing to ask."""
        run, cells = found
        names, (a, b) = [each.id for each in run.targets], (command.a, command.b)
        if a == b or not {a, b} <= set(names):
            there = ", ".join(names)
            raise ControlError("invalid_request", f"Name two different columns of {run.id}; there are: {there}.")
        asked, left_out = await asyncio.to_thread(contests, cells, a, b)
        if not asked:
            raise ControlError(
                "conflict", "There is no repeat that both columns answered without a failure.", status=409
            )
        asked, more = asked[:MOST_PAIRS], len(asked[MOST_PAIRS:])
        if dry_run:
            return {"run": run.id, "a": a, "b": b, "judge": judge, "asked": len(asked), "more": more}
        said = await preferences(self._asker(judge), [each.pair for each in asked])
        if all(each.problem for each in said):
            raise ControlError("judge_unavailable", f"Judge {judge!r} answered nothing: {said[0].problem}", status=503)
        trusted = self._rewards.trusted(judge)
        told = preferred(run, a, b, asked, said, left_out=left_out, judge=judge, trusted=trusted)
        return {**told, "more": more}

    async def judged(self, scenario: Scenario, sample: Sample) -> Sample:
        """Return a sample with the votes its scenario asks for, where votes can still matter."""
        leaves = [leaf.said for leaf in scenario.judged if isinstance(leaf.said, Judged)]
        if not leaves or grade(scenario, sample).verdict.status not in _OPEN:
            return sample
        wanted = {(each.type, each.rubric, each.on): each for each in leaves}
        votes = await asyncio.gather(*(self._cell_votes(each, sample) for each in wanted.values()))
        return replace(sample, votes=tuple(votes))

    async def _cell_votes(self, said: Judged, sample: Sample) -> Votes:
        kind: Kind = "judge" if said.type == "judge" else "reward_vote"
        judge, problem = self._rewards.choose(kind)
        reply = _meant(said.on, sample)
        if judge is None or reply is None:
            return Votes(kind, judge or "", rubric=said.rubric, on=said.on, problem=problem or "there is no answer")
        ballot = await self.vote(
            judge,
            task_text(reply.request.get("messages")),
            output_text(reply),
            kind=kind,
            rubric=filled(said.rubric, sample.variables),
        )
        return replace(
            ballot.votes,
            rubric=said.rubric,
            on=said.on,
            said=ballot.words,
            problem=ballot.problem,
            trusted=self._rewards.trusted(judge),
        )

    def _asker(self, judge: str) -> AskJudge:
        target = _target(judge)

        async def asked(call: Call) -> Reply:
            with suppress(TimeoutError):  # asked all the same: the refusal says why
                async with asyncio.timeout(call.timeout_s):
                    while self._busy(target):  # noqa: ASYNC110 - nobody tells when a route has a place again
                        await asyncio.sleep(LOOK_S)
            return await ask(self._service.chat, target, call)

        return asked

    def _busy(self, target: Target) -> bool:
        """Whether all a judge can be asked through now is at work on as much as it takes at once (two, if local)."""
        chat, now = self._service.chat, self._service.clock.monotonic()
        body = {"model": target.name, "messages": [{"role": "user", "content": "?"}]}
        request = ChatRequest(
            id="judge", endpoint=Endpoint.CHAT, body=body, size=100, model=target.name, stream=False, origin=Origin.EVAL
        )
        try:
            ranked = chat.decide(request, now=now).ranked
        except RouterError:
            return False
        refusals = [self._service.board.refusal(each.route, now) for each in ranked]
        busy = any(each is not None and each.kind is RefusalKind.BULKHEAD for each in refusals)
        return busy and None not in refusals and not chat.closing


def tally_json(ballot: Ballot) -> dict[str, Any]:
    """Return votes as the API shows them; without a score `reason` says why."""
    votes = ballot.votes
    reason = ""
    if votes.score is None:
        reason = f"{votes.valid} of {votes.total} votes are valid, fewer than a majority"
        reason += f": {ballot.problem}" if ballot.problem else ""
    return {
        "score": votes.score,
        "positive": votes.positive,
        "negative": votes.negative,
        "valid": votes.valid,
        "total": votes.total,
        "judge": votes.judge,
        "votes": list(ballot.words),
        "reason": reason,
    }


def _target(judge: str) -> Target:
    """Return a judge as a target: one named `provider/model` is asked alone, any other name as it resolves."""
    try:
        found = parse_target(judge)
    except ValueError:
        return Target(judge, TargetKind.ROUTER, judge)
    return found if found.kind is TargetKind.MODEL else Target(judge, TargetKind.ROUTER, judge)


def _meant(on: str | None, sample: Sample) -> Reply | None:
    """Return the answer an assertion is about: of several the last."""
    if on in (None, "all"):
        return sample.last()
    return next((reply for reply in reversed(sample.replies) if fnmatchcase(reply.label, on or "")), None)
