"""The decision before anything is sent: candidates, why each is in or out, their order (routing.md §2, steps 4 to 11).

`explain` prints exactly this; the cascade then walks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from routerconsole.domain.errors import ErrorCode, RoutingFailed
from routerconsole.domain.registry import AccountStrategy
from routerconsole.domain.trace import Candidate, Decision

from . import gate

if TYPE_CHECKING:
    from collections.abc import Collection

    from routerconsole.domain.registry import Model, Provider, Registry
    from routerconsole.domain.request import Needs
    from routerconsole.domain.route import Route

    from .resolve import Resolution

SortKey = tuple[float, ...]


class Refusal(Protocol):
    """Why a route cannot be asked right now, in words with live numbers."""

    @property
    def text(self) -> str:
        """The reason as shown."""

    @property
    def gated(self) -> bool:
        """Whether only a waiting period is in the way."""


class RouteFacts(Protocol):
    """What the plan reads of the board; all of it is read-only."""

    def refusal(self, route: Route, now: float) -> Refusal | None:
        """Return the first reason a route is not admissible now."""

    def gap_nodes(self, route: Route, now: float) -> Collection[str]:
        """Return the capability nodes this route was learned to lack."""

    def too_big(self, route: Route, size: int) -> bool:
        """Say whether a body of `size` bytes is at or over the route's watermark."""

    def degraded(self, route: Route, now: float) -> bool:
        """Say whether success is under 50 % over at least 5 samples in the window."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An eligible candidate in its place."""

    route: Route
    model: Model
    provider: Provider
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Plan:
    """All candidates in shown order, the eligible ones ranked, and the error to give when there are none."""

    resolution: Resolution
    needs: Needs
    candidates: list[Candidate]
    ranked: list[Ranked]
    error: RoutingFailed | None = None


def plan(
    resolution: Resolution, needs: Needs, registry: Registry, board: RouteFacts, *, now: float, turn: int = 0
) -> Plan:
    """Decide who may serve a request and in which order; `turn` rotates the accounts of a provider."""
    policy = resolution.capability_policy or registry.policy.capability_policy
    dropped: list[Candidate] = []
    kept: list[tuple[SortKey, Ranked]] = []
    unmet: list[str] = []
    refused_words: dict[str, None] = {}
    index = 0
    for key in resolution.keys:
        model, provider = registry.models[key], registry.providers[key.provider]
        for route in _accounts(registry.routes(key), provider, turn):
            index += 1
            out = _drop_reason(model, provider, needs)  # 5
            if out is not None:
                dropped.append(Candidate(route, Decision.DROPPED, [out]))
                continue
            gaps = board.gap_nodes(route, now)
            missing = gate.unmet(model, needs, gaps=gaps) if needs.required else ()  # 6
            if missing:
                dropped.append(Candidate(route, Decision.DROPPED, [f"requires {item}" for item in missing]))
                unmet.extend(missing)
                continue
            verdict = gate.judge(model, needs, policy, gaps=gaps)  # 7
            if verdict.dropped_for:
                dropped.append(Candidate(route, Decision.DROPPED, list(verdict.reasons)))
                refused_words.update(dict.fromkeys(verdict.dropped_for))
                continue
            kept.append(_place(route, model, provider, needs, verdict, board=board, now=now, index=index))  # 8-10
    kept.sort(key=lambda item: item[0])  # 11
    ranked = [item for _, item in kept]
    candidates = [item.candidate for item in ranked] + dropped
    error = None if ranked else _nobody(resolution, needs, dropped, unmet, tuple(refused_words))
    if ranked and all(_context(item.model, needs) == _TOO_SMALL for item in ranked):
        error = _context_error(ranked, needs)
    return Plan(resolution, needs, candidates, ranked, error)


_FITS, _CONTEXT_UNKNOWN, _TOO_SMALL = 0, 1, 2


