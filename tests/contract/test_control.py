"""The control port, the same rules over all three implementations: local, threaded, remote."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.conftest import FAILING, SERVING, Held
from tests.support.node import HELLO, chain, running_node, simulated

from routerconsole.control.commands import (
    CancelRequest,
    ClearFailures,
    Command,
    Disable,
    Drain,
    Enable,
    ForceClose,
    Isolate,
    Probe,
    ReloadConfig,
    ReplayRequest,
    ResetCircuit,
    SetPriority,
    Target,
)
from routerconsole.control.discovery import Found
from routerconsole.control.port import Control, ControlError, EngineUnreachable, EventPage, RequestQuery
from routerconsole.control.remote import RemoteControl
from routerconsole.control.views import ProviderStatus, RequestPage
from routerconsole.domain.events import EventType
from routerconsole.domain.secret import Secret
from routerconsole.simulator import Behaviour

A = Target("a")


async def provider(control: Control, name: str) -> ProviderStatus:
    """One provider's row."""
    return next(row for row in (await control.status()).providers if row.name == name)


async def asked(held: Held, times: int = 1) -> list[str]:
    """Send requests that fail over from `a` to `b`; return their ids."""
    ids = []
    async with held.client() as client:
        for _ in range(times):
            answer = await client.post("/v1/chat/completions", json=HELLO)
            assert answer.status_code == 200, answer.text
            ids.append(answer.headers["x-router-request-id"])
    return ids


async def page_with(control: Control, query: RequestQuery, found: Callable[[RequestPage], bool]) -> RequestPage:
    """Read the log until it shows what is awaited (the log is written in batches)."""
    async with asyncio.timeout(60):
        while not found(page := await control.requests(query)):
            await asyncio.sleep(0)  # a local read does not give way by itself
    return page


async def events_until(control: Control, after: int, kind: EventType) -> EventPage:
    """Read on from a cursor until an event of a kind is there; return all since the cursor."""
    seen: list[EventPage] = []
    async with asyncio.timeout(60):
        while not any(event.type is kind for page in seen for event in page.events):
            page = await control.events(seen[-1].next if seen else after)
            if page.events or page.missed:
                seen.append(page)
            await asyncio.sleep(0)  # a local read does not give way by itself
    return EventPage(
        tuple(event for page in seen for event in page.events), seen[-1].next, sum(page.missed for page in seen)
    )


# --- reads ---
async def test_status_names_providers_by_priority_with_their_routes(held: Held) -> None:
    """Status is the same picture wherever it is read."""
    status = await held.control.status()
    assert [row.name for row in status.providers] == ["a", "b"]
    assert status.total == 2
    assert status.healthy + status.degraded + status.unhealthy == 2
    assert status.endpoint == held.url
    first = status.providers[0]
    assert (first.enabled, first.kind, first.default_model, first.circuit_state) == (
        True,
        "openai_compatible",
        FAILING,
        "closed",
    )
    assert [(route.provider, route.model) for route in first.routes] == [("a", FAILING)]


async def test_metrics_count_what_was_asked(held: Held) -> None:
    """Counters stand per provider and per route."""
    await asked(held, 2)
    figures = {row.name: row for row in await held.control.metrics()}
    assert (figures["a"].total_requests, figures["a"].failed, figures["a"].error_rate) == (2, 2, 1.0)
    assert figures["a"].failures_by_class == {"server": 2}
    assert (figures["b"].total_requests, figures["b"].successful) == (2, 2)
    assert figures["b"].routes[0].model == SERVING
    assert figures["b"].avg_latency_ms > 0


async def test_requests_are_paged_newest_first_and_found_by_filters(held: Held) -> None:
    """A cursor goes on where the page ended; filters narrow."""
    ids = await asked(held, 5)
    await page_with(held.control, RequestQuery(limit=2), lambda page: page.next is not None)
    seen: list[str] = []
    query = RequestQuery(limit=2)
    while True:
        page = await held.control.requests(query)
        seen.extend(row.id for row in page.requests)
        if page.next is None:
            break
        query = RequestQuery(limit=2, before=page.next)
    assert seen == ids[::-1]
    assert len((await held.control.requests(RequestQuery(provider="b"))).requests) == 5
    assert (await held.control.requests(RequestQuery(status="failed"))).requests == ()
    assert [row.id for row in (await held.control.requests(RequestQuery(filter=ids[2]))).requests] == [ids[2]]
    assert len((await held.control.requests(RequestQuery(failed_over=True))).requests) == 5


