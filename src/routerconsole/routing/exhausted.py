"""The error a request ends with when nothing served it: one status, the most actionable cause first (routing.md §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routerconsole.domain.errors import ErrorCode, ErrorType, RoutingFailed
from routerconsole.domain.outcome import Failure, GateReason, OutcomeClass
from routerconsole.domain.trace import Decision

from .error_body import public_text
from .nobody import RECHECK_S, listed
from .state import RefusalKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.domain.route import Route

    from .plan import Plan
    from .state import Refusal


@dataclass(frozen=True, slots=True)
class Tried:
    """One failed attempt, as far as the final verdict needs it."""

    route: Route
    context_window: int | None
    failure: Failure


_ACTIONABLE = (
    OutcomeClass.AUTH,
    OutcomeClass.QUOTA,
    OutcomeClass.MISSING,
    OutcomeClass.CLIENT_ERROR,
    OutcomeClass.POLICY,
    OutcomeClass.CONTEXT,
    OutcomeClass.OVERSIZE,
    OutcomeClass.CAPABILITY,
    OutcomeClass.UNDELIVERED,
    OutcomeClass.RATE,
    OutcomeClass.WARMING,
    OutcomeClass.CONNECT,
    OutcomeClass.STALE_CONN,
    OutcomeClass.TIMEOUT_FIRST,
    OutcomeClass.SERVER,
    OutcomeClass.BAD_200,
    OutcomeClass.BLANK,
)
"""What an operator or caller can act on, first to last; the message leads with the first that happened."""

_REQUEST_FAULTS = frozenset(
    {OutcomeClass.CLIENT_ERROR, OutcomeClass.CONTEXT, OutcomeClass.OVERSIZE, OutcomeClass.POLICY}
)
"""The upstream read the request and blames it."""

_NO_OPINION = frozenset(
    {
        OutcomeClass.CONNECT,
        OutcomeClass.STALE_CONN,
        OutcomeClass.TIMEOUT_FIRST,
        OutcomeClass.WARMING,
        OutcomeClass.RATE,
        OutcomeClass.QUOTA,
        OutcomeClass.AUTH,
        OutcomeClass.MISSING,
        OutcomeClass.LOCAL,
    }
)
"""The upstream never got to judging the request, so it neither confirms nor denies another's blame."""

_KEPT = frozenset({400, 413, 422})
"""Statuses of a blamed request that a unanimous cascade hands on; other 4xx are a bad gateway, 5xx become 400."""
_WAITS = frozenset({429, 503, 529})
"""Statuses that carry Retry-After."""

_SAYS_LATER = frozenset({GateReason.RATE, GateReason.QUOTA})
_PASSES = frozenset({RefusalKind.GATE, RefusalKind.PROVIDER_CIRCUIT, RefusalKind.CIRCUIT, RefusalKind.BULKHEAD})
"""Refusals of routes that are in service and only cannot be asked at this moment."""


def confirmed(tried: Sequence[Tried]) -> bool:
    """Say whether two routes blame the request and no route that judged it did otherwise."""
    judged = [item for item in tried if item.failure.cls not in _NO_OPINION]
    blaming = {item.route for item in judged if item.failure.cls is OutcomeClass.CLIENT_ERROR}
    return len(blaming) >= 2 and all(item.failure.cls is OutcomeClass.CLIENT_ERROR for item in judged)


