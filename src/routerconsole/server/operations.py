"""What each control route does: a read of the control port, or one command through its `do`."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.control.commands import (
    HAND_TTL_S,
    CancelRequest,
    ClearFailures,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ReloadConfig,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.port import RequestQuery
from routerconsole.control.views import (
    Explanation,
    HealthCheck,
    ProviderStatus,
    RequestDetail,
    RequestPage,
    Status,
)
from routerconsole.control.wire import command_from_json, members, plain
from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.domain.trace import Decision

from .errors import attempts_of, overhead_header, trace_headers
from .events import EventFeed
from .hints import hints_of
from .openapi import document
from .routes import Answer, AnyRoute, ApiRoute, Call
from .schemas import (
    AuditList,
    ChatBody,
    CommandBody,
    CompleteBody,
    Completed,
    ControlBody,
    EventList,
    EventsQuery,
    FailureList,
    FailuresQuery,
    HealthCheckBody,
    JsonObject,
    LimitQuery,
    MetricsList,
    NoQuery,
    Nothing,
    ProviderList,
    ReplayBody,
    Replayed,
    RequestsQuery,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.port import Chat
    from routerconsole.control.views import FailureView

    from .events import PushingControl

ACTOR = "api"
TEMPERATURE = 0.7
"""Of `router/complete` where the body names none (cases.md C0-25)."""
_ALL_FAILURES = 10_000
_TAKEN = {
    "ttl_s": ("isolate", "force_close"),
    "cancel_in_flight": ("disable", "drain", "isolate"),
    "gates": ("reset_circuit",),
    "priority": ("set_priority",),
}
"""The options of a control body, and the actions they mean something to."""

Plain = Call[NoQuery, Nothing]
AnyCall = Call[Any, Any]


class Operations:
    """The handlers over one engine, and the table of their routes."""

    def __init__(self, control: PushingControl, chat: Chat) -> None:
        self._control, self._chat = control, chat
        self._feed = EventFeed(control)
        self._table: tuple[AnyRoute, ...] = ()

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the one table."""
        table: tuple[AnyRoute, ...] = (
            ApiRoute(
                "POST",
                "router/complete",
                "Answer one chat request whole",
                self.complete,
                NoQuery,
                CompleteBody,
                Completed,
                ends_with_client=True,
                client_token=True,
            ),
            _get("router/status", "Providers, routes, circuits and rates", self.status, Status),
            _get("router/metrics", "Counters and latencies", self.metrics, MetricsList),
            _get("router/providers", "All providers", self.providers, ProviderList),
            _get("router/providers/{name}", "One provider", self.provider, ProviderStatus),
            _post("router/providers/{name}/control", "Act on a provider", self.control_provider, ControlBody, Receipt),
            _post(
                "router/routes/{provider}/{model}/control", "Act on a route", self.control_route, ControlBody, Receipt
            ),
            _post(
                "router/health-check",
                "Check reachability now",
                self.health_check,
                HealthCheckBody,
                HealthCheck,
                optional=True,
            ),
            _get("router/config", "The effective configuration, secrets masked", self.config, JsonObject),
            _post("router/config/reload", "Read the file again", self.reload, Nothing, Receipt, optional=True),
            _post("router/explain", "The routing decision, nothing sent", self.explain, ChatBody, Explanation),
            _post("router/commands", "Any control command by name", self.command, CommandBody, Receipt),
            ApiRoute("GET", "requests", "The request log", self.requests, RequestsQuery, Nothing, RequestPage),
            _get("requests/{id}", "One request's trace", self.request, RequestDetail),
            _post("requests/{id}/cancel", "Stop a request in flight", self.cancel, Nothing, Receipt, optional=True),
            _post("requests/{id}/replay", "Send a request again", self.replay, ReplayBody, Replayed, optional=True),
            ApiRoute("GET", "failures", "Recent failures", self.failures, FailuresQuery, Nothing, FailureList),
            _post("failures/reset", "Forget recent failures", self.reset_failures, Nothing, Receipt, optional=True),
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
            _get("openapi.json", "This document", self.openapi, JsonObject),
        )
        self._table = table
        return table

    async def complete(self, call: Call[NoQuery, CompleteBody]) -> Answer:
        """Serve one request whole."""
        body = {"temperature": TEMPERATURE, **call.json}
        model = body.get("model")
        if model is not None and not isinstance(model, str):
            raise RequestRejected(ErrorCode.INVALID_REQUEST, "`model` must be a string.", param="model")
        hints, forward, retry = hints_of(call.headers)
        exchange = await self._chat.open(
            ChatRequest(
                id=call.id,
                endpoint=Endpoint.CHAT,
                body=body,
                size=call.size,
                model=model,
                stream=False,
                hints=hints,
                origin=Origin.HTTP,
                forward=forward,
                client_retry=retry,
            )
        )
        trace = exchange.trace
        choice = _first_choice(exchange.reply)
        message = choice.get("message") or {}
        served = trace.selected
        by = (served.provider, served.model) if served else (None, None)
        wanted = [
            (item.route.provider, item.route.model)
            for item in trace.candidates
            if item.decision is not Decision.DROPPED
        ]
        data = {
            "content": message.get("content"),
            "provider": by[0],
            "model": by[1],
            "latency_ms": round(trace.total_ms or 0.0, 1),
            "is_fallback_model": bool(wanted) and by != wanted[0],
            "attempts": attempts_of(trace),
            "request_id": call.id,
            "finish_reason": trace.finish_reason,
            "tool_calls": message.get("tool_calls") or [],
            "usage": orjson.loads(exchange.reply or b"{}").get("usage"),
        }
        return Answer(data, headers=[*trace_headers(call.id, trace), overhead_header(trace.router_ms or 0.0)])

    async def status(self, call: Plain) -> Answer:
        """Everything at a glance."""
        return Answer(members(await self._control.status()))

    async def metrics(self, call: Plain) -> Answer:
        """Counters and latencies."""
        return Answer({"providers": await self._control.metrics()})

    async def providers(self, call: Plain) -> Answer:
        """All providers by priority."""
        return Answer({"providers": (await self._control.status()).providers})

    async def provider(self, call: Plain) -> Answer:
        """One provider, 404 where there is none of that name."""
        wanted = call.path["name"]
        providers = (await self._control.status()).providers
        for provider in providers:
            if provider.name == wanted.casefold():
                return Answer(plain(provider))
        known = ", ".join(sorted(provider.name for provider in providers)) or "none"
        raise RequestRejected(ErrorCode.NOT_FOUND, f"Provider {shown(wanted)} not found; there are: {known}.")

    async def control_provider(self, call: Call[NoQuery, ControlBody]) -> Answer:
        """One action on a provider."""
        return await self._done(_command(call.body, Target(call.path["name"])))

    async def control_route(self, call: Call[NoQuery, ControlBody]) -> Answer:
        """One action on a route (all accounts)."""
        return await self._done(_command(call.body, Target(call.path["provider"], call.path["model"])))

    async def health_check(self, call: Call[NoQuery, HealthCheckBody]) -> Answer:
        """Check reachability; changes nothing by itself."""
        receipt = await self._control.do(Probe(tuple(call.body.providers)), actor=ACTOR)
        return Answer(receipt.after)

    async def config(self, call: Plain) -> Answer:
        """The configuration in force."""
        return Answer(await self._control.config())

    async def reload(self, call: Plain) -> Answer:
        """Read the configuration again; the last good one stays on any error."""
        return await self._done(ReloadConfig())

    async def explain(self, call: Call[NoQuery, ChatBody]) -> Answer:
        """The decision for a body and its hint headers."""
        hints = {
            name.decode(): value.decode("latin-1") for name, value in call.headers if name.startswith(b"x-router-")
        }
        return Answer(plain(await self._control.explain(call.json, hints)))

    async def command(self, call: Call[NoQuery, CommandBody]) -> Answer:
        """Any command, tried out or fenced by a version."""
        body = call.body
        command = command_from_json(body.command, body.args)
        receipt = await self._control.do(command, actor=ACTOR, dry_run=body.dry_run, if_version=body.if_version)
        return Answer(plain(receipt))

    async def requests(self, call: Call[RequestsQuery, Nothing]) -> Answer:
        """A page of the log."""
        return Answer(plain(await self._control.requests(RequestQuery(**call.query.model_dump()))))

    async def request(self, call: AnyCall) -> Answer:
        """One request in full."""
        detail = await self._control.request(call.path["id"])
        if detail is None:
            raise RequestRejected(ErrorCode.NOT_FOUND, f"Request {shown(call.path['id'])} not found.")
        return Answer(plain(detail))

    async def cancel(self, call: Plain) -> Answer:
        """Stop a request."""
        return await self._done(CancelRequest(call.path["id"]))

    async def replay(self, call: Call[NoQuery, ReplayBody]) -> Answer:
        """Send a kept body again."""
        command = ReplayRequest(call.path["id"], tuple(call.body.models))
        receipt = await self._control.do(command, actor=ACTOR)
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
        return await self._done(ClearFailures())

    async def audit(self, call: Call[LimitQuery, Nothing]) -> Answer:
        """Operator changes."""
        return Answer({"audit": await self._control.audit(call.query.limit)})

    async def openapi(self, call: Plain) -> Answer:
        """What all this is, for programs."""
        return Answer(document(self._table))

    async def _done(self, command: Command) -> Answer:
        return Answer(plain(await self._control.do(command, actor=ACTOR)))


