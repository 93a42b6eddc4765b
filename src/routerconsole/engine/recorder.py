"""What happened to each request: live ones, the recent past in memory, older ones in the log; and the events of both.

Everything here is synchronous: a client's disconnect cancels every await, and no request may go unrecorded.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from routerconsole.control.views import FailureView
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.trace import RequestStatus, cause_code

from .clock import Clock, iso
from .rates import Rates
from .rows import arrival_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from routerconsole.control.port import RequestQuery
    from routerconsole.control.views import RequestRow
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Attempt, Decision, Trace

    from .bus import Bus

KEEP = 2_000
"""Finished requests kept in memory; older ones are paged from the log."""
KEEP_FAILURES = 500

_FINAL_EVENT = {
    RequestStatus.OK: EventType.REQUEST_COMPLETED,
    RequestStatus.TRUNCATED: EventType.REQUEST_FAILED,
    RequestStatus.FAILED: EventType.REQUEST_FAILED,
    RequestStatus.CANCELLED: EventType.REQUEST_CANCELLED,
}


class LogSink(Protocol):
    """Where finished requests go for keeping; never raises, never waits."""

    def offer(self, item: Trace) -> None:
        """Queue one finished request."""


class _Finished:
    """A request that is over and changes no more; its row is made when it is first asked for."""

    __slots__ = ("_row", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._row: RequestRow | None = None

    @property
    def row(self) -> RequestRow:
        """The request's line."""
        if self._row is None:
            self._row = row_of(self.trace)
        return self._row


class Recorder:
    """Publishes and keeps; owned by the engine's loop."""

    def __init__(self, bus: Bus, clock: Clock, sink: LogSink | None = None) -> None:
        self._bus, self._clock, self._sink = bus, clock, sink
        self.live: dict[str, Trace] = {}
        self._recent: OrderedDict[str, _Finished] = OrderedDict()
        self._failures: deque[FailureView] = deque(maxlen=KEEP_FAILURES)
        self.rates = Rates()
        self.watchers: list[Callable[[Trace], None]] = []  # each is told of a request that is over, and may not raise

    def begin(self, trace: Trace) -> None:
        """A request arrived."""
        self.live[trace.id] = trace

    def received(self, trace: Trace) -> None:
        """The request's needs and candidates are known."""
        self._bus.defer(EventType.REQUEST_RECEIVED, _received, trace, tuple(trace.flags))
        planned = [(item.route, item.decision) for item in trace.candidates]  # the cascade may change a decision
        self._bus.defer(EventType.ROUTE_CANDIDATES, _candidates, trace, planned)

    def skipped(self, trace: Trace, route: Route, reason: str) -> None:
        """A candidate whose turn it was could not be asked just then."""
        self._bus.defer(EventType.ATTEMPT_SKIPPED, _skipped, trace.id, route, reason)

    def attempt_started(self, trace: Trace, attempt: Attempt) -> None:
        """An upstream call begins."""
        self._bus.defer(EventType.ATTEMPT_STARTED, _where, trace.id, attempt)

    def attempt_first_token(self, trace: Trace, attempt: Attempt) -> None:
        """A stream committed."""
        self._bus.defer(EventType.ATTEMPT_FIRST_TOKEN, _first_token, trace.id, attempt, attempt.first_token_ms)

    def attempt_failed(self, trace: Trace, attempt: Attempt) -> None:
        """An upstream call did not serve."""
        cls = attempt.cls or OutcomeClass.LOCAL
        data = _where(trace.id, attempt) | {
            "class": cls.value,
            "cause": cause_code(attempt),
            "status": attempt.status,
            "detail": attempt.detail,
        }
        self._bus.publish(Fact(EventType.ATTEMPT_FAILED, data))
        if cls is not OutcomeClass.IGNORED:
            self._failures.appendleft(
                FailureView(
                    at=iso(self._clock.wall()),
                    provider=attempt.route.provider,
                    model=attempt.route.model,
                    class_=cls.value,
                    status=attempt.status,
                    detail=attempt.detail,
                    request_id=trace.id,
                )
            )

    def attempt_succeeded(self, trace: Trace, attempt: Attempt) -> None:
        """An upstream call served."""
        self._bus.defer(EventType.ATTEMPT_SUCCEEDED, _where, trace.id, attempt)

    def finish(self, trace: Trace) -> None:
        """The request is over: keep it, publish its final event once, hand it to the log."""
        if self.live.pop(trace.id, None) is None:
            return
        finished = self._recent[trace.id] = _Finished(trace)
        if len(self._recent) > KEEP:
            self._recent.popitem(last=False)
        failed = trace.status in (RequestStatus.FAILED, RequestStatus.TRUNCATED)
        self.rates.note(
            self._clock.monotonic(),
            failed_over=trace.failed_over,
            failed=failed,
            total_ms=trace.total_ms if trace.status is RequestStatus.OK else None,
        )
        self._bus.defer(_FINAL_EVENT[trace.status], _final, finished)
        if self._sink is not None:
            self._sink.offer(trace)
        for told in self.watchers:
            told(trace)

    def find(self, request_id: str) -> Trace | None:
        """Return a live or recent trace."""
        live, past = self.live.get(request_id), self._recent.get(request_id)
        return live if live is not None or past is None else past.trace

    def finished(self) -> Iterator[Trace]:
        """Yield the recent requests whose needs are known, newest first."""
        return (past.trace for past in reversed(self._recent.values()) if past.trace.size)

    def rows(self, query: RequestQuery) -> list[RequestRow]:
        """Return the rows in memory that match, newest first; raises ControlError for a filter that means nothing."""
        rows = self._running() if query.status == RequestStatus.IN_FLIGHT else self._newest()
        return list(islice(filter(query.test(now=self._clock.wall()), rows), query.limit))

    def failures(self, limit: int) -> tuple[FailureView, ...]:
        """Return recent failed attempts, newest first."""
        return tuple(islice(self._failures, limit))

    def clear_failures(self) -> int:
        """Forget them; return how many there were."""
        count = len(self._failures)
        self._failures.clear()
        return count

    def _running(self) -> Iterator[RequestRow]:
        return (row_of(trace) for trace in reversed(self.live.values()))

    def _newest(self) -> Iterator[RequestRow]:
        yield from self._running()
        yield from (past.row for past in reversed(self._recent.values()))


def _received(trace: Trace, flags: tuple[str, ...]) -> dict[str, object]:
    return {"id": trace.id, "row": arrival_of(trace, flags)}


def _candidates(trace: Trace, planned: Sequence[tuple[Route, Decision]]) -> dict[str, object]:
    candidates = [
        {"provider": route.provider, "model": route.model, "decision": decision.value} for route, decision in planned
    ]
    return {"id": trace.id, "resolved": trace.resolved, "candidates": candidates}


def _skipped(request_id: str, route: Route, reason: str) -> dict[str, object]:
    where = {"provider": route.provider, "model": route.model, "account": route.account}
    return {"id": request_id, **where, "reason": reason}


def _where(request_id: str, attempt: Attempt) -> dict[str, object]:
    n, route = attempt.n, attempt.route
    return {"id": request_id, "n": n, "provider": route.provider, "model": route.model, "account": route.account}


def _first_token(request_id: str, attempt: Attempt, ttft_ms: float | None) -> dict[str, object]:
    return _where(request_id, attempt) | {"ttft_ms": ttft_ms}


def _final(finished: _Finished) -> dict[str, object]:
    return {"id": finished.trace.id, "row": finished.row}
