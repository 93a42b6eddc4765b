"""The overlay as records and back: nothing is lost, and nonsense in the file stops nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import SHIPPED_NODES, Layer, Source, Tri
from routerconsole.domain.listing import ListedModel, Listing
from routerconsole.domain.overlay import Entry, Overlay
from routerconsole.domain.route import ModelKey
from routerconsole.engine.overlay_records import KINDS, records, restored
from routerconsole.storage.state import Record, StoredState

TEXT = st.text(st.characters(exclude_categories=["C", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
NUMBERS = st.floats(0, 1e10, allow_nan=False)
TRI = st.sampled_from(list(Tri))
NODES = st.sampled_from(sorted(SHIPPED_NODES))
LAYERS = st.lists(st.builds(Layer, st.sampled_from(list(Source)), TRI, st.none() | NUMBERS, TEXT), max_size=2).map(
    tuple
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(TEXT, max_size=2),
        "role": st.sampled_from(["general", "judge"]),
        "enabled": st.booleans(),
        "context_window": st.integers(0, 10**6),
        "usd_per_mtok_in": st.floats(0, 100),
        "description": TEXT,
        "limits": st.just({"rpm": 5, "rpd": None, "tpm": None, "tpd": None}),
    },
)
KEYS = st.builds(ModelKey, TEXT, TEXT)
ENTRIES = st.builds(
    Entry,
    KEYS,
    version=st.integers(1, 10**9),
    registered=st.booleans(),
    removed=st.booleans(),
    registered_at=st.none() | NUMBERS,
    fields=FIELDS,
    capabilities=st.dictionaries(NODES, LAYERS, max_size=2),
)
LISTED = st.builds(
    ListedModel, TEXT, st.dictionaries(NODES, TRI, max_size=2), st.none() | st.integers(0, 10**6), free=st.none()
)
LISTINGS = st.builds(
    Listing,
    TEXT,
    NUMBERS,
    st.dictionaries(TEXT, LISTED, max_size=3),
    st.dictionaries(TEXT, st.integers(1, 5), max_size=2),
    stale=st.booleans(),
    note=TEXT,
)
OVERLAYS = st.builds(
    lambda entries, listings, assignments, priorities, extensions: Overlay(
        {entry.key: entry for entry in entries},
        {listing.provider: listing for listing in listings},
        assignments,
        priorities,
        extensions,
    ),
    st.lists(ENTRIES, max_size=3),
    st.lists(LISTINGS, max_size=2),
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.dictionaries(st.tuples(TEXT) | st.tuples(TEXT, TEXT), st.integers(-5, 500), max_size=3),
    st.frozensets(st.sampled_from(["a", "a.b-c", "interaction.x1"])),
)


def stored(rows: list[Record]) -> StoredState:
    """What a state file gives back of these records."""
    return StoredState({(row.kind, tuple(row.key)): json.loads(json.dumps(row.data)) for row in rows})


@given(OVERLAYS)
def test_what_is_kept_comes_back(overlay: Overlay) -> None:
    """Every part of an overlay, through JSON, unchanged, and nothing counts as strange."""
    assert restored(stored(list(records(overlay)))) == (overlay, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NONSENSE = st.dictionaries(
    st.sampled_from(["version", "fields", "capabilities", "models", "at", "missed", "model", "priority"]) | TEXT, JSON
)


@given(
    OVERLAYS,
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.lists(TEXT | st.none(), max_size=3).map(tuple), NONSENSE), max_size=4
    ),
)
def test_nonsense_is_left_out_and_takes_nothing_with_it(
    overlay: Overlay, bad: list[tuple[str, tuple[str | None, ...], dict[str, Any]]]
) -> None:
    """Any JSON under any key: the start goes on, and what was sound is still there."""
    rows = {(row.kind, tuple(row.key)): row for row in records(overlay)}
    more = [Record(key, kind, data) for kind, key, data in bad if (kind, key) not in rows]
    found, strange = restored(stored([*rows.values(), *more]))
    assert strange <= len(more)
    assert overlay.entries.items() <= found.entries.items()
    assert overlay.listings.items() <= found.listings.items()
    assert overlay.priorities.items() <= found.priorities.items()


@pytest.mark.parametrize(
    ("kind", "key", "data"),
    [
        ("model", ("a",), {}),
        ("model", ("a", "m", "x"), {}),
        ("model", ("a", None), {}),
        ("model", ("a", "m"), {"version": "2"}),
        ("model", ("a", "m"), {"fields": {"role": "king"}}),
        ("model", ("a", "m"), {"fields": {"surprise": 1}}),
        ("model", ("a", "m"), {"fields": {"limits": 7}}),
        ("model", ("a", "m"), {"capabilities": {"interaction": [{"source": "rumour", "value": "yes"}]}}),
        ("listing", ("a",), {}),
        ("listing", ("a",), {"at": 1.0, "models": ["m"]}),
        ("assignment", ("x",), {"model": None}),
        ("assignment", (), {"model": "a/m"}),
        ("priority", ("a",), {"priority": "high"}),
        ("priority", ("a",), {"priority": True}),
        ("priority", ("a", "m", "x"), {"priority": 1}),
        ("extension", ("Not A Path",), {}),
        ("extension", ("a..b",), {}),
    ],
)
def test_each_kind_of_nonsense_counts_once(kind: str, key: tuple[str | None, ...], data: dict[str, Any]) -> None:
    """One bad record is one that is told of, and the overlay is as if it were not there."""
    good = Record(("a", "good"), "model", {"version": 3})
    overlay, strange = restored(stored([good, Record(key, kind, data)]))
    assert strange == 1
    assert overlay == Overlay(entries={ModelKey("a", "good"): Entry(ModelKey("a", "good"), version=3)})


def test_records_of_other_kinds_are_none_of_ours() -> None:
    """The board's records are neither read nor counted here."""
    assert restored(stored([Record(("route", "a", None, "m"), "board", {"x": 1})])) == (Overlay(), 0)
