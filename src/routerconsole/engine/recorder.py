"""What happened to each request: live ones, the recent past in memory, older ones in the log; and the events of both.

Everything here is synchronous: a client's disconnect cancels every await, and no request may go unrecorded.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from routerconsole.control.views import FailureView
from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.trace import RequestStatus, cause_code

from .clock import Clock, iso
from .rates import Rates
from .rows import row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from routerconsole.control.port import RequestQuery
    from routerconsole.control.views import RequestRow
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Attempt, Trace

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

    def offer(self, item: Trace, row: RequestRow) -> None:
        """Queue one finished request; `row` is its line."""


class Recorder:
    """Publishes and keeps; owned by the engine's loop."""

    def __init__(self, bus: Bus, clock: Clock, sink: LogSink | None = None) -> None:
        self._bus, self._clock, self._sink = bus, clock, sink
        self.live: dict[str, Trace] = {}
        self._recent: OrderedDict[str, tuple[Trace, RequestRow]] = OrderedDict()
        self._failures: deque[FailureView] = deque(maxlen=KEEP_FAILURES)
        self.rates = Rates()

    def begin(self, trace: Trace) -> None:
        """A request arrived."""
        self.live[trace.id] = trace

    def received(self, trace: Trace) -> None:
        """The request's needs and candidates are known."""
        self._publish(EventType.REQUEST_RECEIVED, trace, {"row": row_of(trace)})
        candidates = [
            {"provider": item.route.provider, "model": item.route.model, "decision": item.decision.value}
            for item in trace.candidates
        ]
        self._publish(EventType.ROUTE_CANDIDATES, trace, {"resolved": trace.resolved, "candidates": candidates})

    def skipped(self, trace: Trace, route: Route, reason: str) -> None:
        """A candidate whose turn it was could not be asked just then."""
        where = {"provider": route.provider, "model": route.model, "account": route.account}
        self._publish(EventType.ATTEMPT_SKIPPED, trace, {**where, "reason": reason})

    def attempt_started(self, trace: Trace, attempt: Attempt) -> None:
        """An upstream call begins."""
        self._publish(EventType.ATTEMPT_STARTED, trace, _where(attempt))

    def attempt_first_token(self, trace: Trace, attempt: Attempt) -> None:
        """A stream committed."""
        self._publish(EventType.ATTEMPT_FIRST_TOKEN, trace, _where(attempt) | {"ttft_ms": attempt.first_token_ms})

    def attempt_failed(self, trace: Trace, attempt: Attempt) -> None:
        """An upstream call did not serve."""
        cls = attempt.cls or OutcomeClass.LOCAL
        data = _where(attempt) | {
            "class": cls.value,
            "cause": cause_code(attempt),
            "status": attempt.status,
            "detail": attempt.detail,
        }
        self._publish(EventType.ATTEMPT_FAILED, trace, data)
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
        self._publish(EventType.ATTEMPT_SUCCEEDED, trace, _where(attempt))

    def finish(self, trace: Trace) -> None:
        """The request is over: keep it, publish its final event once, hand it to the log."""
        if self.live.pop(trace.id, None) is None:
            return
        row = row_of(trace)
        self._recent[trace.id] = trace, row
        if len(self._recent) > KEEP:
            self._recent.popitem(last=False)
        failed = trace.status in (RequestStatus.FAILED, RequestStatus.TRUNCATED)
        self.rates.note(
            self._clock.monotonic(),
            failed_over=trace.failed_over,
            failed=failed,
            total_ms=trace.total_ms if trace.status is RequestStatus.OK else None,
        )
        self._publish(_FINAL_EVENT[trace.status], trace, {"row": row})
        if self._sink is not None:
            self._sink.offer(trace, row)

    def find(self, request_id: str) -> Trace | None:
        """Return a live or recent trace."""
        live = self.live.get(request_id)
        return live if live is not None else self._recent.get(request_id, (None, None))[0]

    def rows(self, query: RequestQuery) -> list[RequestRow]:
        """Return the rows in memory that match, newest first."""
        rows = self._running() if query.status == RequestStatus.IN_FLIGHT else self._newest()
        return list(islice((row for row in rows if query.matches(row)), query.limit))

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
        """Iterate live then recent rows; those of finished requests change no more and are not made again."""
        yield from self._running()
        yield from (row for _, row in reversed(self._recent.values()))

    def _publish(self, kind: EventType, trace: Trace, data: dict[str, object]) -> None:
        self._bus.note(kind, {"id": trace.id, **data})


def _where(attempt: Attempt) -> dict[str, object]:
    route = attempt.route
    return {"n": attempt.n, "provider": route.provider, "model": route.model, "account": route.account}
