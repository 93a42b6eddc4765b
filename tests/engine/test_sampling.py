"""Chats picked for scoring: a share, only live ones, a short queue that drops, nothing a request would wait for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from routerconsole.domain.policy import RewardPolicy
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.domain.trace import RequestStatus, Trace
from routerconsole.engine.exchange import WholeExchange
from routerconsole.engine.sampling import MAX_BYTES, Finished, Sampler
from routerconsole.engine.tasks import TaskOwner

ALL = RewardPolicy(enabled=True, sample=1.0)


def request(origin: Origin = Origin.HTTP, endpoint: Endpoint = Endpoint.CHAT, size: int = 10) -> ChatRequest:
    """A request."""
    return ChatRequest("r", endpoint, {}, size, "m", stream=False, origin=origin)


def trace(status: RequestStatus = RequestStatus.OK) -> Trace:
    """How it went."""
    made = Trace("r", 0.0, 0.0, Origin.HTTP, Endpoint.CHAT, "m", stream=False)
    made.status = status
    return made


class Scorer:
    """Scores nobody before it is let."""

    def __init__(self) -> None:
        self.let, self.seen = asyncio.Event(), list[Finished]()

    async def __call__(self, finished: Finished) -> bool:
        await self.let.wait()
        self.seen.append(finished)
        if finished.payloads == (b"bug",):
            raise RuntimeError("bug")
        return finished.payloads != (b"unsure",)


class Stream:
    """A stream of batches that is over with the last."""

    status, headers, reply = 200, (), None

    def __init__(self, *batches: bytes) -> None:
        self.trace, self._batches = trace(RequestStatus.IN_FLIGHT), batches

    async def deltas(self) -> AsyncIterator[Sequence[bytes]]:
        for number, batch in enumerate(self._batches, 1):
            if number == len(self._batches):
                self.trace.status = RequestStatus.OK
            yield (batch,)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    """Who owns the work."""
    owner = TaskOwner()
    yield owner
    await owner.aclose()


def sampler(tasks: TaskOwner, score: Scorer, policy: RewardPolicy = ALL, most: int = 2) -> Sampler:
    """A sampler with a short queue."""
    return Sampler(lambda: policy, score, tasks=tasks, rng=random.Random(1), most=most)


def whole(data: bytes = b"{}", status: RequestStatus = RequestStatus.OK) -> WholeExchange:
    """An answer."""
    return WholeExchange(trace(status), data, ())


async def test_a_full_queue_drops_and_counts_and_bugs_cost_one_chat(tasks: TaskOwner) -> None:
    """What is handed out is what came in, at once, however long scoring takes."""
    score = Scorer()
    made = sampler(tasks, score)
    for data in (b"bug", b"unsure", b"{}"):
        exchange = whole(data)
        assert made.tap(request(), exchange) is exchange
    assert (made.told().waiting, made.told().dropped) == (2, 1)
    score.let.set()
    async with asyncio.timeout(60):
        while len(tasks):
            await asyncio.sleep(0)
    told = made.told()
    assert (told.waiting, told.scored, told.unscored, told.dropped) == (0, 0, 2, 1)
    made.tap(request(), whole())
    async with asyncio.timeout(60):
        while len(tasks):
            await asyncio.sleep(0)
    assert made.told().scored == 1


@pytest.mark.parametrize("origin", [Origin.EVAL, Origin.PROBE, Origin.CONSOLE])
async def test_only_live_chats_that_ended_well_are_picked(tasks: TaskOwner, origin: Origin) -> None:
    """Never what judges, evaluations and probes ask, embeddings, failures, long answers; and none while it is off."""
    made = sampler(tasks, Scorer())
    made.tap(request(origin), whole())
    made.tap(request(endpoint=Endpoint.EMBEDDINGS), whole())
    made.tap(request(), whole(status=RequestStatus.FAILED))
    for policy in (RewardPolicy(enabled=False, sample=1.0), RewardPolicy(enabled=True, sample=0.0)):
        sampler(tasks, Scorer(), policy).tap(request(), whole())
    assert (made.told().waiting, made.told().dropped, len(tasks)) == (0, 0, 0)
    made.tap(request(), whole(b"x" * (MAX_BYTES + 1)))
    made.tap(request(size=MAX_BYTES + 1), whole())
    assert (made.told().waiting, made.told().dropped) == (0, 2)


async def test_a_share_is_picked(tasks: TaskOwner) -> None:
    """About as many as were asked for."""
    made = sampler(tasks, Scorer(), RewardPolicy(enabled=True, sample=0.25), most=1000)
    for _ in range(1000):
        made.tap(request(), whole())
    assert 200 <= made.told().waiting <= 300


async def test_a_stream_is_handed_on_as_it_comes(tasks: TaskOwner) -> None:
    """Every batch; it is picked once it ended well, and not when its client left before."""
    score = Scorer()
    score.let.set()
    made = sampler(tasks, score)
    tapped = made.tap(request(), Stream(b"a", b"b", b"[DONE]"))
    assert [batch async for batch in tapped.deltas()] == [(b"a",), (b"b",), (b"[DONE]",)]
    left = made.tap(request(), Stream(b"a", b"b"))
    assert await anext(aiter(left.deltas())) == (b"a",)
    left.close()
    async with asyncio.timeout(60):
        while len(tasks):
            await asyncio.sleep(0)
    assert [finished.payloads for finished in score.seen] == [(b"a", b"b", b"[DONE]")]
