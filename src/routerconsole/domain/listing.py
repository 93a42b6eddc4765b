"""What a provider lists: the facts of each model as its server tells them, and how far the listing is to be trusted.

Pure: a new listing is merged into the last good one, and nothing is ever deleted by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

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
    fingerprint: str | None = None

    @property
    def bare(self) -> bool:
        """Whether it says nothing but that the model is there."""
        return self == ListedModel(self.id)


@dataclass(frozen=True, slots=True)
class Listing:
    """The last good list of one provider: `at` is UTC epoch seconds, `stale` says a later try failed.

    `missed` counts, for each model that is still kept though gone, the complete listings in a row without it; `kept`
    is what was last said of those. `quirks` are oddities of the server that its listing gave away.
    """

    provider: str
    at: float
    models: Mapping[str, ListedModel] = field(default_factory=dict)
    missed: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, ListedModel] = field(default_factory=dict)
    quirks: frozenset[str] = frozenset()
    stale: bool = False
    note: str = ""

    def told(self, names: Collection[str]) -> ListedModel | None:
        """Return what is, or was last, said of a model under one of its names; of an unlisted variant, of its base."""
        for name in names:
            found = self.models.get(name) or self.kept.get(name)
            if found is not None:
                return found
        bases = (base for name in names if (base := base_of(name)) is not None)
        return next((self.models[base] for base in bases if base in self.models), None)

    def agrees(self, other: Listing, names: Collection[str]) -> bool:
        """Whether two listings say the very same of a model, its presence included."""
        return self.told(names) is other.told(names) and all(
            (name in self.models) is (name in other.models) and self.missed.get(name) == other.missed.get(name)
            for name in names
        )


@dataclass(frozen=True, slots=True)
class ListingDiff:
    """What a sync changed, as upstream ids."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.new or self.changed or self.missing)


NO_CHANGE = ListingDiff()
VARIANTS = frozenset({"free", "extended", "thinking", "online", "nitro", "floor", "exacto", "beta"})
"""What OpenRouter writes behind a colon; tags of other servers (`:8b`, `:latest`) are no variants."""
WITHDRAWN_AFTER = 2
"""Complete listings in a row without a model after which it is withdrawn; one is stale."""
_TOO_FEW_TO_JUDGE = 2
"""Of so few models the loss of all is an ordinary change (another model loaded) unless nothing at all is listed."""


def merge(
    previous: Listing | None,
    fresh: Listing,
    *,
    complete: bool,
    configured: Collection[str] = (),
) -> tuple[Listing, ListingDiff]:
    """Return the listing from now on and what changed; `previous` itself where nothing did.

    A model that a *complete* listing lacks is kept and counted in `missed`; a listing that is cut off, or that lost
    most of what was known, says nothing about absence. `configured` ids are not new to anybody.
    """
    known = {} if previous is None else previous.models
    missed = {} if previous is None else previous.missed
    kept = {} if previous is None else previous.kept
    gone = [id_ for id_ in known if id_ not in fresh.models]
    note = fresh.note
    if complete and _distrusted(len(known), len(gone), listed=len(fresh.models)):
        complete = False
        some = f"lists {len(known) - len(gone)} of {len(known)} known models: the others' absence is not believed yet"
        note = "; ".join(part for part in (note, some) if part)
    models: dict[str, ListedModel] = {}
    absent, left = {}, {}
    for id_, told in fresh.models.items():
        before = known.get(id_)
        models[id_] = before if before == told else told  # the same object tells others that nothing changed
    for id_ in gone:
        if complete:
            absent[id_], left[id_] = 1, known[id_]
        else:
            models[id_] = known[id_]
    for id_, count in missed.items():
        if id_ not in fresh.models:
            absent[id_] = min(count + complete, WITHDRAWN_AFTER)
            left[id_] = kept.get(id_, ListedModel(id_))
    unheard = {id_ for id_ in fresh.models if id_ not in known and id_ not in missed}
    diff = ListingDiff(
        new=tuple(id_ for id_ in fresh.models if id_ in unheard and id_ not in configured),
        changed=tuple(
            id_
            for id_, told in fresh.models.items()
            if (not told.bare if id_ in unheard and id_ in configured else id_ in missed)
            or (id_ in known and known[id_] != told)
        ),
        missing=tuple(id_ for id_, count in absent.items() if count != missed.get(id_)),
    )
    merged = replace(fresh, models=models, missed=absent, kept=left, note=note, stale=False)
    same = previous is not None and not diff and replace(merged, at=previous.at) == previous
    return (previous if same and previous is not None else merged), diff


def base_of(upstream_id: str) -> str | None:
    """Return the id a variant (`vendor/model:free`) is a variant of; None where it is none."""
    base, _, tag = upstream_id.rpartition(":")
    return base if base and tag in VARIANTS else None


def failed(previous: Listing | None, note: str) -> Listing | None:
    """Return the last good listing marked stale with the reason; None where there never was one."""
    return None if previous is None else replace(previous, stale=True, note=note)


def _distrusted(known: int, gone: int, *, listed: int) -> bool:
    """Whether a listing lost too much to be believed: most of the models, or all of them at once."""
    if known > _TOO_FEW_TO_JUDGE:
        return gone * 2 > known
    return known > 1 and not listed
