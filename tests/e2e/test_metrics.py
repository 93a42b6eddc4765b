"""`/metrics` over real sockets, read by the official client library's parser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Stand
from tests.engine.parts import FakeClock

from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.request import Endpoint, Origin
from routerconsole.domain.route import Route
from routerconsole.domain.trace import Attempt, RequestStatus, Trace
from routerconsole.engine.exposition import MAX_LABEL, SLICE, exposition, label_value
from routerconsole.engine.metrics import MOST_SERIES, OTHERS, Histogram, Metrics
from routerconsole.simulator import Behaviour

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana-dashboard.json"
HOSTILE = 'm"x\\y,{le="1"}'


async def scraped(stand: Stand) -> dict[str, list[Sample]]:
    """Every sample by its name, as a scraper reads them."""
    answer = await stand.session.get(f"{stand.url}/metrics", headers={"authorization": f"Bearer {stand.client_token}"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await answer.text()
    found: dict[str, list[Sample]] = {}
    names = [family.name for family in text_string_to_metric_families(text)]
    assert len(names) == len(set(names)), "each family stands once"
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: Mapping[str, list[Sample]], name: str, **labels: str) -> float:
    """The sum of the samples of a name with these labels."""
    return sum(each.value for each in found[name] if labels.items() <= each.labels.items())


async def test_metrics_agree_with_what_was_asked_and_every_name_of_the_dashboard_exists(make: MakeStand) -> None:
    """Requests, attempts by class, tokens, times, cost, circuits and the budget, with GenAI names where they exist."""
    price = {"usd_per_mtok_in": 1, "usd_per_mtok_out": 2}
    models = {"a": ["m"], "b": [{"id": "m", **price}, {"id": HOSTILE, **price}]}
    stand = await make("a", "b", models=models, budget={"daily_usd": 5})
    stand.sims["a"].set("m", Behaviour(statuses=(500,)))
    stand.sims["b"].set(HOSTILE, Behaviour())
    for _ in range(3):
        assert (await stand.chat("m")).served_by == "b/m"
    assert (await stand.stream("b/m")).finished
    assert (await stand.chat(f"b/{HOSTILE}")).status == 200
    assert (await stand.chat("a/m")).status == 500
    found = await scraped(stand)
    assert value(found, "routerconsole_requests_total", status="ok", origin="http") == 5
    assert value(found, "routerconsole_requests_total", status="failed") == 1
    assert value(found, "routerconsole_failovers_total") == 4, "the last was asked again at its only route"
    assert value(found, "routerconsole_request_duration_seconds_count") == 6
    served = {"gen_ai_provider_name": "b", "gen_ai_request_model": "m", "gen_ai_operation_name": "chat"}
    assert value(found, "gen_ai_client_operation_duration_seconds_count", **served) == 4
    failed = value(
        found, "gen_ai_client_operation_duration_seconds_count", gen_ai_provider_name="a", error_type="server"
    )
    assert failed == stand.sims["a"].count("m")
    for kind, counted in zip(("input", "output"), stand.sims["b"].tokens("m"), strict=True):
        assert value(found, "gen_ai_client_token_usage_sum", gen_ai_token_type=kind, **served) == counted
    assert value(found, "gen_ai_server_time_to_first_token_seconds_count", **served) == 1
    tokens = stand.sims["b"].tokens("m")
    cost = value(found, "routerconsole_cost_usd_total", provider="b", model="m")
    assert abs(cost - (tokens.prompt + 2 * tokens.completion) / 1e6) < 1e-12
    assert value(found, "routerconsole_cost_usd_total", model=HOSTILE) > 0
    assert value(found, "routerconsole_circuit_state", provider="a", model="m") in (0, 2)
    assert value(found, "routerconsole_budget_limit_usd") == 5
    names, labels = _named_by_dashboard()
    assert not names - found.keys(), "the dashboard names a metric there is not"
    known = {label for samples in found.values() for each in samples for label in each.labels}
    assert not labels - known, "the dashboard groups by a label there is not"


def _named_by_dashboard() -> tuple[set[str], set[str]]:
    """Every metric the shipped dashboard asks for, and every label it groups by."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    grouped = [found for expr in asked for found in re.findall(r"by \(([^)]*)\)", expr)]
    bare = [re.sub(r"by \([^)]*\)", "", expr) for expr in asked]
    names = {name for expr in bare for name in re.findall(r"\b(?:routerconsole|gen_ai)_[a-z_]+", expr)}
    assert len(names) > 10
    return names, {label.strip() for each in grouped for label in each.split(",")}


