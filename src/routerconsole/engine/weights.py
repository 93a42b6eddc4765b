"""Weights on this machine: which files the providers of kind `airllm` serve, and the one worker that serves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.config.weights import FILE_FORMATS, WeightsError, check_weights
from routerconsole.domain.registry import ModelFormat, ProviderKind
from routerconsole.providers.airllm import Weights, WeightsDoor
from routerconsole.providers.worker import Start, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routerconsole.domain.registry import Model, Provider
    from routerconsole.providers.client import Exchange

    from .clock import Clock


class LocalWeights:
    """Opens a door per provider onto one worker, so that one model at a time is in memory."""

    def __init__(self, *, clock: Clock, start: Start, root: Callable[[], str | None]) -> None:
        self._clock, self._root = clock, root
        self.worker = Worker(clock=clock.monotonic, start=start)

    def door(self, provider: Provider) -> Exchange:
        """Return what carries requests to a provider's models; files are looked for at each one."""

        def weights() -> Mapping[str, Weights]:
            root = self._root()
            found = {model.upstream_id: _lying(model, root) for model in provider.models}
            return {id_: lying for id_, lying in found.items() if lying is not None}

        return WeightsDoor(self.worker, weights, clock=self._clock.monotonic, wall=self._clock.wall).exchange

    def note(self, model: Model, provider: Provider) -> str:
        """Return what the worker says of a model: in memory or on its way there, or why not; empty for nothing."""
        if provider.kind is not ProviderKind.AIRLLM:
            return ""
        state = self.worker.state
        if state.model != model.upstream_id:
            return state.problem if state.model is None and state.of in (None, model.upstream_id) else ""
        if state.loading:
            return "is being loaded"
        fell_back = f"; AirLLM cannot serve it: {state.problem}" if state.problem else ""
        return f"in memory by {state.backend}: loaded in {state.load_s:.1f} s, {state.memory_mb:,} MB{fell_back}"


def _lying(model: Model, root: str | None) -> Weights | None:
    if model.path is None or model.format not in FILE_FORMATS:
        return None
    try:
        found = check_weights(model.path, model.format, root)
    except WeightsError as exc:
        return Weights(Path(model.path), f"cannot be served: {exc}")
    if model.format is ModelFormat.GGUF:
        return Weights(Path(model.path), "cannot be served: AirLLM reads no GGUF (llama-server does)")
    return None if found is None else Weights(found)
