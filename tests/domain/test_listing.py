"""Merging listings: what is new, changed, missing; what is believed; and that nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import Tri
from routerconsole.domain.listing import WITHDRAWN_AFTER, ListedModel, Listing, ListingDiff, base_of, failed, merge

SIX = tuple("abcdef")


def listing(ids: Iterable[str], at: float = 1.0, **facts: object) -> Listing:
    """A listing of models that all say the same."""
    return Listing("p", at, {id_: ListedModel(id_, **facts) for id_ in ids})


def run(*listings: Iterable[str], complete: bool = True) -> tuple[Listing, ListingDiff]:
    """Merge listings one after the other; return the last result."""
    known: Listing | None = None
    diff = ListingDiff()
    for at, ids in enumerate(listings):
        known, diff = merge(known, listing(ids, float(at)), complete=complete)
    assert known is not None
    return known, diff


def test_the_first_listing_is_all_new() -> None:
    """What nobody knew is new; configured models are not, and change only by what is said of them."""
    known, diff = merge(None, listing("ab"), complete=True, configured={"b"})
    assert (list(known.models), diff) == (["a", "b"], ListingDiff(new=("a",)))
    _, diff = merge(None, listing("ab", context_window=8), complete=True, configured={"b"})
    assert diff == ListingDiff(new=("a",), changed=("b",))


def test_C1_56_the_same_listing_again_is_an_empty_diff() -> None:
    """Nothing changed: the very same listing stays, so that nothing is written."""
    known, _ = run("ab")
    again, diff = merge(known, listing("ab", 9.0), complete=True)
    assert again is known
    assert not diff


def test_a_model_that_says_something_else_has_changed() -> None:
    """The diff is of real fields, each of them."""
    known, _ = run("ab")
    for fact in ({"context_window": 8}, {"free": True}, {"capabilities": {"x": Tri.YES}}, {"display": "A"}):
        after, diff = merge(known, listing("a", **fact), complete=False)
        assert diff.changed == ("a",)
        assert after.models["b"] == known.models["b"]


def test_C1_54_one_of_six_is_distrusted_and_five_of_six_remove_one() -> None:
    """A listing that lost most models says nothing about absence; one that lost few does."""
    known, diff = run(SIX, "a")
    assert (set(known.models), known.missed, diff) == (set(SIX), {}, ListingDiff())
    assert "1 of 6" in known.note
    known, diff = run(SIX, "abcde")
    assert (set(known.models), known.missed, diff.missing) == (set("abcde"), {"f": 1}, ("f",))


def test_C1_54_what_a_distrusted_listing_adds_counts() -> None:
    """New and changed models of a listing that lost most are taken over all the same."""
    known, diff = run(SIX, "ag")
    assert (set(known.models), diff) == ({*SIX, "g"}, ListingDiff(new=("g",)))


def test_E03_an_empty_listing_is_not_believed() -> None:
    """All models gone at once is a fault of the listing, however often it says so."""
    known, diff = run("ab", "", "", "")
    assert (set(known.models), bool(diff)) == ({"a", "b"}, False)


def test_the_only_model_of_a_server_may_be_another_one() -> None:
    """A server that holds one or two models may have loaded others."""
    known, diff = run("a", "b")
    assert (list(known.models), known.missed, diff) == (["b"], {"a": 1}, ListingDiff(new=("b",), missing=("a",)))
    assert run("ab", "cd")[0].missed == {"a": 1, "b": 1}


def test_a_model_is_withdrawn_after_two_complete_listings_and_no_more_is_said_then() -> None:
    """Missing once, twice (both are changes), then nothing new: and what was known of it is kept."""
    first, _ = merge(None, listing(SIX, context_window=8), complete=True)
    stale, once = merge(first, listing("abcde", 2.0, context_window=8), complete=True)
    gone, twice = merge(stale, listing("abcde", 3.0, context_window=8), complete=True)
    still, thrice = merge(gone, listing("abcde", 4.0, context_window=8), complete=True)
    assert [one.missing for one in (once, twice, thrice)] == [("f",), ("f",), ()]
    assert (stale.missed, gone.missed, still is gone) == ({"f": 1}, {"f": WITHDRAWN_AFTER}, True)
    told = still.told(("f",))
    assert told is not None
    assert told.context_window == 8


def test_a_returning_model_is_live_again() -> None:
    """It is a change, and no longer missed."""
    known, diff = run(SIX, "abcde", "abcde", SIX)
    assert (known.missed, known.kept, diff) == ({}, {}, ListingDiff(changed=("f",)))


def test_a_listing_that_is_cut_off_says_nothing_about_absence() -> None:
    """Only complete listings count, of those that miss a model already too."""
    known, diff = run(SIX, "abc", complete=False)
    assert (set(known.models), diff) == (set(SIX), ListingDiff())
    stale, _ = run(SIX, "abcde")
    after, diff = merge(stale, listing("abcde"), complete=False)
    assert (after.missed, bool(diff)) == ({"f": 1}, False)


def test_C3_40_a_failed_listing_keeps_the_last_good_one_marked_stale() -> None:
    """Stale until the next good one; where there never was a listing there is none."""
    known, _ = run("ab")
    stale = failed(known, "refused")
    assert stale is not None
    assert (stale.models, stale.stale, stale.note) == (known.models, True, "refused")
    assert failed(None, "refused") is None
    again, diff = merge(stale, listing("ab"), complete=True)
    assert (again.stale, again.note, bool(diff)) == (False, "", False)


def test_C1_12_an_unlisted_variant_is_told_what_its_base_can() -> None:
    """A variant's own listing is all there is to say of it; without one its base speaks."""
    both = Listing("p", 1.0, {"x": ListedModel("x", context_window=1), "x:free": ListedModel("x:free")})
    alone = Listing("p", 1.0, {"x": ListedModel("x", context_window=1)})
    own, inherited = both.told(("x:free",)), alone.told(("x:free",))
    assert own is not None
    assert inherited is not None
    assert (own.id, inherited.id, alone.told(("y:free",))) == ("x:free", "x", None)