async def test_X33_metrics_and_health_tell_a_stranger_nothing(make: MakeStand) -> None:
    """Without a token there is no metric; health is `ok` and nothing else."""
    stand = await make("a")
    answer = await stand.session.get(f"{stand.url}/metrics")
    assert answer.status == 401
    assert b"routerconsole_" not in await answer.read()
    assert (await (await stand.session.get(f"{stand.url}/healthz")).read()) == b'{"status":"ok"}'
    refused = await stand.session.post(
        f"{stand.url}/metrics", headers={"authorization": f"Bearer {stand.client_token}"}
    )
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_C3_39_buckets_are_cumulative_by_inclusive_bound_and_what_is_above_all_counts() -> None:
    """A value on a bound is within it; one above every bound is in the last."""
    found = Histogram((1, 2))
    for each in (0.5, 1, 1.5, 2, 99):
        found.observe(each)
    assert (found.counts, found.sum) == ([2, 2, 1], 104.0)


def test_T04_a_label_hides_nothing_and_ends_where_it_ends() -> None:
    """What a listing names a model stays inside its quotes, on its line, visible and of bounded length."""
    assert label_value('a"b\\c') == 'a\\"b\\\\c'
    told = label_value("x\n\x1b[31m\u202e" + "y" * 10_000)
    assert "\n" not in told
    assert told.isprintable()
    assert len(told) < 500


def test_R28_series_are_bounded_whatever_models_are_named() -> None:
    """After MOST_SERIES models the others share one series; no label comes from a request."""
    metrics, clock = Metrics(), FakeClock()
    for number in range(MOST_SERIES + 50):
        trace = Trace(f"r-{number}", clock.wall(), 0.0, Origin.HTTP, Endpoint.CHAT, "x", stream=False)
        trace.status, trace.total_ms = RequestStatus.OK, 5.0
        trace.attempts.append(
            Attempt(1, Route("p", None, f"m-{number}"), 0.0, ended_ms=4.0, cls=OutcomeClass.OK, completion_tokens=3)
        )
        metrics.note(trace)
    assert len(metrics.series) == MOST_SERIES + 1
    (others,) = (found for key, found in metrics.series.items() if key.model == OTHERS)
    assert sum(others.durations[""].counts) == 50
    assert sum(metrics.requests.values()) == MOST_SERIES + 50


async def test_two_models_of_one_label_are_one_sample_and_what_nobody_priced_costs_nothing_known(
    make: MakeStand,
) -> None:
    """A scraper takes no labels twice; a cost nobody knows is no 0; the loop has its turn while much is written."""
    stand = await make("a", "b", models={"a": ["m"], "b": [{"id": "m", "usd_per_mtok_in": 1, "usd_per_mtok_out": 1}]})
    metrics, long = stand.node.service.metrics, "y" * MAX_LABEL
    for number in range(2 * SLICE):
        name = f"{long}{number}" if number % 2 else f"m-{number}"
        trace = Trace(f"r-{number}", 0.0, 0.0, Origin.HTTP, Endpoint.CHAT, "x", stream=False)
        trace.status, trace.total_ms = RequestStatus.OK, 5.0
        trace.attempts.append(Attempt(1, Route("a", None, name), 0.0, ended_ms=4.0, cls=OutcomeClass.OK))
        metrics.note(trace)
    await stand.chat("b/m")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.ensure_future(others())
    await exposition(stand.node.service)
    task.cancel()
    assert turns
    found = await scraped(stand)
    for name, samples in found.items():
        labels = [tuple(sorted(each.labels.items())) for each in samples]
        assert len(labels) == len(set(labels)), name
    same = {"gen_ai_request_model": label_value(f"{long}1")}
    assert value(found, "gen_ai_client_operation_duration_seconds_count", **same) == SLICE
    assert {each.labels["provider"] for each in found["routerconsole_cost_usd_total"]} == {"b"}
    assert value(found, "routerconsole_unknown_cost_calls_total", provider="a") == 2 * SLICE


async def test_a_line_per_request_where_lines_of_that_level_are_wanted(
    make: MakeStand, caplog: pytest.LogCaptureFixture
) -> None:
    """At level info each finished request is one line with its row; nothing of what was said is in it."""
    stand = await make("a")
    await stand.chat()
    assert not [each for each in caplog.records if each.name == "routerconsole.requests"]
    caplog.set_level("INFO", "routerconsole.requests")
    reply = await stand.chat(messages=[{"role": "user", "content": "canary"}])
    (record,) = (each for each in caplog.records if each.name == "routerconsole.requests")
    assert (record.__dict__["request"]["id"], record.__dict__["request"]["status"]) == (reply.id, "ok")
    assert "canary" not in str(record.__dict__)
