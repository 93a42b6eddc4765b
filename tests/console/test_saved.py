"""The file of saved filters."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from routerconsole.console.saved import MAX_FILE, MAX_SAVED, FiltersNotSavedError, SavedFilters, name_problem


def loaded(path: Path) -> SavedFilters:
    """Return what a file holds."""
    saved = SavedFilters(path)
    saved.load()
    return saved


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    """Any text a filter can be comes back as it was, in a file only its owner reads."""
    path = tmp_path / "deep" / "filters.yaml"
    saved = loaded(path)
    saved.save("slow ones", "lat>2s -fo")
    saved.save("x: y", '"a b" ! prov:größe')
    assert loaded(path).filters == {"slow ones": "lat>2s -fo", "x: y": '"a b" ! prov:größe'}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    saved.forget("slow ones")
    assert list(loaded(path).filters) == ["x: y"]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]", "a: {b: c}", "bad: lat>x", "? [x]\n: fo", "- : :", "a: &a [*a]", "x" * (MAX_FILE + 1), "\x00",
        "!!python/object/apply:os.system ['true']", "3: fo", "n\x1b: fo", "a: " + "[" * 5000,
    ],
)  # fmt: skip
def test_a_bad_file_is_told_and_never_written_over(tmp_path: Path, text: str) -> None:
    """Whatever stands in it, loading raises nothing, says what is wrong, and saving refuses."""
    path = tmp_path / "filters.yaml"
    path.write_text(text)
    saved = loaded(path)
    assert saved.filters == {}
    assert saved.problems
    with pytest.raises(FiltersNotSavedError):
        saved.save("mine", "fo")
    assert path.read_text() == text


def test_an_empty_file_is_no_problem(tmp_path: Path) -> None:
    """Nothing in it, nothing saved."""
    path = tmp_path / "filters.yaml"
    path.write_text("")
    assert (loaded(path).filters, loaded(path).problems) == ({}, [])


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where a directory should be: the reason is named and what was saved before stays."""
    (tmp_path / "file").write_text("")
    saved = SavedFilters(tmp_path / "file" / "filters.yaml")
    with pytest.raises(FiltersNotSavedError, match="filters"):
        saved.save("mine", "fo")
    assert saved.filters == {}


def test_there_is_an_end_to_saving() -> None:
    """More than a hundred are refused; replacing one is not."""
    saved = SavedFilters()
    for number in range(MAX_SAVED):
        saved.save(f"f{number}", "fo")
    saved.save("f7", "err")
    with pytest.raises(FiltersNotSavedError, match="forget one first"):
        saved.save("one more", "fo")


@pytest.mark.parametrize(("name", "fine"), [("slow", True), (" ", False), ("x" * 41, False), ("a\x1bb", False)])
def test_names_are_short_and_visible(name: str, fine: bool) -> None:
    """What cannot be shown cannot be picked."""
    assert (name_problem(name) == "") is fine
