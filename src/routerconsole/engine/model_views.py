"""From a registry model to the frozen view operators see: every layer of every node, and what to run where not served.

Pure: who is asked what the routes learned, and what time it is, comes in.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from routerconsole.config.weights import WeightsError, check_checkpoint, weights_path
from routerconsole.control.registry_views import CapabilityValue, LayerView, ModelView
from routerconsole.domain.capability import Layer, Source, Tri, authority, standing
from routerconsole.domain.registry import ModelFormat, ModelState, ProviderKind

from .clock import iso
from .measurements import Offer

if TYPE_CHECKING:
    from routerconsole.domain.capability import Standing
    from routerconsole.domain.registry import Model, Provider, Registry
    from routerconsole.domain.route import ModelKey

    from .scores import Scores

CACHED = 4096
"""Capability values kept made."""
_FILES = frozenset({ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.HF})
_DECLARED = frozenset({Source.OPERATOR, Source.CONFIG, Source.DISCOVERY, Source.CATALOGUE})
NO_OFFERS: Mapping[str, Offer] = {}
_NO_HEADER: Mapping[str, str | int | None] = {}


@dataclass(frozen=True, slots=True)
class LearnedGap:
    """A gap of one route (`account`) at a node; `at` and `expires` are UTC epoch seconds.

    `counts` is False where an operator's word overruled it: it stays visible and gates nothing.
    """

    node: str
    account: str | None
    at: float
    expires: float
    evidence: str
    counts: bool = True


def in_force(model: Model, gaps: Sequence[LearnedGap], accounts: int) -> Mapping[str, tuple[Layer, ...]]:
    """Return a model's layers with what its routes learned: a gap is the model's own once every route has it."""
    if not gaps:
        return model.layers
    layers = dict(model.layers)
    for node in dict.fromkeys(gap.node for gap in gaps):
        counting = [gap for gap in gaps if gap.node == node and gap.counts]
        if len(counting) >= accounts:
            newest = max(gap.at for gap in counting)
            layers[node] = (*layers.get(node, ()), Layer(Source.GAP, Tri.NO, newest))
    return layers


def capability_values(
    model: Model, gaps: Sequence[LearnedGap], accounts: int, offers: Mapping[str, Offer] = NO_OFFERS
) -> dict[str, CapabilityValue]:
    """Return every node anybody says something of, by path; layers stand strongest first."""
    layers = in_force(model, gaps, accounts)
    nodes = sorted({*model.layers, *(gap.node for gap in gaps), *offers})
    return {node: capability_value(node, model, layers, gaps, offer=offers.get(node)) for node in nodes}


def capability_value(
    node: str,
    model: Model,
    layers: Mapping[str, tuple[Layer, ...]],
    gaps: Sequence[LearnedGap] = (),
    *,
    offer: Offer | None = None,
) -> CapabilityValue:
    """Return one node's effective value (its own, or a yes below it) and its own layers."""
    found = standing(layers, node)
    learned = tuple(gap for gap in gaps if gap.node == node)
    return _value(node, found, model.layers.get(node, ()), learned, offer)


def _contradiction(layers: Sequence[Layer], offer: Offer | None) -> str:
    """Return where what was declared and what was measured differ, and what was measured but not accepted yet."""
    declared = next((layer for layer in sorted(layers, key=authority) if layer.source in _DECLARED), None)
    accepted = next((layer for layer in layers if layer.source is Source.MEASURED and not layer.stale), None)
    measured = offer.value if offer is not None else None if accepted is None else accepted.value.value
    if measured is None or (declared is not None and declared.value.value == measured):
        return ""
    pending = "" if offer is None else f", not accepted: {offer.evidence}"
    if declared is None:
        return f"measured {measured}{pending}" if pending else ""
    return f"declared {declared.value.value}, measured {measured}{pending}"


@lru_cache(CACHED)
def _value(
    node: str, found: Standing, layers: tuple[Layer, ...], learned: tuple[LearnedGap, ...], offer: Offer | None
) -> CapabilityValue:
    """Make one value; thousands of models share few, and what is shared costs no memory and no collection."""
    own = sorted(
        [
            *((layer, None) for layer in layers),
            *((Layer(Source.GAP, Tri.NO, gap.at, gap.evidence), gap) for gap in learned),
        ],
        key=lambda pair: authority(pair[0]),
    )
    views = tuple(
        LayerView(
            source=layer.source.value,
            value=layer.value.value,
            at=_moment(layer.at),
            evidence=layer.evidence,
            account=None if gap is None else gap.account,
            expires_at=None if gap is None else iso(gap.expires),
            stale=layer.stale,
            fingerprint=layer.fingerprint,
        )
        for layer, gap in own
    )
    source = None if found.source is None else found.source.value
    decisive = next((view.at for view in views if (view.source, view.value) == (source, found.value)), None)
    return CapabilityValue(node, found.value.value, source, decisive, views, _contradiction(layers, offer))


