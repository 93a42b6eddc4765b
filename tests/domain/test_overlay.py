"""Listings and operators' decisions over a configured registry: who wins, what shows; less work gives the same."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.config.build import build_registry
from routerconsole.config.edits import EDIT_FIELDS
from routerconsole.config.load import load_text
from routerconsole.domain.capability import NODE_OF, Layer, Source, Tri, Word
from routerconsole.domain.listing import ListedModel, Listing
from routerconsole.domain.overlay import EDITABLE, Composed, Entry, Overlay, compose
from routerconsole.domain.registry import Model, ModelFormat, ModelOrigin, ModelState, ProviderKind, Registry, Role
from routerconsole.domain.route import ModelKey

TOOLS, VISION = NODE_OF[Word.TOOLS], NODE_OF[Word.VISION]
LOCAL, HOSTED = ModelKey("local", "m"), ModelKey("hosted", "m")

CONFIG = """
version: 1
providers:
  - {name: local, kind: openai_compatible, base_url: "http://127.0.0.1:1", priority: 2,
     models: [{id: m, default: true, capabilities: [text, tools], tags: [reasoning], context_window: 4096}, {id: n}]}
  - {name: hosted, kind: openai_compatible, base_url: "http://hosted.example", priority: 1, models: [{id: m}]}
pools:
  - {id: mine, members: [hosted/m, local/m]}
"""


def base(text: str = CONFIG) -> Registry:
    """The configured registry."""
    return build_registry(load_text(text, "test", {}).settings, {})


def decided(key: ModelKey, **values: object) -> Overlay:
    """An overlay with one entry."""
    return Overlay(entries={key: replace(Entry(key), **values)})  # type: ignore[arg-type]  # tests name fields freely


def listed(provider: str, *models: ListedModel, **more: object) -> Overlay:
    """An overlay with one listing."""
    listing = Listing(provider, 5.0, {model.id: model for model in models})
    return Overlay(listings={provider: replace(listing, **more)})  # type: ignore[arg-type]  # as above


def operator(value: Tri, at: float = 9.0) -> tuple[Layer, ...]:
    """What an operator said."""
    return (Layer(Source.OPERATOR, value, at, "set by me"),)


def test_an_empty_overlay_is_the_configuration() -> None:
    """Nothing decided and nothing listed: the same registry."""
    assert compose(base(), Overlay()) == base()


def test_every_field_an_edit_may_name_has_a_place() -> None:
    """The fields that are checked and those that are laid over are the same, and the model has them."""
    assert {*EDIT_FIELDS} == EDITABLE | {"capabilities"}
    assert {item.name for item in fields(Model)} >= EDITABLE


def test_fields_lie_over_the_configuration_and_nothing_else_changes() -> None:
    """What was set is in force with its type, what was not is as configured."""
    values = {"role": "judge", "format": "gguf", "tags": ["x"], "limits": {"rpm": 5}, "context_window": 0}
    before, after = base().models[LOCAL], compose(base(), decided(LOCAL, fields=values, version=4)).models[LOCAL]
    assert (after.role, after.format, after.tags) == (Role.JUDGE, ModelFormat.GGUF, ("x",))
    assert (after.limits.rpm, after.context_window, after.version) == (5, None, 4)
    assert (after.layers, after.default, after.origin) == (before.layers, True, ModelOrigin.CONFIG)


def test_layers_of_all_sources_stay_visible_and_the_strongest_counts() -> None:
    """Operator over configuration over listing; taking the operator's away uncovers the next."""
    overlay = listed("local", ListedModel("m", {TOOLS: Tri.NO, VISION: Tri.YES}))
    told = compose(base(), overlay).models[LOCAL]
    assert {layer.source for layer in told.layers[TOOLS]} == {Source.CONFIG, Source.DISCOVERY}
    assert (told.standing(TOOLS).value, told.standing(VISION).value) == (Tri.YES, Tri.YES)
    spoken = replace(overlay, entries=decided(LOCAL, capabilities={TOOLS: operator(Tri.NO)}).entries)
    found = compose(base(), spoken).models[LOCAL]
    assert (found.standing(TOOLS).value, found.standing(TOOLS).source) == (Tri.NO, Source.OPERATOR)
    assert len(found.layers[TOOLS]) == 3


def test_C1_56_what_a_person_set_no_listing_overwrites() -> None:
    """Tags, numbers and words a person wrote stay; a listing only fills what nobody said, twice the same."""
    overlay = listed("local", ListedModel("m", {TOOLS: Tri.YES}, context_window=999, max_output_tokens=77))
    once = compose(base(), overlay)
    assert once.models[LOCAL].tags == ("reasoning",)
    assert (once.models[LOCAL].context_window, once.models[LOCAL].max_output_tokens) == (4096, 77)
    edited = replace(overlay, entries=decided(LOCAL, fields={"tags": ["mine"], "max_output_tokens": 5}).entries)
    found = compose(base(), edited).models[LOCAL]
    assert (found.tags, found.max_output_tokens) == (("mine",), 5)
    assert compose(base(), overlay) == once


