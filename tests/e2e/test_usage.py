"""Usage and budget over real sockets: counts as the upstream's own, refusals before the call, restarts, every face."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import FORCED, HELLO, Stand
from tests.engine.parts import running_engine, serve
from tests.support.node import chain, simulated
from tests.support.usage import agreed, load, models

from routerconsole.control.commands import ReloadConfig
from routerconsole.control.usage_views import UsageDay, total, totals
from routerconsole.domain.errors import ErrorCode, RoutingFailed
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.simulator import Behaviour

PRICED = {"id": "m", "usd_per_mtok_in": 1_000, "usd_per_mtok_out": 10_000, "max_output_tokens": 50}
"""Dear: a cent for ten tokens in, or one out; by its own limit a call without one may cost half a dollar and more."""


async def usage(stand: Stand) -> Mapping[str, Any]:
    """The usage as HTTP tells it."""
    found: Mapping[str, Any] = (await stand.get("/api/v1/usage")).json
    return found


def by_provider(told: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of a day without agents by provider."""
    return {row["provider"]: row for row in told["days"]}


async def test_tokens_and_cost_agree_with_the_upstreams_own_count(make: MakeStand) -> None:
    """Whole and streamed, failed over, undelivered, blank and embedded: every token is counted once, at its price."""
    stand = await make("a", "b", "c", models=models())
    await load(stand, 60)
    await agreed(stand, await usage(stand))
    again = await usage(stand)
    await stand.restart()
    assert (await usage(stand))["days"] == again["days"], "what was counted survives a restart"


async def test_unknown_prices_are_unknown_and_agents_have_rows(make: MakeStand) -> None:
    """A model without a price costs null and is counted as unknown; a row adds up to the shape of the interface."""
    stand = await make("a", "b", models={"a": ["m"], "b": [PRICED]})
    for agent in ("one", "two", "two"):
        await stand.chat("a/m", headers={"x-router-agent": agent})
    reply = await stand.chat("b/m", max_tokens=5)
    row = (await stand.detail(reply)).row
    told = await usage(stand)
    unknown = [each for each in told["days"] if each["provider"] == "a"]
    assert [(each["agent"], each["requests"], each["cost_usd"]) for each in unknown] == [
        ("one", 1, None),
        ("two", 2, None),
    ]
    assert [each["unknown_cost_requests"] for each in unknown] == [1, 2]
    (priced,) = (each for each in told["days"] if each["provider"] == "b")
    assert priced["agent"] is None
    assert priced["cost_usd"] == pytest.approx(row.cost_usd)
    assert row.cost_usd == pytest.approx((row.prompt_tokens or 0) / 1e3 + (row.completion_tokens or 0) / 1e2)
    assert set(priced) >= {"date", "model", "prompt_tokens", "completion_tokens", "unknown_cost_requests"}
    page = await stand.node.control.usage()
    assert {each.name: each.cost_usd for each in totals(page.days, "agent")}["two"] is None
    assert total(page.days).unknown_cost_requests == 3
    assert total([]).cost_usd == 0


async def test_an_enforced_budget_refuses_before_the_call_and_never_after(make: MakeStand) -> None:
    """What the estimate does not allow is 429 without an attempt; what was asked is answered, and free ones go on."""
    free = {"id": "m", "usd_per_mtok_in": 0, "usd_per_mtok_out": 0}
    stand = await make("a", "b", models={"a": [PRICED], "b": [free]}, budget={"daily_usd": 1.0, "enforce": True})
    first = await stand.chat("a/m", max_tokens=90)
    assert first.status == 200
    spent = (await usage(stand))["budget"]["used_usd"]
    assert 0 < spent < 1
    asked = stand.sims["a"].count("m")
    refused = await stand.chat("a/m", max_tokens=100)
    assert (refused.status, refused.error["code"], refused.attempts) == (429, "budget_exceeded", 0)
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert refused.error["type"] == "rate_limit_error"
    assert "budget" in refused.error["routerconsole"]["skipped"][0]["reason"]
    streamed = await stand.chat("a/m", max_tokens=100, stream=True)
    assert (streamed.status, streamed.error["code"]) == (429, "budget_exceeded")
    assert stand.sims["a"].count("m") == asked, "nothing was sent"
    told = (
        await stand.post("/api/v1/router/explain", {"model": "a/m", "messages": HELLO, "max_tokens": 100}, admin=True)
    ).json
    assert (told["candidates"][0]["decision"], told["error"]["code"]) == ("dropped", "budget_exceeded")
    assert (await stand.chat("m", max_tokens=100)).served_by == "b/m", "who is free takes over"
    assert (await stand.chat("a/m", max_tokens=1)).status == 200, "what fits still goes out"
    (event,) = [await _came(stand, "budget.exceeded")]
    assert event["daily_usd"] == 1.0
    assert any("budget" in notice for notice in (await stand.node.control.status()).notices)
    await stand.restart()
    assert (await usage(stand))["budget"]["used_usd"] >= spent
    assert (await stand.chat("a/m", max_tokens=100)).status == 429, "a restart gives nothing back"


