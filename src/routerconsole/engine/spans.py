"""Traces as OpenTelemetry spans: one a request, one an attempt, made on another thread after the request is over.

Only the `otel` extra knows how; it is imported when the first feed is opened. Prompts and answers are in no span, and
no upstream's words either, which may repeat a prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.trace import RequestStatus
from routerconsole.domain.visible import visible

from .metrics import OPERATION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from routerconsole.domain.trace import Attempt, Trace

log = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables of OpenTelemetry's own; where one is set, traces go there."""
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
TIMEOUT_S: Final = 3.0
"""How long a collector may take, unless one of these says so: the end of the engine waits for it."""
MOST_WAITING: Final = 4_096
EVERY_S: Final = 0.5
_MAX_TEXT: Final = 300
_ERRORS: Final = (RequestStatus.FAILED, RequestStatus.TRUNCATED)
Values = dict[str, str | int | float | bool | list[str]]


class NoExporter(Exception):
    """Traces are wanted and cannot be sent; the text says what to install."""


def wanted(env: Mapping[str, str]) -> bool:
    """Say whether traces go anywhere."""
    off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER", "").lower() == "none"
    return any(env.get(name) for name in ENDPOINTS) and not off


class SpanFeed:
    """Takes finished requests in no time; a thread of its own makes spans of them, a batch every half second."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider, self._tracer = provider, provider.get_tracer("routerconsole")
        self._waiting: deque[Trace] = deque(maxlen=MOST_WAITING)
        self._over, self._done = threading.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def offer(self, trace: Trace) -> None:
        """Queue a request that is over; of too many the oldest goes."""
        self._waiting.append(trace)

    async def aclose(self) -> None:
        """Return once the rest was sent, or the collector had its time."""
        self._over.set()
        await self._done.wait()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._over.wait(EVERY_S):
                self._write()
            self._write()
            self._provider.shutdown()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop may have ended first
                self._loop.call_soon_threadsafe(self._done.set)

    def _write(self) -> None:
        while self._waiting:
            trace = self._waiting.popleft()
            try:
                write_spans(self._tracer, trace)
            except Exception:
                log.exception("the trace of request %s could not be exported", trace.id)


def open_feed(env: Mapping[str, str], version: str) -> SpanFeed:
    """Return a feed to the collector the environment names; raise NoExporter where nothing can be sent to it."""
    protocol = next((env[name] for name in PROTOCOLS if env.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise NoExporter(
            f"traces are sent as http/protobuf (port 4318), not {_text(protocol)}: set {PROTOCOLS[0]}=http/protobuf"
        )
    try:
        import requests  # noqa: PLC0415 - the exporter's own HTTP client
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as exc:
        name = next(each for each in ENDPOINTS if env.get(each))
        raise NoExporter(f"{name} is set; for traces install the extra: pip install 'routerconsole[otel]'") from exc
    session = requests.Session()
    session.trust_env = False  # proxies of the environment are not ours
    told = any(env.get(name) for name in TIMEOUTS)
    to = env.get(ENDPOINTS[0]) or env[ENDPOINTS[1]].rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=to, timeout=None if told else TIMEOUT_S, session=session)
    named = env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": version} | ({} if named else {"service.name": "routerconsole"})
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return SpanFeed(provider)


def write_spans(tracer: Tracer, trace: Trace) -> None:
    """Make the spans of one request: its own, below the client's where it named one, and one for each attempt."""
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415 - the extra
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    operation = OPERATION[trace.endpoint]

    def at(ms: float) -> int:
        return round(trace.at * 1e9 + ms * 1e6)

    above = TraceContextTextMapPropagator().extract(dict(trace.forward))
    root = tracer.start_span(
        f"{operation} {_text(trace.model or 'auto')}",
        context=above,
        kind=SpanKind.SERVER,
        attributes=_of_request(trace, operation),
        start_time=at(0.0),
    )
    below = set_span_in_context(root)
    for attempt in trace.attempts:
        span = tracer.start_span(
            f"{operation} {_text(attempt.route.model)}",
            context=below,
            kind=SpanKind.CLIENT,
            attributes=_of_attempt(attempt, operation),
            start_time=at(attempt.started_ms),
        )
        _marks(span, attempt, at)
        if attempt.cls is not OutcomeClass.OK:
            span.set_status(Status(StatusCode.ERROR, _why(attempt)))
        span.end(at(attempt.ended_ms if attempt.ended_ms is not None else attempt.started_ms))
    if trace.status in _ERRORS:
        root.set_status(Status(StatusCode.ERROR, trace.error_code))
    root.end(at(trace.total_ms or 0.0))


