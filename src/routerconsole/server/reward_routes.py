"""`/api/v1/reward`, the trial of a judge and its preferences: outputs scored by votes, the scores kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.control.reward_views import JudgeChecked, RewardPage, RewardQuery, VoteWord
from routerconsole.control.wire import plain

from .routes import Answer, AnyRoute, ApiRoute, Call
from .schemas import Body, JsonObject, Limit, NoQuery, Nothing, Query

if TYPE_CHECKING:
    from routerconsole.control.port import Control

Name = Annotated[str, Field(min_length=1, max_length=300)]
Text = Annotated[str, Field(max_length=1_000_000)]


class ScoreBody(Body):
    """What to score: `model` is the one that answered, `judge` who votes instead of the configured one."""

    task: Annotated[Text, Field(min_length=1)]
    output: Text
    agent: Name | None = None
    model: Name | None = None
    judge: Name | None = None


class JudgeBody(Body):
    """Whom to try; left out, the one that grades `judge` assertions."""

    judge: Name | None = None


class PreferBody(Body):
    """Two columns of a run, and who says which is better; left out, the one that grades `judge` assertions."""

    a: Name
    b: Name
    judge: Name | None = None


class HistoryQuery(Query):
    """Which scores; newest first."""

    agent: str | None = None
    model: str | None = None
    limit: Limit = 100


@dataclass(frozen=True, slots=True)
class Scored:
    """What votes come to; `score` null comes with the `reason`."""

    score: float | None
    positive: int
    negative: int
    valid: int
    total: int
    judge: str | None
    votes: tuple[VoteWord, ...]
    reason: str


class RewardRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table; who leaves ends the calls on judges."""
        return (
            ApiRoute(
                "POST",
                "reward/score",
                "Have judges vote on an output",
                self.score,
                NoQuery,
                ScoreBody,
                Scored,
                ends_with_client=True,
            ),
            ApiRoute(
                "GET",
                "reward/history",
                "Scores, newest first, and what they come to",
                self.history,
                HistoryQuery,
                Nothing,
                RewardPage,
            ),
            ApiRoute(
                "POST",
                "evals/judge-check",
                "Try a judge on the shipped pairs",
                self.check,
                NoQuery,
                JudgeBody,
                JudgeChecked,
                body_optional=True,
                ends_with_client=True,
            ),
            ApiRoute(
                "POST",
                "evals/{run}/prefer",
                "Which of two columns a judge prefers",
                self.prefer,
                NoQuery,
                PreferBody,
                JsonObject,
                ends_with_client=True,
            ),
        )

    async def score(self, call: Call[NoQuery, ScoreBody]) -> Answer:
        """An output scored."""
        receipt = await self._control.do(ScoreOutput(**call.body.model_dump()), actor=call.actor)
        return Answer(receipt.after)

    async def history(self, call: Call[HistoryQuery, Nothing]) -> Answer:
        """The scores kept."""
        asked = RewardQuery(call.query.agent, call.query.model, call.query.limit)
        return Answer(plain(await self._control.rewards(asked)))

    async def check(self, call: Call[NoQuery, JudgeBody]) -> Answer:
        """A judge tried."""
        return Answer((await self._control.do(CheckJudge(call.body.judge), actor=call.actor)).after)

    async def prefer(self, call: Call[NoQuery, PreferBody]) -> Answer:
        """Two columns judged pairwise, in both orders."""
        command = PreferColumns(call.path["run"], **call.body.model_dump())
        return Answer((await self._control.do(command, actor=call.actor)).after)