def test_discovered_models_join_pools_at_local_providers_only() -> None:
    """Nobody is billed for what nobody accepted; accepting is one field."""
    new = ListedModel("new")
    assert ModelKey("local", "new") in compose(base(), listed("local", new)).pools["auto"].members
    hosted = compose(base(), listed("hosted", new))
    key = ModelKey("hosted", "new")
    assert hosted.models[key].origin is ModelOrigin.DISCOVERY
    assert key not in hosted.pools["auto"].members
    accepted = replace(listed("hosted", new), entries=decided(key, fields={"in_pools": True}).entries)
    assert key in compose(base(), accepted).pools["auto"].members


def test_missing_once_is_stale_twice_is_withdrawn_and_back_is_live() -> None:
    """A withdrawn model leaves the automatic pools and stays listed."""
    states = []
    for missed in (0, 1, 2, 3):
        found = compose(base(), listed("local", ListedModel("n"), missed={"m": missed} if missed else {}))
        states.append((found.models[LOCAL].state, LOCAL in found.pools["auto"].members, found.models[LOCAL].listed))
    live, stale, gone = ModelState.LIVE, ModelState.STALE, ModelState.WITHDRAWN
    assert states == [(live, True, False), (stale, True, False), (gone, False, False), (gone, False, False)]


def test_a_tombstone_hides_a_configured_and_a_listed_model() -> None:
    """Removed is removed, whatever file and server say; it is in no pool, not in its provider."""
    overlay = replace(listed("local", ListedModel("m"), ListedModel("new")), entries={})
    for key in (LOCAL, ModelKey("local", "new")):
        found = compose(base(), replace(overlay, entries=decided(key, removed=True).entries))
        assert key not in found.models
        assert all(key not in pool.members for pool in found.pools.values())
        assert key.model not in [model.upstream_id for model in found.providers["local"].models]


def test_a_registered_model_is_the_operators_also_once_it_is_listed() -> None:
    """It is in pools at a hosted provider, before and after its server lists it."""
    key = ModelKey("hosted", "own")
    overlay = decided(key, registered=True, registered_at=3.0)
    for listings in ({}, listed("hosted", ListedModel("own", context_window=8)).listings):
        model = compose(base(), replace(overlay, listings=listings)).models[key]
        assert (model.origin, model.in_pools, model.registered_at) == (ModelOrigin.OPERATOR, True, 3.0)
    assert model.context_window == 8


def test_one_default_per_provider() -> None:
    """An operator's default takes the flag from the configured one; unset, that one has it again."""
    found = compose(base(), decided(ModelKey("local", "n"), fields={"default": True}))
    assert found.providers["local"].default_model == "n"
    assert not found.models[LOCAL].default
    assert compose(base(), Overlay()).providers["local"].default_model == "m"


def test_priorities_order_models_and_providers() -> None:
    """A provider's and a model's own priority, as set by operators."""
    assert next(iter(compose(base(), Overlay()).models)) == HOSTED
    assert next(iter(compose(base(), Overlay(priorities={("local",): 0})).models)) == LOCAL
    assert next(iter(compose(base(), Overlay(priorities={("local", "n"): 0})).models)) == ModelKey("local", "n")


def test_hints_are_the_weakest_layers() -> None:
    """What a catalogue guesses counts only where nobody knows."""

    def hints(_kind: ProviderKind, _upstream_id: str, _spoken: bool) -> dict[str, tuple[Layer, ...]]:
        return {TOOLS: (Layer(Source.GUESS, Tri.NO),), VISION: (Layer(Source.CATALOGUE, Tri.YES),)}

    found = compose(base(), Overlay(), hints=hints).models
    assert (found[LOCAL].standing(TOOLS).value, found[LOCAL].standing(VISION).value) == (Tri.YES, Tri.YES)
    assert found[HOSTED].standing(TOOLS).value is Tri.NO


def test_what_nobody_touched_is_the_same_object() -> None:
    """Providers without a change are taken over as they are: the board has nothing to follow there."""
    registry = base()
    first = compose(registry, Overlay())
    changed = compose(registry, decided(LOCAL, fields={"tags": ["x"]}), since=Composed(registry, Overlay(), first))
    assert changed.providers["hosted"] is first.providers["hosted"]
    assert changed.models[LOCAL].tags == ("x",)
    other = base()
    assert (
        compose(other, Overlay(), since=Composed(registry, Overlay(), first)).providers["hosted"]
        is not (first.providers["hosted"])
    )


