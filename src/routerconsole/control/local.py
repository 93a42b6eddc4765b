"""Control on the engine's own loop: reads build views, changes go to the engine's operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from routerconsole.domain.errors import RouterError
from routerconsole.domain.request import ChatRequest, Endpoint, Origin, deciding_hints
from routerconsole.domain.trace import RequestStatus
from routerconsole.engine.cards import card, cards
from routerconsole.engine.catalogue import Catalogue
from routerconsole.engine.impact import impact
from routerconsole.engine.overview import Overview
from routerconsole.engine.packing import Packer, objected
from routerconsole.engine.pool_views import pool_views
from routerconsole.engine.rows import audit_row, candidate_views, detail_of
from routerconsole.engine.service import Service
from routerconsole.storage.errors import StorageUnavailable

from .commands import Command, Receipt
from .eval_views import EvalCellDetail, EvalPage, ReportForm
from .port import ControlError, EventPage, RequestQuery, Scope
from .registry_views import (
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
from .reward_views import RewardPage, RewardQuery
from .usage_views import UsagePage
from .views import (
    AuditRow,
    Explanation,
    FailureView,
    ModelCard,
    ProviderMetrics,
    RequestDetail,
    RequestPage,
    RequestRow,
    Resolved,
    Status,
)
from .wire import detail_from_json, revive

if TYPE_CHECKING:
    from routerconsole.routing.plan import Plan

T = TypeVar("T")

MAX_PAGE = 1000
SLICE = 50
"""Rows made in one go; measured: 20 µs each for a route's status, up to 150 µs for its metrics over full samples."""


