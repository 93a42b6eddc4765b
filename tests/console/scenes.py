"""Scripted fleets the tests and the showcase share."""

from __future__ import annotations

from tests.console.fake_control import FakeControl, failed, failed_over, provider, request, route, running


def fleet() -> FakeControl:
    """Return six providers in six states and forty requests, two of them in flight."""
    control = FakeControl(
        provider(
            "anthropic",
            kind="anthropic",
            priority=10,
            status="rate_limited",
            gate="rate",
            gate_ends_in_s=12.0,
            models=("claude-x",),
        ),
        provider("ollama-local", kind="ollama", priority=20, local=True, models=("llama3.1:8b", "qwen2.5vl:7b")),
        provider("groq", priority=30, models=("llama-3.3-70b",), rps=4.1, in_flight=3),
        provider(
            "openai",
            kind="openai",
            priority=40,
            status="open",
            circuit_state="open",
            circuit_open_for_s=14.0,
            rps=0.0,
            error_rate=0.41,
            reason="5 consecutive failures: 503",
            in_flight=0,
            p95_ms=None,
            routes=(
                route(
                    "openai",
                    "gpt-x",
                    status="open",
                    circuit_state="open",
                    circuit_open_for_s=14.0,
                    headroom=0,
                    error_rate=0.41,
                    last_error={
                        "class": "server",
                        "detail": "503 upstream connect error or disconnect/reset before headers",
                        "at": "2026-03-01T12:00:31Z",
                    },
                ),
            ),
            models=("gpt-x",),
            history=((4, 0),) * 40 + ((1, 3),) * 6 + ((0, 0),) * 14,
        ),
        provider("lab", status="recovering", circuit_state="half_open", priority=50, in_flight=0, rps=0.2),
        provider(
            "spare",
            status="config_error",
            fault="config_error",
            reason="missing_secret: SPARE_KEY",
            priority=60,
            rps=0.0,
            enabled=True,
            in_flight=0,
            p95_ms=None,
            history=(),
            routes=(),
            models=(),
        ),
    )
    for number in range(40):
        if number % 9 == 4:
            row = failed_over(number)
        elif number % 17 == 12:
            row = failed(number)
        elif number == 20:
            row = request(number, status="truncated", chain="groq✗CUT", http_status=200, error_code="stream_incomplete")
        elif number == 25:
            row = request(number, status="cancelled", chain="groq✗CXL", http_status=None)
        else:
            row = request(number)
        control.rows[row.id] = row
    for number in (40, 41):
        row = running(number)
        control.rows[row.id] = row
    return control
