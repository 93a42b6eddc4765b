"""The wire form of one request at the route about to be asked; made before a lease is taken, so a no costs nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from routerconsole.domain.request import Endpoint
from routerconsole.domain.trace import Decision
from routerconsole.providers.dialect import Unsupported
from routerconsole.routing.board import Refusal, RefusalKind
from routerconsole.routing.exhausted import exhausted

if TYPE_CHECKING:
    from routerconsole.domain.registry import Model
    from routerconsole.domain.request import ChatRequest
    from routerconsole.domain.route import Route
    from routerconsole.providers.client import Target
    from routerconsole.providers.dialect import WireRequest
    from routerconsole.routing.plan import Plan, Ranked

    from .upstreams import Upstreams


class Packer:
    """Encodes one request; the form last made is kept, so that asking whether there is one costs nothing more."""

    __slots__ = ("_made", "_request", "_upstreams")

    def __init__(self, request: ChatRequest, upstreams: Upstreams) -> None:
        self._request, self._upstreams = request, upstreams
        self._made: tuple[Route, WireRequest] | None = None

    def objection(self, ranked: Ranked) -> str | None:
        """Return why a route's dialect cannot carry the request, None where it can (or the route has no dialect)."""
        target = self._upstreams.target(ranked.route)
        if target is None:
            return None
        try:
            self.wire(ranked, target)
        except Unsupported as exc:
            return f"cannot carry {exc.word}: {exc.reason}"
        return None

    def wire(self, ranked: Ranked, target: Target) -> WireRequest:
        """Return the request as this route takes it; raise Unsupported."""
        if self._made is None or self._made[0] is not ranked.route:
            self._made = ranked.route, target.dialect.encode(self._asked_of(ranked.model), ranked.model)
        return self._made[1]

    def _asked_of(self, model: Model) -> ChatRequest:
        """Return the request with the model's own temperature where it names none."""
        request = self._request
        own = model.default_temperature
        if own is None or "temperature" in request.body or request.endpoint is Endpoint.EMBEDDINGS:
            return request
        return replace(request, body={**request.body, "temperature": own})


def objected(decision: Plan, packer: Packer) -> Plan:
    """Return a decision with what the dialects object to, as the cascade would find out on its way (for `explain`)."""
    refused: dict[Route, Refusal] = {}
    for item in decision.ranked:
        why = packer.objection(item)
        if why is not None:
            refused[item.route] = Refusal(RefusalKind.DIALECT, why)
            item.candidate.decision = Decision.SKIPPED
            item.candidate.reasons.append(why)
    if decision.error is None and refused and len(refused) == len(decision.ranked):
        return replace(decision, error=exhausted((), refused, decision, retry_in=None))
    return decision
