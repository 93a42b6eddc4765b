"""What tools answer in words: who served, what was tried, what is cut short, how models are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routerconsole.control.registry_views import PoolView, ProfileView
    from routerconsole.control.views import CandidateView, Explanation, ModelCard, Status

    from .asking import Answer, Limits, ToolFailed

CUT_OFF = "length"
_BEST_FIRST = ("healthy", "unknown", "degraded", "recovering")
"""A model is as well as the best of its accounts; the rest of the words say that nobody is asked."""
_VIRTUAL = "router/"


def served(answer: Answer, limits: Limits) -> str:
    """Return the note behind an answer: the route, the way to it, and whether the text is whole."""
    note = f"[served by {answer.provider}/{answer.model}: {answer.chain or 'one attempt'}]"
    if answer.finish == CUT_OFF:
        limit = f"{answer.completion_tokens or limits.max_tokens} tokens"
        note += f"\n[truncated: the answer was cut off after {limit} and is not complete]"
    elif answer.finish == "content_filter":
        note += "\n[truncated: a content filter ended the answer]"
    return note


def said(answer: Answer) -> str:
    """Return the answer's text; one without any says so, or it would look like an empty file."""
    if answer.text.strip():
        return answer.text
    spent = " (its tokens went into reasoning; raise `mcp.max_tokens`)" if answer.finish == CUT_OFF else ""
    return f"(the model answered without text{spent})"


def failed(error: ToolFailed) -> str:
    """Return an error in one line, with what was tried where its message does not say that."""
    told = all(attempt.partition(":")[0] in error.message for attempt in error.attempts)
    tried = "" if told else f" Tried: {'; '.join(error.attempts)}."
    return f"{error.code}: {error.message.rstrip('.')}.{tried}"


def health_of_all(
    cards: Iterable[ModelCard], status: Status, pools: Iterable[PoolView], profiles: Iterable[ProfileView]
) -> list[tuple[str, str]]:
    """Return every name of /v1/models, in its order, with how it is."""
    routes: dict[str, list[str]] = {}
    for provider in status.providers:
        for route in provider.routes:
            routes.setdefault(f"{route.provider}__{route.model}", []).append(route.status)
    groups = {pool.id: f"{pool.routable} of {pool.total} routable" for pool in pools}
    views = {view.id: "available" if view.available else view.problem or "unavailable" for view in profiles}
    return [(card.id, _health(card.id, routes, views, groups)) for card in cards]


def _health(name: str, routes: Mapping[str, Sequence[str]], views: Mapping[str, str], groups: Mapping[str, str]) -> str:
    words = routes.get(name)
    if words is not None:
        return next((word for word in _BEST_FIRST if word in words), words[0])
    return views.get(name) or groups.get(name) or groups.get(name.removeprefix(_VIRTUAL)) or "available"


def explained(found: Explanation) -> str:
    """Return a routing decision in lines: what the name means, what is needed, who is asked in which order and why."""
    resolved = found.resolved
    strategy = f", strategy {resolved.strategy}" if resolved.strategy else ""
    lines = [f"resolved: {resolved.kind} {resolved.id}{strategy}", *resolved.because]
    lines.append(
        f"needed: {_listed(found.needed)}; forced: {_listed(found.forced)}; about {found.estimate_tokens} tokens"
    )
    lines += [_candidate(number, each) for number, each in enumerate(found.candidates, 1)]
    if found.error is not None:
        lines.append(f"would be refused: {found.error.get('code')}: {found.error.get('message')}")
    return "\n".join(lines)


def _candidate(number: int, candidate: CandidateView) -> str:
    account = f" (account {candidate.account})" if candidate.account else ""
    reasons = f": {'; '.join(candidate.reasons)}" if candidate.reasons else ""
    return f"{number}. {candidate.provider}/{candidate.model}{account} {candidate.decision}{reasons}"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "nothing"
