"""Traces as spans: what an OTLP receiver gets mirrors the attempts of the request, and nothing of what was said."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.e2e.conftest import MakeStand

from routerconsole.engine.spans import wanted
from routerconsole.simulator import Behaviour

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "the quick brown canary"
NAMED = "router-of-the-lab"


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP/HTTP receiver on loopback that keeps what it gets in memory; asked to chat, it repeats the prompt."""
    got: list[ExportTraceServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        got.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(content_type="application/x-protobuf")

    async def echo(request: web.Request) -> web.Response:
        said = (await request.json())["messages"][0]["content"]
        return web.json_response({"error": {"message": f"cannot answer {said!r}", "type": "x"}}, status=400)

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    app.router.add_post("/v1/chat/completions", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}", got
    finally:
        await runner.cleanup()


def spans_of(got: list[ExportTraceServiceRequest]) -> list[Span]:
    """Every span received."""
    return [
        span for each in got for found in each.resource_spans for scope in found.scope_spans for span in scope.spans
    ]


def told(span: Span) -> dict[str, Any]:
    """The attributes of a span."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_spans_mirror_a_traces_attempts(make: MakeStand) -> None:
    """One span a request below the client's own, one an attempt below that, with times, classes, tokens; no texts."""
    async with receiver() as (url, got):
        stand = await make("a", "b", env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        stand.sims["a"].set("m", Behaviour(statuses=(503,)))
        stand.sims["b"].set("m", Behaviour(text=SECRET))
        messages = [{"role": "user", "content": SECRET}]
        reply = await stand.chat("m", headers={"traceparent": PARENT}, messages=messages, stream=True)
        detail = await stand.detail(reply)
        await stand.stop()
    spans = spans_of(got)
    (root,) = (span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    attempts = sorted(
        (span for span in spans if span.kind == Span.SPAN_KIND_CLIENT), key=lambda span: span.start_time_unix_nano
    )
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert [span.parent_span_id for span in attempts] == [root.span_id, root.span_id]
    asked = told(root)
    assert asked["routerconsole.request.id"] == reply.id
    assert (asked["gen_ai.operation.name"], asked["gen_ai.request.model"], asked["gen_ai.provider.name"]) == (
        "chat",
        "m",
        "b",
    )
    assert asked["gen_ai.usage.output_tokens"] == detail.row.completion_tokens
    for span, attempt in zip(attempts, detail.attempts_detail, strict=True):
        said = told(span)
        assert (said["gen_ai.provider.name"], said["gen_ai.request.model"]) == (attempt.provider, attempt.model)
        assert (said["routerconsole.attempt"], said["routerconsole.outcome"]) == (attempt.n, attempt.class_)
        assert said["http.response.status_code"] == attempt.status
        assert said.get("error.type") == (None if attempt.class_ == "ok" else attempt.class_)
        began = (span.start_time_unix_nano - root.start_time_unix_nano) / 1e6
        took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        assert began == pytest.approx(attempt.started_ms, abs=0.01)
        assert took == pytest.approx((attempt.ended_ms or 0) - attempt.started_ms, abs=0.01)
    assert [event.name for event in attempts[1].events][-2:] == ["first_byte", "first_token"]
    assert [span.status.code for span in (root, *attempts)] == [0, 2, 0]
    resource = {each.key: each.value.string_value for each in got[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "routerconsole"
    assert SECRET.encode() not in b"".join(each.SerializeToString() for each in got)


async def test_no_words_of_an_upstream_are_in_a_span_and_every_ending_has_one(make: MakeStand) -> None:
    """An error that repeats the prompt, a cut stream, a client that leaves: class and status, and no text."""
    attributes = f"service.name={NAMED},deployment.environment=lab"
    async with receiver() as (url, got):
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_RESOURCE_ATTRIBUTES": attributes}
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)  # the library reads it itself
            stand = await make("a", "b", env=env, providers={"b": {"base_url": f"{url}/v1"}})
        reply = await stand.chat("b/m", messages=[{"role": "user", "content": SECRET}])
        assert SECRET in (await stand.detail(reply)).attempts_detail[0].detail, "operators see it"
        stand.sims["a"].set("m", Behaviour(tokens=50, cut_after=3))
        await stand.stream("a/m")
        stand.sims["a"].set("m", Behaviour(latency=60.0))
        asked = asyncio.create_task(stand.chat("a/m"))
        await stand.until(lambda: len(stand.events("attempt.started")) == 3, "the third attempt")
        asked.cancel()
        await stand.until(lambda: stand.events("request.cancelled"), "its end")
        await stand.stop()
    spans = spans_of(got)
    assert {told(each)["routerconsole.status"] for each in spans if each.kind == Span.SPAN_KIND_SERVER} == {
        "failed",
        "truncated",
        "cancelled",
    }
    outcomes = {told(each)["routerconsole.outcome"]: each for each in spans if each.kind == Span.SPAN_KIND_CLIENT}
    assert outcomes.keys() == {"client_error", "cut", "ignored"}
    assert outcomes["client_error"].status.message == "client_error HTTP 400"
    assert SECRET.encode() not in b"".join(each.SerializeToString() for each in got)
    resource = {each.key: each.value.string_value for each in got[0].resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["deployment.environment"]) == (NAMED, "lab")


async def test_another_protocol_is_refused_with_what_to_set(make: MakeStand) -> None:
    """A collector's gRPC port would take nothing of ours: the status says so."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    stand = await make("a", env=env)
    (notice,) = (each for each in (await stand.node.control.status()).notices if "traces" in each)
    assert "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf" in notice
    assert (await stand.chat()).status == 200


async def test_without_the_extra_the_status_says_what_to_install(
    make: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traces that are wanted and cannot be sent are a notice; requests go on."""
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    stand = await make("a", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    (notice,) = (each for each in (await stand.node.control.status()).notices if "otel" in each)
    assert "pip install 'routerconsole[otel]'" in notice
    assert (await stand.chat()).status == 200


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_traces_are_off_unless_a_collector_is_named(env: dict[str, str], expected: bool) -> None:
    """OpenTelemetry's own variables decide."""
    assert wanted(env) is expected
