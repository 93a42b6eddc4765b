"""The error a request ends with when nothing served it: one status, the most actionable cause first (routing.md §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routerconsole.domain.errors import ErrorCode, ErrorType, RoutingFailed
from routerconsole.domain.outcome import Failure, OutcomeClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.route import Route

    from .board import Refusal
    from .plan import Plan


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

_KEPT = frozenset({400, 413, 422, 429})
"""Statuses below 500 that a unanimous cascade hands on; others become 502 (C1-30)."""


def exhausted(
    tried: list[Tried], skipped: Mapping[Route, Refusal], plan: Plan, *, retry_in: float | None
) -> RoutingFailed:
    """Return the closing error of a cascade; `retry_in` is seconds until some candidate may be asked again.

    1 nothing was asked; 2 all lacked a capability; 3 forced capability not delivered; 4 a unanimous status; 5 else 502.
    """
    if not tried:  # 1
        return _unroutable(skipped, plan, retry_in)
    classes = {item.failure.cls for item in tried}
    if classes == {OutcomeClass.CAPABILITY}:  # 2
        each = "; ".join(f"{item.route.label()}: {item.failure.detail}" for item in tried)
        words = sorted({word.value for item in tried for word in item.failure.refused})
        return RoutingFailed(
            ErrorCode.CAPABILITY_UNAVAILABLE,
            f"Every route refused for a missing capability ({', '.join(words) or 'unnamed'}). {each}",
            should_retry=False,
        )
    if OutcomeClass.UNDELIVERED in classes:  # 3
        forced = ", ".join(plan.needs.forced)
        return RoutingFailed(
            ErrorCode.CAPABILITY_NOT_DELIVERED,
            f"{len(tried)} attempts, none delivered {forced}: {_roll_call(tried)}",
            should_retry=False,
        )
    status = _unanimous(tried)  # 4
    hints = [item.failure.retry_after for item in tried if item.failure.retry_after is not None]
    retry_after = min(hints, default=retry_in) if status in (429, 503, 529) else None
    return RoutingFailed(
        ErrorCode.ALL_CANDIDATES_FAILED,
        _message(tried),
        status=status or 502,  # 5
        type=_type_of(status),
        retry_after=retry_after,
        should_retry=False,
        param=next((item.failure.param for item in tried if item.failure.param), None),
    )


def context_exhausted(tried: list[Tried], plan: Plan) -> RoutingFailed:
    """Return the error when every asked upstream found the request too long and none larger is left."""
    said = next((item.failure.message for item in tried if item.failure.message), None)
    estimate = plan.needs.estimate_tokens
    return RoutingFailed(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        said or f"This request (about {estimate} tokens) is too long for every candidate.",
        param="messages",
        should_retry=False,
    )


def out_of_time(tried: list[Tried], plan: Plan) -> RoutingFailed:
    """Return the error when the request's deadline passed."""
    told = f" Tried: {_roll_call(tried)}." if tried else ""
    return RoutingFailed(
        ErrorCode.DEADLINE_EXCEEDED,
        f"No candidate of {plan.resolution.id!r} answered in time.{told}",
        should_retry=False,
    )


def _unroutable(skipped: Mapping[Route, Refusal], plan: Plan, retry_in: float | None) -> RoutingFailed:
    each = "; ".join(f"{route.label()}: {refusal.text}" for route, refusal in list(skipped.items())[:20])
    message = f"No candidate of {plan.resolution.id!r} can be asked right now. {each}"
    if skipped and len(skipped) == len(plan.ranked) and all(refusal.gated for refusal in skipped.values()):
        return RoutingFailed(
            ErrorCode.NO_ROUTABLE_CANDIDATE, message, status=429, type=ErrorType.RATE_LIMIT, retry_after=retry_in or 1.0
        )
    return RoutingFailed(ErrorCode.NO_ROUTABLE_CANDIDATE, message, retry_after=1.0 if retry_in is None else retry_in)


def _unanimous(tried: list[Tried]) -> int | None:
    """Return the one status to hand on, or None. A blamed request is a 400 whatever status carried the blame."""
    statuses = {_public_status(item.failure) for item in tried}
    if len(statuses) != 1:
        return None
    status = statuses.pop()
    return status if status is not None and (status in _KEPT or status >= 500) else None


def _public_status(failure: Failure) -> int | None:
    blamed = failure.cls in (OutcomeClass.CLIENT_ERROR, OutcomeClass.POLICY)
    if blamed and (failure.status is None or failure.status >= 500):
        return 400
    if blamed and failure.status not in _KEPT:
        return 400
    if failure.status is not None and failure.status < 400:
        return None
    return failure.status


def _type_of(status: int | None) -> ErrorType | None:
    if status == 429:
        return ErrorType.RATE_LIMIT
    return ErrorType.INVALID_REQUEST if status is not None and status < 500 else None


def _message(tried: list[Tried]) -> str:
    ordered = sorted(tried, key=lambda item: _rank(item.failure.cls))
    first = ordered[0].failure
    said = first.message or first.detail
    if len(tried) == 1:
        return said or f"{tried[0].route.label()} failed: {first.cls}"
    return f"All {len(tried)} attempts failed. {said} Attempts: {_roll_call(tried)}".replace("  ", " ")


def _rank(cls: OutcomeClass) -> int:
    return _ACTIONABLE.index(cls) if cls in _ACTIONABLE else len(_ACTIONABLE)


def _roll_call(tried: list[Tried]) -> str:
    return "; ".join(
        f"{item.route.label()} {item.failure.cls}{f' {item.failure.status}' if item.failure.status else ''}"
        for item in tried
    )
