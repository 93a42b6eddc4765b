"""What the registry and the board say of a run's columns: known or not, fit to be asked, local, what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.domain.capability import NODE_OF, Source
from routerconsole.domain.errors import ErrorCode, RequestRejected, RouterError, RoutingFailed
from routerconsole.domain.overlay import names_of
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.domain.route import ModelKey
from routerconsole.evals.runner import AVAILABILITY, LOOKUP
from routerconsole.evals.types import Target, TargetKind, Verdict, failed, unsupported
from routerconsole.routing.resolve import resolve
from routerconsole.routing.state import RefusalKind

if TYPE_CHECKING:
    from routerconsole.domain.registry import Model
    from routerconsole.evals.scenario import Scenario
    from routerconsole.routing.plan import Plan

    from .service import Service

_WORDS = {node: str(word) for word, node in NODE_OF.items()}
_GONE = frozenset({ErrorCode.NO_ROUTABLE_CANDIDATE, ErrorCode.OVERLOADED})
_PASSING = frozenset({RefusalKind.BULKHEAD, RefusalKind.GATE, RefusalKind.CIRCUIT, RefusalKind.PROVIDER_CIRCUIT})
"""Refusals that end by themselves: the cells are run, and each says how it stood."""


class Columns:
    """The columns of the runs of one engine, looked at in its registry of the moment."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._locals: dict[str, str] = {}

    def local(self, target: Target) -> str | None:
        """Return the local server a column may end up at: it gets one of our questions at a time."""
        return self._locals.get(target.id)

    def stands_for(self, target: Target, server: str | None) -> None:
        """Say which local server an address is, if any."""
        if server is not None:
            self._locals[target.id] = server

    def window(self, target: Target) -> int | None:
        """Return a model's declared context window in tokens; of several the largest, None where one is not known."""
        registry = self._service.registry
        if target.kind is TargetKind.URL:
            return None
        try:
            keys = resolve(target.name, registry).keys
        except RouterError:
            return None
        windows = [registry.models[key].context_window for key in keys if key in registry.models]
        known = [window for window in windows if window is not None]
        return max(known) if known and len(known) == len(windows) else None

    def fingerprint(self, target: Target) -> str | None:
        """Return what a pinned model's server listed last to be known by, None where it offered nothing."""
        model = self._model(target)
        listing = None if model is None else self._service.overlay.listings.get(model.provider)
        if model is None or listing is None:
            return None
        told = listing.told(names_of(self._service.registry.providers[model.provider], model.upstream_id))
        return None if told is None else told.fingerprint

    def known(self, target: Target, scenario: Scenario) -> Verdict | None:
        """Say of a capability that is known to be missing; what a run measured may be measured anew."""
        model = self._model(target)
        standing = None if scenario.node is None or model is None else model.standing(scenario.node)
        if scenario.node is None or standing is None or not standing.hard_no or standing.source is Source.MEASURED:
            return None
        return unsupported(_WORDS.get(scenario.node, scenario.node), f"{standing.source} says no")

    def refused(self, target: Target) -> Verdict | None:
        """Return the one failed row of a target nobody knows or that is switched off or broken."""
        chat = self._service.chat
        body = {"model": target.name, "messages": [{"role": "user", "content": "READY?"}]}
        request = ChatRequest(
            id="eval", endpoint=Endpoint.CHAT, body=body, size=100, model=target.name, stream=False, origin=Origin.EVAL
        )
        try:
            decision = chat.decide(request, now=self._service.clock.monotonic())
            providers = self._service.registry.providers
            names = (each.route.provider for each in decision.candidates)
            local = next((name for name in names if name in providers and providers[name].local), None)
            if local is not None:
                self._locals[target.id] = local
            error: RouterError | None = decision.error or self._shut(decision)
        except RequestRejected as exc:
            return failed(LOOKUP, expected="a target the registry has", actual=exc.message, detail=exc.message)
        except RouterError as exc:
            error = exc
        gone = error is not None and error.code in _GONE
        return unavailable(error.message) if error is not None and gone else None

    def _shut(self, decision: Plan) -> RoutingFailed | None:
        """Return why no route of a decision may be asked, None where one may, or may before long."""
        board, now = self._service.board, self._service.clock.monotonic()
        refusals = [board.refusal(each.route, now) for each in decision.ranked]
        if any(each is None or each.kind in _PASSING for each in refusals):
            return None
        said = "; ".join(dict.fromkeys(each.text for each in refusals if each is not None))
        return RoutingFailed(ErrorCode.NO_ROUTABLE_CANDIDATE, f"No route can be asked: {said}.")

    def _model(self, target: Target) -> Model | None:
        if target.kind is not TargetKind.MODEL:
            return None
        return self._service.registry.models.get(ModelKey((target.provider or "").casefold(), target.model or ""))


def unavailable(why: str) -> Verdict:
    """Return the one failed row of a target that cannot be asked."""
    return failed(AVAILABILITY, expected="a target that can be asked", actual=why, detail=why)