async def test_one_request_tells_candidates_attempts_and_chain(held: Held) -> None:
    """The detail of a request is complete; an unknown id is None."""
    (request_id,) = await asked(held)
    detail = await held.control.request(request_id)
    assert detail is not None
    assert (detail.row.id, detail.row.status, detail.row.provider, detail.row.attempts) == (request_id, "ok", "b", 2)
    assert [(item.provider, item.class_, item.status) for item in detail.attempts_detail] == [
        ("a", "server", 500),
        ("b", "ok", 200),
    ]
    assert [item.provider for item in detail.candidates] == ["a", "b"]
    assert await held.control.request("no/such id?") is None


async def test_failures_are_listed_and_cleared(held: Held) -> None:
    """Failed attempts are listed newest first until they are cleared."""
    ids = await asked(held, 3)
    failures = await held.control.failures(2)
    assert [item.request_id for item in failures] == [ids[2], ids[1]]
    assert {(item.provider, item.model, item.class_, item.status) for item in failures} == {
        ("a", FAILING, "server", 500)
    }
    receipt = await held.control.do(ClearFailures())
    assert (receipt.before, receipt.after) == ({"failures": 3}, {"failures": 0})
    assert await held.control.failures() == ()


async def test_config_is_whole_and_without_secrets(held: Held) -> None:
    """The effective configuration has its thresholds and no keys."""
    config = await held.control.config()
    assert config["routing"]["circuit"]["failure_threshold"] == 5
    assert "api_key" not in str(config)


async def test_models_are_every_name_a_request_may_use(held: Held) -> None:
    """What /v1/models lists: models of providers, pools, virtual models with members; each is found by its name."""
    listed = [card.id for card in await held.control.models()]
    assert listed[:3] == [f"a__{FAILING}", f"b__{SERVING}", "auto"]
    assert {"router/local", "router/exploratory/local"} <= set(listed)
    for name in (*listed, "AUTO", f"B/{SERVING}", "llmproxy__exploratory__local"):
        assert await held.control.model_card(name) is not None, name
    assert await held.control.model_card("nobody") is None


async def test_explain_says_what_the_next_request_does(held: Held) -> None:
    """The decision names candidates in the order in which they are then tried, and sends nothing."""
    explained = await held.control.explain(HELLO, {})
    assert held.simulator.total == 0
    (request_id,) = await asked(held)
    detail = await held.control.request(request_id)
    assert detail is not None
    assert explained.candidates == detail.candidates
    assert explained.error is None


@pytest.mark.parametrize(
    ("body", "code"), [({"model": "nowhere", **HELLO}, "model_not_found"), ({"messages": 1}, "invalid_request")]
)
async def test_explain_tells_an_error_instead_of_raising(held: Held, body: dict[str, object], code: str) -> None:
    """What the request would be answered with is part of the explanation."""
    explained = await held.control.explain(body, {})
    assert explained.error is not None
    assert explained.error["code"] == code


async def test_explain_obeys_hint_headers(held: Held) -> None:
    """A strict requirement nobody is known to meet makes the error of the real request."""
    explained = await held.control.explain(HELLO, {"x-router-require": "vision"})
    assert explained.error is not None
    assert explained.error["status"] == 422


async def test_explain_reads_hints_as_a_request_does(held: Held) -> None:
    """Empty words, blanks and capitals in a hint header mean the same to `explain` and to the request itself."""
    hints = {"X-Router-Require": "vision ,, audio,"}
    explained = await held.control.explain(HELLO, hints)
    async with held.client() as client:
        refused = (await client.post("/v1/chat/completions", json=HELLO, headers=hints)).json()["error"]
    assert explained.error is not None
    assert (explained.error["code"], explained.error["message"]) == (refused["code"], refused["message"])
    assert "vision" in refused["message"]
    assert "audio" in refused["message"]


