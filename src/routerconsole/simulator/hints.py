"""Every form in which an upstream says "come back later": headers, dates and body texts.

A hint is a plain header value (`"1"`, `1.5`, `"abc"`) or `form:value`, where form is one of `ms`, `x-ms`, `rfc1123`,
`rfc850`, `asctime` (seconds from now), `reset-requests`, `reset-tokens`, `anthropic-reset`, `body`, `text`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson

_PLAIN_FORMS = {
    "ms": "retry-after-ms",
    "x-ms": "x-ms-retry-after-ms",
    "reset-requests": "x-ratelimit-reset-requests",
    "reset-tokens": "x-ratelimit-reset-tokens",
    "reset": "x-ratelimit-reset",
}
_DATE_FORMS = {
    "rfc1123": "%a, %d %b %Y %H:%M:%S GMT",
    "rfc850": "%A, %d-%b-%y %H:%M:%S GMT",
    "asctime": "%a %b %e %H:%M:%S %Y",
}

Hints = str | float | tuple[str | float, ...] | None


def _each(hints: Hints) -> tuple[str, ...]:
    """The hints as texts."""
    if hints is None:
        return ()
    several = hints if isinstance(hints, tuple) else (hints,)
    return tuple(one if isinstance(one, str) else f"{one:g}" for one in several)


def header_hints(hints: Hints, now: datetime) -> list[tuple[str, str]]:
    """The headers that carry these hints; `now` is the time the reply's own Date says."""
    found: list[tuple[str, str]] = []
    for hint in _each(hints):
        form, _, value = hint.partition(":")
        if form in _PLAIN_FORMS:
            found.append((_PLAIN_FORMS[form], value))
        elif form in _DATE_FORMS:
            found.append(("retry-after", (now + timedelta(seconds=float(value))).strftime(_DATE_FORMS[form])))
        elif form == "anthropic-reset":
            when = (now + timedelta(seconds=float(value))).astimezone(UTC)
            found.append(("anthropic-ratelimit-requests-reset", when.strftime("%Y-%m-%dT%H:%M:%SZ")))
        elif form not in {"body", "text"}:
            found.append(("retry-after", hint))
    return found


def body_hints(hints: Hints, body: bytes) -> bytes:
    """The error body with the hints that live in a body (`body:46s` as retryDelay, `text:2s` as a sentence)."""
    for hint in _each(hints):
        form, _, value = hint.partition(":")
        if form not in {"body", "text"}:
            continue
        document = orjson.loads(body)
        error = document.get("error") if isinstance(document, dict) else None
        if not isinstance(error, dict):
            continue
        if form == "text":
            error["message"] = f"{error.get('message', '')} Please retry in {value}."
        else:
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": value}]
        body = orjson.dumps(document)
    return body