def exhausted(
    tried: Sequence[Tried],
    skipped: Mapping[Route, Refusal],
    plan: Plan,
    *,
    retry_in: float | None,
    note: str = "",
) -> RoutingFailed:
    """Return the closing error of a cascade; `retry_in` is seconds until some candidate may be asked again.

    1 nothing was asked · 2 a content filter's word is returned as it is · 3 all lack a capability · 4 a forced
    capability was not delivered · 5 too long for all · 6 one status for all, else 502.
    """
    if not tried:  # 1
        return _unroutable(skipped, plan, retry_in, note=note)
    rest = _rest(skipped, plan, note)
    if tried[-1].failure.cls is OutcomeClass.POLICY:  # 2
        return _failed(tried[-1:], rest, retry_in)
    classes = {item.failure.cls for item in tried}
    if classes == {OutcomeClass.CAPABILITY}:  # 3
        return _incapable(tried, skipped, retry_in=retry_in, rest=rest)
    if OutcomeClass.UNDELIVERED in classes:  # 4
        forced = ", ".join(plan.needs.forced)
        return RoutingFailed(
            ErrorCode.CAPABILITY_NOT_DELIVERED,
            f"No route delivered {forced}. Attempts: {_roll_call(tried)}.{rest}",
            should_retry=False,
        )
    if classes == {OutcomeClass.CONTEXT}:  # 5
        return _too_long(tried, plan, rest)
    return _failed(tried, rest, retry_in)  # 6


def out_of_time(tried: Sequence[Tried], skipped: Mapping[Route, Refusal], plan: Plan) -> RoutingFailed:
    """Return the error when the request's deadline passed."""
    told = f" Attempts: {_roll_call(tried)}." if tried else ""
    return RoutingFailed(
        ErrorCode.DEADLINE_EXCEEDED,
        f"No candidate of {plan.resolution.id!r} answered in time.{told}{_rest(skipped, plan)}",
        should_retry=False,
    )


def _unroutable(
    skipped: Mapping[Route, Refusal], plan: Plan, retry_in: float | None, *, note: str = ""
) -> RoutingFailed:
    """Return 429 where every candidate asks to come back later (or is full), else 503; both say when.

    Those whose dialect cannot carry the request are never asked, whatever else changes; only they: 422.
    """
    refusals = [refusal for refusal in skipped.values() if refusal.kind is not RefusalKind.DIALECT]
    if refusals and all(refusal.kind is RefusalKind.BUDGET for refusal in refusals):
        return RoutingFailed(
            ErrorCode.BUDGET_EXCEEDED,
            f"The budget of the day leaves no candidate of {plan.resolution.id!r}.{_rest(skipped, plan, note)}",
            should_retry=False,
        )
    if skipped and not refusals:
        return RoutingFailed(
            ErrorCode.CAPABILITY_UNAVAILABLE,
            f"No candidate of {plan.resolution.id!r} can carry this request.{_rest(skipped, plan, note)}",
            should_retry=False,
        )
    later = [refusal.kind is RefusalKind.GATE and refusal.gate in _SAYS_LATER for refusal in refusals]
    full = [refusal.kind is RefusalKind.BULKHEAD for refusal in refusals]
    code, status, kind = ErrorCode.NO_ROUTABLE_CANDIDATE, 503, ErrorType.ROUTER
    if all(a or b for a, b in zip(later, full, strict=True)):
        code = ErrorCode.OVERLOADED if any(full) else code
        status, kind = 429, ErrorType.RATE_LIMIT
    return RoutingFailed(
        code,
        f"No candidate of {plan.resolution.id!r} can be asked right now.{_rest(skipped, plan, note)}",
        status=status,
        type=kind,
        retry_after=RECHECK_S if retry_in is None else retry_in,
    )


def _incapable(
    tried: Sequence[Tried], skipped: Mapping[Route, Refusal], *, retry_in: float | None, rest: str
) -> RoutingFailed:
    """Return 422 where nobody has the capability; while a route that may have it is only away for now, 503."""
    words = dict.fromkeys(word.value for item in tried for word in item.failure.refused)
    each = listed((item.route, _said(item.failure)) for item in tried)
    message = f"{each}.{rest}"
    if any(refusal.kind in _PASSES for refusal in skipped.values()):
        return RoutingFailed(
            ErrorCode.NO_ROUTABLE_CANDIDATE,
            f"The routes that can be asked lack a capability ({', '.join(words) or 'unnamed'}): {message}",
            retry_after=RECHECK_S if retry_in is None else retry_in,
        )
    return RoutingFailed(
        ErrorCode.CAPABILITY_UNAVAILABLE,
        f"Every route refused for a missing capability ({', '.join(words) or 'unnamed'}). {message}",
        should_retry=False,
    )


