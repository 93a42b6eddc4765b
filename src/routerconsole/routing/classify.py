"""The verdicts on an attempt, one function per place a failure can show; rules.py's table recognises errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from routerconsole.domain.outcome import Failure, FaultScope, OutcomeClass
from routerconsole.domain.redact import scrub
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing import error_body, phrases, rules
from routerconsole.routing.error_body import ErrorBody
from routerconsole.routing.faults import Phase, TransportFault
from routerconsole.routing.usable import unusable

_CHAT: Final = Needs(Endpoint.CHAT)
_CONNECTING: Final = frozenset(
    {
        TransportFault.DNS,
        TransportFault.REFUSED,
        TransportFault.UNREACHABLE,
        TransportFault.CONNECT_TIMEOUT,
        TransportFault.TLS_HANDSHAKE,
    }
)
_SETTINGS: Final = frozenset({TransportFault.TLS_CERTIFICATE, TransportFault.FORBIDDEN_ADDRESS})
_NO_HTTP: Final = frozenset({TransportFault.BAD_RESPONSE, TransportFault.TOO_LARGE})


def http_failure(
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    kind: ProviderKind,
    endpoint: Endpoint,
    needs: Needs,
    wall_now: float,
) -> Failure:
    """Return the failure of a non-2xx answer; `wall_now` is UTC epoch seconds, used where the answer has no `Date`."""
    told = error_body.read_bytes(body)
    asked = needs if needs.endpoint is endpoint else replace(needs, endpoint=endpoint)
    failure = rules.classify(
        rules.Told(status=status, body=told, needs=asked, kind=kind, headers=headers, wall_now=wall_now)
    )
    if failure.detail:
        return failure
    what = "a redirect, not followed" if 300 <= status < 400 else "with an empty body" if not body else ""
    return replace(failure, detail=f"HTTP {status} {what}".rstrip())


def transport_failure(
    fault: TransportFault, *, reused: bool, any_bytes: bool, detail: str = "", committed: bool = False
) -> Failure:
    """Return the failure of a broken exchange; `any_bytes` says whether the upstream had begun to answer.

    `reused` matters before the first byte only: an idle connection may close just as it is taken.
    """
    said = scrub(detail) if detail else str(fault).replace("_", " ")
    if committed:
        return Failure(OutcomeClass.CUT, said, code=str(fault))
    if fault in _SETTINGS:
        return Failure(OutcomeClass.AUTH, said, code=str(fault), scope=FaultScope.PROVIDER)
    if fault in _CONNECTING:
        return Failure(OutcomeClass.CONNECT, said, code=str(fault), provider_counts=True)
    if fault in _NO_HTTP or any_bytes:
        return Failure(OutcomeClass.BAD_200, said, code=str(fault))
    if reused:
        return Failure(OutcomeClass.STALE_CONN, said, code=str(fault))
    return Failure(OutcomeClass.CONNECT, said, code=str(fault), provider_counts=True)


def timeout_failure(*, phase: Phase, zero_bytes: bool, waited_full: bool, detail: str = "") -> Failure:
    """Return the failure of a timer of ours; not `waited_full` (cut short by a deadline) leaves the breakers alone."""
    if phase is Phase.CONNECT:
        said = detail or "connect timeout"
        return Failure(OutcomeClass.CONNECT, said, provider_counts=waited_full, counted=waited_full)
    if phase is Phase.IDLE:
        return Failure(OutcomeClass.CUT, detail or "the stream stalled", counted=waited_full)
    said = detail or ("no whole answer in time" if phase is Phase.WHOLE else "no first content in time")
    return Failure(OutcomeClass.TIMEOUT_FIRST, said, provider_counts=zero_bytes and waited_full, counted=waited_full)


def stream_error(event: Mapping[str, Any] | bytes, needs: Needs = _CHAT) -> Failure:
    """Return the failure of an error told inside a 2xx: by its own code where it has one, else `bad_200`.

    A generic 5xx or 4xx number (vLLM) is no code: inside a 200 it says only that the answer is bad.
    """
    body = error_body.read_bytes(event) if isinstance(event, bytes) else error_body.read(event)
    status = _amounts_to(body)
    failure = rules.classify(rules.Told(status=status, body=body, needs=needs))
    generic = (failure.cls is OutcomeClass.SERVER and status not in (503, 529)) or (
        failure.cls is OutcomeClass.CLIENT_ERROR and not phrases.CLIENT_CODES & body.codes
    )
    if generic:
        failure = replace(failure, cls=OutcomeClass.BAD_200, provider_counts=False)
    return replace(failure, status=200)


def _amounts_to(body: ErrorBody) -> int:
    """Return the HTTP status an inner error stands for: by its words, its number, or 400 so that text is judged."""
    for status, codes in phrases.STATUS_OF_CODES:
        if not codes.isdisjoint(body.codes):
            return status
    if body.number is not None:
        return body.number
    return 429 if phrases.RATE_TEXT.search(body.text) else 400


def whole_reply(data: object, *, endpoint: Endpoint, needs: Needs, status: int = 200) -> Failure | None:
    """Return why a parsed 2xx answer serves nobody (`bad_200`, `blank`, or its inner error), or None."""
    if status == 204:
        return Failure(OutcomeClass.BAD_200, "204: no content", status=status)
    inner = inner_error(data)
    if inner is not None:
        return replace(stream_error(inner, needs), status=status)
    found = unusable(data, endpoint)
    return None if found is None else Failure(found[0], found[1], status=status)


def inner_error(data: object) -> Mapping[str, Any] | None:
    """Return the error an answer or event carries instead of content, None where it carries none."""
    if isinstance(data, list):
        # Google sends its errors as a list of one
        first = data[0] if data else None
        return first if isinstance(first, dict) and isinstance(first.get("error"), dict) else None
    if not isinstance(data, dict):
        return None
    if data.get("error"):
        return data
    if data.get("object") == "error" or (data.get("type") == "error" and "choices" not in data):
        return data
    choices = data.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and isinstance(choice.get("error"), dict):
                return choice
    return None


def not_json(status: int, media_type: str | None, body: bytes, detail: str = "") -> Failure:
    """Return the failure of a 2xx body that is not what was asked for (HTML, text, broken or foreign JSON, nothing)."""
    if status == 204 or not body:
        return Failure(OutcomeClass.BAD_200, "empty body", status=status)
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            inner = inner_error(orjson.loads(body))
        except (orjson.JSONDecodeError, RecursionError):
            inner = None
        if inner is not None:
            return replace(stream_error(inner), status=status)
    seen = scrub(body[: error_body.SCANNED].decode("utf-8", "replace"))
    what = detail or f"not JSON ({scrub(media_type, 60) if media_type else 'no content type'})"
    return Failure(OutcomeClass.BAD_200, f"{what}: {seen}", status=status)


def bad_stream(status: int, detail: str, *, committed: bool = False) -> Failure:
    """Return the failure of a stream that is garbled or ended short: `bad_200` before the commit, `cut` after it."""
    return Failure(OutcomeClass.CUT if committed else OutcomeClass.BAD_200, scrub(detail), status=status)
