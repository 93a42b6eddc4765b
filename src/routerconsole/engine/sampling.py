"""Picks a share of finished live chats to be scored, outside the request's path: it never delays or fails a request.

What is picked waits in a short queue; where that is full it is dropped and counted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from routerconsole.control.reward_views import Sampling
from routerconsole.domain.request import Endpoint, Origin
from routerconsole.domain.trace import RequestStatus

if TYPE_CHECKING:
    import random

    from routerconsole.control.port import Exchange
    from routerconsole.domain.policy import RewardPolicy
    from routerconsole.domain.request import ChatRequest
    from routerconsole.domain.trace import Trace

    from .tasks import TaskOwner

log = logging.getLogger(__name__)

MAX_WAITING: Final = 32
MAX_BYTES: Final = 256 << 10
"""Of a request and of its answer; a longer one is dropped, so that the queue holds 16 MB at most."""
LIVE: Final = frozenset({Origin.HTTP, Origin.MCP, Origin.DEMO})
"""Whose chats are picked: never those of judges, evaluations, probes and replays."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A chat that was answered; `payloads` are its answer, whole or event by event."""

    request: ChatRequest
    trace: Trace
    payloads: tuple[bytes, ...]


Score = Callable[[Finished], Awaitable[bool]]
"""Have a chat scored; returns whether it has a score now."""


class Sampler:
    """The picked chats of one engine, on its loop."""

    def __init__(
        self,
        policy: Callable[[], RewardPolicy],
        score: Score,
        *,
        tasks: TaskOwner,
        rng: random.Random,
        most: int = MAX_WAITING,
    ) -> None:
        self._policy, self._score, self._tasks, self._rng, self._most = policy, score, tasks, rng, most
        self._waiting: deque[Finished] = deque()
        self._working = False
        self._scored = self._unscored = self._dropped = 0

    def told(self) -> Sampling:
        """Return what became of those picked."""
        policy = self._policy()
        share = policy.sample if policy.enabled else 0.0
        return Sampling(share, len(self._waiting), self._scored, self._unscored, self._dropped)

    def tap(self, request: ChatRequest, exchange: Exchange) -> Exchange:
        """Return the exchange to hand out: of a chat that is picked, one that remembers what goes through it."""
        policy = self._policy()
        if not (policy.enabled and policy.sample):
            return exchange
        try:
            return self._picked(request, exchange, policy.sample)
        except Exception:
            log.exception("request %s was not sampled", request.id)
            return exchange

    def _picked(self, request: ChatRequest, exchange: Exchange, share: float) -> Exchange:
        if request.endpoint is not Endpoint.CHAT or request.origin not in LIVE or self._rng.random() >= share:
            return exchange
        if exchange.reply is None:
            return _Tapped(exchange, lambda payloads: self._offer(request, exchange.trace, payloads))
        self._offer(request, exchange.trace, (exchange.reply,))
        return exchange

    def _offer(self, request: ChatRequest, trace: Trace, payloads: Sequence[bytes]) -> None:
        """Queue a chat that ended well; begin the work on the queue where nobody is at it."""
        if trace.status is not RequestStatus.OK:
            return
        too_long = request.size > MAX_BYTES or sum(map(len, payloads)) > MAX_BYTES
        if too_long or len(self._waiting) >= self._most:
            self._dropped += 1
            return
        self._waiting.append(Finished(request, trace, tuple(payloads)))
        if not self._working:
            self._working = True
            self._tasks.start(self._work(), name="reward sampling")

    async def _work(self) -> None:
        """Have what waits scored, one chat after the other."""
        try:
            while self._waiting:
                try:
                    good = await self._score(self._waiting.popleft())
                except Exception:
                    log.exception("a sampled chat was not scored")
                    good = False
                self._scored += good
                self._unscored += not good
        finally:
            self._working = False


class _Tapped:
    """A stream that is handed on as it comes, and to `done` once the request has ended well."""

    def __init__(self, inner: Exchange, done: Callable[[Sequence[bytes]], None]) -> None:
        self._inner, self._batches, self._done = inner, aiter(inner.deltas()), done
        self._kept: list[bytes] = []
        self._size = 0
        self._over = False

    @property
    def trace(self) -> Trace:
        """See Exchange."""
        return self._inner.trace

    @property
    def status(self) -> int:
        """See Exchange."""
        return self._inner.status

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """See Exchange."""
        return self._inner.headers

    @property
    def reply(self) -> bytes | None:
        """See Exchange."""
        return None

    def deltas(self) -> AsyncIterator[Sequence[bytes]]:
        """See Exchange."""
        return self

    def __aiter__(self) -> AsyncIterator[Sequence[bytes]]:
        return self

    async def __anext__(self) -> Sequence[bytes]:
        """Return the next batch; of an answer that grows too long no more is kept than says so."""
        batch = await anext(self._batches)
        if self._size <= MAX_BYTES:
            self._kept.extend(batch)
            self._size += sum(map(len, batch))
        if not self._over and self._inner.trace.status is RequestStatus.OK:
            self._over = True
            self._done(self._kept)
        return batch

    def close(self) -> None:
        """See Exchange."""
        self._inner.close()
