"""Who belongs to which pool, which virtual models there are, and what one change does to membership."""

from __future__ import annotations

from dataclasses import replace

from routerconsole.config.build import build_registry
from routerconsole.config.load import load_text
from routerconsole.domain.assemble import having, pool_changes, reassemble, virtual_words
from routerconsole.domain.capability import CapabilityTree
from routerconsole.domain.overlay import Overlay, compose
from routerconsole.domain.registry import Registry
from routerconsole.domain.route import ModelKey


def registry(models: str, pools: str = "[]", extend: str = "[]", aliases: str = "{}") -> Registry:
    """A registry with one local provider `p` and one hosted `h` that has a model `paid`."""
    text = f"""
version: 1
providers:
  - {{name: p, kind: openai_compatible, base_url: "http://127.0.0.1:1", priority: 1, models: {models}}}
  - {{name: h, kind: openai_compatible, base_url: "http://h.example", priority: 2, models: [
      {{id: paid, capabilities: [tools], usd_per_mtok_in: 1, usd_per_mtok_out: 1, tier: deep, tags: [x]}},
      {{id: gratis, capabilities: [tools], usd_per_mtok_in: 0, usd_per_mtok_out: 0}}]}}
pools: {pools}
capabilities: {{extend: {extend}, aliases: {aliases}}}
"""
    return build_registry(load_text(text, "test", {}).settings, {})


def ids(keys: tuple[ModelKey, ...]) -> list[str]:
    """Upstream ids."""
    return [key.model for key in keys]


def test_C1_51_words_prices_and_tiers_make_virtual_models() -> None:
    """Each word, tier and price, and both together; free never includes local; nobody's are not there."""
    found = registry("[{id: a, capabilities: [tools, vision]}, {id: b}]")
    virtual = {name: ids(pool.members) for name, pool in found.virtual.items()}
    assert virtual["tools"] == ["a", "paid", "gratis"]
    assert virtual["tools/free"] == ["gratis"]
    assert virtual["tools/local"] == ["a"]
    assert virtual["free"] == ["gratis"]
    assert virtual["local"] == ["a", "b"]
    assert virtual["deep"] == ["paid"]
    assert "deep/free" not in virtual
    assert "reasoning" not in virtual
    assert "reasoning" in virtual_words(found.tree)


def test_a_node_has_those_below_it_and_not_those_above() -> None:
    """Members of a node are those with it or a descendant; a parent's yes says nothing of its children."""
    found = registry("[{id: a, capabilities: [parallel_tools]}, {id: b, capabilities: [interaction]}]")
    assert ids(having(found, "interaction.tool-calling")) == ["a", "paid", "gratis"]
    assert ids(having(found, "interaction")) == ["a", "b", "paid", "gratis"]
    assert ids(having(found, "interaction.tool-calling.parallel")) == ["a"]


def test_C3_04_a_child_under_a_leaf_keeps_the_leafs_models() -> None:
    """Extending the tree below a node that models are registered at changes none of its pools."""
    before = registry("[{id: a, capabilities: [reasoning]}]")
    after = compose(before, Overlay(extensions=frozenset({"interaction.reasoning.deep-thought"})))
    assert "interaction.reasoning.deep-thought" in after.tree.nodes
    assert having(after, "interaction.reasoning") == having(before, "interaction.reasoning")
    assert after.pools["reasoning"].members == before.pools["reasoning"].members


def test_an_alias_is_a_word_with_a_pool() -> None:
    """A configured alias makes an automatic pool and a virtual model."""
    found = registry("[{id: a, capabilities: [code-generation]}]", aliases="{code: code-generation}")
    assert ids(found.pools["code"].members) == ["a"]
    assert ids(found.virtual["code/local"].members) == ["a"]


def test_own_pools_listed_first_then_of_the_node_whoever_the_filter_keeps() -> None:
    """Hybrid membership, each once, in listed order; a filter drops, it never adds."""
    hybrid = "{id: q, node: tools, members: [h/gratis, p/b]}"
    pools = f"[{hybrid}, {{id: r, node: tools, filter: {{tags: [x]}}}}, {{id: tools, members: [p/b]}}]"
    found = registry("[{id: a, capabilities: [tools]}, {id: b}]", pools)
    assert ids(found.pools["q"].members) == ["gratis", "b", "a", "paid"]
    assert ids(found.pools["r"].members) == ["paid"]
    assert ids(found.pools["tools"].members) == ["b"]


def test_models_stand_by_priority_then_as_listed() -> None:
    """The order of `auto` is that of providers, a model's own priority beats its provider's."""
    found = registry("[{id: a}, {id: b}]")
    assert ids(found.pools["auto"].members) == ["a", "b", "paid", "gratis"]
    provider = found.providers["h"]
    models = tuple(replace(model, priority=0) if model.upstream_id == "gratis" else model for model in provider.models)
    moved = reassemble(found, [found.providers["p"], replace(provider, models=models)])
    assert ids(moved.pools["auto"].members) == ["gratis", "a", "b", "paid"]


def test_a_changed_provider_changes_the_price_of_models_that_are_the_same_objects() -> None:
    """What was worked out of a model is not believed once its provider is local or free."""
    found = registry("[{id: a, capabilities: [tools]}]")
    freed = reassemble(found, [replace(each, local=False, free=True) for each in found.providers.values()])
    assert ids(freed.virtual["free"].members) == ["a", "paid", "gratis"]
    assert "local" not in freed.virtual


def test_pool_changes_name_what_came_and_went_and_pools_that_ended() -> None:
    """Pools without a difference are left out, new and ended ones are in."""
    before = registry("[{id: a, capabilities: [tools]}, {id: b, capabilities: [vision]}]")
    after = registry("[{id: a, capabilities: [tools, reasoning]}, {id: c}]")
    changes = {pool: (ids(tuple(new)), ids(tuple(gone))) for pool, (new, gone) in pool_changes(before, after).items()}
    assert changes == {"auto": (["c"], ["b"]), "vision": ([], ["b"]), "reasoning": (["a"], [])}
    assert pool_changes(before, before) == {}


def test_extensions_are_nodes_with_all_above_them() -> None:
    """An extension brings its parents."""
    assert {"a", "a.b", "a.b.c"} <= CapabilityTree(frozenset({"a.b.c"})).nodes
