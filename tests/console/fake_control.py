"""A scripted, in-memory Control: it records commands, answers from lists a test sets, and can fail on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from routerconsole.control.commands import (
    CancelRequest,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    Receipt,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
)
from routerconsole.control.eval_commands import CancelEval, StartEval
from routerconsole.control.eval_views import EvalCellDetail, EvalPage, ReportForm
from routerconsole.control.port import ControlError, EventPage, RequestQuery
from routerconsole.control.registry_commands import CancelPull, PullModel, RegistryCommand, SyncModels
from routerconsole.control.registry_views import (
    Assignment,
    Finding,
    Impact,
    ModelPage,
    ModelQuery,
    ModelView,
    NodeView,
    PoolView,
    ProfileView,
)
from routerconsole.control.reward_commands import CheckJudge, PreferColumns, ScoreOutput
from routerconsole.control.reward_views import RewardPage, RewardQuery
from routerconsole.control.usage_views import BudgetView, UsagePage
from routerconsole.control.views import (
    AttemptView,
    AuditRow,
    CandidateView,
    Explanation,
    FailureView,
    ModelCard,
    ProviderMetrics,
    ProviderStatus,
    RequestDetail,
    RequestPage,
    RequestRow,
    RouteStatus,
    Status,
)
from routerconsole.domain.events import Event, EventType

NOW = datetime(2026, 3, 1, 12, 0, 42, tzinfo=UTC)
AT = "2026-03-01T12:{minute:02d}:{second:02d}.000Z"


BECOMES: Mapping[type[Command], str] = {
    Enable: "healthy",
    Disable: "disabled",
    Drain: "draining",
    ResetCircuit: "healthy",
    Isolate: "isolated",
}
"""The health word after a command; others leave it."""

BY_HAND: Mapping[type[Command], str] = {
    Disable: "disabled",
    Drain: "draining",
    Isolate: "isolated",
    ForceClose: "forced_closed",
}
"""What an operator's command leaves set."""


