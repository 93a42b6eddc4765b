"""`/api/v1/requests`, `failures`, `events` and `audit`: what happened, and the few things to do about a request."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from routerconsole.control.commands import CancelRequest, ClearFailures, Receipt, ReplayRequest
from routerconsole.control.port import RequestQuery
from routerconsole.control.views import RequestDetail, RequestPage
from routerconsole.control.wire import plain
from routerconsole.domain.errors import ErrorCode, RequestRejected

from .events import EventFeed
from .routes import Answer, AnyCall, AnyRoute, ApiRoute, Call, Plain, get, post
from .schemas import (
    AuditList,
    EventList,
    EventsQuery,
    FailureList,
    FailuresQuery,
    JsonObject,
    LimitQuery,
    NoQuery,
    Nothing,
    ReplayBody,
    Replayed,
    RequestsQuery,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.commands import Command
    from routerconsole.control.views import FailureView

    from .events import PushingControl

_ALL_FAILURES = 10_000


class LogRoutes:
    """The handlers over one engine."""

    def __init__(self, control: PushingControl) -> None:
        self._control = control
        self._feed = EventFeed(control)

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table."""
        return (
            ApiRoute("GET", "requests", "The request log", self.requests, RequestsQuery, Nothing, RequestPage),
            get("requests/{id}", "One request's trace", self.request, RequestDetail),
            post("requests/{id}/cancel", "Stop a request in flight", self.cancel, Nothing, Receipt, optional=True),
            post("requests/{id}/replay", "Send a request again", self.replay, ReplayBody, Replayed, optional=True),
            ApiRoute("GET", "failures", "Recent failures", self.failures, FailuresQuery, Nothing, FailureList),
            post("failures/reset", "Forget recent failures", self.reset_failures, Nothing, Receipt, optional=True),
            ApiRoute(
                "GET",
                "events",
                "Engine events: server-sent, or one JSON page",
                self._feed.events,
                EventsQuery,
                Nothing,
                EventList,
                ends_with_client=True,
            ),
            ApiRoute("GET", "audit", "Operator changes", self.audit, LimitQuery, Nothing, AuditList),
        )

    async def requests(self, call: Call[RequestsQuery, Nothing]) -> Answer:
        """A page of the log; a provider's name has no case here either."""
        asked = call.query.model_dump()
        asked["provider"] = asked["provider"] and asked["provider"].casefold()
        return Answer(plain(await self._control.requests(RequestQuery(**asked))))

    async def request(self, call: AnyCall) -> Answer:
        """One request in full."""
        detail = await self._control.request(call.path["id"])
        if detail is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Request {shown(call.path['id'])} not found.")
        return Answer(plain(detail))

    async def cancel(self, call: Plain) -> Answer:
        """Stop a request."""
        return await self._done(call, CancelRequest(call.path["id"]))

    async def replay(self, call: Call[NoQuery, ReplayBody]) -> Answer:
        """Send a kept body again."""
        command = ReplayRequest(call.path["id"], tuple(call.body.models))
        receipt = await self._control.do(command, actor=call.actor)
        return Answer(receipt.after)

    async def failures(self, call: Call[FailuresQuery, Nothing]) -> Answer:
        """Recent failures, each and by route."""
        since = _moment(call.query.since)
        found = await self._control.failures(_ALL_FAILURES)
        if since is not None:
            found = tuple(item for item in found if datetime.fromisoformat(item.at) >= since)
        return Answer({"failures": [plain(item) for item in found[: call.query.limit]], "targets": _by_target(found)})

    async def reset_failures(self, call: Plain) -> Answer:
        """Forget them."""
        return await self._done(call, ClearFailures())

    async def audit(self, call: Call[LimitQuery, Nothing]) -> Answer:
        """Operator changes."""
        return Answer({"audit": await self._control.audit(call.query.limit)})

    async def _done(self, call: AnyCall, command: Command) -> Answer:
        return Answer(plain(await self._control.do(command, actor=call.actor)))


def _moment(text: str | None) -> datetime | None:
    """Return a moment in UTC, None for what is none: a filter that cannot be read filters nothing."""
    if not text:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _by_target(failures: Sequence[FailureView]) -> list[JsonObject]:
    """Return the failures of each route together, most first; they come newest first."""
    found: dict[tuple[str, str], list[FailureView]] = {}
    for item in failures:
        found.setdefault((item.provider, item.model), []).append(item)
    rows: list[JsonObject] = [
        {
            "provider": provider,
            "model": model,
            "failures": len(items),
            "classes": dict(Counter(item.class_ for item in items)),
            "last_at": items[0].at,
        }
        for (provider, model), items in found.items()
    ]
    return sorted(rows, key=lambda row: -int(row["failures"]))
