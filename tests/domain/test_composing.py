"""Laying listings over a configuration anew only where something differs gives what laying all over anew gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import NODE_OF, Tri, Word
from routerconsole.domain.guess import hints
from routerconsole.domain.listing import ListedModel, Listing, merge
from routerconsole.domain.overlay import Composed, Entry, Overlay, compose
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.registry import Model, ModelState, Provider, ProviderKind
from routerconsole.domain.route import ModelKey

NAMES = ("llama3.1:8b", "m", "m:latest", "v/x", "v/x:free", "embedder")
BASE = assemble(
    version=1,
    policy=RoutingPolicy(),
    providers=[
        Provider("o", ProviderKind.OLLAMA, "http://127.0.0.1:1", local=True, models=(Model("o", "m", default=True),)),
        Provider("r", ProviderKind.OPENAI_COMPATIBLE, "http://h/v1", models=(Model("r", "v/x"),)),
    ],
)
FACTS = st.builds(
    lambda tools, window: {"capabilities": {NODE_OF[Word.TOOLS]: tools} if tools else {}, "context_window": window},
    st.sampled_from([None, Tri.YES, Tri.NO]),
    st.sampled_from([None, 4096]),
)
LISTINGS = st.dictionaries(st.sampled_from(NAMES), FACTS, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["o", "r"]), LISTINGS),
        st.tuples(st.sampled_from(["o", "r"]), st.sampled_from(NAMES)),
    ),
    min_size=1,
    max_size=6,
)


@given(STEPS)
def test_what_is_kept_is_what_would_be_made(steps: list[tuple[str, object]]) -> None:
    """Over any sequence of listings and decisions the incremental registry equals the one made in full."""
    overlay, made = Overlay(), Composed(BASE, Overlay(), compose(BASE, Overlay(), hints=hints), hints)
    for at, (provider, step) in enumerate(steps):
        if isinstance(step, dict):
            models = {id_: ListedModel(id_, **facts) for id_, facts in step.items()}
            merged, _ = merge(overlay.listings.get(provider), Listing(provider, float(at), models), complete=True)
            overlay = Overlay(overlay.entries, {**overlay.listings, provider: merged})
        else:
            key = ModelKey(provider, str(step))
            entry = Entry(key, registered=True, fields={"tags": [f"t{at}"]}, removed=at % 3 == 2)
            overlay = Overlay({**overlay.entries, key: entry}, overlay.listings)
        registry = compose(BASE, overlay, hints=hints, since=made)
        full = compose(BASE, overlay, hints=hints)
        assert _settled(registry) == _settled(full)
        assert registry.pools == full.pools
        made = Composed(BASE, overlay, registry, hints)


def _settled(registry: object) -> dict[ModelKey, object]:
    """The models without when something was said: what did not change keeps its time."""
    return {
        key: (model.in_pools, model.state, model.listed, model.tags, model.context_window, model.default,
              {node: [(layer.source, layer.value) for layer in layers] for node, layers in model.layers.items()})
        for key, model in registry.models.items()  # type: ignore[attr-defined]  # any registry
    }  # fmt: skip


def test_a_model_that_says_the_same_is_the_same_object() -> None:
    """So that a sync of thousands that changed one costs what one costs."""
    listing, _ = merge(None, Listing("r", 1.0, {n: ListedModel(n) for n in ("a", "b", "c")}), complete=True)
    first = Overlay(listings={"r": listing})
    made = Composed(BASE, first, compose(BASE, first, hints=hints), hints)
    fresh = Listing("r", 2.0, {"a": ListedModel("a"), "b": ListedModel("b", context_window=9), "c": ListedModel("c")})
    later, _ = merge(listing, fresh, complete=True)
    after = compose(BASE, Overlay(listings={"r": later}), hints=hints, since=made)
    same = {key.model for key, model in after.models.items() if made.registry.models.get(key) is model}
    assert same >= {"a", "c"}
    assert "b" not in same


def test_a_missing_tag_at_ollama_is_one_model() -> None:
    """`m` in the configuration is listed as `m:latest`: facts and state are its, and there is no twin."""
    listing = Listing("o", 1.0, {"m:latest": ListedModel("m:latest", context_window=7)})
    registry = compose(BASE, Overlay(listings={"o": listing}), hints=hints)
    model = registry.models[ModelKey("o", "m")]
    assert (model.context_window, model.listed, ModelKey("o", "m:latest") in registry.models) == (7, True, False)
    gone, _ = merge(listing, Listing("o", 2.0, {"x": ListedModel("x")}), complete=True)
    stale = compose(BASE, Overlay(listings={"o": gone}), hints=hints).models[ModelKey("o", "m")]
    assert (stale.state, stale.listed, stale.context_window) == (ModelState.STALE, False, 7)


def test_C1_12_an_unlisted_variant_inherits_abilities_and_no_prices() -> None:
    """What its base can it can; what its base costs says nothing."""
    told = ListedModel("v/y", {NODE_OF[Word.TOOLS]: Tri.YES}, usd_per_mtok_in=3.0)
    overlay = Overlay(
        {ModelKey("r", "v/y:free"): Entry(ModelKey("r", "v/y:free"), registered=True)},
        {"r": Listing("r", 1.0, {"v/y": told})},
    )
    model = compose(BASE, overlay, hints=hints).models[ModelKey("r", "v/y:free")]
    assert (model.standing(NODE_OF[Word.TOOLS]).value, model.usd_per_mtok_in, model.listed) == (Tri.YES, None, False)