def _accounts(routes: tuple[Route, ...], provider: Provider, turn: int) -> tuple[Route, ...]:
    if len(routes) < 2 or provider.account_strategy is AccountStrategy.PRIORITY:
        return routes
    start = turn % len(routes)
    return routes[start:] + routes[:start]


def _drop_reason(model: Model, provider: Provider, needs: Needs) -> str | None:
    if not model.enabled:
        return "model disabled"
    if not gate.serves(model, needs.endpoint):
        return f"does not serve {needs.endpoint}"
    return None


def _context(model: Model, needs: Needs) -> int:
    if not model.context_window:
        return _CONTEXT_UNKNOWN
    return _FITS if needs.estimate_tokens <= model.context_window else _TOO_SMALL


def _place(
    route: Route,
    model: Model,
    provider: Provider,
    needs: Needs,
    verdict: gate.GateVerdict,
    *,
    board: RouteFacts,
    now: float,
    index: int,
) -> tuple[SortKey, Ranked]:
    """Build the sort key of routing.md §2.11 and the words that explain it."""
    reasons = list(verdict.reasons)
    decision = Decision.ELIGIBLE
    context = _context(model, needs)
    if context == _TOO_SMALL:
        reasons.append(f"context {model.context_window} < {needs.estimate_tokens} tokens")
    too_big = board.too_big(route, needs.size)
    if too_big:
        reasons.append(f"refused bodies of this size ({needs.size} bytes)")
    degraded = board.degraded(route, now)
    if degraded:
        reasons.append("degraded: under 50 % success")
    if verdict.cls is gate.CapabilityClass.NO or context == _TOO_SMALL or too_big or degraded:
        decision = Decision.DEMOTED
    refusal = board.refusal(route, now)
    gated = False
    if refusal is not None:
        reasons.append(refusal.text)
        decision = Decision.SKIPPED
        gated = refusal.gated
    matched = sum(tag in model.tags for tag in needs.tags) if needs.tags else 0
    # session affinity and limits headroom hold their places for the strategies that fill them
    key = (verdict.cls, -matched, 0, context, too_big, degraded, 0, gated, index)
    candidate = Candidate(route, decision, reasons, key)
    return key, Ranked(route, model, provider, candidate)


def _nobody(
    resolution: Resolution, needs: Needs, dropped: list[Candidate], unmet: list[str], refused: tuple[str, ...]
) -> RoutingFailed:
    """Choose the error for an empty list: unmet requirements, missing capabilities, or nothing of this kind."""
    if unmet or refused:
        wanted = list(dict.fromkeys(unmet)) or list(refused)
        each = "; ".join(f"{item.route.label()}: {', '.join(item.reasons)}" for item in dropped[:20])
        return RoutingFailed(
            ErrorCode.CAPABILITY_UNAVAILABLE, f"No route offers what this request needs ({', '.join(wanted)}). {each}"
        )
    if dropped and all(item.reasons == [f"does not serve {needs.endpoint}"] for item in dropped):
        message = f"{resolution.id!r} has no route that serves {needs.endpoint}."
        return RoutingFailed(ErrorCode.CAPABILITY_UNAVAILABLE, message)
    if dropped:
        each = "; ".join(f"{item.route.label()}: {', '.join(item.reasons)}" for item in dropped[:20])
        return RoutingFailed(ErrorCode.NO_ROUTABLE_CANDIDATE, f"No candidate of {resolution.id!r} can be used: {each}")
    return RoutingFailed(
        ErrorCode.NO_ROUTABLE_CANDIDATE,
        f"{resolution.id!r} has no members. Add models under `providers[].models` or `pools[].members`.",
    )


def _context_error(ranked: list[Ranked], needs: Needs) -> RoutingFailed:
    largest = max(item.model.context_window or 0 for item in ranked)
    return RoutingFailed(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        f"This request is about {needs.estimate_tokens} tokens; the largest context window here is {largest}.",
        param="messages",
    )
