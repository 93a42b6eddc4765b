"""Control of an engine in another process, over its HTTP control plane; used by `attach` and the command line.

A trouble of the connection is EngineUnreachable, a refusal the same ControlError the engine raised. Who stays longer
than one command says where to look again when the engine is not where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
import orjson

from routerconsole.domain.secret import Secret

from .commands import Command, Receipt
from .discovery import Found
from .eval_views import EvalCellDetail, EvalPage, ReportForm
from .port import ACTOR_HEADER, Actor, ControlError, EngineUnreachable, EventPage, RequestQuery, Scope
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
from .reward_commands import CheckJudge, PreferColumns, ScoreOutput
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
from .wire import command_json, detail_from_json, page_from_json, receipt_from_json, revive

T = TypeVar("T")

CONNECT_S = 3.0
ANSWER_S = 10.0
"""A read that takes longer counts as no answer; operators look again."""
JUDGES_S = 900.0
"""A slow judge takes a minute for a vote, and is asked forty times when it is tried."""
COMMAND_S = 60.0
"""A round of reachability checks takes as long as its slowest provider."""
MAX_SHOWN = 200
UNEXPECTED = "unexpected_answer"
"""The code of an error for an answer no router gives."""


class RemoteControl:
    """Implements Control over HTTP; `base_url` is where the engine listens, `token` its admin token.

    `find` returns both as they are now, or raises ControlError; it is asked, on a thread, when nobody answers, or
    somebody else does. The call that found out fails all the same: what was sent may have arrived.
    """

    def __init__(self, base_url: str, token: Secret, *, find: Callable[[], Found] | None = None) -> None:
        self._url, self._token, self._find = base_url.rstrip("/"), token, find
        self._client = httpx.AsyncClient(
            base_url=self._url,
            trust_env=False,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4),
        )

    async def status(self) -> Status:
        """See Control."""
        return revive(Status, await self._get("/api/v1/router/status"))

    async def metrics(self) -> tuple[ProviderMetrics, ...]:
        """See Control."""
        return _each(ProviderMetrics, await self._get("/api/v1/router/metrics"), "providers")

    async def requests(self, query: RequestQuery) -> RequestPage:
        """See Control."""
        asked: dict[str, str | int] = {"limit": query.limit, "failed_over": "true" if query.failed_over else "false"}
        for name in ("before", "provider", "status", "filter"):
            value = getattr(query, name)
            if value is not None:
                asked[name] = value
        return revive(RequestPage, await self._get("/api/v1/requests", asked))

    async def request(self, request_id: str) -> RequestDetail | None:
        """See Control."""
        found = await self._maybe(f"/api/v1/requests/{quote(request_id, safe='')}")
        return None if found is None else detail_from_json(found)

    async def failures(self, limit: int = 100) -> tuple[FailureView, ...]:
        """See Control."""
        return _each(FailureView, await self._get("/api/v1/failures", {"limit": limit}), "failures")

    async def audit(self, limit: int = 100) -> tuple[AuditRow, ...]:
        """See Control."""
        return _each(AuditRow, await self._get("/api/v1/audit", {"limit": limit}), "audit")

    async def config(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._get("/api/v1/router/config")

    async def models(self) -> tuple[ModelCard, ...]:
        """See Control."""
        listed = (await self._get("/v1/models")).get("data", [])
        return tuple(_card(item) for item in listed)

    async def model_card(self, name: str) -> ModelCard | None:
        """See Control."""
        found = await self._maybe(f"/v1/models/{quote(name, safe='')}")
        return None if found is None else _card(found)

    async def registry(self, query: ModelQuery) -> ModelPage:
        """See Control."""
        asked = {name: value for name, value in asdict(query).items() if value is not None}
        return revive(ModelPage, await self._get("/api/v1/models", asked))

    async def registry_model(self, provider: str, model: str) -> ModelView | None:
        """See Control."""
        found = await self._maybe(f"/api/v1/models/{quote(f'{provider}/{model}', safe='')}")
        return None if found is None else revive(ModelView, found)

    async def pools(self) -> tuple[PoolView, ...]:
        """See Control."""
        return _each(PoolView, await self._get("/api/v1/pools"), "pools")

    async def capabilities(self) -> tuple[NodeView, ...]:
        """See Control."""
        return _each(NodeView, await self._get("/api/v1/capabilities"), "nodes")

    async def profiles(self) -> tuple[ProfileView, ...]:
        """See Control."""
        return _each(ProfileView, await self._get("/api/v1/profiles"), "profiles")

    async def doctor(self, scope: Scope) -> tuple[Finding, ...]:
        """See Control."""
        return _each(Finding, await self._get(f"/api/v1/{scope}/doctor"), "findings")

    async def assignments(self) -> tuple[Assignment, ...]:
        """See Control."""
        return _each(Assignment, await self._get("/api/v1/models/assignments/all"), "assignments")

    async def explain(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Explanation:
        """See Control."""
        hints = {name: value for name, value in headers.items() if name.lower().startswith("x-router-")}
        return revive(Explanation, await self._send("POST", "/api/v1/router/explain", body=dict(body), headers=hints))

    async def impact(self, commands: Sequence[Command]) -> Impact:
        """See Control."""
        body = {"commands": [command_json(command) for command in commands]}
        return revive(Impact, await self._send("POST", "/api/v1/router/impact", body=body))

    async def evals(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._get("/api/v1/evals")

    async def eval_page(self) -> EvalPage:
        """See Control."""
        return revive(EvalPage, await self._get("/api/v1/evals", {"matrix": "true"}))

    async def eval_run(self, run: str) -> Mapping[str, Any] | None:
        """See Control."""
        return await self._maybe(f"/api/v1/evals/{quote(run, safe='')}")

    async def eval_compare(self, a: str, b: str) -> Mapping[str, Any]:
        """See Control."""
        return await self._get("/api/v1/evals/compare", {"a": a, "b": b})

    async def eval_cell(self, run: str, scenario: str, target: str) -> EvalCellDetail | None:
        """See Control."""
        where = f"/api/v1/evals/{quote(run, safe='')}/cell?{urlencode({'scenario': scenario, 'target': target})}"
        found = await self._maybe(where)
        return None if found is None else revive(EvalCellDetail, found)

    async def eval_report(self, run: str, form: ReportForm) -> str | None:
        """See Control."""
        found = await self._maybe(f"/api/v1/evals/{quote(run, safe='')}/report?form={form}")
        return None if found is None else str(found["text"])

    async def eval_scenarios(self) -> Mapping[str, Any]:
        """See Control."""
        return await self._get("/api/v1/evals/scenarios")

    async def rewards(self, query: RewardQuery) -> RewardPage:
        """See Control."""
        asked = {name: value for name, value in asdict(query).items() if value is not None}
        return revive(RewardPage, await self._get("/api/v1/reward/history", asked))

    async def usage(self, days: int = 30) -> UsagePage:
        """See Control."""
        return revive(UsagePage, await self._get("/api/v1/usage", {"days": days}))

    async def events(self, after: int, limit: int = 1000) -> EventPage:
        """See Control."""
        return page_from_json(await self._get("/api/v1/events", {"after": after, "limit": limit}))

    async def do(
        self, command: Command, *, actor: str = "operator", dry_run: bool = False, if_version: int | None = None
    ) -> Receipt:
        """See Control; an actor the engine does not take over HTTP is recorded as `api`."""
        body = {**command_json(command), "dry_run": dry_run, "if_version": if_version}
        return receipt_from_json(
            await self._send(
                "POST",
                "/api/v1/router/commands",
                body=body,
                headers={ACTOR_HEADER: actor} if actor in set(Actor) else None,
                timeout=httpx.Timeout(
                    JUDGES_S if isinstance(command, ScoreOutput | CheckJudge | PreferColumns) else COMMAND_S
                ),
            )
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _maybe(self, path: str) -> dict[str, Any] | None:
        """Return what is at a path, None for a 404."""
        try:
            return await self._get(path)
        except ControlError as exc:
            if exc.status == 404:
                return None
            raise

    async def _get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        return await self._send("GET", path, query=query)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object of an answer; raise EngineUnreachable or ControlError."""
        door = (self._url, self._token)
        try:
            return await self._exchange(method, path, query=query, body=body, headers=headers, timeout=timeout)
        except ControlError as exc:
            lost = isinstance(exc, EngineUnreachable) or exc.status == 401 or exc.code == UNEXPECTED
            if lost and await self._moved(door):
                where = f"It is asked at {self._url} next, with the token it has now."
                raise EngineUnreachable(f"The engine of {door[0]} went or was made anew. {where}") from exc
            raise

    async def _moved(self, door: tuple[str, Secret]) -> bool:
        """Say whether the engine is behind another door than this one by now, and knock there from now on."""
        if self._find is None or (self._url, self._token) != door:
            return self._find is not None
        try:
            found = await asyncio.to_thread(self._find)
        except (ControlError, OSError):
            return False
        if (found.url.rstrip("/"), found.token) == door:
            return False
        self._url, self._token = found.url.rstrip("/"), found.token
        self._client.base_url = httpx.URL(self._url)
        return True

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: httpx.Timeout | None,
    ) -> dict[str, Any]:
        """Ask at the door that is known and return the JSON object of the answer."""
        head = {
            "authorization": f"Bearer {self._token.reveal()}",
            "accept": "application/json",
            **(headers or {}),
        }
        content = None
        if body is not None:
            head["content-type"], content = "application/json", orjson.dumps(dict(body))
        try:
            answer = await self._client.request(
                method,
                path,
                params=query,
                content=content,
                headers=head,
                timeout=timeout or httpx.USE_CLIENT_DEFAULT,
            )
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            why = type(exc).__name__ if isinstance(exc, httpx.TimeoutException) else str(exc) or type(exc).__name__
            raise EngineUnreachable(f"No engine answers at {self._url}: {why}.") from exc
        return _object_of(answer)


def _card(item: Mapping[str, Any]) -> ModelCard:
    """Read an entry of /v1/models, which is written as OpenAI's clients want it."""
    return ModelCard(str(item["id"]), str(item["owned_by"]), int(item["created"]), item.get("capabilities") or {})


def _each(kind: type[T], data: Mapping[str, Any], name: str) -> tuple[T, ...]:
    return tuple(revive(kind, item) for item in data.get(name, ()))


def _object_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's object; raise the ControlError an error answer stands for."""
    try:
        data = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        data = None
    if answer.is_success and isinstance(data, dict):
        return data
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict) and isinstance(error.get("code"), str):
        raise ControlError(error["code"], str(error.get("message", "")), status=answer.status_code)
    raise ControlError(
        UNEXPECTED,
        f"What answers there is not this router: status {answer.status_code}, {answer.text[:MAX_SHOWN]!r}.",
        status=answer.status_code if answer.is_error else 502,
    )