@pytest.mark.parametrize(
    ("id_", "base"),
    [("a/b:free", "a/b"), ("b:thinking", "b"), ("llama3:8b", None), ("m:latest", None), (":free", None)],
)
def test_C1_12_only_known_suffixes_make_a_variant(id_: str, base: str | None) -> None:
    """Tags of Ollama are no variants."""
    assert base_of(id_) == base


IDS = st.sets(st.sampled_from([f"m{n}" for n in range(8)]))


@given(st.lists(st.tuples(IDS, st.booleans()), min_size=1, max_size=8))
def test_C3_41_nothing_is_ever_deleted(steps: list[tuple[set[str], bool]]) -> None:
    """Whatever was listed once is listed, or counted as missed with what was said of it; never both."""
    known: Listing | None = None
    seen: set[str] = set()
    for at, (ids, complete) in enumerate(steps):
        known, _ = merge(known, listing(sorted(ids), float(at)), complete=complete)
        seen |= ids
        assert known.models.keys() | known.missed.keys() == seen
        assert not known.models.keys() & known.missed.keys()
        assert known.kept.keys() == known.missed.keys()
        assert ids <= known.models.keys()
        assert all(1 <= count <= WITHDRAWN_AFTER for count in known.missed.values())


@given(st.lists(IDS, max_size=6), IDS)
def test_the_diff_is_exactly_what_changed(history: list[set[str]], ids: set[str]) -> None:
    """New ones were never seen, missing ones grew their count, an empty diff changes no model; twice is never new."""
    known: Listing | None = None
    for past in history:
        known, _ = merge(known, listing(sorted(past)), complete=True)
    after, diff = merge(known, listing(sorted(ids)), complete=True)
    before = set() if known is None else known.models.keys() | known.missed.keys()
    assert set(diff.new) == ids - before
    assert all(after.missed[id_] > (known.missed.get(id_, 0) if known else 0) for id_ in diff.missing)
    if not diff and known is not None:
        assert (after.models, after.missed) == (known.models, known.missed)
    _, again = merge(after, listing(sorted(ids)), complete=True)
    assert not again.new
    assert not again.changed
