"""Control from another thread: each call runs on the engine's loop, its result comes back to the caller's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from .commands import Command, Receipt
from .eval_views import EvalCellDetail, EvalPage, ReportForm
from .port import Control, EngineUnreachable, EventPage, RequestQuery, Scope
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
    Status,
)

T = TypeVar("T")

LOOK_S = 0.5
"""How often a call that is not answered looks whether there is still a loop to answer it."""
STOPPED = "The engine has stopped."


class ThreadedControl:
    """Implements Control over one on `loop`, another thread's; raises EngineUnreachable once that has ended."""

    def __init__(self, inner: Control, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop

    async def status(self) -> Status:
        """See Control."""
        return await self._over(self._inner.status())

    async def metrics(self) -> tuple[ProviderMetrics, ...]:
        """See Control."""
        return await self._over(self._inner.metrics())

    async def requests(self, query: RequestQuery) -> RequestPage:
        """See Control."""
        return await self._over(self._inner.requests(query))

    async def request(self, request_id: str) -> RequestDetail | None:
        """See Control."""
        return await self._over(self._inner.request(request_id))

    async def failures(self, limit: int = 100) -> tuple[FailureView, ...]:
        """See Control."""
        return await self._over(self._inner.failures(limit))

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """See Control."""
        return await self._over(self._inner.audit(limit))

    async def config(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._over(self._inner.config())

    async def models(self) -> tuple[ModelCard, ...]:
        """See Control."""
        return await self._over(self._inner.models())

    async def model_card(self, name: str) -> ModelCard | None:
        """See Control."""
        return await self._over(self._inner.model_card(name))

    async def registry(self, query: ModelQuery) -> ModelPage:
        """See Control."""
        return await self._over(self._inner.registry(query))

    async def registry_model(self, provider: str, model: str) -> ModelView | None:
        """See Control."""
        return await self._over(self._inner.registry_model(provider, model))

    async def pools(self) -> tuple[PoolView, ...]:
        """See Control."""
        return await self._over(self._inner.pools())

    async def capabilities(self) -> tuple[NodeView, ...]:
        """See Control."""
        return await self._over(self._inner.capabilities())

    async def profiles(self) -> tuple[ProfileView, ...]:
        """See Control."""
        return await self._over(self._inner.profiles())

    async def doctor(self, scope: Scope) -> tuple[Finding, ...]:
        """See Control."""
        return await self._over(self._inner.doctor(scope))

    async def assignments(self) -> tuple[Assignment, ...]:
        """See Control."""
        return await self._over(self._inner.assignments())

    async def explain(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Explanation:
        """See Control."""
        return await self._over(self._inner.explain(body, headers))

    async def impact(self, commands: Sequence[Command]) -> Impact:
        """See Control."""
        return await self._over(self._inner.impact(commands))

    async def evals(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._over(self._inner.evals())

    async def eval_page(self) -> EvalPage:
        """See Control."""
        return await self._over(self._inner.eval_page())

    async def eval_run(self, run: str) -> Mapping[str, Any] | None:
        """See Control."""
        return await self._over(self._inner.eval_run(run))

    async def eval_compare(self, a: str, b: str) -> Mapping[str, Any]:
        """See Control."""
        return await self._over(self._inner.eval_compare(a, b))

    async def eval_cell(self, run: str, scenario: str, target: str) -> EvalCellDetail | None:
        """See Control."""
        return await self._over(self._inner.eval_cell(run, scenario, target))

    async def eval_report(self, run: str, form: ReportForm) -> str | None:
        """See Control."""
        return await self._over(self._inner.eval_report(run, form))

    async def eval_scenarios(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._over(self._inner.eval_scenarios())

    async def rewards(self, query: RewardQuery) -> RewardPage:
        """See Control."""
        return await self._over(self._inner.rewards(query))

    async def usage(self, days: int = 30) -> UsagePage:
        """See Control."""
        return await self._over(self._inner.usage(days))

    async def events(self, after: int, limit: int = 1000) -> EventPage:
        """See Control."""
        return await self._over(self._inner.events(after, limit))

    async def do(
        self, command: Command, *, actor: str = "operator", dry_run: bool = False, if_version: int | None = None
    ) -> Receipt:
        """See Control."""
        return await self._over(self._inner.do(command, actor=actor, dry_run=dry_run, if_version=if_version))

    async def aclose(self) -> None:
        """Let go; the engine's thread is not ours to end."""

    async def _over(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError as exc:
            call.close()
            raise EngineUnreachable(STOPPED) from exc
        answer = asyncio.wrap_future(future)
        try:
            # A call that arrives after the loop's last turn is never looked at, and nobody is left to say so.
            while not (await asyncio.wait({answer}, timeout=LOOK_S))[0]:
                if self._loop.is_closed() and not future.done():
                    raise EngineUnreachable(STOPPED)
        finally:
            answer.cancel()
            if self._loop.is_closed() and inspect.getcoroutinestate(call) == inspect.CORO_CREATED:
                call.close()
        if answer.cancelled():  # by the engine as it stopped; ours would have raised above
            raise EngineUnreachable(STOPPED)
        return answer.result()
