"""What a client is told when nobody comes in question for its request, before any is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.domain.errors import ErrorCode, RoutingFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.domain.registry import Model
    from routerconsole.domain.request import Needs
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Candidate

    from .resolution import Resolution

RECHECK_S: Final = 30.0
"""Seconds after which a client may ask again where nobody knows better; providers are checked that often by default."""
NAMED: Final = 20
"""Routes named in one message; the error body lists more."""


def listed(entries: Iterable[tuple[Route, str]]) -> str:
    """Return routes with their reasons as one line of a message, the first NAMED of them."""
    each = [f"{route.label()}: {reason}" for route, reason in entries]
    more = f"; and {len(each) - NAMED} more" if len(each) > NAMED else ""
    return "; ".join(each[:NAMED]) + more


def nobody(
    resolution: Resolution, needs: Needs, dropped: list[Candidate], lacking: tuple[str, ...], *, configured: bool
) -> RoutingFailed:
    """Choose the error for an empty list: what the request needs is offered by none, or there is nobody at all."""
    each = listed((item.route, ", ".join(item.reasons)) for item in dropped)
    if lacking:
        return RoutingFailed(
            ErrorCode.CAPABILITY_UNAVAILABLE,
            f"No route of {resolution.id!r} offers what this request needs ({', '.join(lacking)}). {each}",
        )
    if dropped:
        return RoutingFailed(
            ErrorCode.CAPABILITY_UNAVAILABLE,
            f"{resolution.id!r} has no route for this kind of request ({needs.endpoint}). {each}",
        )
    told = f"{resolution.id!r} has no members. {_to_fill(resolution)}."
    if not configured:
        told = (
            "No provider is configured. Write `providers` with their `models` into a configuration"
            " (`routerconsole config init` begins one), or set an API key or start a local server before the router."
        )
    return RoutingFailed(
        ErrorCode.NO_ROUTABLE_CANDIDATE,
        told,
        retry_after=RECHECK_S,
    )


def _to_fill(resolution: Resolution) -> str:
    """Say which key of the configuration brings members."""
    pool = resolution.pool
    if pool is None or pool.node is None:
        return "Add models under `providers[].models` or `pools[].members`"
    return (
        f"No model it takes has the capability {pool.node}: add it to one under `providers[].models[].capabilities`,"
        " or list models under `pools[].members`"
    )


def too_expensive(resolution: Resolution, dropped: Iterable[Candidate]) -> RoutingFailed:
    """Return the error for a request nobody can serve within the day's budget."""
    each = listed((item.route, ", ".join(item.reasons)) for item in dropped)
    return RoutingFailed(
        ErrorCode.BUDGET_EXCEEDED,
        f"The budget of the day (`budget.daily_usd`) leaves no route of {resolution.id!r} to ask. {each}",
        should_retry=False,
    )


def too_long(candidates: Iterable[tuple[Route, Model]], needs: Needs) -> RoutingFailed:
    """Return the error for a request that is too long for every known context window."""
    windows = [(route, model.context_window or 0) for route, model in candidates]
    largest = max(window for _, window in windows)
    each = listed((route, f"context {window}") for route, window in windows)
    return RoutingFailed(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        f"This request is about {needs.estimate_tokens} tokens; the largest context window here is {largest}. {each}",
        param="messages",
    )