def at(number: int) -> str:
    """Return the moment of the n-th request of a script, one per second."""
    return AT.format(minute=number // 60 % 60, second=number % 60)


def route(provider: str, model: str, **changes: Any) -> RouteStatus:
    """Return a healthy route with changes."""
    base = RouteStatus(provider, model, "healthy", "closed", True, 120, 118, 2, 0.016, headroom=5)
    return replace(base, **changes)


def provider(name: str, **changes: Any) -> ProviderStatus:
    """Return a healthy provider with changes."""
    models = changes.pop("models", (f"{name}-large",))
    base = ProviderStatus(
        name=name,
        kind="openai_compatible",
        enabled=True,
        status="healthy",
        counts_as="healthy",
        priority=10,
        default_model=models[0] if models else None,
        circuit_state="closed",
        circuit_open_for_s=None,
        gate=None,
        gate_ends_in_s=None,
        fault=None,
        reason=None,
        routes=tuple(route(name, model) for model in models),
        total_requests=120,
        successful=118,
        failed=2,
        error_rate=0.016,
        in_flight=1,
        rps=1.4,
        p50_ms=420.0,
        p95_ms=1900.0,
        history=tuple((n % 7, 1 if n % 11 == 0 else 0) for n in range(60)),
        models=models,
    )
    if changes.get("status", "healthy") != "healthy":
        changes.setdefault("counts_as", "unhealthy")
    return replace(base, **changes)


def status(*providers: ProviderStatus, **changes: Any) -> Status:
    """Return the engine's status for some providers."""
    up = sum(entry.counts_as == "healthy" for entry in providers)
    base = Status(
        total=len(providers),
        healthy=up,
        degraded=0,
        unhealthy=len(providers) - up,
        uptime_s=300.0,
        in_flight=sum(entry.in_flight for entry in providers),
        providers=tuple(providers),
        version="0.1.0",
        endpoint="http://127.0.0.1:8808/v1",
        rps=7.2,
        failover_ratio=0.038,
        error_ratio=0.002,
        p95_ms=1900.0,
    )
    return replace(base, **changes)


def request(number: int, **changes: Any) -> RequestRow:
    """Return the n-th request: served by its first choice unless changed."""
    base = RequestRow(
        id=f"req_{number:06x}",
        at=at(number),
        origin="http",
        model="auto",
        resolved="pool auto",
        needed=("tools",),
        forced=(),
        stream=True,
        status="ok",
        http_status=200,
        provider="groq",
        served_model="llama-3.3-70b",
        attempts=1,
        chain="groq✓ 412ms",
        total_ms=1320.0,
        ttft_ms=310.0,
        prompt_tokens=812,
        completion_tokens=64,
        cost_usd=0.0012,
        usage_source="reported",
        agent="cli-2",
    )
    return replace(base, **changes)


def failed_over(number: int, **changes: Any) -> RequestRow:
    """Return a request that a second provider absorbed."""
    return request(number, **{"attempts": 2, "chain": "anthropic✗429 › groq✓ 412ms", **changes})


def failed(number: int, **changes: Any) -> RequestRow:
    """Return a request nobody could serve."""
    nobody = {"provider": None, "served_model": None, "completion_tokens": None, "cost_usd": None, "ttft_ms": None}
    ended = {"status": "failed", "http_status": 502, "attempts": 2, "error_code": "all_candidates_failed"}
    return request(number, **{**nobody, **ended, "chain": "groq✗503 › ollama✗CON", **changes})


def running(number: int, **changes: Any) -> RequestRow:
    """Return a request still in flight."""
    unknown = (
        "http_status",
        "provider",
        "served_model",
        "total_ms",
        "ttft_ms",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
    )
    return request(number, **{**dict.fromkeys(unknown), "status": "in_flight", "chain": "groq…", **changes})


def detail(row: RequestRow) -> RequestDetail:
    """Return the detail of the waterfall example of console.md §1, for any row."""
    candidates = (
        CandidateView("anthropic", "claude-x", "eligible", ("priority 10",), (0, 10)),
        CandidateView("ollama", "llama3.1:8b", "eligible", ("priority 20",), (0, 20)),
        CandidateView("groq", "llama-3.3-70b", "eligible", ("priority 30",), (0, 30)),
        CandidateView("openai", "gpt-x", "skipped", ("circuit_open 14 s",), (0, 40)),
        CandidateView("local", "phi", "dropped", ("known no: tools",), (1, 50)),
    )
    attempts = (
        AttemptView(
            1,
            "anthropic",
            "claude-x",
            0.0,
            40.0,
            540.0,
            None,
            550.0,
            429,
            "rate",
            "retry-after 20s",
            "closed",
            "closed",
            "key2",
            "429",
        ),
        AttemptView(
            2,
            "ollama",
            "llama3.1:8b",
            552.0,
            640.0,
            1300.0,
            None,
            1370.0,
            200,
            "undelivered",
            "no tool call in the reply",
            "closed",
            "closed",
            None,
            "CAP",
        ),
        AttemptView(
            3,
            "groq",
            "llama-3.3-70b",
            1520.0,
            1560.0,
            1800.0,
            1830.0,
            2840.0,
            200,
            "ok",
            "",
            "closed",
            "closed",
            None,
            "",
        ),
    )
    if row.status == "in_flight":
        attempts = (
            *attempts[:2],
            replace(attempts[2], first_token_ms=None, first_byte_ms=None, ended_ms=None, status=None, class_=None),
        )
    return RequestDetail(row, candidates, attempts, "stop", 0.4, "clean")


@dataclass
class EvalsTold:
    """What the scripted engine says of evaluations beside its page of runs."""

    cells: dict[tuple[str, str, str], EvalCellDetail] = field(default_factory=dict)
    reports: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    compared: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    scenarios: Sequence[Mapping[str, Any]] = ()


class FakeControl:
    """The control a test scripts: change its attributes, publish events, read `commands`."""

    def __init__(self, *providers: ProviderStatus, rows: Sequence[RequestRow] = ()) -> None:
        self.now = status(*providers)
        self.rows: dict[str, RequestRow] = {row.id: row for row in rows}
        self.ring: list[Event] = []
        self.commands: list[Command] = []
        self.dry_runs: list[Command] = []
        self.audit_rows: list[AuditRow] = []
        self.details: dict[str, RequestDetail] = {}
        self.measured: tuple[ProviderMetrics, ...] = ()
        self.model_page = ModelPage((), 0)
        self.node_views: tuple[NodeView, ...] = ()
        self.eval_views = EvalPage(())
        self.evals_told = EvalsTold()
        self.reward_page = RewardPage(())
        budget = BudgetView("2026-01-31", None, 0.8, False, 0.0, 0.0, 0.0, alert=False, exceeded=False)
        self.usage_page = UsagePage((), budget)
        self.pool_views: tuple[PoolView, ...] = ()
        self.profile_views: tuple[ProfileView, ...] = ()
        self.impact_view = Impact(500, 500, 0, 0, 0)
        self.synced: Mapping[str, Any] = {"new": [], "changed": [], "missing": [], "providers": {}}
        self.tried: list[tuple[Command, ...]] = []
        self.assigned: tuple[Assignment, ...] = ()
        self.explanation: Explanation | None = None
        self.asked: list[tuple[Mapping[str, Any], Mapping[str, str]]] = []
        self.fails: Exception | None = None
        self.refuses: ControlError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.do_gate = asyncio.Event()
        self.do_gate.set()
        self.looks = 0

    def publish(self, kind: EventType, moment: float = 0.0, **data: Any) -> None:
        """Append an event; `moment` is its UTC epoch seconds."""
        self.ring.append(Event(len(self.ring), moment, kind, data))

    def arrive(self, *rows: RequestRow) -> None:
        """Let requests be logged, with their events."""
        for row in rows:
            self.rows[row.id] = row
            if row.status == "in_flight":
                self.publish(EventType.REQUEST_RECEIVED, id=row.id)
            else:
                kind = EventType.REQUEST_COMPLETED if row.status == "ok" else EventType.REQUEST_FAILED
                self.publish(kind, id=row.id, row=row)

    async def _answer(self) -> None:
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails

    async def status(self) -> Status:
        """Return the scripted status."""
        await self._answer()
        self.looks += 1
        return self.now

    async def metrics(self) -> tuple[ProviderMetrics, ...]:
        """Return the scripted metrics."""
        await self._answer()
        return self.measured

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Return scripted rows, newest first."""
        await self._answer()
        rows = sorted(self.rows.values(), key=lambda row: (row.at, row.id), reverse=True)
        if query.status is not None:
            rows = [row for row in rows if row.status == query.status]
        if query.before is not None:
            below = self.rows[query.before]
            rows = [row for row in rows if (row.at, row.id) < (below.at, below.id)]
        rows = list(filter(query.test(now=NOW.timestamp()), rows))
        page = tuple(rows[: query.limit])
        return RequestPage(page, page[-1].id if len(rows) > query.limit else None)

    async def request(self, request_id: str) -> RequestDetail | None:
        """Return a scripted detail, or the example's for a known row."""
        await self._answer()
        if request_id in self.details:
            return self.details[request_id]
        row = self.rows.get(request_id)
        return detail(row) if row is not None else None

    async def failures(self, limit: int = 100) -> tuple[FailureView, ...]:
        """Return nothing: the console does not read it."""
        return ()

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """Return the recorded changes, newest first."""
        await self._answer()
        return tuple(reversed(self.audit_rows))[:limit]

    async def config(self) -> Mapping[str, Any]:
        """Return nothing: the console does not read it."""
        return {}

    async def models(self) -> tuple[ModelCard, ...]:
        """Return nothing: the console does not read it."""
        return ()

    async def model_card(self, name: str) -> ModelCard | None:
        """Return nothing: the console does not read it."""
        return None

    async def registry(self, query: ModelQuery) -> ModelPage:
        """Return the scripted models."""
        await self._answer()
        return self.model_page

    async def registry_model(self, provider: str, model: str) -> ModelView | None:
        """Return one scripted model."""
        await self._answer()
        found = (item for item in self.model_page.models if (item.provider, item.upstream_id) == (provider, model))
        return next(found, None)

    async def capabilities(self) -> tuple[NodeView, ...]:
        """Return the scripted nodes."""
        await self._answer()
        return self.node_views

    async def pools(self) -> tuple[PoolView, ...]:
        """Return the scripted pools."""
        await self._answer()
        return self.pool_views

    async def profiles(self) -> tuple[ProfileView, ...]:
        """Return the scripted profiles."""
        await self._answer()
        return self.profile_views

    async def assignments(self) -> tuple[Assignment, ...]:
        """Return the scripted assignments."""
        await self._answer()
        return self.assigned

    async def evals(self) -> Mapping[str, Any]:
        """Return no runs: the console reads pages."""
        return {"runs": []}

    async def eval_page(self) -> EvalPage:
        """Return the scripted runs."""
        await self._answer()
        return self.eval_views

    async def eval_run(self, run: str) -> Mapping[str, Any] | None:
        """Return a scripted report."""
        await self._answer()
        return self.evals_told.reports.get(run)

    async def eval_compare(self, a: str, b: str) -> Mapping[str, Any]:
        """Return a scripted comparison, or refuse."""
        await self._answer()
        found = self.evals_told.compared.get((a, b))
        if found is None:
            raise ControlError("not_found", "not scripted")
        return found

    async def eval_cell(self, run: str, scenario: str, target: str) -> EvalCellDetail | None:
        """Return a scripted cell."""
        await self._answer()
        return self.evals_told.cells.get((run, scenario, target))

    async def eval_report(self, run: str, form: ReportForm) -> str | None:
        """Return a report that names its run and form."""
        await self._answer()
        return f"{run} as {form}\n" if any(each.id == run for each in self.eval_views.runs) else None

    async def eval_scenarios(self) -> Mapping[str, Any]:
        """Return the scripted scenarios."""
        await self._answer()
        return {"scenarios": list(self.evals_told.scenarios)}

    async def rewards(self, query: RewardQuery) -> RewardPage:
        """Return the scripted scores."""
        await self._answer()
        return self.reward_page

    async def usage(self, days: int = 30) -> UsagePage:
        """Return the scripted usage."""
        await self._answer()
        return self.usage_page

    async def doctor(self, scope: Literal["models", "profiles"]) -> tuple[Finding, ...]:
        """Find nothing."""
        await self._answer()
        return ()

    async def explain(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Explanation:
        """Return the scripted decision, or refuse."""
        await self._answer()
        self.asked.append((body, headers))
        if self.explanation is None:
            raise ControlError("not_scripted", "not scripted")
        return self.explanation

    async def impact(self, commands: Sequence[Command]) -> Impact:
        """Return the scripted impact."""
        await self.do_gate.wait()
        self.tried.append(tuple(commands))
        return self.impact_view

    async def events(self, after: int, limit: int = 1000) -> EventPage:
        """Return events behind the cursor."""
        await self._answer()
        if after < 0:
            return EventPage((), len(self.ring), 0)
        page = tuple(self.ring[after : after + limit])
        return EventPage(page, after + len(page), 0)

    async def do(
        self, command: Command, *, actor: str = "operator", dry_run: bool = False, if_version: int | None = None
    ) -> Receipt:
        """Record a command and apply it to the scripted status."""
        (self.dry_runs if dry_run else self.commands).append(command)
        await self.do_gate.wait()
        if self.refuses is not None:
            raise self.refuses
        if isinstance(command, Probe):
            result = {
                "name": command.providers[0],
                "healthy": True,
                "latency_ms": 12.0,
                "depth": "auth",
                "detail": "listed 3 models",
            }
            return Receipt(command.name, command.providers[0], {}, {"providers": [result]})
        if isinstance(command, SyncModels):
            return Receipt(command.name, "all", {}, self.synced, audit_id=None, dry_run=dry_run)
        if isinstance(command, (*get_args(RegistryCommand), PullModel, CancelPull)):
            return self._registered(command, actor=actor, dry_run=dry_run)
        if isinstance(command, (StartEval, CancelEval)):
            return self._evaluated(command, actor=actor, dry_run=dry_run)
        if isinstance(command, ScoreOutput):
            votes = {"positive": 3, "negative": 0, "valid": 3, "total": 3, "judge": "judge/j", "reason": ""}
            return Receipt(command.name, command.model or "output", {}, {"score": 1.0, **votes}, dry_run=dry_run)
        if isinstance(command, CheckJudge):
            tried = {"judge": "judge/j", "right": 20, "answered": 20, "pairs": 20, "ci": [0.84, 1.0], "trusted": True}
            return Receipt(command.name, "judge/j", {}, tried, dry_run=dry_run)
        if isinstance(command, PreferColumns):
            told = {"a": command.a, "b": command.b, "a_wins": 6, "b_wins": 0, "unstable": 2, "judge": "judge/j"}
            verdict = {"winner": command.a, "verdict": f"{command.a} is preferred"}
            return Receipt(command.name, command.run, {}, {**told, **verdict}, dry_run=dry_run)
        if isinstance(command, (CancelRequest, ReplayRequest)):
            return self._on_request(command, actor=actor, dry_run=dry_run)
        if isinstance(command, SetPriority):
            return self._placed(command, actor=actor, dry_run=dry_run)
        assert isinstance(command, (Enable, Disable, Drain, ResetCircuit, Isolate, ForceClose))
        if command.target.model is not None:
            return self._switched(command, actor=actor, dry_run=dry_run)
        name = command.target.provider
        was = next(entry for entry in self.now.providers if entry.name == name)
        becomes = BECOMES.get(type(command), was.status)
        after = replace(was, status=becomes, enabled=not isinstance(command, Disable))
        if isinstance(command, ResetCircuit):
            after = replace(after, circuit_state="closed", circuit_open_for_s=None)
        admin = BY_HAND.get(type(command), "auto")
        ends = command.ttl_s if isinstance(command, Isolate | ForceClose) else None
        after = replace(after, admin=admin, admin_ends_in_s=ends)
        shape = [
            {
                "status": entry.status,
                "enabled": entry.enabled,
                "admin": entry.status if entry.status in {"draining", "disabled"} else entry.admin,
                "circuit_state": entry.circuit_state,
            }
            for entry in (was, after)
        ]
        shape[1]["admin"] = admin
        if dry_run:
            return Receipt(command.name, name, shape[0], shape[1], dry_run=True)
        others = tuple(after if entry.name == name else entry for entry in self.now.providers)
        self.now = replace(self.now, providers=others)
        number = len(self.audit_rows) + 1
        self.audit_rows.append(AuditRow(number, at(number), actor, command.name, name, shape[0], shape[1]))
        return Receipt(command.name, name, shape[0], shape[1], audit_id=number)

    def _evaluated(self, command: StartEval | CancelEval, *, actor: str, dry_run: bool) -> Receipt:
        """Begin or stop what a test scripts as a run."""
        name = "meval_begun0000000" if isinstance(command, StartEval) else command.run
        after: dict[str, Any] = {"state": "cancelled"}
        if isinstance(command, StartEval):
            after = {"run": command.resume or name, "targets": list(command.targets), "scenarios": 5}
        if dry_run:
            return Receipt(command.name, name, {}, after, dry_run=True)
        return self._noted(command.name, name, {}, after, actor=actor)

    def _switched(
        self, command: Enable | Disable | Drain | ResetCircuit | Isolate | ForceClose, *, actor: str, dry_run: bool
    ) -> Receipt:
        """Change the routes of one model."""
        target, label = command.target, command.target.label()
        owner = next(entry for entry in self.now.providers if entry.name == target.provider)
        was = next(entry for entry in owner.routes if entry.model == target.model)
        status_, circuit = BECOMES.get(type(command), was.status), was.circuit_state
        circuit = "closed" if isinstance(command, ResetCircuit) else circuit
        admin = BY_HAND.get(type(command), "auto")
        ends = command.ttl_s if isinstance(command, Isolate | ForceClose) else None
        before, after = (
            {"status": was.status, "admin": was.admin, "circuit_state": was.circuit_state},
            {"status": status_, "admin": admin, "circuit_state": circuit},
        )
        if dry_run:
            return Receipt(command.name, label, before, after, dry_run=True)
        routes = tuple(
            replace(entry, status=status_, circuit_state=circuit, admin=admin, admin_ends_in_s=ends)
            if entry.model == target.model
            else entry
            for entry in owner.routes
        )
        others = tuple(replace(owner, routes=routes) if entry is owner else entry for entry in self.now.providers)
        self.now = replace(self.now, providers=others)
        return self._noted(command.name, label, before, after, actor=actor)

    def _placed(self, command: SetPriority, *, actor: str, dry_run: bool) -> Receipt:
        """Change a priority."""
        owner = next(entry for entry in self.now.providers if entry.name == command.provider)
        label = command.provider if command.model is None else f"{command.provider}/{command.model}"
        before, after = {"priority": owner.priority}, {"priority": command.priority}
        if dry_run:
            return Receipt(command.name, label, before, after, dry_run=True)
        if command.model is None:
            moved = replace(owner, priority=command.priority)
        else:
            moved = replace(
                owner,
                routes=tuple(
                    replace(entry, priority=command.priority) if entry.model == command.model else entry
                    for entry in owner.routes
                ),
            )
        others = tuple(moved if entry is owner else entry for entry in self.now.providers)
        self.now = replace(self.now, providers=others)
        return self._noted(command.name, label, before, after, actor=actor)

    def _noted(
        self, name: str, label: str, before: Mapping[str, Any], after: Mapping[str, Any], *, actor: str
    ) -> Receipt:
        number = len(self.audit_rows) + 1
        self.audit_rows.append(AuditRow(number, at(number), actor, name, label, before, after))
        return Receipt(name, label, before, after, audit_id=number)

    def _registered(self, command: Command, *, actor: str, dry_run: bool) -> Receipt:
        """Say that a registry command was carried out; the views are the test's to change."""
        if dry_run:
            return Receipt(command.name, str(command), {"value": "old"}, {"value": "new"}, dry_run=True)
        number = len(self.audit_rows) + 1
        self.audit_rows.append(AuditRow(number, at(number), actor, command.name, str(command), {}, {"value": "new"}))
        return Receipt(command.name, str(command), {"value": "old"}, {"value": "new"}, audit_id=number)

    def _on_request(self, command: CancelRequest | ReplayRequest, *, actor: str, dry_run: bool) -> Receipt:
        """End a running request, or let new ones run: one per model, with ids of their own."""
        row = self.rows.get(command.request_id)
        if row is None or (isinstance(command, CancelRequest) and row.status != "in_flight"):
            raise ControlError("not_found", f"Request {command.request_id!r} is not in flight.", status=404)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {"status": "cancelled"}
        if isinstance(command, CancelRequest):
            before = {"status": "in_flight"}
        elif dry_run:
            after = {"models": list(command.models or (row.model,))}
        else:
            count = max(1, len(command.models))
            after = {"requests": [f"req_ff{len(self.rows) + number:04x}" for number in range(count)]}
        if dry_run:
            return Receipt(command.name, command.request_id, before, after, dry_run=True)
        if isinstance(command, CancelRequest):
            self.arrive(replace(row, status="cancelled", total_ms=900.0))
        else:
            self.arrive(*(request(59, id=each, origin="console") for each in after["requests"]))
        number = len(self.audit_rows) + 1
        self.audit_rows.append(AuditRow(number, at(number), actor, command.name, command.request_id, before, after))
        return Receipt(command.name, command.request_id, before, after, audit_id=number)

    async def aclose(self) -> None:
        """Nothing to let go of."""
