"""What a provider lists: the facts of each model as its server tells them, and how far the listing is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .capability import Tri


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of a listing; None is "not said". Prices are USD per million tokens."""

    id: str
    capabilities: Mapping[str, Tri] = field(default_factory=dict)
    context_window: int | None = None
    max_output_tokens: int | None = None
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    free: bool | None = None
    display: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The last good list of one provider: `at` is UTC epoch seconds, `stale` says a later try failed.

    `missed` counts, for each model that is still kept though gone, the complete listings in a row without it.
    """

    provider: str
    at: float
    models: Mapping[str, ListedModel] = field(default_factory=dict)
    missed: Mapping[str, int] = field(default_factory=dict)
    stale: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ListingDiff:
    """What a sync changed, as upstream ids."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


WITHDRAWN_AFTER = 2
"""Complete listings in a row without a model after which it is withdrawn; one is stale."""