async def _came(stand: Stand, kind: str) -> Mapping[str, Any]:
    await stand.until(lambda: stand.events(kind), kind)
    (event,) = stand.events(kind)
    return event.data


async def test_many_at_once_do_not_spend_what_is_left_for_one(make: MakeStand) -> None:
    """Estimates of calls under way are held: of twenty at once only those go out that fit together."""
    room = {"a": {"max_concurrency": 50}}
    stand = await make("a", models={"a": [PRICED]}, budget={"daily_usd": 1.0, "enforce": True}, providers=room)
    stand.sims["a"].set("m", Behaviour(latency=0.1))
    replies = await stand.many(20, max_tokens=30)
    statuses = [reply.status for reply in replies]
    assert statuses.count(200) == stand.sims["a"].count("m") <= 3
    assert statuses.count(200) + statuses.count(429) == 20
    assert (await usage(stand))["budget"]["used_usd"] <= 1.0


async def test_a_budget_alerts_once_a_day_and_an_unenforced_one_only_tells(make: MakeStand) -> None:
    """At its share one event, at its end another, each once; requests go on."""
    stand = await make("a", models={"a": [PRICED]}, budget={"daily_usd": 0.5, "alert_at": 0.1})
    stand.sims["a"].set("m", Behaviour(tokens=30))
    for _ in range(3):
        assert (await stand.chat("a/m", max_tokens=90)).status == 200
    await stand.until(lambda: stand.events("budget.exceeded"), "its end")
    assert (await stand.chat("a/m", max_tokens=90)).status == 200
    await stand.until(lambda: stand.idle)
    assert [len(stand.events(kind)) for kind in ("budget.alert", "budget.exceeded")] == [1, 1]
    assert stand.events("budget.alert")[0].data["alert_at"] == 0.1
    told = (await usage(stand))["budget"]
    assert (told["alert"], told["exceeded"], told["enforce"]) == (True, True, False)


async def test_what_nobody_reported_is_estimated_or_unknown_and_held_against_the_budget(make: MakeStand) -> None:
    """A stream that is left counts what came of it; an answer without counts costs nobody knows what."""
    stand = await make("a", models={"a": [PRICED]}, budget={"daily_usd": 100})
    stand.sims["a"].set("m", Behaviour(usage="never"))
    assert (await stand.chat("a/m", max_tokens=10)).status == 200
    (row,) = (await usage(stand))["days"]
    assert (row["cost_usd"], row["unknown_cost_requests"]) == (None, 1)
    assert (await usage(stand))["budget"]["guessed_usd"] > 0
    stand.sims["a"].set("m", Behaviour(tokens=500, tokens_per_second=100))
    async with stand.session.post(
        f"{stand.url}/v1/chat/completions",
        json={"model": "a/m", "messages": [{"role": "user", "content": "hi"}], "stream": True},
        headers={"authorization": f"Bearer {stand.client_token}"},
    ) as answer:
        await answer.content.readline()
    await stand.until(lambda: stand.idle)
    (row,) = (await usage(stand))["days"]
    assert (row["requests"], row["estimated_requests"], row["unknown_cost_requests"]) == (2, 1, 1)
    assert row["completion_tokens"] > 0
    assert row["cost_usd"] > 0


async def test_what_was_counted_before_the_end_of_a_broken_stream_is_no_count(make: MakeStand) -> None:
    """Tokens told ahead of the content are not what came; row, attempt and books say the same, prompt included."""
    stand = await make("a", models={"a": [PRICED]})
    stand.sims["a"].set("m", Behaviour(tokens=50, preamble=("usage",), cut_after=5))
    assert b"stream_incomplete" in (await stand.stream("a/m")).body
    await stand.until(lambda: stand.idle)
    (row,) = (await usage(stand))["days"]
    (request,) = (await stand.get("/api/v1/requests")).json["requests"]
    (attempt,) = (await stand.get(f"/api/v1/requests/{request['id']}")).json["attempts_detail"]
    assert (request["completion_tokens"], request["usage_source"], row["estimated_requests"]) == (5, "estimated", 1)
    for name in ("prompt_tokens", "completion_tokens", "cost_usd"):
        assert request[name] == attempt[name] == pytest.approx(row[name]), name
    assert row["prompt_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_that_only_the_total_counts_is_paid_for(make: MakeStand, stream: bool) -> None:
    """Where an upstream leaves reasoning out of the completion (xAI), its tokens are in the cost all the same."""
    stand = await make("a", models={"a": [PRICED]})
    counted = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 90}}
    for whole, completion in ((105, 95), (15, 5)):
        stand.sims["a"].set("m", Behaviour(usage="never", extra={"usage": {**counted, "total_tokens": whole}}))
        reply = await stand.chat("a/m", stream=stream)
        assert (await stand.detail(reply)).row.completion_tokens == completion, whole


