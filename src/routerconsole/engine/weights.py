"""Weights on this machine: which files the providers of kind `airllm` serve, and the one worker that serves them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.config.weights import FILE_FORMATS, WeightsError, check_checkpoint
from routerconsole.control.views import WeightsStatus
from routerconsole.domain.registry import ProviderKind
from routerconsole.providers.airllm import Weights, WeightsDoor
from routerconsole.providers.worker import Start, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.events import Fact
    from routerconsole.domain.registry import Model, Provider, Registry
    from routerconsole.domain.route import ModelKey
    from routerconsole.providers.client import Exchange

    from .clock import Clock


class LocalWeights:
    """Opens a door per provider onto one worker, so that one model at a time is in memory."""

    def __init__(
        self, *, clock: Clock, start: Start, root: Callable[[], str | None], publish: Callable[[Fact], object]
    ) -> None:
        self._clock, self._root = clock, root
        self.worker = Worker(clock=clock.monotonic, start=start, publish=publish)

    def door(self, provider: Provider) -> Exchange:
        """Return what carries requests to a provider's models; files are looked for at each one."""

        def weights() -> Mapping[str, Weights]:
            root = self._root()
            found = {model.upstream_id: _lying(model, root) for model in provider.models}
            return {id_: lying for id_, lying in found.items() if lying is not None}

        door = WeightsDoor(
            self.worker, weights, provider=provider.name, clock=self._clock.monotonic, wall=self._clock.wall
        )
        return door.exchange

    def status(self, registry: Registry) -> WeightsStatus | None:
        """Return what the worker does now; None where no provider needs one."""
        if not any(provider.kind is ProviderKind.AIRLLM for provider in registry.providers.values()):
            return None
        state = self.worker.state
        return WeightsStatus(
            running=state.pid is not None,
            model=state.model,
            backend=state.backend,
            loading=state.loading,
            load_s=state.load_s,
            memory_mb=state.memory_mb,
            waiting=self.worker.waiting,
            restarts=state.restarts,
            problem=state.problem,
        )

    def note(self, model: Model, provider: Provider) -> str:
        """Return what the worker says of a model: in memory or on its way there, or why not; empty for nothing."""
        if provider.kind is not ProviderKind.AIRLLM:
            return ""
        state, path = self.worker.state, self._path(model)
        if state.model is None:
            return self.worker.refused.get(path, state.problem)
        if (state.model, state.path) != (model.upstream_id, path):
            return self.worker.refused.get(path, "")
        if state.loading:
            return "is being loaded"
        fell_back = f"; AirLLM cannot serve it: {state.problem}" if state.problem else ""
        return f"in memory by {state.backend}: loaded in {state.load_s:.1f} s, {state.memory_mb:,} MB{fell_back}"

    def refused(self, registry: Registry) -> dict[ModelKey, str]:
        """Return the models whose weights lie there and could not be loaded, each with the reason."""
        known = self.worker.refused
        return {
            model.key: f"{known[path]}; mend its files, then run: {_again(model)}"
            for provider in registry.providers.values()
            if known and provider.enabled and provider.kind is ProviderKind.AIRLLM
            for model in provider.models
            if model.enabled and (path := self._path(model)) in known
        }

    def _path(self, model: Model) -> str:
        lying = _lying(model, self._root())
        return "" if lying is None else str(lying.path)


def _again(model: Model) -> str:
    return f"routerconsole routes reset {shlex.quote(f'{model.provider}/{model.upstream_id}')}"


def _lying(model: Model, root: str | None) -> Weights | None:
    if model.path is None or model.format not in FILE_FORMATS:
        return None
    try:
        found = check_checkpoint(model.path, model.format, root)
    except WeightsError as exc:
        return Weights(Path(model.path), f"cannot be served: {exc}")
    return None if found is None else Weights(found)