def model_view(
    model: Model,
    provider: Provider,
    *,
    gaps: Sequence[LearnedGap],
    pools: Sequence[str],
    agents: Sequence[str],
    header: Mapping[str, str | int | None] = _NO_HEADER,
    offers: Mapping[str, Offer] = NO_OFFERS,
    scores: Scores | None = None,
    worker: str = "",
    root: str | None = None,
) -> ModelView:
    """Return everything known of a model; `worker` is what this machine's weights worker says of it.

    `root` is where relative paths of weights begin.
    """
    return ModelView(
        id=f"{model.provider}/{model.upstream_id}",
        provider=model.provider,
        upstream_id=model.upstream_id,
        display=model.display,
        description=model.description,
        enabled=model.enabled,
        exposed=model.exposed,
        default=model.default,
        in_pools=model.in_pools,
        role=model.role.value,
        format=model.format.value,
        path=model.path,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        default_temperature=model.default_temperature,
        delivery=model.delivery,
        features=model.features,
        constraints=model.constraints,
        usd_per_mtok_in=model.usd_per_mtok_in,
        usd_per_mtok_out=model.usd_per_mtok_out,
        free=model.free,
        tags=model.tags,
        limits=asdict(model.limits),
        tier=model.tier.value,
        state=model.state.value,
        origin=model.origin.value,
        served=model.listed,
        version=model.version,
        registered_at=_moment(model.registered_at),
        pools=tuple(pools),
        capabilities=capability_values(model, gaps, len(provider.accounts), offers),
        agents=tuple(agents),
        note=note_of(model, provider, root) or worker,
        header=header,
        price_source=model.price_source,
        reward=None if scores is None else scores.mean(model.key),
        agent_rewards=() if scores is None else scores.of_agents(agents),
    )


def note_of(model: Model, provider: Provider, root: str | None = None) -> str:
    """Return what is odd about a model, with what to run where nobody is known to serve it; empty where all is well."""
    if provider.unavailable is not None:
        return f"{provider.name} cannot be used: {provider.unavailable}"
    if model.listed:
        return ""
    if provider.kind is ProviderKind.AIRLLM:
        why = _checkpoint_problem(model, root)
        again = f"run: routerconsole models sync {shlex.quote(provider.name)}"
        if why:
            return f"not served: {why}; mend it, then {again}"
        return "" if model.listed is None else f"not served; {again}"
    if model.format in _FILES and model.path is not None:
        known = "not served" if model.listed is False else "not known to be served"
        return f"{known}; run: {_to_run(model, provider, _found(model.path, root))}"
    if model.listed is None:
        return ""
    if provider.kind is ProviderKind.OLLAMA:
        return f"not served; run: ollama pull {shlex.quote(model.upstream_id)}"
    gone = " (withdrawn: twice missing)" if model.state is ModelState.WITHDRAWN else ""
    return f"not served: not in the last listing of {provider.name}{gone}"


def unserved(registry: Registry, root: str | None = None) -> dict[ModelKey, str]:
    """Return the weights on disk that nobody is known to serve, each with what to run."""
    found: dict[ModelKey, str] = {}
    for provider in registry.providers.values():
        for model in provider.models if provider.enabled else ():
            if model.enabled and model.format in _FILES and (told := note_of(model, provider, root)).startswith("not "):
                found[model.key] = told
    return found


def _checkpoint_problem(model: Model, root: str | None) -> str:
    if model.path is None:
        return "it has no `path`"
    try:
        return "" if check_checkpoint(model.path, model.format, root) else f"format {model.format.value} has no files"
    except WeightsError as exc:
        return str(exc)


def _found(path: str, root: str | None) -> str:
    """Return a path as a command takes it from anywhere; one that leads nowhere stays as it is written."""
    try:
        return str(weights_path(path, root))
    except WeightsError:
        return path


def _to_run(model: Model, provider: Provider, path: str) -> str:
    """Return the command that serves weights under the model's name at its provider's address."""
    name, file = shlex.quote(model.upstream_id), shlex.quote(path)
    if provider.kind is ProviderKind.OLLAMA:
        return f"echo FROM {file} > Modelfile && ollama create {name} -f Modelfile"
    url = urlsplit(provider.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    place = f"--host {shlex.quote(url.hostname or '127.0.0.1')} --port {port}"
    if model.format is ModelFormat.GGUF:
        return f"llama-server -m {file} --alias {name} {place}"
    return f"vllm serve {file} --served-model-name {name} {place}"


def _moment(at: float | None) -> str | None:
    return None if at is None else iso(at)
