"""What evaluations measured of models, beyond their runs: findings nobody accepted yet, and when accepted ones age.

A measurement counts for thirty days, on the server it was made on (evals.md §6); both are looked at here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from routerconsole.domain.capability import MEASURED_FOR_S, Layer, Source
from routerconsole.domain.fingerprint import differs, merged
from routerconsole.domain.overlay import names_of, seen
from routerconsole.domain.route import ModelKey
from routerconsole.storage.errors import StorageUnavailable
from routerconsole.storage.evaluations import EvalStore

from .overlay_records import fingerprint_record

if TYPE_CHECKING:
    from routerconsole.evals.measured import Measured

    from .service import Service

log = logging.getLogger(__name__)

LOOK_S: Final = 600.0
"""How often it is looked whether a measurement has got too old."""
EVIDENCE: Final = 200
"""Characters of evidence a layer keeps."""
REMEMBERED: Final = 5
"""Runs whose findings are looked up after a start."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A finding of a run that nobody accepted yet; `value` is yes, no or flaky, `at` UTC epoch seconds."""

    value: str
    at: float
    evidence: str
    fingerprint: str = ""


@dataclass(slots=True)
class Measurements:
    """The findings of one engine's runs, the newest of each model and node."""

    service: Service
    found: dict[ModelKey, dict[str, Offer]] = field(default_factory=dict)
    _next: float = 0.0
    _asked: bool = False

    def tick(self, now: float) -> None:
        """Let measurements age, and once after a start look up what earlier runs offered."""
        if now < self._next or not self.service.keeper.restored:
            return
        self._next = now + LOOK_S
        if not self._asked:
            self._asked = True
            self.service.tasks.start(self._remember(), name="findings of earlier runs")
        service, since = self.service, self.service.overlay.stale_before
        before = service.clock.wall() - MEASURED_FOR_S
        if any(since <= (layer.at or 0.0) < before for layer in self._accepted()):
            service.lay_over(replace(service.overlay, stale_before=before))

    def offers(self, key: ModelKey) -> Mapping[str, Offer]:
        """Return what was found of a model and not accepted, by node; what aged meanwhile is left out."""
        offers = self.found.get(key)
        if not offers:
            return {}
        service = self.service
        entry, provider = service.overlay.entries.get(key), service.registry.providers.get(key.provider)
        if provider is None:
            return {}
        oldest = service.clock.wall() - MEASURED_FOR_S
        now = seen(service.overlay, key, names_of(provider, key.model))
        taken: Mapping[str, tuple[Layer, ...]] = {} if entry is None else entry.capabilities
        return {
            node: offer
            for node, offer in offers.items()
            if offer.at >= oldest
            and not differs(offer.fingerprint, now)
            and not any(_covers(layer, offer.at, offer.evidence) for layer in taken.get(node, ()))
        }

    def accepted(self, each: Measured) -> bool:
        """Whether a finding, or a newer one of its model and node, is a layer already."""
        entry = self.service.overlay.entries.get(ModelKey(each.provider.casefold(), each.model))
        layers = () if entry is None else entry.capabilities.get(each.node, ())
        return any(_covers(layer, each.at, each.evidence) for layer in layers)

    def take(self, findings: Iterable[Measured]) -> None:
        """Take in what a run found; a newer finding replaces an older one."""
        for each in findings:
            offers = self.found.setdefault(ModelKey(each.provider.casefold(), each.model), {})
            known = offers.get(each.node)
            if known is None or known.at <= each.at:
                offers[each.node] = Offer(each.value or "flaky", each.at, each.evidence, each.fingerprint)

    def see(self, key: ModelKey, answered: str) -> None:
        """Take in what a model's server answered with; where that is new, older measurements of it are stale."""
        service = self.service
        known = service.overlay.fingerprints.get(key, "")
        if not answered or key not in service.registry.models or known == answered:
            return
        text = merged(known, answered)
        service.lay_over(replace(service.overlay, fingerprints={**service.overlay.fingerprints, key: text}))
        service.keeper.keep(fingerprint_record(key, text))

    def _accepted(self) -> Iterable[Layer]:
        entries = self.service.overlay.entries.values()
        return (
            layer
            for entry in entries
            for layers in entry.capabilities.values()
            for layer in layers
            if layer.source is Source.MEASURED
        )

    async def _remember(self) -> None:
        """Look up the findings of the newest runs; without any run, nothing of evaluations is even imported."""
        try:
            if not await EvalStore(self.service.keeper.state.db).runs(1):
                return
            for run in reversed(await self.service.evals.runs(REMEMBERED)):
                self.take(await self.service.evals.offered(run.id))
        except StorageUnavailable as exc:
            log.warning("what earlier runs found cannot be read: %s", exc)


def _covers(layer: Layer, at: float, evidence: str) -> bool:
    """Whether a layer is a finding, or is newer; times pass through milliseconds on their way."""
    return layer.source is Source.MEASURED and ((layer.at or 0.0) > at or layer.evidence == evidence[:EVIDENCE])
