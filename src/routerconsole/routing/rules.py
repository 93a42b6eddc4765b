"""The ordered table that says which class an upstream's error belongs to (routing.md §3). Structured codes before text.

Order, each with its reason:
 1 redirect      a 3xx has no error body worth reading
 2 quota         a 429, 403 or 400 about money would else wait a minute or look like a bad key
 3 key           bad credentials are told by 401 and 407, and by Google with 400
 4 capability    refusals come as 400, 404, 422, 500 and 501, and would else read as missing, client or server errors
 5 context       before oversize (413) and client errors (400)
 6 policy        before 403 and client errors
 7 missing       by code or text before 403 (OpenAI: no access) and 400 (llama.cpp router mode, Groq)
 8 forbidden     what is left of 403
 9 not found     what is left of 404
10 oversize      what is left of 413
11 rate          what is left of 429
12 warming       before server: a 503 that passes by itself and counts on no breaker
13 blames        5xx bodies that blame the request would else open every circuit
14 server        5xx, 408, 409, 425
15 client error  what is left of 4xx
16 bad answer    anything else is no HTTP error at all
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure, FaultScope, GateReason, OutcomeClass
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing import hints, phrases
from routerconsole.routing.error_body import ErrorBody

_SERVER: Final = frozenset({408, 409, 425})
_PROVIDER_COUNTS: Final = frozenset({502, 503, 504, 529, *range(520, 530)})
_QUOTA_STATUS: Final = frozenset({400, 401, 403, 429})
_REFUSAL_STATUS: Final = frozenset({400, 404, 405, 422, 500, 501})
_CONTEXT_STATUS: Final = frozenset({400, 413, 422, 500})
_POLICY_STATUS: Final = frozenset({400, 403, 422, 451, 500})
_MISSING_STATUS: Final = frozenset({400, 403, 404, 410, 422})
_NONE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Told:
    """One error as told by an upstream: its HTTP status (for an error inside a 2xx, the one it amounts to) and body."""

    status: int
    body: ErrorBody
    needs: Needs
    kind: ProviderKind = ProviderKind.OPENAI_COMPATIBLE
    headers: Mapping[str, str] = field(default_factory=lambda: _NONE)
    wall_now: float = 0.0

    def has(self, codes: frozenset[str]) -> bool:
        """Whether any structured code is among `codes`."""
        return not codes.isdisjoint(self.body.codes)

    def hint(self, gate: GateReason, *, windows: bool = False) -> float | None:
        """Return the seconds asked for, within the gate's cap."""
        span = hints.retry_hint(self.headers, self.body.raw_text, self.wall_now, windows=windows)
        return None if span is None else hints.clamp(span, gate)

    def fail(
        self,
        cls: OutcomeClass,
        *,
        retry_after: float | None = None,
        gate: GateReason | None = None,
        refused: tuple[Word, ...] = (),
        scope: FaultScope = FaultScope.ROUTE,
        provider_counts: bool = False,
    ) -> Failure:
        """Return the failure with what every class carries: detail, status, code, message and param."""
        body = self.body
        return Failure(
            cls,
            detail=body.detail,
            status=self.status,
            code=body.code,
            message=body.public,
            retry_after=retry_after,
            gate=gate,
            refused=refused,
            scope=scope,
            provider_counts=provider_counts,
            param=body.param,
        )


def classify(told: Told) -> Failure:
    """Return the failure of the first rule that applies."""
    for rule in _RULES:
        failure = rule(told)
        if failure is not None:
            return failure
    return told.fail(OutcomeClass.BAD_200)


def _redirect(told: Told) -> Failure | None:
    return told.fail(OutcomeClass.AUTH, scope=FaultScope.PROVIDER) if 300 <= told.status < 400 else None


def _quota(told: Told) -> Failure | None:
    status, body = told.status, told.body
    if status == 402:
        return _quota_failure(told)
    if status not in _QUOTA_STATUS:
        return None
    if told.has(phrases.QUOTA_CODES) or any(code.startswith(phrases.QUOTA_PREFIXES) for code in body.codes):
        return _quota_failure(told)
    if status == 429:
        if phrases.ZERO_LIMIT.search(body.text) or told.has(phrases.ZERO_CODES):
            # Google says "retry in 30s" to a plan that allows nothing: never believe it
            return told.fail(OutcomeClass.QUOTA, gate=GateReason.QUOTA)
        if "resource_exhausted" in body.codes or "resource_exhausted" in body.text:
            return _exhausted(told)
        if told.has(phrases.RATE_CODES):
            return None
        if phrases.DAILY.search(body.text):
            return _quota_failure(told, windows=True)
        if phrases.SAYS_QUOTA.search(body.text):
            return _quota_failure(told)
    return _quota_failure(told) if phrases.QUOTA_TEXT.search(body.text) else None


def _quota_failure(told: Told, *, windows: bool = False) -> Failure:
    return told.fail(
        OutcomeClass.QUOTA, gate=GateReason.QUOTA, retry_after=told.hint(GateReason.QUOTA, windows=windows)
    )