def _marks(span: Span, attempt: Attempt, at: Callable[[float], int]) -> None:
    """Note the moments of an attempt as events; `at` turns milliseconds of the request into epoch nanoseconds."""
    moments = (
        ("connected", attempt.connect_ms),
        ("first_byte", attempt.first_byte_ms),
        ("first_token", attempt.first_token_ms),
    )
    for name, ms in moments:
        if ms is not None:
            span.add_event(name, timestamp=at(ms))


def _of_request(trace: Trace, operation: str) -> Values:
    served = next((item.served_model for item in reversed(trace.attempts) if item.cls is OutcomeClass.OK), None)
    selected = trace.selected
    return _known(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": trace.model,
            "gen_ai.response.model": served or (None if selected is None else selected.model),
            "gen_ai.provider.name": None if selected is None else selected.provider,
            "gen_ai.usage.input_tokens": trace.prompt_tokens,
            "gen_ai.usage.output_tokens": trace.completion_tokens,
            "gen_ai.response.finish_reasons": [_text(trace.finish_reason)] if trace.finish_reason else None,
            "error.type": trace.error_code,
            "http.response.status_code": trace.http_status,
            "routerconsole.request.id": trace.id,
            "routerconsole.origin": trace.origin.value,
            "routerconsole.agent": trace.agent,
            "routerconsole.resolved": trace.resolved,
            "routerconsole.needed": list(trace.needed),
            "routerconsole.status": trace.status.value,
            "routerconsole.attempts": len(trace.attempts),
            "routerconsole.usage_source": trace.usage_source,
            "routerconsole.cost_usd": trace.cost_usd,
            "routerconsole.overhead_ms": trace.router_ms,
            "routerconsole.stream": trace.stream,
        }
    )


def _of_attempt(attempt: Attempt, operation: str) -> Values:
    cls = attempt.cls or OutcomeClass.IGNORED
    return _known(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": attempt.route.provider,
            "gen_ai.request.model": attempt.route.model,
            "gen_ai.response.model": attempt.served_model,
            "gen_ai.usage.input_tokens": attempt.prompt_tokens,
            "gen_ai.usage.output_tokens": attempt.completion_tokens,
            "error.type": None if cls is OutcomeClass.OK else cls.value,
            "http.response.status_code": attempt.status,
            "routerconsole.attempt": attempt.n,
            "routerconsole.account": attempt.route.account,
            "routerconsole.outcome": cls.value,
            "routerconsole.circuit.before": attempt.circuit_before,
            "routerconsole.circuit.after": attempt.circuit_after,
            "routerconsole.connection.reused": attempt.reused,
            "routerconsole.cost_usd": attempt.cost_usd,
        }
    )


def _why(attempt: Attempt) -> str | None:
    """Say what was wrong: in our words where nobody answered, else by class and status only."""
    if attempt.status is None:
        return _text(attempt.detail) if attempt.detail else None
    return f"{attempt.cls or OutcomeClass.IGNORED} HTTP {attempt.status}"


def _known(values: Mapping[str, str | int | float | bool | list[str] | None]) -> Values:
    """Return what there is, texts visible and of bounded length."""
    return {
        name: _text(value) if isinstance(value, str) else value for name, value in values.items() if value is not None
    }


def _text(value: str) -> str:
    return visible(value, _MAX_TEXT)