def _get(path: str, summary: str, handler: Any, answer: object) -> AnyRoute:  # any handler of the plain kind
    return ApiRoute("GET", path, summary, handler, NoQuery, Nothing, answer)


def _post(path: str, summary: str, handler: Any, body: Any, answer: object, *, optional: bool = False) -> AnyRoute:
    return ApiRoute("POST", path, summary, handler, NoQuery, body, answer, body_optional=optional)


def _command(body: ControlBody, target: Target) -> Command:
    """Return the action's command; raise RequestRejected for an option the action does not have."""
    options = {"ttl_s": body.ttl_s, "cancel_in_flight": body.cancel_in_flight, "priority": body.priority}
    options["gates"] = body.gates
    for name, value in options.items():
        if value not in (None, False) and body.action not in _TAKEN[name]:
            raise RequestRejected(
                ErrorCode.INVALID_REQUEST, f"`{name}` has no effect on `{body.action}`; leave it out.", param=name
            )
    cut = bool(body.cancel_in_flight)
    match body.action:
        case "enable":
            return Enable(target)
        case "disable":
            return Disable(target, cut)
        case "drain":
            return Drain(target, cut)
        case "reset_circuit":
            return ResetCircuit(target, bool(body.gates))
        case "isolate":
            return Isolate(target, body.ttl_s or HAND_TTL_S, cut)
        case "force_close":
            return ForceClose(target, body.ttl_s or HAND_TTL_S)
        case "set_priority":
            return _set_priority(body, target)


def _set_priority(body: ControlBody, target: Target) -> SetPriority:
    if body.priority is None:
        raise RequestRejected(ErrorCode.INVALID_REQUEST, "`priority` is required for set_priority.", param="priority")
    return SetPriority(target.provider, body.priority, target.model)


def _first_choice(reply: bytes | None) -> Mapping[str, Any]:
    choices = orjson.loads(reply or b"{}").get("choices") or [{}]
    return choices[0] if isinstance(choices[0], dict) else {}


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