# --- commands ---
@pytest.mark.parametrize(
    ("command", "field", "value"),
    [
        (Disable(A), "status", "disabled"),
        (Drain(A), "status", "draining"),
        (Isolate(A, ttl_s=60), "status", "isolated"),
        (ForceClose(A, ttl_s=60), "circuit_state", "closed"),
        (SetPriority("a", 9), "priority", 9),
        (ResetCircuit(A, gates=True), "circuit_state", "closed"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_command_takes_effect_and_is_audited(held: Held, command: Command, field: str, value: object) -> None:
    """What the receipt says is then seen in the status and in the audit."""
    receipt = await held.control.do(command)
    assert receipt.command == command.name
    assert receipt.target == "a"
    assert receipt.persisted
    assert getattr(await provider(held.control, "a"), field) == value
    if isinstance(command, Isolate | ForceClose):
        assert 59 < receipt.after["admin_ends_in_s"] <= 60
    newest = (await held.control.audit(1))[0]
    assert (newest.id, newest.command, newest.target) == (receipt.audit_id, command.name, "a")
    assert newest.before == receipt.before


@pytest.mark.parametrize("actor", ["console", "cli"])
async def test_the_audit_names_the_face_a_change_came_from(held: Held, actor: str) -> None:
    """Who did it is the same however the engine is held: an attached console is a console."""
    await held.control.do(Disable(A), actor=actor)
    newest = (await held.control.audit(1))[0]
    assert (newest.actor, newest.command) == (actor, "disable_provider")


async def test_disable_and_enable_route_only_that_route(held: Held) -> None:
    """A target with a model is a route."""
    target = Target("b", SERVING)
    receipt = await held.control.do(Disable(target))
    assert receipt.command == "disable_route"
    row = await provider(held.control, "b")
    assert row.enabled
    assert not row.routes[0].enabled
    await held.control.do(Enable(target))
    assert (await provider(held.control, "b")).routes[0].enabled


async def test_a_dry_run_changes_and_records_nothing(held: Held) -> None:
    """A dry run gives before and after, and that is all."""
    receipt = await held.control.do(Disable(A), dry_run=True)
    assert receipt.dry_run
    assert receipt.audit_id is None
    assert (receipt.before["enabled"], receipt.after["enabled"]) == (True, False)
    assert (await provider(held.control, "a")).enabled
    assert await held.control.audit() == ()


async def test_R26_a_command_for_another_version_is_a_conflict(held: Held) -> None:
    """`if_version` fences a change: stale is 409 and changes nothing, current is carried out."""
    with pytest.raises(ControlError) as refused:
        await held.control.do(Disable(A), if_version=0)
    assert (refused.value.code, refused.value.status) == ("conflict", 409)
    assert (await provider(held.control, "a")).enabled
    current = int(refused.value.message.split("version ")[1].split(",")[0])
    await held.control.do(Disable(A), if_version=current)
    assert not (await provider(held.control, "a")).enabled


@pytest.mark.parametrize(
    ("command", "code", "status"),
    [
        (Enable(Target("nobody")), "not_found", 404),
        (Enable(Target("a", "nothing")), "not_found", 404),
        (Isolate(A, ttl_s=0), "invalid_request", 400),
        (CancelRequest("nothing"), "not_found", 404),
        (ReloadConfig(), "conflict", 409),
        (ReplayRequest("nothing"), "not_found", 404),
        (Probe(("nobody",)), "not_found", 404),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_refused_command_tells_code_and_status(held: Held, command: Command, code: str, status: int) -> None:
    """A refusal is the same error everywhere, and is not audited."""
    with pytest.raises(ControlError) as refused:
        await held.control.do(command)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert not isinstance(refused.value, EngineUnreachable)
    assert await held.control.audit() == ()


async def test_C0_32_a_probe_tells_and_changes_nothing(held: Held) -> None:
    """Checking a disabled provider leaves it disabled."""
    await held.control.do(Disable(A))
    receipt = await held.control.do(Probe())
    assert [row["name"] for row in receipt.after["providers"]] == ["a", "b"]
    row = await provider(held.control, "a")
    assert (row.enabled, row.status) == (False, "disabled")


async def test_a_request_in_flight_is_seen_and_cancelled(held: Held) -> None:
    """A running request is listed, can be stopped, and its client is told."""
    held.simulator.set(SERVING, Behaviour(latency=60.0))
    async with held.client() as client, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.post("/v1/chat/completions", json={"model": f"b/{SERVING}", **HELLO}))
        await held.simulator.wait_received(1, model=SERVING)
        page = await held.control.requests(RequestQuery(status="in_flight"))
        (row,) = page.requests
        assert (await held.control.status()).in_flight == 1
        await held.control.do(CancelRequest(row.id))
        answer = await asking
    assert answer.status_code >= 400
    detail = await held.control.request(row.id)
    assert detail is not None
    assert detail.row.status == "cancelled"


async def test_a_request_is_replayed_on_other_models(held: Held) -> None:
    """A kept body is sent again under a new id, once per model."""
    (request_id,) = await asked(held)
    cursor = (await held.control.events(-1)).next
    receipt = await held.control.do(ReplayRequest(request_id, (f"b/{SERVING}",)))
    (again,) = receipt.after["requests"]
    await events_until(held.control, cursor, EventType.REQUEST_COMPLETED)
    detail = await held.control.request(again)
    assert detail is not None
    assert (detail.row.model, detail.row.status, detail.row.attempts) == (f"b/{SERVING}", "ok", 1)


# --- events ---
async def test_events_from_now_on_then_by_cursor(held: Held) -> None:
    """-1 gives only a cursor; from there every event comes once and in order."""
    start = await held.control.events(-1)
    assert start.events == ()
    (request_id,) = await asked(held)
    page = await events_until(held.control, start.next, EventType.REQUEST_COMPLETED)
    assert page.missed == 0
    numbers = [event.seq for event in page.events]
    assert numbers == list(range(start.next + 1, start.next + 1 + len(numbers)))
    of_request = [event.type for event in page.events if event.data.get("id") == request_id]
    assert of_request == [
        EventType.REQUEST_RECEIVED,
        EventType.ROUTE_CANDIDATES,
        EventType.ATTEMPT_STARTED,
        EventType.ATTEMPT_FAILED,
        EventType.ATTEMPT_STARTED,
        EventType.ATTEMPT_SUCCEEDED,
        EventType.REQUEST_COMPLETED,
    ]
    again = await held.control.events(page.next)
    assert again.missed == 0
    assert all(event.seq > page.next for event in again.events)


async def test_a_limit_cuts_a_page_and_the_cursor_goes_on(held: Held) -> None:
    """Pages of three give the same events as one page."""
    await asked(held, 2)
    whole = await held.control.events(0)
    parts: list[int] = []
    cursor = 0
    while len(parts) < len(whole.events):
        page = await held.control.events(cursor, 3)
        assert 0 < len(page.events) <= 3
        parts.extend(event.seq for event in page.events)
        cursor = page.next
    assert parts[: len(whole.events)] == [event.seq for event in whole.events]  # a probe may have ended meanwhile


async def test_an_audited_change_is_an_event(held: Held) -> None:
    """Other operators see a change as it happens."""
    cursor = (await held.control.events(-1)).next
    receipt = await held.control.do(Disable(A))
    page = await events_until(held.control, cursor, EventType.AUDIT)
    audit = next(event for event in page.events if event.type is EventType.AUDIT)
    assert (audit.data["id"], audit.data["command"]) == (receipt.audit_id, "disable_provider")


# --- remote only ---
async def _refused(call: Awaitable[object]) -> ControlError:
    with pytest.raises(ControlError) as refused:
        await call
    return refused.value


async def test_remote_without_an_engine_is_unreachable(unused_tcp_port: int) -> None:
    """No engine is its own error, and it names the address, not the token."""
    control = RemoteControl(f"http://127.0.0.1:{unused_tcp_port}", Secret("s3cret"))
    error = await _refused(control.status())
    await control.aclose()
    assert isinstance(error, EngineUnreachable)
    assert str(unused_tcp_port) in error.message
    assert "s3cret" not in error.message + repr(control)


@pytest.mark.parametrize("token", ["client", "wrong"])
async def test_remote_with_another_token_is_refused(held: Held, token: str) -> None:
    """The engine's refusal comes through with its code."""
    control = RemoteControl(held.url, Secret("client-token-for-tests" if token == "client" else "x"))
    error = await _refused(control.status())
    await control.aclose()
    assert not isinstance(error, EngineUnreachable)
    assert (error.code, error.status) == (("forbidden", 403) if token == "client" else ("unauthorized", 401))


async def test_a_cursor_of_an_engine_that_is_gone_starts_over(held: Held) -> None:
    """A cursor beyond the newest event is of an earlier engine: reading goes on from now."""
    page = await held.control.events(10**6)
    assert (page.events, page.missed) == ((), 0)
    assert page.next == (await held.control.events(-1)).next


async def test_remote_looks_again_where_the_engine_is_when_it_is_gone(tmp_path: Path) -> None:
    """The call that finds out fails and names both places, the next one goes to the new place with its token."""
    async with simulated(m1=Behaviour()) as sim, running_node(chain(sim, "m1"), tmp_path) as node:
        control = RemoteControl("http://127.0.0.1:1", Secret("old"), find=lambda: Found(node.url, node.secret))
        error = await _refused(control.status())
        assert isinstance(error, EngineUnreachable)
        assert "http://127.0.0.1:1" in error.message
        assert node.url in error.message
        assert (await control.status()).total == 1
        await control.aclose()


@pytest.mark.parametrize("token", ["wrong", "admin-token-for-tests"])
async def test_remote_asks_for_the_token_again_when_it_is_refused(held: Held, token: str) -> None:
    """A new token behind the same address counts as another door; the same one again is the engine's refusal."""
    asked: list[str] = []

    def find() -> Found:
        asked.append(held.url)
        return Found(held.url, Secret(token))

    control = RemoteControl(held.url, Secret("wrong"), find=find)
    first = await _refused(control.status())
    assert asked == [held.url]
    if token == "wrong":
        assert first.status == 401
        assert not isinstance(first, EngineUnreachable)
    else:
        assert isinstance(first, EngineUnreachable)
        assert (await control.status()).total == 2
    await control.aclose()


async def test_remote_says_who_does_not_answer_while_no_engine_is_found(unused_tcp_port: int) -> None:
    """That none runs anywhere is no news: the address that was asked is named."""

    def find() -> Found:
        raise EngineUnreachable("No engine runs here.")

    control = RemoteControl(f"http://127.0.0.1:{unused_tcp_port}", Secret("s"), find=find)
    error = await _refused(control.status())
    assert str(unused_tcp_port) in error.message
    await control.aclose()
