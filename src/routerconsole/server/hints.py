"""From request headers to hints; none of these headers is ever forwarded upstream (interface.md §4)."""

from __future__ import annotations

from dataclasses import replace

from routerconsole.control.port import ORIGIN_HEADER
from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.request import NO_HINTS, Hints, Origin, deciding_hints

from .errors import Headers

MAX_VALUE = 512
"""Characters of a forwarded header value: what the W3C asks to be kept of a `tracestate`."""
MAX_TIMEOUT_MS = 24 * 3600 * 1000
_FORWARDED = frozenset({b"traceparent", b"tracestate", b"x-request-id"})

Parsed = tuple[Hints, tuple[tuple[str, str], ...], int]


def hints_of(headers: Headers) -> Parsed:
    """Return the hints, the headers an upstream may see, and the client's retry count; raise RequestRejected."""
    found: dict[str, str] = {}
    forward: list[tuple[str, str]] = []
    for name, value in headers:
        if name.startswith((b"x-router-", b"x-stainless-r")):
            found[name.decode("latin-1")] = value.decode("latin-1").strip()
        elif name in _FORWARDED:
            clean = _clean(value)
            if clean:
                forward.append((name.decode(), clean))
    if not found:
        return NO_HINTS, tuple(forward), 0
    timeouts = [
        seconds
        for seconds in (
            _timeout(found.get("x-router-timeout-ms")),
            _read_timeout(found.get("x-stainless-read-timeout")),
        )
        if seconds is not None
    ]
    hints = replace(
        deciding_hints(found),
        timeout=min(timeouts, default=None),
        no_fallback=_flag(found.get("x-router-no-fallback")),
        early_headers=_flag(found.get("x-router-early-headers")),
        trace=_flag(found.get("x-router-trace")),
        origin=Origin.MCP if found.get(ORIGIN_HEADER) == Origin.MCP else Origin.HTTP,
    )
    retry = found.get("x-stainless-retry-count", "")
    return hints, tuple(forward), int(retry) if retry.isascii() and retry.isdigit() and len(retry) < 4 else 0


def _timeout(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        ms = float(value)
    except ValueError:
        ms = float("nan")
    if not 0 < ms < float("inf"):
        raise RequestRejected(
            ErrorCode.INVALID_REQUEST,
            "`x-router-timeout-ms` must be a number of milliseconds above 0.",
            param="x-router-timeout-ms",
        )
    return min(ms, MAX_TIMEOUT_MS) / 1000  # it only ever lowers the deadline


def _read_timeout(value: str | None) -> float | None:
    """The openai SDK's own deadline in seconds; anything odd in it is ignored, the SDK set it, not a person."""
    try:
        seconds = float(value) if value else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_TIMEOUT_MS / 1000 else None


def _flag(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "true", "yes")


def _clean(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if len(text) <= MAX_VALUE and text.isascii() and text.isprintable() else ""
