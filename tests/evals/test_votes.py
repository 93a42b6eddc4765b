"""Judges asked: all votes at once, a failed call is missing, cancelling ends every call, both orders of a pair."""

from __future__ import annotations

import asyncio
import re

import pytest

from routerconsole.evals.judge_pairs import JudgePair
from routerconsole.evals.types import Call, CallError, Reply, ToolCall, Usage
from routerconsole.evals.votes import Ballot, output_text, preferences, task_text, vote


def said(text: str) -> Reply:
    """An answer."""
    return Reply("judge", {}, text, usage=Usage(10, 2), cost_usd=0.5)


FAILED = Reply("judge", {}, error=CallError("rate_limited", message="slow down"))


async def voted(*replies: Reply, count: int = 3) -> Ballot:
    """Votes from scripted answers, in turn."""
    left = list(replies)

    async def ask(_: Call) -> Reply:
        return left.pop(0)

    return await vote(ask, judge="j", task="t", output="o", count=count, kind="judge")


async def test_C0_43_votes_are_asked_for_at_once_and_add_up() -> None:
    """No call is answered before all are under way; GOOD GOOD BAD is a third."""
    together = asyncio.Barrier(3)
    answers = iter(["GOOD", '{"verdict": "good"}', "BAD"])

    async def ask(_: Call) -> Reply:
        await together.wait()
        return said(next(answers))

    async with asyncio.timeout(60):
        ballot = await vote(ask, judge="j", task="t", output="o", count=3, kind="judge")
    votes = ballot.votes
    assert (votes.score, votes.positive, votes.negative, votes.valid) == (pytest.approx(1 / 3), 2, 1, 3)
    assert (sorted(ballot.words), votes.tokens, votes.cost_usd) == (["bad", "good", "good"], 36, 1.5)


async def test_C0_46_a_failed_call_is_a_missing_vote() -> None:
    """Two of three are a majority, one is not; an outage never counts as bad."""
    two = await voted(said("good"), FAILED, said("good"))
    assert (two.votes.score, two.words, two.problem) == (1.0, ("good", "missing", "good"), "slow down")
    one = await voted(said("good"), FAILED, FAILED)
    assert (one.votes.score, one.votes.negative, one.votes.total) == (None, 0, 3)


async def test_even_votes_are_refused() -> None:
    """They tie."""
    with pytest.raises(ValueError, match="odd"):
        await voted(count=2)


async def test_cancelling_ends_every_call() -> None:
    """No call outlives who asked."""
    begun, ended, over = asyncio.Barrier(4), list[str](), asyncio.Event()

    async def ask(_: Call) -> Reply:
        try:
            await begun.wait()
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
            if len(ended) == 3:
                over.set()
        return said("good")

    task = asyncio.ensure_future(vote(ask, judge="j", task="t", output="o", count=3, kind="judge"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await over.wait()


def shown(call: Call) -> tuple[str, str]:
    """The two outputs a judge is shown."""
    (message,) = call.body["messages"]  # type: ignore[misc, union-attr]  # the shape votes.py sends
    text = str(message["content"])  # type: ignore[index, call-overload]  # the same
    first, second = (re.search(rf"<{place}-(\w+)>\n(.*)\n</{place}-\1>", text) for place in ("first", "second"))
    assert first is not None
    assert second is not None
    return first[2], second[2]


async def test_only_a_win_in_both_orders_counts() -> None:
    """A judge that knows wins each pair, one that always likes the first none; a failed call is no opinion."""
    pairs = [JudgePair("t", f"right {number}", f"wrong {number}") for number in range(3)]

    async def knows(call: Call) -> Reply:
        return said('{"better": "first"}' if shown(call)[0].startswith("right") else "second")

    async def lazy(_: Call) -> Reply:
        return said("first")

    async def down(call: Call) -> Reply:
        return FAILED if shown(call)[0] == "right 1" else await knows(call)

    assert [each.winner for each in await preferences(knows, pairs)] == ["a", "a", "a"]
    assert [each.winner for each in await preferences(lazy, pairs)] == [None, None, None]
    assert [(each.winner, each.problem) for each in await preferences(down, pairs)] == [
        ("a", ""),
        (None, "slow down"),
        ("a", ""),
    ]


def test_a_conversation_is_shown_with_who_said_what() -> None:
    """One message is its text; pictures are named, calls are spelt out."""
    assert task_text([{"role": "user", "content": "hi"}]) == "hi"
    picture = {"type": "image_url", "image_url": {"url": "data:x"}}
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": calls},
    ]
    assert task_text(talk) == "system: Be brief.\n\nuser: What?\n[image_url]\n\nassistant: [calls f({})]"
    assert task_text("nonsense") == ""
    assert output_text(Reply("x", {}, "text", tool_calls=(ToolCall("f", "{}"),))) == "text\n[calls f({})]"