async def test_a_request_left_before_it_had_a_connection_took_nothing(make: MakeStand) -> None:
    """Nothing was sent: it is no call, and no cost is unknown."""
    with socket.socket() as listener, ExitStack() as held:  # a full backlog drops further SYNs
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        room = {"a": {"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"}}
        stand = await make("a", models={"a": [PRICED]}, providers=room)
        asked = asyncio.create_task(stand.chat("a/m"))
        await stand.until(lambda: stand.events("attempt.started"), "an attempt")
        asked.cancel()
        await stand.until(lambda: stand.events("request.cancelled"), "its end")
        told = await usage(stand)
    assert told["days"] == []
    assert told["budget"]["used_usd"] == 0


async def test_a_trace_tells_tokens_and_cost(make: MakeStand) -> None:
    """`x-router-trace` says what a request took, by whose count, and what it cost or that nobody knows."""
    stand = await make("a", "b", models={"a": [PRICED], "b": ["m"]})
    told = (await stand.chat("a/m", headers={"x-router-trace": "1"})).json["routerconsole"]
    took = told["usage"]
    assert took["source"] == "reported"
    assert told["cost_usd"] == pytest.approx(took["prompt_tokens"] / 1e3 + took["completion_tokens"] / 1e2)
    assert (await stand.chat("b/m", headers={"x-router-trace": "1"})).json["routerconsole"]["cost_usd"] is None


async def test_undelivered_answers_cost_too_and_evaluations_are_counted(make: MakeStand) -> None:
    """What was paid for a tool call in prose is in the request's cost and in the books."""
    told = {name: [{**PRICED, "capabilities": ["tools"]}] for name in ("a", "b")}
    stand = await make("a", "b", models=told)
    stand.sims["a"].set("m", Behaviour(tools="ignore"))
    reply = await stand.chat("m", **FORCED, max_tokens=20)
    assert (reply.status, reply.served_by) == (200, "b/m")
    rows = by_provider(await usage(stand))
    assert {name: row["requests"] for name, row in rows.items()} == {"a": 1, "b": 1}
    assert (await stand.detail(reply)).row.cost_usd == pytest.approx(sum(row["cost_usd"] for row in rows.values()))
    assert rows["a"]["cost_usd"] > 0
    chat = stand.node.service.chat
    body = {"messages": HELLO, "model": "b/m"}
    asked = ChatRequest(chat.new_id(), Endpoint.CHAT, body, 90, "b/m", stream=False, origin=Origin.EVAL)
    await chat.open(asked)
    assert by_provider(await usage(stand))["b"]["requests"] == 2


async def test_a_reloaded_budget_holds_from_the_next_request(tmp_path: Path) -> None:
    """A limit written into the file while it runs refuses; taken out again it does not."""
    async with simulated(m=Behaviour()) as simulator:
        price = {"usd_per_mtok_in": 1_000, "usd_per_mtok_out": 10_000}
        text, file = chain(simulator, "m", **price), tmp_path / "providers.yaml"
        file.write_text(text)
        async with running_engine(file, tmp_path) as node:
            await serve(node)
            file.write_text(text + "budget: {daily_usd: 0.01, enforce: true}\n")
            await node.control.do(ReloadConfig())
            with pytest.raises(RoutingFailed) as refused:
                await serve(node)
            assert refused.value.code is ErrorCode.BUDGET_EXCEEDED
            assert (await node.control.usage()).budget.exceeded
            file.write_text(text + "budget: {daily_usd: 10000, enforce: true}\n")
            await node.control.do(ReloadConfig())
            await serve(node)
            assert not (await node.control.usage()).budget.exceeded, "the one in force refused nobody"
            file.write_text(text)
            await node.control.do(ReloadConfig())
            await serve(node)


def test_totals_know_no_cost_where_nothing_is_known() -> None:
    """Known and unknown rows add up to what is known; only unknown ones to unknown; days come in order."""
    day = UsageDay("2026-01-02", "p", "m", None, 1, 10, 5, None, 1)
    priced = UsageDay("2026-01-01", "p", "n", "x", 2, 10, 5, 0.25, 0)
    assert [(each.name, each.cost_usd) for each in totals([day, priced], "date")] == [
        ("2026-01-01", 0.25),
        ("2026-01-02", None),
    ]
    assert [each.name for each in totals([day, priced], "model")] == ["p/n", "p/m"]
    (whole,) = totals([day, priced], "provider")
    assert (whole.cost_usd, whole.unknown_cost_requests, whole.requests) == (0.25, 1, 3)
