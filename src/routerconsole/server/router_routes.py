"""`/api/v1/router`: what runs now, the decision for a body, the configuration, and every command by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.control.commands import (
    HAND_TTL_S,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ReloadConfig,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.registry_views import Impact
from routerconsole.control.views import Explanation, HealthCheck, ProviderStatus, Status
from routerconsole.control.wire import command_from_json, members, plain
from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.domain.trace import Decision

from .errors import attempts_of, overhead_header, trace_headers
from .hints import hints_of
from .routes import Answer, AnyCall, AnyRoute, ApiRoute, Call, Plain, get, post
from .schemas import (
    ChatBody,
    CommandBody,
    CompleteBody,
    Completed,
    ControlBody,
    HealthCheckBody,
    ImpactBody,
    JsonObject,
    MetricsList,
    NoQuery,
    Nothing,
    ProviderList,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.control.port import Chat, Control

TEMPERATURE = 0.7
"""Of `router/complete` where the body names none (cases.md C0-25)."""
_TAKEN = {
    "ttl_s": ("isolate", "force_close"),
    "cancel_in_flight": ("disable", "drain", "isolate"),
    "gates": ("reset_circuit",),
    "priority": ("set_priority",),
}
"""The options of a control body, and the actions they mean something to."""


class RouterRoutes:
    """The handlers over one engine."""

    def __init__(self, control: Control, chat: Chat) -> None:
        self._control, self._chat = control, chat

    def rows(self) -> tuple[AnyRoute, ...]:
        """Return their part of the table."""
        return (
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
            get("router/status", "Providers, routes, circuits and rates", self.status, Status),
            get("router/metrics", "Counters and latencies", self.metrics, MetricsList),
            get("router/providers", "All providers", self.providers, ProviderList),
            get("router/providers/{name}", "One provider", self.provider, ProviderStatus),
            post("router/providers/{name}/control", "Act on a provider", self.control_provider, ControlBody, Receipt),
            post(
                "router/routes/{provider}/{model}/control", "Act on a route", self.control_route, ControlBody, Receipt
            ),
            post(
                "router/health-check",
                "Check reachability now",
                self.health_check,
                HealthCheckBody,
                HealthCheck,
                optional=True,
            ),
            get("router/config", "The effective configuration, secrets masked", self.config, JsonObject),
            post("router/config/reload", "Read the file again", self.reload, Nothing, Receipt, optional=True),
            post("router/explain", "The routing decision, nothing sent", self.explain, ChatBody, Explanation),
            post("router/impact", "What registry changes would mean, nothing done", self.impact, ImpactBody, Impact),
            ApiRoute(
                "POST",
                "router/commands",
                "Any control command by name",
                self.command,
                NoQuery,
                CommandBody,
                Receipt,
                ends_with_client=True,  # a change is carried out all the same, judges are asked no further
            ),
        )

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
            "is_fallback_model": "fallback" in trace.flags or (bool(wanted) and by != wanted[0]),
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
        return await self._done(call, _command(call.body, Target(call.path["name"])))

    async def control_route(self, call: Call[NoQuery, ControlBody]) -> Answer:
        """One action on a route (all accounts)."""
        return await self._done(call, _command(call.body, Target(call.path["provider"], call.path["model"])))

    async def health_check(self, call: Call[NoQuery, HealthCheckBody]) -> Answer:
        """Check reachability; changes nothing by itself."""
        receipt = await self._control.do(Probe(tuple(call.body.providers)), actor=call.actor)
        return Answer(receipt.after)

    async def config(self, call: Plain) -> Answer:
        """The configuration in force."""
        return Answer(await self._control.config())

    async def reload(self, call: Plain) -> Answer:
        """Read the configuration again; the last good one stays on any error."""
        return await self._done(call, ReloadConfig())

    async def explain(self, call: Call[NoQuery, ChatBody]) -> Answer:
        """The decision for a body and its hint headers."""
        hints = {
            name.decode(): value.decode("latin-1") for name, value in call.headers if name.startswith(b"x-router-")
        }
        return Answer(plain(await self._control.explain(call.json, hints)))

    async def impact(self, call: Call[NoQuery, ImpactBody]) -> Answer:
        """The last requests planned anew as registry changes would have them."""
        commands = [command_from_json(item.command, item.args) for item in call.body.commands]
        return Answer(plain(await self._control.impact(commands)))

    async def command(self, call: Call[NoQuery, CommandBody]) -> Answer:
        """Any command, tried out or fenced by a version."""
        body = call.body
        command = command_from_json(body.command, body.args)
        receipt = await self._control.do(command, actor=call.actor, dry_run=body.dry_run, if_version=body.if_version)
        return Answer(plain(receipt))

    async def _done(self, call: AnyCall, command: Command) -> Answer:
        return Answer(plain(await self._control.do(command, actor=call.actor)))


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