KEYS = st.sampled_from([LOCAL, HOSTED, ModelKey("local", "new"), ModelKey("hosted", "own"), ModelKey("gone", "m")])
LAYERS = st.builds(operator, st.sampled_from([Tri.YES, Tri.NO]), st.floats(0, 10))
ENTRIES = st.builds(
    Entry,
    KEYS,
    version=st.integers(1, 9),
    registered=st.booleans(),
    removed=st.booleans(),
    fields=st.dictionaries(st.sampled_from(["in_pools", "enabled", "exposed", "default", "free"]), st.booleans()),
    capabilities=st.dictionaries(st.sampled_from([TOOLS, VISION, "interaction"]), LAYERS),
)
LISTINGS = st.builds(
    Listing,
    st.sampled_from(["local", "hosted"]),
    st.just(1.0),
    st.dictionaries(st.sampled_from(["m", "n", "new"]), st.just(ListedModel("x", {TOOLS: Tri.YES}))),
    st.dictionaries(st.sampled_from(["old", "n"]), st.integers(1, 3)),
)
OVERLAYS = st.builds(
    lambda entries, listings, priorities, extensions: Overlay(
        entries={entry.key: entry for entry in entries},
        listings={listing.provider: listing for listing in listings},
        priorities=priorities,
        extensions=extensions,
    ),
    st.lists(ENTRIES, max_size=4),
    st.lists(LISTINGS, max_size=2),
    st.dictionaries(st.sampled_from([("local",), ("hosted",), ("local", "m"), ("hosted", "m")]), st.integers(0, 5)),
    st.frozensets(st.just("interaction.computer-use")),
)


@given(st.lists(OVERLAYS, min_size=2, max_size=5))
def test_made_from_the_last_one_is_made_anew(overlays: list[Overlay]) -> None:
    """Whatever overlays follow each other, each registry is the one that is made from nothing."""
    registry = base()
    made = Composed(registry, overlays[0], compose(registry, overlays[0]))
    for overlay in overlays[1:]:
        found = compose(registry, overlay, since=made)
        fresh = compose(registry, overlay)
        assert found == fresh
        assert list(found.models) == list(fresh.models)
        assert list(found.virtual) == list(fresh.virtual)
        made = Composed(registry, overlay, found)


@pytest.mark.parametrize("exposed", [True, False])
def test_C1_51_a_hidden_model_is_in_no_automatic_pool_and_still_a_model(exposed: bool) -> None:
    """Not exposed: in no pool and no virtual model, yet there by its own name and where it is listed by hand."""
    found = compose(base(), decided(LOCAL, fields={"exposed": exposed}))
    automatic = [pool for pool in (*found.pools.values(), *found.virtual.values()) if pool.automatic]
    assert any(LOCAL in pool.members for pool in automatic) is exposed
    assert LOCAL in found.models
    assert LOCAL in found.pools["mine"].members


def measured(at: float, fingerprint: str = "") -> tuple[Layer, ...]:
    """What a run measured and somebody accepted."""
    return (Layer(Source.MEASURED, Tri.NO, at, "refuted 0/2", fingerprint),)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"stale_before": 8.0}, True),
        ({"stale_before": 10.0}, False),
        ({"fingerprints": {LOCAL: "system=b"}}, False),
        ({"fingerprints": {LOCAL: "system=a"}}, True),
        ({"listings": {"local": Listing("local", 5.0, {"m": ListedModel("m", fingerprint="digest=2")})}}, False),
        ({"listings": {"local": Listing("local", 5.0, {"m": ListedModel("m", fingerprint="digest=1")})}}, True),
    ],
    ids=["as it was", "young enough", "too old", "answers differ", "answers alike", "digest differs", "digest alike"],
)
def test_a_measurement_counts_for_a_while_on_the_server_it_was_made_on(
    changes: dict[str, object], counts: bool
) -> None:
    """Stale, it comes after everything else and closes no gate; worked out from what was before, it is the same."""
    before = decided(LOCAL, capabilities={TOOLS: measured(9.0, "digest=1; system=a")})
    after = replace(before, **changes)  # type: ignore[arg-type]  # tests name fields freely
    found = compose(base(), after)
    standing = found.models[LOCAL].standing(TOOLS)
    assert (standing.source, standing.value, standing.hard_no) == (
        (Source.MEASURED, Tri.NO, True) if counts else (Source.CONFIG, Tri.YES, False)
    )
    configured = base()
    known = Composed(configured, before, compose(configured, before))
    assert compose(configured, after, since=known) == found


def test_a_stale_measurement_nobody_else_speaks_against_is_a_hint() -> None:
    """It stays visible as the only word there is, and drops nothing."""
    overlay = replace(decided(LOCAL, capabilities={VISION: measured(9.0)}), stale_before=10.0)
    standing = compose(base(), overlay).models[LOCAL].standing(VISION)
    assert (standing.source, standing.stale, standing.hard_no) == (Source.MEASURED, True, False)