def _too_long(tried: Sequence[Tried], plan: Plan, rest: str) -> RoutingFailed:
    """Return the error when every asked upstream found the request too long and none larger is left."""
    said = next((item.failure.message for item in tried if item.failure.message), None)
    return RoutingFailed(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        f"{said or f'This request (about {plan.needs.estimate_tokens} tokens) is too long for every candidate.'}{rest}",
        param="messages",
        should_retry=False,
    )


def _failed(tried: Sequence[Tried], rest: str, retry_in: float | None) -> RoutingFailed:
    status = _unanimous(tried)
    return RoutingFailed(
        ErrorCode.ALL_CANDIDATES_FAILED,
        _message(tried).removesuffix(".") + f".{rest}" if rest else _message(tried),
        status=status or 502,
        type=_type_of(status),
        retry_after=(1.0 if retry_in is None else retry_in) if status in _WAITS else None,
        should_retry=False,
        param=next((item.failure.param for item in tried if item.failure.param), None),
    )


def _unanimous(tried: Sequence[Tried]) -> int | None:
    """Return the one status to hand on, or None.

    Routes that all blame the request, if with different numbers, make a 400; so do two of them where the others never
    got to judging it.
    """
    judged = [item for item in tried if item.failure.cls is OutcomeClass.CLIENT_ERROR] if confirmed(tried) else tried
    statuses = {_public_status(item.failure) for item in judged}
    if len(statuses) == 1:
        return statuses.pop()
    return 400 if all(item.failure.cls in _REQUEST_FAULTS for item in judged) else None


def _public_status(failure: Failure) -> int | None:
    """Return what a failure is to the client, by its class; None is a bad gateway.

    A bad key or a model that is gone is no fault of the client's, whatever number the upstream put on it.
    """
    cls, status = failure.cls, failure.status
    if cls in (OutcomeClass.RATE, OutcomeClass.QUOTA):
        return 429
    if cls in _REQUEST_FAULTS:
        other = cls is OutcomeClass.CLIENT_ERROR and status is not None and 400 <= status < 500
        return status if status in _KEPT else None if other else 400
    if cls in (OutcomeClass.SERVER, OutcomeClass.WARMING) and status is not None and status >= 500:
        return status
    return None


def _type_of(status: int | None) -> ErrorType | None:
    if status == 429:
        return ErrorType.RATE_LIMIT
    return ErrorType.INVALID_REQUEST if status is not None and status < 500 else None


def _message(tried: Sequence[Tried]) -> str:
    first = min(tried, key=lambda item: _rank(item.failure.cls))
    said = _said(first.failure)
    if len(tried) == 1:
        blamed = first.failure.cls in _REQUEST_FAULTS
        return said if blamed else f"{first.route.label()} failed ({_cause(first.failure)}): {said}"
    return f"All {len(tried)} attempts failed. {first.route.label()}: {said}. Attempts: {_roll_call(tried)}."


def _said(failure: Failure) -> str:
    """Return the upstream's words as far as a client may read them, without the full stop."""
    return (failure.message or public_text(failure.detail) or str(failure.cls)).rstrip(". ")


def _rank(cls: OutcomeClass) -> int:
    return _ACTIONABLE.index(cls) if cls in _ACTIONABLE else len(_ACTIONABLE)


def _cause(failure: Failure) -> str:
    return f"{failure.cls} {failure.status}" if failure.status else str(failure.cls)


def _roll_call(tried: Sequence[Tried]) -> str:
    return "; ".join(f"{item.route.label()} {_cause(item.failure)}" for item in tried)


def _rest(skipped: Mapping[Route, Refusal], plan: Plan, note: str = "") -> str:
    """Return the routes that were not asked, each with its reason, and what else is to be said."""
    away = [(route, public_text(refusal.text)) for route, refusal in skipped.items()]
    away += [(item.route, ", ".join(item.reasons)) for item in plan.candidates if item.decision is Decision.DROPPED]
    told = f" Not asked: {listed(away)}." if away else ""
    return f"{told} {note}".rstrip() if note else told