class LocalControl:
    """Implements Control over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._catalogue = Catalogue(service)

    async def status(self) -> Status:
        """See Control."""
        service = self._service
        rps, failovers, errors, p95 = service.recorder.rates.read(service.clock.monotonic())
        notices = (*service.keeper.notices, *service.notices)
        return Overview.status(
            await self._in_slices(lambda: self._overview().providers()),
            uptime_s=round(service.clock.monotonic() - service.started_at, 1),
            in_flight=len(service.chat.in_flight),
            version=service.version,
            endpoint=service.endpoint,
            config_path=service.loaded.path,
            notices=notices,
            rps=round(rps, 2),
            failover_ratio=round(failovers, 4),
            error_ratio=round(errors, 4),
            p95_ms=p95,
            draining=service.chat.closing,
            weights=service.weights.status(service.registry),
        )

    async def metrics(self) -> tuple[ProviderMetrics, ...]:
        """See Control."""
        return tuple(await self._in_slices(lambda: self._overview().metrics()))

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Rows in memory first, then the log; a cursor is always a sequence number of the log."""
        limit = max(1, min(query.limit, MAX_PAGE))
        query.wanted()
        recorder, keeper = self._service.recorder, self._service.keeper
        rows = recorder.rows(replace(query, limit=limit)) if query.before is None else []
        if query.status == RequestStatus.IN_FLIGHT:  # nothing in the log is
            return RequestPage(tuple(rows), None)
        if query.before is not None or len(rows) == limit:
            await keeper.logged()  # what is over and not yet written has no number
        try:
            if len(rows) == limit:
                cursor = await keeper.log.below([row.id for row in rows])
                older = await self._stored(query, 1, before=cursor)
                return RequestPage(tuple(rows), str(cursor) if older else None)
            return await self._filled_up(query, rows, limit)
        except StorageUnavailable:
            return RequestPage(tuple(rows), None)

    async def request(self, request_id: str) -> RequestDetail | None:
        """See Control."""
        service = self._service
        trace = service.recorder.find(request_id)
        if trace is not None:
            return detail_of(trace, replayable=service.bodies.get(request_id) is not None)
        try:
            kept = await service.keeper.log.get(request_id)
        except StorageUnavailable:
            return None
        return None if kept is None else detail_from_json(orjson.loads(kept))

    async def failures(self, limit: int = 100) -> tuple[FailureView, ...]:
        """See Control."""
        return self._service.recorder.failures(limit)

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """See Control."""
        try:
            records = await self._service.keeper.state.audit(limit)
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The audit cannot be read: {exc}.", status=503) from exc
        return tuple(audit_row(record) for record in records)

    async def config(self) -> Mapping[str, Any]:
        """See Control."""
        return self._service.loaded.shown

    async def models(self) -> tuple[ModelCard, ...]:
        """See Control."""
        service = self._service
        return tuple(await self._in_slices(lambda: cards(service.registry, service.board.enabled)))

    async def model_card(self, name: str) -> ModelCard | None:
        """See Control."""
        return card(name, self._service.registry, self._service.board.enabled)

    async def registry(self, query: ModelQuery) -> ModelPage:
        """See Control."""
        return await self._catalogue.models(query)

    async def registry_model(self, provider: str, model: str) -> ModelView | None:
        """See Control."""
        return await self._catalogue.model(provider, model)

    async def pools(self) -> tuple[PoolView, ...]:
        """See Control."""
        return await pool_views(self._service)

    async def capabilities(self) -> tuple[NodeView, ...]:
        """See Control."""
        return await self._catalogue.nodes()

    async def profiles(self) -> tuple[ProfileView, ...]:
        """See Control."""
        return self._catalogue.profiles()

    async def doctor(self, scope: Scope) -> tuple[Finding, ...]:
        """See Control."""
        page = await self.requests(RequestQuery(limit=MAX_PAGE))
        return self._catalogue.doctor(scope, page.requests)

    async def assignments(self) -> tuple[Assignment, ...]:
        """See Control."""
        return self._catalogue.assignments()

    async def explain(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Explanation:
        """See Control."""
        chat = self._service.chat
        model = body.get("model")
        request = ChatRequest(
            id="explain",
            endpoint=Endpoint.CHAT,
            body=body,
            size=len(orjson.dumps(dict(body))),
            model=model if isinstance(model, str) else None,
            stream=body.get("stream") is True,
            hints=deciding_hints({name.lower(): value for name, value in headers.items()}),
            origin=Origin.CONSOLE,
        )
        try:
            decision = chat.decide(request, now=self._service.clock.monotonic())
            decision = objected(decision, Packer(request, chat.upstreams))
        except RouterError as exc:
            nothing = Resolved("none", request.model or "")
            return Explanation(nothing, (), (), estimate_tokens=0, candidates=(), error=_told(exc))
        error = decision.error
        return Explanation(
            resolved=_resolved(decision),
            needed=tuple(word.value for word in decision.needs.needed),
            forced=tuple(word.value for word in decision.needs.forced),
            estimate_tokens=decision.needs.estimate_tokens,
            candidates=candidate_views(decision.candidates),
            error=None if error is None else _told(error),
        )

    async def impact(self, commands: Sequence[Command]) -> Impact:
        """See Control."""
        return await impact(self._service, commands)

    async def evals(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._service.eval_reports.runs()

    async def eval_page(self) -> EvalPage:
        """See Control."""
        return await self._service.eval_reports.page()

    async def eval_run(self, run: str) -> Mapping[str, Any] | None:
        """See Control."""
        return await self._service.eval_reports.run(run)

    async def eval_compare(self, a: str, b: str) -> Mapping[str, Any]:
        """See Control."""
        return await self._service.eval_reports.compare(a, b)

    async def eval_cell(self, run: str, scenario: str, target: str) -> EvalCellDetail | None:
        """See Control."""
        return await self._service.eval_reports.cell(run, scenario, target)

    async def eval_report(self, run: str, form: ReportForm) -> str | None:
        """See Control."""
        return await self._service.eval_reports.report(run, form)

    async def eval_scenarios(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._service.eval_reports.scenarios()

    async def rewards(self, query: RewardQuery) -> RewardPage:
        """See Control."""
        return await self._service.rewards.page(query)

    async def usage(self, days: int = 30) -> UsagePage:
        """See Control."""
        try:
            return await self._service.usage.page(days)
        except StorageUnavailable as exc:
            raise ControlError("storage_unavailable", f"The usage cannot be read: {exc}.", status=503) from exc

    async def events(self, after: int, limit: int = 1000) -> EventPage:
        """See Control."""
        return self._service.bus.page(after, limit)

    async def wait_events(self, after: int) -> None:
        """Return once there is an event after the cursor (for faces that push)."""
        await self._service.bus.wait(after)

    async def do(
        self, command: Command, *, actor: str = "operator", dry_run: bool = False, if_version: int | None = None
    ) -> Receipt:
        """See Control."""
        return await self._service.operator.do(command, actor=actor, dry_run=dry_run, if_version=if_version)

    async def aclose(self) -> None:
        """Let go; the service is not ours to stop."""

    async def _in_slices(self, made: Callable[[], Iterator[T | None]]) -> list[T]:
        """Return all that is made; requests get their turn after each SLICE. A reload meanwhile starts it over."""
        while True:
            registry, found = self._service.registry, list[T]()
            for number, item in enumerate(made(), 1):
                if item is not None:
                    found.append(item)
                if number % SLICE == 0:
                    await asyncio.sleep(0)
                    if self._service.registry is not registry:
                        break
            else:
                return found

    def _overview(self) -> Overview:
        service = self._service
        return Overview(
            service.board,
            service.registry,
            service.clock,
            probes=service.prober.last,
            meter=service.means.meter,
        )

    async def _filled_up(self, query: RequestQuery, rows: list[RequestRow], limit: int) -> RequestPage:
        """Go on in the log where the rows in memory end."""
        before = await self._service.keeper.log.cursor(query.before)
        stored = await self._stored(query, limit, before=before)
        known = {row.id for row in rows}
        last: int | None = None
        for seq, data in stored:
            row = revive(RequestRow, orjson.loads(data))
            if row.id not in known:
                if len(rows) >= limit:
                    break
                rows.append(row)
            last = seq
        more = bool(stored) and last is not None and (len(stored) == limit or last != stored[-1][0])
        return RequestPage(tuple(rows), str(last) if more else None)

    async def _stored(self, query: RequestQuery, limit: int, *, before: int | None) -> list[tuple[int, bytes]]:
        """Return numbered rows of the log, newest first, that pass the query's filters."""
        return await self._service.keeper.log.page(
            limit,
            before_seq=before,
            provider=query.provider,
            status=query.status,
            wanted=query.wanted(),
            failed_over=query.failed_over,
        )


def _resolved(decision: Plan) -> Resolved:
    found = decision.resolution
    strategy = None if found.pool is None else found.pool.strategy.value
    return Resolved(found.kind.value, found.id, decision.because, strategy)


def _told(error: RouterError) -> dict[str, Any]:
    return {"code": error.code.value, "message": error.message, "status": error.status}
