"""Asks judges: N votes at once on one output, or which of two outputs is better, in both orders.

Who answers is handed in. A call that failed is a missing vote, never a bad one; cancelling ends every call.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from routerconsole.domain.request import Endpoint

from .judge import Order, Vote, check_count, pair_prompt, parse_preference, parse_vote, prompt, stable_winner, tally
from .types import Call, Reply
from .vote_types import Votes

if TYPE_CHECKING:
    from .judge_pairs import JudgePair
    from .types import Json

AskJudge = Callable[[Call], Awaitable[Reply]]
"""Make one call on the judge; raises nothing but when cancelled."""

TIMEOUT_S: Final = 60.0
MAX_TOKENS: Final = 2048
"""Room for a model that reasons before it says its word."""
PAIRS_AT_ONCE: Final = 2
"""Pairs asked about at the same time, each in two orders: as many calls as a run has lanes."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What judges said of one output, vote by vote (None is a call that failed), and why the first one failed."""

    votes: Votes
    said: tuple[Vote | None, ...]
    problem: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The votes as they are shown."""
        return tuple("missing" if vote is None else vote.value for vote in self.said)


async def vote(ask: AskJudge, *, judge: str, task: str, output: str, count: int, kind: str, rubric: str = "") -> Ballot:
    """Ask for `count` votes at once and return what they come to; raises ValueError for an even number of them."""
    calls = [_call(prompt(task, output, mark=secrets.token_hex(4), rubric=rubric)) for _ in range(check_count(count))]
    replies = await asyncio.gather(*(ask(call) for call in calls))
    said = tuple(None if reply.error is not None else parse_vote(reply.text) for reply in replies)
    votes = replace(
        tally(said, kind=kind, judge=judge),
        tokens=sum((reply.usage.prompt or 0) + (reply.usage.completion or 0) for reply in replies),
        cost_usd=sum(reply.cost_usd or 0.0 for reply in replies),
    )
    return Ballot(votes, said, _trouble(replies))


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two outputs a judge stably prefers, "a" or "b"; None where the order decided; and why a call failed."""

    winner: str | None
    problem: str = ""


async def prefer(ask: AskJudge, *, task: str, a: str, b: str) -> Preference:
    """Ask in both orders which output is better."""
    replies = await asyncio.gather(
        *(ask(_call(pair_prompt(task, first, second, mark=secrets.token_hex(4)))) for first, second in ((a, b), (b, a)))
    )
    problem = _trouble(replies)
    said = [Order.NEITHER if reply.error is not None else parse_preference(reply.text) for reply in replies]
    return Preference(None if problem else stable_winner(*said), problem)


async def preferences(ask: AskJudge, pairs: Sequence[JudgePair]) -> tuple[Preference, ...]:
    """Ask about every pair, its chosen output as "a", a few at a time."""
    free = asyncio.Semaphore(PAIRS_AT_ONCE)

    async def one(pair: JudgePair) -> Preference:
        async with free:
            return await prefer(ask, task=pair.task, a=pair.chosen, b=pair.rejected)

    return tuple(await asyncio.gather(*(one(pair) for pair in pairs)))


def _call(text: str) -> Call:
    body: dict[str, Json] = {"messages": [{"role": "user", "content": text}], "max_tokens": MAX_TOKENS}
    return Call("judge", Endpoint.CHAT, body, timeout_s=TIMEOUT_S)


def _trouble(replies: Sequence[Reply]) -> str:
    return next((reply.error.message or reply.error.cls for reply in replies if reply.error is not None), "")


# ---- what a judge is shown of a conversation


def task_text(messages: object) -> str:
    """Return the messages of a chat body as a task: the text of a lone one, else each with who said it."""
    listed = [each for each in messages if isinstance(each, Mapping)] if isinstance(messages, list | tuple) else []
    if len(listed) == 1:
        return _content(listed[0].get("content"))
    said = []
    for each in listed:
        calls = each.get("tool_calls")
        text = "\n".join(part for part in (_content(each.get("content")), calls_text(calls)) if part)
        said.append(f"{each.get('role')}: {text}")
    return "\n\n".join(said)


def output_text(reply: Reply) -> str:
    """Return what a model answered: its text, then its calls."""
    calls = "\n".join(f"[calls {call.name}({call.arguments})]" for call in reply.tool_calls)
    return "\n".join(part for part in (reply.text, calls) if part)


def calls_text(calls: object) -> str:
    """Return the tool calls of a message, one per line."""
    listed = [each.get("function") for each in calls if isinstance(each, Mapping)] if isinstance(calls, list) else []
    return "\n".join(
        f"[calls {each.get('name')}({each.get('arguments')})]" for each in listed if isinstance(each, Mapping)
    )


def _content(content: object) -> str:
    """Return the text of a message; what is no text is only named."""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    return "\n".join(
        text if isinstance(text := part.get("text"), str) else f"[{part.get('type', 'part')}]" for part in parts
    )