def _exhausted(told: Told) -> Failure | None:
    """Tell Google's two meanings apart: a limit per day, or longer than a rate gate lasts, is quota, else rate."""
    span = hints.body_hint(told.body.raw_text)
    if phrases.DAILY.search(told.body.text) or any("perday" in code for code in told.body.codes):
        return _quota_failure(told)
    if span is not None and span > hints.clamp(span, GateReason.RATE):
        return _quota_failure(told)
    return _rate(told)


def _key(told: Told) -> Failure | None:
    status = told.status
    if status == 407:
        return told.fail(OutcomeClass.AUTH, scope=FaultScope.PROVIDER)
    if status == 401:
        return told.fail(OutcomeClass.AUTH, scope=FaultScope.ACCOUNT)
    if status in (400, 403) and (told.has(phrases.KEY_CODES) or phrases.KEY_TEXT.search(told.body.text)):
        return told.fail(OutcomeClass.AUTH, scope=FaultScope.ACCOUNT)
    return None


def _capability(told: Told) -> Failure | None:
    status, text, needs = told.status, told.body.text, told.needs
    if status not in _REFUSAL_STATUS:
        return None
    if status == 501 and needs.endpoint is Endpoint.EMBEDDINGS:
        return told.fail(OutcomeClass.CAPABILITY, refused=(Word.EMBEDDINGS,))
    refused = _refused(text, needs)
    if refused is None and told.has(phrases.REFUSAL_CODES):
        refused = ()
    return None if refused is None else told.fail(OutcomeClass.CAPABILITY, refused=refused)


def _refused(text: str, needs: Needs) -> tuple[Word, ...] | None:
    """Return the asked words a text disproves; () where it refuses without naming one, None where it does not."""
    for pattern, words in phrases.KNOWN_REFUSALS:
        if pattern.search(text):
            asked = tuple(word for word in words if _asks(needs, word))
            if asked:
                return asked
    found = dict.fromkeys(word for word, pattern in phrases.REFUSALS if _asks(needs, word) and pattern.search(text))
    if found:
        return tuple(found)
    return () if phrases.UNNAMED_REFUSAL.search(text) else None


def _asks(needs: Needs, word: Word) -> bool:
    return word in needs.needed or (word is Word.TEXT and needs.endpoint is Endpoint.CHAT)


def _context(told: Told) -> Failure | None:
    if told.status in _CONTEXT_STATUS and (
        told.has(phrases.CONTEXT_CODES) or phrases.CONTEXT_TEXT.search(told.body.text)
    ):
        return told.fail(OutcomeClass.CONTEXT)
    return None


def _policy(told: Told) -> Failure | None:
    if told.status not in _POLICY_STATUS:
        return None
    if told.has(phrases.POLICY_CODES) or (told.body.structured and phrases.POLICY_TEXT.search(told.body.text)):
        return told.fail(OutcomeClass.POLICY)
    return None


def _missing(told: Told) -> Failure | None:
    if told.status in _MISSING_STATUS and (
        told.has(phrases.MISSING_CODES) or phrases.MISSING_TEXT.search(told.body.text)
    ):
        return told.fail(OutcomeClass.MISSING)
    return None


def _forbidden(told: Told) -> Failure | None:
    return told.fail(OutcomeClass.AUTH, scope=FaultScope.ROUTE) if told.status == 403 else None


def _not_found(told: Told) -> Failure | None:
    return told.fail(OutcomeClass.MISSING) if told.status == 404 else None


def _oversize(told: Told) -> Failure | None:
    return told.fail(OutcomeClass.OVERSIZE) if told.status == 413 else None


def _rate(told: Told) -> Failure | None:
    if told.status != 429:
        return None
    return told.fail(OutcomeClass.RATE, gate=GateReason.RATE, retry_after=told.hint(GateReason.RATE, windows=True))


def _warming(told: Told) -> Failure | None:
    if told.status == 503 and phrases.WARMING_TEXT.search(told.body.text):
        return told.fail(OutcomeClass.WARMING, retry_after=told.hint(GateReason.OVERLOAD))
    return None


def _blames(told: Told) -> Failure | None:
    if told.status in (500, 501, 502) and phrases.BLAMES_REQUEST.search(told.body.text):
        return told.fail(OutcomeClass.CLIENT_ERROR)
    return None


def _server(told: Told) -> Failure | None:
    status = told.status
    if not (500 <= status < 600 or status in _SERVER):
        return None
    wait = told.hint(GateReason.OVERLOAD)
    return told.fail(
        OutcomeClass.SERVER,
        retry_after=wait,
        gate=None if wait is None else GateReason.OVERLOAD,
        provider_counts=status in _PROVIDER_COUNTS,
    )


def _client_error(told: Told) -> Failure | None:
    return told.fail(OutcomeClass.CLIENT_ERROR) if 400 <= told.status < 500 else None


_RULES: Final[tuple[Callable[[Told], Failure | None], ...]] = (
    _redirect,
    _quota,
    _key,
    _capability,
    _context,
    _policy,
    _missing,
    _forbidden,
    _not_found,
    _oversize,
    _rate,
    _warming,
    _blames,
    _server,
    _client_error,
)
