"""The protocols every face talks to. Reads return frozen views, every change goes through `do`, events are pulled.

Implementations: local (on the engine's loop), threaded (from another thread), remote (over HTTP); one contract suite
runs over all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from routerconsole.domain.events import Event
from routerconsole.domain.query import FilterError, RowFilter, parse_filter
from routerconsole.domain.request import ChatRequest
from routerconsole.domain.trace import Trace

from .commands import Command, Receipt
from .eval_views import EvalCellDetail, EvalPage, ReportForm
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
    Status,
)

Scope = Literal["models", "profiles"]
"""What a doctor looks at."""


class Actor(StrEnum):
    """Whom the audit names for a change that came over HTTP: some program, the command line, an attached console."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"


ACTOR_HEADER = "x-router-actor"
"""How a face of our own says which it is; read only beside the admin token."""
ORIGIN_HEADER = "x-router-origin"
"""How the MCP server says that a chat is a tool call; only `mcp` is taken."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a cursor: pass `next` back; `missed` were overwritten before this reader came for them."""

    events: tuple[Event, ...]
    next: int
    missed: int


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """Which rows of the log: `before` is a cursor from a page or a request's id, `filter` is in the filter language."""

    limit: int = 100
    before: str | None = None
    provider: str | None = None
    status: str | None = None
    filter: str | None = None
    failed_over: bool = False

    def wanted(self) -> RowFilter:
        """Return what the filter means; raises ControlError (400) naming the term that means nothing."""
        try:
            return parse_filter(self.filter or "")
        except FilterError as error:
            raise ControlError("invalid_request", f"filter: {error}") from error

    def test(self, *, now: float) -> Callable[[RequestRow], bool]:
        """Return what a row must pass (all but the cursor); `now` is UTC epoch seconds; raises as `wanted`."""
        wanted = self.wanted()

        def passes(row: RequestRow) -> bool:
            age_s = now - datetime.fromisoformat(row.at).timestamp() if wanted.looks_at_age else 0.0
            return self._holds(row) and wanted.matches(row, age_s=age_s)

        return passes

    def _holds(self, row: RequestRow) -> bool:
        """Say whether a row is of the provider, status and kind asked for; a provider's are also those it failed."""
        if self.provider not in (None, row.provider) and f" › {self.provider}✗" not in f" › {row.chain}":
            return False
        return self.status in (None, row.status) and (row.attempts > 1 or not self.failed_over)


class ControlError(Exception):
    """A read or command was refused; `code` and `status` are the HTTP face's, `message` says what to do."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class EngineUnreachable(ControlError):
    """No engine answered (remote only)."""

    def __init__(self, message: str) -> None:
        super().__init__("engine_unreachable", message, status=503)


class Control(Protocol):
    """The operator plane."""

    async def status(self) -> Status:
        """Return providers, routes and rates as they are now."""

    async def metrics(self) -> tuple[ProviderMetrics, ...]:
        """Return counters and latencies per provider and route."""

    async def requests(self, query: RequestQuery) -> RequestPage:
        """Return log rows, newest first, those in flight included."""

    async def request(self, request_id: str) -> RequestDetail | None:
        """Return one request in full, or None."""

    async def failures(self, limit: int = 100) -> tuple[FailureView, ...]:
        """Return recent failed attempts, newest first."""

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """Return operator changes, newest first."""

    async def config(self) -> Mapping[str, Any]:
        """Return the effective configuration, secrets masked."""

    async def models(self) -> tuple[ModelCard, ...]:
        """Return what /v1/models lists, without what each can do."""

    async def model_card(self, name: str) -> ModelCard | None:
        """Return the listed one a name means with what it can do, or None."""

    async def registry(self, query: ModelQuery) -> ModelPage:
        """Return the models that pass the filters, by priority; raise ControlError for a role or node there is not."""

    async def registry_model(self, provider: str, model: str) -> ModelView | None:
        """Return one model with every layer of what it can do, or None."""

    async def pools(self) -> tuple[PoolView, ...]:
        """Return every pool with its members in their order now."""

    async def capabilities(self) -> tuple[NodeView, ...]:
        """Return every node of the tree with the models that say yes or no of it."""

    async def profiles(self) -> tuple[ProfileView, ...]:
        """Return every profile and whether it can be used."""

    async def doctor(self, scope: Scope) -> tuple[Finding, ...]:
        """Return what is wrong with models or profiles, errors first."""

    async def assignments(self) -> tuple[Assignment, ...]:
        """Return the agents operators assigned."""

    async def explain(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Explanation:
        """Return the routing decision for a chat body; nothing is sent."""

    async def impact(self, commands: Sequence[Command]) -> Impact:
        """Return what registry commands would mean for the last requests; raise ControlError where one is refused."""

    async def evals(self) -> Mapping[str, Any]:
        """Return the evaluation runs, newest first, as `runs`."""

    async def eval_page(self) -> EvalPage:
        """Return the newest runs with their matrices, as the console shows them."""

    async def eval_run(self, run: str) -> Mapping[str, Any] | None:
        """Return the report of a run as far as it is, or None (evals.md §7)."""

    async def eval_compare(self, a: str, b: str) -> Mapping[str, Any]:
        """Return run `b` against run `a`; raise ControlError for one there is not."""

    async def eval_cell(self, run: str, scenario: str, target: str) -> EvalCellDetail | None:
        """Return one cell with every repeat, call and frame, None where there is no such run."""

    async def eval_report(self, run: str, form: ReportForm) -> str | None:
        """Return the report of a run as far as it is in one of its forms, or None (evals.md §7)."""

    async def eval_scenarios(self) -> Mapping[str, Any]:
        """Return the built-in scenarios as `scenarios`."""

    async def rewards(self, query: RewardQuery) -> RewardPage:
        """Return scores of judges, newest first, what they come to, and the judges that were tried."""

    async def usage(self, days: int = 30) -> UsagePage:
        """Return what was used on so many UTC days up to today, and the budget."""

    async def events(self, after: int, limit: int = 1000) -> EventPage:
        """Return events after cursor `after`; `after` -1 means from now on (an empty page with `next`)."""

    async def do(
        self, command: Command, *, actor: str = "operator", dry_run: bool = False, if_version: int | None = None
    ) -> Receipt:
        """Carry out one change, audited; raise ControlError when it is refused."""

    async def aclose(self) -> None:
        """Let go of the engine; never stops it."""


class Exchange(Protocol):
    """One answered request. `status` and `headers` are what goes back besides the x-router-* headers (see `trace`)."""

    @property
    def trace(self) -> Trace:
        """The request's record so far."""

    @property
    def status(self) -> int:
        """The HTTP status to answer with."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Upstream headers the client may see."""

    @property
    def reply(self) -> bytes | None:
        """The whole reply, None for a stream."""

    def deltas(self) -> AsyncIterator[Sequence[bytes]]:
        """Yield batches of event payloads (JSON bytes without framing; `[DONE]` last) or raise StreamIncomplete."""

    def close(self) -> None:
        """Let go, synchronously; a stream not read to its end is cancelled upstream. Idempotent."""


class Chat(Protocol):
    """The data plane. Cancelling the task that awaits `open` or iterates `deltas` cancels the upstream call."""

    def new_id(self) -> str:
        """Return a fresh request id; given before parsing, so that every error can name it."""

    async def open(self, request: ChatRequest) -> Exchange:
        """Route and serve; return at the whole reply or at a stream's commit; raise RoutingFailed."""
